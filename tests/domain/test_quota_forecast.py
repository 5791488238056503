"""How a day goes on: when it is exhausted at its pace, what is left at the reset, how long the queued work takes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria.domain.quota import Account, Lane, Policy, State, Window
from alexandria.domain.quota_status import Forecast, Status, Usage
from alexandria.providers.policies import POLICIES

DAY = date(2026, 11, 23)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACCOUNT = Account.of("isbndb", "one key")
POLICY = Policy()


def a_status(
    used: int,
    *,
    now: datetime = NOON,
    ours: int | None = None,
    policy: Policy = POLICY,
    total: int | None = None,
    ahead: timedelta = timedelta(0),
) -> Status:
    """`ours` of what is used was spent by ourselves: all of it, if left out."""
    usage = Usage(Lane.BULK, "author-bibliography", 1, used if ours is None else ours, 0, 0)
    return Status(policy, now, State(ACCOUNT, Window(DAY, used, total=total), ahead=ahead), usages=(usage,))


def test_a_day_whose_pace_uses_it_up_tells_when() -> None:
    forecast = a_status(7_000).forecast(1_000)
    assert forecast == Forecast(1_000.0, NOON + timedelta(hours=6), 0, 0, 0.0, DAY)


def test_a_day_whose_pace_leaves_something_tells_how_much() -> None:
    forecast = a_status(1_000).forecast(500)
    assert (forecast.exhausted_at, forecast.units_left_at_reset) == (None, 12_000 - 12 * 500)


def test_a_day_that_is_exhausted_just_at_the_reset_still_is() -> None:
    forecast = a_status(1_000).forecast(1_000)
    assert (forecast.exhausted_at, forecast.units_left_at_reset) == (NOON + timedelta(hours=12), 0)


def test_a_day_on_which_nobody_calls_is_never_exhausted() -> None:
    forecast = a_status(1_000).forecast(0)
    assert (forecast.units_per_hour, forecast.exhausted_at, forecast.units_left_at_reset) == (
        0.0,
        None,
        12_000,
    )


def test_a_day_that_is_used_up_is_exhausted_now_at_any_pace() -> None:
    for used, pace in ((13_000, 0), (13_500, 700)):
        forecast = a_status(used).forecast(pace)
        assert (forecast.exhausted_at, forecast.units_left_at_reset) == (NOON, 0)


def test_soon_after_midnight_the_pace_is_that_of_the_minutes_that_have_passed() -> None:
    status = a_status(50, now=datetime(2026, 11, 23, 0, 15, tzinfo=UTC))
    assert status.forecast(50).units_per_hour == 200.0
    # A single call in the first seconds is no pace of thousands.
    assert a_status(1, now=datetime(2026, 11, 23, 0, 0, 5, tzinfo=UTC)).forecast(1).units_per_hour == 60.0


def test_foreign_use_counts_with_its_mean_of_the_day_however_it_was_noticed() -> None:
    # 1,200 units of somebody else, found all at once at noon, and 300 of ours in the last hour.
    status = a_status(1_500, ours=300)
    assert status.forecast(300).units_per_hour == 300 + 1_200 / 12
    # That the provider counted less than we thought is no negative pace.
    assert a_status(100, ours=300).forecast(300).units_per_hour == 300.0


def test_the_day_is_the_provider_s() -> None:
    pacific = POLICIES["google-books"]
    # 20:00 at the provider, 04:00 of the next day by UTC: four hours are left.
    status = a_status(100, now=datetime(2026, 11, 24, 4, tzinfo=UTC), policy=pacific)
    forecast = status.forecast(200)
    assert (forecast.exhausted_at, forecast.units_left_at_reset) == (
        datetime(2026, 11, 24, 8, tzinfo=UTC),
        0,
    )
    # The provider's clock is ten minutes ahead: the day ends earlier by ours.
    late = a_status(12_900, now=datetime(2026, 11, 23, 23, 30, tzinfo=UTC), ahead=timedelta(minutes=10))
    assert late.forecast(240).units_left_at_reset == 100 - 80


@pytest.mark.parametrize(
    ("used", "queued", "days", "done_on"),
    [
        (1_000, 0, 0.0, DAY),
        (1_000, 12_000, 0.92, DAY),
        (1_000, 12_001, 0.92, DAY + timedelta(days=1)),
        (13_000, 1, 0.0, DAY + timedelta(days=1)),
        (13_000, 13_000, 1.0, DAY + timedelta(days=1)),
        (13_000, 13_001, 1.0, DAY + timedelta(days=2)),
        (0, 130_000, 10.0, DAY + timedelta(days=9)),
    ],
)
def test_the_queued_work_ends_on_the_day_that_has_the_last_unit_it_needs(
    used: int, queued: int, days: float, done_on: date
) -> None:
    forecast = a_status(used).forecast(0, units_queued=queued)
    assert (forecast.days_queued, forecast.queue_done_on) == (days, done_on)


def test_a_provider_that_grants_less_than_was_configured_makes_the_work_take_longer() -> None:
    forecast = a_status(0, total=1_500).forecast(0, units_queued=2_600)
    assert (forecast.days_queued, forecast.queue_done_on) == (2.0, DAY + timedelta(days=1))


def test_work_that_nothing_is_ever_granted_for_has_no_end() -> None:
    forecast = a_status(0, policy=replace(POLICY, safe_limit=0)).forecast(0, units_queued=1)
    assert (forecast.days_queued, forecast.queue_done_on, forecast.exhausted_at) == (None, None, NOON)
    tiny = a_status(0, policy=replace(POLICY, safe_limit=1)).forecast(0, units_queued=10**9)
    assert tiny.queue_done_on is None


def test_without_a_limit_for_a_day_nothing_runs_out() -> None:
    forecast = a_status(500, policy=POLICIES["openlibrary"]).forecast(500, units_queued=10)
    assert forecast == Forecast(500.0, None, None, 10, None, DAY)


@given(
    figures=st.fixed_dictionaries(
        {
            "used": st.integers(0, 20_000),
            "ours": st.integers(0, 20_000),
            "pace": st.integers(0, 20_000),
            "queued": st.integers(0, 10**9),
            "minute": st.integers(0, 24 * 60 - 1),
        }
    )
)
def test_a_forecast_is_either_exhausted_or_has_something_left(figures: Mapping[str, int]) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(minutes=figures["minute"])
    status = a_status(figures["used"], ours=figures["ours"], now=now)
    forecast = status.forecast(figures["pace"], units_queued=figures["queued"])
    assert forecast.units_left_at_reset is not None
    assert 0 <= forecast.units_left_at_reset <= status.remaining
    if forecast.exhausted_at is None:
        assert forecast.units_left_at_reset > 0
    else:
        assert now <= forecast.exhausted_at <= status.resets_at
        assert forecast.units_left_at_reset <= 1
    assert forecast.as_json()["units_queued"] == figures["queued"]
