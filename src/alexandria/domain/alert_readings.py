"""What the rules of alerts look at: figures of one moment, as values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alexandria.domain.quota_status import Forecast, Status
from alexandria.domain.reserving import is_unlimited

DIFFERENCE_SHARE, LEAST_DIFFERENCE = 0.01, 50
"""Foreign use, or a correction, below one percent of the day and below 50 units is within what calls in flight explain."""


@dataclass(frozen=True, slots=True)
class AccountReading:
    """How an account stands."""

    status: Status
    forecast: Forecast
    ledger_units: int | None = None
    """What the day's ledger adds up to, read together with `window_units`; None when its day has not begun."""
    window_units: int | None = None

    @property
    def provider(self) -> str:
        """Whose units these are."""
        return self.status.account.provider

    @property
    def of_day(self) -> str:
        """The subject of what is told once a day."""
        return f"{self.provider} {self.status.day}"

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit for a day, and anything to spend of it."""
        return not is_unlimited(self.status.policy) and self.status.limit > 0

    @property
    def least_difference(self) -> float:
        """Units by which our count and the provider's differ when that is worth a word."""
        return max(LEAST_DIFFERENCE, DIFFERENCE_SHARE * self.status.limit)

    @property
    def difference(self) -> str | None:
        """How our books differ from each other, or by more than they may from what the provider counted; None when they don't."""
        status = self.status
        if self.ledger_units != self.window_units:
            return f"the ledger adds up to {self.ledger_units:,} units, the day to {self.window_units:,}"
        if status.provider_spent is not None and status.provider_spent > status.used:
            return f"the provider counted {status.provider_spent:,} units, the ledger {status.used:,}"
        if self.is_limited and -status.foreign >= self.least_difference:
            return f"the provider counted {-status.foreign:,} units fewer than were charged"
        return None


@dataclass(frozen=True, slots=True)
class QueueReading:
    """One kind of job."""

    kind: str
    oldest_waits: timedelta
    """How long the oldest job has waited that could run; zero when none does."""
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The size of a backlog at a moment."""

    at: datetime
    size: int


@dataclass(frozen=True, slots=True)
class BacklogReading:
    """What is still to be done, of items or of covers, as it was sampled, the oldest first."""

    name: str
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class RunReading:
    """A run that is running and has something due."""

    run_id: str
    quiet_for: timedelta
    """Since it began, was resumed, or an item of it was last touched."""


@dataclass(frozen=True)
class Reading:
    """Everything the rules look at that is the same for all processes."""

    at: datetime
    accounts: Sequence[AccountReading] = ()
    queues: Sequence[QueueReading] = ()
    backlogs: Sequence[BacklogReading] = ()
    runs: Sequence[RunReading] = ()


@dataclass(frozen=True, slots=True)
class DiskReading:
    """The disk under one machine's data folder, in bytes."""

    folder: str
    host: str
    free: int
    least: int
    """The threshold."""
    covers_least: int = 0
    """Below that no covers are fetched (docs/backpressure.md); 0 where none are kept there."""
