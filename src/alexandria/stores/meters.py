"""Meters in PostgreSQL: the sums of what all processes counted, some of them also by spans of time and by day, and who is alive."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from alexandria.stores.postgres import Connection, Queries

queries = Queries("meters.sql")

SPAN = timedelta(minutes=10)
"""How finely the past is kept: an hour is told to ten minutes."""
KEEP_SPANS = timedelta(days=31)
KEEP_DAYS = timedelta(days=366)
ALIVE_FOR = timedelta(seconds=30)
"""A process that was silent for so long is not alive: six times as long as it takes between two signs of life."""

Readings = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]
"""(a sample's name, its labels) -> a value."""


@dataclass(frozen=True, slots=True)
class Alive:
    """Processes that gave a sign of life lately, and the workers in them."""

    processes: int
    workers: int


class MeterStore:
    """Meters within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, readings: Readings, *, spanned: Readings) -> None:
        """Add to the sums, and `spanned` also to those of the present span and of today."""
        if readings:
            await self._connection.execute(queries.add_readings, {"readings": _rows(readings)})
        if spanned:
            await self._connection.execute(queries.add_to_span, {"readings": _rows(spanned), "span": SPAN})
            await self._connection.execute(queries.add_to_day, {"readings": _rows(spanned)})

    async def beat(self, process: UUID, *, workers: int) -> None:
        """A sign of life."""
        await self._connection.execute(queries.beat, {"id": process, "workers": workers})

    async def leave(self, process: UUID) -> None:
        """The process ends."""
        await self._connection.execute(queries.leave, {"id": process})

    async def tidy(self) -> None:
        """Forget what is older than `KEEP_SPANS` and `KEEP_DAYS`, and processes that were killed."""
        await self._connection.execute(queries.forget_spans, {"keep": KEEP_SPANS})
        await self._connection.execute(queries.forget_days, {"keep": KEEP_DAYS.days})
        await self._connection.execute(queries.forget_processes)

    async def list_sums(self) -> Readings:
        """Every sum, since the database was made."""
        return _readings(await (await self._connection.execute(queries.list_readings)).fetchall())

    async def sum_since(self, since: timedelta) -> Readings:
        """What was counted within a time, and up to `SPAN` before it; only what is kept by spans."""
        cursor = await self._connection.execute(queries.sum_spans, {"since": since, "span": SPAN})
        return _readings(await cursor.fetchall())

    async def sum_days(self, days: int) -> Readings:
        """What was counted on the last so many days of UTC, today included; only what is kept by days."""
        cursor = await self._connection.execute(queries.sum_days, {"days": days})
        return _readings(await cursor.fetchall())

    async def count_alive(self) -> Alive:
        """Who is alive, on whichever machine."""
        async with self._connection.cursor(row_factory=class_row(Alive)) as cursor:
            await cursor.execute(queries.count_processes, {"silence": ALIVE_FOR})
            return await cursor.fetchone() or Alive(0, 0)


def _rows(readings: Readings) -> Jsonb:
    return Jsonb(
        [
            {"sample": sample, "labels": dict(labels), "value": value}
            for (sample, labels), value in readings.items()
        ]
    )


def _readings(rows: list[tuple[str, dict[str, str], float]]) -> Readings:
    return {(sample, tuple(sorted(labels.items()))): value for sample, labels, value in rows}
