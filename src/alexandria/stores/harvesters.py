"""Harvesters in PostgreSQL: what is switched on, paused and capped."""

from dataclasses import fields
from datetime import datetime

from psycopg.rows import class_row

from alexandria.domain.plans import Kind
from alexandria.domain.rollout import Harvester, Settings
from alexandria.stores.postgres import Connection, Queries

queries = Queries("harvesters.sql")


class HarvesterStore:
    """Harvesters within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_all(self) -> list[Harvester]:
        """Every harvester with what is set for it, by name."""
        return await self._all(None)

    async def get(self, name: Kind) -> Harvester:
        """One harvester; each kind has one."""
        return (await self._all(name))[0]

    async def _all(self, name: str | None) -> list[Harvester]:
        async with self._connection.cursor(row_factory=class_row(Harvester)) as cursor:
            await cursor.execute(queries.list_harvesters, {"name": name})
            return await cursor.fetchall()

    async def is_enabled(self, name: Kind) -> bool:
        """Whether runs may be started; stays so until the transaction ends."""
        row = await (await self._connection.execute(queries.lock_enabled, {"name": name})).fetchone()
        return row is not None and bool(row[0])

    async def lock(self, name: Kind) -> Harvester:
        """One harvester, which nobody else changes until the transaction ends."""
        await self._connection.execute(queries.lock_harvester, {"name": name})
        return await self.get(name)

    async def save(self, name: Kind, settings: Settings) -> None:
        """Set everything that can be set, for a harvester that is locked."""
        values = {each.name: getattr(settings, each.name) for each in fields(Settings)}
        await self._connection.execute(queries.save_harvester, {"name": name, **values})

    async def let_capped_runs_try(self, name: Kind, *, now: datetime) -> None:
        """Let runs that pause for a cap ask again: it may have been raised."""
        await self._connection.execute(queries.let_capped_runs_try, {"name": name, "now": now})
