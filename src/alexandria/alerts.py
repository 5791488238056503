"""Alerts at work: take a reading, follow the rules, tell people; and the daily digest (docs/alerts.md).

Any number of processes do this beside their other work. One of them takes each minute's reading; each looks at its own disk and at its
own connection to the database; whoever has targets sends what is due.
"""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import structlog

from alexandria.clock import Clock
from alexandria.domain import digests
from alexandria.domain.alert_readings import AccountReading, DiskReading, Reading
from alexandria.domain.alert_rules import DISK_RULES, GIBIBYTE, RULES, SILENCE, severity_of
from alexandria.domain.alerting import Alert, AlertKind, Rule, Severity, evaluate
from alexandria.domain.errors import InvalidInput, StoreUnavailable
from alexandria.domain.notices import MOST_ATTEMPTS, Event, Notice, back_off, title_of
from alexandria.notifying import Answer, Sender
from alexandria.stores.alerts import READ_EVERY, AlertStore, Delivery, Silence
from alexandria.stores.machine import free_bytes
from alexandria.stores.postgres import Connection, Database

log = structlog.get_logger()
Read = TypeVar("Read")

TICK_SECONDS = 5.0
"""How often a process looks whether a reading, a digest or a notice is due."""
LOOK_SECONDS = 30.0
"""A look at the database that takes longer comes to nothing: the next one is due soon."""
MOST_ROUNDS = 25
"""Of deliveries at one look: a hundred notices."""
MOST_SILENCE = timedelta(days=366)


@dataclass(frozen=True)
class Wishes:
    """What is configured of alerts."""

    least: Severity = Severity.INFO
    """Notices of less are not sent; their alerts are shown all the same."""
    off: frozenset[AlertKind] = frozenset()
    """Kinds that no rule raises and nobody is told of."""
    data_dir: Path | None = None
    """Whose disk is looked at; None: nobody's."""
    disk_least: int = 5 * GIBIBYTE
    """Bytes that should be free there."""
    covers_dir: Path | None = None
    """Where covers are kept, whose disk may be another one; None where that is no disk of this machine."""
    covers_least: int = 0
    """Bytes below which none are fetched."""
    digest_at: time | None = None
    """By UTC; None: there is no digest."""

    @property
    def disks(self) -> Sequence[tuple[Path, int]]:
        """Folders to look at, each with the bytes below which covers are not kept there."""
        if self.data_dir is None:
            return []
        if self.covers_dir is None:
            return [(self.data_dir, 0)]
        if self.covers_dir.is_relative_to(self.data_dir):
            return [(self.data_dir, self.covers_least)]
        return [(self.data_dir, 0), (self.covers_dir, self.covers_least)]

    @property
    def severities(self) -> list[Severity]:
        """Those that are sent."""
        return [each for each in Severity if each.rank >= self.least.rank]


@dataclass
class _Outage:
    """The database does not answer, and this process has begun to tell so; it can be kept nowhere else."""

    notice: Notice
    untold: set[str]
    """Targets that have not taken the notice."""
    attempts: int = 0
    next_try: float = 0.0
    """By the monotonic clock."""


