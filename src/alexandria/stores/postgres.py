"""The database: connections, transactions, named queries and migrations. One dialect, PostgreSQL 15 or newer."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any, Self, TypeVar

import structlog
from pgqueuer.db import PsycopgDriver
from pgqueuer.queries import Queries as JobQueries
from psycopg import AsyncConnection, OperationalError, ProgrammingError
from psycopg.errors import DeadlockDetected, ForeignKeyViolation, UndefinedTable
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from alexandria import tracing
from alexandria.domain.errors import ConfigurationError, StoreUnavailable

log = structlog.get_logger()

Connection = AsyncConnection[tuple[Any, ...]]
Result = TypeVar("Result")

OLDEST_SERVER = 150_000
"""PostgreSQL 15: the oldest release whose NULLS NOT DISTINCT and MERGE the queries may use (design.md, section 2)."""

# Any number will do as long as no other advisory lock of ours uses it.
_MIGRATION_LOCK = 7_230_915_448
_MIGRATION_ATTEMPTS = 5


class Queries:
    """The named queries of one `.sql` file beside its store: `-- name: reserve_units` starts one."""

    def __init__(self, file_name: str, *, package: str = "alexandria.stores") -> None:
        """Read a file of the package; a name given twice is a programming error and raises ValueError."""
        text = resources.files(package).joinpath(file_name).read_text("utf-8")
        parts = re.split(r"^-- name: (\w+)[^\n]*\n", text, flags=re.MULTILINE)
        self._statements: dict[str, str] = {}
        for name, statement in zip(parts[1::2], parts[2::2], strict=True):
            if name in self._statements:
                raise ValueError(f"{file_name}: query {name} is written twice")
            self._statements[name] = statement.strip().rstrip(";")

    def __getattr__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(f"no query is named {name}") from None

    def names(self) -> list[str]:
        """Every query's name, in the order of the file."""
        return list(self._statements)


