"""The quota's ledger: what the domain decides about an account is read, written and proven here, under the account's row.

Every method is one transaction. What is decided is decided by `domain/reserving.py`, `settling.py` and `reconciling.py`
(docs/quota.md).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from alexandria.clock import Clock
from alexandria.domain import breaker
from alexandria.domain.errors import InvalidInput, QuotaDenied, QuotaExhausted, StoreUnavailable
from alexandria.domain.pacing import LONGEST_QUEUE, Anchor, shift_now
from alexandria.domain.quota import (
    ARRIVAL_SPAN,
    STOP_REASONS,
    Account,
    Change,
    DenialReason,
    Denied,
    Granted,
    Policy,
    Record,
    Request,
    Reservation,
    State,
)
from alexandria.domain.quota_status import Discrepancy, Status
from alexandria.domain.reconciling import COUNT_LAG, Reading, Reconciliation, is_settled_by, reconcile
from alexandria.domain.reserving import next_day_opens_at, proposed_day, reserve
from alexandria.domain.settling import (
    CARRY_SPAN,
    NO_EVIDENCE,
    Evidence,
    Settlement,
    day_to_open,
    expire,
    may_cross,
    observe,
    open_day,
    release,
    settle,
)
from alexandria.stores.postgres import Connection, Database, Queries
from alexandria.stores.quota_rows import (
    DiscrepancyRow,
    ReservationRow,
    StateRow,
    UsageRow,
    WindowRow,
    account_row,
    entry_row,
    record_row,
    spender_of,
    state_row,
    surely_utc,
    utc,
)

log = structlog.get_logger()
queries = Queries("quota.sql")

MOST_EXPIRED_AT_ONCE = 1000
"""So that one sweep after a long outage stays short; the next one takes the rest."""

COUNT_EVERY = timedelta(hours=1)
"""How often the provider's count is asked when nothing else is the matter (issue 3: hourly)."""
COUNT_LEASE = timedelta(seconds=5)
"""How long one process may take to ask for it before another may: short, since everybody may be waiting for one that was killed."""
COUNT_REST = timedelta(seconds=1)
"""The provider's count is asked no more often than that, whoever wants to know."""
LATCH_PROBE_AFTER = timedelta(seconds=5)
"""How long after a key was refused a free call tries it, once: a day used up was told that way (contracts/isbndb.md, section 8)."""
LATCH_PROBE_EVERY = timedelta(hours=1)
"""How often at most a free call opens that latch: a key that is refused again stays latched meanwhile."""


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


