"""One story with every secret there is, told by all processes: requests and jobs are joined in it, and no secret is.

A server, a worker and commands, each a process of its own, succeed and fail in it. All that they write is read afterwards.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pgqueuer.db import PsycopgDriver
from pgqueuer.queries import Queries as JobQueries
from psycopg import AsyncConnection

from alexandria.clock import SystemClock
from alexandria.domain.alerting import Alert, AlertKind
from alexandria.domain.covers import CoverWish
from alexandria.domain.errors import ConfigurationError
from alexandria.domain.isbn import Isbn
from alexandria.providers.traces import exporting
from alexandria.sandbox.accounts import PREMIUM
from alexandria.sandbox.server import running_sandbox
from alexandria.sandbox.world import World
from alexandria.stores.alerts import AlertStore
from alexandria.stores.covers import CoverStore
from alexandria.stores.jobs import FETCH_COVER
from alexandria.stores.postgres import Database
from conftest import copy_of
from end_to_end.processes import interrupted, ran, started
from end_to_end.test_metrics import free_port
from harvesting import FAST

MARK = "q7Zr"
"""Every secret begins with it, so that none can be overlooked."""

KEY, WRONG_KEY, API_TOKEN, PROGRAM_TOKEN, KV_TOKEN, GOOGLE_KEY, PASSWORD, WEBHOOK_SECRET, COLLECTOR_TOKEN = (
    f"{MARK}-{name}-0123456789"
    for name in ("key", "wrong", "api", "program", "kv", "google", "password", "webhook", "collector")
)
SIGNATURE, APPRISE_TOKEN, APPRISE_PATH, HOOK_PATH = (
    f"{MARK}-{name}-0123456789" for name in ("signature", "apprise", "path", "hook")
)
REQUEST = "asked-by-a-reader"
COVER_REQUEST = "asked-for-a-cover"
ISBN = Isbn("9780140328721")
SIGNED = f"/cover.jpg?X-Amz-Signature={SIGNATURE}&X-Amz-Credential={SIGNATURE}"


@dataclass
class Outside:
    """Whatever is out there besides the provider: it takes traces, and refuses notices and covers."""

    port: int = 0
    exports: list[ExportTraceServiceRequest] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    paths: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers.get("x-collector-token", ""))
        self.exports.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response()

    async def refuse(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        if request.path == "/moved.jpg":
            return web.Response(status=302, headers={"Location": SIGNED})
        return web.Response(status=500, text=f"what was asked: {request.url}")


@dataclass
class Story:
    """What everybody wrote, and what was left behind."""

    server: str = ""
    worker: str = ""
    cli: str = ""
    failures: list[str] = field(default_factory=list)
    metrics: str = ""
    problems: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    kept: str = ""
    """Reasons, alerts and the queue's log, as the database keeps them."""
    run: str = ""
    outside: Outside = field(default_factory=Outside)

    @property
    def written(self) -> dict[str, str]:
        return {
            "server": self.server,
            "worker": self.worker,
            "cli": self.cli,
            "failures": "".join(self.failures),
            "metrics": self.metrics,
            "problems": json.dumps(self.problems),
            "dead letters": json.dumps([each["error"] for each in self.dead_letters]),
            "kept": self.kept,
            "spans": "".join(map(str, self.outside.exports)),
        }


