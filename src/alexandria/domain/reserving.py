"""May this request be sent, from when until when; if not, why not and when to ask again.

The store holds the account's row locked while it asks, so that what is decided here is what happens.
"""

from dataclasses import replace
from datetime import date, datetime, timedelta

from alexandria.domain import breaker, pacing
from alexandria.domain.quota import (
    UNLIMITED,
    Change,
    DenialReason,
    Denied,
    Entry,
    Granted,
    Kind,
    Lane,
    Policy,
    Record,
    Request,
    Reservation,
    ReservationState,
    State,
    Window,
)

SOON = timedelta(milliseconds=250)
"""When to ask again about something that takes one answer to clear up."""


def reserve(state: State, request: Request, policy: Policy, now: datetime) -> Granted | Denied:
    """Whether `request` may be sent. `now` is the store's clock; `state.window` is the last day that was opened."""
    return (
        _refuse_invalid(request, policy)
        or _refuse_while_stopped(state, request, now)
        or _repeat(state, request, state.steady(now))
        or breaker.refuse(state.failures, now)
        or _refuse_on_an_uncertain_day(state, request, policy, now)
        or _refuse_an_unknown_count(state, request, policy, now)
        or _refuse_beyond_limit(state, request, policy, now)
        or _refuse_beyond_ceiling(state, request, policy, now)
        or _refuse_beyond_cap_of_run(state, request)
        or _refuse_others_share(state, request, policy, now)
        or _refuse_a_hidden_count(state, request, policy, now)
        or _grant(state, request, policy, now)
    )


def _refuse_invalid(request: Request, policy: Policy) -> Denied | None:
    flaw = None
    if request.units < 0:
        flaw = f"{request.units} units wanted: a request costs 0 or more"
    elif 0 < policy.safe_limit < request.units:
        flaw = f"{request.units:,} units wanted at once: a whole day has {policy.safe_limit:,}; split the request"
    elif not 1 <= request.requests <= policy.requests_per_window:
        flaw = f"{request.requests:,} requests at once: a window has {policy.requests_per_window:,}"
    elif not request.consumer:
        flaw = "no consumer is named"
    return Denied(DenialReason.INVALID, flaw) if flaw else None


def _refuse_while_stopped(state: State, request: Request, now: datetime) -> Denied | None:
    stop = state.stop
    if stop is None or not stop.holds(now):
        return None
    if request.is_probe and stop.reason is not DenialReason.BREAKER:
        # Whether the key is taken again, and what is left of the day, costs nothing to ask.
        return None
    return Denied(stop.reason, stop.detail, stop.until)


def _repeat(state: State, request: Request, steady: datetime) -> Granted | Denied | None:
    """The answer to an id that was used before: the same one, and only for the same request that is still open."""
    recorded = state.recorded
    if recorded is None:
        return None
    if recorded.request != request or recorded.reservation.account != state.account:
        return Denied(DenialReason.INVALID, f"request {request.request_id} is already another request's id")
    if recorded.state is not ReservationState.RESERVED:
        detail = f"request {request.request_id} is already {recorded.state}; a retry needs a new id"
        return Denied(DenialReason.INVALID, detail)
    return Granted(replace(recorded.reservation, as_of=steady), None)


# The day


def proposed_day(state: State, policy: Policy, now: datetime) -> date:
    """The provider's day as our clock has it, corrected by what the provider's clock last said; it is never taken back."""
    day = policy.days.of(now + state.ahead)
    return day if state.day is None else max(day, state.day)


def opens_at(day: date, policy: Policy, ahead: timedelta = timedelta(0)) -> datetime:
    """When the day's first request may be sent, by the store's clock; `ahead` is the provider's clock minus that one."""
    return policy.days.begins_at(day) - ahead + policy.guard_span


def closes_at(day: date, policy: Policy, ahead: timedelta = timedelta(0)) -> datetime:
    """When the day's last request may be sent, by the store's clock."""
    return policy.days.ends_at(day) - ahead - policy.guard_span


def next_day_opens_at(state: State, policy: Policy, now: datetime) -> datetime:
    """When units are there again once a day's are spent."""
    return opens_at(proposed_day(state, policy, now) + timedelta(days=1), policy, state.ahead)


