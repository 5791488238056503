"""Gates: where they close and open, what they let through, and when to come back."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria.domain.backpressure import (
    DEFAULT_MARKS,
    LONGEST_WAIT,
    SHORTEST_WAIT,
    WORST_PICTURE,
    Backlogged,
    Gate,
    GateName,
    LargestRun,
    Marks,
    drain_per_minute,
    is_disk_short,
    pictures_at_once,
    retry_after,
)
from alexandria.domain.errors import InvalidInput
from alexandria.domain.quota import Lane

GIB = 1024**3


@st.composite
def marks(draw: st.DrawFn) -> Marks:
    high = draw(st.integers(1, 2000))
    return Marks(draw(st.integers(0, high - 1)), high)


depths = st.integers(0, 3000)


@given(marks(), st.lists(depths, min_size=1))
def test_a_gate_changes_only_at_its_marks(marks: Marks, depths: Sequence[int]) -> None:
    is_closed = False
    for depth in depths:
        was_closed, is_closed = is_closed, marks.closes(depth, was_closed=is_closed)
        if is_closed and not was_closed:
            assert depth >= marks.high
        if was_closed and not is_closed:
            assert depth <= marks.low
        if depth >= marks.high:
            assert is_closed
        if depth <= marks.low:
            assert not is_closed


@given(marks(), st.lists(st.tuples(st.integers(0, 500), st.sampled_from(Lane), st.integers(0, 500))))
def test_whoever_fills_it_and_however_it_drains_a_queue_is_bounded(
    marks: Marks, steps: Sequence[tuple[int, Lane, int]]
) -> None:
    depth, is_closed = 0, False
    for wanted, lane, drained in steps:
        is_closed = marks.closes(depth, was_closed=is_closed)
        filled = min(wanted, marks.room(depth, lane, is_closed=is_closed))
        assert not (filled and lane is Lane.BULK and depth + filled > marks.high)
        depth += filled
        assert depth <= marks.high * 1.25
        is_closed = marks.closes(depth, was_closed=is_closed)
        depth = max(0, depth - drained)


@given(marks(), depths, st.booleans())
def test_who_comes_before_finds_no_less_room(marks: Marks, depth: int, is_closed: bool) -> None:
    rooms = [marks.room(depth, lane, is_closed=is_closed) for lane in Lane]
    assert rooms == sorted(rooms, reverse=True)


@pytest.mark.parametrize(
    "text", ["", "5", "5:", ":5", "5:5", "6:5", "-1:5", "1:2:3", "a:b", "1:999999999999", "٣:٤"]
)
def test_marks_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Marks.parse(text)


@given(marks())
def test_marks_survive_being_written(marks: Marks) -> None:
    assert Marks.parse(str(marks)) == marks


def test_every_gate_has_marks_of_its_own() -> None:
    assert set(DEFAULT_MARKS) == set(GateName)


rates = st.floats(0, 1e6, allow_nan=False)


@given(marks(), depths, rates)
def test_the_wait_is_what_lies_above_the_low_mark_over_the_rate_within_bounds(
    marks: Marks, depth: int, rate: float
) -> None:
    wait = retry_after(depth, marks, rate)
    assert SHORTEST_WAIT <= wait <= LONGEST_WAIT
    minutes = wait / timedelta(minutes=1)
    if rate > 0 and SHORTEST_WAIT < wait < LONGEST_WAIT:
        assert depth - minutes * rate == pytest.approx(marks.low, abs=1e-3 * max(1.0, rate))


@given(marks(), depths, st.integers(0, 100), rates, st.floats(0.001, 1e6))
def test_more_waits_longer_and_a_faster_drain_shorter(
    marks: Marks, depth: int, more: int, rate: float, faster: float
) -> None:
    assert retry_after(depth + more, marks, rate) >= retry_after(depth, marks, rate)
    if rate > 0:
        assert retry_after(depth, marks, rate + faster) <= retry_after(depth, marks, rate)


def test_the_wait_where_nothing_drains_is_the_longest_one_or_until_the_quota_has_room() -> None:
    assert retry_after(600, Marks(250, 500), 0.0) == LONGEST_WAIT
    assert retry_after(600, Marks(250, 500), 0.0, timedelta(minutes=20)) == LONGEST_WAIT
    assert retry_after(600, Marks(250, 500), 0.0, timedelta(hours=9)) == timedelta(hours=9)
    assert retry_after(550, Marks(250, 500), 60.0, timedelta(minutes=20)) == timedelta(minutes=20)
    assert retry_after(600, Marks(250, 500), 1e-9) == LONGEST_WAIT
    assert retry_after(550, Marks(250, 500), 60.0) == timedelta(minutes=5)
    assert retry_after(200, Marks(250, 500), 60.0) == SHORTEST_WAIT


@given(st.integers(0, 10**6), st.floats(0, 10**6).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_rate_is_told_of_a_minute_at_least_and_of_the_window_at_most(done: int, span: timedelta) -> None:
    assert done / 5 <= drain_per_minute(done, span) <= done


def test_a_gate_says_what_waits_and_why() -> None:
    gate = Gate(GateName.COVERS, Marks(80_000, 100_000), 120_431, is_closed=True, drain_per_minute=1500.0)
    assert gate.reason == "120,431 covers wait to be fetched, and the high-water mark is 100,000"
    assert gate.retry_after == timedelta(minutes=40_431 / 1500)


@pytest.mark.parametrize(
    ("rate", "standstill", "expected"),
    [
        (0.0, 0, "none was done within the last five minutes, so come back in 60 minutes"),
        (
            9.0,
            0,
            "9.0 a minute are done, which takes about 223 hours at that rate, so come back in 60 minutes",
        ),
        (5000.0, 0, "5,000.0 a minute are done, so come back in 24 minutes"),
        (0.0, 9, "every run that they belong to is paused for 9 hours, so come back in 9 hours"),
    ],
)
def test_who_is_refused_is_told_how_long_it_takes_and_what_makes_room(
    rate: float, standstill: int, expected: str
) -> None:
    gate = Gate(
        GateName.ITEMS,
        Marks(80_000, 100_000),
        200_000,
        is_closed=True,
        drain_per_minute=rate,
        standstill=timedelta(hours=standstill),
        largest=LargestRun("20261123-000001", 150_000),
    )
    room = "; or pause or cancel run 20261123-000001, the largest one with 150,000 open items"
    assert str(Backlogged(gate)).endswith(f"down to 80,000; {expected}{room}")


# Pictures

sizes = st.integers(0, 10**13)
maybe = st.none() | sizes


@given(st.integers(1, 64), maybe, maybe, st.integers(0, 10**12), st.booleans())
def test_pictures_at_once_fit_into_memory_and_never_stop_for_it(
    most: int, memory: int | None, disk: int | None, reserve: int, was_short: bool
) -> None:
    at_once = pictures_at_once(most, memory=memory, disk=disk, reserve=reserve, was_short=was_short)
    assert 0 <= at_once <= most
    assert (at_once == 0) == (disk is not None and is_disk_short(disk, reserve, was_short=was_short))
    if at_once > 1 and memory is not None:
        assert at_once * WORST_PICTURE <= memory


@given(st.lists(sizes, min_size=1), st.integers(1, 10**12))
def test_a_disk_that_was_short_needs_a_quarter_more_than_the_reserve(
    frees: Sequence[int], reserve: int
) -> None:
    short = False
    for free in frees:
        was_short, short = short, is_disk_short(free, reserve, was_short=short)
        assert short or free >= reserve
        if was_short and not short:
            assert free >= 1.25 * reserve


def test_pictures_slow_down_before_they_stop_and_a_reserve_of_nothing_never_stops_them() -> None:
    def at_once(gib: float, *, reserve: int = 2, was_short: bool = False) -> int:
        return pictures_at_once(
            8, memory=None, disk=int(gib * GIB), reserve=reserve * GIB, was_short=was_short
        )

    assert [at_once(each) for each in (5, 4, 3.9, 2, 1.9)] == [8, 8, 1, 1, 0]
    assert [at_once(each, was_short=True) for each in (2, 2.4, 2.5)] == [0, 0, 1]
    assert at_once(0, reserve=0, was_short=True) == 8
