"""The dashboard: one page that says how things stand, drawn on the server.

It works without JavaScript (the page then reloads itself) and asks nobody but this server: its Content-Security-Policy allows
nothing else. With JavaScript, `static/dashboard.js` fetches `/dashboard/parts` and exchanges what has changed.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources

import structlog
from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from alexandria import __version__
from alexandria.app import App, isbndb_account, isbndb_policy
from alexandria.domain.covers import CoverState
from alexandria.domain.errors import StoreUnavailable
from alexandria.domain.quota import Denied
from alexandria.domain.quota_status import Status
from alexandria.stores.catalogue import CatalogueStore, Counts
from alexandria.stores.covers import Cover, CoverStore
from alexandria.stores.harvests import Failure, HarvestStore, Progress, Run, RunState
from alexandria.stores.postgres import Connection

log = structlog.get_logger()

router = APIRouter(include_in_schema=False)

LATEST_RUNS = 8
LATEST_COVERS = 10
LATEST_FAILURES = 8

FRESH_FOR = timedelta(seconds=1)
"""However many people watch, the database is asked at most this often."""

READ_SECONDS = 5.0
"""Whoever looks at the page learns within this time that the database does not answer."""

COUNT_SECONDS = 3.0
"""A count that takes longer is given up: some tens of millions of rows are no affair of a page's."""
COUNTS_FRESH_FOR = timedelta(seconds=10)
COUNT_AGAIN_AFTER = timedelta(minutes=10)
"""After a count that was given up."""

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: this server's own files and pictures, no inline script or style (W3C CSP Level 3)."""

_ACTIVE = frozenset({RunState.RUNNING, RunState.PAUSED})
_FAILED_COVERS = (CoverState.FAILED, CoverState.MISSING, CoverState.REFUSED)


@dataclass(frozen=True)
class RunLine:
    """A run as a line of the page."""

    run: Run
    progress: Progress

    @property
    def ended(self) -> int:
        """Items that are through, one way or the other."""
        return self.progress.done + self.progress.failed

    @property
    def percentage(self) -> int:
        """Of the items that are through, rounded down: 100 only when all are."""
        return 100 * self.ended // self.progress.items if self.progress.items else 0


@dataclass(frozen=True)
class ShownCover:
    """A picture of the strip of covers, and the title that its alternative text says."""

    cover: Cover
    title: str

    @property
    def box(self) -> tuple[int, int]:
        """Width and height at which it is shown, so that the page does not jump while pictures arrive."""
        picture = self.cover.picture
        if picture is None:
            return 88, 132
        return max(44, min(132, round(132 * picture.width / max(1, picture.height)))), 132


@dataclass(frozen=True)
class Overview:
    """Everything that the page says, as of `read_at`."""

    read_at: datetime
    worker: str
    worker_detail: str
    quota: Status | None
    """None when no key is configured."""
    hindrance: Denied | None
    active: Sequence[RunLine]
    ended: Sequence[RunLine]
    covers: Mapping[CoverState, int]
    latest_covers: Sequence[ShownCover]
    counts: Counts | None
    """None when counting would take too long."""
    failures: Sequence[Failure]

    @property
    def failed_covers(self) -> Mapping[CoverState, int]:
        """What did not become a stored cover, by state, without the states that hold nothing."""
        return {state: self.covers[state] for state in _FAILED_COVERS if self.covers.get(state)}


