"""What a call turned out to cost, and what its answer tells about the account: settle, release, expire, and the change of days.

Everything here is idempotent: a reservation that was settled or released stays as it is, whoever says what later.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from alexandria.domain import breaker
from alexandria.domain.pacing import slower, spacing_of
from alexandria.domain.quota import (
    ARRIVAL_SPAN,
    Change,
    Entry,
    Kind,
    Policy,
    Rate,
    Record,
    ReservationState,
    State,
    Window,
)
from alexandria.domain.reserving import charge

CLOCK_TOLERANCE = timedelta(minutes=15)
"""A provider's Date further from our clock than this is taken for broken."""

CARRY_SPAN = timedelta(minutes=30)
"""How long after its `use_before` a call is counted on the new day too: generous, since the day may have begun a while ago. What was
carried in vain comes back with the provider's next count."""

_DATE_SPAN = timedelta(seconds=1)
"""A Date header names the second in which the answer was made."""

_CLOSE_ENOUGH = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an answer told about the account besides its content. All of it may be missing."""

    provider_time: datetime | None = None
    """Its Date header."""
    elapsed: timedelta = timedelta(0)
    """Between sending the call and reading its answer."""
    total: int | None = None
    """Units of the day, as the provider grants them."""
    left: int | None = None
    """Units of the day that are left, by the provider's count."""
    rate: Rate | None = None
    is_failure: bool | None = None
    """Whether the provider is not well; None says nothing about that."""


NO_EVIDENCE = Evidence()


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a call ended. Not `is_certain` means: nobody knows what it cost, so what was reserved stays charged."""

    units_spent: int
    outcome: str
    is_certain: bool = True
    requests_spent: int | None = None
    """What the provider's rate window counted, if less than was reserved; None: all of it."""


def settle(
    state: State, record: Record, settlement: Settlement, evidence: Evidence, policy: Policy, now: datetime
) -> Change:
    """Replace what was reserved by what was spent, on the day on which it was: the rest comes back, more is charged too."""
    is_over = record.state in {ReservationState.SETTLED, ReservationState.RELEASED}
    if is_over or (record.state is ReservationState.UNRESOLVED and not settlement.is_certain):
        return Change(state)
    landed = landed_on(record, evidence, policy, state.ahead, now)
    spent = settlement.units_spent if settlement.is_certain else record.reservation.units
    kind = Kind.SETTLE if settlement.is_certain else Kind.UNRESOLVE
    state = replace(state, next_slot_at=_give_slots_back(state, record, settlement, policy))
    after = _charged(record, landed, spent)
    after = replace(
        after,
        state=ReservationState.SETTLED if settlement.is_certain else ReservationState.UNRESOLVED,
        is_day_known=landed is not None,
    )
    return _change(state, record, after, kind, settlement.outcome)


def _give_slots_back(state: State, record: Record, settlement: Settlement, policy: Policy) -> datetime | None:
    """The first free slot, as if only what was counted had been reserved."""
    if state.next_slot_at is None or settlement.requests_spent is None:
        return state.next_slot_at
    spacing = spacing_of(slower(policy.rate, state.rate), policy.fence_span)
    if state.next_slot_at != record.reservation.not_before + record.request.requests * spacing:
        # Somebody has taken a slot behind this one: what is given back now would put others too close to that.
        return state.next_slot_at
    unused = max(0, record.request.requests - settlement.requests_spent)
    return state.next_slot_at - unused * spacing


def _charged(record: Record, landed: date | None, spent: int) -> Record:
    """Where what was spent counts: on the one day that is known, else on each that it was counted on so far."""
    day, next_day = record.reservation.day, record.reservation.day + timedelta(days=1)
    if landed == day:
        return replace(record, units_charged=spent, units_carried=0)
    if landed == next_day:
        return replace(record, units_charged=0, carried_to=next_day, units_carried=spent)
    return replace(record, units_charged=spent, units_carried=spent if record.carried_to else 0)


def landed_on(
    record: Record, evidence: Evidence, policy: Policy, ahead: timedelta, now: datetime
) -> date | None:
    """The provider's day on which a call was counted; None when its answer does not say.

    Answered on a day means counted on that day or before. So an answer on the reservation's own day is proof, and one on the next
    is proof when the call was sent on that day as well.
    """
    moment = believable(evidence.provider_time, now)
    if moment is None:
        return None
    day = record.reservation.day
    if policy.days.of(moment) <= day:
        return day
    if policy.days.of(moment - evidence.elapsed) == day + timedelta(days=1):
        return day + timedelta(days=1)
    return None


def believable(provider_time: datetime | None, now: datetime) -> datetime | None:
    """A provider's time, unless it is so far from ours that its clock must be broken."""
    if provider_time is None or abs(provider_time - now) > CLOCK_TOLERANCE:
        return None
    return provider_time


