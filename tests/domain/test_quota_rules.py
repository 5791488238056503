"""Each rule of the coordinator alone: lanes, ceilings, pace, breaker, days, settlements and what the provider's count proves."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from alexandria.domain import breaker
from alexandria.domain.errors import InvalidInput
from alexandria.domain.pacing import Anchor, shift_now, spacing_of
from alexandria.domain.quota import (
    RECONCILER,
    Account,
    Caps,
    DenialReason,
    Denied,
    Failures,
    Granted,
    Kind,
    Lane,
    Policy,
    Rate,
    Record,
    Request,
    Reservation,
    ReservationState,
    State,
    Stop,
    Window,
)
from alexandria.domain.quota_days import Days
from alexandria.domain.quota_status import Status
from alexandria.domain.reconciling import Reading, reconcile
from alexandria.domain.reserving import next_day_opens_at, reserve
from alexandria.domain.settling import (
    Evidence,
    Settlement,
    day_to_open,
    landed_on,
    may_cross,
    observe,
    open_day,
    release,
    settle,
)
from alexandria.providers.policies import POLICIES

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
TODAY, TOMORROW = NOON.date(), MIDNIGHT.date()
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
ACCOUNT = Account.of("isbndb", "a key")
FLOORS = {Lane.INTERACTIVE: 650, Lane.SCHEDULED: 1_950}
POLICY = Policy(has_counter=True, floors=FLOORS)


def a_state(used: dict[tuple[Lane, str], int] | None = None, *, foreign: int = 0, day: date = TODAY) -> State:
    used = used or {}
    return State(ACCOUNT, Window(day, sum(used.values()) + foreign, used))


def a_request(
    units: int = 1, lane: Lane = Lane.BULK, consumer: str = "bulk-authors", requests: int = 1
) -> Request:
    return Request(uuid4(), lane, consumer, units, requests)


def a_probe() -> Request:
    return a_request(0, Lane.INTERACTIVE, RECONCILER)


def denied(state: State, request: Request, now: datetime = NOON, policy: Policy = POLICY) -> Denied:
    decision = reserve(state, request, policy, now)
    assert isinstance(decision, Denied), decision
    return decision


def granted(state: State, request: Request, now: datetime = NOON, policy: Policy = POLICY) -> Reservation:
    decision = reserve(state, request, policy, now)
    assert isinstance(decision, Granted), decision
    return decision.reservation


def a_record(
    units: int = 5, *, at: datetime = NOON, state: ReservationState = ReservationState.RESERVED
) -> Record:
    request = a_request(units)
    reservation = Reservation(
        request.request_id, ACCOUNT, Days().of(at), units, at, at + 3 * SECOND, as_of=at
    )
    return Record(request, reservation, state, units_charged=units)


# Lanes


def test_bulk_leaves_what_is_kept_for_people_and_schedules_and_they_may_take_it() -> None:
    state = a_state({(Lane.BULK, "bulk-authors"): 10_400})
    denial = denied(state, a_request())
    assert denial.reason is DenialReason.SHARE
    assert "2,600 units are kept" in denial.detail
    assert granted(state, a_request(1_950, Lane.SCHEDULED, "cron")).units == 1_950
    assert denied(state, a_request(1_951, Lane.SCHEDULED, "cron")).reason is DenialReason.SHARE
    assert granted(state, a_request(2_600, Lane.INTERACTIVE, "lookup")).units == 2_600


def test_what_a_lane_has_used_of_its_floor_is_not_kept_any_more() -> None:
    state = a_state({(Lane.INTERACTIVE, "lookup"): 650, (Lane.BULK, "bulk-authors"): 10_400})
    assert denied(state, a_request()).reason is DenialReason.SHARE
    state = a_state({(Lane.INTERACTIVE, "lookup"): 650, (Lane.BULK, "bulk-authors"): 10_399})
    assert granted(state, a_request()).units == 1


@pytest.mark.parametrize(
    ("before_reset", "most"),
    [
        (12 * HOUR, 10_400),
        (4 * HOUR, 10_400),
        (2.25 * HOUR, 11_700),
        (0.5 * HOUR, 13_000),
        (0.25 * HOUR, 13_000),
    ],
)
def test_the_floors_melt_before_the_reset_so_that_nothing_is_left(before_reset: timedelta, most: int) -> None:
    now = MIDNIGHT - before_reset
    assert granted(a_state({(Lane.BULK, "x"): most - 1}), a_request(), now).units == 1
    assert denied(a_state({(Lane.BULK, "x"): most}), a_request(), now).reason in {
        DenialReason.SHARE,
        DenialReason.EXHAUSTED,
    }


@pytest.mark.parametrize("used", [10_400, 11_000, 12_345, 12_999])
def test_a_share_that_is_refused_says_when_it_will_have_melted(used: int) -> None:
    state = a_state({(Lane.BULK, "x"): used})
    denial = denied(state, a_request())
    assert denial.retry_at is not None
    assert MIDNIGHT - POLICY.melt_begins < denial.retry_at <= MIDNIGHT - POLICY.melt_ends
    assert granted(state, a_request(), denial.retry_at).units == 1
    assert denied(state, a_request(), denial.retry_at - timedelta(minutes=1)).reason is DenialReason.SHARE


def test_a_consumer_stops_at_its_ceiling_in_whichever_lane() -> None:
    policy = replace(POLICY, ceilings={"covers": 100})
    state = a_state({(Lane.BULK, "covers"): 60, (Lane.INTERACTIVE, "covers"): 30})
    assert granted(state, a_request(10, consumer="covers"), policy=policy).units == 10
    denial = denied(state, a_request(11, consumer="covers"), policy=policy)
    assert denial == Denied(
        DenialReason.CEILING,
        "11 units wanted, 10 of 100 are left for covers",
        next_day_opens_at(state, policy, NOON),
    )
    assert granted(state, a_request(11, consumer="others"), policy=policy).units == 11


def test_a_cap_that_is_set_while_things_run_holds_beside_the_configured_ceiling() -> None:
    policy = replace(POLICY, ceilings={"covers": 100})
    used = a_state({(Lane.BULK, "covers"): 60})
    for cap, left in ((None, 40), (200, 40), (70, 10), (60, 0), (0, 0)):
        state = replace(used, caps=Caps(units_per_day=cap))
        denial = denied(state, a_request(left + 1, consumer="covers"), policy=policy)
        assert (denial.reason, denial.retry_at) == (
            DenialReason.CEILING,
            next_day_opens_at(state, policy, NOON),
        )
        assert not left or granted(state, a_request(left, consumer="covers"), policy=policy).units == left
        assert granted(state, a_request(0, consumer="covers"), policy=policy).units == 0


def test_a_run_stops_at_its_cap_until_a_person_makes_room() -> None:
    state = replace(a_state({(Lane.BULK, "covers"): 95}), caps=Caps(units_per_run=100, units_of_run=95))
    assert granted(state, replace(a_request(5, consumer="covers"), job="run/7")).units == 5
    denial = denied(state, replace(a_request(6, consumer="covers"), job="run/7"))
    assert denial == Denied(DenialReason.CEILING, "6 units wanted, 5 of 100 are left for the run run")
    assert granted(state, replace(a_request(0, consumer="covers"), job="run/7")).units == 0
    elsewhere = replace(state, caps=Caps(units_per_run=100))
    assert granted(elsewhere, a_request(6, consumer="covers")).units == 6, "what is of no run has no such cap"


def test_only_a_job_with_a_slash_may_be_of_a_run() -> None:
    jobs = {"20261123-4f1a9c/17": "20261123-4f1a9c", "nightly list": None, "/17": None, None: None}
    assert {job: replace(a_request(), job=job).run for job in jobs} == jobs


def test_floors_that_are_more_than_the_day_are_refused() -> None:
    with pytest.raises(InvalidInput, match="floors"):
        Policy(floors={Lane.INTERACTIVE: 13_001})


# The pace


def test_a_look_up_never_stands_behind_more_than_two_slots_of_bulk() -> None:
    state, spacing = a_state(), spacing_of(POLICY.rate, POLICY.fence_span)
    for lane in (Lane.BULK, Lane.SCHEDULED, Lane.BULK, Lane.BULK, Lane.SCHEDULED):
        decision = reserve(state, a_request(lane=lane), POLICY, NOON)
        if isinstance(decision, Granted):
            assert decision.change is not None
            state = decision.change.state
        else:
            assert decision.reason is DenialReason.PACED
    look_up = granted(state, a_request(lane=Lane.INTERACTIVE))
    assert look_up.not_before - NOON <= 2 * spacing


def test_bulk_that_is_too_early_is_told_when_its_turn_may_come() -> None:
    spacing = spacing_of(POLICY.rate, POLICY.fence_span)
    state = replace(a_state(), next_slot_at=NOON + 10 * spacing)
    denial = denied(state, a_request())
    assert denial.reason is DenialReason.PACED
    assert denial.retry_at == NOON + 9 * spacing
    assert granted(state, a_request(), denial.retry_at).not_before == NOON + 10 * spacing


@pytest.mark.parametrize(
    ("learnt", "kept"),
    [
        (None, Rate(180, 60 * SECOND)),
        (Rate(60, 60 * SECOND), Rate(60, 60 * SECOND)),
        (Rate(300, 60 * SECOND), Rate(180, 60 * SECOND)),
        (Rate(1, SECOND), Rate(1, SECOND)),
    ],
)
def test_the_slower_of_what_is_configured_and_what_the_provider_grants_is_kept(
    learnt: Rate | None, kept: Rate
) -> None:
    state = replace(a_state(), rate=learnt, next_slot_at=NOON)
    decision = reserve(state, a_request(), POLICY, NOON)
    assert isinstance(decision, Granted)
    assert decision.change is not None
    assert decision.change.state.next_slot_at == NOON + spacing_of(kept, POLICY.fence_span)


@pytest.mark.parametrize("step", [-700, -30, 30, 700])
def test_slots_go_on_as_if_nobody_had_set_the_clock(step: int) -> None:
    anchor = Anchor(NOON, 1000.0)
    now = NOON + 10 * SECOND + step * SECOND
    shift = shift_now(timedelta(0), now, anchor, 1010.0, 1010.0)
    assert shift == step * SECOND
    state = replace(a_state(), next_slot_at=NOON + 11 * SECOND, clock_shift=shift)
    reservation = granted(state, a_request(lane=Lane.INTERACTIVE), now)
    assert reservation.not_before - reservation.as_of == SECOND


def test_waiting_for_the_store_is_not_taken_for_a_clock_that_was_set() -> None:
    anchor = Anchor(NOON, 1000.0)
    for read_after in (0, 4, 9):
        now = NOON + 10 * SECOND + read_after * SECOND
        assert shift_now(timedelta(0), now, anchor, 1010.0, 1019.0) == timedelta(0)
    drifted = NOON + HOUR + SECOND
    assert shift_now(timedelta(0), drifted, anchor, 4600.0, 4600.0) == timedelta(0)


def test_an_answer_that_came_late_does_not_make_the_clock_look_set() -> None:
    # The clock was read at some time in the two seconds before the answer came, here at their beginning.
    anchor = Anchor(NOON, 1000.0, waited=2.0)
    assert shift_now(timedelta(0), NOON + timedelta(seconds=12), anchor, 1010.0, 1010.0) == timedelta(0)
    assert shift_now(timedelta(0), NOON + timedelta(seconds=14), anchor, 1010.0, 1010.0) == timedelta(
        seconds=2
    )


def test_nothing_is_given_back_behind_which_somebody_took_a_slot() -> None:
    wikidata = POLICIES["wikidata"]
    first = reserve(
        State(ACCOUNT, Window(TODAY)), a_request(0, Lane.INTERACTIVE, "authors", requests=60), wikidata, NOON
    )
    assert isinstance(first, Granted)
    assert first.change is not None
    second = reserve(first.change.state, a_request(0, Lane.INTERACTIVE, "authors"), wikidata, NOON)
    assert isinstance(second, Granted)
    assert second.change is not None
    took_two = Settlement(0, "200", requests_spent=2)
    settled = settle(second.change.state, first.change.records[0], took_two, Evidence(), wikidata, NOON)
    assert settled.state.next_slot_at == second.change.state.next_slot_at


def test_what_a_window_did_not_count_of_a_reservation_is_free_again() -> None:
    wikidata = POLICIES["wikidata"]
    state = State(ACCOUNT, Window(TODAY))
    decision = reserve(state, a_request(0, Lane.INTERACTIVE, "authors", requests=60), wikidata, NOON)
    assert isinstance(decision, Granted)
    assert decision.change is not None
    spacing = spacing_of(wikidata.rate, wikidata.fence_span)
    after = decision.change.state
    assert after.next_slot_at == NOON + 60 * spacing
    [record] = decision.change.records
    took_two = Settlement(0, "200", requests_spent=2)
    settled = settle(after, record, took_two, Evidence(), wikidata, NOON + 2 * SECOND)
    assert settled.state.next_slot_at == NOON + 2 * spacing


# The breaker


def failing(times: int, now: datetime = NOON) -> Failures:
    """Each failure as soon as somebody may ask again."""
    failures = Failures()
    for _ in range(times):
        now = breaker.pause_ends_at(failures, now) or now
        failures = breaker.after(failures, is_failure=True, now=now)
    return failures


def test_five_failures_in_a_row_open_the_breaker_for_a_while_and_each_more_for_longer() -> None:
    assert breaker.refuse(failing(4), NOON) is None
    for times, seconds in ((5, 5), (6, 10), (7, 20), (20, 300)):
        failures = failing(times)
        assert failures.last_at is not None
        denial = breaker.refuse(failures, failures.last_at + SECOND)
        assert denial is not None
        assert (denial.reason, denial.retry_at) == (
            DenialReason.BREAKER,
            failures.last_at + seconds * SECOND,
        )


def test_calls_that_were_out_when_the_breaker_opened_do_not_make_the_pause_longer() -> None:
    failures = failing(5)
    for _ in range(12):
        failures = breaker.after(failures, is_failure=True, now=NOON + SECOND)
    assert failures == failing(5)


def test_after_the_pause_one_call_at_a_time_tries_again_and_one_answer_closes_it() -> None:
    state, now = replace(a_state(), failures=failing(5)), NOON + 5 * SECOND
    decision = reserve(state, a_request(), POLICY, now)
    assert isinstance(decision, Granted)
    assert decision.change is not None
    state = decision.change.state
    denial = denied(state, a_request(), now + SECOND)
    assert (denial.reason, denial.retry_at) == (DenialReason.BREAKER, now + breaker.PROBE_SPAN)
    assert granted(state, a_request(), now + breaker.PROBE_SPAN).units == 1

    failed = replace(state, failures=breaker.after(state.failures, is_failure=True, now=now + SECOND))
    assert denied(failed, a_request(), now + 2 * SECOND).retry_at == now + 11 * SECOND
    well = observe(state, Evidence(is_failure=False), POLICY, now + SECOND).state
    assert granted(well, a_request(), now + SECOND).units == 1


def test_an_answer_that_says_nothing_of_the_provider_s_health_leaves_the_breaker_alone() -> None:
    state = replace(a_state(), failures=failing(3))
    assert observe(state, Evidence(is_failure=None), POLICY, NOON).state.failures == failing(3)


def test_a_clock_that_was_set_back_does_not_keep_the_breaker_open() -> None:
    assert breaker.refuse(failing(5, NOON + HOUR), NOON) is None


@pytest.mark.parametrize(
    ("reason", "passes"),
    [(DenialReason.SUSPENDED, True), (DenialReason.EXHAUSTED, True), (DenialReason.BREAKER, False)],
)
def test_a_free_call_tries_a_refused_key_but_waits_out_a_pause(reason: DenialReason, passes: bool) -> None:
    state = replace(a_state(), stop=Stop(reason, "the provider said no", NOON, NOON + HOUR))
    assert denied(state, a_request()).reason is reason
    assert isinstance(reserve(state, a_probe(), POLICY, NOON), Granted) is passes


# Days


def test_no_unit_is_spent_before_the_provider_has_said_which_day_it_is() -> None:
    assert denied(State(ACCOUNT), a_request()).reason is DenialReason.UNCONFIRMED
    assert granted(State(ACCOUNT), a_probe()).units == 0
    after_midnight = MIDNIGHT + 10 * SECOND
    denial = denied(a_state(), a_request(), after_midnight)
    assert denial.reason is DenialReason.UNCONFIRMED
    assert granted(a_state(), a_probe(), after_midnight).units == 0
    assert granted(a_state(day=TOMORROW), a_request(), after_midnight).day == TOMORROW


def test_no_unit_is_spent_before_the_count_was_compared_with_the_provider_s() -> None:
    state = replace(a_state(), is_known=False)
    assert denied(state, a_request()).reason is DenialReason.UNCONFIRMED
    assert granted(state, a_probe()).units == 0
    assert granted(state, a_request(), policy=replace(POLICY, has_counter=False)).units == 1


def test_the_provider_s_clock_decides_which_day_it_is() -> None:
    behind = replace(a_state(day=TOMORROW), ahead=700 * SECOND)
    assert granted(behind, a_request(), MIDNIGHT - 690 * SECOND).day == TOMORROW
    ahead = replace(a_state(), ahead=-700 * SECOND)
    assert granted(ahead, a_request(), MIDNIGHT + 690 * SECOND).day == TODAY


def test_a_day_is_opened_by_a_date_of_it_and_never_by_one_that_is_far_off() -> None:
    state = a_state()
    assert day_to_open(state, Evidence(MIDNIGHT), POLICY, MIDNIGHT - 700 * SECOND) == TOMORROW
    assert day_to_open(state, Evidence(MIDNIGHT - SECOND), POLICY, MIDNIGHT + 700 * SECOND) is None
    assert day_to_open(state, Evidence(MIDNIGHT + 365 * 24 * HOUR), POLICY, MIDNIGHT) is None
    assert day_to_open(a_state(day=TOMORROW), Evidence(MIDNIGHT - SECOND), POLICY, MIDNIGHT) is None


def test_what_is_in_flight_at_midnight_counts_on_both_days_until_its_answer_tells() -> None:
    record = a_record(5, at=MIDNIGHT - 20 * SECOND)
    opened = open_day(a_state(), Window(TOMORROW), (record,))
    assert opened.state.window is not None
    assert opened.state.window.units_charged == 5
    [carried] = opened.records
    assert (carried.units_charged, carried.carried_to, carried.units_carried) == (5, TOMORROW, 5)

    def after(evidence: Evidence) -> Record:
        change = settle(opened.state, carried, Settlement(5, "200"), evidence, POLICY, MIDNIGHT + 10 * SECOND)
        return change.records[0]

    on_the_first = after(Evidence(MIDNIGHT - SECOND, elapsed=19 * SECOND))
    assert (on_the_first.units_charged, on_the_first.units_carried) == (5, 0)
    on_the_second = after(Evidence(MIDNIGHT + 10 * SECOND, elapsed=8 * SECOND))
    assert (on_the_second.units_charged, on_the_second.units_carried) == (0, 5)
    unknown = after(Evidence(MIDNIGHT + 2 * SECOND, elapsed=12 * SECOND))
    assert (unknown.units_charged, unknown.units_carried) == (5, 5)
    assert (after(Evidence()).units_charged, after(Evidence()).units_carried) == (5, 5)


def test_what_was_released_or_settled_is_not_carried() -> None:
    records = (
        a_record(at=MIDNIGHT - 48 * HOUR),
        replace(a_record(at=MIDNIGHT - SECOND), units_charged=0),
    )
    assert open_day(a_state(), Window(TOMORROW), records).records == ()


def test_a_call_whose_day_is_known_is_not_carried_though_its_cost_is_not() -> None:
    record = a_record(at=MIDNIGHT - 10 * 60 * SECOND)
    answered = Evidence(MIDNIGHT - 9 * 60 * SECOND, is_failure=True)
    missed = settle(a_state(), record, Settlement(5, "absent", is_certain=False), answered, POLICY, MIDNIGHT)
    assert missed.records[0].state is ReservationState.UNRESOLVED
    assert not may_cross(missed.records[0], MIDNIGHT)
    assert may_cross(record, MIDNIGHT)


def test_an_answer_of_the_second_before_midnight_proves_the_first_day() -> None:
    record = a_record(at=MIDNIGHT - 20 * SECOND)
    evidence = Evidence(MIDNIGHT - SECOND, elapsed=15 * SECOND)
    assert landed_on(record, evidence, POLICY, timedelta(0), MIDNIGHT) == TODAY


def test_a_day_of_another_zone_begins_at_its_own_midnight() -> None:
    days = POLICIES["google-books"].days
    assert days.begins_at(date(2026, 11, 25)) == datetime(2026, 11, 25, 8, tzinfo=UTC)
    assert days.begins_at(date(2026, 7, 1)) == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert days.of(datetime(2026, 11, 25, 7, 59, tzinfo=UTC)) == date(2026, 11, 24)
    assert days.ends_at(date(2026, 11, 1)) - days.begins_at(date(2026, 11, 1)) == 25 * HOUR
    with pytest.raises(InvalidInput, match="time zone"):
        Days("Nowhere/Never")


# Settlements


def test_an_answer_without_a_cost_stays_charged_and_a_late_one_corrects_it() -> None:
    record, state = a_record(5), a_state({(Lane.BULK, "bulk-authors"): 5})
    lost = settle(state, record, Settlement(0, "no answer", is_certain=False), Evidence(), POLICY, NOON)
    [unresolved] = lost.records
    assert (unresolved.state, unresolved.units_charged) == (ReservationState.UNRESOLVED, 5)
    assert lost.state.window == state.window
    assert release(lost.state, unresolved, "too late").records == ()
    late = settle(lost.state, unresolved, Settlement(2, "200"), Evidence(), POLICY, NOON)
    assert (late.records[0].state, late.records[0].units_charged) == (ReservationState.SETTLED, 2)
    assert late.entries[0].units == -3


# The provider's count


def a_reading(spent: int, *, total: int = 15_000) -> Reading:
    return Reading(TODAY, total, spent, NOON)


def test_what_somebody_else_spends_raises_our_count_at_once() -> None:
    state = a_state({(Lane.BULK, "bulk-authors"): 100})
    change = observe(state, Evidence(NOON, total=15_000, left=14_500), POLICY, NOON)
    assert change.state.window is not None
    assert change.state.window.units_charged == 500
    assert [(entry.kind, entry.units) for entry in change.entries] == [(Kind.FOREIGN, 400)]
    status = Status(POLICY, NOON, change.state)
    assert status.foreign == 500 - 0
    assert status.remaining == 12_500


def test_a_count_of_another_day_or_below_ours_changes_nothing() -> None:
    state = a_state({(Lane.BULK, "bulk-authors"): 100}, day=TOMORROW)
    assert observe(state, Evidence(NOON, total=15_000, left=0), POLICY, NOON).entries == ()
    state = a_state({(Lane.BULK, "bulk-authors"): 100})
    assert observe(state, Evidence(NOON, total=15_000, left=14_950), POLICY, NOON).entries == ()


def test_units_of_lost_calls_come_back_when_the_count_shows_that_they_were_not_spent() -> None:
    spent, lost = (
        a_record(4, state=ReservationState.UNRESOLVED),
        a_record(3, state=ReservationState.UNRESOLVED),
    )
    state = a_state({(Lane.BULK, "bulk-authors"): 107})
    change = reconcile(state, a_reading(104), (spent, lost), units_uncertain=0)
    assert change.state.window is not None
    assert change.state.window.units_charged == 104
    assert {each.request.request_id: each.state for each in change.records} == {
        spent.request.request_id: ReservationState.SETTLED,
        lost.request.request_id: ReservationState.RELEASED,
    }


def test_what_the_count_may_not_hold_yet_comes_back_for_nobody() -> None:
    lost = a_record(3, state=ReservationState.UNRESOLVED)
    state = a_state({(Lane.BULK, "bulk-authors"): 107})
    change = reconcile(state, a_reading(104), (lost,), units_uncertain=1)
    assert change.records == ()
    assert change.entries == ()
    change = reconcile(state, a_reading(100), (lost,), units_uncertain=4)
    assert [each.state for each in change.records] == [ReservationState.RELEASED]


def test_a_count_lower_than_what_we_took_for_spent_is_believed() -> None:
    state = a_state({(Lane.BULK, "bulk-authors"): 107})
    change = reconcile(state, a_reading(100), (), units_uncertain=2)
    assert [(entry.kind, entry.units) for entry in change.entries] == [(Kind.RECONCILE, -5)]


def test_a_count_of_a_day_that_is_over_changes_nothing() -> None:
    state = a_state({(Lane.BULK, "bulk-authors"): 107}, day=TOMORROW)
    assert reconcile(state, a_reading(500), (), 0).entries == ()


def test_a_plan_that_grants_less_lowers_the_limit_by_the_same_share() -> None:
    state = a_state({(Lane.INTERACTIVE, "lookup"): 4_000})
    state = reconcile(state, a_reading(4_000, total=5_000), (), 0).state
    assert Status(POLICY, NOON, state).limit == 4_333
    assert granted(state, a_request(333, Lane.INTERACTIVE)).units == 333
    assert denied(state, a_request(334, Lane.INTERACTIVE)).reason is DenialReason.EXHAUSTED


def test_a_plan_that_grants_less_has_smaller_floors() -> None:
    """2,600 of 3,000: the floors are a fifth of that, not all of it."""
    state = reconcile(a_state(), a_reading(0, total=3_000), (), 0).state
    assert granted(state, a_request(2_080)).units == 2_080
    assert denied(state, a_request(2_081)).reason is DenialReason.SHARE


def test_a_key_with_a_smaller_allowance_of_its_own_is_what_counts() -> None:
    figures = {"day": TODAY, "asked_at": NOON, "total": 50_000, "spent": 1_001}
    assert Reading.of(POLICY, **figures).spent == 1_001  # type: ignore[arg-type]  # each figure has its field's type
    own = Reading.of(POLICY, **figures, key_total=1_000, key_spent=900)  # type: ignore[arg-type]
    assert (own.total, own.spent) == (1_000, 900)


def test_the_last_units_go_out_one_after_the_other_so_that_no_use_hides_behind_them() -> None:
    """Two units are out; the provider's count may hold somebody else's in their place. Both fit only if the day has four left."""
    state = replace(a_state({(Lane.INTERACTIVE, "lookup"): 12_997}), units_in_flight=2, units_unresolved=2)
    look_up = a_request(lane=Lane.INTERACTIVE)
    assert granted(replace(state, units_in_flight=1), look_up).units == 1
    denial = denied(state, a_request(2, lane=Lane.INTERACTIVE))
    assert denial.reason is DenialReason.PACED
    assert "2 are on their way" in denial.detail
    assert granted(replace(state, units_in_flight=0), a_request(3, lane=Lane.INTERACTIVE)).units == 3


def test_units_that_may_come_back_are_waited_for_and_others_are_not() -> None:
    full = a_state({(Lane.INTERACTIVE, "lookup"): 13_000})
    look_up = a_request(lane=Lane.INTERACTIVE)
    assert denied(full, look_up).reason is DenialReason.EXHAUSTED
    assert denied(replace(full, units_unresolved=1), look_up).reason is DenialReason.UNCONFIRMED
    assert denied(replace(full, units_unresolved=1), a_request(2)).reason is DenialReason.EXHAUSTED


# What providers grant, as data


def test_a_provider_without_a_daily_limit_has_its_pace_alone() -> None:
    openlibrary = POLICIES["openlibrary"]
    state = State(Account.of("openlibrary", ""), Window(TODAY, units_charged=2_000_000))
    around_midnight = MIDNIGHT - SECOND / 10
    assert granted(state, a_request(lane=Lane.INTERACTIVE), around_midnight, openlibrary).units == 1
    sent = [NOON]
    state = replace(state, next_slot_at=NOON)
    for _ in range(10):
        decision = reserve(state, a_request(0, Lane.INTERACTIVE), openlibrary, NOON)
        assert isinstance(decision, Granted)
        assert decision.change is not None
        state = decision.change.state
        sent.append(decision.reservation.not_before)
    assert all(later - first > SECOND for first, later in zip(sent[1:], sent[4:], strict=False))


def test_google_s_day_ends_at_midnight_pacific() -> None:
    google = POLICIES["google-books"]
    state = State(Account.of("google-books", "a key"), Window(date(2026, 11, 22), units_charged=900))
    before_pacific_midnight = datetime(2026, 11, 23, 7, 30, tzinfo=UTC)
    denial = denied(state, a_request(), before_pacific_midnight, google)
    assert denial.reason is DenialReason.EXHAUSTED
    assert denial.retry_at == datetime(2026, 11, 23, 8, 1, tzinfo=UTC)
