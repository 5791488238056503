"""100,000 covers are driven in, over HTTP and by harvests, while a worker fetches them: queue, memory and latency stay bounded.

Latency is counted in work, not in seconds: how many rows a turn of the feeder looks at, how many jobs come before a person's.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alexandria import config
from alexandria.app import App, running_app
from alexandria.clock import ScaledClock, SystemClock
from alexandria.domain.covers import CoverWish
from alexandria.domain.isbn import Isbn
from alexandria.jobs.worker import MOST_COVERS_AT_ONCE, Worker, work_until
from alexandria.sandbox.server import PREMIUM, running_sandbox
from alexandria.sandbox.world import World
from alexandria.server import serving
from alexandria.stores.covers import CoverStore
from alexandria.stores.covers import queries as cover_queries
from alexandria.stores.gates import queries as gate_queries
from alexandria.stores.jobs import queries as job_queries
from alexandria.stores.postgres import Connection, Database
from end_to_end.processes import ran
from harvesting import many_isbns

COVERS = 100_000
LOW, HIGH = 50, 100
"""Of the queue, small so that it is full and empty again many times within the test."""
FETCHED = 300
PATIENCE_SECONDS = 80
"""For a worker whose end does not come: the limit of a whole test would be taken for the failure of a job."""
MOST_GROWTH = 150 * 1024 * 1024
"""Bytes: the pictures in work and libraries' own caches. A hundred thousand jobs or rows held in memory would show."""


class LaterClock(SystemClock):
    """This machine's, which a test may put forward."""

    ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(frozen=True)
class Site:
    """A server, an application beside it over the same database, and where pictures come from."""

    app: App
    clock: LaterClock
    covers_url: str
    address: str
    session: aiohttp.ClientSession

    async def wish(self, isbns: Sequence[Isbn]) -> tuple[int, Mapping[str, str], Any]:
        """Wish for covers over HTTP."""
        body = {"books": [{"isbn": str(each)} for each in isbns]}
        async with self.session.post(f"{self.address}/api/covers/queue", json=body) as answer:
            return answer.status, answer.headers, await answer.json(content_type=None)

    async def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a statement."""
        async with self.app.database.connection() as connection:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []


@pytest.fixture
async def site(environment_for: Any) -> AsyncIterator[Site]:
    clock = LaterClock()
    async with AsyncExitStack() as stack:
        world = World.invent(seed=1, authors=1)
        sandbox = await stack.enter_async_context(running_sandbox(world, keys={"sandbox-key": PREMIUM}))
        settings = config.load(
            environment_for(
                sandbox,
                port=free_port(),
                alerts_off="all",
                cover_queue_marks=f"{LOW}:{HIGH}",
                cover_backlog_marks="900:1000",
            )
        )
        assert settings.database_url
        server = await stack.enter_async_context(
            serving(settings, settings.database_url, with_worker=False, clock=clock)
        )
        app = await stack.enter_async_context(running_app(settings, settings.database_url, clock=clock))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Site(app, clock, sandbox.covers_url, server.address, session)


async def plan_of(connection: Connection, statement: str, values: Mapping[str, object]) -> dict[str, Any]:
    row = await (
        await connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode(), values)
    ).fetchone()
    assert row
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(each for child in plan.get("Plans", []) for each in nodes(child))]


def resident_bytes() -> int:
    """What this process holds in memory; 0 where that can't be read."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def drive_in(site: Site, isbns: Sequence[Isbn]) -> None:
    """As harvests do, whose pages are paid for: nobody refuses them."""
    for start in range(0, len(isbns), 10_000):
        async with site.app.database.transaction() as connection:
            await CoverStore(connection).want(
                [
                    CoverWish(isbn, f"{site.covers_url}/covers/tiny/{isbn}.jpg", site.clock.now())
                    for isbn in isbns[start : start + 10_000]
                ]
            )
    await site.ask("ANALYZE covers_wanted")


async def drive_in_over_http(site: Site, isbns: Sequence[Isbn]) -> tuple[int, int, Any]:
    """Wish for a hundred at a time until that is refused: how many were taken, the wait, the problem document."""
    await drive_in(site, isbns)
    await site.ask("UPDATE covers_wanted SET state = 'missing', due_at = now() + interval '9 days'")
    for start in range(0, len(isbns), 100):
        status, headers, answer = await site.wish(isbns[start : start + 100])
        if status != 200:
            assert status == 429
            return start, int(headers["Retry-After"]), answer
    raise AssertionError("nothing was refused")


