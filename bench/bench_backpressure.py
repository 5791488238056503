"""Many covers wanted at once, drained by one worker: queue depth, memory and latency over time, and whether the end is as fast as the start.

    python bench/bench_backpressure.py                     # 3,000 covers, a minute or so
    python bench/bench_backpressure.py --covers 100000     # the whole of what issue 5 asks for: some 20 minutes

The pictures are the sandbox's smallest, served by a process of its own, so that what is measured is queue, worker and database rather than
the computing of pictures (bench_covers.py). *Latency* is from the queue to the end of the job; *wish* that of a cover for which
somebody waits, asked for out of the end of the backlog every few seconds. Figures are kept in docs/performance.md.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from alexandria import config as configuration
from alexandria.app import App, running_app
from alexandria.backpressure import measure
from alexandria.covers import hasten_covers
from alexandria.domain.covers import CoverWish
from alexandria.domain.isbn import Isbn
from alexandria.jobs.worker import Worker, work_until
from alexandria.stores.covers import CoverStore
from measuring import be_quiet, fresh_database, server

LATENCIES = """
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), percentile_cont(0.99) WITHIN GROUP (ORDER BY seconds)
  FROM (SELECT extract(epoch FROM done.created - first.created) AS seconds
          FROM pgqueuer_log AS done
          JOIN LATERAL (SELECT created FROM pgqueuer_log WHERE job_id = done.job_id AND status = 'queued' ORDER BY created LIMIT 1)
            AS first ON true
         WHERE done.status = 'successful' AND done.created >= now() - %s * interval '1 second' AND done.priority = 0) AS jobs
"""


def isbns_of(count: int) -> list[Isbn]:
    """So many valid ISBNs, with check digits by ISO 2108."""
    bodies = (f"97910{number:07d}" for number in range(count))
    weighed = ((body, sum(int(digit) * (1, 3)[n % 2] for n, digit in enumerate(body))) for body in bodies)
    return [Isbn.parse(body + str(-total % 10)) for body, total in weighed]


def resident_mib() -> float:
    """What this process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


@asynccontextmanager
async def covers_host() -> AsyncIterator[str]:
    """A sandbox in a process of its own; yields where its pictures are."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alexandria", "sandbox", "--port", "0", "--authors", "2", "--json",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    try:
        text = b""
        while not text.rstrip().endswith(b"}"):
            text += await asyncio.wait_for(process.stdout.readline(), 60)
        yield str(msgspec.json.decode(text)["covers_url"])
    finally:
        process.terminate()
        await process.wait()


@dataclass
class Watch:
    """What is seen of a drain, every few seconds."""

    app: App
    covers: Sequence[Isbn]
    every: float
    speeds: list[float] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    wishes: list[float] = field(default_factory=list)

    async def run(self) -> None:
        print("   s     done   /s  queue   MiB   latency p50   p99   wish s", flush=True)
        began, done_before = time.monotonic(), 0
        for turn in range(1, 100_000):
            wish = await self._wish(self.covers[-turn])
            await asyncio.sleep(max(0.0, began + turn * self.every - time.monotonic()))
            [(stored,)] = await self._ask("SELECT count(*) FROM covers_wanted WHERE state = 'stored'")
            [(depth,)] = await self._ask("SELECT count(*) FROM pgqueuer WHERE status = 'queued'")
            [(_, p50, p99)] = await self._ask(LATENCIES, self.every)
            self.speeds.append((stored - done_before) / self.every)
            self.depths.append(depth)
            self.memory.append(resident_mib())
            self.wishes.append(wish)
            print(
                f"{time.monotonic() - began:5.0f} {stored:8,} {self.speeds[-1]:4.0f} {depth:6} {self.memory[-1]:5.0f}"
                f" {p50 or 0:13.2f} {p99 or 0:5.2f} {wish:8.2f}",
                flush=True,
            )
            done_before = stored

    async def _wish(self, isbn: Isbn) -> float:
        """Ask for a cover out of the end of the backlog; how long it takes to be there."""
        began = time.monotonic()
        async with self.app.database.transaction() as connection:
            await hasten_covers(connection, [isbn], marks=self.app.config.marks, now=self.app.clock.now())
        while time.monotonic() - began < 60:
            async with self.app.database.connection() as connection:
                if (await CoverStore(connection).get(isbn)).picture is not None:
                    break
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def _ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        async with self.app.database.connection() as connection:
            return await (await connection.execute(statement.encode(), values)).fetchall()


async def drain(url: str, covers_url: str, folder: Path, *, covers: int, every: float) -> None:
    """Want so many covers, and let one worker fetch them all."""
    environment = {
        "ALEXANDRIA_DATA_DIR": str(folder),
        "ALEXANDRIA_DATABASE_URL": url,
        "ALEXANDRIA_DOWNLOAD_HOSTS": covers_url.partition("://")[2].rstrip("/"),
        "ALEXANDRIA_SCHEDULE": "off",
    }
    isbns = isbns_of(covers)
    async with running_app(configuration.load(environment), url) as app:
        began = time.monotonic()
        for start in range(0, covers, 10_000):
            part = isbns[start : start + 10_000]
            now = app.clock.now()
            async with app.database.transaction() as connection:
                await CoverStore(connection).want(
                    [CoverWish(isbn, f"{covers_url}/covers/tiny/{isbn}.jpg", now) for isbn in part]
                )
        print(f"{covers:,} covers wanted in {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        await measure(app.database, app.config.marks, now=app.clock.now())
        print(f"counted in {1000 * (time.monotonic() - began):.0f} ms")

        async def is_done() -> bool:
            async with app.database.connection() as connection:
                return not await CoverStore(connection).list_due(1, app.clock.now())

        watch = Watch(app, isbns, every)
        watching = asyncio.create_task(watch.run())
        began = time.monotonic()
        await work_until(Worker(app, runs=frozenset()), is_done)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        tenth = max(1, len(watch.speeds) // 10)
        first, last = sum(watch.speeds[1 : 1 + tenth]) / tenth, sum(watch.speeds[-1 - tenth : -1]) / tenth
        print(
            f"drained in {time.monotonic() - began:.0f} s; the last tenth against the first: ratio {last / first:.2f}\n"
            f"queue at most {max(watch.depths)} as sampled; memory {min(watch.memory):.0f} to {max(watch.memory):.0f} MiB\n"
            f"wishes p50 {sorted(watch.wishes)[len(watch.wishes) // 2]:.2f} s, longest {max(watch.wishes):.2f} s"
        )


async def main(covers: int, every: float) -> None:
    """A server, a covers host, and the drain."""
    with server() as server_url, tempfile.TemporaryDirectory(prefix="alexandria-covers-") as folder:
        url = await asyncio.to_thread(fresh_database, server_url, "backpressure")
        async with covers_host() as covers_url:
            await drain(url, covers_url, Path(folder), covers=covers, every=every)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--covers", type=int, default=3_000)
    options.add_argument("--every", type=float, default=5.0, help="seconds between two lines")
    chosen = options.parse_args()
    be_quiet()
    asyncio.run(main(chosen.covers, chosen.every))
