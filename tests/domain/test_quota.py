"""The quota's rule: limits, days, pace, stops and ids, decided from values alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from alexandria.domain.errors import InvalidInput
from alexandria.domain.pacing import spacing_of
from alexandria.domain.quota import (
    Account,
    DenialReason,
    Denied,
    Granted,
    Lane,
    Policy,
    Record,
    Request,
    Reservation,
    ReservationState,
    State,
    Stop,
    Window,
)
from alexandria.domain.quota_days import Days
from alexandria.domain.quota_status import Status, Usage
from alexandria.domain.reserving import next_day_opens_at, reserve

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
ACCOUNT = Account.of("isbndb", "one key")
POLICY = Policy()
SECOND = timedelta(seconds=1)
SPACING = spacing_of(POLICY.rate, POLICY.fence_span)


def a_request(units: int = 1, *, requests: int = 1, request_id: UUID | None = None) -> Request:
    return Request(request_id or uuid4(), Lane.INTERACTIVE, "lookup", units, requests)


def a_state(now: datetime = NOON, *, units_charged: int = 0, next_slot_at: datetime | None = None) -> State:
    return State(ACCOUNT, Window(Days().of(now), units_charged), next_slot_at=next_slot_at)


def denied(state: State, request: Request, now: datetime = NOON, policy: Policy = POLICY) -> Denied:
    decision = reserve(state, request, policy, now)
    assert isinstance(decision, Denied), decision
    return decision


def granted(state: State, request: Request, now: datetime = NOON, policy: Policy = POLICY) -> Granted:
    decision = reserve(state, request, policy, now)
    assert isinstance(decision, Granted), decision
    return decision


def next_slot_of(decision: Granted) -> datetime:
    assert decision.change is not None
    assert decision.change.state.next_slot_at is not None
    return decision.change.state.next_slot_at


def test_the_limits_of_the_plan_are_the_defaults() -> None:
    assert (POLICY.hard_limit, POLICY.safe_limit) == (15_000, 13_000)
    assert (POLICY.requests_per_window, POLICY.window) == (180, 60 * SECOND)


def test_the_last_unit_below_the_safe_limit_is_granted_and_the_next_is_not() -> None:
    assert granted(a_state(units_charged=12_999), a_request(1)).reservation.units == 1
    denial = denied(a_state(units_charged=13_000), a_request(1))
    assert denial.reason is DenialReason.EXHAUSTED
    assert denial.retry_at == MIDNIGHT + 5 * SECOND


def test_a_request_that_would_cross_the_limit_is_refused_whole_and_told_what_is_left() -> None:
    denial = denied(a_state(units_charged=12_950), a_request(100))
    assert denial.reason is DenialReason.EXHAUSTED
    assert denial.detail == "100 units wanted, 50 of 13,000 are left for 2026-11-23"


def test_what_is_left_is_never_negative_after_the_provider_charged_more() -> None:
    assert "0 of 13,000 are left" in denied(a_state(units_charged=14_000), a_request(1)).detail


def test_a_free_request_is_paced_but_needs_nothing_left() -> None:
    decision = granted(a_state(units_charged=14_000), a_request(0))
    assert next_slot_of(decision) == NOON + SPACING


def test_a_safe_limit_of_zero_spends_nothing() -> None:
    denial = denied(a_state(), a_request(1), policy=Policy(safe_limit=0))
    assert denial.reason is DenialReason.EXHAUSTED


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (a_request(-1), "-1 units wanted"),
        (a_request(13_001), "split the request"),
        (a_request(1, requests=0), "0 requests at once"),
        (a_request(1, requests=181), "181 requests at once"),
        (Request(uuid4(), Lane.BULK, "", 1), "no consumer"),
    ],
)
def test_a_request_that_can_never_be_granted_says_why(request_: Request, reason: str) -> None:
    denial = denied(a_state(), request_)
    assert denial.reason is DenialReason.INVALID
    assert reason in denial.detail
    assert denial.retry_at is None


@pytest.mark.parametrize(
    ("field", "policy"),
    [
        ("safe_limit", {"safe_limit": 15_001}),
        ("safe_limit", {"safe_limit": -1}),
        ("requests_per_window", {"requests_per_window": 0}),
        ("window", {"window": timedelta(0)}),
        ("fence_span", {"fence_span": -SECOND}),
        ("guard_span", {"guard_span": timedelta(hours=12)}),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(field: str, policy: dict[str, int]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        replace(POLICY, **policy)  # type: ignore[arg-type]  # each case has the type of its field
    assert refusal.value.field == field


# Days


def test_the_day_is_the_one_of_utc_wherever_the_clock_stands() -> None:
    in_auckland = datetime.fromisoformat("2026-11-24T08:00:00+13:00")
    assert Days().of(in_auckland).isoformat() == "2026-11-23"


@pytest.mark.parametrize(
    "now",
    [
        MIDNIGHT - 5 * SECOND,
        MIDNIGHT - timedelta(microseconds=1),
        MIDNIGHT,
        MIDNIGHT + 5 * SECOND - timedelta(microseconds=1),
    ],
)
def test_nothing_is_granted_around_midnight(now: datetime) -> None:
    denial = denied(a_state(now), a_request(), now)
    assert denial.reason is DenialReason.GUARD
    assert denial.retry_at == MIDNIGHT + 5 * SECOND


def test_a_new_day_opens_when_the_guard_ends() -> None:
    now = next_day_opens_at(a_state(), POLICY, NOON)
    assert now == MIDNIGHT + 5 * SECOND
    assert granted(a_state(now), a_request(), now).reservation.day == MIDNIGHT.date()


def test_the_last_reservation_of_a_day_ends_where_the_guard_begins() -> None:
    now = MIDNIGHT - 8 * SECOND
    assert granted(a_state(now), a_request(), now).reservation.use_before == MIDNIGHT - 5 * SECOND
    now += timedelta(microseconds=1)
    assert denied(a_state(now), a_request(), now).reason is DenialReason.GUARD


def test_a_slot_beyond_midnight_is_not_promised() -> None:
    now = MIDNIGHT - 20 * SECOND
    denial = denied(a_state(now, next_slot_at=MIDNIGHT - 7 * SECOND), a_request(), now)
    assert denial.reason is DenialReason.GUARD


def test_a_state_of_another_day_decides_nothing() -> None:
    now = MIDNIGHT + 10 * SECOND
    denial = denied(a_state(NOON), a_request(), now)
    assert denial.reason is DenialReason.GUARD
    assert denial.retry_at == now


# Pace


def test_a_slot_is_taken_from_the_first_free_time() -> None:
    decision = granted(a_state(next_slot_at=NOON + 2 * SECOND), a_request())
    assert decision.reservation.not_before == NOON + 2 * SECOND
    assert decision.reservation.use_before == NOON + 5 * SECOND
    assert next_slot_of(decision) == NOON + 2 * SECOND + SPACING


def test_idle_time_is_not_saved_up_for_a_burst() -> None:
    decision = granted(a_state(next_slot_at=NOON - timedelta(hours=3)), a_request())
    assert decision.reservation.not_before == NOON
    assert next_slot_of(decision) == NOON + SPACING


def test_a_slot_too_far_ahead_is_denied_until_the_wait_is_short_enough() -> None:
    state = a_state(next_slot_at=NOON + 20 * SECOND)
    denial = denied(state, a_request())
    assert denial.reason is DenialReason.PACED
    assert denial.retry_at == NOON + 5 * SECOND
    assert granted(state, a_request(), denial.retry_at).reservation.not_before == NOON + 20 * SECOND


def test_slots_that_no_queue_reaches_tell_of_a_wrong_clock() -> None:
    denial = denied(a_state(next_slot_at=NOON + timedelta(days=365)), a_request())
    assert denial.reason is DenialReason.UNCONFIRMED
    assert "a clock was wrong" in denial.detail


@pytest.mark.parametrize("requests", [1, 2, 90, 180])
def test_waiting_in_turn_is_never_taken_for_a_wrong_clock(requests: int) -> None:
    last = next_slot_of(granted(a_state(next_slot_at=NOON), a_request(requests=1)))
    longest = NOON + POLICY.longest_wait + POLICY.requests_per_window * SPACING
    assert last is not None
    for next_slot_at in (last, longest):
        decision = reserve(a_state(next_slot_at=next_slot_at), a_request(requests=requests), POLICY, NOON)
        assert not (isinstance(decision, Denied) and decision.reason is DenialReason.UNCONFIRMED)


def test_the_spacing_wastes_no_more_than_the_fence_needs() -> None:
    whole = SPACING * POLICY.requests_per_window - POLICY.window - POLICY.fence_span
    assert timedelta(0) < whole <= timedelta(microseconds=POLICY.requests_per_window)


def most_requests_within(window: timedelta, sent: list[tuple[datetime, int]]) -> int:
    """The largest number of requests in any closed span so long; the worst one starts at a request."""
    return max(sum(requests for at, requests in sent if start <= at <= start + window) for start, _ in sent)


def test_one_late_request_followed_by_punctual_ones_keeps_the_rate() -> None:
    # The worst case: the first is sent as late as it may be, all others as early as they may.
    policy, next_slot_at, sent = Policy(requests_per_window=5, window=10 * SECOND), None, []
    policy = replace(policy, longest_wait=timedelta(hours=1))
    for number in range(12):
        decision = granted(a_state(next_slot_at=next_slot_at), a_request(), policy=policy)
        reservation, next_slot_at = decision.reservation, next_slot_of(decision)
        sent.append((reservation.use_before if number == 0 else reservation.not_before, 1))
    assert most_requests_within(policy.window, sent) == policy.requests_per_window


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_window_ever_sees_more_requests_than_it_allows(data: st.DataObject) -> None:
    policy = Policy(
        requests_per_window=data.draw(st.integers(1, 8), "requests per window"),
        window=data.draw(st.integers(1, 20), "window") * SECOND,
        fence_span=data.draw(st.sampled_from([0, 1, 3, 7]), "fence span") * SECOND,
    )
    now, next_slot_at, sent = NOON, None, []
    for _ in range(25):
        now += data.draw(st.sampled_from([timedelta(0), SECOND / 10, SECOND, 30 * SECOND]), "pause")
        request = a_request(requests=data.draw(st.integers(1, policy.requests_per_window), "requests"))
        decision = reserve(a_state(now, next_slot_at=next_slot_at), request, policy, now)
        if isinstance(decision, Denied):
            assert decision.reason is DenialReason.PACED
            continue
        next_slot_at = next_slot_of(decision)
        late = data.draw(st.sampled_from([0.0, 0.5, 1.0]), "lateness") * policy.fence_span
        sent.append((decision.reservation.not_before + late, request.requests))
    assert most_requests_within(policy.window, sent) <= policy.requests_per_window


# Stops


@pytest.mark.parametrize("reason", [DenialReason.EXHAUSTED, DenialReason.BREAKER, DenialReason.SUSPENDED])
def test_a_stop_denies_with_its_reason_until_it_ends(reason: DenialReason) -> None:
    state = replace(a_state(), stop=Stop(reason, "the provider said no", NOON, NOON + 30 * SECOND))
    assert denied(state, a_request()) == Denied(reason, "the provider said no", NOON + 30 * SECOND)
    assert granted(state, a_request(), NOON + 30 * SECOND).change


def test_a_latched_stop_has_no_end() -> None:
    state = replace(a_state(), stop=Stop(DenialReason.SUSPENDED, "401: the key is refused", NOON, None))
    later = NOON + timedelta(days=400)
    denial = denied(replace(state, window=Window(Days().of(later))), a_request(), later)
    assert denial == Denied(DenialReason.SUSPENDED, "401: the key is refused", None)


# Ids


def recorded(request: Request, state: ReservationState = ReservationState.RESERVED) -> Record:
    return Record(request, granted(a_state(), request).reservation, state)


def test_the_same_request_gets_the_same_reservation_even_at_the_limit() -> None:
    request = a_request(5)
    before = recorded(request)
    state = replace(a_state(units_charged=13_000), recorded=before)
    decision = granted(state, request, NOON + SECOND)
    assert decision.reservation == before.reservation
    assert decision.change is None


def test_an_id_serves_one_request_only() -> None:
    request = a_request(5)
    state = replace(a_state(), recorded=recorded(request))
    assert denied(state, replace(request, units=6)).reason is DenialReason.INVALID
    assert (
        denied(replace(state, account=Account.of("isbndb", "other")), request).reason is DenialReason.INVALID
    )


@pytest.mark.parametrize(
    "state", [ReservationState.SETTLED, ReservationState.RELEASED, ReservationState.UNRESOLVED]
)
def test_an_id_that_has_done_its_duty_is_not_granted_again(state: ReservationState) -> None:
    request = a_request()
    denial = denied(replace(a_state(), recorded=recorded(request, state)), request)
    assert denial.reason is DenialReason.INVALID
    assert "a retry needs a new id" in denial.detail


def test_a_stop_also_holds_back_what_was_granted_before() -> None:
    request = a_request()
    stop = Stop(DenialReason.BREAKER, "429", NOON, None)
    state = replace(a_state(), recorded=recorded(request), stop=stop)
    assert denied(state, request).reason is DenialReason.BREAKER


# Accounts and status


def test_another_key_is_another_account_and_no_key_is_kept() -> None:
    assert Account.of("isbndb", "old") != Account.of("isbndb", "new")
    assert Account.of("isbndb", "old") == Account("isbndb", "cba06b5736faf67e")


def a_status(
    now: datetime = NOON, *, used: int = 0, stop: Stop | None = None, policy: Policy = POLICY
) -> Status:
    usages = (Usage(Lane.BULK, "covers", 3, used, 0, 0),)
    return Status(policy, now, replace(a_state(now, units_charged=used), stop=stop), usages=usages)


def test_a_status_counts_against_the_safe_limit() -> None:
    status = a_status(used=6_500)
    assert (status.remaining, status.percentage_used) == (6_500, 50.0)
    assert status.resets_at == MIDNIGHT
    assert status.can_make_calls


def test_a_status_says_when_no_call_can_be_made() -> None:
    stop = Stop(DenialReason.BREAKER, "429", NOON, None)
    assert not a_status(used=13_000).can_make_calls
    assert not a_status(stop=stop).can_make_calls
    assert not a_status(MIDNIGHT).can_make_calls
    assert not a_status(MIDNIGHT - 7 * SECOND).can_make_calls
    assert not a_status(policy=Policy(safe_limit=0)).can_make_calls


def test_a_status_answers_to_the_names_of_the_predecessor() -> None:
    stop = Stop(DenialReason.SUSPENDED, "401", NOON, None)
    shown = a_status(used=14_000, stop=stop).as_json()
    assert shown == {
        "daily_limit": 15_000,
        "safety_limit": 13_000,
        "used": 14_000,
        "remaining": 1_000,
        "safety_remaining": 0,
        "percentage_used": 107.69,
        "reset_at": "2026-11-24T00:00:00+00:00",
        "can_make_calls": False,
        "provider": "isbndb",
        "day": "2026-11-23",
        "is_day_confirmed": True,
        "units": {"settled": 14_000, "reserved": 0, "unresolved": 0, "foreign": 0},
        "provider_count": None,
        "rate": {"requests": 180, "window_seconds": 60.0, "is_learnt": False},
        "next_slot_at": None,
        "stop": {
            "reason": "suspended",
            "detail": "401",
            "stopped_at": "2026-11-23T12:00:00+00:00",
            "until": None,
        },
        "failures_in_a_row": 0,
        "lanes": [
            {"lane": lane, "floor": 0, "floor_standing": 0, "used": 0, "remaining": 0}
            for lane in ("interactive", "scheduled", "bulk")
        ],
        "consumers": [
            {
                "lane": "bulk",
                "consumer": "covers",
                "requests": 3,
                "settled": 14_000,
                "reserved": 0,
                "unresolved": 0,
            }
        ],
    }


class ManyDays(RuleBasedStateMachine):
    """Any order of grants, releases, late answers and time, across midnights: what is sent stays within limit and pace."""

    in_flight = Bundle("in_flight")
    policy = Policy(hard_limit=15, safe_limit=12, requests_per_window=4, window=10 * SECOND)

    @initialize(now=st.sampled_from([NOON, MIDNIGHT - 60 * SECOND]))
    def start(self, now: datetime) -> None:
        self.now = now
        self.charged: dict[str, int] = {}
        self.next_slot_at: datetime | None = None
        self.sent: list[tuple[datetime, int]] = []

    def state(self) -> State:
        charged = self.charged.get(Days().of(self.now).isoformat(), 0)
        return a_state(self.now, units_charged=charged, next_slot_at=self.next_slot_at)

    def charge(self, reservation: Reservation, units: int) -> None:
        day = reservation.day.isoformat()
        self.charged[day] = self.charged.get(day, 0) + units

    @rule(target=in_flight, units=st.integers(0, 13), requests=st.integers(1, 3))
    def reserve(self, units: int, requests: int) -> object:
        state, request = self.state(), a_request(units, requests=requests)
        decision = reserve(state, request, self.policy, self.now)
        if isinstance(decision, Denied):
            assert decision.retry_at is None or decision.retry_at >= self.now
            return multiple()
        reservation = decision.reservation
        assert self.now <= reservation.not_before <= reservation.use_before
        midnight = datetime.combine(reservation.day, datetime.min.time(), UTC)
        assert midnight + 5 * SECOND <= reservation.not_before
        assert reservation.use_before <= midnight + timedelta(days=1) - 5 * SECOND
        self.charge(reservation, units)
        self.next_slot_at = next_slot_of(decision)
        return reservation, requests

    @rule(held=consumes(in_flight), late=st.sampled_from([0.0, 1.0]), spent=st.floats(0, 1))
    def send_and_settle(self, held: tuple[Reservation, int], late: float, spent: float) -> None:
        reservation, requests = held
        self.sent.append((reservation.not_before + late * self.policy.fence_span, requests))
        self.charge(reservation, round(spent * reservation.units) - reservation.units)

    @rule(held=consumes(in_flight))
    def release(self, held: tuple[Reservation, int]) -> None:
        self.charge(held[0], -held[0].units)

    @rule(seconds=st.sampled_from([0.5, 3, 10, 60, 43_200]))
    def wait(self, seconds: float) -> None:
        self.now += seconds * SECOND

    @invariant()
    def every_day_keeps_its_limit(self) -> None:
        assert all(0 <= units <= self.policy.safe_limit for units in self.charged.values())

    @invariant()
    def every_window_keeps_its_rate(self) -> None:
        if self.sent:
            assert most_requests_within(self.policy.window, self.sent) <= self.policy.requests_per_window


TestDays = ManyDays.TestCase
TestDays.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