class Database:
    """A pool of connections to the one database that all processes share."""

    def __init__(self, pool: AsyncConnectionPool[Connection], url: str) -> None:
        self._pool = pool
        self.url = url

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, most_connections: int = 20, timeout_seconds: float = 10.0
    ) -> AsyncIterator[Self]:
        """Connect, and close at the end. Raises StoreUnavailable when no server answers within the time-out."""
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=most_connections,
            open=False,
            timeout=timeout_seconds,
            kwargs={"autocommit": True, "application_name": "alexandria"},
        )
        try:
            await pool.open(wait=True, timeout=timeout_seconds)
        except PoolTimeout as error:
            await pool.close()
            raise StoreUnavailable(
                f"no PostgreSQL answered within {timeout_seconds:g} s; is the server of ALEXANDRIA_DATABASE_URL running?"
            ) from error
        try:
            yield cls(pool, url)
        finally:
            await pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode. Raises StoreUnavailable when none can be had or the server goes away."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except DeadlockDetected:
            # The server is well: `in_transaction` answers this one.
            raise
        except (OperationalError, PoolTimeout) as error:
            raise StoreUnavailable(f"the database did not answer: {error}".strip()) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: commits at the end of the block, rolls back when it raises."""
        with tracing.detail("database transaction"):
            async with self.connection() as connection, connection.transaction():
                yield connection


async def in_transaction(
    database: Database, work: Callable[[Connection], Awaitable[Result]], *, attempts: int = 5
) -> Result:
    """Do some work in a transaction, and again if the server chose it to resolve a deadlock; the last failure is raised.

    Two pages may name the same people and works in another order; sorted writes make that rare, not impossible. And what a row
    refers to may be gone by then: a work that was merged into another one (`leads.py`).
    """
    for attempt in range(1, attempts):
        try:
            async with database.transaction() as connection:
                return await work(connection)
        except (DeadlockDetected, ForeignKeyViolation) as error:
            log.info("transaction.repeated", attempt=attempt, reason=type(error).__name__)
    async with database.transaction() as connection:
        return await work(connection)


@dataclass(frozen=True)
class Migration:
    """One numbered file of `stores/migrations/`; they only go forward."""

    number: int
    name: str
    statements: str


def migrations() -> list[Migration]:
    """Every migration in order. Raises ValueError when a number is given twice.

    A gap is a migration that comes from another branch; whenever it arrives, it is applied then.
    """
    folder = resources.files("alexandria.stores").joinpath("migrations")
    found = [
        Migration(int(match[1]), match[2], file.read_text("utf-8"))
        for file in sorted(folder.iterdir(), key=lambda each: each.name)
        if (match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name))
    ]
    if len({each.number for each in found}) < len(found):
        raise ValueError("two migrations have the same number")
    return found


async def migrate(database: Database) -> list[Migration]:
    """Apply what is missing, each in its own transaction, under one lock so that two processes never apply one twice.

    Others may go on writing. Returns the migrations applied now. Raises ConfigurationError when the server is too old or when the
    database was made by a newer Alexandria, and StoreUnavailable when writers get in the way again and again.
    """
    known = migrations()
    async with database.connection() as connection:
        if connection.info.server_version < OLDEST_SERVER:
            raise ConfigurationError("ALEXANDRIA_DATABASE_URL: this server is older than PostgreSQL 15")
        await connection.execute("SELECT pg_advisory_lock(%s)", [_MIGRATION_LOCK])
        try:
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations (number int PRIMARY KEY, name text NOT NULL,"
                " applied_at timestamptz NOT NULL DEFAULT now())"
            )
            rows = await (await connection.execute("SELECT number FROM migrations")).fetchall()
            applied = {row[0] for row in rows}
            if unknown := applied - {each.number for each in known}:
                raise ConfigurationError(
                    f"the database holds migration {max(unknown)}, this Alexandria knows {known[-1].number}: run the newer version"
                )
            missing = [each for each in known if each.number not in applied]
            for each in missing:
                await _apply(connection, each)
                log.info("migration.applied", number=each.number, name=each.name)
            # PgQueuer keeps its own tables; its installer knows which of them are missing or old.
            jobs = JobQueries(PsycopgDriver(connection))
            await (jobs.upgrade() if await jobs.schema_is_installed() else jobs.install())
            return missing
        finally:
            await connection.execute("SELECT pg_advisory_unlock(%s)", [_MIGRATION_LOCK])


async def _apply(connection: Connection, migration: Migration) -> None:
    """In a transaction, and again if the server chose it to resolve a deadlock: processes of the version before go on writing."""
    for attempt in range(1, _MIGRATION_ATTEMPTS + 1):
        try:
            async with connection.transaction():
                await connection.execute(migration.statements)
                await connection.execute(
                    "INSERT INTO migrations (number, name) VALUES (%s, %s)",
                    [migration.number, migration.name],
                )
        except DeadlockDetected:
            log.info("migration.repeated", number=migration.number, attempt=attempt)
        else:
            return
    raise StoreUnavailable(
        f"migration {migration.number} met a deadlock {_MIGRATION_ATTEMPTS} times, nothing of it was applied:"
        " stop the other processes of Alexandria and start again"
    )


async def is_migrated(database: Database) -> bool:
    """Whether every migration that this version knows has been applied."""
    async with database.connection() as connection:
        return await _count_applied(connection) >= len(migrations())


@dataclass(frozen=True)
class Server:
    """What a server says of itself and of the database."""

    version: str
    migrations_missing: int


async def inspect(url: str, *, timeout_seconds: int = 10) -> Server:
    """Ask a server over a plain connection, changing nothing: a pool tells only that nobody answered, not why.

    Raises StoreUnavailable with the server's or the network's own reason.
    """
    try:
        connection = await AsyncConnection.connect(url, autocommit=True, connect_timeout=timeout_seconds)
    except OperationalError as error:
        raise StoreUnavailable(" ".join(str(error).split())) from error
    except ProgrammingError as error:
        # The driver's own words may quote a part of the address, password and all.
        raise StoreUnavailable("the address can't be understood: is a letter to be escaped?") from error
    async with connection:
        version = connection.info.parameter_status("server_version") or "of an unknown version"
        return Server(version, max(0, len(migrations()) - await _count_applied(connection)))


async def _count_applied(connection: Connection) -> int:
    try:
        row = await (await connection.execute("SELECT count(*) FROM migrations")).fetchone()
    except UndefinedTable:
        return 0
    return int(row[0]) if row else 0