@pytest.fixture(scope="module")
def own_database_url(server_url: str, template: str) -> Iterator[str]:
    with copy_of(server_url, template) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(own_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    told = Story()
    async with AsyncExitStack() as stack:
        outside = told.outside
        application = web.Application()
        application.router.add_post("/v1/traces", outside.take)
        application.router.add_route("*", "/{path:.*}", outside.refuse)
        runner = web.AppRunner(application, shutdown_timeout=0.01, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        outside.port = runner.addresses[0][1]
        world = World.invent(seed=5, authors=6, works_per_top_author=8)
        sandbox = await stack.enter_async_context(running_sandbox(world, switches=FAST, keys={KEY: PREMIUM}))
        host = f"127.0.0.1:{outside.port}"
        parts = urlsplit(own_database_url)
        user = parts.username or "postgres"
        place = parts.netloc.rpartition("@")[2]
        environment = {
            "ALEXANDRIA_DATA_DIR": str(tmp_path_factory.mktemp("data")),
            "ALEXANDRIA_DATABASE_URL": parts._replace(netloc=f"{user}:{PASSWORD}@{place}").geturl(),
            "ALEXANDRIA_ISBNDB_KEY": KEY,
            "ALEXANDRIA_ISBNDB_URL": sandbox.url,
            "ALEXANDRIA_GOOGLE_BOOKS_KEY": GOOGLE_KEY,
            "ALEXANDRIA_GOOGLE_BOOKS_URL": sandbox.google_books_url,
            "ALEXANDRIA_API_TOKENS": API_TOKEN,
            "ALEXANDRIA_QUOTA_TOKENS": f"program:bulk:100:{PROGRAM_TOKEN}",
            "ALEXANDRIA_KV_ACCOUNT": "account",
            "ALEXANDRIA_KV_NAMESPACE": "namespace",
            "ALEXANDRIA_KV_TOKEN": KV_TOKEN,
            "ALEXANDRIA_KV_URL": f"http://{host}",
            "ALEXANDRIA_ALERT_URLS": f"json://person:{APPRISE_TOKEN}@{host}/{APPRISE_PATH}",
            "ALEXANDRIA_ALERT_WEBHOOK": f"http://{host}/{HOOK_PATH}",
            "ALEXANDRIA_ALERT_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "ALEXANDRIA_DOWNLOAD_HOSTS": f"{host},{sandbox.covers_url.partition('://')[2]}",
            "ALEXANDRIA_REQUESTS_PER_MINUTE": "6000",
            "ALEXANDRIA_SCHEDULE": "off",
            "ALEXANDRIA_ALERT_DISK_GIB": "0",
            "ALEXANDRIA_PORT": str(free_port()),
            "ALEXANDRIA_LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-token={COLLECTOR_TOKEN}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        # What waits for a server that is not there takes ten seconds, beside everything else.
        nowhere = {**environment, "ALEXANDRIA_DATABASE_URL": f"postgresql://reader:{PASSWORD}@127.0.0.1:9/x"}
        unreachable = asyncio.create_task(ran(nowhere, "quota", "status"))
        server = await started(environment, "serve", "--no-with-worker")
        worker = await started(environment, "worker")
        address = f"http://127.0.0.1:{environment['ALEXANDRIA_PORT']}"
        try:
            database = await stack.enter_async_context(Database.open(own_database_url))
            session = await stack.enter_async_context(aiohttp.ClientSession(address))
            await tell(told, session, database, host, world)
            wrong = {**environment, "ALEXANDRIA_ISBNDB_KEY": WRONG_KEY}
            harvested, *failed = await asyncio.gather(
                ran(environment, "harvest", "authors", "--author", "Nobody Known", "--json"),
                ran(wrong, "alerts", "test"),
                ran(wrong, "check"),
            )
            told.cli = "".join(harvested[1:])
            told.failures += [text for each in failed for text in each[1:]]
            told.metrics = await (await session.get("/metrics")).text()
            told.kept = await read_kept(own_database_url)
        finally:
            (_, *worker_said), (_, *server_said) = await interrupted(worker), await interrupted(server)
            told.worker, told.server = "".join(worker_said), "".join(server_said)
            code, *said = await unreachable
        assert code == 1
        told.failures += said
        yield told


async def tell(
    told: Story, session: aiohttp.ClientSession, database: Database, host: str, world: World
) -> None:
    """What readers ask for, and what becomes of it."""
    async with asyncio.timeout(90):
        while True:
            try:
                async with session.get("/ready") as answer:
                    if answer.status == 200:
                        break
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
    token = {"Authorization": f"Bearer {API_TOKEN}"}
    now = SystemClock().now()
    async with database.transaction() as connection:
        await CoverStore(connection).want([CoverWish(ISBN, f"http://{host}/moved.jpg", now)])
        await AlertStore(connection).raise_alert(
            Alert(AlertKind.RUN_FAILING, "run-1", f"it fails: https://x.example.org/?sig={SIGNATURE}", now)
        )
        # An error with an address in it, as a defect's may be: this job's payload names no ISBN.
        payload = json.dumps({"isbn": f"https://x.example.org{SIGNED}"}).encode()
        await JobQueries(PsycopgDriver(connection)).enqueue(FETCH_COVER, payload)
    author = next(iter(world.truth.authors.values())).name
    asked = {"authors": [author]}
    async with session.post(
        "/api/harvest/authors", json=asked, headers={**token, "X-Request-ID": REQUEST}
    ) as answer:
        assert answer.status == 202, await answer.text()
        told.run = (await answer.json())["id"]
    headers = {**token, "X-Request-ID": COVER_REQUEST}
    async with session.post(
        "/api/covers/queue", json={"books": [{"isbn": str(ISBN)}]}, headers=headers
    ) as answer:
        assert answer.status < 300, await answer.text()
    for headers, path, body in (
        ({"Authorization": f"Bearer {KEY}"}, "/api/harvest/authors", asked),
        (token, "/api/harvest/authors", {"authors": []}),
        (token, f"/api/runs/https:%2F%2Fx%2F%3Fsig={SIGNATURE}/pause", None),
    ):
        async with session.post(path, json=body, headers=headers) as answer:
            assert answer.status >= 400
            problem = await answer.json()
            problem.pop("instance", None)  # the client's own words
            told.problems.append(problem)

    async def is_over() -> bool:
        run = await (await session.get(f"/api/runs/{told.run}")).json()
        told.dead_letters = (await (await session.get("/api/monitoring/dead-letters")).json())["dead_letters"]
        async with database.connection() as connection:
            cover = await CoverStore(connection).get(ISBN)
        tried = {"/cover.jpg", f"/{APPRISE_PATH}", f"/{HOOK_PATH}"} <= set(told.outside.paths)
        return run["state"] == "done" and bool(told.dead_letters) and cover.attempts > 0 and tried

    async with asyncio.timeout(90):
        while not await is_over():  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(0.1)


async def read_kept(url: str) -> str:
    texts = (
        "SELECT reason FROM harvest_items",
        "SELECT pause_reason FROM harvest_runs",
        "SELECT reason FROM covers_wanted",
        "SELECT traceback::text FROM pgqueuer_log",
        "SELECT row_to_json(a)::text FROM alerts a",
        "SELECT row_to_json(n)::text FROM alert_notices n",
        "SELECT row_to_json(d)::text FROM alert_deliveries d",
    )
    async with await AsyncConnection.connect(url) as connection:
        rows = [row for text in texts for row in await (await connection.execute(text.encode())).fetchall()]
    return "\n".join(str(row[0]) for row in rows)


def events_of(written: str) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    return [each for each in read if "event" in each]  # a command's answer is none


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


async def test_no_secret_is_in_anything_that_anybody_wrote(story: Story) -> None:
    assert {name for name, text in story.written.items() if not text} == set()
    for name, text in story.written.items():
        lines = [line for line in text.splitlines() if MARK in line]
        assert not lines, (name, lines[:3])
    # They were all in use: what has nothing to hide proves nothing.
    assert story.outside.tokens == {COLLECTOR_TOKEN}
    assert {f"/{APPRISE_PATH}", f"/{HOOK_PATH}", "/cover.jpg"} <= set(story.outside.paths)
    assert "X-Amz-Signature" not in story.kept


async def test_what_a_worker_does_for_a_request_is_found_under_the_requests_id(story: Story) -> None:
    answered = [each for each in events_of(story.server) if each["event"] == "request.answered"]
    assert {each["path"] for each in answered if each.get("request_id") == REQUEST} == {
        "/api/harvest/authors"
    }
    (begun,) = [each for each in events_of(story.server) if each["event"] == "harvest_run.started"]
    assert (begun["request_id"], begun["run"]) == (REQUEST, story.run)

    mine = [each for each in events_of(story.worker) if each.get("request_id") == REQUEST]
    calls = [each for each in mine if each["event"] == "provider.called"]
    assert calls
    assert {each["run"] for each in mine} == {story.run}
    assert all(each["job"] > 0 for each in calls)
    assert {each["job"] for each in calls} == {each["job"] for each in mine if each["event"] == "job.ended"}

    covers = [each for each in events_of(story.worker) if each.get("request_id") == COVER_REQUEST]
    assert {"job.ended"} <= {each["event"] for each in covers}

    # Whoever was quicker has worked on the command's run; its id is the command's in either process.
    (begun,) = [each for each in events_of(story.cli) if each["event"] == "harvest_run.started"]
    assert begun["request_id"].startswith("cli-")
    calls = [each for each in events_of(story.cli + story.worker) if each.get("run") == begun["run"]]
    assert "provider.called" in {each["event"] for each in calls}
    assert {each["request_id"] for each in calls} == {begun["request_id"]}


async def test_every_line_that_is_no_word_to_a_person_is_one_event(story: Story) -> None:
    for written in (story.server, story.worker):
        words = [line for line in written.splitlines() if not line.startswith("{")]
        assert all(line.startswith(("Alexandria serves on", "working;", "stopping;")) for line in words), (
            words
        )
        assert all({"event", "level", "timestamp"} <= each.keys() for each in events_of(written))
    failed = [each for each in events_of(story.worker) if each["event"] == "job.failed"]
    assert "Traceback" in failed[0]["exception"]
    # The pool's complaints about a server that is not there go the same way.
    libraries = [
        each for text in story.failures for each in events_of(text) if each["event"] == "library.logged"
    ]
    assert "psycopg.pool" in {each["logger"] for each in libraries}


async def test_a_request_is_one_trace_through_the_queue_to_the_workers_calls(story: Story) -> None:
    spans: list[tuple[str, Any]] = []
    for export in story.outside.exports:
        for resource in export.resource_spans:
            about = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert about["service.name"] == "alexandria"
            process = about["service.instance.id"]
            spans += [(process, span) for scope in resource.scope_spans for span in scope.spans]

    def attribute(span: Any, name: str) -> str:
        return next((each.value.string_value for each in span.attributes if each.key == name), "")

    (asked,) = [
        each for each in spans if attribute(each[1], "alexandria.request_id") == REQUEST and each[1].kind == 2
    ]
    assert asked[1].name == "POST /api/harvest/authors"
    together = [each for each in spans if each[1].trace_id == asked[1].trace_id]
    jobs = [each for each in together if each[1].name == "job harvest_item"]
    assert jobs
    in_server = {each[1].span_id for each in together if each[0] == asked[0]}
    assert {each[1].parent_span_id for each in jobs} <= in_server
    assert {process for process, _ in jobs}.isdisjoint({asked[0]})
    ids = {each[1].span_id for each in together}
    calls = [each for each in together if each[1].name.startswith("isbndb ")]
    assert calls
    assert all(each[1].parent_span_id in ids for each in together if each[1] is not asked[1])
    # Its events say which trace they belong to.
    mine = [each for each in events_of(story.worker) if each.get("request_id") == REQUEST]
    assert {each["trace_id"] for each in mine} == {asked[1].trace_id.hex()}


async def test_nothing_of_opentelemetry_is_needed_until_an_endpoint_is_set(
    own_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry'] = None\n")
    environment = {
        "ALEXANDRIA_DATA_DIR": str(tmp_path),
        "ALEXANDRIA_DATABASE_URL": own_database_url,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    code, _, err = await ran(environment, "harvesters", "list")
    assert code == 0, err
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'alexandria\[otel\]', or unset it"):
        async with exporting("http://127.0.0.1:9", {}):
            pass
