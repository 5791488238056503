"""Who may ask, how much is left and what was charged: per key, per subscription, per provider day.

The provider's day is a UTC day of its own clock (contracts/isbndb.md, section 5). Everything is counted here and nowhere else.
"""

import hashlib
import json
import math
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from alexandria.clock import Clock
from alexandria.domain.errors import InvalidInput
from alexandria.sandbox.switches import Switches

WINDOW_SECONDS = 60
"""The `rate` window (contracts/isbndb.md, section 5)."""

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Plan:
    """What a subscription buys. Premium's figures were observed; the others are the contract's best readings."""

    name: str
    daily_total: int
    rate_q: int
    bulk_limit: int
    rank: int
    host: str
    """The plan's host before 2.7, for `hosts.legacy`."""

    @property
    def has_prices(self) -> bool:
        """Pro and above (contracts/isbndb.md, section 3.1)."""
        return self.rank >= PRO.rank


ACADEMIC = Plan("Academic", 1_000, 60, 10, 0, "api2.isbndb.com")
BASIC = Plan("Basic", 5_000, 60, 100, 1, "api2.isbndb.com")
PREMIUM = Plan("Premium", 15_000, 180, 1_000, 2, "api.premium.isbndb.com")
PRO = Plan("Pro", 50_000, 300, 1_000, 3, "api.pro.isbndb.com")
ENTERPRISE = Plan("Enterprise", 100_000, 600, 1_000, 4, "api.enterprise.isbndb.com")
PLANS = {each.name.lower(): each for each in (ACADEMIC, BASIC, PREMIUM, PRO, ENTERPRISE)}
"""Plans by lower-case name."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key. Keys with the same `subscription` share its allowance; `cap` is the key's own allowance inside it."""

    plan: Plan = PREMIUM
    subscription: str | None = None
    """None: a subscription of its own."""
    cap: int | None = None
    is_active: bool = True
    host: str | None = None
    """The only host (with port) that serves this key; on another one it gets 403 with an empty body."""
    api_host: str | None = None
    """What `/key` says; None: the sandbox's own address."""
    switches: Switches | None = None
    """None: those of the sandbox."""


def key_hash(key: str) -> str:
    """What stands for a key in a journal or on a page: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


class Charge(StrEnum):
    """Why units were charged."""

    CALL = "call"
    FOREIGN = "foreign"
    """By another program on the same subscription (`daily.foreign_spend`)."""


class RateWindow:
    """The requests of the last minute: counted back from now, or since the minute of the provider's clock began."""

    def __init__(self) -> None:
        self._entered: deque[tuple[float, float, int]] = deque()
        self._weight = 0

    def enter(self, monotonic: float, wall: float, weight: int) -> None:
        """One request more, at these seconds of both clocks."""
        self._entered.append((monotonic, wall, weight))
        self._weight += weight

    def look(self, monotonic: float, wall: float, *, is_fixed: bool) -> tuple[int, float]:
        """The weight in the window, and seconds until the first of it leaves."""
        start = wall // WINDOW_SECONDS * WINDOW_SECONDS
        while self._entered and (
            self._entered[0][1] < start if is_fixed else self._entered[0][0] <= monotonic - WINDOW_SECONDS
        ):
            self._weight -= self._entered.popleft()[2]
        if is_fixed:
            return self._weight, start + WINDOW_SECONDS - wall
        return self._weight, self._entered[0][0] + WINDOW_SECONDS - monotonic if self._entered else 0.0


@dataclass
class Subscription:
    """One allowance, whoever shares it."""

    name: str
    plan: Plan
    spent: Counter[date] = field(default_factory=Counter)
    """Units per provider day, foreign ones included."""
    window: RateWindow = field(default_factory=RateWindow)
    foreign_until: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left for one key now, as headers and `/key` say it."""

    rate_q: int
    rate_left: int
    rate_wait: int
    """Seconds until the window lets the next request through; 0 while something is left."""
    rate_reset: int
    total: int
    spent: int
    left: int
    key_total: int | None
    key_spent: int
    key_left: int | None
    day_reset: int
    """Seconds to the provider's midnight."""

    @property
    def limited_by(self) -> str:
        """Which runs out first (contracts/isbndb.md, section 5)."""
        return (
            "key"
            if self.key_left is not None and self.key_left < max(0, self.total - self.spent)
            else "subject"
        )


