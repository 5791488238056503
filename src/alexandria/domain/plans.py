"""A plan: what a run would ask for, in order, before anything is spent."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from alexandria.domain.quota import Rate
from alexandria.domain.targets import Target, TargetKind


class Kind(StrEnum):
    """What a run harvests."""

    AUTHORS = "authors"
    TIERS = "tiers"
    NEW_RELEASES = "new_releases"
    ISBNS = "isbns"
    COVERS = "covers"
    UPDATES = "updates"
    GAPS = "gaps"
    PEOPLE = "people"


_CONSUMERS: Mapping[Kind, str] = {
    Kind.AUTHORS: "author-bibliography",
    Kind.TIERS: "bulk-authors",
    Kind.NEW_RELEASES: "new-releases",
    Kind.ISBNS: "batch-direct",
    Kind.COVERS: "covers",
    Kind.UPDATES: "updates",
    Kind.GAPS: "gaps",
    Kind.PEOPLE: "people",
}


def needs_key(kind: str) -> bool:
    """Whether runs of this kind ask the provider whose key it is; the others ask sources that cost nothing."""
    return Kind(kind) is not Kind.PEOPLE


def consumer_of(kind: str) -> str:
    """In whose name a kind of run spends (design.md, section 5)."""
    return _CONSUMERS[Kind(kind)]


_ONE_CALL = frozenset({TargetKind.ISBNS, TargetKind.FEED, TargetKind.PEOPLE})
"""What is asked for in one call; the others are asked for page by page."""


@dataclass(frozen=True)
class PlanLine:
    """One target: what it asks for, how many of its pages are stored and fresh, and how many new editions it should bring."""

    target: Target
    pages_fresh: int
    editions_expected: float

    @property
    def subject(self) -> str:
        """What is asked for, in our words."""
        return self.target.subject

    @property
    def name(self) -> str:
        """How the provider is asked."""
        return self.target.name

    @property
    def units_expected(self) -> int:
        """What it is expected to cost."""
        return round(self.target.units_expected)


@dataclass(frozen=True)
class Plan:
    """What a run would do, before anything is spent. `fresh_since`: pages fetched since then are not asked again."""

    kind: Kind
    lines: tuple[PlanLine, ...]
    max_pages: int
    fresh_since: datetime
    anew: bool = False
    """Whether ISBNs are asked for however fresh their answers are."""

    @property
    def targets(self) -> list[Target]:
        """What is asked for, in order."""
        return [line.target for line in self.lines]

    @property
    def units_expected(self) -> int:
        """Units that the whole plan is expected to cost."""
        return sum(line.units_expected for line in self.lines)

    @property
    def editions_expected(self) -> int:
        """New editions that the whole plan is expected to bring."""
        return round(sum(line.editions_expected for line in self.lines))

    @property
    def calls_expected(self) -> int:
        """Requests that the whole plan is expected to send: a page each, and a bulk call for each target of ISBNs."""
        return sum(1 if line.target.kind in _ONE_CALL else line.units_expected for line in self.lines)


@dataclass(frozen=True)
class OutlookLine:
    """What is still open of one run, of one kind of target."""

    run: str
    kind: str
    lane: str
    state: str
    target: TargetKind
    items: int
    units: float
    calls: float
    editions_expected: float

    @property
    def editions_per_unit(self) -> float:
        """New editions for a unit; what costs nothing buys most."""
        return self.editions_expected / self.units if self.units > 0 else math.inf


def finishes_at(
    now: datetime,
    *,
    units: int,
    calls: int,
    left_today: int,
    units_a_day: int,
    rate: Rate,
    resets_at: datetime,
) -> datetime | None:
    """When so many calls for so many units are through if nothing else is asked; None when nothing may ever be spent.

    A day's units last for the day: what goes beyond those of today begins at the reset, and every full day's worth takes a day.
    """
    pace = rate.window / rate.requests
    if units <= left_today:
        return now + calls * pace
    if units_a_day <= 0:
        return None
    rest = units - left_today
    whole_days, last = divmod(rest, units_a_day)
    if not last:
        whole_days, last = whole_days - 1, units_a_day
    # Of a mean price: which calls are left for the last day nobody knows.
    return resets_at + timedelta(days=whole_days) + (calls * last / units) * pace