@dataclass
class Watchkeeper:
    """One process's part in watching and telling."""

    database: Database
    clock: Clock
    sender: Sender
    wishes: Wishes
    read_accounts: Callable[[], Awaitable[Sequence[AccountReading]]]
    read_spent: Callable[[date], Awaitable[digests.Spent | None]]
    """What was spent of a day, for the digest."""
    host: str = field(default_factory=platform.node)
    tick_seconds: float = TICK_SECONDS
    _answered_at: float | None = None
    """By the monotonic clock, when the database last did."""
    _outage: _Outage | None = None
    _disk_due: float = 0.0
    _digest_written: date | None = None

    async def run(self) -> None:
        """Watch until cancelled; every trouble is answered with the next look."""
        while True:
            try:
                await self.look()
            except Exception:
                # A defect here must not end what it runs beside.
                log.exception("alerts.crashed")
            await asyncio.sleep(self.tick_seconds)

    async def look(self) -> None:
        """One round of everything that is due."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._watch()
            await self._end_outage()
            await self._deliver()
        except (StoreUnavailable, TimeoutError) as error:
            # Everything else in this process says so louder.
            log.info("alerts.unread", reason=str(error) or "the database took too long")
            await self._note_silence()

    # Watching

    async def _watch(self) -> None:
        now = self.clock.now()
        async with self.database.connection() as connection:
            is_due = await AlertStore(connection).claim_reading(now=now)
        self._answered_at = self.clock.monotonic()
        if is_due:
            await self._take_reading()
        await self._look_at_disk()
        await self._write_digest(now)

    async def _take_reading(self) -> None:
        accounts = await self.read_accounts()
        now = self.clock.now()
        async with self.database.transaction() as connection:
            store = AlertStore(connection)
            watches = await store.lock_watches(rule.kind for rule in RULES)
            reading = await read(connection, accounts, now=now)
            await store.follow(evaluate(watches, reading, self._wanted(RULES), now=now), now=now)
            await store.remind(now=now)
            await store.forget(now=now)

    async def _look_at_disk(self) -> None:
        """Machines with the same folder speak of the same subject: it is low while it is on any of them."""
        if self.clock.monotonic() < self._disk_due:
            return
        self._disk_due = self.clock.monotonic() + READ_EVERY.total_seconds()
        for folder, covers_least in self.wishes.disks:
            free = await asyncio.to_thread(free_bytes, folder)
            await self._follow_disk(
                DiskReading(str(folder), self.host, free, self.wishes.disk_least, covers_least)
            )

    async def _follow_disk(self, reading: DiskReading) -> None:
        now = self.clock.now()
        async with self.database.transaction() as connection:
            store = AlertStore(connection)
            watches = await store.lock_watches([AlertKind.DISK_LOW], subject=reading.folder)
            await store.follow(evaluate(watches, reading, self._wanted(DISK_RULES), now=now), now=now)

    def _wanted(self, rules: Sequence[Rule[Read]]) -> list[Rule[Read]]:
        """The rules, of which those that are switched off find every subject well."""
        return [replace(each, look=lambda _: ()) if each.kind in self.wishes.off else each for each in rules]

    async def _write_digest(self, now: datetime) -> None:
        day = digests.digest_day(now, self.wishes.digest_at) if self.wishes.digest_at is not None else None
        if day is None or day == self._digest_written:
            return
        async with self.database.connection() as connection:
            is_written = await AlertStore(connection).has_digest(day)
        if not is_written:
            since, until = digests.span_of(now)
            spent = await self.read_spent(since.date())
            async with self.database.transaction() as connection:
                store = AlertStore(connection)
                text = digests.digest_text(await store.read_harvest(since=since, until=until), spent)
                await store.add_digest(day, digests.digest_title(since.date()), text, now=now)
        self._digest_written = day

    # Telling

    async def _deliver(self) -> None:
        """Send what is due to this process's targets. A notice that another process sends, or has sent, is not among it."""
        names = self.sender.names
        if not names:
            return
        async with self.database.transaction() as connection:
            await AlertStore(connection).distribute(
                names, self.wishes.severities, self.wishes.off, now=self.clock.now()
            )
        for _ in range(MOST_ROUNDS):
            async with self.database.transaction() as connection:
                claimed = await AlertStore(connection).claim_deliveries(names, now=self.clock.now())
            if not claimed:
                return
            await asyncio.gather(*(self._send(each) for each in claimed))

    async def _send(self, delivery: Delivery) -> None:
        answer = await self.sender.send(delivery.target, delivery.notice)
        async with self.database.transaction() as connection:
            store, now = AlertStore(connection), self.clock.now()
            if answer.error is None:
                await store.record_sent(delivery, now=now)
            else:
                await store.record_failure(delivery, answer.error, now=now)

    # The database itself

    async def _note_silence(self) -> None:
        """Tell, once it has lasted, that the database does not answer. What can't be written down is told from memory: by each process
        once."""
        now = self.clock.monotonic()
        if self._answered_at is None:
            self._answered_at = now
        if now - self._answered_at < SILENCE.total_seconds() or AlertKind.DATABASE_SILENT in self.wishes.off:
            return
        if self._outage is None:
            since = self.clock.now() - timedelta(seconds=now - self._answered_at)
            message = (
                f"no query of a process on {self.host} succeeded since {since:%Y-%m-%d %H:%M} UTC, so nothing is harvested; is the"
                " server of ALEXANDRIA_DATABASE_URL running and reachable? alexandria check says more"
            )
            notice = self._notice(Event.RAISED, message, since, AlertKind.DATABASE_SILENT, self.host)
            self._outage = _Outage(notice, set(self.sender.names))
            log.error("alert.raised", kind=AlertKind.DATABASE_SILENT, subject=self.host, message=message)
        await self._tell_of(self._outage)

    async def _tell_of(self, outage: _Outage) -> None:
        if not outage.untold or outage.attempts >= MOST_ATTEMPTS:
            return
        if self.clock.monotonic() < outage.next_try:
            return
        outage.attempts += 1
        keys = sorted(outage.untold)
        answers = await asyncio.gather(*(self.sender.send(key, outage.notice) for key in keys))
        outage.untold -= {key for key, answer in zip(keys, answers, strict=True) if answer.error is None}
        outage.next_try = self.clock.monotonic() + back_off(outage.attempts).total_seconds()

    async def _end_outage(self) -> None:
        """The database answers. After an outage, say so to whoever was told of it, and keep it with the other alerts."""
        outage = self._outage
        if outage is None:
            return
        past = Alert(
            AlertKind.DATABASE_SILENT,
            self.host,
            outage.notice.body,
            outage.notice.created_at,
            self.clock.now(),
            Severity.CRITICAL,
        )
        async with self.database.transaction() as connection:
            await AlertStore(connection).add_past(past)
        self._outage = None
        text = f"It was: {outage.notice.body}"
        notice = self._notice(Event.CLEARED, text, self.clock.now(), AlertKind.DATABASE_SILENT, self.host)
        told = self.sender.names.keys() - outage.untold
        await asyncio.gather(*(self.sender.send(key, notice) for key in sorted(told)))

    @staticmethod
    def _notice(event: Event, text: str, at: datetime, kind: AlertKind, subject: str) -> Notice:
        severity = Severity.INFO if event is Event.CLEARED else severity_of(kind)
        return Notice(uuid4().hex, event, severity, title_of(event, kind, subject), text, at, kind, subject)