def _refuse_on_an_uncertain_day(
    state: State, request: Request, policy: Policy, now: datetime
) -> Denied | None:
    day = proposed_day(state, policy, now)
    guarded = "nothing is sent around the provider's midnight"
    if now < (opening := opens_at(day, policy, state.ahead)) and policy.guard_span:
        return _refuse_before(opening, request, guarded, policy, now)
    if now > closes_at(day, policy, state.ahead):
        return Denied(DenialReason.GUARD, guarded, next_day_opens_at(state, policy, now))
    if day == state.day:
        return None
    if policy.has_counter and not request.is_probe:
        detail = f"the provider has not said yet that it is {day}; its own count is asked first"
        return Denied(DenialReason.UNCONFIRMED, detail, now + SOON)
    if not policy.has_counter:
        # The store opens the day that our clock proposes before it asks again.
        return Denied(DenialReason.GUARD, "the day changed while this was asked; ask again", now)
    return None


def _refuse_before(
    opening: datetime, request: Request, guarded: str, policy: Policy, now: datetime
) -> Denied | None:
    if opening - now <= 2 * policy.guard_span + CLOCK_DRIFT:
        return Denied(DenialReason.GUARD, guarded, opening)
    # The day that was opened has not begun by our clock. What time it is, the provider's next answer tells for nothing.
    if request.is_probe:
        return None
    detail = "our clock is behind the day that was opened: it was set back"
    return Denied(DenialReason.UNCONFIRMED, detail, now + SOON if policy.has_counter else opening)


CLOCK_DRIFT = timedelta(seconds=2)
"""What a clock may be wrong by without having been set: a Date header has whole seconds."""


def _refuse_an_unknown_count(state: State, request: Request, policy: Policy, now: datetime) -> Denied | None:
    if not policy.has_counter or request.is_probe or state.is_known:
        return None
    detail = "the provider's own count was not asked yet since the start, or since the database was restarted"
    return Denied(DenialReason.UNCONFIRMED, detail, now + SOON)


# The limit, ceilings and floors


def limit_on(window: Window, policy: Policy) -> int:
    """The units that may be charged to a day: the safe limit, or less if the provider grants less than was thought."""
    return policy.safe_limit if window.total is None else policy.limit_of(window.total)


def _refuse_beyond_limit(state: State, request: Request, policy: Policy, now: datetime) -> Denied | None:
    window = state.window
    if window is None or request.units == 0:
        return None
    limit = limit_on(window, policy)
    if window.units_charged + request.units <= limit:
        return None
    left = max(0, limit - window.units_charged)
    detail = f"{request.units:,} units wanted, {left:,} of {limit:,} are left for {window.day}"
    if policy.has_counter and window.units_charged - state.units_unresolved + request.units <= limit:
        detail += f", and {state.units_unresolved:,} that may have been spent: the provider's count will tell"
        return Denied(DenialReason.UNCONFIRMED, detail, now + 4 * SOON)
    return Denied(DenialReason.EXHAUSTED, detail, next_day_opens_at(state, policy, now))


def _refuse_beyond_ceiling(state: State, request: Request, policy: Policy, now: datetime) -> Denied | None:
    # One is configured, the other may be set at any moment: the lower one holds.
    ceilings = (policy.ceilings.get(request.consumer), state.caps.units_per_day)
    ceiling = min((each for each in ceilings if each is not None), default=None)
    if ceiling is None or state.window is None or request.units == 0:
        return None
    used = state.window.used_by(request.consumer)
    if used + request.units <= ceiling:
        return None
    detail = f"{request.units:,} units wanted, {max(0, ceiling - used):,} of {ceiling:,} are left for {request.consumer}"
    return Denied(DenialReason.CEILING, detail, next_day_opens_at(state, policy, now))


def _refuse_beyond_cap_of_run(state: State, request: Request) -> Denied | None:
    """No time makes room for it: a person raises the cap or lets the run go on."""
    cap, used = state.caps.units_per_run, state.caps.units_of_run
    if cap is None or used is None or request.units == 0 or used + request.units <= cap:
        return None
    detail = f"{request.units:,} units wanted, {max(0, cap - used):,} of {cap:,} are left for the run {request.run}"
    return Denied(DenialReason.CEILING, detail)


