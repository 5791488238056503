"""An account's books, read and written under its row's lock: the transactions in which `stores/quota.py` decides.

Also what this process has seen of an account, by which it notices that the database is older than what was sent, or that somebody
set its clock.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import psycopg
import structlog
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from alexandria.clock import Clock
from alexandria.domain import breaker
from alexandria.domain.errors import QuotaDenied, StoreUnavailable
from alexandria.domain.pacing import Anchor, shift_now
from alexandria.domain.quota import ARRIVAL_SPAN, Account, Change, Policy, Record, Request, Reservation, State
from alexandria.domain.reserving import proposed_day
from alexandria.domain.settling import CARRY_SPAN, may_cross, open_day
from alexandria.stores.postgres import Connection, Database, Queries
from alexandria.stores.quota_rows import (
    ReservationRow,
    StateRow,
    WindowRow,
    account_row,
    charges_of,
    entry_columns,
    record_columns,
    state_row,
    surely_utc,
)

log = structlog.get_logger()
queries = Queries("quota.sql")

MOST_AT_ONCE = 1000
"""Reservations that one transaction looks at: so that one sweep after a long outage stays short; the next one takes the rest."""


@dataclass(slots=True)
class _Seen:
    """What this process has seen of an account, so that it notices when the database is older than what was sent."""

    server_started_at: datetime
    revision: int
    reconciliations: int
    """How many there had been when this process began to know nothing."""
    is_known: bool
    anchor: Anchor | None = None
    """Tells when somebody sets the store's clock."""

    @classmethod
    def first(cls, row: StateRow) -> "_Seen":
        """Nothing is known at first: however fresh it looks, the database may just have been put back to an old copy of itself."""
        return cls(row.server_started_at, row.revision, row.reconciliations, is_known=False)

    def follows(self, row: StateRow) -> bool:
        """Whether the database goes on from what was seen of it."""
        return row.server_started_at == self.server_started_at and row.revision >= self.revision


