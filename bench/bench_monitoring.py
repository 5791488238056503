"""What watching costs a harvest: the same run with everything that watches, and with nothing, in turn.

*Watched*: meters that are added to the database, counts that triggers keep, log lines, a server with its alerts, a viewer at the live
overview, and a scrape of /metrics every 15 seconds. *Unwatched*: one worker and nothing of all this. Traces are not part: without an
address for them none are made. Pages cost nothing but their work: the provider is the sandbox, in a process of its own, the pace is no
limit, and no covers are fetched, which would hide by their own work what watching costs.
Figures are kept in docs/performance.md.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import psycopg

from alexandria import app as wiring
from alexandria import config as configuration
from alexandria import harvest, planning
from alexandria.domain.quota import Lane
from alexandria.jobs.worker import Worker
from alexandria.load import load_into_catalogue
from alexandria.sandbox.server import running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Database, migrate
from alexandria.telemetry import configure_logs
from measuring import be_quiet, copy_of, server

SEED = 11
SCRAPE_SECONDS = 15
PORT = 18_098


def environment(url: str, sandbox_url: str, folder: str) -> dict[str, str]:
    """Settings of all processes of a round."""
    given = {
        "data_dir": folder,
        "database_url": url,
        "isbndb_url": sandbox_url,
        "isbndb_key": "sandbox-key",
        "safe_limit": 15_000,
        "interactive_percent": 0,
        "scheduled_percent": 0,
        "requests_per_minute": 60_000,
        "schedule": "off",
        "alert_disk_gib": 0,
        "cover_disk_gib": 0,
        "port": PORT,
        "log_level": "info",
    }
    return {f"ALEXANDRIA_{name.upper()}": str(value) for name, value in given.items()}


# A harvest, in a process of its own


@asynccontextmanager
async def not_publishing(database: Database) -> AsyncIterator[None]:
    """In place of `metering.publishing`."""
    yield


async def play(*, is_watched: bool) -> None:
    """Harvest every author; prints seconds and pages when all is done."""
    settings = configuration.load(os.environ)
    assert settings.database_url
    if is_watched:
        configure_logs("info")
    else:
        be_quiet()
        setattr(wiring, "publishing", not_publishing)  # noqa: B010 - the one thing that no setting turns off
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(wiring.running_app(settings, settings.database_url))
        if is_watched:
            await stack.enter_async_context(wiring.alerting(app))
        now = app.clock.now()
        async with app.database.transaction() as connection:
            plan = await planning.plan_tier(
                connection, "all", max_pages=100, fresh_since=now - settings.freshness, now=now
            )
            await connection.execute("UPDATE harvesters SET is_enabled = false WHERE name = 'covers'")
            run = await harvest.start_run(connection, plan, lane=Lane.BULK, now=now, parameters={})
        began = time.perf_counter()
        worker = Worker(app, runs=frozenset({run}))
        working = asyncio.create_task(worker.run())
        while True:
            await asyncio.sleep(0.1)
            async with app.database.connection() as connection:
                progress = await HarvestStore(connection).get_progress(run)
            if progress.done + progress.failed == progress.items:
                break
        seconds = time.perf_counter() - began
        worker.stop()
        await working
    usage = resource.getrusage(resource.RUSAGE_SELF)
    told = {
        "seconds": seconds,
        "editions": progress.editions_found,
        "cpu": usage.ru_utime + usage.ru_stime,
        "failed": progress.failed,
    }
    print(json.dumps(told))


async def serve_sandbox(seed: int, authors: int, works: int) -> None:
    """The provider; says its address and goes on until its input ends."""
    world = World.invent(seed=seed, authors=authors, works_per_top_author=works)
    async with running_sandbox(world, switches=Switches(rate_q=1_000_000, book_dirt="off")) as sandbox:
        print(sandbox.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


# The rounds


async def watch(address: str) -> None:
    """A viewer at the live overview, and Prometheus."""

    async def view(session: aiohttp.ClientSession) -> None:
        async with session.get(f"{address}/dashboard/live", params={"page": "overview"}) as answer:
            answer.raise_for_status()
            async for _ in answer.content:
                pass

    async def scrape(session: aiohttp.ClientSession) -> None:
        while True:
            async with session.get(f"{address}/metrics") as answer:
                answer.raise_for_status()
                await answer.read()
            await asyncio.sleep(SCRAPE_SECONDS)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        async with asyncio.timeout(60):
            while True:
                with suppress(aiohttp.ClientError):
                    async with session.get(f"{address}/ready") as answer:
                        if answer.status == 200:
                            break
                await asyncio.sleep(0.1)
        await asyncio.gather(view(session), scrape(session))


async def one_round(url: str, sandbox_url: str, *, is_watched: bool) -> dict[str, float]:
    """One harvest from a fresh copy of the loaded catalogue."""
    this = [sys.executable, __file__]
    with tempfile.TemporaryDirectory() as folder:
        settings = os.environ | environment(url, sandbox_url, folder)
        watching: list[asyncio.Task[None]] = []
        serving = None
        if is_watched:
            serving = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "alexandria",
                "serve",
                "--no-with-worker",
                env=settings,
                stderr=asyncio.subprocess.DEVNULL,
            )
            watching.append(asyncio.create_task(watch(f"http://127.0.0.1:{PORT}")))
            await asyncio.sleep(3)
        player = await asyncio.create_subprocess_exec(
            *this,
            "--play",
            "watched" if is_watched else "unwatched",
            env=settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await player.communicate()
        for task in watching:
            assert not task.done(), task.exception()
            task.cancel()
        if serving:
            serving.terminate()
            await serving.wait()
    told: dict[str, float] = json.loads(out.splitlines()[-1])
    return told


async def compare(server_url: str, options: argparse.Namespace) -> None:
    """The rounds, in turn, and their ratios."""
    world = World.invent(seed=SEED, authors=options.authors, works_per_top_author=options.works)
    rounds: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        files = world.write_dumps(Path(folder), irregular_share=0)
        async with Database.open(copy_of(server_url, "template1", "loaded")) as database:
            await migrate(database)
            await load_into_catalogue(database, [files.editions, files.authors, files.works])
    sandbox = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--sandbox",
        json.dumps([SEED, options.authors, options.works]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert sandbox.stdout
    sandbox_url = (await sandbox.stdout.readline()).decode().strip()
    for number in range(2 * options.rounds):
        # Watched, unwatched, unwatched, watched, ...: what changes over time falls on both.
        is_watched = number % 4 in (0, 3)
        url = copy_of(server_url, "loaded", f"round_{number}")
        if not is_watched:
            without_triggers(url)
        told = await one_round(url, sandbox_url, is_watched=is_watched)
        rounds[is_watched].append(told)
        print(
            f"{'watched' if is_watched else 'unwatched':10} {told['editions'] / told['seconds']:8,.0f} editions/s"
            f" {told['seconds']:6.1f} s, {told['cpu']:6.1f} s of computing in the worker, {told['failed']:.0f} failed",
            flush=True,
        )
    sandbox.terminate()
    await sandbox.wait()
    for name, ratios in {
        "throughput, watched / unwatched": ratios_of(rounds, "seconds"),
        "the worker's computing, unwatched / watched": ratios_of(rounds, "cpu"),
    }.items():
        print(
            f"{name}: {statistics.median(ratios):.3f} (pairs: {', '.join(f'{each:.3f}' for each in ratios)})"
        )


def ratios_of(rounds: dict[bool, list[dict[str, float]]], name: str) -> list[float]:
    return [alone[name] / watched[name] for alone, watched in zip(rounds[False], rounds[True], strict=True)]


def without_triggers(url: str) -> None:
    """Let nothing be counted as it happens."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table, trigger in connection.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid"
            " WHERE proname IN ('count_rows', 'count_cover_again', 'keep_gain')"
        ).fetchall():
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}".encode())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--authors", type=int, default=400)
    arguments.add_argument("--works", type=int, default=200, help="of the most productive author")
    arguments.add_argument("--rounds", type=int, default=6, help="of each kind")
    arguments.add_argument("--play", choices=["watched", "unwatched"], help=argparse.SUPPRESS)
    arguments.add_argument("--sandbox", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.play:
        asyncio.run(play(is_watched=options.play == "watched"))
    elif options.sandbox:
        asyncio.run(serve_sandbox(*json.loads(options.sandbox)))
    else:
        be_quiet()
        with server() as server_url:
            asyncio.run(compare(server_url, options))


if __name__ == "__main__":
    main()
