"""The table: each row fails when its own figure does, and only then."""

from dataclasses import replace

import pytest

from alexandria.rehearsal.likeness import Likeness
from alexandria.rehearsal.measures import AuthorPages, Day, Figures, economy, measure
from alexandria.rehearsal.scenario import Targets

PERFECT = Likeness(100, 100, 100)
GOOD = Figures(
    refused_429=0,
    authors_ended=1000,
    authors_failed=9,
    authors_lost=0,
    covers=5000,
    new_releases=100,
    day=Day(13_000, 12_987, 12_987),
    day_before=Day(13_000, 13_000, 13_001),
    discrepancies=0,
    pages={"author/a": AuthorPages(250, 250, 3), "author/b": AuthorPages(0, 0, 1)},
    duplicate_works=0,
    duplicate_authors=0,
    works=Likeness(100, 102, 99),
    works_in_language=Likeness(100, 100, 97),
    authors=PERFECT,
)


def failing(figures: Figures) -> list[str]:
    return [each.name for each in measure(figures, Targets()) if not each.holds]


def test_what_just_suffices_holds() -> None:
    assert failing(GOOD) == []


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ({"refused_429": 1}, "429 answers from the provider"),
        ({"authors_ended": 999}, "authors processed"),
        ({"authors_failed": 10}, "authors failed for good"),
        ({"authors_lost": 1}, "authors lost"),
        ({"covers": 4999}, "covers stored"),
        ({"new_releases": 99}, "new releases enriched"),
        ({"day": Day(13_000, 12_986, 12_986)}, "units used of 13,000"),
        ({"day": Day(13_000, 13_001, 13_001)}, "units used of 13,000"),
        ({"day": Day(13_000, 13_000, 12_999)}, "units by which ledger and provider differ"),
        ({"day": Day(13_000, 12_999, 13_000)}, "units by which ledger and provider differ"),
        ({"discrepancies": 1}, "units by which ledger and provider differ"),
        ({"day_before": Day(13_000, 13_001, 13_001)}, "units used the day before"),
        ({"day_before": Day(13_000, 12_001, 12_000)}, "units used the day before"),
        (
            {"pages": {"author/a": AuthorPages(250, 244, 3)}},
            "editions per unit on author pages, of what full pages allow",
        ),
        ({"duplicate_works": 1}, "works made twice by concurrency"),
        ({"duplicate_authors": 1}, "authors made twice by concurrency"),
        ({"works": Likeness(100, 101, 98)}, "works: precision"),
        ({"works": Likeness(100, 103, 99)}, "works: recall"),
        ({"works_in_language": Likeness(100, 100, 96)}, "works: recall within a language"),
        ({"authors": Likeness(100, 100, 98)}, "authors: precision"),
        ({"authors": Likeness(96, 100, 96)}, "authors: recall"),
    ],
)
def test_each_figure_that_does_not_suffice_fails_its_row_alone(change: dict[str, object], row: str) -> None:
    assert failing(replace(GOOD, **change)) == [row]  # type: ignore[arg-type]  # each as its field wants it


def test_full_pages_are_what_is_allowed() -> None:
    assert economy([AuthorPages(250, 250, 3), AuthorPages(7, 7, 1)]) == 1.0


def test_a_page_that_was_paid_for_twice_counts_as_two() -> None:
    assert economy([AuthorPages(250, 250, 3), AuthorPages(7, 7, 2)]) == pytest.approx(4 / 5)


def test_editions_that_were_not_shown_count_against_it() -> None:
    assert economy([AuthorPages(100, 90, 1)]) == pytest.approx(0.9)


def test_authors_of_whom_the_provider_has_nothing_are_left_out() -> None:
    assert economy([AuthorPages(10, 10, 1), AuthorPages(0, 0, 5)]) == 1.0


def test_what_another_run_had_paid_for_costs_nothing() -> None:
    assert economy([AuthorPages(10, 10, 0), AuthorPages(10, 10, 1)]) == 1.0


def test_without_any_page_nothing_was_reached() -> None:
    assert economy([]) == 0.0
