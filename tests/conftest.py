"""What every test may ask for: a real PostgreSQL, a database of its own in it, a clock it can set."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from alexandria.sandbox.server import Sandbox
from alexandria.stores.embedded import running_server
from alexandria.stores.postgres import Database, migrate


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `make soak` sets."""
    parser.addoption("--soak-seconds", type=float, default=20.0, help="how long the quota is under fire")
    parser.addoption(
        "--soak-seed", type=int, default=None, help="whom the fire hits and when; drawn if not given"
    )


SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


class SetClock:
    """A clock that stands still until a test moves it; sleeping moves it too."""

    def __init__(self, now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        self.advance(timedelta(seconds=max(0.0, seconds)))
        await asyncio.sleep(0)

    def advance(self, span: timedelta) -> None:
        """Move both clocks forward."""
        self._now += span
        self._monotonic += span.total_seconds()

    def set(self, now: datetime) -> None:
        """Move the wall clock alone, as an administrator or an NTP step would."""
        self._now = now


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real rows; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not available; see CONTRIBUTING.md")
    return SHARED_DATA


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """One PostgreSQL for the whole test run, in a folder that its account can enter."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="alexandria-tests-", ignore_cleanup_errors=True)
            )
        )
        folder.chmod(0o755)
        url = stack.enter_context(running_server(folder))
        with psycopg.connect(url, autocommit=True) as connection:
            # Processes die in these tests, the machine doesn't: waiting for its disk would prove nothing.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url


def url_of(server_url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """A migrated database that the others are copied from: a copy takes milliseconds, migrating takes longer."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_alexandria")

    async def prepare() -> None:
        async with Database.open(url_of(server_url, "template_alexandria")) as database:
            await migrate(database)

    asyncio.run(prepare())
    return "template_alexandria"


@contextmanager
def copy_of(server_url: str, template: str) -> Iterator[str]:
    """The URL of a database of the block's own, with what the template holds."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        yield url_of(server_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """The URL of an empty, migrated database of the test's own."""
    with copy_of(server_url, template) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database.open(database_url) as database:
        yield database


Environment = Callable[..., dict[str, str]]


@pytest.fixture
def environment_for(database_url: str, tmp_path: Path) -> Environment:
    """Settings for a harvest from a sandbox into the test's own database, as a process would read them."""

    def make(sandbox: Sandbox, **settings: object) -> dict[str, str]:
        given: dict[str, object] = {
            "data_dir": tmp_path,
            "database_url": database_url,
            "isbndb_url": sandbox.url,
            "isbndb_key": "sandbox-key",
            "download_hosts": sandbox.covers_url.partition("://")[2].rstrip("/"),
            "requests_per_minute": 6000,
            "log_level": "error",
            # No test harvests because of the hour at which it runs.
            "schedule": "off",
            "alert_disk_gib": 0,  # however full this machine is
            "cover_disk_gib": 0,
        }
        return {f"ALEXANDRIA_{name.upper()}": str(value) for name, value in (given | settings).items()}

    return make


async def someone_waits(database: Database) -> None:
    """Until somebody in this database waits for a lock that another one holds."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with database.connection() as connection:
        while not await (await connection.execute(waiting)).fetchone():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