WATCH = """
CREATE TABLE seen (waiting int, urgent int);
CREATE FUNCTION note_depth() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO seen SELECT count(*), count(*) FILTER (WHERE priority > 0) FROM pgqueuer WHERE status = 'queued';
    RETURN NULL;
END $$;
CREATE TABLE made (id bigint, key text);
CREATE FUNCTION note_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO made VALUES (NEW.id, NEW.dedupe_key);
    RETURN NULL;
END $$;
CREATE TRIGGER note_job AFTER INSERT ON pgqueuer FOR EACH ROW EXECUTE FUNCTION note_job();
CREATE TRIGGER note_depth AFTER INSERT ON pgqueuer FOR EACH STATEMENT EXECUTE FUNCTION note_depth();
"""
"""Whoever puts jobs into the queue: how many wait right after it, and which job is whose."""


async def test_a_hundred_thousand_covers_leave_queue_memory_and_latency_bounded(site: Site) -> None:
    isbns = many_isbns(COVERS)
    taken, wait, problem = await drive_in_over_http(site, isbns[:1500])
    assert taken == 1000
    assert (wait, problem["queue"]["depth"], problem["queue"]["high_water"]) == (3600, 1000, 1000)

    await drive_in(site, isbns[1500:])
    site.clock.ahead += timedelta(seconds=30)
    status, _, problem = await site.wish(isbns[1200:1201])
    assert (status, problem["queue"]["depth"]) == (429, COVERS - 500)

    await _check_the_work_of_a_turn(site, isbns)
    for statement in WATCH.strip().split(";\nCREATE "):
        await site.ask(statement if statement.startswith("CREATE") else f"CREATE {statement}")

    # A person's wish in the midst of it, for what would come last.
    last, wished = isbns[-1], list[Any]()

    async def is_done() -> bool:
        [(stored,)] = await site.ask("SELECT count(*) FROM covers_wanted WHERE state = 'stored'")
        [(waiting,)] = await site.ask("SELECT count(*) FROM pgqueuer WHERE status = 'queued'")
        if stored >= FETCHED / 2 and waiting >= LOW and not wished:
            wished.append(await site.wish([last]))
        return bool(wished and stored >= FETCHED)

    async with site.app.database.connection() as connection:
        first = (await CoverStore(connection).list_due(1, site.clock.now()))[0]
    await site.wish([first])
    worker = Worker(site.app, runs=frozenset())
    before = resident_bytes()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await work_until(worker, is_done)
    assert resident_bytes() - before < MOST_GROWTH

    assert wished[0][0] == 200
    [(most, ordinary, looks)] = await site.ask(
        "SELECT max(waiting), max(waiting - urgent), count(*) FROM seen"
    )
    assert looks > 3, "it was topped up again and again"
    assert ordinary <= HIGH
    assert most <= HIGH + 2, "the two that somebody waited for"
    [(came_before,)] = await site.ask(
        """
        WITH its AS (SELECT made.id AS job_id, min(log.id) FILTER (WHERE status = 'queued') AS queued,
                            min(log.id) FILTER (WHERE status = 'picked') AS picked
                       FROM made JOIN pgqueuer_log AS log ON log.job_id = made.id
                      WHERE key = %s GROUP BY made.id)
        SELECT count(*) FROM pgqueuer_log AS log JOIN its ON log.job_id <> its.job_id
         WHERE status = 'picked' AND log.id BETWEEN its.queued AND its.picked
        """,
        f"fetch_cover:{last}",
    )
    assert came_before <= MOST_COVERS_AT_ONCE, (
        "those that were being taken at that moment, of a hundred that waited"
    )
    [(state,)] = await site.ask("SELECT state FROM covers_wanted WHERE isbn13 = %s", str(last))
    assert state == "stored"

    # What was done shows in the wait that the next one is told.
    site.clock.ahead += timedelta(seconds=30)
    status, headers, problem = await site.wish(isbns[1200:1201])
    assert (status, problem["queue"]["depth"]) == (429, COVERS - 500 - await _done(site))
    rate = problem["queue"]["drain_per_minute"]
    assert rate > 0
    assert int(headers["Retry-After"]) == pytest.approx(
        min(3600, 60 * (problem["queue"]["depth"] - 900) / rate), abs=2
    )


async def _done(site: Site) -> int:
    [(done,)] = await site.ask("SELECT count(*) FROM covers_wanted WHERE state = 'stored'")
    return int(done)