class Account:
    """One key at work: asks what is left and charges."""

    def __init__(self, text: str, key: Key, subscription: Subscription, accounts: "Accounts") -> None:
        self.text = text
        self.hash = key_hash(text)
        self.key = key
        self.subscription = subscription
        self.spent: Counter[date] = Counter()
        self._accounts = accounts

    @property
    def switches(self) -> Switches:
        """The key's own switches, else the sandbox's."""
        return self.key.switches or self._accounts.switches

    def standing(self) -> Standing:
        """What is left now. Also lets the other program spend what it spent since the last look."""
        switches, subscription = self.switches, self.subscription
        now = self._accounts.now(switches)
        day = now.date()
        self._spend_foreign(switches, day)
        total = switches.daily_total if switches.daily_total is not None else self.key.plan.daily_total
        spent, own = subscription.spent[day], self.spent[day]
        key_left = None if self.key.cap is None else max(0, self.key.cap - own)
        left = max(0, total - spent)
        rate_q = switches.rate_q if switches.rate_q is not None else self.key.plan.rate_q
        used, reset = subscription.window.look(
            self._accounts.clock.monotonic(), now.timestamp(), is_fixed=switches.rate_window == "fixed"
        )
        rate_left = max(0, rate_q - used)
        return Standing(
            rate_q=rate_q,
            rate_left=rate_left,
            rate_wait=0 if rate_left else max(1, math.ceil(reset)),
            rate_reset=math.ceil(reset),
            total=total,
            spent=spent,
            left=left if key_left is None else min(left, key_left),
            key_total=self.key.cap,
            key_spent=own,
            key_left=key_left,
            day_reset=max(1, math.ceil((_midnight_after(now) - now).total_seconds())),
        )

    def enter(self, weight: int) -> None:
        """Count a request in the rate window."""
        now = self._accounts.now(self.switches)
        self.subscription.window.enter(self._accounts.clock.monotonic(), now.timestamp(), weight)

    def charge(self, units: int) -> None:
        """Charge this key and its subscription, in the journal first."""
        if units:
            now = self._accounts.now(self.switches)
            self._accounts.book(self.hash, self.subscription, units, Charge.CALL, now)
            self.spent[now.date()] += units

    def spend_elsewhere(self, units: int) -> None:
        """Charge the subscription alone, as when another of its keys is used."""
        self._accounts.book("", self.subscription, units, Charge.FOREIGN, self._accounts.now(self.switches))

    def _spend_foreign(self, switches: Switches, day: date) -> None:
        subscription, moment = self.subscription, self._accounts.clock.monotonic()
        since = subscription.foreign_until
        if since is None or not switches.daily_foreign_spend:
            subscription.foreign_until = moment
            return
        total = switches.daily_total if switches.daily_total is not None else self.key.plan.daily_total
        units = int((moment - since) / 60 * switches.daily_foreign_spend)
        if units <= 0:
            return
        subscription.foreign_until = since + units * 60 / switches.daily_foreign_spend
        if units := min(units, max(0, total - subscription.spent[day])):
            self._accounts.book("", subscription, units, Charge.FOREIGN, self._accounts.now(switches))


class Accounts:
    """Every key of a sandbox. With a journal, a restarted sandbox remembers what was charged today."""

    def __init__(
        self, keys: Mapping[str, Plan | Key], *, switches: Switches, clock: Clock, journal: Path | None = None
    ) -> None:
        self.switches = switches
        self.clock = clock
        self._subscriptions: dict[str, Subscription] = {}
        self._accounts: dict[str, Account] = {}
        self._journal: int | None = None
        for text, value in keys.items():
            self.open(text, value if isinstance(value, Key) else Key(plan=value))
        if journal is not None:
            try:
                self._recall(journal)
                self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            except OSError as error:
                raise InvalidInput(
                    "journal", journal.name, f"can't be used: {error.strerror or error}"
                ) from error

    def open(self, text: str, key: Key) -> Account:
        """Make a key known, or replace what is known about it; what it spent stays."""
        name = key.subscription or f"subscription of {key_hash(text)}"
        subscription = self._subscriptions.setdefault(name, Subscription(name, key.plan))
        known = self._accounts.get(text)
        account = Account(text, key, subscription, self)
        account.spent = known.spent if known else account.spent
        self._accounts[text] = account
        return account

    def by_key(self, text: str) -> Account | None:
        """The account of a key as a client sends it."""
        return self._accounts.get(text)

    def get(self, text: str) -> Account:
        """The account of a key, by the key or by its hash. Raises InvalidInput for one that is not known."""
        account = self._accounts.get(text) or next((each for each in self if each.hash == text), None)
        if account is None:
            raise InvalidInput("key", f"{text[:4]}...", "this sandbox has no such key; add it to its keys")
        return account

    def __iter__(self) -> Iterator[Account]:
        return iter(list(self._accounts.values()))

    def now(self, switches: Switches) -> datetime:
        """The provider's clock."""
        return self.clock.now().astimezone(UTC) + timedelta(seconds=switches.daily_clock_skew)

    def book(self, who: str, subscription: Subscription, units: int, why: Charge, at: datetime) -> None:
        """Count units on a subscription; the journal has them before anything is answered."""
        if self._journal is not None:
            line = json.dumps(
                {
                    "at": at.isoformat(),
                    "key": who,
                    "subscription": subscription.name,
                    "units": units,
                    "why": why,
                }
            )
            os.write(self._journal, f"{line}\n".encode())
        subscription.spent[at.date()] += units

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def _recall(self, journal: Path) -> None:
        """Count what a journal holds. Raises InvalidInput for another file, and leaves that one as it is."""
        if not journal.exists():
            return
        whole, _, torn = journal.read_bytes().rpartition(b"\n")
        by_hash = {each.hash: each for each in self}
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
                day = datetime.fromisoformat(entry["at"]).date()
                units, who, name = int(entry["units"]), entry["key"], entry["subscription"]
            except (ValueError, KeyError, TypeError) as error:
                raise _no_journal(journal, number) from error
            if name in self._subscriptions:
                self._subscriptions[name].spent[day] += units
            if who in by_hash:
                by_hash[who].spent[day] += units
        if torn:
            if torn[: len(_LINE_START)] != _LINE_START[: len(torn)]:
                raise _no_journal(journal, len(whole.splitlines()) + 1)
            # Killed in the middle of a line: that call was never answered, and the next line needs a clean start.
            os.truncate(journal, len(whole) + 1 if whole else 0)


_LINE_START = b'{"at": "'


def _no_journal(journal: Path, line: int) -> InvalidInput:
    return InvalidInput(
        "journal", f"{journal.name}:{line}", "not a line of a sandbox's journal; give another file"
    )


def _midnight_after(now: datetime) -> datetime:
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