class Books:
    """Reads and writes accounts. Any trouble with the database raises StoreUnavailable."""

    def __init__(self, database: Database, clock: Clock | None, *, timeout_seconds: float) -> None:
        """Without a clock the database server's is used; `timeout_seconds` bounds each transaction."""
        self._database = database
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._seen: dict[Account, _Seen] = {}

    @property
    def is_clock_given(self) -> bool:
        """Whether time was passed in, and is not the database server's."""
        return self._clock is not None

    def anchor_of(self, account: Account) -> Anchor | None:
        """What this process knows of the account's steady time; None before it read anything."""
        seen = self._seen.get(account)
        return seen.anchor if seen else None

    async def save_account(
        self, connection: Connection, before: State, observed: Change, now: datetime
    ) -> None:
        """Write down what an answer told about the account, if it told anything new."""
        after = observed.state
        # What the calls cost that failed in between, the provider's count tells.
        has_closed = before.failures.count >= breaker.MOST_FAILURES and after.failures.count == 0
        if replace(after, window=None) != replace(before, window=None):
            await connection.execute(queries.save_account, state_row(after, is_count_due=has_closed, now=now))
        if after.window is not None and before.window and after.window.total != before.window.total:
            total = {"day": after.window.day, "provider_total": after.window.total}
            await connection.execute(queries.save_total, {**account_row(after.account), **total})

    async def open_proposed_day(
        self, connection: Connection, state: State, policy: Policy, now: datetime
    ) -> State:
        """Where no answer for nothing tells the provider's day, ours does, once the guard around midnight is over."""
        day = proposed_day(state, policy, now)
        if policy.has_counter or day == state.day:
            return state
        return await self.open_day(connection, state, day, now)

    async def open_day(self, connection: Connection, state: State, day: date, now: datetime) -> State:
        """Begin a day's count with what may have crossed its midnight."""
        parameters = {
            **account_row(state.account),
            "day": day,
            "since": state.steady(now) - CARRY_SPAN,
            "most": 10 * MOST_AT_ONCE,
        }
        records = await self.records(connection, queries.list_open, parameters)
        crossing = tuple(each for each in records if may_cross(each, state.steady(now)))
        await connection.execute(queries.open_window, parameters)
        windows = connection.cursor(row_factory=class_row(WindowRow))
        await windows.execute(queries.read_window, parameters)
        # It has a count already when a clock that was wrong had opened another one in between.
        window = (await windows.fetchone() or WindowRow()).window(day)
        change = open_day(state, window, crossing)
        state = await self.write(connection, change, now)
        await connection.execute(queries.save_account, state_row(state, is_count_due=True, now=now))
        log.info(
            "quota.day_opened", provider=state.account.provider, day=str(day), carried=len(change.records)
        )
        ours = state.recorded and state.recorded.request.request_id
        carried = [record for record in change.records if record.request.request_id == ours]
        return replace(state, recorded=carried[0] if carried else state.recorded)

    async def lock_and_read(
        self, connection: Connection, account: Account, request: Request
    ) -> tuple[State, datetime] | None:
        """What most grants rest on, in one statement; None when more is to be read, or written, first."""
        asked_at = self.monotonic()
        states = connection.cursor(row_factory=class_row(StateRow))
        parameters = {**account_row(account), "consumer": request.consumer, "now": self.set_now()}
        await states.execute(queries.lock_and_read, parameters)
        row = await states.fetchone()
        if row is None:
            return None
        state, now = self._state_of(account, row, asked_at)
        return await self._count_run(connection, state, request), now

    async def _count_run(
        self, connection: Connection, state: State, asked: Request | Reservation | None
    ) -> State:
        """The state with what the request's run was charged, if there is a cap on that: one more round trip, then only."""
        if not isinstance(asked, Request) or state.caps.units_per_run is None or asked.run is None:
            return state
        row = await (await connection.execute(queries.sum_run, {"run": asked.run})).fetchone()
        return replace(state, caps=replace(state.caps, units_of_run=row[0] if row else None))

    def _state_of(self, account: Account, row: StateRow, asked_at: float) -> tuple[State, datetime]:
        # A clock that was passed in is read now: the wait for the lock may have been long.
        now = self.set_now() or surely_utc(row.now)
        seen = self._look(account, row)
        state = row.state(account)
        answered_at = self.monotonic()
        shift = shift_now(state.clock_shift, now, seen.anchor, asked_at, answered_at)
        seen.anchor = Anchor(now - shift, answered_at, waited=answered_at - asked_at)
        return replace(state, clock_shift=shift, is_known=seen.is_known), now

    async def lock_state(
        self, connection: Connection, account: Account, asked: Request | Reservation | None = None
    ) -> tuple[State, datetime]:
        """What a decision rests on, read under the account's lock in one round trip (three for a new account)."""
        request_id = asked.request_id if asked else None
        consumer = asked.consumer if isinstance(asked, Request) else None
        for _ in range(2):
            asked_at = self.monotonic()
            lock = await connection.execute(queries.lock_account, account_row(account))
            states = await self._read_state(connection, account, consumer)
            found = connection.cursor(row_factory=class_row(ReservationRow))
            await found.execute(queries.lock_reservation, {"request_id": request_id})
            if await lock.fetchone() is not None:
                recorded = await found.fetchone()
                state, now = self._state_of(account, _one(await states.fetchone()), asked_at)
                state = await self._count_run(connection, state, asked)
                return replace(state, recorded=recorded.record() if recorded else None), now
            # Somebody may have made it a moment ago, and a reservation with it: whoever locks that first waits for us as we would for
            # them.
            await connection.execute("ROLLBACK")
            await connection.execute("BEGIN")
            await connection.execute(queries.create_account, account_row(account))
        raise StoreUnavailable(f"the quota's account of {account.provider} could not be created")

    async def _read_state(
        self, connection: Connection, account: Account, consumer: str | None = None
    ) -> psycopg.AsyncCursor[StateRow]:
        states = connection.cursor(row_factory=class_row(StateRow))
        parameters = {**account_row(account), "consumer": consumer, "now": self.set_now()}
        return await states.execute(queries.read_state, parameters)

    async def count_open(self, connection: Connection, state: State, now: datetime) -> State:
        """The state with what is in flight and unresolved counted, where it had bounds."""
        parameters = {
            **account_row(state.account),
            "day": state.day,
            "arrives_after": state.steady(now) - ARRIVAL_SPAN,
        }
        row = await (await connection.execute(queries.sum_open, parameters)).fetchone()
        return replace(state, units_in_flight=row[0], units_unresolved=row[1]) if row else state

    async def read_unlocked(self, connection: Connection, account: Account) -> tuple[State, datetime]:
        row = _one(await (await self._read_state(connection, account)).fetchone())
        return row.state(account), surely_utc(row.now)

    def _look(self, account: Account, row: StateRow) -> _Seen:
        """Remember what the database says, and whether the count was compared with the provider's since this process began and the
        server was last restarted."""
        seen = self._seen.get(account)
        if seen is None:
            seen = _Seen.first(row)
        elif not seen.follows(row):
            log.warning("quota.database_went_back", provider=account.provider)
            seen = _Seen(
                row.server_started_at, row.revision, row.reconciliations, is_known=False, anchor=seen.anchor
            )
        seen.revision = row.revision
        seen.is_known = seen.is_known or row.reconciliations > seen.reconciliations
        self._seen[account] = seen
        return seen

    async def records(
        self, connection: Connection, query: str, parameters: dict[str, Any]
    ) -> Sequence[Record]:
        cursor = connection.cursor(row_factory=class_row(ReservationRow))
        await cursor.execute(query, parameters)
        return [row.record() for row in await cursor.fetchall()]

    async def write(self, connection: Connection, change: Change, now: datetime) -> State:
        """Write reservations and entries down; the account's own columns are `save_account`'s."""
        account, steady = change.state.account, change.state.steady(now)
        for day in {record.carried_to for record in change.records} - {None}:
            await connection.execute(queries.open_window, {**account_row(account), "day": day})
        if change.records:
            await connection.execute(queries.save_records, record_columns(change.records, steady))
        if change.entries:
            await connection.execute(queries.record_entries, entry_columns(account, change.entries, now))
        for charges in charges_of(account, change.entries):
            await connection.execute(queries.charge_window, charges)
        return change.state

    def monotonic(self) -> float:
        return self._clock.monotonic() if self._clock else time.monotonic()

    def set_now(self) -> datetime | None:
        """The time that was passed in; None: the database server's."""
        return self._clock.now() if self._clock else None

    @asynccontextmanager
    async def deciding(self) -> AsyncIterator[Connection]:
        """A transaction of two round trips: BEGIN travels with the reads, COMMIT with the writes.

        `connection.transaction()` would wait for each of the four. After any other error than a denial the pool rolls back.
        """
        async with self.answering() as connection, connection.pipeline():
            await connection.execute("BEGIN")
            try:
                yield connection
            except QuotaDenied:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[Connection]:
        """A connection whose every trouble, slowness included, is StoreUnavailable: the quota fails closed."""
        try:
            async with asyncio.timeout(self._timeout_seconds), self._database.connection() as connection:
                yield connection
        except TimeoutError as error:
            raise StoreUnavailable(f"the quota did not answer within {self._timeout_seconds:g} s") from error
        except UniqueViolation:
            # Not trouble: somebody used this request's id before.
            raise
        except psycopg.Error as error:
            raise StoreUnavailable(f"the quota can't be read or written: {error}") from error


def _one(row: StateRow | None) -> StateRow:
    """The row of a query that always has one; should it have none, the quota is unknown, not unused."""
    if row is None:
        raise StoreUnavailable("the quota's state could not be read")
    return row