def _refuse_others_share(state: State, request: Request, policy: Policy, now: datetime) -> Denied | None:
    """Leave the lanes above what is kept for them and not used yet."""
    window = state.window
    if window is None or request.units == 0 or not policy.floors:
        return None
    left = limit_on(window, policy) - window.units_charged - request.units
    kept = kept_back(window, policy, request.lane, melt(window.day, policy, now + state.ahead))
    if kept <= left:
        return None
    detail = f"{kept:,} units are kept for people and schedules; {request.units:,} wanted, {left + request.units:,} are left"
    return Denied(DenialReason.SHARE, detail, _melted_at(state, window, request.lane, policy, left))


def melt(day: date, policy: Policy, provider_now: datetime) -> float:
    """The part of the floors that still stands: 1 for most of the day, then less and less, 0 before the reset."""
    before_reset = policy.days.ends_at(day) - provider_now - policy.melt_ends
    return max(0.0, min(1.0, before_reset / (policy.melt_begins - policy.melt_ends)))


def kept_back(window: Window, policy: Policy, lane: Lane, standing: float) -> int:
    """Units that `lane` must leave for the lanes above it; `standing` is the part of the floors that still stands."""
    # A plan that grants less has smaller floors.
    standing *= limit_on(window, policy) / policy.safe_limit if policy.safe_limit else 0
    floors = ((each, policy.floors.get(each, 0)) for each in lane.above)
    return sum(max(0, int(floor * standing) - window.used_in(each)) for each, floor in floors)


def _melted_at(state: State, window: Window, lane: Lane, policy: Policy, left: int) -> datetime:
    """When the floors above have melted so far that `left` suffices. They do so in minutes, so that is how it is searched."""
    ends_at = policy.days.ends_at(window.day)
    minutes = range(int((policy.melt_begins - policy.melt_ends) / timedelta(minutes=1)) + 1)
    at = next(
        (
            at
            for minute in minutes
            if kept_back(
                window,
                policy,
                lane,
                melt(window.day, policy, at := ends_at - policy.melt_begins + timedelta(minutes=minute)),
            )
            <= left
        ),
        ends_at - policy.melt_ends,
    )
    return at - state.ahead


def _refuse_a_hidden_count(state: State, request: Request, policy: Policy, now: datetime) -> Denied | None:
    """Send the last units of a day one after the other.

    While calls are out, the provider's count may hold somebody else's use in their place. So what is out has to fit twice; when it
    no longer does, its answers are waited for: they bring the count.
    """
    window = state.window
    if window is None or request.units == 0 or not policy.has_counter or not state.units_in_flight:
        return None
    if window.units_charged + state.units_in_flight + request.units <= limit_on(window, policy):
        return None
    detail = f"the day's last units go out one after the other; {state.units_in_flight:,} are on their way"
    return Denied(DenialReason.PACED, detail, now + SOON)


def _grant(state: State, request: Request, policy: Policy, now: datetime) -> Granted | Denied:
    day = state.day if state.day is not None else proposed_day(state, policy, now)
    closing = closes_at(proposed_day(state, policy, now), policy, state.ahead)
    slot = pacing.find_slot(state, request, policy, now)
    if isinstance(slot, Denied):
        return slot
    if policy.guard_span and slot.at + state.clock_shift + policy.fence_span > closing:
        detail = "nothing is sent around the provider's midnight"
        return Denied(DenialReason.GUARD, detail, next_day_opens_at(state, policy, now))
    use_before = slot.at + policy.fence_span
    reservation = Reservation(
        request.request_id, state.account, day, request.units, slot.at, use_before, as_of=state.steady(now)
    )
    record = Record(request, reservation, units_charged=request.units)
    spender = (request.lane, request.consumer)
    entry = Entry(day, Kind.RESERVE, request.units, spender, request.request_id)
    after = replace(
        state,
        # A free call may be booked before any day is known to have begun; that opens none.
        window=charge(state.window, entry) if state.window else None,
        units_in_flight=state.units_in_flight + request.units,
        units_unresolved=state.units_unresolved + request.units,
        next_slot_at=slot.next_at,
        failures=breaker.try_again(state.failures, now),
    )
    return Granted(reservation, Change(after, (record,), (entry,)))


def charge(window: Window, entry: Entry) -> Window:
    """A day's count with one more entry of the ledger."""
    used = window.used
    if entry.spender is not None and entry.units:
        used = {**used, entry.spender: used.get(entry.spender, 0) + entry.units}
    return replace(window, units_charged=window.units_charged + entry.units, used=used)


def is_unlimited(policy: Policy) -> bool:
    """Whether a provider has no limit for a day."""
    return policy.safe_limit >= UNLIMITED
