"""What the rules of alerts look at: figures of one moment, as values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alexandria.domain.quota_status import Forecast, Status
from alexandria.domain.reserving import is_unlimited


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
