"""A rehearsal from its beginning to its table."""

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import msgspec
import psycopg
import structlog

from alexandria import config as configuration
from alexandria.app import App, isbndb_account, isbndb_policy, recount_patiently, running_app
from alexandria.domain.covers import CoverState
from alexandria.domain.errors import ConfigurationError, ProviderError, QuotaDenied, StoreUnavailable
from alexandria.domain.quota import ARRIVAL_SPAN
from alexandria.load import load_into_catalogue
from alexandria.rehearsal.counting import count
from alexandria.rehearsal.ensemble import Ensemble, Process, ensemble, read_addresses
from alexandria.rehearsal.measures import Measure, measure
from alexandria.rehearsal.programme import PROGRAMME, Stage
from alexandria.rehearsal.scenario import FREE_ADDRESSES, SPANS, Orders, Scenario, order
from alexandria.stores.covers import CoverStore
from alexandria.stores.embedded import running_server
from alexandria.stores.harvests import HarvestStore, Progress
from alexandria.stores.postgres import Database, migrate

log = structlog.get_logger()

SAY_EVERY = 2.0
"""Seconds between two lines about how it goes."""

START_SECONDS = 4.0
"""Between the first process's orders and the beginning of the clocks: so long the others take to get to work."""

_READY_SECONDS = 60.0
_COUNT_ATTEMPTS = 5
_LOADED, _REHEARSED, _REFERENCE = "loaded", "rehearsed", "reference"


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    measures: list[Measure]
    counts: dict[str, int]
    """Events besides: kills, requests, answers by status."""
    seconds: float
    factor: float

    @property
    def holds(self) -> bool:
        """Whether every row does."""
        return all(each.holds for each in self.measures)

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "holds": self.holds,
            "seconds": round(self.seconds, 1),
            "factor": round(self.factor, 1),
            "measures": [each.as_json() for each in self.measures],
            "counts": self.counts,
        }


@contextmanager
def folder_for(given: Path | None) -> Iterator[Path]:
    """Where everything lies: a folder that is kept if one was given, else one that goes away.

    Open to everybody to enter, since a root user's PostgreSQL runs under another account. Raises ConfigurationError.
    """
    if given is not None:
        if given.exists() and any(given.iterdir()):
            raise ConfigurationError(f"--folder: {given} is not empty; name another or a new one")
        given.mkdir(parents=True, exist_ok=True)
        yield given.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="alexandria-rehearsal-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def rehearse(scenario: Scenario, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Prepare, perform, count. Whatever is started ends with it."""
    began = time.monotonic()
    with running_server(folder) as server_url:
        say("making the world and loading its dump")
        await _prepare(scenario, server_url, folder)
        url = _url_of(server_url, _REHEARSED)
        async with ensemble(folder) as players:
            journal = folder / "journal"
            state = await _perform(scenario, url, folder, players, journal, say)
        say("counting; what was harvested is absorbed once more, in one process")
        _copy(server_url, _LOADED, _REFERENCE)
        async with Database.open(url) as database, Database.open(_url_of(server_url, _REFERENCE)) as other:
            statuses = _by_status(state)
            figures = await count(
                database,
                other,
                scenario,
                refused_429=statuses.get("429", 0),
                journal=journal,
            )
    counts = {f"answers {status}": n for status, n in sorted(statuses.items())}
    return Outcome(
        measure(figures, scenario.targets),
        {**{f"workers {what}": n for what, n in players.counts.items()}, **counts},
        time.monotonic() - began,
        scenario.factor,
    )


# Before


async def _prepare(scenario: Scenario, server_url: str, folder: Path) -> None:
    """A database with the dump loaded, and a copy to rehearse on."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        # Processes die here, the machine doesn't: waiting for its disk would prove nothing.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"CREATE DATABASE {_LOADED}".encode())
    files = scenario.invent_world().write_dumps(folder / "dumps")
    async with Database.open(_url_of(server_url, _LOADED)) as database:
        await migrate(database)
        await load_into_catalogue(database, [files.authors, files.works, files.editions])
    _copy(server_url, _LOADED, _REHEARSED)


def _copy(server_url: str, source: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}".encode())


def _url_of(server_url: str, name: str) -> str:
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


# The day


@dataclass(frozen=True)
class _Cast:
    """Every process, ready and without orders."""

    provider: Process
    server: Process
    workers: list[Process]
    others: list[Process]


async def _perform(
    scenario: Scenario, url: str, folder: Path, players: Ensemble, journal: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """The day itself; returns the provider's last word on what it answered."""
    say("starting the processes")
    ready = await asyncio.gather(
        *(players.prepare(part) for part in ("provider", "server", "sharer", "trespasser")),
        *(players.prepare("worker") for _ in range(scenario.workers)),
    )
    cast = _Cast(ready[0], ready[1], list(ready[4:]), list(ready[2:4]))
    # A little ahead: the clocks begin when everybody is at work.
    orders = order(
        scenario, started_real=time.monotonic() + START_SECONDS, environment={}, journal=str(journal)
    )
    await players.order(cast.provider, orders)
    addresses = await read_addresses(cast.provider)
    port = _free_port()
    server_url = f"http://127.0.0.1:{port}"
    (folder / "alexandria.toml").write_text(scenario.schedule, "utf-8")
    environment = scenario.environment(
        config=folder / "alexandria.toml",
        data_dir=folder,
        database_url=url,
        port=port,
        isbndb_url=addresses["url"],
        download_hosts=addresses["covers_url"].partition("://")[2],
        # They are off without a contact and a key; should one ever ask, then not the real ones.
        **{name: addresses[name] for name in FREE_ADDRESSES},
    )
    orders = msgspec.structs.replace(
        orders, environment=environment, sandbox_url=addresses["url"], server_url=server_url
    )
    settings = replace(configuration.load(environment), policy_spans=SPANS)
    clock = orders.clock()
    async with running_app(settings, url, clock=clock) as app:
        stage = Stage(app, scenario, scenario.invent_world(), server_url)
        async with _playing(scenario, orders, players, cast), asyncio.TaskGroup() as group:
            telling = group.create_task(_tell(stage, addresses["control_url"], players, say))
            for entry in PROGRAMME:
                await clock.sleep((scenario.at(entry.at) - clock.now()).total_seconds())
                stage.runs[entry.name] = await entry.start(stage)
                say(f"{clock.now():%a %H:%M}  {entry.name}: {', '.join(stage.runs[entry.name])}")
            await clock.sleep((scenario.ends_at - clock.now()).total_seconds())
            telling.cancel()
        await _reconcile(app)
        return await _fetch(f"{addresses['control_url']}/state")


