"""The schedule at work, over a real database: every slot once, whoever runs, is killed or has a wrong clock."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from alexandria.domain.errors import ConfigurationError, RecordNotFound, StoreUnavailable
from alexandria.domain.quota import Lane
from alexandria.domain.schedule import Cron, Entry, Missed
from alexandria.domain.targets import Target, TargetKind
from alexandria.schedule import Declined, Schedule, Start, Started
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Connection, Database
from alexandria.stores.schedule import FIRINGS_KEPT, Firing, Outcome, ScheduleStore
from conftest import SetClock

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def entry(name: str = "each-minute", cron: str = "* * * * *", missed: Missed = Missed.ONCE) -> Entry:
    return Entry(name, Cron.parse(cron), ZoneInfo("UTC"), "authors", Lane.BULK, missed=missed)


async def start_a_run(connection: Connection, of: Entry, now: datetime) -> Started:
    """A run of one item, which ends at once."""
    run_id = f"{of.name}-{now:%d%H%M%S}"
    harvests = HarvestStore(connection)
    await harvests.add_run(
        run_id,
        kind="authors",
        lane=of.lane,
        parameters={},
        targets=[Target(TargetKind.AUTHOR, "OL1A", "Mary Shelley")],
        fresh_since=now,
        now=now,
    )
    await connection.execute("UPDATE harvest_runs SET state = 'done' WHERE id = %s", [run_id])
    return Started(run_id)


@pytest.fixture
def schedule_of(database: Database, clock: SetClock) -> Callable[..., Schedule]:
    """A schedule as one more process would keep to it."""

    def make(*entries: Entry, start: Start = start_a_run, clock: SetClock = clock) -> Schedule:
        return Schedule(database, entries or [entry()], clock, start)

    return make


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    async with database.connection() as connection:
        yield connection


async def history(database: Database, name: str = "each-minute") -> list[Firing]:
    """What came of an entry's slots, the oldest first."""
    async with database.connection() as connection:
        return list(reversed(await ScheduleStore(connection).list_firings(name, limit=1000)))


async def runs(database: Database) -> int:
    async with database.connection() as connection:
        return len(await HarvestStore(connection).list_runs(limit=1000))


async def test_an_entry_that_is_new_has_no_past(
    schedule_of: Callable[..., Schedule], clock: SetClock
) -> None:
    schedule = schedule_of()
    assert await schedule.fire_due() == []
    clock.advance(MINUTE)
    (fired,) = await schedule.fire_due()
    assert (fired.slot, fired.missed, fired.outcome) == (NOON + MINUTE, 0, Outcome.STARTED)


async def test_a_slot_and_its_run_are_written_down_together(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database
) -> None:
    schedule = schedule_of()
    await schedule.fire_due()
    for _ in range(3):
        clock.advance(timedelta(seconds=60))
        await schedule.fire_due()
        await schedule.fire_due()
    told = await history(database)
    assert [each.slot for each in told] == [NOON + n * MINUTE for n in (1, 2, 3)]
    async with database.connection() as connection:
        for each in told:
            assert each.run_id
            assert await HarvestStore(connection).find_run(each.run_id)
    assert await runs(database) == 3


async def test_eight_schedules_at_the_same_minutes_fire_each_once(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database
) -> None:
    schedules = [schedule_of(entry("a"), entry("b")) for _ in range(8)]
    await asyncio.gather(*(each.fire_due() for each in schedules))
    for _ in range(10):
        clock.advance(MINUTE)
        fired = [
            one for all_ in await asyncio.gather(*(each.fire_due() for each in schedules)) for one in all_
        ]
        assert sorted(each.name for each in fired) == ["a", "b"]
    assert await runs(database) == 20


async def test_who_finds_an_entry_taken_waits_for_nobody_and_looks_again(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database, connection: Connection
) -> None:
    schedule = schedule_of(entry("taken"), entry("free"))
    await schedule.fire_due()
    clock.advance(MINUTE)
    async with asyncio.timeout(10), connection.transaction():
        assert await ScheduleStore(connection).lock_entry("taken", wait=False)
        assert [each.name for each in await schedule.fire_due()] == ["free"]
    # Whoever had it came to nothing.
    assert [each.name for each in await schedule.fire_due()] == ["taken"]


