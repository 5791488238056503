"""The database: queries that prepare, migrations that are applied once, errors that say what is the case."""

import asyncio
import re

import pytest
from psycopg import sql

from alexandria.domain.errors import ConfigurationError, StoreUnavailable
from alexandria.rehearsal import counting
from alexandria.stores import (
    alerts,
    authors,
    catalogue,
    covers,
    harvest_pages,
    harvesters,
    harvests,
    isbn_answers,
    jobs,
    locks,
    quota_books,
    quota_reports,
    run_reports,
    schedule,
)
from alexandria.stores.postgres import (
    Connection,
    Database,
    Queries,
    in_transaction,
    is_migrated,
    migrate,
    migrations,
)
from conftest import url_of

STORES = {
    "alerts": alerts.queries,
    "authors": authors.queries,
    "catalogue": catalogue.queries,
    "covers": covers.queries,
    "harvest_pages": harvest_pages.queries,
    "harvesters": harvesters.queries,
    "harvests": harvests.queries,
    "isbn_answers": isbn_answers.queries,
    "jobs": jobs.queries,
    "locks": locks.queries,
    "quota": quota_books.queries,
    "quota_reports": quota_reports.queries,
    "run_reports": run_reports.queries,
    "rehearsal": counting.queries,
    "schedule": schedule.queries,
}
EVERY_QUERY = [(store, name) for store, queries in STORES.items() for name in queries.names()]


def positional(statement: str) -> str:
    """The statement as the server sees it: %(name)s becomes $1, $2, ..."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return re.sub(r"%\((\w+)\)s", number, statement).replace("%%", "%")


@pytest.mark.parametrize(("store", "name"), EVERY_QUERY)
async def test_every_named_query_prepares_on_the_migrated_schema(
    database: Database, store: str, name: str
) -> None:
    statement = positional(getattr(STORES[store], name))
    # A SET can't be prepared; it takes no parameters either, so running it says as much.
    is_setting = re.search(r"^SET ", statement, re.MULTILINE) and "$1" not in statement
    async with database.transaction() as connection:
        await connection.execute((statement if is_setting else f"PREPARE tried AS {statement}").encode())


def test_a_query_that_is_not_in_the_file_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no query is named"):
        _ = Queries("catalogue.sql").drop_everything


async def applied(connection: Connection) -> list[int]:
    rows = await (await connection.execute("SELECT number FROM migrations ORDER BY number")).fetchall()
    return [row[0] for row in rows]


async def test_processes_that_migrate_at_once_apply_each_migration_once(server_url: str) -> None:
    async with Database.open(server_url) as server:
        async with server.connection() as connection:
            await connection.execute("CREATE DATABASE migrated_at_once")
        async with Database.open(url_of(server_url, "migrated_at_once")) as database:
            assert not await is_migrated(database)
            results = await asyncio.gather(*(migrate(database) for _ in range(4)))
            assert sorted(len(result) for result in results) == [0, 0, 0, len(migrations())]
            assert await is_migrated(database)
            async with database.connection() as connection:
                assert await applied(connection) == [each.number for each in migrations()]


async def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("INSERT INTO migrations (number, name) VALUES (9999, 'from_the_future')")
    with pytest.raises(ConfigurationError, match="run the newer version"):
        await migrate(database)


async def test_a_server_that_does_not_answer_is_one_clear_error() -> None:
    with pytest.raises(StoreUnavailable, match="ALEXANDRIA_DATABASE_URL"):
        async with Database.open("postgresql://127.0.0.1:1/nowhere", timeout_seconds=0.5):
            pass


async def test_a_connection_that_is_cut_is_a_store_that_is_unavailable(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        async with database.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.execute(
                sql.SQL(
                    "INSERT INTO authors (key, name, identity) VALUES ('OL1A', 'Edda Vale', 'identified')"
                )
            )
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        await fail()
    async with database.connection() as connection:
        assert await (await connection.execute("SELECT count(*) FROM authors")).fetchone() == (0,)


async def test_a_transaction_that_loses_a_deadlock_is_done_again(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE seats (id int PRIMARY KEY, taken int NOT NULL DEFAULT 0)")
        await connection.execute("INSERT INTO seats (id) VALUES (1), (2)")
    both_hold_one = asyncio.Barrier(2)
    turns: list[tuple[int, int]] = []

    async def take(first: int, second: int) -> None:
        async def work(connection: Connection) -> None:
            turns.append((first, second))
            await connection.execute("UPDATE seats SET taken = taken + 1 WHERE id = %s", [first])
            if len(turns) <= 2:
                await both_hold_one.wait()
            await connection.execute("UPDATE seats SET taken = taken + 1 WHERE id = %s", [second])

        await in_transaction(database, work)

    await asyncio.gather(take(1, 2), take(2, 1))
    assert len(turns) >= 3, "one of the two was chosen to begin again, at least once"
    async with database.connection() as connection:
        assert await (await connection.execute("SELECT taken FROM seats")).fetchall() == [(2,), (2,)]
