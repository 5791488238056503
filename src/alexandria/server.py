"""The server: the HTTP API, the dashboard and a worker in one process, over one database.

Start more of them against the same PostgreSQL as you like. granian serves within our own event loop: one process means that
whatever kills it leaves nothing behind that still holds the port.
"""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from fastapi import FastAPI
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server
from starlette.types import ASGIApp, Receive, Scope, Send

from alexandria import __version__
from alexandria.api import (
    alerts,
    catalogue,
    enriching,
    harvesters,
    harvests,
    health,
    metrics,
    monitoring,
    problems,
    quota,
    runs,
    schedule,
    security,
    tuning,
    usage,
)
from alexandria.api.context import Context, WorkerState
from alexandria.api.edge import Edge
from alexandria.api.gauges import Gauges
from alexandria.app import App, alerting, mirroring, running_app, running_database
from alexandria.clock import Clock, SystemClock
from alexandria.config import Config
from alexandria.dashboard import routes as dashboard
from alexandria.dashboard.views import Dashboard
from alexandria.domain.covers import CoverState
from alexandria.domain.errors import ConfigurationError
from alexandria.domain.plans import Kind, needs_key
from alexandria.jobs.worker import GRACE, Worker
from alexandria.stores.covers import CoverStore
from alexandria.stores.harvests import HarvestStore
from alexandria.telemetry import redacted

log = structlog.get_logger()

HEADER_SECONDS = 10
"""How long a client may take to send a request's header, and how long a connection may lie idle."""

DRAIN_SECONDS = 2.0
"""How long requests in hand may go on after a stop was asked for; then they are cancelled."""

START_SECONDS = 10.0
FIRST_BACK_OFF_SECONDS = 1.0
LONGEST_BACK_OFF_SECONDS = 60.0
STEADY_SECONDS = 5.0
"""A worker that was started again counts as running once it has lived so long."""

IDLE_LOOK_SECONDS = 15.0
"""How often a server without a key looks whether somebody wants covers."""

_TAGS = [
    {"name": "catalogue", "description": "Search and look up what the catalogue holds."},
    {
        "name": "harvests",
        "description": "Plan, start and watch harvests; writing needs a token where one is configured.",
    },
    {"name": "schedule", "description": "What is harvested by the clock, when next, and what came of it."},
    {"name": "alerts", "description": "What a person should look at, who was told, and what is silenced."},
    {
        "name": "monitoring",
        "description": "How everything stands, for people who build their own dashboard; dead letters.",
    },
    {"name": "health", "description": "Whether the server works, and how the day's quota stands."},
    {
        "name": "quota",
        "description": "What was charged, by whom and when; reserve units for programs outside that share the key.",
    },
]