async def _check_the_work_of_a_turn(site: Site, isbns: Sequence[Isbn]) -> None:
    """A turn of the feeder and a wish look at what they hand out, by indexes, and never through the hundred thousand."""
    now, some = site.clock.now(), [str(each) for each in isbns[5000:5100]]
    async with site.app.database.connection() as connection, connection.transaction(force_rollback=True):
        for statement, values, most in (
            (cover_queries.list_due_covers, {"limit": 2 * HIGH, "now": now}, 2 * HIGH),
            (cover_queries.list_due_of, {"isbns": some, "now": now}, 100),
            (cover_queries.hasten_covers, {"isbns": some, "now": now, "origin": None}, 100),
            (cover_queries.find_cover, {"isbn": some[0]}, 1),
            (gate_queries.claim_gate, {"name": "fetch_cover"}, 4),
            (job_queries.list_open_jobs, {"kind": "fetch_cover"}, 2 * HIGH),
        ):
            plan = nodes(await plan_of(connection, statement, values))
            scans = [each["Node Type"] for each in plan if each.get("Relation Name") == "covers_wanted"]
            assert "Seq Scan" not in scans, statement
            looked_at = [
                each["Actual Rows"] * each["Actual Loops"] + each.get("Rows Removed by Filter", 0)
                for each in plan
            ]
            assert max(looked_at) <= most, (statement, looked_at)


async def test_a_worker_whose_disk_is_short_leaves_covers_to_others_and_spends_no_attempt(
    environment_for: Any,
) -> None:
    world = World.invent(seed=1, authors=1)
    # The ten seconds for which a job waits for its turn pass in a tenth of one.
    clock = ScaledClock(time.monotonic(), datetime(2026, 11, 23, 12, tzinfo=UTC), 100)
    async with running_sandbox(world) as sandbox:
        settings = config.load(environment_for(sandbox, cover_disk_gib=1_000_000))
        assert settings.database_url
        async with running_app(settings, settings.database_url, clock=clock) as app:
            async with app.database.transaction() as connection:
                await CoverStore(connection).want(
                    [
                        CoverWish(isbn, f"{sandbox.covers_url}/covers/tiny/{isbn}.jpg", clock.now())
                        for isbn in many_isbns(9)
                    ]
                )

            async def were_put_back() -> bool:
                async with app.database.connection() as connection:
                    cursor = await connection.execute(
                        "SELECT count(DISTINCT job_id) >= 9 FROM pgqueuer_log"
                        " WHERE status = 'queued' AND traceback::text LIKE '%disk%'"
                    )
                    row = await cursor.fetchone()
                return bool(row and row[0])

            async with asyncio.timeout(PATIENCE_SECONDS):
                await work_until(Worker(app, runs=frozenset()), were_put_back)
            async with app.database.connection() as connection:
                rows = await (
                    await connection.execute(
                        "SELECT state, attempts, count(*) FROM covers_wanted GROUP BY 1, 2"
                    )
                ).fetchall()
                jobs = await (
                    await connection.execute("SELECT DISTINCT status::text FROM pgqueuer")
                ).fetchall()
    assert rows == [("wanted", 0, 9)]
    assert jobs == [("queued",)]
    assert not sandbox.cover_calls


async def test_a_command_that_would_add_to_a_long_backlog_says_so_and_a_small_one_is_worked_on(
    environment_for: Any, database: Database
) -> None:
    async with running_sandbox(World.invent(seed=1, authors=1), keys={"sandbox-key": PREMIUM}) as sandbox:
        environment = environment_for(sandbox, item_backlog_marks="1:2")
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO harvest_runs (id, kind, lane, parameters, state, pause_cause, resumes_at, fresh_since, created_at)"
                " VALUES ('r', 'tiers', 'bulk', '{}', 'paused', 'quota', now() + interval '9 hours', now(), now())"
            )
            await connection.execute(
                "INSERT INTO harvest_items (run_id, position, target, subject, name, updated_at)"
                " SELECT 'r', n, 'author', 'OL' || n || 'A', 'Author ' || n, now() FROM generate_series(1, 2) AS n"
            )
        isbns = [str(each) for each in many_isbns(101)]
        code, _, err = await ran(environment, "enrich", *isbns)
        assert (code, err.strip().splitlines()[-1][:91]) == (
            1,
            "alexandria: 2 items of runs wait, and the high-water mark is 2: more is taken when they are",
        )
        code, out, err = await ran(environment, "enrich", isbns[0], "--json")
        assert (code, '"done"' in out) == (0, True), err
