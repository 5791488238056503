"""Clocks: a scaled one is shifted and fast, and the same in every process."""

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from alexandria.clock import ScaledClock

BEGIN = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)


def test_a_scaled_clock_shows_its_own_time_and_goes_on_faster() -> None:
    before = time.monotonic()
    clock = ScaledClock(before - 10, BEGIN, 120)
    now, monotonic, after = clock.now(), clock.monotonic(), time.monotonic()
    spans = [timedelta(seconds=120 * (10 + each - before)) for each in (before, after)]
    assert BEGIN + spans[0] <= now <= BEGIN + spans[1]
    assert spans[0].total_seconds() <= monotonic <= spans[1].total_seconds()


def test_before_its_beginning_a_scaled_clock_shows_an_earlier_time() -> None:
    assert ScaledClock(time.monotonic() + 10, BEGIN, 60).now() < BEGIN - timedelta(minutes=9)


def test_both_of_its_times_go_on_together() -> None:
    clock = ScaledClock(time.monotonic() - 1, BEGIN, 1000)
    first, between, last = clock.monotonic(), clock.now(), clock.monotonic()
    assert first <= (between - BEGIN).total_seconds() <= last


async def test_sleeping_takes_its_seconds_and_none_of_a_negative_span() -> None:
    clock = ScaledClock(time.monotonic(), BEGIN, 1000)
    began, began_real = clock.monotonic(), time.monotonic()
    await clock.sleep(50)
    await clock.sleep(-3600)
    assert clock.monotonic() - began >= 49, "the event loop's clock may be a millisecond coarse"
    assert time.monotonic() - began_real < 5, "fifty real seconds"


async def test_processes_with_the_same_values_agree() -> None:
    started = time.monotonic() - 5
    code = (
        "import sys; from datetime import datetime; from alexandria.clock import ScaledClock;"
        "print(ScaledClock(float(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), 120).now().isoformat())"
    )
    clock = ScaledClock(started, BEGIN, 120)
    before = clock.now()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(started), BEGIN.isoformat(), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert before < datetime.fromisoformat(out.decode().strip()) < clock.now()


@pytest.mark.parametrize("factor", [0, -1, float("nan")])
def test_a_clock_that_does_not_run_forwards_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="forwards"):
        ScaledClock(0, BEGIN, factor)
