"""The demonstration: everything that Alexandria does, on an invented world, in a few minutes."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import msgspec

from alexandria import config as configuration
from alexandria import harvest, planning
from alexandria.app import App, isbndb_account, isbndb_policy, running_app, running_database
from alexandria.cli import console
from alexandria.cli.running import Exit, interrupts, is_over, load_into
from alexandria.config import Config
from alexandria.domain.covers import CoverState
from alexandria.domain.errors import ConfigurationError
from alexandria.domain.plans import Kind
from alexandria.domain.quota import Lane
from alexandria.jobs.worker import Worker, work_until
from alexandria.sandbox.invent import Recipe
from alexandria.sandbox.world import World
from alexandria.stores.covers import CoverStore
from alexandria.stores.harvests import HarvestStore, Progress, Run, RunState
from alexandria.telemetry import configure_logs

MARK = "demo.json"
"""Marks a data folder as the demo's own, so that invented books never get into somebody's catalogue."""

KEY = "sandbox-key"


class Addresses(msgspec.Struct, frozen=True):
    """Where the sandbox answers, as it prints it."""

    url: str
    covers_url: str
    control_url: str
    openlibrary_url: str
    openlibrary_covers_url: str
    google_books_url: str
    google_books_key: str
    wikidata_url: str


class SandboxState(msgspec.Struct, frozen=True):
    """What its control page says: endpoint -> status -> how often."""

    calls: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Demo:
    """One demonstration: its world and the application over it."""

    app: App
    world: World
    addresses: Addresses


def run_demo(recipe: Mapping[str, int]) -> int:
    """Run the demonstration in the configured data folder; returns the exit code. Stopped, it goes on when run again.

    `recipe` names the invented world: seed, authors, works.
    """
    started_at = time.monotonic()
    with over_sandbox(recipe) as (settings, addresses), running_database(settings) as url:

        async def run() -> Exit:
            async with running_app(settings, url) as app:
                return await demonstrate(Demo(app, invent(recipe), addresses), started_at)

        return asyncio.run(run())


def serve_demo(recipe: Mapping[str, int], *, port: int) -> None:
    """Serve the API and the dashboard over the demonstration's data, its sandbox at hand for more."""
    # The web stack is slow to import, and the demonstration itself does without.
    from alexandria.server import serve

    with over_sandbox(recipe) as (settings, _):
        serve(settings, host=settings.host, port=port)


def invent(recipe: Mapping[str, int]) -> World:
    """The world of a recipe; the sandbox's process makes the same."""
    return World.invent(seed=recipe["seed"], authors=recipe["authors"], works_per_top_author=recipe["works"])


@contextmanager
def over_sandbox(recipe: Mapping[str, int]) -> Iterator[tuple[Config, Addresses]]:
    """The configuration of a demonstration, and where its sandbox answers while the block lasts."""
    settings = configuration.load()
    configure_logs(settings.log_level, settings.secrets)
    port = claim_folder(settings, recipe)
    world = [word for name, value in recipe.items() for word in (f"--{name}", str(value))]
    journal = settings.data_dir / "sandbox-journal"
    with running_sandbox("--port", str(port), "--journal", str(journal), *world) as addresses:
        hosts = {each.partition("://")[2] for each in (addresses.covers_url, addresses.control_url)}
        settings = replace(
            settings,
            isbndb_url=addresses.url,
            isbndb_key=KEY,
            download_hosts=frozenset(hosts),
            # Of an invented world's numbers the real ones would tell of real books.
            openlibrary_url=addresses.openlibrary_url,
            openlibrary_covers_url=addresses.openlibrary_covers_url,
            google_books_url=addresses.google_books_url,
            google_books_key=addresses.google_books_key,
            wikidata_url=addresses.wikidata_url,
        )
        # An invented quota must not replace the real one where edge code reads it.
        yield replace(settings, kv_account=None, kv_namespace=None, kv_token=None), addresses


def claim_folder(settings: Config, world: Mapping[str, int]) -> int:
    """Make sure that the data folder is the demo's own and holds this world. Raises ConfigurationError.

    Returns the sandbox's port, which stays the same for the folder: covers that are still wanted have it in their addresses.
    """
    if settings.database_url:
        raise ConfigurationError(
            "ALEXANDRIA_DATABASE_URL is set: the demo invents books and only makes a database of its own; unset it"
        )
    mark = settings.data_dir / MARK
    elsewhere = "choose another ALEXANDRIA_DATA_DIR for the demo"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            if (settings.data_dir / "postgres").exists():
                raise ConfigurationError(
                    f"{settings.data_dir} holds a catalogue that is not the demo's; {elsewhere}"
                )
            mark.write_text(json.dumps({**world, "port": find_ports()}), "utf-8")
        noted = json.loads(mark.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"ALEXANDRIA_DATA_DIR: {settings.data_dir}: {error.strerror}; {elsewhere}"
        ) from error
    port = noted.pop("port", 0)
    if noted != world:
        raise ConfigurationError(
            f"{settings.data_dir} holds a demo of another world; remove it or {elsewhere}"
        )
    return int(port)


def find_ports() -> int:
    """The first of three ports in a row that are free, above those that servers are known by."""
    for first in range(20_000, 30_000, 3):
        with ExitStack() as stack:
            try:
                for port in range(first, first + 3):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise ConfigurationError("no three free ports in a row between 20000 and 30000 for the sandbox")


