"""The quota's ledger: what the domain decides about an account is read, written and proven here, under the account's row.

Every method is one transaction. What is decided is decided by `domain/reserving.py`, `settling.py` and `reconciling.py`
(docs/quota.md).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from alexandria.clock import Clock
from alexandria.domain import breaker
from alexandria.domain.errors import InvalidInput, QuotaDenied, QuotaExhausted
from alexandria.domain.pacing import LONGEST_QUEUE
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
    NO_EVIDENCE,
    Evidence,
    Settlement,
    day_to_open,
    expire,
    observe,
    release,
    settle,
)
from alexandria.stores.postgres import Connection, Database
from alexandria.stores.quota_books import MOST_AT_ONCE, Books, queries
from alexandria.stores.quota_rows import (
    DiscrepancyRow,
    ReservationRow,
    UsageRow,
    WindowRow,
    account_row,
    spender_of,
    utc,
)

log = structlog.get_logger()
COUNT_EVERY = timedelta(hours=1)
"""How often the provider's count is asked when nothing else is the matter (issue 3: hourly)."""
COUNT_LEASE = timedelta(seconds=5)
"""How long one process may take to ask for it before another may: short, since everybody may be waiting for one that was killed."""
COUNT_REST = timedelta(seconds=1)
"""The provider's count is asked no more often than that, whoever wants to know."""
COUNT_AGAIN_AFTER = timedelta(minutes=1)
"""How long after a count could not be had it is asked again, unless a call waits for it."""
LATCH_PROBE_AFTER = timedelta(seconds=5)
"""How long after a key was refused a free call tries it, once: a day used up was told that way (contracts/isbndb.md, section 8)."""
LATCH_PROBE_EVERY = timedelta(hours=1)
"""How often at most a free call opens that latch: a key that is refused again stays latched meanwhile."""


