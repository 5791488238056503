"""The database away, read-only, restarted or put back to an old copy: nothing is paid for before the count is known again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from alexandria.domain.errors import QuotaExhausted, StoreUnavailable
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Lane
from alexandria.sandbox.received import ReceivedCall
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database, migrate
from end_to_end.conftest import FragileServer
from end_to_end.spending import ShiftedClock, Spender, noon_if_near_midnight, policy_of, running_spender

LIMIT = 60
WORLD = World.invent(seed=3, authors=5, works_per_top_author=2)
ISBNS = [Isbn(digits) for digits in ("9780306406157", "9780306406164", "9780306406171", "9780306406188")]

Begin = Callable[[], AbstractAsyncContextManager[Spender]]
"""Starts one more program on the same database and key."""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    clock = ShiftedClock(noon_if_near_midnight())
    async with running_sandbox(WORLD, switches=Switches(rate_q=100_000), clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
def begin(database_url: str, sandbox: Sandbox) -> Begin:
    return lambda: running_spender(
        database_url, sandbox.url, policy_of(LIMIT), ahead=noon_if_near_midnight(), timeout_seconds=1.5
    )


@pytest.fixture
async def server(server_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """An administrator's connection, to another database of the same server."""
    async with await psycopg.AsyncConnection.connect(server_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def name(database_url: str) -> str:
    return str(conninfo_to_dict(database_url)["dbname"])


async def spend(spender: Spender, calls: int) -> None:
    """So many pages, one after the other."""
    for _ in range(calls):
        await spender.isbndb.author_page("Nobody", 1, lane=Lane.INTERACTIVE, consumer="lookup")


async def spend_once_it_answers(spender: Spender) -> None:
    """One page; as long as the database is away it is asked again."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await spend(spender, 1)
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def spend_all(spender: Spender) -> None:
    """Lists and pages, on several tasks, until nothing is left."""

    async def until_exhausted() -> None:
        with suppress(QuotaExhausted):
            while True:  # ends: each call takes a unit
                await spend(spender, 1)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(until_exhausted())


async def close_connections(server: psycopg.AsyncConnection, name: str) -> None:
    await server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


def after(sandbox: Sandbox, before: list[ReceivedCall]) -> list[str]:
    """The endpoints that were asked since."""
    return [call.endpoint for call in sandbox.calls[len(before) :]]


async def test_nothing_is_sent_while_the_database_is_away_and_the_day_still_ends_at_its_limit(
    begin: Begin, sandbox: Sandbox, server: psycopg.AsyncConnection, name: str
) -> None:
    async with begin() as spender:
        await spend(spender, 20)
        before = sandbox.calls
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        await close_connections(server, name)
        with pytest.raises(StoreUnavailable):
            await spend(spender, 1)
        with pytest.raises(StoreUnavailable):
            async with begin():
                pass
        assert after(sandbox, before) == []

        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        await spend_once_it_answers(spender)
        await spend_all(spender)
        assert sandbox.spent() == LIMIT
        assert await spender.quota.verify() == []


async def test_nothing_is_sent_while_the_database_can_only_be_read(
    begin: Begin, sandbox: Sandbox, server: psycopg.AsyncConnection, name: str
) -> None:
    async with begin() as spender:
        await spend(spender, 20)
        before = sandbox.calls
        await server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        await close_connections(server, name)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await spend(spender, 1)
        async with begin() as other:
            with pytest.raises(StoreUnavailable, match="read-only"):
                await spend(other, 1)
            with pytest.raises(StoreUnavailable, match="read-only"):
                await other.isbndb.key(lane=Lane.INTERACTIVE, consumer="check")
            assert (await other.quota.status(other.isbndb.source.account, policy_of(LIMIT))).used == 20
        assert after(sandbox, before) == []

        await server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
        await close_connections(server, name)
        await spend_once_it_answers(spender)
        await spend_all(spender)
        assert sandbox.spent() == LIMIT
        assert await spender.quota.verify() == []


async def test_after_a_crash_of_the_server_the_provider_s_count_is_asked_before_anything_is_paid_for(
    fragile_server: FragileServer, sandbox: Sandbox
) -> None:
    async with Database.open(fragile_server.url) as database:
        await migrate(database)
    ahead = noon_if_near_midnight()
    async with running_spender(
        fragile_server.url, sandbox.url, policy_of(LIMIT), ahead=ahead, timeout_seconds=3.0
    ) as spender:
        await spend(spender, 20)
        before = sandbox.calls
        await asyncio.to_thread(fragile_server.crash)
        await spend_once_it_answers(spender)
        assert after(sandbox, before) == ["key", "author"]
        await spend_all(spender)
        assert sandbox.spent() == LIMIT
        assert await spender.quota.verify() == []


@asynccontextmanager
async def closed(server: psycopg.AsyncConnection, name: str) -> AsyncIterator[None]:
    """Nobody is connected to a database, or can connect, while the block runs."""
    await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
    await close_connections(server, name)
    yield
    await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


@asynccontextmanager
async def put_back_later(
    server: psycopg.AsyncConnection, name: str
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Back a database up; what the block gets puts it back to that, under the same name and on the same server."""
    backup, lost = f"{name}_backup", f"{name}_lost"

    async def put_back() -> None:
        async with closed(server, name):
            await server.execute(f"ALTER DATABASE {name} RENAME TO {lost}".encode())
            await server.execute(f"ALTER DATABASE {backup} RENAME TO {name}".encode())

    async with closed(server, name):
        await server.execute(f"CREATE DATABASE {backup} TEMPLATE {name}".encode())
    try:
        yield put_back
    finally:
        for each in (backup, lost):
            await server.execute(f"DROP DATABASE IF EXISTS {each} WITH (FORCE)".encode())


async def test_a_living_program_sees_that_the_database_was_put_back(
    begin: Begin, sandbox: Sandbox, server: psycopg.AsyncConnection, name: str
) -> None:
    async with begin() as spender:
        await spend(spender, 10)
        async with put_back_later(server, name) as put_back:
            await spend_once_it_answers(spender)
            await spend(spender, 39)
            before = sandbox.calls
            await put_back()
            await spend_once_it_answers(spender)
            assert after(sandbox, before) == ["key", "author"]
            await spend_all(spender)
            assert sandbox.spent() == LIMIT
            assert await spender.quota.verify() == []


async def test_a_program_that_begins_on_a_database_that_was_put_back_does_not_trust_it(
    begin: Begin, sandbox: Sandbox, server: psycopg.AsyncConnection, name: str
) -> None:
    async with begin() as spender:
        await spend(spender, 10)
    async with put_back_later(server, name) as put_back:
        async with begin() as spender:
            await spend(spender, 40)
        before = sandbox.calls
        await put_back()
        async with begin() as spender:
            # All that the copy says is left, at once: it would be too much.
            batch = await spender.isbndb.books(ISBNS, lane=Lane.BULK, consumer="batch")
            assert batch.failure is None
            assert after(sandbox, before) == ["key", "bulk"]
            await spend_all(spender)
            assert sandbox.spent() == LIMIT
            assert await spender.quota.verify() == []
