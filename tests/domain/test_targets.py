"""Targets: spans that are split without a hole, chunks of ISBNs, and the keys under which pages are kept."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from alexandria.domain.isbn import Isbn
from alexandria.domain.targets import ISBNS_AT_ONCE, Span, Target, TargetKind, isbn_targets, month_span

TODAY = date(2026, 11, 25)

days = st.dates(date(1950, 1, 1), date(2028, 12, 31))
ends = st.none() | days


@given(ends, ends)
def test_the_parts_of_a_span_follow_each_other_and_cover_the_same_days(
    first: date | None, last: date | None
) -> None:
    if first and last and first > last:
        first, last = last, first
    parts = Span(first, last).split(today=TODAY)
    if not parts:
        assert first is not None
        assert first == last, "only a single day can't be split"
        return
    assert len(parts) > 1
    assert (parts[0].first, parts[-1].last) == (first, last)
    for earlier, later in pairwise(parts):
        assert earlier.last is not None
        assert later.first == earlier.last + timedelta(days=1)
        assert earlier.first is None or earlier.first <= earlier.last


@given(days, days)
def test_splitting_again_and_again_comes_to_single_days(first: date, last: date) -> None:
    span = Span(min(first, last), max(first, last))
    for _ in range(12):
        parts = span.split(today=TODAY)
        if not parts:
            return
        span = parts[len(parts) // 2]
    raise AssertionError(f"{span} is still being split")


def test_a_month_is_split_into_its_own_days() -> None:
    parts = Target(TargetKind.MONTH, "2026-02", "2026-02").parts(today=TODAY)
    assert [str(each.span) for each in parts] == ["2026-02-01..2026-02-14", "2026-02-15..2026-02-28"]
    assert {each.name for each in parts} == {"2026-02"}
    assert month_span("2024-02").last == date(2024, 2, 29)


def test_spellings_that_are_answered_alike_are_one_query_and_spans_are_others() -> None:
    plain = Target(TargetKind.AUTHOR, "OL1A", "Émile  Zola")
    assert plain.query == Target(TargetKind.AUTHOR, "OL2A", "e\u0301mile zola").query == "author/émile zola"
    since = Target(TargetKind.AUTHOR, "OL1A", "Émile Zola", Span(date(2026, 8, 1)))
    assert since.query == "author/émile zola@2026-08-01.."
    assert Target(TargetKind.MONTH, "2026-10", "2026-10").query == "date_published/2026-10"
    assert Target(TargetKind.SUBJECT, "x", "Fantasy", month_span("2026-10")).query.startswith(
        "subject/fantasy@"
    )


def test_isbns_come_in_chunks_and_once_each() -> None:
    isbns = [Isbn.parse(f"{number:09d}") for number in _valid_sbns(250)]
    targets = isbn_targets([*isbns, *isbns[:10]], editions_each=0.5)
    assert [len(each.isbns) for each in targets] == [ISBNS_AT_ONCE, ISBNS_AT_ONCE, 50]
    assert [isbn for each in targets for isbn in each.isbns] == isbns
    assert [each.units_expected for each in targets] == [100, 100, 50]
    assert targets[2].editions_expected == 25


def _valid_sbns(count: int) -> list[int]:
    found = []
    for number in range(14_000_000, 15_000_000):
        if (
            sum(int(digit) * weight for digit, weight in zip(f"{number:09d}", range(9, 0, -1), strict=True))
            % 11
            == 0
        ):
            found.append(number)
        if len(found) == count:
            return found
    raise AssertionError
