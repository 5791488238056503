"""Starting, staying alive and stopping."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psycopg
import pytest
from starlette.types import Receive, Scope, Send

from alexandria.api.context import WorkerState
from alexandria.app import App, running_app
from alexandria.domain.covers import CoverWish
from alexandria.domain.errors import ConfigurationError
from alexandria.domain.isbn import Isbn
from alexandria.jobs.worker import Worker
from alexandria.server import Keeper, listening, serving
from alexandria.stores.covers import CoverStore
from alexandria.stores.postgres import Database

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


async def eventually(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20) -> None:
    """Return as soon as a condition of another process or task holds; fail when it does not come to."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - no event of ours crosses from another process
            await asyncio.sleep(0.02)


async def test_a_busy_port_is_one_clear_line(make_config: Any, database_url: str) -> None:
    config = make_config()
    async with serving(config, database_url, with_worker=False):
        with pytest.raises(ConfigurationError, match=f"port {config.port} .*choose another") as caught:
            async with serving(config, database_url, with_worker=False):
                pass
    assert "\n" not in str(caught.value)
    async with serving(config, database_url, with_worker=False):
        pass  # and free again at once


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_it_serves_on_an_address_or_a_name_of_this_machine(
    make_config: Any, database_url: str, host: str
) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6; enable it to try ::1")
    async with (
        serving(make_config(host=host), database_url, with_worker=False) as server,
        aiohttp.ClientSession() as session,
        session.get(server.address + "/health") as answer,
    ):
        assert answer.status == 200


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
        return True


async def test_a_host_that_is_no_address_is_refused(make_config: Any, database_url: str) -> None:
    config = make_config(host="no-such-host.invalid", api_tokens="a-token-of-enough-length")
    with pytest.raises(ConfigurationError, match="is not an address"):
        async with serving(config, database_url):
            pass


async def test_a_stop_waits_neither_for_an_idle_client_nor_for_one_that_never_ends_its_request(
    make_config: Any, database_url: str
) -> None:
    config = make_config()
    beginnings = [
        b"",
        b"GET /health HTTP/1.1\r\nHost: local",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    ]
    writers = []
    async with asyncio.timeout(15):
        async with serving(config, database_url, with_worker=False):
            for beginning in beginnings:
                _, writer = await asyncio.open_connection("127.0.0.1", config.port)
                writer.write(beginning)
                await writer.drain()
                writers.append(writer)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 15
    for writer in writers:
        writer.close()


