"""What is rehearsed: the same clock in every process, and a policy whose spans the machine's own delays fit into."""

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from alexandria import config
from alexandria.app import isbndb_policy
from alexandria.rehearsal.scenario import FAULTS, SPANS, Orders, Scenario, order, short
from alexandria.sandbox.faults import FaultKind

BOTH = pytest.mark.parametrize("scenario", [Scenario(), short()], ids=["whole", "short"])


@BOTH
def test_orders_survive_their_json_and_carry_the_clock(scenario: Scenario) -> None:
    began = time.monotonic() - 7
    orders = order(scenario, started_real=began, environment={"A": "b"}, journal="somewhere")
    read = msgspec.json.decode(msgspec.json.encode(orders), type=Orders)
    assert read.read_scenario() == scenario
    ahead = read.clock().now() - scenario.begins_at
    assert abs(ahead - timedelta(seconds=7 * scenario.factor)) < timedelta(seconds=scenario.factor)


@BOTH
def test_it_begins_before_midnight_and_ends_when_its_seconds_are_over(scenario: Scenario) -> None:
    assert scenario.begins_at < scenario.midnight < scenario.ends_at
    clock = order(scenario, started_real=time.monotonic() - scenario.seconds, environment={}).clock()
    assert scenario.ends_at <= clock.now() < scenario.ends_at + timedelta(seconds=10 * scenario.factor)


@BOTH
def test_half_a_real_second_fits_into_the_fence(scenario: Scenario) -> None:
    settings = replace(config.load(scenario.environment()), policy_spans=SPANS)
    policy = isbndb_policy(settings)
    assert policy.fence_span / scenario.factor >= timedelta(seconds=0.45)
    assert (policy.safe_limit, policy.hard_limit) == (scenario.safe_limit, 15_000)


def test_the_whole_day_is_whole_and_takes_less_than_a_quarter_of_an_hour() -> None:
    assert Scenario().length >= timedelta(hours=24)
    assert Scenario().seconds <= 12 * 60, "two minutes are for the dump before and the counting behind"


@BOTH
def test_the_schedule_starts_the_tier_before_midnight(scenario: Scenario, tmp_path: Path) -> None:
    file = tmp_path / "alexandria.toml"
    file.write_text(scenario.schedule, "utf-8")
    entries = {each.name: each for each in config.load(scenario.environment(config=file)).schedule}
    tiers = entries["tiers"]
    assert tiers.parameters["tier"][0] == scenario.tier
    assert scenario.begins_at < tiers.next_slot(scenario.begins_at) < scenario.midnight


def test_no_fault_makes_the_provider_say_429_or_refuse_the_key() -> None:
    assert not {each.kind for each in FAULTS} & {
        FaultKind.RATE_429,
        FaultKind.DAILY_429,
        FaultKind.EMPTY_403,
    }