@dataclass
class Dashboard:
    """Reads what the page shows, and remembers it for a moment."""

    app: App
    worker_state: Callable[[], tuple[str, str]] = lambda: ("off", "")
    """How the worker inside this process is, in a word and in a sentence."""
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _overview: Overview | None = None
    _failed_at: datetime | None = None
    _counts: Counts | None = None
    _count_at: datetime | None = None

    async def read(self) -> Overview:
        """How things stand, at most a second old. Raises StoreUnavailable."""
        async with self._reading:
            now = self.app.clock.now()
            if self._overview is not None and now - FRESH_FOR < self._overview.read_at <= now:
                return self._overview
            if self._failed_at is not None and now - FRESH_FOR < self._failed_at <= now:
                raise StoreUnavailable("the database did not answer a moment ago")
            try:
                async with asyncio.timeout(READ_SECONDS):
                    self._overview = await self._read(now)
            except (StoreUnavailable, TimeoutError) as error:
                # Those who wait behind the lock are not to wait as long again, one after the other.
                self._failed_at = self.app.clock.now()
                raise StoreUnavailable(f"the dashboard could not be read: {error}") from error
            return self._overview

    async def _read(self, now: datetime) -> Overview:
        app = self.app
        status = None
        if app.config.isbndb_key:
            status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
        counts = await self._count(now)
        worker, detail = self.worker_state()
        async with app.database.transaction() as connection:
            lines = await _list_runs(connection, now)
            covers = CoverStore(connection)
            return Overview(
                read_at=now,
                worker=worker,
                worker_detail=detail,
                quota=status,
                hindrance=status.hindrance() if status else None,
                active=sorted(
                    (each for each in lines if each.run.state in _ACTIVE),
                    key=lambda each: each.run.state != RunState.RUNNING,
                ),
                ended=[each for each in lines if each.run.state not in _ACTIVE],
                covers=await covers.counts(),
                latest_covers=await _list_covers(connection),
                counts=counts,
                failures=await HarvestStore(connection).list_latest_failures(limit=LATEST_FAILURES),
            )

    async def _count(self, now: datetime) -> Counts | None:
        """The catalogue's counts, not counted anew for every look."""
        if self._count_at is not None and now < self._count_at:
            return self._counts
        try:
            async with asyncio.timeout(COUNT_SECONDS), self.app.database.connection() as connection:
                self._counts = await CatalogueStore(connection).count()
            self._count_at = now + COUNTS_FRESH_FOR
        except TimeoutError:
            log.info("catalogue.count_abandoned", seconds=COUNT_SECONDS)
            self._count_at = now + COUNT_AGAIN_AFTER
        return self._counts


async def _list_runs(connection: Connection, now: datetime) -> Sequence[RunLine]:
    """The latest runs, and older ones that still have something to do."""
    harvests = HarvestStore(connection)
    runs = await harvests.list_runs(limit=LATEST_RUNS)
    known = {each.id for each in runs}
    for run_id in [each for each in await harvests.list_runs_to_feed(now) if each not in known][:LATEST_RUNS]:
        if run := await harvests.find_run(run_id):
            runs.append(run)
    return [RunLine(run, await harvests.get_progress(run.id)) for run in runs]


async def _list_covers(connection: Connection) -> Sequence[ShownCover]:
    shown = []
    for cover in await CoverStore(connection).list_latest(LATEST_COVERS):
        editions = await CatalogueStore(connection).list_editions_of_isbn(cover.isbn)
        title = editions[0].title if editions else None
        shown.append(ShownCover(cover, title or f"ISBN {cover.isbn}"))
    return shown


# Drawing


def _number(value: float) -> str:
    return f"{value:,}"


def _moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


_templates = Environment(
    loader=PackageLoader("alexandria.dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(number=_number, moment=_moment)
_templates.globals.update(version=__version__, CoverState=CoverState)

_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}


def _draw(template: str, status_code: int = 200, **values: object) -> Response:
    body = _templates.get_template(template).render(values)
    return Response(body, status_code=status_code, media_type="text/html", headers=_HEADERS)


@router.get("/")
async def show_page(request: Request) -> Response:
    """The whole page."""
    dashboard: Dashboard = request.app.state.dashboard
    try:
        return _draw("page.html", overview=await dashboard.read())
    except StoreUnavailable as error:
        log.warning("dashboard.unavailable", error=str(error))
        return _draw("unavailable.html", status_code=503)


@router.get("/dashboard/parts")
async def show_parts(request: Request) -> Response:
    """The parts of the page that change, for its script."""
    dashboard: Dashboard = request.app.state.dashboard
    return _draw("parts.html", overview=await dashboard.read())


@dataclass(frozen=True)
class _StaticFile:
    body: bytes
    media_type: str
    tag: str


def _load_static() -> Mapping[str, _StaticFile]:
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    found = {}
    for file in resources.files("alexandria.dashboard").joinpath("static").iterdir():
        kind = kinds.get(file.name.rpartition(".")[2])
        if kind:
            body = file.read_bytes()
            found[file.name] = _StaticFile(body, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
    return found


# The few files are read once: nothing a client sends is ever used as a path.
_STATIC = _load_static()


@router.get("/dashboard/static/{name}")
async def show_static(request: Request, name: str) -> Response:
    """A style sheet, script or icon of the page's own."""
    file = _STATIC.get(name)
    if file is None:
        return Response("There is no such file.\n", status_code=404, media_type="text/plain")
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)
