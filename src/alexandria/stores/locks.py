"""Locks that one session holds, among all processes and machines, until it ends: for what must be done by one at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import psycopg
from psycopg import AsyncConnection

from alexandria.domain.errors import StoreUnavailable
from alexandria.stores.postgres import Connection, Queries

queries = Queries("locks.sql")

ANSWER_SECONDS = 2.0
"""How long a holder waits to be told that it still holds the lock; without an answer it takes the lock for lost."""

_CONNECT_SECONDS = 10


class Lock:
    """A lock by its name, as one session sees it."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def try_take(self) -> bool:
        """Take the lock if nobody holds it; returns whether it is ours now. Raises StoreUnavailable."""
        return await self._ask(queries.try_take)

    async def check(self) -> None:
        """Raises StoreUnavailable unless the server says, within `ANSWER_SECONDS`, that this session holds the lock."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                is_held = await self._ask(queries.is_held)
        except TimeoutError as error:
            raise StoreUnavailable(f"the database did not answer within {ANSWER_SECONDS:g} s") from error
        if not is_held:
            raise StoreUnavailable("the lock is held by another session: is there a transaction pooler?")

    async def _ask(self, query: str) -> bool:
        with _reaching():
            row = await (await self._connection.execute(query, {"name": self._name})).fetchone()
            return row is not None and bool(row[0])


@asynccontextmanager
async def lock_session(url: str, name: str, *, application_name: str) -> AsyncIterator[Lock]:
    """A session of its own for one lock, which it gives free when the block ends or the process dies.

    A lock that is waited for is tried again and again, not waited for in the server: a statement that waits for days would
    keep it from clearing away dead rows. Raises StoreUnavailable when no server answers.
    """
    with _reaching():
        connection = await AsyncConnection.connect(
            url, autocommit=True, connect_timeout=_CONNECT_SECONDS, application_name=application_name
        )
    async with connection:
        with _reaching():
            await connection.execute(queries.notice_death)
        yield Lock(connection, name)


class SoleUses:
    """Locks of one process on one session of its own: as many at once as are wanted, without a connection for each.

    When the session ends, as with the server, others may take what this process still holds; whoever needs to know asks the server.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._held: set[str] = set()
        self._session: Connection | None = None
        self._asking = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[bool]:
        """Whether nobody else holds `name` now; if so it is ours until the block ends or the process dies. Raises StoreUnavailable."""
        # A session may take a lock twice, so this process's own callers are told apart here.
        if name in self._held:
            yield False
            return
        self._held.add(name)
        try:
            if not await self._ask(queries.try_take, name):
                yield False
                return
            try:
                yield True
            finally:
                with suppress(StoreUnavailable):  # the lock went with its session
                    await self._ask(queries.release, name)
        finally:
            self._held.discard(name)

    async def close(self) -> None:
        """Give everything free."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, query: str, name: str) -> bool:
        async with self._asking:
            with _reaching():
                if self._session is None or self._session.closed:
                    self._session = await AsyncConnection.connect(
                        self._url,
                        autocommit=True,
                        connect_timeout=_CONNECT_SECONDS,
                        application_name="alexandria-locks",
                    )
                    await self._session.execute(queries.notice_death)
                row = await (await self._session.execute(query, {"name": name})).fetchone()
                return row is not None and bool(row[0])


@asynccontextmanager
async def sole_uses(url: str) -> AsyncIterator[SoleUses]:
    """A process's locks, given free at the end of the block."""
    uses = SoleUses(url)
    try:
        yield uses
    finally:
        await uses.close()


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise StoreUnavailable(f"the database did not answer: {error}".strip()) from error
