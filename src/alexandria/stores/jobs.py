"""The queue in PostgreSQL: PgQueuer's tables, asked through our connections (docs/decisions/0003-pgqueuer.md)."""

from collections.abc import Mapping
from datetime import timedelta

from pgqueuer.db import PsycopgDriver
from pgqueuer.queries import Queries as JobQueries
from psycopg import AsyncRawCursor
from psycopg.rows import dict_row

from alexandria.stores.postgres import Connection, Database, Queries

queries = Queries("jobs.sql")

HARVEST_ITEM = "harvest_item"
FETCH_COVER = "fetch_cover"
JOB_KINDS = (HARVEST_ITEM, FETCH_COVER)
"""Every kind of job there is."""


class QueueDriver(PsycopgDriver):
    """PgQueuer's driver with a connection of its own for listening.

    The library listens and queries on one connection, where a query waits up to a second for the listener to let go. Here
    queries go through the pool.
    """

    def __init__(self, listener: Connection, database: Database) -> None:
        super().__init__(listener)
        self._database = database

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Rows of a query of the library's, in its own placeholders."""
        async with self._database.connection() as connection:
            cursor = AsyncRawCursor(connection, row_factory=dict_row)
            await cursor.execute(query.encode(), args or None)
            return await cursor.fetchall()

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement of the library's; returns the server's status line."""
        async with self._database.connection() as connection:
            cursor = AsyncRawCursor(connection)
            await cursor.execute(query.encode(), args or None)
            return cursor.statusmessage or ""


class JobStore:
    """The queue within one connection, so that a job is enqueued in the transaction that makes it necessary."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def top_up(
        self,
        kind: str,
        jobs: Mapping[str, bytes],
        *,
        group: str,
        high_water: int,
        priority: int,
        origins: Mapping[str, Mapping[str, str]] | None = None,
    ) -> int:
        """Queue jobs, key -> payload, until so many wait whose keys begin with `group`; returns how many that made.

        Those that wait or are in work already are left out. `origins`, by key, go with them: who made the work, where that is known.
        """
        cursor = await self._connection.execute(queries.list_open_jobs, {"kind": kind})
        open_jobs: dict[str, bool] = dict(await cursor.fetchall())
        room = max(0, high_water - sum(waits for key, waits in open_jobs.items() if key.startswith(group)))
        fresh = [key for key in jobs if key not in open_jobs][:room]
        if not fresh:
            return 0
        ids = await JobQueries(PsycopgDriver(self._connection)).enqueue(
            [kind] * len(fresh),
            [jobs[key] for key in fresh],
            [priority] * len(fresh),
            dedupe_key=list(fresh),
            headers=[dict(known) if (known := (origins or {}).get(key)) else None for key in fresh],
            on_conflict="skip",
        )
        return sum(each is not None for each in ids)

    async def forget_log(self, *, keep: timedelta, limit: int) -> int:
        """Forget what became of jobs longer ago than `keep`, at most so many entries; returns how many. The server's clock wrote them."""
        cursor = await self._connection.execute(queries.forget_log, {"kept": keep, "limit": limit})
        return cursor.rowcount
