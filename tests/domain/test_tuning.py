"""Dials: never beyond their bounds, at rest when nothing changes, down when it is too much and up again when it is not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria.domain.errors import InvalidInput
from alexandria.domain.latencies import Latencies
from alexandria.domain.tuning import DIALS, Careful, Change, Dial, Following, Sample, decide, get_dial

BOUNDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0, math.inf)


def took(count: int, seconds: float) -> Latencies:
    """So many, all of which took about that long."""
    return Latencies(
        count, count * seconds, {each: float(count if seconds <= each else 0) for each in BOUNDS}
    )


def seen(count: int = 100, failed: int = 0, seconds: float = 0.4) -> Sample:
    return Sample(count, failed, took(count, seconds))


ITEMS, PAGE_SECONDS = DIALS["items_at_once"], DIALS["isbndb_seconds"]

dials = st.sampled_from(list(DIALS.values()))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    count = draw(st.integers(0, 10_000))
    spread = sorted(draw(st.lists(st.integers(0, count), min_size=len(BOUNDS), max_size=len(BOUNDS))))
    at_most = dict(zip(BOUNDS, [*map(float, spread[:-1]), float(count)], strict=True))
    total = draw(st.floats(0, 1e6))
    return Sample(
        count,
        draw(st.integers(0, count)),
        draw(st.sampled_from([Latencies(count, total, at_most), Latencies()])),
    )


def steps(dial: Dial, value: float, sample: Sample, most: int = 200) -> list[float]:
    """Where a dial goes while the same is seen again and again."""
    went = [value]
    for _ in range(most):
        change = decide(dial, went[-1], sample)
        if change is None:
            return went
        assert change.before == went[-1]
        went.append(change.after)
    raise AssertionError(f"{dial.name} does not come to rest: {went[-5:]}")


@given(dial=dials, sample=samples(), data=st.data())
def test_a_dial_stays_within_its_bounds_whatever_is_seen(
    dial: Dial, sample: Sample, data: st.DataObject
) -> None:
    begins = dial.fit(data.draw(st.floats(dial.low, dial.high)))
    for value in steps(dial, begins, sample):
        assert dial.low <= value <= dial.high
        assert value == int(value)


@given(dial=dials, sample=samples(), data=st.data())
def test_a_dial_that_sees_the_same_comes_to_rest_and_never_turns_back(
    dial: Dial, sample: Sample, data: st.DataObject
) -> None:
    went = steps(dial, dial.fit(data.draw(st.floats(dial.low, dial.high))), sample)
    assert went in (sorted(went), sorted(went, reverse=True))


@given(dial=dials, sample=samples())
def test_too_few_samples_change_nothing(dial: Dial, sample: Sample) -> None:
    few = Sample(min(sample.count, dial.least - 1), 0, sample.latencies)
    assert decide(dial, dial.start, few) is None


@pytest.mark.parametrize("dial", DIALS.values(), ids=DIALS)
def test_every_dial_can_stand_where_it_starts(dial: Dial) -> None:
    assert dial.low <= dial.start <= dial.high
    assert dial.fit(dial.start) == dial.start


def test_what_fails_or_is_slow_is_halved_and_regained_step_by_step() -> None:
    assert decide(ITEMS, 8, seen(failed=20)) == Change(
        "items_at_once", 8, 4, "20% of 100 failed, 90 % took up to 0.46 s; 20% are too many: 8 to 4 items"
    )
    slow = decide(ITEMS, 4, seen(seconds=6))
    assert slow is not None
    assert (slow.after, "; 5 s are slow" in slow.reason) == (2, True)
    assert steps(ITEMS, 8, seen(failed=50)) == [8, 4, 2]
    assert steps(ITEMS, 2, seen()) == [2, 3, 4, 5, 6, 7, 8]
    last = decide(ITEMS, 7, seen())
    assert last is not None
    assert last.reason.endswith("all is well: 7 to 8 items (its bound)")


@pytest.mark.parametrize("sample", [seen(failed=6), seen(failed=19), seen(seconds=4.9)])
def test_between_well_and_too_much_nothing_changes(sample: Sample) -> None:
    assert decide(ITEMS, 4, sample) is None


def test_a_time_out_follows_what_99_of_100_take_and_grows_faster_than_it_shrinks() -> None:
    went = steps(PAGE_SECONDS, 30, seen(1000, seconds=0.4))
    assert went == [30, 24, 20]
    assert went[-1] == PAGE_SECONDS.low
    assert steps(PAGE_SECONDS, 20, seen(1000, seconds=25)) == [20, 30, 45, 60]
    # Three times five seconds: what is off by no more than a fifth is left.
    assert decide(DIALS["wikidata_seconds"], 13, seen(1000, seconds=5)) is None


def test_an_outage_teaches_no_time_out() -> None:
    assert decide(PAGE_SECONDS, 30, seen(1000, failed=200, seconds=0.1)) is None


def test_a_time_out_that_cuts_answers_off_grows_however_many_fail_for_it() -> None:
    """Otherwise a provider that became slower than the time-out would be paid for nothing for ever."""
    change = decide(PAGE_SECONDS, 20, seen(1000, failed=1000, seconds=20.01))
    assert change is not None
    assert (change.after, ", as long as is waited: 20 to 30 seconds" in change.reason) == (30, True)
    assert steps(PAGE_SECONDS, 20, seen(1000, failed=1000, seconds=31)) == [20, 30, 45, 60]


def test_no_dial_is_about_units_or_pace() -> None:
    """What is spent, and how fast, is for the quota coordinator alone."""
    assert {each.unit for each in DIALS.values()} <= {"items", "percent", "ISBNs", "seconds"}
    assert all(isinstance(each.rule, Careful | Following) for each in DIALS.values())


def test_a_dial_is_found_by_its_name() -> None:
    assert get_dial("items-at-once") is ITEMS
    with pytest.raises(InvalidInput, match="dial: 'speed': is not one of items_at_once, "):
        get_dial("speed")