async def test_a_process_that_is_killed_between_claim_and_commit_leaves_the_slot_to_the_next(
    database: Database, database_url: str, schedule_of: Callable[..., Schedule], clock: SetClock
) -> None:
    await schedule_of().fire_due()
    clock.advance(MINUTE)
    program = textwrap.dedent(
        """
        import asyncio, sys
        from alexandria.schedule import Schedule
        from alexandria.stores.postgres import Database
        from conftest import SetClock
        from test_schedule import NOON, MINUTE, entry, start_a_run

        async def start_and_hang(connection, of, now):
            await start_a_run(connection, of, now)
            print("claimed", flush=True)
            await asyncio.sleep(60)

        async def main():
            async with Database.open(sys.argv[1]) as database:
                await Schedule(database, [entry()], SetClock(NOON + MINUTE), start_and_hang).fire_due()

        asyncio.run(main())
        """
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        database_url,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"claimed\n"
    schedule = schedule_of()
    assert await schedule.fire_due() == [], "it is being fired"
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    assert await history(database) == []
    async with asyncio.timeout(10):
        fired: list[Firing] = []
        while not fired:  # the server notices in a moment
            fired = await schedule.fire_due()
    assert [each.slot for each in fired] == [NOON + MINUTE]
    assert await runs(database) == 1
    assert await schedule_of().fire_due() == []


async def test_a_database_that_goes_away_in_the_middle_leaves_the_slot_due(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database
) -> None:
    async def cut(connection: Connection, of: Entry, now: datetime) -> Started:
        await start_a_run(connection, of, now)
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise AssertionError("the connection lives")

    await schedule_of().fire_due()
    clock.advance(MINUTE)
    with pytest.raises(StoreUnavailable):
        await schedule_of(start=cut).fire_due()
    assert (await history(database), await runs(database)) == ([], 0)
    assert len(await schedule_of().fire_due()) == 1


async def test_a_night_without_a_worker_is_fired_once_or_skipped_as_the_policy_says(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database
) -> None:
    often, daily = "*/20 * * * *", "0 3 * * *"
    entries = [
        entry("often-once", often),
        entry("daily-once", daily),
        entry("daily-skip", daily, Missed.SKIP),
        entry("often-skip", often, Missed.SKIP),
    ]
    await schedule_of(*entries).fire_due()
    clock.advance(timedelta(hours=19, minutes=5))
    fired = {each.name: each for each in await schedule_of(*entries).fire_due()}
    seven = datetime(2026, 11, 24, 7, tzinfo=UTC)
    three = seven - 4 * HOUR
    assert {name: (each.slot, each.missed, each.outcome) for name, each in fired.items()} == {
        "often-once": (seven, 56, "started"),
        "daily-once": (three, 0, "started"),
        "daily-skip": (three, 0, "skipped"),
        # Its last slot is five minutes old, which is no miss.
        "often-skip": (seven, 56, "started"),
    }
    assert "the policy is to skip" in fired["daily-skip"].remark
    assert await schedule_of(*entries).fire_due() == []
    clock.advance(timedelta(hours=20))
    again = {each.name: each.outcome for each in await schedule_of(*entries).fire_due()}
    assert again["daily-skip"] == "started", "it came at 3:05"


async def test_a_clock_that_is_set_back_fires_no_slot_twice(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database
) -> None:
    schedule = schedule_of()
    for step in (0, 60, 60, -90, 30, 60, -3600, 60, 60, 3600):
        clock.set(clock.now() + timedelta(seconds=step))
        await schedule.fire_due()
        await schedule_of().fire_due()
    fired = [each.slot for each in await history(database)]
    assert fired == sorted({each for each in fired if each})
    assert fired[:2] == [NOON + MINUTE, NOON + 2 * MINUTE]
    assert await runs(database) == len(fired)


async def test_a_clock_that_was_years_ahead_does_not_stop_the_schedule(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database
) -> None:
    schedule = schedule_of()
    await schedule.fire_due()
    wrong = SetClock(NOON + timedelta(days=900))
    assert len(await schedule_of(clock=wrong).fire_due()) == 1
    clock.advance(MINUTE)
    assert await schedule.fire_due() == []
    clock.advance(MINUTE)
    (fired,) = await schedule.fire_due()
    assert fired.slot == NOON + 2 * MINUTE


async def test_a_process_whose_own_clock_is_set_right_again_goes_on_at_once(
    schedule_of: Callable[..., Schedule], clock: SetClock
) -> None:
    schedule = schedule_of()
    await schedule.fire_due()
    clock.set(NOON + timedelta(days=900))
    assert len(await schedule.fire_due()) == 1
    clock.set(NOON + MINUTE)
    assert await schedule.fire_due() == []
    clock.advance(MINUTE)
    assert [each.slot for each in await schedule.fire_due()] == [NOON + 2 * MINUTE]


async def test_two_clocks_that_disagree_by_days_fire_no_slot_twice(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database
) -> None:
    starts: list[datetime] = []

    async def count(connection: Connection, of: Entry, now: datetime) -> Started:
        starts.append(now)
        return Started(remark="done")

    wrong = SetClock(NOON + timedelta(days=9))
    await schedule_of(start=count).fire_due()
    for _ in range(3):
        await schedule_of(start=count, clock=wrong).fire_due()
        await schedule_of(start=count).fire_due()
    assert starts == [wrong.now()]
    assert [each.slot for each in await history(database)] == [wrong.now()]


async def test_a_paused_entry_lets_its_slots_pass_and_none_of_them_comes_later(
    schedule_of: Callable[..., Schedule], clock: SetClock, connection: Connection
) -> None:
    schedule, elsewhere = schedule_of(), schedule_of()
    await schedule.fire_due()
    line = await elsewhere.pause(connection, "each-minute")
    assert (line.state, line.paused_at) == ("paused", NOON)
    clock.advance(10 * MINUTE)
    assert await schedule.fire_due() == []
    assert (await elsewhere.resume(connection, "each-minute")).state == "on"
    assert await schedule.fire_due() == []
    clock.advance(MINUTE)
    (fired,) = await schedule.fire_due()
    assert (fired.slot, fired.missed) == (NOON + 11 * MINUTE, 0)


async def test_an_entry_may_be_paused_before_any_worker_ran(
    schedule_of: Callable[..., Schedule], clock: SetClock, connection: Connection
) -> None:
    await schedule_of().pause(connection, "each-minute")
    clock.advance(MINUTE)
    assert await schedule_of().fire_due() == []
    with pytest.raises(RecordNotFound, match="no entry is named nothing"):
        await schedule_of().pause(connection, "nothing")


async def test_an_entry_whose_run_is_open_starts_no_second_one(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database, connection: Connection
) -> None:
    schedule = schedule_of()
    await schedule.fire_due()
    clock.advance(MINUTE)
    (first,) = await schedule.fire_due()
    for state in ("running", "paused"):
        await connection.execute("UPDATE harvest_runs SET state = %s", [state])
        clock.advance(MINUTE)
        (skipped,) = await schedule.fire_due()
        assert skipped.outcome is Outcome.SKIPPED
        assert f"its run {first.run_id} is still open ({state})" in skipped.remark
    assert (await schedule.run_now(connection, "each-minute")).outcome is Outcome.SKIPPED
    await connection.execute("UPDATE harvest_runs SET state = 'done'")
    clock.advance(MINUTE)
    assert [each.outcome for each in await schedule.fire_due()] == [Outcome.STARTED]
    assert await runs(database) == 2


async def test_a_harvester_that_can_not_be_started_keeps_neither_its_slot_nor_the_others(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database
) -> None:
    async def start(connection: Connection, of: Entry, now: datetime) -> Started | Declined:
        if of.name == "idle":
            return Declined("nothing to ask for")
        await start_a_run(connection, of, now)
        if of.name == "wrong":
            raise ConfigurationError("ALEXANDRIA_SAFE_LIMIT: is wrong")
        if of.name == "broken":
            await connection.execute("SELECT 1 / 0")
        return Started(remark="done")

    schedule = schedule_of(*map(entry, ("wrong", "broken", "idle", "well")), start=start)
    await schedule.fire_due()
    clock.advance(MINUTE)
    told = {each.name: each for each in await schedule.fire_due()}
    assert {name: each.outcome for name, each in told.items()} == {
        "wrong": "failed",
        "broken": "failed",
        "idle": "skipped",
        "well": "done",
    }
    assert told["wrong"].remark == "ALEXANDRIA_SAFE_LIMIT: is wrong"
    assert told["broken"].remark == "a defect of ours: DivisionByZero: division by zero"
    assert await runs(database) == 1, "what the failed ones wrote is undone"
    clock.advance(MINUTE)
    assert len(await schedule.fire_due()) == 4


async def test_by_hand_an_entry_runs_besides_its_slots_even_when_it_is_off(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database, connection: Connection
) -> None:
    off = Entry("off", Cron.parse("0 0 * * *"), UTC, "authors", Lane.BULK, enabled=False)
    schedule = schedule_of(off)
    assert schedule.is_empty
    async with connection.transaction():
        fired = await schedule.run_now(connection, "off")
    assert (fired.slot, fired.outcome) == (None, Outcome.STARTED)
    assert await history(database, "off") == [fired]
    clock.advance(timedelta(days=2))
    assert await schedule.fire_due() == []
    (line,) = await schedule.list_lines(connection)
    assert (line.state, line.last, line.next_slot) == ("off", fired, datetime(2026, 11, 26, tzinfo=UTC))


async def test_old_firings_are_forgotten_but_for_those_that_started_a_run(
    schedule_of: Callable[..., Schedule], clock: SetClock, database: Database
) -> None:
    async def alternate(connection: Connection, of: Entry, now: datetime) -> Started:
        return await start_a_run(connection, of, now) if now.minute == 1 else Started(remark="done")

    schedule = schedule_of(start=alternate)
    await schedule.fire_due()
    for span in (MINUTE, MINUTE, FIRINGS_KEPT + HOUR):
        clock.advance(span)
        await schedule.fire_due()
    assert [each.outcome for each in await history(database)] == ["started", "done"]
    assert [each.slot for each in await history(database)] == [NOON + MINUTE, clock.now().replace(second=0)]


async def test_between_slots_the_database_is_left_alone(
    schedule_of: Callable[..., Schedule], clock: SetClock, database_url: str, database: Database
) -> None:
    schedule = schedule_of()
    await schedule.fire_due()
    async with Database.open(database_url) as own:
        pass
    # Its pool is closed: whoever asked it would fail.
    schedule.database = own
    clock.advance(timedelta(seconds=59))
    assert await schedule.fire_due() == []
    clock.advance(timedelta(seconds=1))
    with pytest.raises(StoreUnavailable):
        await schedule.fire_due()
