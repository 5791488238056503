"""Alerts in PostgreSQL: what stands, what is remembered between readings, who was told of what, and what nobody is told of.

A notice is written in the transaction that raises or clears its alert, becomes one delivery for each target in another, and is sent
after a third has claimed it. So each is sent once by whichever process claims it; only when that process dies, or loses the database,
between sending and saying so, it is sent once more after `LEASE` (docs/alerts.md).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

import structlog
from psycopg.rows import class_row, dict_row

from alexandria.domain.alert_readings import BacklogReading, QueueReading, RunReading, Sample
from alexandria.domain.alert_rules import GROWTH_SPAN, SAMPLED_EVERY
from alexandria.domain.alerting import (
    REMINDED_AFTER,
    Alert,
    AlertKind,
    Key,
    Severity,
    Sign,
    Standing,
    Step,
    Turn,
    Watch,
)
from alexandria.domain.digests import Harvested
from alexandria.domain.notices import MOST_ATTEMPTS, Event, Notice, back_off, title_of
from alexandria.stores.postgres import Connection, Queries
from alexandria.telemetry import redacted

log = structlog.get_logger()
queries = Queries("alerts.sql")
Row = TypeVar("Row")

READ_EVERY = timedelta(minutes=1)
"""How often the rules are looked at, by one process for all."""
LEASE = timedelta(minutes=2)
"""How long a claimed delivery is its process's: longer than any way of sending takes (`notices.SEND_SECONDS`)."""
MOST_CLAIMED = 4
"""As many as are sent at the same time, so that no claimed one waits for another."""
MOST_DISTRIBUTED = 20
KEPT = timedelta(days=90)
"""How long alerts that are over, and what was told of them, are kept."""
UNCLAIMED_KEPT = timedelta(days=1)
"""How long a notice waits for a process that has a target to send it to."""


@dataclass(frozen=True)
class Silence:
    """What nobody is told of until `until`; a `subject` of None is every subject of the kind."""

    id: int
    kind: str
    subject: str | None
    until: datetime
    created_at: datetime

    def as_json(self) -> dict[str, object]:
        """For the CLI and the API."""
        return {
            "id": self.id,
            "kind": self.kind,
            "subject": self.subject,
            "until": self.until.isoformat(),
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True)
class Delivery:
    """A notice that this process is to send to one target now; it is the `attempts`-th time."""

    notice: Notice
    target: str
    attempts: int


@dataclass(frozen=True)
class Undelivered:
    """A notice that could not be sent; `next_try_at` is None once it was given up."""

    title: str
    target: str
    attempts: int
    error: str | None
    given_up_at: datetime | None
    next_try_at: datetime | None

    def as_json(self) -> dict[str, object]:
        """For the CLI and the API."""
        return {
            "title": self.title,
            "target": self.target,
            "attempts": self.attempts,
            "error": self.error,
            "given_up_at": self.given_up_at and self.given_up_at.isoformat(),
            "next_try_at": self.next_try_at and self.next_try_at.isoformat(),
        }


