"""Queues and backlogs stay between their marks, whoever fills them; nobody adds to what is too long."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from itertools import count

import pytest
from structlog.testing import capture_logs

from alexandria.backpressure import admit, measure, put_first, refuse_when_closed
from alexandria.covers import cover_jobs, hasten_covers
from alexandria.domain.backpressure import DEFAULT_MARKS, Backlogged, GateName, Marks
from alexandria.domain.covers import CoverWish
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Lane
from alexandria.domain.targets import Target, TargetKind
from alexandria.jobs.queue import RUN_SHARE, feed_covers, feed_run
from alexandria.stores.covers import CoverStore
from alexandria.stores.gates import MEASURED_EVERY, GateStore
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Connection, Database
from conftest import SetClock, someone_waits
from harvesting import many_isbns

MARKS = Marks(10, 20)
ALL_MARKS: Mapping[GateName, Marks] = {**DEFAULT_MARKS, GateName.ITEMS: MARKS, GateName.COVERS: MARKS}


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    async with database.connection() as connection:
        yield connection


async def want_covers(connection: Connection, isbns: Sequence[Isbn], now: datetime) -> None:
    wishes = [CoverWish(isbn, f"https://covers.example.org/{isbn}.jpg", now) for isbn in isbns]
    await CoverStore(connection).want(wishes)


async def start_run(
    connection: Connection, run_id: str, now: datetime, *, items: int = 100, lane: Lane = Lane.BULK
) -> None:
    await HarvestStore(connection).add_run(
        run_id,
        kind="tiers",
        lane=lane,
        parameters={},
        targets=[Target(TargetKind.AUTHOR, f"OL{n}A", f"{run_id} {n}") for n in range(items)],
        fresh_since=now,
        now=now,
    )


async def feed(database: Database, now: datetime, marks: Marks = MARKS) -> int:
    async with database.transaction() as connection:
        return await feed_covers(connection, now=now, marks=marks)


async def finish(connection: Connection, jobs: int) -> None:
    """As if workers had fetched so many covers."""
    await connection.execute(
        "WITH done AS (DELETE FROM pgqueuer WHERE id IN (SELECT id FROM pgqueuer ORDER BY priority DESC, id LIMIT %s)"
        " RETURNING id, right(dedupe_key, 13) AS isbn, entrypoint, priority),"
        " noted AS (INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)"
        "           SELECT id, 'successful', entrypoint, priority FROM done)"
        " UPDATE covers_wanted SET state = 'missing', due_at = NULL, reason = 'none' FROM done WHERE isbn13 = isbn",
        [jobs],
    )


async def waiting(connection: Connection) -> int:
    row = await (await connection.execute("SELECT count(*) FROM pgqueuer WHERE status = 'queued'")).fetchone()
    assert row
    return int(row[0])


# Queues


async def test_a_queue_is_filled_to_its_high_mark_and_again_when_it_is_down_to_its_low_one(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    await want_covers(connection, many_isbns(100), clock.now())
    with capture_logs() as logs:
        assert await feed(database, clock.now()) == 20
        assert await feed(database, clock.now()) == 0
        await finish(connection, 9)
        assert (await feed(database, clock.now()), await waiting(connection)) == (0, 11)
        await finish(connection, 1)
        assert (await feed(database, clock.now()), await waiting(connection)) == (10, 20)
    told = [(each["event"], each["gate"], each["depth"]) for each in logs]
    # It opened and was full again within one turn: nobody had to wait, so nothing is told.
    assert told == [("producer.paused", "fetch_cover", 20)]
    assert logs[0]["reason"] == "20 jobs of covers wait in the queue, and the high-water mark is 20"


async def test_an_open_queue_takes_what_becomes_due_and_a_feeder_that_resumes_says_so(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    wanted = many_isbns(30)
    await want_covers(connection, wanted[:22], clock.now())
    assert await feed(database, clock.now()) == 20
    await finish(connection, 12)
    with capture_logs() as logs:
        assert await feed(database, clock.now()) == 2
    assert [(each["event"], each["depth"]) for each in logs] == [("producer.resumed", 10)]
    await want_covers(connection, wanted[22:], clock.now())
    assert (await feed(database, clock.now()), await waiting(connection)) == (8, 18)


async def test_of_feeders_that_wake_at_once_one_fills_the_queue(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    await want_covers(connection, many_isbns(100), clock.now())
    async with database.transaction() as first, database.transaction() as second:
        assert await feed_covers(first, now=clock.now(), marks=MARKS) == 20
        assert await feed_covers(second, now=clock.now(), marks=MARKS) == 0
    made = await asyncio.gather(*(feed(database, clock.now(), Marks(30, 60)) for _ in range(5)))
    assert (sum(made), await waiting(connection)) == (40, 60)


async def test_a_gate_that_a_killed_process_left_closed_opens_by_itself(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    await connection.execute("UPDATE gates SET is_closed = true WHERE name = 'fetch_cover'")
    await want_covers(connection, many_isbns(3), clock.now())
    assert await feed(database, clock.now()) == 3


async def test_many_runs_share_a_queue_that_lets_in_who_comes_before_the_bulk(
    connection: Connection, clock: SetClock
) -> None:
    marks, made = Marks(20, 40), dict[str, int]()
    for n in range(10):
        await start_run(connection, f"bulk{n}", clock.now())
    for run_id, lane in (("clock", Lane.SCHEDULED), ("person", Lane.INTERACTIVE)):
        await start_run(connection, run_id, clock.now(), lane=lane)
    for run_id in [*(f"bulk{n}" for n in range(10)), "bulk0", "clock", "person", "person", "bulk1"]:
        made[run_id] = made.get(run_id, 0) + await feed_run(
            connection, run_id, now=clock.now(), marks=marks, runs=8
        )
    assert made == {f"bulk{n}": 5 if n < 8 else 0 for n in range(10)} | {"clock": 5, "person": 5}
    assert await waiting(connection) == marks.most() == 50


async def test_no_run_fills_the_queue_alone_but_one_that_is_followed_is_never_kept_out(
    connection: Connection, clock: SetClock
) -> None:
    marks = Marks(10, 50)
    for run_id in ("first", "second", "followed"):
        await start_run(connection, run_id, clock.now())
    assert await feed_run(connection, "first", now=clock.now(), marks=marks) == RUN_SHARE
    assert await feed_run(connection, "second", now=clock.now(), marks=marks) == 10
    assert await feed_run(connection, "followed", now=clock.now(), marks=marks) == 0
    assert await feed_run(connection, "followed", now=clock.now(), marks=marks, is_followed=True) == RUN_SHARE


async def test_covers_that_somebody_waits_for_come_first_and_stay_within_a_quarter(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    wanted = many_isbns(60)
    await want_covers(connection, wanted, clock.now())
    await feed(database, clock.now())
    hastened = [*wanted[50:], wanted[19]]  # ten that are not in the queue yet, and the last one in it
    async with connection.transaction():
        known = await hasten_covers(
            connection, hastened, marks={**ALL_MARKS, GateName.FETCH_COVER: MARKS}, now=clock.now()
        )
    assert known.queued == set(hastened)
    rows = await (
        await connection.execute("SELECT right(dedupe_key, 13) FROM pgqueuer ORDER BY priority DESC, id")
    ).fetchall()
    order = [row[0] for row in rows]
    assert len(order) == 25
    assert set(order[:6]) == {str(each) for each in [*wanted[50:55], wanted[19]]}
    # The rest of them is what the feeder takes next.
    await finish(connection, 15)
    await feed(database, clock.now())
    async with connection.transaction():
        due = await CoverStore(connection).list_due(5, clock.now())
    assert set(due) == set(wanted[55:])


async def test_wishes_and_harvests_lock_covers_in_one_order(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    low, high = sorted(many_isbns(2))
    await want_covers(connection, [high], clock.now())
    await want_covers(connection, [low], clock.now())  # last, so that it is come upon last
    later = clock.now() + timedelta(hours=1)

    async def hasten() -> int:
        async with database.transaction() as other:
            return len((await hasten_covers(other, [high, low], now=later)).queued)

    async with asyncio.timeout(20):
        async with database.transaction() as harvest:
            store = CoverStore(harvest)
            await store.want([CoverWish(low, "https://covers.example.org/new.jpg", later)])
            hastened = asyncio.create_task(hasten())
            await someone_waits(database)
            await store.want([CoverWish(high, "https://covers.example.org/new.jpg", later)])
        assert await hastened == 2


async def test_nobody_waits_for_a_wish_that_makes_no_job(connection: Connection, clock: SetClock) -> None:
    async with connection.transaction():
        assert (
            await put_first(connection, GateName.FETCH_COVER, cover_jobs([], {}), marks=MARKS, priority=1)
            == 0
        )


# Backlogs


async def test_a_backlog_is_counted_every_ten_seconds_and_keeps_its_gate_closed_down_to_the_low_mark(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    async def is_refused() -> bool:
        try:
            await refuse_when_closed(database, GateName.COVERS, ALL_MARKS, now=clock.now())
        except Backlogged:
            return True
        return False

    assert not await is_refused()
    await want_covers(connection, many_isbns(25), clock.now())
    assert not await is_refused()  # as it was counted a moment ago
    seen = []
    for done in (0, 14, 1):
        await feed(database, clock.now(), Marks(0, 25))
        await finish(connection, done)
        clock.advance(MEASURED_EVERY + timedelta(seconds=1))
        seen.append(await is_refused())
    assert seen == [True, True, False]


async def test_items_wait_as_long_as_their_run_goes_on_by_itself(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    for run_id, items in (("running", 7), ("cancelled", 11), ("quota", 3)):
        await start_run(connection, run_id, clock.now(), items=items)
    for cause in ("person", "ceiling", "failing", "refused"):
        await start_run(connection, cause, clock.now(), items=40)
        await connection.execute(
            "UPDATE harvest_runs SET state = 'paused', pause_cause = %(cause)s WHERE id = %(cause)s",
            {"cause": cause},
        )
    for run_id, kind in (("held", "gaps"), ("off", "people")):
        await start_run(connection, run_id, clock.now(), items=40)
        await connection.execute("UPDATE harvest_runs SET kind = %s WHERE id = %s", [kind, run_id])
    await connection.execute(
        "UPDATE harvesters SET paused_at = now(), pause_reason = 'later' WHERE name = 'gaps'"
    )
    await connection.execute("UPDATE harvesters SET is_enabled = false WHERE name = 'people'")
    await connection.execute("UPDATE harvest_runs SET state = 'cancelled' WHERE id = 'cancelled'")
    await connection.execute(
        "UPDATE harvest_runs SET state = 'paused', pause_cause = 'quota', resumes_at = now() WHERE id = 'quota'"
    )
    await connection.execute(
        "UPDATE harvest_items SET state = 'done' WHERE run_id = 'running' AND position = 1"
    )
    await measure(database, ALL_MARKS, now=clock.now())
    gates = await GateStore(connection).list_all(ALL_MARKS)
    assert (gates[GateName.ITEMS].depth, gates[GateName.ITEMS].is_closed) == (9, False)


async def refused(database: Database, clock: SetClock) -> Backlogged:
    with pytest.raises(Backlogged) as caught:
        await refuse_when_closed(database, GateName.ITEMS, ALL_MARKS, now=clock.now())
    return caught.value


async def test_who_is_refused_while_nothing_drains_is_not_told_to_come_back_soon_again_and_again(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    await start_run(connection, "large", clock.now(), items=40)
    await start_run(connection, "small", clock.now(), items=3)
    for _ in range(3):
        problem = await refused(database, clock)
        assert problem.gate.retry_after == timedelta(hours=1)
        assert "run large, the largest one with 40 open items" in str(problem)
        clock.advance(timedelta(minutes=6))
    # Both wait for the quota: nothing is done before the first of them goes on.
    resets_at = clock.now() + timedelta(hours=9)
    await connection.execute(
        "UPDATE harvest_runs SET state = 'paused', pause_cause = 'quota',"
        " resumes_at = CASE id WHEN 'small' THEN %(at)s::timestamptz ELSE %(at)s::timestamptz + interval '1 hour' END",
        {"at": resets_at},
    )
    assert (await refused(database, clock)).gate.retry_after == timedelta(hours=9)
    # Who pauses what is named makes room.
    await connection.execute(
        "UPDATE harvest_runs SET pause_cause = 'person', resumes_at = NULL WHERE id = 'large'"
    )
    clock.advance(MEASURED_EVERY + timedelta(seconds=1))
    await refuse_when_closed(database, GateName.ITEMS, ALL_MARKS, now=clock.now())


async def test_what_comes_before_the_bulk_passes_a_closed_gate_by_a_share_however_much_bulk_waits(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    marks = {**ALL_MARKS, GateName.ITEMS: Marks(20, 40)}
    await start_run(connection, "bulk", clock.now(), items=200)
    await measure(database, marks, now=clock.now())

    async def add(lane: Lane, items: int = 2) -> bool:
        try:
            async with database.transaction() as other:
                await admit(other, GateName.ITEMS, items, marks, lane=lane, now=clock.now())
                await start_run(other, f"{lane} {next(numbers)}", clock.now(), items=items, lane=lane)
        except Backlogged:
            return False
        return True

    numbers = count()
    assert not await add(Lane.BULK)
    with capture_logs() as logs:
        # An eighth of 40 is 5, a quarter 10; the wish that reaches it is taken whole.
        assert [await add(Lane.SCHEDULED) for _ in range(4)] == [True, True, True, False]
        assert [await add(Lane.INTERACTIVE) for _ in range(3)] == [True, True, False]
    assert logs == [], "it was closed before"
    gate = (await GateStore(connection).list_all(marks))[GateName.ITEMS]
    assert (gate.depth, gate.is_closed) == (210, True)


async def test_of_many_who_come_before_the_bulk_at_once_no_more_pass_than_fill_their_share(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    await start_run(connection, "bulk", clock.now(), items=40)
    await measure(database, ALL_MARKS, now=clock.now())

    async def add(number: int) -> bool:
        try:
            async with database.transaction() as other:
                await admit(other, GateName.ITEMS, 2, ALL_MARKS, lane=Lane.INTERACTIVE, now=clock.now())
                await start_run(other, str(number), clock.now(), items=2, lane=Lane.INTERACTIVE)
        except Backlogged:
            return False
        return True

    assert sum(await asyncio.gather(*(add(n) for n in range(8)))) == 3


async def test_the_wait_follows_from_what_was_done_in_the_last_minutes(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    await want_covers(connection, many_isbns(50), clock.now())
    await feed(database, clock.now(), Marks(0, 30))
    await finish(connection, 8)
    await connection.execute("UPDATE pgqueuer_log SET created = now() - interval '2 minutes'")
    with pytest.raises(Backlogged) as refused:
        await refuse_when_closed(database, GateName.COVERS, ALL_MARKS, now=clock.now())
    gate = refused.value.gate
    assert (gate.depth, gate.is_closed) == (42, True)
    assert gate.drain_per_minute == pytest.approx(4.0, rel=0.05)
    assert gate.retry_after / timedelta(minutes=8) == pytest.approx(1, rel=0.05)
    assert str(refused.value).startswith(
        "42 covers wait to be fetched, and the high-water mark is 20: more is taken when they are down to 10; 4.0 a minute"
    )


async def test_of_many_who_add_at_once_no_more_pass_than_fill_the_backlog(
    database: Database, clock: SetClock
) -> None:
    async def add() -> bool:
        try:
            async with database.transaction() as connection:
                await admit(connection, GateName.ITEMS, 3, ALL_MARKS, lane=Lane.BULK, now=clock.now())
        except Backlogged:
            return False
        return True

    passed = await asyncio.gather(*(add() for _ in range(15)))
    # An open gate takes a wish whole: six are 18, the seventh makes 21.
    assert sum(passed) == 7
    # What was never written down waits for nobody: the next count says so.
    await measure(database, ALL_MARKS, now=clock.now())
    assert await add()


async def test_a_wish_adds_nothing_that_is_wanted_anyway_and_what_is_refused_changes_nothing(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    known = many_isbns(40)
    await want_covers(connection, known[:30], clock.now())
    await connection.execute(
        "UPDATE covers_wanted SET state = 'failed', attempts = 10, due_at = NULL WHERE isbn13 = %s",
        [str(known[0])],
    )
    await measure(database, ALL_MARKS, now=clock.now())

    async def hasten(*isbns: Isbn) -> int:
        async with database.transaction() as other:
            return len((await hasten_covers(other, isbns, marks=ALL_MARKS, now=clock.now())).queued)

    # Somebody waits for these: a quarter of the high mark may, whatever else waits.
    assert await hasten(*known[5:9]) == 4
    with pytest.raises(Backlogged):
        await hasten(known[0])
    assert await hasten(known[9]) == 1
    row = await (
        await connection.execute("SELECT state FROM covers_wanted WHERE isbn13 = %s", [str(known[0])])
    ).fetchone()
    assert row == ("failed",)


async def test_processes_whose_marks_differ_disagree_about_when_to_close_and_lose_nothing(
    database: Database, connection: Connection, clock: SetClock
) -> None:
    await want_covers(connection, many_isbns(100), clock.now())
    async with AsyncExitStack() as stack:
        stack.enter_context(capture_logs())
        fed = [
            await feed(database, clock.now(), marks) for marks in (MARKS, Marks(30, 60), MARKS, Marks(30, 60))
        ]
    assert fed == [20, 40, 0, 0]
    while await waiting(connection):
        await finish(connection, 7)
        await feed(database, clock.now())
        await feed(database, clock.now(), Marks(30, 60))
    async with connection.transaction():
        assert await CoverStore(connection).list_due(1, clock.now()) == []
