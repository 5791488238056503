"""What was charged, hour by hour or by whom, and the ledger's lines: the quota's past, as it is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum, auto
from uuid import UUID

from alexandria.domain.errors import InvalidInput
from alexandria.domain.quota import Kind, Lane

MOST_DAYS = 366
"""Days of one report: a year, for comparing with the provider's bill."""


class By(StrEnum):
    """What a report has a line for."""

    HOUR = auto()
    DAY = auto()
    LANE = auto()
    CONSUMER = auto()


@dataclass(frozen=True, slots=True)
class Span:
    """Days of the provider, the first and the last included."""

    first_day: date
    last_day: date

    @classmethod
    def of(cls, *, day: date | None, days: int | None, today: date) -> "Span":
        """One day, or the last `days` up to today; today if neither is given. Raises InvalidInput for both, or for too many."""
        if day is not None and days is not None:
            raise InvalidInput("days", days, "is for the last days, `day` for a single one: give one of them")
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise InvalidInput("days", days, f"must lie between 1 and {MOST_DAYS}")
        last = day or today
        return cls(last - timedelta(days=(days or 1) - 1), last)

    @property
    def usual_lines(self) -> By:
        """What a report of it has a line for unless something else is asked for."""
        return By.HOUR if self.first_day == self.last_day else By.DAY


@dataclass(frozen=True, slots=True)
class Line:
    """What was charged in one hour, on one day, in one lane or by one consumer, in units.

    What the line is not about is None. Lane and consumer are None too where somebody else spent, or the provider's count corrected
    ours. Hours are those of UTC in which a call was reserved, by the store's clock.
    """

    day: date | None = None
    hour: datetime | None = None
    lane: Lane | None = None
    consumer: str | None = None
    requests: int = 0
    settled: int = 0
    reserved: int = 0
    unresolved: int = 0
    released: int = 0
    """Reservations that were given back, not units."""
    foreign: int = 0
    """What the provider counted beyond ours, in the hour in which that was noticed."""
    reconciled: int = 0
    """The correction where the provider counted less than ours, so mostly below 0."""

    @property
    def units(self) -> int:
        """Everything that is charged."""
        return self.settled + self.reserved + self.unresolved + self.foreign + self.reconciled

    def figures(self) -> dict[str, int]:
        """Its figures and their sum, by name."""
        return {"units": self.units, **{name: getattr(self, name) for name in FIGURES}}

    def as_json(self) -> dict[str, object]:
        """For the CLI."""
        hour = self.hour and self.hour.isoformat()
        day = self.day and self.day.isoformat()
        return {"day": day, "hour": hour, "lane": self.lane, "consumer": self.consumer, **self.figures()}


FIGURES = ("requests", "settled", "reserved", "unresolved", "released", "foreign", "reconciled")
"""The names of a line's figures, without their sum."""


def total(lines: Sequence[Line]) -> Line:
    """All lines added up; the units of a single day's are what its window is charged."""
    return Line(**{name: sum(getattr(line, name) for line in lines) for name in FIGURES})


class LedgerKind(StrEnum):
    """What an entry may say: what is written today, and what earlier versions wrote."""

    RESERVE = Kind.RESERVE.value
    SETTLE = Kind.SETTLE.value
    RELEASE = Kind.RELEASE.value
    UNRESOLVE = Kind.UNRESOLVE.value
    CARRY = Kind.CARRY.value
    FOREIGN = Kind.FOREIGN.value
    RECONCILE = Kind.RECONCILE.value
    EXPIRE = auto()
    """Now called unresolve."""
    ADJUST = auto()
    """A correction by hand."""


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """An entry of the ledger as it was written, and whose reservation it concerns, if it concerns one."""

    entry: int
    """Its number: a later entry has a higher one."""
    day: date
    recorded_at: datetime
    kind: LedgerKind
    units: int
    detail: str
    request_id: UUID | None
    lane: Lane | None
    consumer: str | None
    job: str | None
