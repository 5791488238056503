"""What it costs to look: the dashboard's pages and /api/monitoring over a large installation, in milliseconds of a running server.

A million editions, a million entries of the ledger, ten open runs of 1,500 items. Making them takes some minutes, so with a folder as
argument they are kept there for the next time. Figures are kept in docs/performance.md.
"""

import argparse
import asyncio
import http.client
import os
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from alexandria import config as configuration
from alexandria.domain.quota import Account
from alexandria.server import serving
from alexandria.stores.counts import CountStore
from alexandria.stores.embedded import running_server
from alexandria.stores.postgres import Database, migrate
from measuring import be_quiet, postgres_of, spent

EDITIONS = 1_000_000
ENTRIES = 1_000_000
"""Of the ledger."""
KEY = "a-key"
LOOKS = 11

ADDRESSES = (
    "/",
    "/dashboard/catalogue",
    "/dashboard/catalogue/search?q=lago",
    "/dashboard/catalogue/reviews",
    "/dashboard/queues",
    "/dashboard/runs",
    "/dashboard/runs/open-1",
    "/dashboard/usage",
    "/dashboard/usage?days=90",
    "/api/monitoring/overview",
    "/api/monitoring/queues",
    "/api/monitoring/providers",
    "/api/monitoring/usage?days=30",
    "/api/runs",
    "/metrics",
)


def fill(url: str, *, editions: int = EDITIONS, entries: int = ENTRIES) -> None:
    """Make the installation, unless it is there; a killed attempt leaves nothing."""
    text = Path(__file__).with_suffix(".sql").read_text("utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    account = Account.of("isbndb", KEY)
    values = {"key_hash": account.key_hash, "editions": editions, "entries": entries}
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT EXISTS (SELECT FROM editions)").fetchone()
        if row and row[0]:
            return
        with connection.transaction():
            for name, statement in zip(parts[::2], parts[1::2], strict=True):
                began = time.perf_counter()
                connection.execute(statement.encode(), values)
                print(f"  {name}: {time.perf_counter() - began:.0f} s", flush=True)
        asyncio.run(gather(url))
        connection.execute("VACUUM ANALYZE")


async def prepare(url: str) -> None:
    """Bring the database up to date."""
    async with Database.open(url) as database:
        await migrate(database)


async def gather(url: str) -> None:
    """What a worker does every few minutes."""
    async with Database.open(url) as database, database.transaction() as connection:
        await CountStore(connection).gather_if_due()


def look(address: str, path: str) -> tuple[int, float]:
    """Ask once; the status, and milliseconds until the whole answer is there."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status, 1000 * (time.perf_counter() - began)


async def measure(url: str, folder: Path, paths: Sequence[str]) -> None:
    """Look at every address some times, once for nothing. `computing` is what server, PostgreSQL and the asking cost the processor, however
    busy the machine is, to about a millisecond."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"DATA_DIR": str(folder), "PORT": str(port), "ISBNDB_KEY": KEY, "LOG_LEVEL": "error"}
    config = configuration.load({f"ALEXANDRIA_{name}": value for name, value in settings.items()})
    async with serving(config, url, with_worker=False) as server:
        for path in paths:
            status, first = await asyncio.to_thread(look, server.address, path)
            took, before = [], spent([os.getpid(), *postgres_of(folder)])
            for _ in range(LOOKS):
                # What is remembered for a moment is not what is measured.
                await asyncio.sleep(0 if path.startswith(("/api", "/metrics")) else 2.1)
                took.append((await asyncio.to_thread(look, server.address, path))[1])
            took.sort()
            computed = 1000 * (spent([os.getpid(), *postgres_of(folder)]) - before) / LOOKS
            print(
                f"{path:36} {status}  computing {computed:6.1f}  quickest {took[0]:6.1f}  median {statistics.median(took):6.1f}"
                f"  slowest {took[-1]:6.1f}  first {first:6.1f} ms",
                flush=True,
            )


def main() -> None:
    """Measure, in a folder of the run's own or in the given one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the installation is kept")
    parser.add_argument("--editions", type=int, default=EDITIONS)
    parser.add_argument("--entries", type=int, default=ENTRIES, help="of the ledger")
    parser.add_argument("--path", action="append", help="only this address; may be repeated")
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
        fill(url, editions=wanted.editions, entries=wanted.entries)
        asyncio.run(measure(url, folder, wanted.path or ADDRESSES))


if __name__ == "__main__":
    main()
