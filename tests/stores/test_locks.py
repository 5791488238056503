"""Locks between sessions: one holds, the others don't, and the end of the holder's session frees it."""

import asyncio

import pytest
from psycopg import AsyncConnection

from alexandria.domain.errors import StoreUnavailable
from alexandria.stores.locks import lock_session


async def end_session(url: str, name: str) -> None:
    """End the session of this application name, as a restart of the server would."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
            " AND datname = current_database()",
            [name],
        )


async def test_one_session_holds_a_lock_and_the_next_one_gets_it_when_that_ends(database_url: str) -> None:
    async with lock_session(database_url, "a lock", application_name="second") as second:
        async with lock_session(database_url, "a lock", application_name="first") as first:
            assert await first.try_take()
            assert not await second.try_take()
            await first.check()
        # The server needs a moment to notice the end of a session.
        async with asyncio.timeout(10):
            while not await second.try_take():
                pass
        await second.check()


async def test_locks_of_other_names_don_t_mind_each_other(database_url: str) -> None:
    async with (
        lock_session(database_url, "a lock", application_name="first") as first,
        lock_session(database_url, "another", application_name="second") as second,
    ):
        assert await first.try_take()
        assert await second.try_take()


async def test_a_holder_whose_session_was_ended_learns_it_before_it_acts(database_url: str) -> None:
    async with lock_session(database_url, "a lock", application_name="first") as first:
        assert await first.try_take()
        await end_session(database_url, "first")
        with pytest.raises(StoreUnavailable):
            await first.check()


async def test_a_session_that_does_not_hold_the_lock_is_told_so(database_url: str) -> None:
    """As one is that a transaction pooler moved to another server session."""
    async with (
        lock_session(database_url, "a lock", application_name="first") as first,
        lock_session(database_url, "a lock", application_name="second") as second,
    ):
        assert await first.try_take()
        with pytest.raises(StoreUnavailable, match="another session"):
            await second.check()


async def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="did not answer"):
        async with lock_session("postgresql://127.0.0.1:1/nowhere", "a lock", application_name="first"):
            pass
