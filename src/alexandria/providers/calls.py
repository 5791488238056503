"""What passes through the gateway: a call, its answer, and what one provider's answers mean for everybody who shares its key."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum, auto
from typing import Protocol

from alexandria.domain.quota import Account, DenialReason, Lane, Policy, Rate, Request, Reservation
from alexandria.domain.reconciling import Reading, Reconciliation
from alexandria.domain.settling import Evidence

MEBIBYTE = 1024 * 1024


class Quota(Protocol):
    """What the gateway needs of the quota coordinator; `stores/quota.py` has it."""

    async def reserve(self, account: Account, policy: Policy, request: Request) -> Reservation:
        """Leave to send once. Raises QuotaDenied, QuotaExhausted or StoreUnavailable."""
        ...

    async def settle(
        self,
        reservation: Reservation,
        *,
        units_spent: int,
        outcome: str,
        is_certain: bool,
        evidence: Evidence,
        policy: Policy,
        requests_spent: int | None = None,
    ) -> None:
        """The request was, or may have been, sent. Idempotent."""
        ...

    async def release(self, reservation: Reservation, *, reason: str, is_failure: bool = False) -> None:
        """The request provably was not sent. Idempotent. `is_failure` when that was because nobody answers there."""
        ...

    async def stop(
        self,
        account: Account,
        *,
        until: datetime | None,
        reason: DenialReason,
        detail: str,
        as_of: datetime | None = None,
    ) -> None:
        """Nobody sends for this account before `until`, counted from `as_of` by the caller's clock; None: before a person resumes."""
        ...

    async def claim_count(self, account: Account, *, only_if_due: bool = False) -> datetime | None:
        """The coordinator's time when the caller is to ask the provider for its count now; None when somebody else does."""
        ...

    async def yield_count(self, account: Account) -> None:
        """The count that the caller was to ask for could not be had: somebody else may ask soon."""
        ...

    async def reconcile(self, account: Account, policy: Policy, reading: Reading) -> Reconciliation:
        """Bring our count to what the provider's proves."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a provider; `units` is what an attempt is charged, `requests` what its rate window counts.

    The URL is sent exactly as it stands, so whoever makes it encodes it. What may hold a key is left out of `repr`.
    """

    method: str
    url: str = field(repr=False)
    units: int
    lane: Lane
    consumer: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    requests: int = 1
    job: str | None = None
    endpoint: str = ""
    """The kind of request, from a small closed set: it names log events and metrics, which a URL must never do."""
    timeout_seconds: float = 30.0
    """For one attempt, connecting and reading included."""
    most_bytes: int = 16 * MEBIBYTE
    """Of the body, also after decompression."""
    most_wait_seconds: float = 120.0
    """For all deliberate waits of the call together: slots, pauses, back-off."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are lower case, and a header that came in several lines is there several times."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    received_at: datetime
    url: str = field(default="", repr=False)
    """Where it came from at last, after redirects. May hold a signature: never log it."""
    units: int = 0
    """What was charged for the attempt that brought it."""
    remaining_today: int | None = None
    """Units left today by the provider's own count, if it said so."""

    def lines(self, name: str) -> tuple[str, ...]:
        """Every value of a header, in order; `name` in lower case."""
        return tuple(value for each, value in self.headers if each == name)

    def line(self, name: str) -> str:
        """A header's first value, or the empty string."""
        return next(iter(self.lines(name)), "")

    @property
    def provider_time(self) -> datetime | None:
        """The provider's clock when it answered: its Date header, None without a readable one."""
        return read_http_date(self.line("date"))


def read_http_date(text: str) -> datetime | None:
    """An HTTP date (RFC 9110, 5.6.7) as aware UTC, or None."""
    try:
        read = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


class Meaning(StrEnum):
    """What an answer means for the caller and for everybody else who uses the key."""

    DELIVERED = auto()
    """A usable answer."""
    ABSENT = auto()
    """A definite answer: there is no such record."""
    REFUSED = auto()
    """This request will not be answered, whoever asks and however often."""
    SUSPENDED = auto()
    """The key is refused: everybody stops until a person, or a free probe, clears it."""
    PAUSED = auto()
    """The rate window is empty: everybody waits, for seconds."""
    LIMITED = auto()
    """A window is empty and the answer does not say which: rate the first time, day when it repeats after the wait."""
    EXHAUSTED = auto()
    """The day's units are spent: everybody waits until the reset."""
    FAILED = auto()
    """No usable answer this time."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer as its provider's reader understands it."""

    meaning: Meaning
    detail: str = ""
    """For people and logs: never a key, never a URL with a query."""
    units: int | None = None
    """What the provider says it charged; None: what the call was reserved for."""
    wait: timedelta | None = None
    """How long the provider asks us to wait."""
    is_certain: bool = False
    """Whether the cost is known; else it stays charged until the provider's count tells (contracts/isbndb.md, section 4)."""
    requests_spent: int | None = None
    """What the provider's rate window counted, where that is less than was reserved: seconds of processing, say."""
    remaining_today: int | None = None
    total_today: int | None = None
    """Units that the provider grants for the day."""
    rate: Rate | None = None
    """The pace that the provider says it grants."""
    most_retries: int | None = None
    """How often asking again makes sense at most; None: as often as the gateway does it anyway."""


@dataclass(frozen=True, slots=True)
class Source:
    """Whose units a call spends, within which limits, and how to read what comes back.

    `read` must not raise: an answer that it does not understand is `FAILED`. `count` asks the provider for its own count, for
    nothing; it is handed the coordinator's time just before.
    """

    account: Account
    policy: Policy
    read: Callable[[Call, Answer], Verdict]
    count: Callable[[datetime], Awaitable[Reading]] | None = None


class Sender(Protocol):
    """What a provider needs of the gateway."""

    async def send(self, call: Call, *, source: Source) -> Answer:
        """See `Gateway.send`."""
        ...
