"""A real server over a database of the test's own, with something to show; where a browser is."""

import asyncio
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from queue import Queue
from typing import LiteralString
from uuid import uuid4

import psycopg
import pyvips

from alexandria import config as configuration
from alexandria.covers import derive, judge
from alexandria.domain.alerting import Alert
from alexandria.domain.catalogue import AuthorFacts, RecordKind, SourceRecord, WorkFacts
from alexandria.domain.covers import CoverOutcome, CoverState, CoverWish, Picture, object_key
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Account, Lane, Policy, Request
from alexandria.domain.rollout import PauseCause
from alexandria.domain.targets import Target, TargetKind
from alexandria.server import serving
from alexandria.stores.alerts import AlertStore
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.covers import CoverStore
from alexandria.stores.harvests import HarvestStore, ItemState
from alexandria.stores.objects import ObjectStore
from alexandria.stores.postgres import Connection, Database
from alexandria.stores.quota import QuotaStore
from conftest import SetClock, url_of
from harvesting import daytime

ISBNS = ("9780306406157", "9781861972712", "9780140328721")
_numbers = count(1)
TOKEN = "a-token-of-the-tests"
HOSTILE = "<script>alert('from a title')</script>"


@dataclass(frozen=True)
class Site:
    """A running server, and a way to change what it shows."""

    address: str
    database_url: str
    data_dir: Path
    clock: SetClock
    stop: Callable[[], object]
    """Asks the server to stop."""

    async def write(self, statement: LiteralString) -> None:
        """Change something, and let the dashboard's moment of remembering pass."""
        async with Database.open(self.database_url) as database, database.connection() as connection:
            await connection.execute(statement)
        self.clock.advance(timedelta(seconds=2))


