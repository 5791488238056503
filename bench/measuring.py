"""What the quota's benchmarks share: a server for the run, databases in it, a clock, processes that begin together."""

import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import structlog

from alexandria.stores.embedded import running_server
from alexandria.stores.postgres import Database, migrate

PATIENCE_SECONDS = 120
"""How long to wait for processes that share what processors there are."""

processes = multiprocessing.get_context("forkserver")
"""Each process starts as a copy of one that has nothing but the modules, and no thread or connection of this one."""
processes.set_forkserver_preload(["alexandria.stores.quota"])


@dataclass(frozen=True)
class NoonClock:
    """Starts at noon, so that no run falls into the guard around midnight; processes that share it agree."""

    started: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        return datetime(2026, 11, 25, 12, tzinfo=UTC) + timedelta(seconds=self.monotonic() - self.started)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def be_quiet() -> None:
    """Let no log line cost time or mix with the figures; each process has to ask for it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


@contextmanager
def server() -> Iterator[str]:
    """The URL of a PostgreSQL for this run, as Alexandria sets it up: every commit reaches the disk."""
    with tempfile.TemporaryDirectory(prefix="alexandria-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with running_server(folder) as url:
            yield url


def copy_of(server_url: str, template: str, name: str) -> str:
    """The URL of a new database that begins as another one is; nobody may be connected to that one."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


def fresh_database(server_url: str, name: str) -> str:
    """The URL of an empty, migrated database, so that no part of a run sees what another left behind."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()

    async def prepare() -> None:
        async with Database.open(url) as database:
            await migrate(database)

    asyncio.run(prepare())
    return url


# What processes have cost

TICK = os.sysconf("SC_CLK_TCK")


def postgres_of(folder: Path) -> list[int]:
    """The process ids of a cluster: its postmaster and what it has started."""
    first = int(next(folder.rglob("postmaster.pid")).read_text("utf-8").split()[0])
    running = (int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit())
    return [first, *(pid for pid in running if parent_of(pid) == first)]


def parent_of(pid: int) -> int | None:
    """Which process started one; None when there is none any more."""
    try:
        return int(stat(pid)[1])
    except OSError:
        return None


def stat(pid: int) -> list[str]:
    """What proc(5) says after the process's name."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()


def spent(pids: list[int]) -> float:
    """Seconds of a processor that processes have had, those of children that have ended included."""
    seconds = 0
    for pid in pids:
        try:
            seconds += sum(map(int, stat(pid)[11:15]))
        except OSError:
            continue
    return seconds / TICK
