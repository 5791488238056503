"""The coordinator's rules over plain values: what `stores/quota.py` does with PostgreSQL, a dictionary does here.

The rules are the same functions; only where the state is kept differs. Tests run thousands of histories through it, and hold the
real store to the same histories.
"""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from alexandria.domain.pacing import Anchor, shift_now
from alexandria.domain.quota import (
    ARRIVAL_SPAN,
    Account,
    Change,
    Denied,
    Entry,
    Kind,
    Policy,
    Record,
    Request,
    Reservation,
    ReservationState,
    State,
    Window,
)
from alexandria.domain.reconciling import COUNT_LAG, Reading, is_settled_by, reconcile, units_on
from alexandria.domain.reserving import charge, proposed_day, reserve
from alexandria.domain.settling import (
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

OPEN = {ReservationState.RESERVED, ReservationState.UNRESOLVED}


@dataclass
class QuotaInMemory:
    """One account's books, as one process sees them."""

    account: Account
    policy: Policy
    state: State = None  # type: ignore[assignment]  # set below, from the account
    windows: dict[date, Window] = field(default_factory=dict)
    records: dict[UUID, Record] = field(default_factory=dict)
    settled_at: dict[UUID, datetime] = field(default_factory=dict)
    ledger: list[Entry] = field(default_factory=list)
    entered_at: list[datetime] = field(default_factory=list)
    """When each entry of the ledger was made, steady time."""
    reconciliations: int = 0
    known_since: int = 0
    """How many reconciliations there had been when the process began."""
    anchor: Anchor | None = None

    def __post_init__(self) -> None:
        self.state = State(self.account)

    def restart(self) -> None:
        """The process dies and another one begins; the books stay."""
        self.known_since, self.anchor = self.reconciliations, None

    def reserve(self, request: Request, now: datetime, monotonic: float) -> Reservation | Denied:
        """See `QuotaStore.reserve`."""
        state = self._read(now, monotonic, request.request_id)
        day = proposed_day(state, self.policy, now)
        opened = None
        if not self.policy.has_counter and day != state.day:
            opened = self._opening(state, day, now)
            state = opened.state
        decision = reserve(state, request, self.policy, now)
        if isinstance(decision, Denied):
            return decision
        if opened is not None:
            self._write(opened, now)
        if decision.change is not None:
            self._write(decision.change, now)
        return decision.reservation

    def settle(
        self, request_id: UUID, settlement: Settlement, evidence: Evidence, now: datetime, monotonic: float
    ) -> None:
        """See `QuotaStore.settle`."""
        state = self._read(now, monotonic, request_id)
        if (day := day_to_open(state, evidence, self.policy, now)) is not None:
            self._write(self._opening(state, day, now), now)
            state = self._read(now, monotonic, request_id)
        if state.recorded is not None:
            self._write(settle(state, state.recorded, settlement, evidence, self.policy, now), now)
        self._write(observe(self._read(now, monotonic, None), evidence, self.policy, now), now)

    def release(self, request_id: UUID, now: datetime, monotonic: float) -> None:
        """See `QuotaStore.release`."""
        state = self._read(now, monotonic, request_id)
        if state.recorded is not None:
            self._write(release(state, state.recorded, "too late"), now)

    def expire(self, now: datetime, monotonic: float) -> None:
        """See `QuotaStore.expire`."""
        for record in list(self.records.values()):
            self._write(expire(self._read(now, monotonic, None), record, now), now)

    def claim_count(self, now: datetime, monotonic: float) -> datetime:
        """See `QuotaStore.claim_count`."""
        state = self._read(now, monotonic, None)
        self._write(Change(state), now)
        return state.steady(now)

    def reconcile(self, reading: Reading, now: datetime, monotonic: float) -> bool:
        """See `QuotaStore.reconcile`; whether the reading was of today."""
        state = self._read(now, monotonic, None)
        if state.day != reading.day:
            return False
        ours = [each for each in self.records.values() if reading.day in _days(each)]
        decided = [
            each
            for each in ours
            if each.state is ReservationState.UNRESOLVED and is_settled_by(each, reading, None)
        ]
        decided.sort(key=lambda each: (each.reservation.use_before, each.request.request_id))
        uncertain = sum(units_on(each, reading.day) for each in ours if self._is_uncertain(each, reading))
        uncertain += sum(
            entry.units
            for entry, entered_at in zip(self.ledger, self.entered_at, strict=True)
            if entry.kind is Kind.FOREIGN
            and entry.day == reading.day
            and entered_at >= reading.asked_at - COUNT_LAG
        )
        self._write(reconcile(state, reading, decided, uncertain), now)
        self.reconciliations += 1
        return True

    def _is_uncertain(self, record: Record, reading: Reading) -> bool:
        match record.state:
            case ReservationState.RESERVED:
                return True
            case ReservationState.UNRESOLVED:
                return record.reservation.use_before >= reading.asked_at - ARRIVAL_SPAN
            case ReservationState.SETTLED:
                return self.settled_at[record.request.request_id] >= reading.asked_at - COUNT_LAG
            case _:
                return False

    def charged(self, day: date) -> int:
        """Units charged to a day."""
        return self.windows[day].units_charged if day in self.windows else 0

    def _read(self, now: datetime, monotonic: float, request_id: UUID | None) -> State:
        shift = shift_now(self.state.clock_shift, now, self.anchor, monotonic, monotonic)
        self.anchor = Anchor(now - shift, monotonic)
        day = self.state.day
        in_flight = unresolved = 0
        for record in self.records.values():
            if record.state in OPEN and day in _days(record):
                units = units_on(record, day)
                unresolved += units
                may_arrive = now - shift <= record.reservation.use_before + ARRIVAL_SPAN
                in_flight += units if may_arrive and not record.is_day_known else 0
        return replace(
            self.state,
            window=self.windows.get(day) if day else None,
            clock_shift=shift,
            recorded=self.records.get(request_id) if request_id else None,
            is_known=self.reconciliations > self.known_since,
            units_in_flight=in_flight,
            units_unresolved=unresolved,
        )

    def _opening(self, state: State, day: date, now: datetime) -> Change:
        crossing = tuple(each for each in self.records.values() if may_cross(each, state.steady(now)))
        return open_day(state, self.windows.get(day, Window(day)), crossing)

    def _write(self, change: Change, now: datetime) -> None:
        for record in change.records:
            before = self.records.get(record.request.request_id)
            if record.state is ReservationState.SETTLED and (
                before is None or before.state is not record.state
            ):
                self.settled_at[record.request.request_id] = change.state.steady(now)
            self.records[record.request.request_id] = record
        for entry in change.entries:
            window = self.windows.get(entry.day, Window(entry.day))
            self.windows[entry.day] = charge(window, entry)
            self.ledger.append(entry)
            self.entered_at.append(change.state.steady(now))
        if change.state.window is not None:
            day, total = change.state.window.day, change.state.window.total
            self.windows[day] = replace(self.windows.get(day, Window(day)), total=total)
        self.state = replace(change.state, recorded=None, units_in_flight=0, units_unresolved=0)


def _days(record: Record) -> set[date]:
    return {record.reservation.day} | ({record.carried_to} if record.carried_to else set())


def snapshot(quota: QuotaInMemory) -> tuple[object, ...]:
    """Everything that is kept, to see that a denial changes nothing of it."""
    state = replace(quota.state, clock_shift=timedelta(0))
    return state, dict(quota.windows), dict(quota.records), tuple(quota.ledger)
