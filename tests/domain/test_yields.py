"""What calls are expected to buy, in which order they are asked, when a plan is through, and when to ask again."""

from datetime import UTC, datetime, timedelta

import pytest

from alexandria.domain.asking import Answered
from alexandria.domain.isbn import Isbn
from alexandria.domain.plans import finishes_at
from alexandria.domain.quota import Rate
from alexandria.domain.targets import Target, TargetKind, isbn_targets
from alexandria.domain.yields import Experience, Yields, guess_isbn, guess_pages

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RESET = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("total", "held", "pages", "fresh", "units", "editions"),
    [
        (None, 0, 100, 0, 1, 0.5),  # nothing is known: one page
        (None, 250, 100, 0, 3, 125),  # half of it is likely to be new
        (None, 250, 2, 0, 2, 100),  # only two pages are allowed
        (None, 250, 100, 1, 2, 75),  # the first page need not be asked
        (320, 20, 100, 0, 4, 300),  # the provider said how many there are
        (320, 320, 100, 0, 4, 0),  # and we have them all
        (320, 100, 100, 2, 2, 120),  # at most what lies on the pages that are asked for
        (320, 0, 100, 4, 0, 0),  # everything is fresh
        (0, 0, 100, 0, 1, 0),
    ],
)
def test_pages_are_guessed_from_what_the_provider_said_or_from_what_we_hold(
    total: int | None, held: int, pages: int, fresh: int, units: int, editions: float
) -> None:
    guess = guess_pages(TargetKind.AUTHOR, total=total, held=held, pages=pages, pages_fresh=fresh)
    assert guess == (units, editions)


def target(kind: TargetKind, units: float, editions: float) -> Target:
    return Target(kind, f"{kind} {units} {editions}", "x", units_expected=units, editions_expected=editions)


def test_what_buys_most_for_a_unit_comes_first_and_what_is_free_before_it() -> None:
    full, thin = target(TargetKind.AUTHOR, 3, 150), target(TargetKind.AUTHOR, 1, 2)
    (isbns,) = isbn_targets([Isbn("9780306406157")], editions_each=guess_isbn(is_held=False))
    (gap,) = isbn_targets([Isbn("9780306406157")], editions_each=guess_isbn(is_held=True))
    free = target(TargetKind.FEED, 0, 0)
    assert Yields.learnt([]).in_order([gap, thin, isbns, full, free]) == [free, full, thin, isbns, gap]


def test_experience_corrects_the_guess_the_more_the_more_there_is_of_it() -> None:
    disappointing = Experience(
        TargetKind.AUTHOR, units_expected=980, editions_expected=1000, editions_new=100
    )
    yields = Yields.learnt([disappointing])
    assert yields.factors[TargetKind.AUTHOR] == pytest.approx(0.02 + 0.98 * 0.1)
    assert yields.factors[TargetKind.ISBNS] == 1
    little = Experience(TargetKind.AUTHOR, units_expected=1, editions_expected=50, editions_new=0)
    assert Yields.learnt([little]).factors[TargetKind.AUTHOR] > 0.9
    lucky = Experience(TargetKind.MONTH, units_expected=1000, editions_expected=1, editions_new=1000)
    assert Yields.learnt([lucky]).factors[TargetKind.MONTH] == 10, "never beyond all measure"
    page, isbn = target(TargetKind.AUTHOR, 1, 4), target(TargetKind.ISBNS, 1, 0.5)
    assert Yields.learnt([]).in_order([isbn, page]) == [page, isbn]
    assert yields.in_order([isbn, page]) == [isbn, page], "an ISBN buys more than such a page"


@pytest.mark.parametrize(
    ("units", "calls", "left", "expected"),
    [
        (0, 0, 100, NOW),
        (90, 90, 100, NOW + timedelta(seconds=30)),
        (1000, 10, 1000, NOW + timedelta(seconds=10 / 3)),
        (150, 150, 100, RESET + timedelta(seconds=50 / 3)),
        (100 + 1000, 1100, 100, RESET + timedelta(seconds=1000 / 3)),
        (100 + 2500, 2600, 100, RESET + timedelta(days=2, seconds=500 / 3)),
        (5, 5, 0, RESET + timedelta(seconds=5 / 3)),
    ],
)
def test_a_plan_is_through_at_the_providers_pace_and_not_before_there_are_units(
    units: int, calls: int, left: int, expected: datetime
) -> None:
    through = finishes_at(
        NOW,
        units=units,
        calls=calls,
        left_today=left,
        units_a_day=1000,
        rate=Rate(180, timedelta(minutes=1)),
        resets_at=RESET,
    )
    assert through is not None
    assert abs(through - expected) < timedelta(milliseconds=1)


def test_a_plan_for_which_there_are_never_units_is_never_through() -> None:
    rate = Rate(180, timedelta(minutes=1))
    assert finishes_at(NOW, units=5, calls=5, left_today=0, units_a_day=0, rate=rate, resets_at=RESET) is None


@pytest.mark.parametrize(("misses", "days"), [(0, 12), (1, 1), (2, 7), (3, 30), (9, 30)])
def test_absences_are_believed_longer_and_longer_and_answers_while_they_are_fresh(
    misses: int, days: int
) -> None:
    assert Answered(NOW, misses).asks_again_at(timedelta(days=12)) == NOW + timedelta(days=days)