class QuotaStore:
    """The one place where units are charged. Any trouble with the database raises StoreUnavailable: then nothing is sent."""

    def __init__(
        self, database: Database, clock: Clock | None = None, *, timeout_seconds: float = 10.0
    ) -> None:
        """Without a clock the database server's is used: then machines whose own clocks differ agree.

        `timeout_seconds` bounds each call here, the wait for the account's row included.
        """
        self._database = database
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._seen: dict[Account, _Seen] = {}

    async def reserve(self, account: Account, policy: Policy, request: Request) -> Reservation:
        """Charge a request before it is sent; the same `request_id` is charged once and gets the same reservation.

        Raises QuotaExhausted when the day's units are used up, QuotaDenied with a `DenialReason` when nothing may be sent for
        another reason, StoreUnavailable when that can't be known. None of these changes anything.
        """
        try:
            decision = await self._reserve(account, policy, request, is_new=True)
        except UniqueViolation:
            decision = await self._reserve(account, policy, request, is_new=False)
        # Only here, after the commit, is the reservation real.
        log.debug("quota.reserved", provider=account.provider, lane=request.lane, units=request.units)
        return decision.reservation

    async def _reserve(self, account: Account, policy: Policy, request: Request, *, is_new: bool) -> Granted:
        """Two round trips for a grant, one more for a denial. `is_new` supposes that nobody used the request's id before."""
        async with self._deciding() as connection:
            read = await self._lock_and_read(connection, account) if is_new else None
            if read is not None:
                state, now = read
                decision = reserve(state, request, policy, now)
            if read is None or isinstance(decision, Denied):
                # Before anybody is denied, everything is read: the id may have been granted before, and less may be in flight.
                state, now = await self._lock_state(connection, account, request)
                state = await self._open_proposed_day(connection, state, policy, now)
                state = await self._count_open(connection, state, now)
                decision = reserve(state, request, policy, now)
            if isinstance(decision, Denied):
                raise _denial(account, decision, now)
            if decision.change is not None:
                row = _reservation_row(request, decision, decision.change, now)
                await connection.execute(queries.record_reservation, row)
            return decision

    async def settle(
        self,
        reservation: Reservation,
        *,
        units_spent: int,
        outcome: str,
        is_certain: bool = True,
        evidence: Evidence = NO_EVIDENCE,
        policy: Policy | None = None,
        requests_spent: int | None = None,
    ) -> None:
        """Replace what was reserved by what was spent: the rest comes back, more than that is charged too.

        Not `is_certain`: what was reserved stays charged until the provider's count tells. Idempotent; works on an unresolved
        reservation too, and does nothing to one that was settled or released. `policy` is needed to read evidence.
        """
        if units_spent < 0:
            raise InvalidInput("units_spent", units_spent, "must not be negative")
        policy = policy or Policy()
        settlement = Settlement(units_spent, outcome, is_certain, requests_spent)
        if not await self._settle_in_passing(reservation, settlement, evidence, policy):
            await self._settle_locked(reservation, settlement, evidence, policy)
        if is_certain and units_spent > reservation.units:
            log.warning(
                "quota.overcharged",
                provider=reservation.account.provider,
                units_reserved=reservation.units,
                units_spent=units_spent,
            )

    async def _settle_in_passing(
        self, reservation: Reservation, settlement: Settlement, evidence: Evidence, policy: Policy
    ) -> bool:
        """Settle without waiting for anybody; False when something is to be counted or learnt."""
        moment = evidence.provider_time
        anchor = seen.anchor if (seen := self._seen.get(reservation.account)) else None
        is_plain = (
            settlement.is_certain
            and settlement.units_spent == reservation.units
            and settlement.requests_spent is None
        )
        if (
            anchor is None
            or not is_plain
            or evidence.is_failure
            or (moment and policy.days.of(moment) != reservation.day)
        ):
            return False
        parameters = {
            "request_id": reservation.request_id,
            "units_spent": settlement.units_spent,
            "outcome": settlement.outcome,
            "rate_requests": evidence.rate.requests if evidence.rate else None,
            "rate_window_seconds": evidence.rate.window.total_seconds() if evidence.rate else None,
            "answered_at": moment,
            "elapsed_seconds": evidence.elapsed.total_seconds(),
            "provider_left": evidence.left,
            "provider_total": evidence.total,
            "steady": anchor.at(self._monotonic()),
            "now": self._set_now(),
        }
        async with self._answering() as connection:
            cursor = await connection.execute(queries.settle_in_passing, parameters)
        return cursor.rowcount > 0

    async def _settle_locked(
        self, reservation: Reservation, settlement: Settlement, evidence: Evidence, policy: Policy
    ) -> None:
        async with self._deciding() as connection:
            before, now = await self._lock_state(connection, reservation.account, reservation)
            state = before
            if (day := day_to_open(state, evidence, policy, now)) is not None:
                state = before = await self._open_day(connection, state, day, now)
            if state.recorded is not None:
                change = settle(state, state.recorded, settlement, evidence, policy, now)
                state = await self._write(connection, change, now)
            observed = observe(state, evidence, policy, now)
            await self._write(connection, observed, now)
            await self._save_account(connection, before, observed, now)
            for entry in observed.entries:
                log.warning(
                    "quota.foreign_use",
                    provider=state.account.provider,
                    units=entry.units,
                    detail=entry.detail,
                )

    async def _save_account(
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

    async def release(self, reservation: Reservation, *, reason: str, is_failure: bool = False) -> None:
        """Give back a reservation that provably was not sent. Idempotent; does nothing to one that settled or was given up.

        `is_failure` when it was not sent because nobody answers at the provider's address: the breaker counts that.
        """
        async with self._deciding() as connection:
            state, now = await self._lock_state(connection, reservation.account, reservation)
            if state.recorded is not None:
                state = await self._write(connection, release(state, state.recorded, reason), now)
            if is_failure:
                observed = observe(state, Evidence(is_failure=True), Policy(), now)
                await self._save_account(connection, state, observed, now)

    async def stop(
        self, account: Account, *, until: datetime | None, reason: DenialReason, detail: str
    ) -> None:
        """Deny every reservation until `until`, or until a person or a free probe resumes; never shortens a longer stop."""
        if reason not in STOP_REASONS:
            raise InvalidInput("reason", reason, "must be one of " + ", ".join(sorted(STOP_REASONS)))
        async with self._deciding() as connection:
            _, now = await self._read_unlocked(connection, account)
            parameters = {
                **account_row(account),
                "until": until,
                "reason": reason,
                "detail": detail,
                "now": now,
                "count_due_at": until or now + LATCH_PROBE_AFTER,
                "probe_every": LATCH_PROBE_EVERY,
            }
            await connection.execute(queries.stop_account, parameters)
        log.warning("quota.stopped", provider=account.provider, reason=reason, detail=detail, until=until)

    async def resume(self, account: Account) -> bool:
        """Let reservations be granted again; False when nothing stood in their way."""
        async with self._deciding() as connection:
            state, now = await self._read_unlocked(connection, account)
            parameters = {
                **account_row(account),
                "now": now,
                "latest_slot_at": now - state.clock_shift + LONGEST_QUEUE,
                "most_failures": breaker.MOST_FAILURES,
            }
            cursor = await connection.execute(queries.resume_account, parameters)
        if cursor.rowcount:
            log.warning("quota.resumed", provider=account.provider)
        return cursor.rowcount > 0

    async def expire(self) -> int:
        """Give up waiting for what nobody settled in time, at most 1,000 at once; it stays charged. Returns how many."""
        parameters = {"now": self._set_now(), "arrival_span": ARRIVAL_SPAN}
        async with self._answering() as connection:
            cursor = await connection.execute(queries.list_accounts_with_expired, parameters)
            accounts = [Account(*row) for row in await cursor.fetchall()]
        expired = [await self._expire(account) for account in accounts]
        if any(expired):
            log.warning("quota.expired", reservations=sum(expired))
        return sum(expired)

    async def _expire(self, account: Account) -> int:
        async with self._deciding() as connection:
            state, now = await self._lock_state(connection, account)
            parameters = {
                **account_row(account),
                "used_before": state.steady(now) - ARRIVAL_SPAN,
                "most": MOST_EXPIRED_AT_ONCE,
            }
            records = await self._records(connection, queries.list_expired, parameters)
            for record in records:
                state = await self._write(connection, expire(state, record, now), now)
        return len(records)

    # The provider's count

    async def claim_count(self, account: Account, *, only_if_due: bool = False) -> datetime | None:
        """The steady time when the caller is to ask the provider for its count now; None when somebody else does."""
        async with self._deciding() as connection:
            state, now = await self._lock_state(connection, account)
            parameters = {
                **account_row(account),
                "now": now,
                "clock_shift_seconds": state.clock_shift.total_seconds(),
                "lease": COUNT_LEASE,
                "only_if_due": only_if_due,
                "is_clock_given": self._clock is not None,
            }
            cursor = await connection.execute(queries.claim_count, parameters)
        return state.steady(now) if cursor.rowcount else None

    async def yield_count(self, account: Account) -> None:
        """Let somebody else ask for the provider's count, soon: the caller did not get it."""
        parameters = {**account_row(account), "now": self._set_now(), "rest": COUNT_REST}
        async with self._answering() as connection:
            await connection.execute(queries.yield_count, parameters)

    async def reconcile(self, account: Account, policy: Policy, reading: Reading) -> Reconciliation:
        """Bring our count to what the provider's proves, and remember that they were compared.

        A reading of a day that is over, or not known to have begun, changes nothing.
        """
        async with self._deciding() as connection:
            state, now = await self._lock_state(connection, account)
            before = state.window.units_charged if state.window else 0
            if state.day != reading.day:
                return Reconciliation(reading, before, before, is_in_time=False)
            decided, uncertain = await self._decided_by(connection, account, reading)
            change = reconcile(state, reading, decided, uncertain)
            after = await self._write(connection, change, now)
            await self._record_reconciliation(connection, after, reading, policy, now)
        charged = after.window.units_charged if after.window else 0
        if charged != before:
            log.warning(
                "quota.reconciled", provider=account.provider, units_before=before, units_after=charged
            )
        return Reconciliation(reading, before, charged)

    async def _decided_by(
        self, connection: Connection, account: Account, reading: Reading
    ) -> tuple[Sequence[Record], int]:
        """The unresolved reservations that a count decides, and the units of ours that it may not hold yet."""
        parameters = {
            **account_row(account),
            "day": reading.day,
            "asked_at": reading.asked_at,
            "arrival_span": ARRIVAL_SPAN,
            "count_lag": COUNT_LAG,
            # Whatever is older belongs to days that are over.
            "since": reading.asked_at - timedelta(days=2),
            "most": 10 * MOST_EXPIRED_AT_ONCE,
        }
        records = await self._records(connection, queries.list_open, parameters)
        row = await (await connection.execute(queries.sum_uncertain, parameters)).fetchone()
        decided = [each for each in records if is_settled_by(each, reading, None)]
        ours = [each for each in decided if reading.day in {each.reservation.day, each.carried_to}]
        return ours, int(row[0]) if row else 0

    async def _record_reconciliation(
        self, connection: Connection, state: State, reading: Reading, policy: Policy, now: datetime
    ) -> None:
        due_at = min(now + COUNT_EVERY, next_day_opens_at(state, policy, now) + COUNT_REST)
        await connection.execute(
            queries.record_reconciliation,
            {**account_row(state.account), "now": now, "count_due_at": due_at, "rest": COUNT_REST},
        )
        figures = {
            **account_row(state.account),
            "day": reading.day,
            "provider_total": reading.total,
            "provider_spent": reading.spent,
            "now": now,
        }
        await connection.execute(queries.save_reading, figures)

    # Reading

    async def status(self, account: Account, policy: Policy) -> Status:
        """How the account stands now; takes no lock."""
        async with self._answering() as connection, connection.transaction():
            await connection.execute(queries.one_snapshot)
            state, now = await self._read_unlocked(connection, account)
            day = proposed_day(state, policy, now)
            parameters = {**account_row(account), "day": day}
            windows = connection.cursor(row_factory=class_row(WindowRow))
            await windows.execute(queries.read_window, parameters)
            window = await windows.fetchone() or WindowRow()
            usages = connection.cursor(row_factory=class_row(UsageRow))
            await usages.execute(queries.list_usages, parameters)
            rows = await usages.fetchall()
        return Status(
            policy=policy,
            read_at=now,
            state=replace(state, window=window.window(day)),
            is_confirmed=state.day == day or not policy.has_counter,
            provider_total=window.provider_total,
            provider_spent=window.provider_spent,
            provider_read_at=utc(window.provider_read_at),
            usages=tuple(row.usage() for row in rows),
        )

    async def find(self, request_id: UUID) -> State | None:
        """The account that a request was reserved from, with what is `recorded` of it as of now; None for an unknown id.

        Takes no lock: what is decided by it is decided again by `settle` or `release`.
        """
        async with self._answering() as connection, connection.transaction():
            await connection.execute(queries.one_snapshot)
            found = connection.cursor(row_factory=class_row(ReservationRow))
            await found.execute(queries.find_reservation, {"request_id": request_id})
            if (row := await found.fetchone()) is None:
                return None
            record = row.record()
            state, now = await self._read_unlocked(connection, record.reservation.account)
        return replace(
            state, recorded=replace(record, reservation=replace(record.reservation, as_of=state.steady(now)))
        )

    async def verify(self) -> list[Discrepancy]:
        """Compare windows, ledger and reservations of every account and day; an empty list is the proof that they agree."""
        async with self._answering() as connection:
            cursor = connection.cursor(row_factory=class_row(DiscrepancyRow))
            rows = await (await cursor.execute(queries.list_discrepancies)).fetchall()
        return [row.discrepancy() for row in rows]

    # Days

    async def _open_proposed_day(
        self, connection: Connection, state: State, policy: Policy, now: datetime
    ) -> State:
        """Where no answer for nothing tells the provider's day, ours does, once the guard around midnight is over."""
        day = proposed_day(state, policy, now)
        if policy.has_counter or day == state.day:
            return state
        return await self._open_day(connection, state, day, now)

    async def _open_day(self, connection: Connection, state: State, day: date, now: datetime) -> State:
        """Begin a day's count with what may have crossed its midnight."""
        parameters = {
            **account_row(state.account),
            "day": day,
            "since": state.steady(now) - CARRY_SPAN,
            "most": MOST_EXPIRED_AT_ONCE,
        }
        records = await self._records(connection, queries.list_open, parameters)
        crossing = tuple(each for each in records if may_cross(each, state.steady(now)))
        await connection.execute(queries.open_window, parameters)
        windows = connection.cursor(row_factory=class_row(WindowRow))
        await windows.execute(queries.read_window, parameters)
        # It has a count already when a clock that was wrong had opened another one in between.
        window = (await windows.fetchone() or WindowRow()).window(day)
        change = open_day(state, window, crossing)
        state = await self._write(connection, change, now)
        await connection.execute(queries.save_account, state_row(state, is_count_due=True, now=now))
        log.info(
            "quota.day_opened", provider=state.account.provider, day=str(day), carried=len(change.records)
        )
        ours = state.recorded and state.recorded.request.request_id
        carried = [record for record in change.records if record.request.request_id == ours]
        return replace(state, recorded=carried[0] if carried else state.recorded)

    # Reading and writing under the lock

    async def _lock_and_read(self, connection: Connection, account: Account) -> tuple[State, datetime] | None:
        """What most grants rest on, in one statement; None when more is to be read, or written, first."""
        asked_at = self._monotonic()
        states = connection.cursor(row_factory=class_row(StateRow))
        await states.execute(queries.lock_and_read, {**account_row(account), "now": self._set_now()})
        row = await states.fetchone()
        return self._state_of(account, row, asked_at) if row else None

    def _state_of(self, account: Account, row: StateRow, asked_at: float) -> tuple[State, datetime]:
        # A clock that was passed in is read now: the wait for the lock may have been long.
        now = self._set_now() or surely_utc(row.now)
        seen = self._look(account, row)
        state = row.state(account)
        answered_at = self._monotonic()
        shift = shift_now(state.clock_shift, now, seen.anchor, asked_at, answered_at)
        seen.anchor = Anchor(now - shift, answered_at, waited=answered_at - asked_at)
        return replace(state, clock_shift=shift, is_known=seen.is_known), now

    async def _lock_state(
        self, connection: Connection, account: Account, asked: Request | Reservation | None = None
    ) -> tuple[State, datetime]:
        """What a decision rests on, read under the account's lock in one round trip (three for a new account)."""
        request_id = asked.request_id if asked else None
        for _ in range(2):
            asked_at = self._monotonic()
            lock = await connection.execute(queries.lock_account, account_row(account))
            states = await self._read_state(connection, account)
            found = connection.cursor(row_factory=class_row(ReservationRow))
            await found.execute(queries.lock_reservation, {"request_id": request_id})
            if await lock.fetchone() is not None:
                recorded = await found.fetchone()
                state, now = self._state_of(account, _one(await states.fetchone()), asked_at)
                return replace(state, recorded=recorded.record() if recorded else None), now
            # Somebody may have made it a moment ago, and a reservation with it: whoever locks that first waits for us as we would for
            # them.
            await connection.execute("ROLLBACK")
            await connection.execute("BEGIN")
            await connection.execute(queries.create_account, account_row(account))
        raise StoreUnavailable(f"the quota's account of {account.provider} could not be created")

    async def _read_state(self, connection: Connection, account: Account) -> psycopg.AsyncCursor[StateRow]:
        states = connection.cursor(row_factory=class_row(StateRow))
        return await states.execute(queries.read_state, {**account_row(account), "now": self._set_now()})

    async def _count_open(self, connection: Connection, state: State, now: datetime) -> State:
        """The state with what is in flight and unresolved counted, where it had bounds."""
        parameters = {
            **account_row(state.account),
            "day": state.day,
            "arrives_after": state.steady(now) - ARRIVAL_SPAN,
        }
        row = await (await connection.execute(queries.sum_open, parameters)).fetchone()
        return replace(state, units_in_flight=row[0], units_unresolved=row[1]) if row else state

    async def _read_unlocked(self, connection: Connection, account: Account) -> tuple[State, datetime]:
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

    async def _records(
        self, connection: Connection, query: str, parameters: dict[str, Any]
    ) -> Sequence[Record]:
        cursor = connection.cursor(row_factory=class_row(ReservationRow))
        await cursor.execute(query, parameters)
        return [row.record() for row in await cursor.fetchall()]

    async def _write(self, connection: Connection, change: Change, now: datetime) -> State:
        """Write reservations and entries down; the account's own columns are `_save_account`'s."""
        for record in change.records:
            if record.carried_to:
                window = {**account_row(change.state.account), "day": record.carried_to}
                await connection.execute(queries.open_window, window)
            await connection.execute(queries.save_record, record_row(record, change.state.steady(now)))
        for entry in change.entries:
            await connection.execute(queries.record_entry, entry_row(change.state.account, entry, now))
        return change.state

    def _monotonic(self) -> float:
        return self._clock.monotonic() if self._clock else time.monotonic()

    def _set_now(self) -> datetime | None:
        """The time that was passed in; None: the database server's."""
        return self._clock.now() if self._clock else None

    @asynccontextmanager
    async def _deciding(self) -> AsyncIterator[Connection]:
        """A transaction of two round trips: BEGIN travels with the reads, COMMIT with the writes.

        `connection.transaction()` would wait for each of the four. After any other error than a denial the pool rolls back.
        """
        async with self._answering() as connection, connection.pipeline():
            await connection.execute("BEGIN")
            try:
                yield connection
            except QuotaDenied:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[Connection]:
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


def _denial(account: Account, denied: Denied, now: datetime) -> QuotaDenied:
    kind = QuotaExhausted if denied.reason is DenialReason.EXHAUSTED else QuotaDenied
    retry_after = max(denied.retry_at - now, timedelta(0)) if denied.retry_at else None
    return kind(
        account.provider,
        denied.reason,
        detail=denied.detail,
        retry_at=denied.retry_at.astimezone(UTC) if denied.retry_at else None,
        retry_after=retry_after,
    )


def _reservation_row(request: Request, granted: Granted, change: Change, now: datetime) -> dict[str, Any]:
    reservation = granted.reservation
    return {
        **account_row(reservation.account),
        "request_id": request.request_id,
        "day": reservation.day,
        "lane": request.lane,
        "consumer": request.consumer,
        "spender": spender_of((request.lane, request.consumer)),
        "job": request.job,
        "units": request.units,
        "requests": request.requests,
        "not_before": reservation.not_before,
        "use_before": reservation.use_before,
        "next_slot_at": change.state.next_slot_at,
        "clock_shift_seconds": change.state.clock_shift.total_seconds(),
        "probed_at": change.state.failures.probed_at,
        "in_flight_at_most": change.state.units_in_flight,
        "now": now,
    }


def _one(row: StateRow | None) -> StateRow:
    """The row of a query that always has one; should it have none, the quota is unknown, not unused."""
    if row is None:
        raise StoreUnavailable("the quota's state could not be read")
    return row
