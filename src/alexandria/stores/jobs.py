"""The queue in PostgreSQL: PgQueuer's tables, asked through our connections (docs/decisions/0003-pgqueuer.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from pgqueuer.db import PsycopgDriver
from pgqueuer.queries import Queries as JobQueries
from psycopg import AsyncRawCursor
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

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


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is to be queued: its arguments, and who made the work, where that is known."""

    arguments: bytes
    origin: Mapping[str, str] | None = None


class JobStore:
    """The queue within one connection, so that a job is enqueued in the transaction that makes it necessary."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_open(self, kind: str) -> Mapping[str, bool]:
        """The keys of jobs that wait or are in work; those that wait are True."""
        cursor = await self._connection.execute(queries.list_open_jobs, {"kind": kind})
        return dict(await cursor.fetchall())

    async def enqueue(self, kind: str, jobs: Mapping[str, NewJob], *, priority: int) -> int:
        """Queue jobs by their keys; returns how many that made. Those that wait or are in work already are left out."""
        if not jobs:
            return 0
        ids = await JobQueries(PsycopgDriver(self._connection)).enqueue(
            [kind] * len(jobs),
            [each.arguments for each in jobs.values()],
            [priority] * len(jobs),
            dedupe_key=list(jobs),
            headers=[dict(each.origin) if each.origin else None for each in jobs.values()],
            on_conflict="skip",
        )
        return sum(each is not None for each in ids)

    async def hasten(self, jobs: Mapping[str, NewJob], *, priority: int) -> int:
        """Let those jobs come earlier that wait already; returns how many do. They are then made for who hastens them."""
        rows = [{"key": key, "origin": each.origin or None} for key, each in jobs.items()]
        cursor = await self._connection.execute(
            queries.hasten_jobs, {"rows": Jsonb(rows), "priority": priority}
        )
        return cursor.rowcount

    async def forget_log(self, *, keep: timedelta, limit: int) -> int:
        """Forget what became of jobs longer ago than `keep`, at most so many entries; returns how many. The server's clock wrote them."""
        cursor = await self._connection.execute(queries.forget_log, {"kept": keep, "limit": limit})
        return cursor.rowcount