class QuotaStore:
    """The one place where units are charged. Any trouble with the database raises StoreUnavailable: then nothing is sent."""

    def __init__(
        self, database: Database, clock: Clock | None = None, *, timeout_seconds: float = 10.0
    ) -> None:
        """Without a clock the database server's is used: then machines whose own clocks differ agree.

        `timeout_seconds` bounds each call here, the wait for the account's row included.
        """
        self._books = Books(database, clock, timeout_seconds=timeout_seconds)

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
        """Two round trips for a grant, one more for a denial, one more where a run has a cap. `is_new` supposes that nobody used the request's id before."""
        async with self._books.deciding() as connection:
            read = await self._books.lock_and_read(connection, account, request) if is_new else None
            if read is not None:
                state, now = read
                decision = reserve(state, request, policy, now)
            if read is None or isinstance(decision, Denied):
                # Before anybody is denied, everything is read: the id may have been granted before, and less may be in flight.
                state, now = await self._books.lock_state(connection, account, request)
                state = await self._books.open_proposed_day(connection, state, policy, now)
                state = await self._books.count_open(connection, state, now)
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
        anchor = self._books.anchor_of(reservation.account)
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
            "steady": anchor.at(self._books.monotonic()),
            "now": self._books.set_now(),
        }
        async with self._books.answering() as connection:
            cursor = await connection.execute(queries.settle_in_passing, parameters)
        return cursor.rowcount > 0

    async def _settle_locked(
        self, reservation: Reservation, settlement: Settlement, evidence: Evidence, policy: Policy
    ) -> None:
        async with self._books.deciding() as connection:
            before, now = await self._books.lock_state(connection, reservation.account, reservation)
            state = before
            if (day := day_to_open(state, evidence, policy, now)) is not None:
                state = before = await self._books.open_day(connection, state, day, now)
            if state.recorded is not None:
                change = settle(state, state.recorded, settlement, evidence, policy, now)
                state = await self._books.write(connection, change, now)
            observed = observe(state, evidence, policy, now)
            await self._books.write(connection, observed, now)
            await self._books.save_account(connection, before, observed, now)
            for entry in observed.entries:
                log.warning(
                    "quota.foreign_use",
                    provider=state.account.provider,
                    units=entry.units,
                    detail=entry.detail,
                )

    async def release(self, reservation: Reservation, *, reason: str, is_failure: bool = False) -> None:
        """Give back a reservation that provably was not sent. Idempotent; does nothing to one that settled or was given up.

        `is_failure` when it was not sent because nobody answers at the provider's address: the breaker counts that.
        """
        async with self._books.deciding() as connection:
            state, now = await self._books.lock_state(connection, reservation.account, reservation)
            if state.recorded is not None:
                state = await self._books.write(connection, release(state, state.recorded, reason), now)
            if is_failure:
                observed = observe(state, Evidence(is_failure=True), Policy(), now)
                await self._books.save_account(connection, state, observed, now)

    async def stop(
        self,
        account: Account,
        *,
        until: datetime | None,
        reason: DenialReason,
        detail: str,
        as_of: datetime | None = None,
    ) -> None:
        """Deny every reservation until `until`, or until a person or a free probe resumes; never shortens a longer stop.

        `as_of` is what the caller's clock says now: from there `until` is counted, since that clock need not be the store's.
        """
        if reason not in STOP_REASONS:
            raise InvalidInput("reason", reason, "must be one of " + ", ".join(sorted(STOP_REASONS)))
        async with self._books.deciding() as connection:
            _, now = await self._books.read_unlocked(connection, account)
            if until is not None and as_of is not None:
                until = now + (until - as_of)
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
        async with self._books.deciding() as connection:
            state, now = await self._books.read_unlocked(connection, account)
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
        parameters = {"now": self._books.set_now(), "arrival_span": ARRIVAL_SPAN}
        async with self._books.answering() as connection:
            cursor = await connection.execute(queries.list_accounts_with_expired, parameters)
            accounts = [Account(*row) for row in await cursor.fetchall()]
        expired = [await self._expire(account) for account in accounts]
        if any(expired):
            log.warning("quota.expired", reservations=sum(expired))
        return sum(expired)

    async def _expire(self, account: Account) -> int:
        async with self._books.deciding() as connection:
            state, now = await self._books.lock_state(connection, account)
            parameters = {
                **account_row(account),
                "used_before": state.steady(now) - ARRIVAL_SPAN,
                "most": MOST_AT_ONCE,
            }
            await connection.execute(queries.adopt_expired, parameters)
            records = await self._books.records(connection, queries.list_expired, parameters)
            for record in records:
                state = await self._books.write(connection, expire(state, record, now), now)
        return len(records)

    # The provider's count

    async def claim_count(self, account: Account, *, only_if_due: bool = False) -> datetime | None:
        """The steady time when the caller is to ask the provider for its count now; None when somebody else does."""
        async with self._books.deciding() as connection:
            state, now = await self._books.lock_state(connection, account)
            parameters = {
                **account_row(account),
                "now": now,
                "clock_shift_seconds": state.clock_shift.total_seconds(),
                "lease": COUNT_LEASE,
                "only_if_due": only_if_due,
                "is_clock_given": self._books.is_clock_given,
            }
            cursor = await connection.execute(queries.claim_count, parameters)
        return state.steady(now) if cursor.rowcount else None

    async def yield_count(self, account: Account) -> None:
        """Let somebody else ask for the provider's count, soon: the caller did not get it."""
        parameters = {
            **account_row(account),
            "now": self._books.set_now(),
            "rest": COUNT_REST,
            "again_after": COUNT_AGAIN_AFTER,
        }
        async with self._books.answering() as connection:
            await connection.execute(queries.yield_count, parameters)

    async def reconcile(self, account: Account, policy: Policy, reading: Reading) -> Reconciliation:
        """Bring our count to what the provider's proves, and remember that they were compared.

        A reading of a day that is over, or not known to have begun, changes nothing.
        """
        async with self._books.deciding() as connection:
            state, now = await self._books.lock_state(connection, account)
            before = state.window.units_charged if state.window else 0
            if state.day != reading.day:
                return Reconciliation(reading, before, before, is_in_time=False)
            decided, uncertain = await self._decided_by(connection, state, reading)
            change = reconcile(state, reading, decided, uncertain)
            after = await self._books.write(connection, change, now)
            await self._record_reconciliation(connection, after, reading, policy, now)
        charged = after.window.units_charged if after.window else 0
        if charged != before:
            log.warning(
                "quota.reconciled", provider=account.provider, units_before=before, units_after=charged
            )
        return Reconciliation(reading, before, charged)

    async def _decided_by(
        self, connection: Connection, state: State, reading: Reading
    ) -> tuple[Sequence[Record], int]:
        """The unresolved reservations that a count decides, and the units of ours that it may not hold yet."""
        parameters = {
            **account_row(state.account),
            "day": reading.day,
            "asked_at": reading.asked_at,
            "asked_at_by_clock": reading.asked_at + state.clock_shift,
            "arrival_span": ARRIVAL_SPAN,
            "count_lag": COUNT_LAG,
            # Whatever is older belongs to days that are over.
            "since": reading.asked_at - timedelta(days=2),
            # All of a day: what is left out here would be given back as if nobody had reserved it, and again when it is decided.
            "most": 100 * MOST_AT_ONCE,
        }
        records = await self._books.records(connection, queries.list_open, parameters)
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
        async with self._books.answering() as connection, connection.transaction():
            await connection.execute(queries.one_snapshot)
            state, now = await self._books.read_unlocked(connection, account)
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
        async with self._books.answering() as connection, connection.transaction():
            await connection.execute(queries.one_snapshot)
            found = connection.cursor(row_factory=class_row(ReservationRow))
            await found.execute(queries.find_reservation, {"request_id": request_id})
            if (row := await found.fetchone()) is None:
                return None
            record = row.record()
            state, now = await self._books.read_unlocked(connection, record.reservation.account)
        return replace(
            state, recorded=replace(record, reservation=replace(record.reservation, as_of=state.steady(now)))
        )

    async def verify(self) -> list[Discrepancy]:
        """Compare windows, ledger and reservations of every account and day; an empty list is the proof that they agree."""
        async with self._books.answering() as connection:
            cursor = connection.cursor(row_factory=class_row(DiscrepancyRow))
            rows = await (await cursor.execute(queries.list_discrepancies)).fetchall()
        return [row.discrepancy() for row in rows]


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
        # Without an open day nothing is known of what is in flight.
        "in_flight_at_most": change.state.units_in_flight if change.state.window else None,
        "now": now,
    }
