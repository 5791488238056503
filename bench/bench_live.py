"""What it costs that somebody follows the overview: processor time of the server and its PostgreSQL, with no viewer, one and twenty.

Over a day of 15,000 calls and ten open runs of 1,500 items, once while nothing happens and once while a call a second is charged. Some
minutes; with a folder as argument the installation is kept there for the next time. Figures are kept in docs/performance.md.
"""

import argparse
import asyncio
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from alexandria.domain.quota import Account, Lane, Policy, Request
from alexandria.stores.embedded import running_server
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from bench_dashboard import KEY, fill, prepare
from measuring import be_quiet, postgres_of, spent

EDITIONS = 20_000
ENTRIES = 90_000
"""Three days: the overview reads nothing older but what is kept added up."""
SECONDS = 30


def find_port() -> int:
    """One that nobody serves on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORT = find_port()


@contextmanager
def server(url: str, folder: Path) -> Iterator[int]:
    """A server in a process of its own, as people run it but without a worker; its process id."""
    environment = {
        **os.environ,
        "ALEXANDRIA_DATABASE_URL": url,
        "ALEXANDRIA_DATA_DIR": str(folder / "data"),
        "ALEXANDRIA_ISBNDB_KEY": KEY,
        "ALEXANDRIA_LOG_LEVEL": "error",
        "ALEXANDRIA_ALERTS_OFF": "all",
    }
    command = [sys.executable, "-m", "alexandria", "serve", "--port", str(PORT), "--no-with-worker"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - ours
        try:
            wait_until_ready(process)
            yield process.pid
        finally:
            process.terminate()


def wait_until_ready(process: "subprocess.Popen[bytes]") -> None:
    """Return once the server answers. Raises TimeoutError."""
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=1)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200 and process.poll() is None:
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the server did not start")


@contextmanager
def viewers(count: int, events: list[int]) -> Iterator[None]:
    """So many who follow the overview; `events` gets the size of each event that the first one is sent."""
    leaving = threading.Event()

    def follow(notes: list[int]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        connection.request("GET", "/dashboard/live?page=overview")
        answer = connection.getresponse()
        while not leaving.is_set():
            line = answer.readline()
            if line.startswith(b"data:"):
                notes.append(len(line))

    threads = [
        threading.Thread(target=follow, args=(events if not n else [],), daemon=True) for n in range(count)
    ]
    for thread in threads:
        thread.start()
    yield
    leaving.set()


@contextmanager
def charging(url: str, is_busy: bool) -> Iterator[None]:
    """A call charged each second, if it is to be busy."""
    stopping = threading.Event()

    async def charge() -> None:
        async with Database.open(url) as database:
            quota = QuotaStore(database)
            account = Account.of("isbndb", KEY)
            while not stopping.is_set():
                request = Request(uuid4(), Lane.INTERACTIVE, "batch-direct", 1)
                reservation = await quota.reserve(
                    account, Policy(safe_limit=10**6, hard_limit=10**6), request
                )
                await quota.settle(reservation, units_spent=1, outcome="found")
                await asyncio.sleep(1)

    thread = threading.Thread(target=lambda: asyncio.run(charge()))
    if is_busy:
        thread.start()
    yield
    stopping.set()
    if is_busy:
        thread.join()


def measure(url: str, folder: Path, seconds: int) -> None:
    """Print what each number of viewers costs beyond none."""
    with server(url, folder) as pid:
        for is_busy in (False, True):
            none = None
            for count in (0, 1, 20):
                events: list[int] = []
                with charging(url, is_busy), viewers(count, events):
                    time.sleep(5)  # what the first look costs is not what is measured
                    events.clear()
                    cluster = postgres_of(folder)
                    before = spent([pid]), spent(cluster)
                    time.sleep(seconds)
                    server_share = 100 * (spent([pid]) - before[0]) / seconds
                    database_share = 100 * (spent(cluster) - before[1]) / seconds
                none = none or (server_share, database_share)
                print(
                    f"{'a call a second' if is_busy else 'nothing happens':16} {count:3} viewers:"
                    f" server {server_share:5.2f} % (+{server_share - none[0]:.2f}),"
                    f" PostgreSQL {database_share:5.2f} % (+{database_share - none[1]:.2f}) of a core;"
                    f" {len(events)} events, {sum(events):,} bytes to one in {seconds} s",
                    flush=True,
                )


def main() -> None:
    """Measure, in a folder of the run's own or in the given one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the installation is kept")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each figure")
    wanted = parser.parse_args()
    be_quiet()
    with ExitStack() as stack:
        folder = wanted.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="alexandria-bench-"))
        )
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        url = stack.enter_context(running_server(folder))
        asyncio.run(prepare(url))
        fill(url, editions=EDITIONS, entries=ENTRIES)
        measure(url, folder, wanted.seconds)


if __name__ == "__main__":
    main()
