"""How an account stands: what was used of the day, by whom, what is left for whom, and how it will go on."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from alexandria.domain.quota import (
    Account,
    DenialReason,
    Denied,
    Lane,
    Policy,
    Request,
    State,
    Stop,
    Window,
)
from alexandria.domain.reserving import is_unlimited, kept_back, limit_on, melt, proposed_day, reserve

PACE_SPAN = timedelta(hours=1)
"""The pace of a forecast is that of the last hour: long enough to see a schedule, short enough to follow a new run."""

_MOST_DAYS = 36_525
"""A forecast further ahead than a century says nothing."""

_CLEARED_UP_BY_ASKING = frozenset({DenialReason.PACED, DenialReason.UNCONFIRMED})


@dataclass(frozen=True, slots=True)
class Usage:
    """What one consumer has used of the day in one lane, in units; `requests` is how many requests that took."""

    lane: Lane
    consumer: str
    requests: int
    settled: int
    reserved: int
    unresolved: int

    @property
    def units(self) -> int:
        """Everything that is charged for it."""
        return self.settled + self.reserved + self.unresolved


@dataclass(frozen=True, slots=True)
class Forecast:
    """How the day goes on at the pace of its last hour, and how long the queued work takes. None where there is no limit for a day."""

    units_per_hour: float
    exhausted_at: datetime | None
    """When nothing is left at this pace, the present when nothing is; None when that is not before the reset."""
    units_left_at_reset: int | None
    """What is not spent by then at this pace."""
    units_queued: int
    """What open runs are expected to need."""
    days_queued: float | None
    """The same in whole days' units; None when nothing may be spent at all."""
    queue_done_on: date | None
    """The provider's day on which the queued work ends when it gets all that is left of each day; None as above."""

    def as_json(self) -> dict[str, object]:
        """For the CLI and the API."""
        return {
            **asdict(self),
            "exhausted_at": self.exhausted_at and self.exhausted_at.isoformat(),
            "queue_done_on": self.queue_done_on and self.queue_done_on.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Status:
    """How an account stands at `read_at`; all figures are units of `day`."""

    policy: Policy
    read_at: datetime
    state: State
    """Its window is that of `day`, opened or not."""
    is_confirmed: bool = True
    """Whether the provider has said that it is `day`; False shortly after midnight, and before the first call."""
    provider_total: int | None = None
    provider_spent: int | None = None
    provider_read_at: datetime | None = None
    """The provider's own count, when it was last asked that day."""
    usages: Sequence[Usage] = field(default=())

    @property
    def account(self) -> Account:
        """Whose units these are."""
        return self.state.account

    @property
    def window(self) -> Window:
        """The day's count."""
        return self.state.window or Window(proposed_day(self.state, self.policy, self.read_at))

    @property
    def day(self) -> date:
        """The provider's day."""
        return self.window.day

    @property
    def used(self) -> int:
        """Everything charged to the day: settled, reserved, unresolved and foreign."""
        return self.window.units_charged

    @property
    def limit(self) -> int:
        """What may be charged: the safe limit, or less if the provider grants less."""
        return limit_on(self.window, self.policy)

    @property
    def settled(self) -> int:
        """Charged for calls whose outcome is known."""
        return sum(each.settled for each in self.usages)

    @property
    def reserved(self) -> int:
        """Charged for calls in flight."""
        return sum(each.reserved for each in self.usages)

    @property
    def unresolved(self) -> int:
        """Charged for calls whose cost nobody knows; spent until the provider's count proves otherwise."""
        return sum(each.unresolved for each in self.usages)

    @property
    def foreign(self) -> int:
        """What the provider counted beyond ours; negative when it counted less than we thought."""
        return self.used - self.settled - self.reserved - self.unresolved

    @property
    def remaining(self) -> int:
        """What may still be spent below the safe limit."""
        return max(0, self.limit - self.used)

    @property
    def stop(self) -> Stop | None:
        """What stops everybody now; None when nothing does."""
        stop = self.state.stop
        return stop if stop and stop.holds(self.read_at) else None

    @property
    def next_slot_at(self) -> datetime | None:
        """The first time that is free for a request."""
        slot = self.state.next_slot_at
        return slot + self.state.clock_shift if slot else None

    @property
    def percentage_used(self) -> float:
        """Of the safe limit, with two decimals; 100 means that nothing is sent any more."""
        return round(100 * self.used / self.limit, 2) if self.limit else 100.0

    @property
    def resets_at(self) -> datetime:
        """The provider's next midnight, by its clock."""
        return self.policy.days.ends_at(self.day)

    def hindrance(self, lane: Lane = Lane.INTERACTIVE) -> Denied | None:
        """Why a call of one unit could not be reserved now, but for the wait for its slot; None when it could.

        What the coordinator clears up by asking the provider for its count hinders nobody.
        """
        request = Request(UUID(int=0), lane, "status", 1)
        state = replace(self.state, next_slot_at=None, is_known=True, recorded=None)
        decision = reserve(state, request, replace(self.policy, has_counter=False), self.read_at)
        hinders = isinstance(decision, Denied) and decision.reason not in _CLEARED_UP_BY_ASKING
        return decision if isinstance(decision, Denied) and hinders else None

    @property
    def can_make_calls(self) -> bool:
        """Whether a call of one unit could be reserved now, but for the wait for its slot."""
        return self.hindrance() is None

    def lanes(self) -> list[dict[str, object]]:
        """For each lane: its floor and what still stands of it, what it used, and what it may still spend."""
        standing = melt(self.day, self.policy, self.read_at + self.state.ahead)
        return [
            {
                "lane": lane.value,
                "floor": self.policy.floors.get(lane, 0),
                "floor_standing": int(self.policy.floors.get(lane, 0) * standing),
                "used": self.window.used_in(lane),
                "remaining": max(0, self.remaining - kept_back(self.window, self.policy, lane, standing)),
            }
            for lane in Lane
        ]

    def forecast(self, units_in_span: int, *, units_queued: int = 0) -> Forecast:
        """How the day goes on; `units_in_span` of ours were charged within the last `PACE_SPAN`, or since the day began.

        Foreign use counts with its mean of the day: it is noticed long after it happened, and then all at once.
        """
        now = self.read_at + self.state.ahead
        elapsed = max(now - self.policy.days.begins_at(self.day), timedelta(minutes=1))
        left = max(self.resets_at - now, timedelta(0))
        hour = timedelta(hours=1)
        per_hour = units_in_span / (min(PACE_SPAN, elapsed) / hour) + max(0, self.foreign) / (elapsed / hour)
        # As a number of hours: at a pace of next to nothing it may be longer than any time span can be.
        hours_until = self.remaining / per_hour if per_hour else math.inf
        is_exhausted = not self.remaining or hours_until <= left / hour
        is_limited = not is_unlimited(self.policy)
        days_needed = self._days_needed(units_queued)
        return Forecast(
            units_per_hour=round(per_hour, 1),
            exhausted_at=self.read_at + (timedelta(hours=hours_until) if self.remaining else timedelta(0))
            if is_exhausted and is_limited
            else None,
            units_left_at_reset=max(0, self.remaining - int(per_hour * (left / hour)))
            if is_limited
            else None,
            units_queued=units_queued,
            days_queued=round(units_queued / self.limit, 2) if self.limit and is_limited else None,
            queue_done_on=None if days_needed is None else self.day + timedelta(days=days_needed),
        )

    def _days_needed(self, units: int) -> int | None:
        """How many resets have to come before so many units are spent, if each day grants what this one does; None: too many."""
        more = max(0, units - self.remaining)
        if more > self.limit * _MOST_DAYS:
            return None
        return math.ceil(more / self.limit) if more else 0

    def as_json(self) -> dict[str, object]:
        """For the CLI and the API; the first eight names are the predecessor's (predecessor.md, 1.12)."""
        hard_limit = self.provider_total if self.provider_total is not None else self.policy.hard_limit
        is_limited = not is_unlimited(self.policy)
        return {
            "daily_limit": hard_limit if is_limited else None,
            "safety_limit": self.limit if is_limited else None,
            "used": self.used,
            "remaining": max(0, hard_limit - self.used) if is_limited else None,
            "safety_remaining": self.remaining if is_limited else None,
            "percentage_used": self.percentage_used if is_limited else 0.0,
            "reset_at": self.resets_at.isoformat(),
            "can_make_calls": self.can_make_calls,
            "provider": self.account.provider,
            "day": self.day.isoformat(),
            "is_day_confirmed": self.is_confirmed,
            "units": {
                "settled": self.settled,
                "reserved": self.reserved,
                "unresolved": self.unresolved,
                "foreign": self.foreign,
            },
            "provider_count": self._provider_count(),
            "rate": {
                "requests": (self.state.rate or self.policy.rate).requests,
                "window_seconds": (self.state.rate or self.policy.rate).window.total_seconds(),
                "is_learnt": self.state.rate is not None,
            },
            "next_slot_at": self.next_slot_at and self.next_slot_at.isoformat(),
            "stop": self.stop and self.stop.as_json(),
            "failures_in_a_row": self.state.failures.count,
            "lanes": self.lanes(),
            "consumers": [asdict(each) for each in self.usages],
        }

    def _provider_count(self) -> dict[str, object] | None:
        if self.provider_read_at is None:
            return None
        return {
            "total": self.provider_total,
            "spent": self.provider_spent,
            "read_at": self.provider_read_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A day on which the accounts of what was charged differ: that is a defect, or somebody edited the tables."""

    account: Account
    day: date
    window_units: int
    ledger_units: int
    reservation_units: int

    def __str__(self) -> str:
        return (
            f"{self.account.provider} {self.day}: the window says {self.window_units:,} units, the ledger"
            f" {self.ledger_units:,}, the reservations {self.reservation_units:,}"
        )