class AlertStore:
    """Alerts within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def raise_alert(self, alert: Alert) -> None:
        """Keep and log it, and write down that it is to be told, unless the same is open already."""
        values = {
            "kind": alert.kind,
            "subject": alert.subject,
            "message": redacted(alert.message),
            "severity": alert.severity,
            "title": title_of(Event.RAISED, alert.kind, alert.subject),
            "now": alert.raised_at,
        }
        if await self._is_changed(queries.raise_alert, values):
            tell = log.info if alert.severity == Severity.INFO else log.warning
            tell("alert.raised", kind=alert.kind, subject=alert.subject, message=alert.message)

    async def clear(self, kind: AlertKind, subject: str, *, now: datetime, is_told: bool = True) -> None:
        """Its cause is gone, or somebody looked after it; whoever was told of it is told that, unless not `is_told`."""
        title = title_of(Event.CLEARED, kind, subject)
        values = {"kind": kind, "subject": subject, "now": now, "title": title, "is_told": is_told}
        if await self._is_changed(queries.clear_alert, values):
            log.info("alert.cleared", kind=kind, subject=subject)

    async def add_past(self, alert: Alert) -> None:
        """Keep one that is over, of which whoever was to be told has been told."""
        values = {
            "kind": alert.kind,
            "subject": alert.subject,
            "message": redacted(alert.message),
            "severity": alert.severity,
            "raised_at": alert.raised_at,
            "cleared_at": alert.cleared_at,
        }
        await self._connection.execute(queries.add_past_alert, values)

    async def list_open(self, *, now: datetime | None = None, limit: int = 100) -> Sequence[Alert]:
        """What is so now, latest first. Without `now` nothing is told of silences."""
        return await self.list_alerts(now=now, with_cleared=False, limit=limit)

    async def list_alerts(
        self, *, now: datetime | None, with_cleared: bool, limit: int = 100
    ) -> Sequence[Alert]:
        """The same, with those that are over if asked for."""
        values = {"now": now, "with_cleared": with_cleared, "limit": limit}
        return await self._all(Alert, queries.list_alerts, values)

    # Evaluating

    async def claim_reading(self, *, now: datetime) -> bool:
        """Whether it is time for a reading and the caller is the one to take it."""
        return await self._is_changed(queries.claim_reading, {"now": now, "every": READ_EVERY})

    async def lock_watches(
        self, kinds: Iterable[AlertKind], *, subject: str | None = None
    ) -> dict[Key, Watch]:
        """What is remembered of some kinds, of one subject or of all; nobody else evaluates until the transaction ends."""
        await self._connection.execute(queries.lock_alerts)
        values = {"kinds": [each.value for each in kinds], "subject": subject}
        cursor = await self._connection.execute(queries.list_watches, values)
        return {
            (AlertKind(kind), about): Watch(Standing(standing), since)
            for kind, about, standing, since in await cursor.fetchall()
        }

    async def follow(self, steps: Iterable[Step], *, now: datetime) -> None:
        """Write down what a reading changed, within the transaction that locked the watches."""
        for each in steps:
            key = {"kind": each.kind, "subject": each.case.subject}
            if each.watch is None:
                await self._connection.execute(queries.forget_watch, key)
            else:
                values = {"standing": each.watch.standing, "since": each.watch.since}
                await self._connection.execute(queries.save_watch, {**key, **values})
            if each.turn is Turn.RAISE:
                await self.raise_alert(
                    Alert(each.kind, each.case.subject, each.case.message, now, severity=each.severity)
                )
            elif each.turn is Turn.CLEAR:
                await self.clear(each.kind, each.case.subject, now=now, is_told=not each.is_of_day)
            elif each.is_open and each.case.sign is Sign.HOLDS:
                await self._connection.execute(
                    queries.refresh_alert, {**key, "message": redacted(each.case.message)}
                )

    async def remind(self, *, now: datetime) -> None:
        """Have warnings that have stood for `REMINDED_AFTER` told once more."""
        await self._connection.execute(queries.remind, {"now": now, "before": now - REMINDED_AFTER})

    async def forget(self, *, now: datetime) -> None:
        """Delete what is over for long."""
        values = {"now": now, "before": now - KEPT, "unclaimed_before": now - UNCLAIMED_KEPT}
        await self._connection.execute(queries.forget_notices, values)

    # Telling

    async def distribute(
        self,
        targets: Mapping[str, str],
        severities: Iterable[Severity],
        off: Iterable[AlertKind] = (),
        *,
        now: datetime,
    ) -> None:
        """Make each new notice a delivery for each target, key -> name, if it is of these severities and of none of the kinds that are
        `off`; those that are silenced wait."""
        values = {
            "off": [each.value for each in off],
            "targets": list(targets),
            "target_names": list(targets.values()),
            "severities": [each.value for each in severities],
            "now": now,
            "most": MOST_DISTRIBUTED,
        }
        await self._connection.execute(queries.distribute, values)

    async def claim_deliveries(self, targets: Iterable[str], *, now: datetime) -> list[Delivery]:
        """Deliveries to these targets that are due, for the caller alone once this is committed and until `LEASE` is over."""
        values = {"targets": list(targets), "now": now, "lease": LEASE, "most": MOST_CLAIMED}
        cursor = self._connection.cursor(row_factory=dict_row)
        await cursor.execute(queries.claim_deliveries, values)
        return sorted(map(_delivery, await cursor.fetchall()), key=lambda each: int(each.notice.id))

    async def record_sent(self, delivery: Delivery, *, now: datetime) -> None:
        """It arrived."""
        values = {"notice": delivery.notice.id, "target": delivery.target, "now": now}
        await self._connection.execute(queries.record_sent, values)

    async def record_failure(self, delivery: Delivery, error: str, *, now: datetime) -> None:
        """It did not: it is tried again later, or given up after `MOST_ATTEMPTS`."""
        values = {
            "notice": delivery.notice.id,
            "target": delivery.target,
            "error": error,
            "due_at": now + back_off(delivery.attempts),
            "is_last": delivery.attempts >= MOST_ATTEMPTS,
            "now": now,
        }
        await self._connection.execute(queries.record_failure, values)

    async def list_undelivered(self, *, since: datetime, limit: int = 100) -> Sequence[Undelivered]:
        """What failed and is tried again, and what was given up since then, the latest first."""
        return await self._all(Undelivered, queries.list_undelivered, {"since": since, "limit": limit})

    async def has_digest(self, day: date) -> bool:
        """Whether the digest of a day was written."""
        return await self._is_true(queries.has_digest, {"day": day})

    async def add_digest(self, day: date, title: str, body: str, *, now: datetime) -> bool:
        """Have a day's digest told; False when another process did so first."""
        values = {"day": day, "title": title, "body": body, "now": now}
        return await self._is_changed(queries.add_digest, values)

    # Silences

    async def silence(
        self, kind: AlertKind, subject: str | None, *, until: datetime, now: datetime
    ) -> Silence:
        """Tell nobody of a kind, or of one subject of it, until then; a silence of the same is replaced."""
        values = {"kind": kind, "subject": subject, "until": until, "now": now}
        return (await self._all(Silence, queries.silence, values))[0]

    async def unsilence(self, kind: AlertKind, subject: str | None, *, now: datetime) -> bool:
        """End a silence; False when there is none of exactly that."""
        return await self._is_changed(queries.unsilence, {"kind": kind, "subject": subject, "now": now})

    async def unsilence_by_id(self, number: int, *, now: datetime) -> bool:
        """The same by its number."""
        return await self._is_changed(queries.unsilence_by_id, {"id": number, "now": now})

    async def list_silences(self, *, now: datetime) -> Sequence[Silence]:
        """What is silenced now, the one that ends first first."""
        return await self._all(Silence, queries.list_silences, {"now": now})

    # What a reading is made of

    async def list_queues(self) -> list[QueueReading]:
        """Each kind of job in the queue."""
        return await self._all(QueueReading, queries.list_queues, {})

    async def list_quiet_runs(self, *, now: datetime) -> list[RunReading]:
        """Runs that have something due, and how long nothing was done of them."""
        return await self._all(RunReading, queries.list_quiet_runs, {"now": now})

    async def sample_backlogs(self, *, now: datetime) -> list[BacklogReading]:
        """The sizes of the backlogs of the last hour or so; the present one is added when it is time for one."""
        before = now - GROWTH_SPAN - 2 * SAMPLED_EVERY
        await self._connection.execute(queries.forget_samples, {"before": before, "now": now})
        await self._connection.execute(queries.sample_backlogs, {"now": now, "every": SAMPLED_EVERY})
        found: dict[str, list[Sample]] = {}
        for backlog, at, size in await (await self._connection.execute(queries.list_samples)).fetchall():
            found.setdefault(backlog, []).append(Sample(at, size))
        return [BacklogReading(name, samples) for name, samples in found.items()]

    async def compare_day(self, provider: str, key_hash: str, day: date) -> tuple[int, int] | None:
        """What a day's ledger adds up to, and what is charged to the day; None when it has not begun."""
        values = {"provider": provider, "key_hash": key_hash, "day": day}
        row = await (await self._connection.execute(queries.compare_day, values)).fetchone()
        return (row[1], row[0]) if row else None

    async def read_harvest(self, *, since: datetime, until: datetime) -> Harvested:
        """What the harvests of a span brought."""
        values = {"since": since, "until": until}
        return (await self._all(Harvested, queries.read_harvest, values))[0]

    async def _all(self, kind: type[Row], statement: str, values: Mapping[str, Any]) -> list[Row]:
        async with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(statement, values)
            return await cursor.fetchall()

    async def _is_changed(self, statement: str, values: Mapping[str, Any]) -> bool:
        return await (await self._connection.execute(statement, values)).fetchone() is not None

    async def _is_true(self, statement: str, values: Mapping[str, Any]) -> bool:
        row = await (await self._connection.execute(statement, values)).fetchone()
        return row is not None and bool(row[0])


def _delivery(row: Mapping[str, Any]) -> Delivery:
    notice = Notice(
        row["id"],
        Event(row["event"]),
        Severity(row["severity"]),
        row["title"],
        row["body"],
        row["created_at"],
        row["kind"],
        row["subject"],
    )
    return Delivery(notice, row["target"], row["attempts"])
