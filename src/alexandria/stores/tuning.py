"""Dials in PostgreSQL: all processes read the same values, and one at a time changes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from alexandria.domain.tuning import Change
from alexandria.stores.postgres import Connection, Queries

queries = Queries("tuning.sql")

CHANGES_KEPT = timedelta(days=90)
"""How long it is remembered what was changed and why."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A change that was made."""

    name: str
    before: float
    after: float
    reason: str
    changed_at: datetime

    def as_json(self) -> dict[str, object]:
        """For the CLI and the API."""
        return {
            "before": self.before,
            "after": self.after,
            "reason": self.reason,
            "changed_at": self.changed_at.isoformat(),
        }


class TuningStore:
    """Dials within one connection, in a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim_look(self, *, interval: timedelta) -> Mapping[str, Any] | None:
        """What was kept at the last look, when it was longer ago than `interval` and nobody else is at it; else None.

        Nobody else looks until the transaction ends.
        """
        cursor = await self._connection.execute(queries.claim_look, {"interval": interval})
        row = await cursor.fetchone()
        return row[0] if row else None

    async def save_look(self, readings: Mapping[str, Any]) -> None:
        """It was looked now, and this is to be known the next time."""
        await self._connection.execute(queries.save_look, {"readings": Jsonb(dict(readings))})
        await self._connection.execute(queries.forget_changes, {"keep": CHANGES_KEPT})

    async def now(self) -> float:
        """The database's clock, which all machines share, in seconds since 1970."""
        row = await (await self._connection.execute(queries.read_clock)).fetchone()
        return float(row[0]) if row else 0.0

    async def lock(self) -> None:
        """Wait for a look that is under way, and let none begin until the transaction ends."""
        await self._connection.execute(queries.lock_dials)

    async def list_values(self) -> Mapping[str, float]:
        """Where dials stand that were ever changed."""
        return dict(await (await self._connection.execute(queries.list_values)).fetchall())

    async def change(self, change: Change) -> None:
        """Set a dial, and remember why."""
        await self._connection.execute(queries.set_value, {"name": change.dial, "value": change.after})
        values = {
            "name": change.dial,
            "before": change.before,
            "after": change.after,
            "reason": change.reason,
        }
        await self._connection.execute(queries.add_change, values)

    async def list_changes(self, names: Sequence[str], *, limit: int) -> Sequence[Changed]:
        """The latest changes of each of these dials, newest first."""
        async with self._connection.cursor(row_factory=class_row(Changed)) as cursor:
            await cursor.execute(queries.list_changes, {"names": list(names), "limit": limit})
            return await cursor.fetchall()