async def _reconcile(app: App) -> None:
    """As `alexandria quota reconcile`, once nothing can be on its way any more: it settles what the last kills left open."""
    policy = isbndb_policy(app.config)
    await app.clock.sleep((policy.longest_wait + policy.fence_span + ARRIVAL_SPAN).total_seconds())
    for _ in range(_COUNT_ATTEMPTS):
        try:
            await recount_patiently(app)
        except (ProviderError, QuotaDenied) as error:
            log.info("rehearsal.count_failed", error=str(error))  # the provider is as faulty as all day
            await app.clock.sleep(60)
        else:
            return


@asynccontextmanager
async def _playing(scenario: Scenario, orders: Orders, players: Ensemble, cast: _Cast) -> AsyncIterator[None]:
    """Everybody but the provider at work while the block lasts. Those outside end first, then the workers, then the server."""
    await asyncio.gather(*(players.order(each, orders) for each in (cast.server, *cast.workers)))
    keeping = asyncio.create_task(
        players.keep_workers(
            cast.workers, orders, kill_every=scenario.seconds_between_kills, seed=scenario.seed
        )
    )
    try:
        await _until_ready(f"{orders.server_url}/ready")
        await asyncio.gather(*(players.order(each, orders) for each in cast.others))
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    # Who is stopped in between is not asked: whatever still runs is killed with the ensemble.
    for some in (cast.others, cast.workers, [cast.server]):
        await asyncio.gather(*(players.end(each) for each in some))


async def _until_ready(url: str) -> None:
    """Raises ConfigurationError when the server does not get ready."""
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            try:
                await _fetch(url)
            except (URLError, OSError):
                await asyncio.sleep(0.1)
            else:
                return


async def _tell(stage: Stage, control_url: str, players: Ensemble, say: Callable[[str], None]) -> None:
    """Say how it goes, every now and then."""
    while True:  # ends: the task is cancelled
        await asyncio.sleep(SAY_EVERY)
        try:
            say(await _how_it_goes(stage, control_url, players))
        except StoreUnavailable as error:
            say(f"the database is busy: {error}")


async def _how_it_goes(stage: Stage, control_url: str, players: Ensemble) -> str:
    app: App = stage.app
    status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
    async with app.database.connection() as connection:
        covers = await CoverStore(connection).counts()
        harvests = HarvestStore(connection)
        progress: dict[str, list[Progress]] = {}
        for run in await harvests.list_runs(limit=100):
            name = str(run.parameters.get("tier") or run.kind.replace("_", " "))
            progress.setdefault(name, []).append(await harvests.get_progress(run.id))
    said = "".join(
        f", {name} {sum(run.done + run.failed for run in runs)}/{sum(run.items for run in runs)}"
        for name, runs in reversed(progress.items())
    )
    answers = _by_status(await _fetch(f"{control_url}/state"))
    return (
        f"{app.clock.now():%a %H:%M}  {status.used:,} of {status.limit:,} units{said}, {covers[CoverState.STORED]:,} covers,"
        f" {answers.get('429', 0)} x 429, {players.counts['killed']} workers killed"
    )


async def _fetch(url: str) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        with urlopen(url, timeout=10) as answer:  # noqa: S310 - our own processes
            return msgspec.json.decode(answer.read(), type=dict[str, Any])

    return await asyncio.to_thread(read)


def _by_status(state: dict[str, Any]) -> dict[str, int]:
    """The provider's answers by status; 0 for connections that were dropped."""
    found: dict[str, int] = {}
    for statuses in state["calls"].values():
        for status, n in statuses.items():
            found[status] = found.get(status, 0) + n
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
