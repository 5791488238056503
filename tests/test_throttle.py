"""As many pictures at once as memory and the disk have room for, and never none for want of memory."""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from structlog.testing import capture_logs

from alexandria import meters
from alexandria.domain.backpressure import WORST_PICTURE
from alexandria.throttle import DISK_FRESH_SECONDS, HELD_SECONDS, Throttle
from conftest import SetClock

GIB = 1024**3


@dataclass
class Machine:
    """What it has left, as a test sets it."""

    memory: int | None = None
    disk: int = 100 * GIB
    looks: int = 0

    def read_disk(self, _: Path) -> int:
        self.looks += 1
        return self.disk


def throttle_on(machine: Machine, clock: SetClock, *, folder: Path | None = Path("/covers")) -> Throttle:
    return Throttle(
        clock, 4, folder, 2 * GIB, read_memory=lambda: machine.memory, read_disk=machine.read_disk
    )


async def most_at_once(throttle: Throttle) -> int:
    """How many get a turn while nobody ends."""
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(throttle.turn(lambda: False)) for _ in range(4)]
    assert throttle.in_work == 0
    return held.count(None)


async def test_as_many_turns_as_memory_has_room_for_but_always_one(clock: SetClock) -> None:
    machine = Machine()
    throttle = throttle_on(machine, clock)
    found = []
    for memory in (None, 100 * GIB, 3 * WORST_PICTURE, 2 * WORST_PICTURE - 1, 0):
        machine.memory = memory
        found.append(await most_at_once(throttle))
    assert found == [4, 4, 3, 1, 1]


async def test_a_disk_that_fills_up_slows_pictures_down_then_stops_them_until_there_is_room_again(
    clock: SetClock,
) -> None:
    machine = Machine()
    throttle = throttle_on(machine, clock)
    found = []
    with capture_logs() as logs:
        for gib in (5.0, 3.0, 1.9, 2.4, 2.6, 5.0):
            machine.disk = int(gib * GIB)
            clock.advance(timedelta(seconds=DISK_FRESH_SECONDS))
            found.append(await most_at_once(throttle))
    assert found == [4, 1, 0, 0, 1, 4]
    told = [(each["event"], each["at_once"], each["cause"]) for each in logs]
    assert told == [
        ("pictures.adjusted", 1, "disk"),
        ("pictures.adjusted", 0, "disk"),
        ("pictures.adjusted", 1, "disk"),
        ("pictures.adjusted", 4, None),
    ]


async def test_covers_that_lie_elsewhere_do_not_depend_on_this_disk(clock: SetClock) -> None:
    machine = Machine(disk=0)
    assert await most_at_once(throttle_on(machine, clock, folder=None)) == 4
    assert machine.looks == 0


async def test_the_disk_is_looked_at_now_and_then(clock: SetClock) -> None:
    machine = Machine()
    throttle = throttle_on(machine, clock)
    for _ in range(5):
        await most_at_once(throttle)
    assert machine.looks == 1


async def test_those_who_come_while_somebody_looks_at_a_short_disk_get_no_turn_either(
    clock: SetClock,
) -> None:
    throttle = throttle_on(Machine(disk=0), clock)

    async def try_once() -> str | None:
        async with throttle.turn(lambda: True) as held:
            return held

    assert await asyncio.gather(*(try_once() for _ in range(4))) == ["no room for more pictures: disk"] * 4


async def test_who_waits_has_the_next_turn_and_goes_back_into_the_queue_when_none_comes(
    clock: SetClock,
) -> None:
    throttle = throttle_on(Machine(memory=0), clock)
    before = meters.read()
    began = clock.monotonic()
    async with throttle.turn(lambda: False) as first, throttle.turn(lambda: False) as second:
        assert (first, second) == (None, "no room for more pictures: memory")
    assert HELD_SECONDS <= clock.monotonic() - began < HELD_SECONDS + 1
    key = ("alexandria_pictures_held_total", (("cause", "memory"),))
    assert meters.read()[key] - before.get(key, 0.0) == 1

    ended = asyncio.Event()

    async def work() -> None:
        async with throttle.turn(lambda: False) as held:
            assert held is None
            await ended.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(work())
        await asyncio.sleep(0)
        waiting = tasks.create_task(work())
        await asyncio.sleep(0)
        ended.set()
    assert waiting.done()
    assert throttle.in_work == 0


async def test_a_worker_that_is_told_to_stop_waits_for_no_turn(clock: SetClock) -> None:
    throttle = throttle_on(Machine(disk=0), clock)
    began = clock.monotonic()
    async with throttle.turn(lambda: True) as held:
        assert held == "no room for more pictures: disk"
    assert clock.monotonic() == began


async def test_a_turn_ends_with_a_failure_too(clock: SetClock) -> None:
    throttle = throttle_on(Machine(), clock)
    with suppress(ValueError):
        async with throttle.turn(lambda: False):
            raise ValueError
    assert throttle.in_work == 0


async def test_a_disk_that_can_not_be_looked_at_stops_nothing(clock: SetClock) -> None:
    def refuse(_: Path) -> int:
        raise PermissionError("no")

    throttle = Throttle(clock, 4, Path("/covers"), GIB, read_memory=lambda: None, read_disk=refuse)
    with capture_logs() as logs:
        assert await most_at_once(throttle) == 4
    assert logs[0]["event"] == "pictures.disk_unread"