async def read(connection: Connection, accounts: Sequence[AccountReading], *, now: datetime) -> Reading:
    """Everything that the rules look at, besides the accounts, which are read already."""
    store = AlertStore(connection)
    return Reading(
        now,
        [await _with_books(store, each) for each in accounts],
        await store.list_queues(),
        await store.sample_backlogs(now=now),
        await store.list_quiet_runs(now=now),
    )


async def _with_books(store: AlertStore, reading: AccountReading) -> AccountReading:
    account, day = reading.status.account, reading.status.day
    books = await store.compare_day(account.provider, account.key_hash, day)
    return replace(reading, ledger_units=books[0], window_units=books[1]) if books else reading


# By hand


def kind_of(name: str) -> AlertKind:
    """The kind that somebody names, written with - or _. Raises InvalidInput when there is none of that name."""
    try:
        return AlertKind(name.replace("-", "_"))
    except ValueError:
        known = ", ".join(AlertKind)
        raise InvalidInput("kind", name, f"is not one of {known}") from None


async def silence(
    connection: Connection, kind: AlertKind, subject: str | None, *, span: timedelta, now: datetime
) -> Silence:
    """Tell nobody of a kind of alert, or of one subject of it, for so long. Raises InvalidInput for a span out of range."""
    if not timedelta(minutes=1) <= span <= MOST_SILENCE:
        raise InvalidInput("for", str(span), f"must lie between a minute and {MOST_SILENCE.days} days")
    silenced = await AlertStore(connection).silence(kind, subject, until=now + span, now=now)
    log.info("alert.silenced", kind=kind, subject=subject, until=silenced.until)
    return silenced


async def send_test(sender: Sender) -> list[Answer]:
    """Send a notice that means nothing to every target, and say what each made of it."""
    text = "If you read this, notices of alerts reach you here. Nothing has to be done."
    title = "Alexandria: a test"
    return await sender.send_to_all(
        Notice(uuid4().hex, Event.TEST, Severity.INFO, title, text, sender.clock.now())
    )