def release(state: State, record: Record, reason: str) -> Change:
    """Give back what provably was not sent. What was taken for lost may have been, so that stays charged."""
    if record.state is not ReservationState.RESERVED:
        return Change(state)
    after = replace(record, state=ReservationState.RELEASED, units_charged=0, units_carried=0)
    return _change(state, record, after, Kind.RELEASE, reason)


def expire(state: State, record: Record, now: datetime) -> Change:
    """Give up waiting for a settlement; it stays charged."""
    gives_up_at = record.reservation.use_before + ARRIVAL_SPAN
    if record.state is not ReservationState.RESERVED or state.steady(now) <= gives_up_at:
        return Change(state)
    return _change(
        state, record, replace(record, state=ReservationState.UNRESOLVED), Kind.UNRESOLVE, "nobody settled it"
    )


def _change(state: State, before: Record, after: Record, kind: Kind, detail: str) -> Change:
    """The entries that lead from one record to the other; the first day has one in any case, so that the ledger tells of it."""
    spender, request_id = (before.request.lane, before.request.consumer), before.request.request_id
    day = before.reservation.day
    entries = [
        Entry(day, kind, after.units_charged - before.units_charged, spender, request_id, detail),
    ]
    if after.carried_to and after.units_carried != before.units_carried:
        more = after.units_carried - before.units_carried
        entries.append(Entry(after.carried_to, kind, more, spender, request_id, detail))
    window = state.window
    for entry in entries:
        if window is not None and entry.day == window.day:
            window = charge(window, entry)
    return Change(replace(state, window=window), (after,), tuple(entries))


# Days


def open_day(state: State, window: Window, in_flight: tuple[Record, ...]) -> Change:
    """Begin a day's count with the calls that may be counted on it although they were charged to the day before.

    `window` is that day's, new or not; `in_flight` what may have reached the provider since its midnight (`may_cross`).
    """
    entries, records = [], []
    for record in in_flight:
        units = record.units_charged
        if record.reservation.day != window.day - timedelta(days=1) or record.carried_to or not units:
            continue
        spender = (record.request.lane, record.request.consumer)
        entry = Entry(window.day, Kind.CARRY, units, spender, record.request.request_id)
        window = charge(window, entry)
        entries.append(entry)
        records.append(replace(record, carried_to=window.day, units_carried=units))
    return Change(replace(state, window=window), tuple(records), tuple(entries))


def may_cross(record: Record, steady: datetime) -> bool:
    """Whether a call's count may belong to the day that begins now, at that steady time."""
    open_states = {ReservationState.RESERVED, ReservationState.UNRESOLVED}
    return (
        not record.is_day_known
        and record.state in open_states
        and steady <= record.reservation.use_before + CARRY_SPAN
    )


def day_to_open(state: State, evidence: Evidence, policy: Policy, now: datetime) -> date | None:
    """The later day that an answer proves to have begun, if it does."""
    moment = believable(evidence.provider_time, now)
    if moment is None:
        return None
    day = policy.days.of(moment)
    return day if state.day is None or day > state.day else None


# What an answer tells about the account


def observe(state: State, evidence: Evidence, policy: Policy, now: datetime) -> Change:
    """Learn the provider's clock, pace, count and health. The day that the answer proves must have been opened before."""
    state = replace(
        state,
        ahead=_ahead(state.ahead, evidence, now),
        rate=evidence.rate or state.rate,
        failures=state.failures
        if evidence.is_failure is None
        else breaker.after(state.failures, is_failure=evidence.is_failure, now=now),
    )
    moment = believable(evidence.provider_time, now)
    window = state.window
    if window is None or moment is None or policy.days.of(moment) != window.day:
        return Change(state)
    if window.total is None:
        window = replace(window, total=evidence.total)
    spent = count_of(evidence, window, policy)
    if spent is None or spent <= window.units_charged:
        return Change(replace(state, window=window))
    entry = Entry(
        window.day, Kind.FOREIGN, spent - window.units_charged, detail=f"the provider counts {spent:,}"
    )
    return Change(replace(state, window=charge(window, entry)), entries=(entry,))


def count_of(evidence: Evidence, window: Window, policy: Policy) -> int | None:
    """Units spent today by the provider's count, as the headers tell it: what it grants less what is left.

    What it grants is known best from its own count, which alone tells whether the key or the subscription runs out first.
    """
    if evidence.left is None:
        return None
    total = window.total if window.total is not None else evidence.total
    return max(0, (policy.hard_limit if total is None else total) - evidence.left)


def _ahead(known: timedelta, evidence: Evidence, now: datetime) -> timedelta:
    """The provider's clock minus ours: unchanged while an answer agrees with it, as far as whole seconds and its delay tell."""
    moment = believable(evidence.provider_time, now)
    if moment is None:
        return known
    # The answer was made at some time between sending and reading it, within the second that it names.
    least, most = moment - now, moment + _DATE_SPAN - (now - evidence.elapsed)
    if least - _CLOSE_ENOUGH <= known <= most + _CLOSE_ENOUGH:
        return known
    return least + (most - least) / 2