@contextmanager
def running_sandbox(*arguments: str) -> Iterator[Addresses]:
    """The sandbox as a process of its own, as it would be on another machine."""
    command = (sys.executable, "-m", "alexandria", "sandbox", "--json", *arguments)
    # In a process group of its own, out of the terminal's Ctrl-C: the harvest stops first, then the sandbox.
    with subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise ConfigurationError("the sandbox did not start; see above")
            yield msgspec.json.decode(line, type=Addresses)
        finally:
            process.terminate()


async def demonstrate(demo: Demo, started_at: float) -> Exit:
    """Load, harvest, fetch, summarise."""
    app = demo.app
    console.say(
        "loading the dump, then harvesting the top-100 authors, a month of new releases and their covers"
    )
    files = demo.world.write_dumps(app.config.data_dir / "dumps")
    await load_into(app, [files.authors, files.works, files.editions])
    runs = [await begin_or_resume(app, Kind.TIERS), await begin_or_resume(app, Kind.NEW_RELEASES)]
    worker = Worker(app, runs=frozenset(runs))
    with interrupts(worker.stop) as interrupted:
        async with console.progress_bars(lambda: read_progress(app, runs)):
            await work_until(worker, lambda: is_all_done(app, runs))
    if interrupted():
        console.say("stopped; run it again to go on")
        return Exit.INTERRUPTED
    summary = await summarise(demo, runs, started_at)
    if failed := (await count_covers(app))[CoverState.FAILED]:
        console.say(f"{failed:,} covers failed and are tried again later: alexandria harvest covers")
    console.write_table("The demo", ("what", "value"), list(summary.items()))
    console.write_json(summary)
    return Exit.DONE if summary["ledger_matches_provider"] else Exit.ERROR


async def begin_or_resume(app: App, kind: Kind) -> str:
    """The demo's run of this kind that has not ended, let go on; or a new one."""
    now = app.clock.now()
    since = now - app.config.freshness
    async with app.database.transaction() as connection:
        unfinished = [
            run
            for run in await HarvestStore(connection).list_runs()
            if run.kind == kind and run.state in {RunState.RUNNING, RunState.PAUSED}
        ]
        if unfinished:
            await harvest.resume_run(connection, unfinished[0].id, now=now)
            return unfinished[0].id
        if kind is Kind.TIERS:
            parameters = {"tier": "top-100"}
            plan = await planning.plan_tier(
                connection, parameters["tier"], max_pages=planning.MOST_PAGES, fresh_since=since, now=now
            )
        else:
            # The invented world's own present, whatever the year: its new releases lie there.
            month = f"{Recipe.today:%Y-%m}"
            parameters = {"start_month": month, "end_month": month}
            plan = await planning.plan_new_releases(
                connection, *parameters.values(), today=now, max_pages=20, fresh_since=since
            )
        return await harvest.start_run(connection, plan, lane=Lane.BULK, now=now, parameters=parameters)


async def read_runs(app: App, run_ids: list[str]) -> list[tuple[Run, Progress]]:
    """The runs as they stand."""
    async with app.database.connection() as connection:
        return [
            (await harvest.get_run(connection, each), await HarvestStore(connection).get_progress(each))
            for each in run_ids
        ]


async def read_progress(app: App, run_ids: list[str]) -> Mapping[str, tuple[int, int, str]]:
    """What the progress bars show."""
    bars = {}
    for run, progress in await read_runs(app, run_ids):
        remark = f"{progress.units} units, {progress.editions_new:,} new editions"
        bars[run.kind.replace("_", " ")] = progress.done + progress.failed, progress.items, remark
    covers = await count_covers(app)
    of_all = sum(covers.values())
    bars["covers"] = of_all - covers[CoverState.WANTED], of_all, f"{covers[CoverState.STORED]:,} stored"
    return bars


async def count_covers(app: App) -> Mapping[CoverState, int]:
    """How many covers are in each state."""
    async with app.database.connection() as connection:
        return await CoverStore(connection).counts()


async def is_all_done(app: App, run_ids: list[str]) -> bool:
    """Whether nothing is left to harvest and no cover is due."""
    if not all(is_over(run, now=app.clock.now()) for run, _ in await read_runs(app, run_ids)):
        return False
    async with app.database.connection() as connection:
        return not await CoverStore(connection).list_due(limit=1, now=app.clock.now())


async def summarise(demo: Demo, run_ids: list[str], started_at: float) -> dict[str, object]:
    """What the demo brought, and whether our ledger and the provider's counter say the same."""
    app = demo.app
    runs = [progress for _, progress in await read_runs(app, run_ids)]
    covers = await count_covers(app)
    status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
    provider = await app.isbndb.key(lane=Lane.INTERACTIVE, consumer="demo")
    control = await app.gateway.download(
        f"{demo.addresses.control_url}/state",
        most_bytes=1_000_000,
        timeout_seconds=10,
        allowed_hosts=app.config.download_hosts,
    )
    calls = msgspec.json.decode(control.body, type=SandboxState).calls
    return {
        "authors": runs[0].done,
        "editions_found": sum(each.editions_found for each in runs),
        "editions_new": sum(each.editions_new for each in runs),
        "works_new": sum(each.works_new for each in runs),
        "covers_stored": covers[CoverState.STORED],
        "units_used": status.used,
        "safe_limit": status.policy.safe_limit,
        "provider_429": sum(by_status.get("429", 0) for by_status in calls.values()),
        "ledger_matches_provider": status.used == provider.spent and not await app.quota.verify(),
        "seconds": round(time.monotonic() - started_at, 1),
    }