async def test_a_request_in_hand_does_not_outlive_its_server(
    unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexandria.server.DRAIN_SECONDS", 0.05)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    async with aiohttp.ClientSession() as session:
        async with listening(app, "127.0.0.1", unused_port) as server:
            asking = asyncio.create_task(session.get(server.address + "/slow").__aenter__())
            await begun.wait()
        assert ended.is_set()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


# The worker inside


@pytest.fixture
async def app(make_config: Any, database_url: str) -> AsyncIterator[App]:
    async with running_app(make_config(), database_url) as app:
        yield app


class Doomed(Worker):
    """A worker whose database goes away."""

    async def run(self) -> None:
        raise ExceptionGroup("unhandled errors in a TaskGroup", [OSError("the line is cut")])


async def test_a_worker_that_crashes_is_seen_and_started_again(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexandria.server.FIRST_BACK_OFF_SECONDS", 0.3)
    monkeypatch.setattr("alexandria.server.STEADY_SECONDS", 0.3)
    made: list[type[Worker]] = []

    def make(app: App) -> Worker:
        made.append(Worker if made else Doomed)
        return made[-1](app)

    state = WorkerState()
    keeper = Keeper(app, state, make)
    async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
        tasks.create_task(keeper.run())

        async def is_crashed() -> bool:
            return state.state == "crashed"

        async def is_running() -> bool:
            return state.state == "running" and len(made) > 1

        await eventually(is_crashed)
        assert (state.detail, state.crashes) == ("OSError: the line is cut", 1)
        await eventually(is_running)
        assert (state.detail, state.crashes) == ("", 0)
        keeper.stop()
    assert made == [Doomed, Worker]


async def test_a_worker_that_only_ends_has_crashed_too(app: App) -> None:
    class Tired(Worker):
        async def run(self) -> None:
            return

    state = WorkerState()
    keeper = Keeper(app, state, Tired)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(keeper.run())

        async def is_crashed() -> bool:
            return state.state == "crashed"

        await eventually(is_crashed)
        assert state.detail == "it ended without being told to"
        keeper.stop()


async def test_a_database_that_goes_away_while_nothing_is_to_do_is_a_crash_too(
    make_config: Any, own_database_url: str, server_url: str
) -> None:
    async with running_app(make_config(isbndb_key=None), own_database_url) as app:
        name = urlsplit(own_database_url).path[1:]
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        state = WorkerState()
        keeper = Keeper(app, state)
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(keeper.run())

            async def is_crashed() -> bool:
                return state.state == "crashed" and "database" in state.detail

            await eventually(is_crashed)
            keeper.stop()


async def test_a_crashed_worker_makes_the_server_unready(
    start_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "run", Doomed.run)
    client = await start_server(with_worker=True)

    async def is_unready() -> bool:
        answer = await client.get("/ready")
        return bool(answer.status == 503 and "the line is cut" in answer.json["detail"])

    await eventually(is_unready)
    assert (await client.get("/health")).status == 200


async def test_a_server_with_a_key_works_and_one_without_waits_until_covers_are_wanted(
    start_server: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexandria.server.IDLE_LOOK_SECONDS", 0.05)

    def is_in_state(client: Any, state: str) -> Callable[[], Awaitable[bool]]:
        async def look() -> bool:
            return bool((await client.get("/ready")).json.get("worker") == state)

        return look

    with_key = await start_server(with_worker=True)
    await eventually(is_in_state(with_key, "running"))
    without = await start_server(with_worker=True, isbndb_key=None)
    await eventually(is_in_state(without, "idle"))
    async with database.connection() as connection:
        wish = CoverWish(Isbn("9780306406157"), "http://127.0.0.1:1/x.png", NOW)
        await CoverStore(connection).want([wish])
    await eventually(is_in_state(without, "running"))


# As a process

PROGRAM = """
import sys
from alexandria import config
from alexandria.domain.errors import ConfigurationError
from alexandria.server import serve
from alexandria.telemetry import configure_logs
settings = config.load()
configure_logs(settings.log_level)
try:
    serve(settings, host=settings.host, port=settings.port)
except ConfigurationError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_real_process_serves_says_where_and_stops_within_seconds(
    make_config: Any, server_url: str, database_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    config = make_config()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ALEXANDRIA_")},
        "ALEXANDRIA_DATABASE_URL": database_url,
        "ALEXANDRIA_DATA_DIR": str(tmp_path),
        "ALEXANDRIA_ISBNDB_KEY": "a-key",
        "ALEXANDRIA_PORT": str(config.port),
        "ALEXANDRIA_SCHEDULE": "off",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(60):
        assert f"http://127.0.0.1:{config.port}".encode() in await process.stderr.readline()
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, env=environment, stderr=subprocess.PIPE
        )
        _, complaint = await second.communicate()
        assert (second.returncode, len(complaint.splitlines())) == (1, 1)
        assert f"port {config.port}".encode() in complaint
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{config.port}/ready") as answer:
                assert (answer.status, (await answer.json())["worker"]) == (200, "running")
            process.send_signal(number)
            began = asyncio.get_running_loop().time()
            output, errors = await process.communicate()
    assert (process.returncode, output) == (0, b"")
    assert asyncio.get_running_loop().time() - began < 15
    assert b"Traceback" not in errors