@contextmanager
def running_site(
    database_url: str, data_dir: Path, clock: SetClock, *, with_worker: bool = False, **settings: str
) -> Iterator[Site]:
    """A server in a thread of its own until the block ends; one with a worker goes by the machine's clock."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    values = {"data_dir": str(data_dir), "port": str(port), **settings}
    config = configuration.load({f"ALEXANDRIA_{name.upper()}": value for name, value in values.items()})
    started: Queue[tuple[str, Callable[[], object]]] = Queue()

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        given_clock = daytime() if with_worker else clock
        async with serving(config, database_url, with_worker=with_worker, clock=given_clock) as server:
            started.put((server.address, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(asyncio.run, run())
        address, stop = started.get(timeout=20)
        try:
            yield Site(address, database_url, data_dir, clock, stop)
        finally:
            stop()
            running.result(timeout=20)


@contextmanager
def new_database(server_url: str, template: str) -> Iterator[str]:
    """An empty, migrated database until the block ends; a test may have dropped it by then."""
    name = f"dashboard_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        yield url_of(server_url, name)
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


async def fill(database_url: str, objects: ObjectStore, clock: SetClock) -> None:
    """Write down everything that the page has a place for."""
    async with Database.open(database_url) as database:
        quota = QuotaStore(database, clock)
        for units, consumer, is_settled in ((1200, "author-bibliography", True), (34, "new-releases", False)):
            reservation = await quota.reserve(
                Account.of("isbndb", "a-key"), Policy(), Request(uuid4(), Lane.BULK, consumer, units)
            )
            if is_settled:
                await quota.settle(reservation, units_spent=units, outcome="found")
        async with database.transaction() as connection:
            await fill_catalogue(connection, clock)
            await fill_runs(connection, clock)
            await fill_covers(connection, objects, clock)
            for kind in ("harvest_item", "fetch_cover"):
                await bury(connection, kind)
            await AlertStore(connection).raise_alert(
                Alert("run_stuck", "20261123-000003", f"look at {HOSTILE}", clock.now(), severity="critical")
            )


async def bury(connection: Connection, kind: str) -> int:
    """A dead letter, as PgQueuer keeps it."""
    cursor = await connection.execute(
        "INSERT INTO pgqueuer (priority, created, status, entrypoint, payload, attempts)"
        " VALUES (0, '2026-11-23 10:00Z', 'failed', %s, %s, 5) RETURNING id",
        [kind, json.dumps({"isbn": ISBNS[0], "note": HOSTILE}).encode()],
    )
    row = await cursor.fetchone()
    assert row is not None
    failure = {
        "exception_type": "ValueError",
        "exception_message": f"not a picture {HOSTILE}",
        "traceback": HOSTILE,
    }
    await connection.execute(
        "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, traceback) VALUES (%s, 'failed', 0, %s, %s)",
        [row[0], kind, json.dumps(failure)],
    )
    return int(row[0])


async def fill_catalogue(connection: Connection, clock: SetClock) -> None:
    catalogue = CatalogueStore(connection)
    await catalogue.save_identified_authors([AuthorFacts("OL1A", "Ada Prolific")])
    await catalogue.save_identified_works([WorkFacts("OL1W", "The Green Lamp", author_keys=("OL1A",))])
    empty = dict.fromkeys(
        ("subtitle", "publisher", "published", "language", "pages", "binding", "synopsis", "cover_url")
    )
    rows = [
        {
            "key": f"e{n}",
            "work_key": "OL1W",
            "title": title,
            "subjects": [],
            "is_book": True,
            "provenance": {},
        }
        for n, title in enumerate(["The Green Lamp", HOSTILE])
    ]
    await catalogue.save_editions([{**empty, **row} for row in rows])
    await catalogue.save_isbns([(Isbn(ISBNS[0]), "e0"), (Isbn(ISBNS[1]), "e1")], [])
    await catalogue.save_records([SourceRecord("isbndb", RecordKind.EDITION, ISBNS[0], b"{}", clock.now())])


async def fill_runs(connection: Connection, clock: SetClock) -> None:
    harvests = HarvestStore(connection)
    runs: list[tuple[str, dict[str, object]]] = [
        ("20261123-000001", {"tier": "top-100"}),
        ("20261123-000002", {"authors": [HOSTILE, "Another"]}),
        ("20261123-000003", {"tier": "top-1000"}),
    ]
    for hours, (run_id, parameters) in enumerate(runs):
        await harvests.add_run(
            run_id,
            kind="authors",
            lane=Lane.BULK,
            parameters=parameters,
            targets=[Target(TargetKind.AUTHOR, f"OL{n}A", f"Author {n}" if n else HOSTILE) for n in range(4)],
            fresh_since=clock.now(),
            now=clock.now() + timedelta(hours=hours - 6),
        )
    for item in await harvests.list_items("20261123-000001"):
        await harvests.advance_item(
            item,
            total=9,
            editions_found=9,
            editions_new=5,
            works_new=2,
            covers_wanted=3,
            now=clock.now(),
        )
        await harvests.leave_item(
            item,
            ItemState.FAILED if item.position == 1 else ItemState.DONE,
            now=clock.now(),
            reason=f"no answer {HOSTILE}" if item.position == 1 else None,
        )
    await harvests.finish_run("20261123-000001", now=clock.now())
    await harvests.pause_run(
        "20261123-000002",
        cause=PauseCause.QUOTA,
        reason="the day is used up",
        resumes_at=clock.now() + timedelta(hours=12),
    )


async def fill_covers(connection: Connection, objects: ObjectStore, clock: SetClock) -> None:
    covers = CoverStore(connection)
    wishes = [
        CoverWish(Isbn(isbn), f"https://covers.example/{n}.png", clock.now()) for n, isbn in enumerate(ISBNS)
    ]
    await covers.want(wishes)
    for shade, isbn in ((90, ISBNS[0]), (180, ISBNS[1])):
        body = (
            pyvips.Image.black(400, 600)
            .new_from_image((40, 90, shade))
            .copy(interpretation="srgb")
            .pngsave_buffer()
        )
        picture, sizes = judge(body), derive(body)
        assert isinstance(picture, Picture)
        assert isinstance(sizes, dict)
        for size, webp in sizes.items():
            await objects.put(object_key(picture.content_hash, size), webp, content_type="image/webp")
        outcome = CoverOutcome(CoverState.STORED, picture=picture)
        await covers.record(await covers.get(Isbn(isbn)), outcome, clock.now())
    failed = CoverOutcome.failed("no answer", attempts=1, now=clock.now())
    await covers.record(await covers.get(Isbn(ISBNS[2])), failed, clock.now())


# A browser

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
    "--disable-component-update",
)


def find_chromium() -> str | None:
    """The program of an installed one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
