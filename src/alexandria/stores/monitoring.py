"""How things stand, read for whoever watches: the queue and its dead letters, what is open, what units bought."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from alexandria.domain.errors import Conflict
from alexandria.domain.quota import Account
from alexandria.domain.quota_usage import Span
from alexandria.stores.postgres import Connection, Queries
from alexandria.stores.quota_rows import account_row

queries = Queries("monitoring.sql")
Row = TypeVar("Row")

MOST_SQL = timedelta(seconds=2)
"""For one statement of a scrape: what takes longer is given up."""

TABLES = ("works", "editions", "authors", "source_records")
"""What the catalogue is measured by."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs of one kind in the queue, now."""

    kind: str
    waiting: int = 0
    """May be taken by whoever is free."""
    snoozed: int = 0
    """Put off until their time comes."""
    in_work: int = 0
    dead: int = 0
    """Failed for good, and kept for a person to look at."""
    oldest_seconds: float = 0.0
    """For how long the first of those that wait could have been taken."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Jobs of one kind that moved within a time."""

    kind: str
    entered: int = 0
    put_back: int = 0
    """Tried again or snoozed."""
    done: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Moves:
    """Jobs of all kinds that moved within one span of time."""

    span_at: datetime
    entered: int
    put_back: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that failed for good."""

    id: int
    kind: str
    payload: bytes | None
    attempts: int
    queued_at: datetime
    failed_at: datetime
    traceback: dict[str, Any] | None
    """As PgQueuer keeps it."""

    @property
    def error(self) -> str | None:
        """What it failed of, in a line; None when that is no longer known."""
        if self.traceback is None:
            return None
        kind, message = (self.traceback.get(each) for each in ("exception_type", "exception_message"))
        return ": ".join(str(each) for each in (kind, message) if each)[:2000] or None


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the provider and what was charged to it, in units."""

    day: date
    units_charged: int
    used: dict[str, int]
    """`lane/consumer` -> units; the rest is foreign."""


class MonitoringStore:
    """Readings within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def take_snapshot(self, *, most: timedelta) -> None:
        """Let the transaction, which must have just begun, see one moment, write nothing, and give up what takes longer than `most`."""
        await self._connection.execute(queries.take_snapshot)
        milliseconds = round(most / timedelta(milliseconds=1))
        await self._connection.execute(queries.limit_time, {"milliseconds": milliseconds})

    async def count_jobs(self) -> Mapping[str, Jobs]:
        """The queue by kind of job; kinds without a job are left out."""
        return {each.kind: each for each in await self._all(Jobs, queries.count_jobs)}

    async def count_flow(self, since: timedelta) -> Mapping[str, Flow]:
        """What moved in the last `since`, by kind of job."""
        return {each.kind: each for each in await self._all(Flow, queries.count_flow, since=since)}

    async def list_moves(self, since: timedelta, *, span: timedelta) -> Sequence[Moves]:
        """What moved in the last `since`, by spans of time, the oldest first; the one that is not over yet is left out."""
        return await self._all(Moves, queries.list_moves, since=since, span=span)

    async def list_dead_letters(
        self, *, kind: str | None = None, after: int | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Dead letters, the latest first; `after` is the id of the last one that was seen."""
        return await self._all(
            DeadLetter, queries.list_dead_letters, id=None, kind=kind, after=after, limit=limit
        )

    async def find_dead_letter(self, number: int) -> DeadLetter | None:
        """One dead letter; None when there is none of that id, or not any more."""
        found = await self._all(
            DeadLetter, queries.list_dead_letters, id=number, kind=None, after=None, limit=1
        )
        return found[0] if found else None

    async def retry_dead_letter(self, number: int) -> bool:
        """Put a dead letter back into the queue; False when there is none. Raises Conflict when the same job is queued again already."""
        try:
            cursor = await self._connection.execute(queries.retry_dead_letter, {"id": number})
        except UniqueViolation as error:
            raise Conflict("the same job is in the queue again already: discard this one") from error
        return await cursor.fetchone() is not None

    async def discard_dead_letter(self, number: int) -> bool:
        """Take a dead letter out of the queue for good; False when there is none."""
        cursor = await self._connection.execute(queries.discard_dead_letter, {"id": number})
        return await cursor.fetchone() is not None

    async def count_runs(self) -> Mapping[tuple[str, str], int]:
        """Runs by kind and state."""
        return await self._counts(queries.count_runs)

    async def count_open_items(self) -> Mapping[tuple[str, str], int]:
        """Open items of open runs, by the run's kind and the item's state. Reads them all."""
        return await self._counts(queries.count_open_items)

    async def list_open_runs(self, *, limit: int) -> Sequence[str]:
        """The ids of runs that have not ended, those that run first."""
        cursor = await self._connection.execute(queries.list_open_runs, {"limit": limit})
        return [row[0] for row in await cursor.fetchall()]

    async def count_alerts(self) -> Mapping[str, int]:
        """Open alerts by kind."""
        return dict(await (await self._connection.execute(queries.count_alerts)).fetchall())

    async def estimate_rows(self) -> Mapping[str, int]:
        """About how many rows each of `TABLES` has."""
        cursor = await self._connection.execute(queries.estimate_rows, {"relations": list(TABLES)})
        return dict(await cursor.fetchall())

    async def list_days(self, account: Account, span: Span) -> Sequence[Day]:
        """What was charged on some days; those without any charge are left out."""
        days = {"first_day": span.first_day, "last_day": span.last_day}
        return await self._all(Day, queries.list_days, **account_row(account), **days)

    async def _counts(self, query: str) -> Mapping[tuple[str, str], int]:
        rows = await (await self._connection.execute(query)).fetchall()
        return {(first, second): count for first, second, count in rows}

    async def _all(self, row: type[Row], query: str, **parameters: object) -> list[Row]:
        async with self._connection.cursor(row_factory=class_row(row)) as cursor:
            await cursor.execute(query, parameters)
            return await cursor.fetchall()
