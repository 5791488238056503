"""What a rehearsal must come to: its figures in, the table of issue 4 out. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alexandria.rehearsal.likeness import Likeness
from alexandria.rehearsal.scenario import Targets

PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Measure:
    """One row: what was measured, what it must be, and whether it is."""

    name: str
    value: float
    must_be: str
    holds: bool
    remark: str = ""

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "must_be": self.must_be,
            "holds": self.holds,
            "remark": self.remark,
        }


@dataclass(frozen=True, slots=True)
class Day:
    """One provider day, as the provider counted it and as our ledger has it."""

    limit: int
    provider: int
    ledger: int
    outside: int = 0
    """Of the ledger: reserved by the program outside."""
    foreign: int = 0
    """Of the ledger: noticed to have been spent by somebody who did not ask."""


@dataclass(frozen=True, slots=True)
class AuthorPages:
    """What the pages of one author cost, and what they showed."""

    books: int
    """That the provider truly has under the name."""
    shown: int
    units: int


@dataclass(frozen=True)
class Figures:
    """Everything that was counted."""

    refused_429: int
    authors_ended: int
    authors_failed: int
    authors_lost: int
    """Items of the tier that did not end."""
    covers: int
    new_releases: int
    day: Day
    day_before: Day
    discrepancies: int
    """Between windows, ledger and reservations, of any day."""
    pages: Mapping[str, AuthorPages]
    """By the name that was asked for."""
    duplicate_works: int
    duplicate_authors: int
    works: Likeness
    """Pairs of editions in one work, by the truth about works: its precision counts."""
    works_in_language: Likeness
    """The same among editions of one language: its recall counts."""
    authors: Likeness


def measure(figures: Figures, targets: Targets) -> list[Measure]:
    """The table, one row for each thing that must hold."""
    day, before = figures.day, figures.day_before
    author_items = figures.authors_ended + figures.authors_lost
    failed_share = figures.authors_failed / max(1, author_items)
    least = day.limit - targets.units_left
    difference = abs(day.ledger - day.provider)
    split = f"{day.outside:,} by the program outside, {day.foreign:,} without asking"
    return [
        _exactly("429 answers from the provider", figures.refused_429, 0),
        _at_least("authors processed", figures.authors_ended, targets.authors),
        _below("authors failed for good", failed_share, targets.failed_share),
        _exactly("authors lost", figures.authors_lost, 0),
        _at_least("covers stored", figures.covers, targets.covers),
        _at_least("new releases enriched", figures.new_releases, targets.new_releases),
        Measure(
            f"units used of {day.limit:,}",
            day.provider,
            f"{least:,} to {day.limit:,}",
            least <= day.provider <= day.limit,
            split,
        ),
        _exactly(
            "units by which ledger and provider differ",
            difference + figures.discrepancies,
            0,
            f"{day.ledger:,} and {day.provider:,}",
        ),
        Measure(
            "units used the day before",
            before.provider,
            f"at most {before.limit:,}, and no more than the ledger",
            # Its count can't be asked any more once it is over, so what nobody knows about its last calls stays charged.
            before.provider <= min(before.limit, before.ledger),
            f"{before.ledger:,} by the ledger",
        ),
        _at_least(
            "editions per unit on author pages, of what full pages allow",
            economy(figures.pages.values()),
            targets.per_unit,
            _vain(figures.pages.values()),
        ),
        _exactly("works made twice by concurrency", figures.duplicate_works, 0),
        _exactly("authors made twice by concurrency", figures.duplicate_authors, 0),
        _at_least("works: precision", figures.works.precision, targets.precision),
        _at_least("works: recall", figures.works.recall, targets.recall),
        _at_least("works: recall within a language", figures.works_in_language.recall, targets.recall),
        _at_least("authors: precision", figures.authors.precision, targets.precision),
        _at_least("authors: recall", figures.authors.recall, targets.recall),
    ]


def economy(pages: Iterable[AuthorPages]) -> float:
    """Editions for each unit of author pages, against full pages: (sum shown / sum units) / (sum books / sum ceil(books / 100)).

    Over the authors of whom the provider has something: that it has nothing of the others, only asking could tell.
    """
    known = [each for each in pages if each.books and each.units]
    units = sum(each.units for each in known)
    books = sum(each.books for each in known)
    if not units or not books:
        return 0.0
    allowed = books / sum(math.ceil(each.books / PAGE_SIZE) for each in known)
    return sum(each.shown for each in known) / units / allowed


def _vain(pages: Iterable[AuthorPages]) -> str:
    units = sum(each.units for each in pages if not each.books)
    return f"{units:,} units told that there is nothing of an author"


def _exactly(name: str, value: int, wanted: int, remark: str = "") -> Measure:
    return Measure(name, value, str(wanted), value == wanted, remark)


def _at_least(name: str, value: float, least: float, remark: str = "") -> Measure:
    return Measure(name, value, f"at least {least:,}", value >= least, remark)


def _below(name: str, value: float, most: float, remark: str = "") -> Measure:
    return Measure(name, value, f"below {most:,}", value < most, remark)