class Api(FastAPI):
    """FastAPI, but /openapi.json says what is so: problem documents for errors, and a token for writing."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = security.describe(problems.describe(super().openapi()))
        return self.openapi_schema


def make_app(
    config: Config, database_url: str, *, with_worker: bool = True, clock: Clock | None = None
) -> FastAPI:
    """The ASGI application; its lifespan connects to everything and runs the worker.

    Raises ConfigurationError when it would let other machines write without a token.
    """
    rules = security.Rules(config.api_tokens, config.host, config.quota_tokens)
    security.refuse_exposure(rules)
    given_clock, clock = clock, clock or SystemClock()

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with running_app(config, database_url, clock=given_clock) as app:
            worker = WorkerState()
            api.state.context = Context(app, worker)
            api.state.gauges = Gauges(app)
            api.state.dashboard = Dashboard(app, lambda: (worker.state, worker.detail))
            working = _kept_working(app, worker) if with_worker else contextlib.nullcontext()
            async with mirroring(app), alerting(app), working:
                yield

    api = Api(
        title="Alexandria",
        summary="A self-hosted book-metadata catalogue",
        description="Errors are problem documents (RFC 9457). Times are UTC. docs/api.md has an example for every address.",
        version=__version__,
        lifespan=lifespan,
        openapi_tags=_TAGS,
        # Their pages load scripts from elsewhere; nothing here makes a browser leave the machine.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    own = (
        health,
        quota,
        usage,
        monitoring,
        tuning,
        catalogue,
        harvests,
        enriching,
        runs,
        harvesters,
        schedule,
        alerts,
    )
    for router in (each.router for each in (*own, metrics, dashboard)):
        api.include_router(router)
    problems.install(api, clock)
    api.add_middleware(Edge, rules=rules, clock=clock)
    return api


# The worker


@dataclass
class Keeper:
    """Keeps one worker at work: a crash is logged, shown in `state`, and followed by a new start after a growing pause."""

    app: App
    state: WorkerState
    make: Callable[[App], Worker] = Worker
    _worker: Worker | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Finish what is in hand, then end."""
        self._stopping.set()
        if self._worker is not None:
            self._worker.stop()

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping.is_set():
            try:
                await self._wait_for_work()
                if self._stopping.is_set():
                    return
                self._worker = self.make(self.app)
                await self._work(self._worker)
                if self._stopping.is_set():
                    return
                self._note_crash("it ended without being told to")
            except Exception as error:
                log.exception("worker.crashed", crashes=self.state.crashes + 1)
                self._note_crash(_innermost(error))
            doubled = FIRST_BACK_OFF_SECONDS * 2.0 ** min(self.state.crashes - 1, 10)
            await self._pause(min(LONGEST_BACK_OFF_SECONDS, doubled))

    async def _work(self, worker: Worker) -> None:
        if not self.state.crashes:
            self.state.state = "running"
        working = asyncio.create_task(worker.run())
        try:
            done, _ = await asyncio.wait({working}, timeout=STEADY_SECONDS)
            if not done:
                self.state.state, self.state.crashes, self.state.detail = "running", 0, ""
            await working
        finally:
            working.cancel()
            await asyncio.wait({working}, timeout=1)

    def _note_crash(self, detail: str) -> None:
        self.state.state, self.state.detail = "crashed", detail
        self.state.crashes += 1

    async def _wait_for_work(self) -> None:
        """Without a key only covers can be fetched and free sources asked, and while nobody wants that there is nothing to do."""
        while not self._stopping.is_set() and not self.app.config.isbndb_key:
            async with self.app.database.connection() as connection:
                counts = await CoverStore(connection).counts()
                free = [kind for kind in Kind if not needs_key(kind)]
                runs = await HarvestStore(connection).list_runs_to_feed(self.app.clock.now(), kinds=free)
            if counts[CoverState.WANTED] or counts[CoverState.FAILED] or runs:
                return
            self.state.state = "idle"
            await self._pause(IDLE_LOOK_SECONDS)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def _innermost(error: BaseException) -> str:
    """The first cause in a group of errors, as one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return redacted(f"{type(error).__name__}: {error}".splitlines()[0])[:200]


@asynccontextmanager
async def _kept_working(app: App, state: WorkerState) -> AsyncIterator[None]:
    """A worker at work until the block ends; what it has in hand it finishes or puts down."""
    keeper = Keeper(app, state)
    keeping = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        keeper.stop()
        await asyncio.wait({keeping}, timeout=GRACE.total_seconds() + 2)
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


# Serving


class _InFlight:
    """Knows the requests in hand, so that a stop need not wait for the slowest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._requests: set[asyncio.Task[object]] = set()
        self.stopping = asyncio.Event()
        """Set when the server stops; an answer without an end of its own finds it in its scope and ends then."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        self._requests.add(task)
        scope["stopping"] = self.stopping
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests.discard(task)

    def cancel(self) -> None:
        for each in list(self._requests):
            each.cancel()


@dataclass(frozen=True)
class Serving:
    """A server that answers at `address`; `ended` is done when it no longer does."""

    address: str
    ended: asyncio.Task[None]


@asynccontextmanager
async def serving(
    config: Config, database_url: str, *, with_worker: bool = True, clock: Clock | None = None
) -> AsyncIterator[Serving]:
    """Serve on `config.host` and `config.port` until the block ends, which takes a few seconds at most.

    Raises ConfigurationError for a host that is no address, a busy port, or a server that others could write to.
    """
    api = make_app(config, database_url, with_worker=with_worker, clock=clock)
    ip = security.resolve(config.host, config.port)
    _refuse_busy_port(ip, config.port)
    async with api.router.lifespan_context(api), listening(api, ip, config.port) as server:
        yield server


@asynccontextmanager
async def listening(app: ASGIApp, ip: str, port: int) -> AsyncIterator[Serving]:
    """Answer requests to an application whose lifespan is the caller's; see `serving`."""
    requests = _InFlight(app)
    server = Server(
        requests,
        address=ip,
        port=port,
        # Without the lifespan, which is ours: a database that does not answer then ends in one line, not in a log.
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
        websockets=False,
        log_enabled=False,
    )
    ended = asyncio.create_task(server.serve())
    try:
        await _wait_until_open(ip, port, ended)
        yield Serving(f"http://{f'[{ip}]' if ':' in ip else ip}:{port}", ended)
    finally:
        requests.stopping.set()
        server.stop()  # type: ignore[no-untyped-call]  # granian left its annotation out
        await asyncio.wait({ended}, timeout=DRAIN_SECONDS)
        requests.cancel()
        # A client that never finishes its request is not waited for.
        await asyncio.wait({ended}, timeout=1)
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)


def _refuse_busy_port(ip: str, port: int) -> None:
    """Raises ConfigurationError when somebody listens there: granian itself would silently share the port with them."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
            probe.listen(1)
        except OSError as error:
            raise ConfigurationError(
                f"ALEXANDRIA_PORT: can't serve on {ip} port {port} ({error.strerror}); choose another with --port"
            ) from None


async def _wait_until_open(ip: str, port: int, ended: asyncio.Task[None]) -> None:
    """Return once connections are taken. Raises ConfigurationError when that does not come to pass."""
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            while not ended.done():
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(ip, port)
                    writer.close()
                    await writer.wait_closed()
                    return
                await asyncio.sleep(0.01)
    reason = ended.exception() if ended.done() and not ended.cancelled() else None
    raise ConfigurationError(
        f"ALEXANDRIA_PORT: the server did not start on {ip} port {port}: {reason or 'no reason is known'}"
    )


def serve(config: Config, *, host: str, port: int, with_worker: bool = True) -> None:
    """Serve until Ctrl-C or SIGTERM, with the configured database or an embedded one. Raises ConfigurationError."""
    config = replace(config, host=host, port=port)
    security.refuse_exposure(security.Rules(config.api_tokens, host))
    _refuse_busy_port(security.resolve(host, port), port)
    with running_database(config) as database_url:
        asyncio.run(_serve_until_stopped(config, database_url, with_worker=with_worker))


async def _serve_until_stopped(config: Config, database_url: str, *, with_worker: bool) -> None:
    stop = asyncio.Event()
    with _signals(stop):
        async with serving(config, database_url, with_worker=with_worker) as server:
            _tell(f"Alexandria serves on {server.address} (Ctrl-C stops)")
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({stopped, server.ended}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not stop.is_set():
                log.error("server.ended")
                raise ConfigurationError("the server ended by itself; the log says more")
            _tell("stopping; what is in hand is finished first (again to end at once)")


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM ask for a clean stop; a second one ends at once."""
    loop = asyncio.get_running_loop()

    def handle() -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _tell(line: str) -> None:
    """A word to the person who started the server; stdout stays free."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
