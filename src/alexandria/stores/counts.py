"""Counts that are kept instead of counted: how the catalogue grew, and what harvests brought, by day.

The database's triggers keep them, whoever writes (migrations/0015_kept_counts.sql), by adding a row for each change; `gather_if_due`
brings those of a day together from time to time. A day is UTC's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from psycopg.rows import class_row

from alexandria.domain.quota_usage import Span
from alexandria.stores.postgres import Connection, Queries

queries = Queries("counts.sql")

GROWING = ("authors", "works", "editions", "covers_stored")
"""What the growth is told of; `covers_stored` by the day on which each was stored, without those that were withdrawn since."""

GATHER_EVERY = timedelta(minutes=5)
"""At 25 covers a second some fifteen thousand rows come together within that time; reading them takes three milliseconds."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What the harvests of one consumer brought on one day."""

    day: date
    consumer: str
    editions_found: int
    editions_new: int
    works_new: int
    covers_wanted: int


class CountStore:
    """Kept counts within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_growth(
        self, span: Span, counted: Sequence[str] = GROWING
    ) -> Mapping[str, Mapping[date, int]]:
        """What is there now, by the day on which it came; days without any are left out."""
        days = {"first_day": span.first_day, "last_day": span.last_day, "counted": list(counted)}
        found: dict[str, dict[date, int]] = {each: {} for each in counted}
        for day, what, rows in await (await self._connection.execute(queries.list_growth, days)).fetchall():
            found[what][day] = rows
        return found

    async def list_gains(self, span: Span) -> Sequence[Gain]:
        """What items brought, by the day on which they brought it."""
        days = {"first_day": span.first_day, "last_day": span.last_day}
        async with self._connection.cursor(row_factory=class_row(Gain)) as cursor:
            await cursor.execute(queries.list_gains, days)
            return await cursor.fetchall()

    async def gather_if_due(self) -> bool:
        """Bring the rows of each day together if that is due; returns whether the caller did. Within a transaction."""
        claimed = await self._connection.execute(queries.claim_gathering, {"every": GATHER_EVERY})
        if await claimed.fetchone() is None:
            return False
        await self._connection.execute(queries.gather_counts)
        await self._connection.execute(queries.gather_gains)
        return True
