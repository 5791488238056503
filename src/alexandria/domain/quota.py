"""The quota's words: whose units, by which policy, for which request, and what is known of an account.

What may be sent is decided in `reserving.py`, what a call turned out to cost in `settling.py`, what the provider's own count
proves in `reconciling.py`. All of it is pure: values come in, a `Change` goes out, and the store (`stores/quota.py`) writes it
down while it holds the account's row locked (design.md, section 5).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum, auto
from functools import cached_property
from uuid import UUID

from alexandria.domain.errors import InvalidInput
from alexandria.domain.quota_days import Days

UNLIMITED = 2_147_483_647
"""The limit of a provider that has none for a day: more than any of them answers, and what an `int` column can hold."""

RECONCILER = "reconciliation"
"""The consumer of the free calls that ask a provider for its own count; they pass where a paid call would not."""

ARRIVAL_SPAN = timedelta(minutes=2)
"""How long after its `use_before` a call may still reach the provider, or its answer us: longer than the longest call."""


class Lane(StrEnum):
    """Who waits for the answer: a person, a clock, or nobody (design.md, section 5); the higher lane comes first."""

    INTERACTIVE = auto()
    SCHEDULED = auto()
    BULK = auto()

    @property
    def above(self) -> tuple["Lane", ...]:
        """The lanes whose floors this one leaves alone."""
        return tuple(Lane)[: tuple(Lane).index(self)]


class DenialReason(StrEnum):
    """Why nothing may be sent now; docs/quota.md says for each what to do."""

    EXHAUSTED = auto()
    SHARE = auto()
    CEILING = auto()
    PACED = auto()
    BREAKER = auto()
    SUSPENDED = auto()
    GUARD = auto()
    UNCONFIRMED = auto()
    INVALID = auto()
    UNAVAILABLE = auto()


STOP_REASONS = frozenset({DenialReason.EXHAUSTED, DenialReason.BREAKER, DenialReason.SUSPENDED})
"""What an answer can stop an account for: a daily 429, a per-minute 429, a 401 or 403."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose units are spent: a provider and one of its keys, so that a new key starts afresh (hard-cases.md, G14)."""

    provider: str
    key_hash: str
    """The first 16 hexadecimal digits of the key's SHA-256; the key itself is never stored."""

    @classmethod
    def of(cls, provider: str, key: str) -> "Account":
        """The account that a key belongs to; an empty key is a provider's free access without one."""
        return cls(provider, hashlib.sha256(key.encode()).hexdigest()[:16])


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `requests` in any span as long as `window`."""

    requests: int
    window: timedelta


@dataclass(frozen=True)
class Policy:
    """What one account may spend, how fast, and who comes first. Raises InvalidInput when the figures contradict each other.

    A policy is data: `providers/policies.py` holds one for each provider, and nothing else about a provider's limits is code.
    """

    hard_limit: int = 15_000
    """Units a day that the provider grants (contracts/isbndb.md, section 5)."""
    safe_limit: int = 13_000
    """Units a day that are spent at most, by whomever (design.md, section 5)."""
    requests_per_window: int = 180
    window: timedelta = timedelta(seconds=60)
    """At most so many requests in any span so long (contracts/isbndb.md, section 5: Premium)."""
    fence_span: timedelta = timedelta(seconds=3)
    """How long after its `not_before` a request may still be sent."""
    guard_span: timedelta = timedelta(seconds=5)
    """Nothing is sent so close to the provider's midnight, on either side (hard-cases.md, G16)."""
    longest_wait: timedelta = timedelta(seconds=15)
    """A slot further ahead is denied instead of granted; lower lanes may look even less far ahead (`pacing.py`)."""
    reset_zone: str = "UTC"
    """Where the provider's day begins at midnight, as a name of the time zone database."""
    has_counter: bool = False
    """Whether the provider tells its own count for nothing: then no unit is spent before that count and its day are known."""
    floors: Mapping[Lane, int] = field(default_factory=dict)
    """Units of the day that lower lanes leave for a lane, until they melt."""
    melt_begins: timedelta = timedelta(hours=4)
    melt_ends: timedelta = timedelta(minutes=30)
    """Between so long before the reset and so long before it the floors melt to nothing: what nobody waits for uses up the day."""
    ceilings: Mapping[str, int] = field(default_factory=dict)
    """Units a day that one consumer may spend at most."""
    needs_contact: bool = False
    """Whether the provider refuses callers that don't name a contact (contracts/openlibrary.md, section 6; wikidata.md, 5)."""

    def __post_init__(self) -> None:
        if not 0 <= self.safe_limit <= self.hard_limit:
            reason = f"must lie between 0 and the hard limit, {self.hard_limit:,}"
            raise InvalidInput("safe_limit", self.safe_limit, reason)
        if self.requests_per_window < 1:
            raise InvalidInput("requests_per_window", self.requests_per_window, "must be 1 or more")
        if self.window <= timedelta(0):
            raise InvalidInput("window", self.window, "must be longer than nothing")
        for name in ("fence_span", "guard_span", "longest_wait"):
            if not timedelta(0) <= (span := getattr(self, name)) <= timedelta(hours=6):
                raise InvalidInput(name, span, "must lie between 0 and 6 hours")
        if not timedelta(0) <= self.melt_ends < self.melt_begins <= timedelta(days=1):
            raise InvalidInput("melt_begins", self.melt_begins, "must come before melt_ends, within a day")
        if min([*self.floors.values(), *self.ceilings.values()], default=0) < 0:
            raise InvalidInput("floors", dict(self.floors), "floors and ceilings must not be negative")
        if sum(self.floors.values()) > self.safe_limit:
            raise InvalidInput(
                "floors", dict(self.floors), f"together more than the safe limit, {self.safe_limit:,}"
            )

    @cached_property
    def days(self) -> Days:
        """The provider's calendar."""
        return Days(self.reset_zone)

    @property
    def rate(self) -> Rate:
        """The pace that is configured; the provider may turn out to grant less."""
        return Rate(self.requests_per_window, self.window)

    def limit_of(self, total: int) -> int:
        """The units to spend at most of a day's allowance of `total`: the same share as of the hard limit, and never more."""
        return min(self.safe_limit, total * self.safe_limit // self.hard_limit) if self.hard_limit else 0


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants to send: `units` is what the provider charges, `requests` what its rate window counts."""

    request_id: UUID
    lane: Lane
    consumer: str
    units: int
    requests: int = 1
    job: str | None = None

    @property
    def is_probe(self) -> bool:
        """Whether it only asks for the provider's own count: it costs nothing, and answers what holds others up."""
        return self.units == 0 and self.consumer == RECONCILER

    @property
    def run(self) -> str | None:
        """The run that it may belong to: jobs of runs are named `run/position`; other programs' may have any name."""
        run, slash, _ = (self.job or "").partition("/")
        return run if slash and run else None


@dataclass(frozen=True, slots=True)
class Reservation:
    """Leave to send once, not before `not_before` and not after `use_before`; its units are charged to `day`.

    The times are steady time (`State.clock_shift`). `as_of` is the moment of the answer: who has another clock counts from there.
    """

    request_id: UUID
    account: Account
    day: date
    units: int
    not_before: datetime
    use_before: datetime
    as_of: datetime = field(compare=False)


class ReservationState(StrEnum):
    """What has become of a reservation; all but `released` count against the day."""

    RESERVED = auto()
    SETTLED = auto()
    RELEASED = auto()
    UNRESOLVED = auto()
    """It may have been sent, and nobody knows what it cost: charged until the provider's own count proves otherwise."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a reservation: its request, its state and what it is charged, on its own day and on the next."""

    request: Request
    reservation: Reservation
    state: ReservationState = ReservationState.RESERVED
    units_charged: int = 0
    carried_to: date | None = None
    """The next day, when the call may have been counted there: then it is charged on both until that is known."""
    units_carried: int = 0
    is_day_known: bool = False
    """Whether its answer told on which day it was counted, be it not at what cost."""


@dataclass(frozen=True, slots=True)
class Stop:
    """An answer that stopped everybody who shares the account; `until` None holds until a person or a free probe resumes."""

    reason: DenialReason
    detail: str
    stopped_at: datetime
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        """Whether nothing may be sent at `now`."""
        return self.until is None or now < self.until

    def as_json(self) -> dict[str, object]:
        """For the CLI and the API."""
        return {
            "reason": self.reason,
            "detail": self.detail,
            "stopped_at": self.stopped_at.isoformat(),
            "until": self.until and self.until.isoformat(),
        }


Spender = tuple[Lane, str]
"""A lane and a consumer in it."""


@dataclass(frozen=True, slots=True)
class Window:
    """One provider day's count."""

    day: date
    units_charged: int = 0
    """Everything: what reservations are charged, and what the provider counted beyond them."""
    used: Mapping[Spender, int] = field(default_factory=dict)
    """The part that reservations are charged, by lane and consumer."""
    total: int | None = None
    """What the provider itself says it grants that day; None before it said so."""

    def used_in(self, lane: Lane) -> int:
        """Units charged to one lane."""
        return sum(units for (each, _), units in self.used.items() if each is lane)

    def used_by(self, consumer: str) -> int:
        """Units charged to one consumer, in whichever lane."""
        return sum(units for (_, each), units in self.used.items() if each == consumer)


@dataclass(frozen=True, slots=True)
class Failures:
    """How often in a row the provider gave no usable answer; the breaker follows from it and from time alone."""

    count: int = 0
    last_at: datetime | None = None
    probed_at: datetime | None = None
    """When a call was last let through to try whether it is well again."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What one harvester may spend, set while it runs (docs/harvesting.md); None is no cap."""

    units_per_day: int | None = None
    units_per_run: int | None = None
    units_of_run: int | None = None
    """What the request's run has been charged; None when it belongs to none, or when there is no cap to compare it with."""


@dataclass(frozen=True, slots=True)
class State:
    """What the store knows about an account, read under its lock."""

    account: Account
    window: Window | None = None
    """The count of `day`; None when nothing was opened yet."""
    ahead: timedelta = timedelta(0)
    """The provider's clock minus the store's, by the last answer's Date."""
    next_slot_at: datetime | None = None
    """The first time that is still free for a request, as steady time; None before the first one."""
    clock_shift: timedelta = timedelta(0)
    """The store's clock minus steady time, which goes on as time does: it changes when somebody sets the clock. Slots are counted in
    steady time, and how long ago something was."""
    rate: Rate | None = None
    """What the provider says it grants; None before it said so."""
    stop: Stop | None = None
    failures: Failures = Failures()
    recorded: Record | None = None
    """What is already kept under the request's id."""
    is_known: bool = True
    """Whether the count was compared with the provider's since this process began and since the database was last restarted."""
    units_in_flight: int = 0
    """The part of `window` whose calls may still reach the provider: reserved, or lost a short while ago. No less; a bound grants
    nothing that the exact figure would not."""
    units_unresolved: int = 0
    """The part of `window` that the provider's count may still give back, calls in flight included; no less."""
    caps: Caps = Caps()
    """What was set, while things run, for the harvester in whose name the request is made."""

    def steady(self, now: datetime) -> datetime:
        """Steady time when the store's clock says `now`."""
        return now - self.clock_shift

    @property
    def day(self) -> date | None:
        """The provider's day, as far as it is known: the last one that was opened."""
        return self.window.day if self.window else None


class Kind(StrEnum):
    """What an entry of the ledger says."""

    RESERVE = auto()
    SETTLE = auto()
    RELEASE = auto()
    UNRESOLVE = auto()
    """No answer came, or none that tells the cost: it stays charged."""
    CARRY = auto()
    """The day ended while the call was out: it counts on the next one too."""
    FOREIGN = auto()
    """The provider counted more than ours: somebody else spends the same allowance."""
    RECONCILE = auto()
    """The provider counted less than we had charged."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger: the change of what is charged to a day. The sum of a day's entries is its `units_charged`."""

    day: date
    kind: Kind
    units: int
    spender: Spender | None = None
    """Whose reservation it concerns; None for what concerns no reservation."""
    request_id: UUID | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written down, all of it or nothing."""

    state: State
    records: tuple[Record, ...] = ()
    """Reservations as they are from now on."""
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Granted:
    """The answer yes. `change` is None when the same request had been granted before: then nothing is to be written."""

    reservation: Reservation
    change: Change | None


@dataclass(frozen=True, slots=True)
class Denied:
    """The answer no: why, and when asking again makes sense (None: not before something changes). It changes nothing."""

    reason: DenialReason
    detail: str
    retry_at: datetime | None = None
