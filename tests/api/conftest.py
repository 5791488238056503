"""A real server on a real socket, over a database of the test's own, and a small invented library in it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from queue import Queue
from typing import Any

import aiohttp
import psycopg
import pytest
import pyvips

from alexandria import config as configuration
from alexandria.config import Config
from alexandria.covers import derive, judge
from alexandria.domain.catalogue import AuthorFacts, WorkFacts
from alexandria.domain.covers import CoverOutcome, CoverState, CoverWish, Picture, object_key
from alexandria.domain.isbn import Isbn
from alexandria.sandbox.server import PREMIUM, running_sandbox
from alexandria.sandbox.world import World
from alexandria.server import serving
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.covers import CoverStore
from alexandria.stores.objects import ObjectStore
from alexandria.stores.postgres import Database
from conftest import SetClock, url_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

FIRST_ISBN = "9780306406157"
SHARED_ISBN = "9781861972712"

_numbers = count(1)


@dataclass(frozen=True)
class Answer:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any


@dataclass(frozen=True)
class Client:
    """Asks one server."""

    address: str
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """Send one request; redirects are not followed."""
        async with self.session.request(
            method, self.address + path, allow_redirects=False, **options
        ) as answer:
            body = await answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "") and body
            return Answer(
                answer.status, answer.headers, body, await answer.json(content_type=None) if is_json else None
            )

    async def get(self, path: str, **options: Any) -> Answer:
        """Read something."""
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: object = None, **options: Any) -> Answer:
        """Write something: the body as JSON."""
        return await self.ask("POST", path, json={} if body is None else body, **options)


StartServer = Callable[..., Awaitable[Client]]
MakeConfig = Callable[..., Config]


@contextmanager
def new_database(server_url: str, template: str) -> Iterator[str]:
    """An empty, migrated database until the block ends; a test may have dropped it by then."""
    name = f"api_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        yield url_of(server_url, name)
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture(scope="module")
def database_url(server_url: str, template: str) -> Iterator[str]:
    """One database for a module: its tests clean up what they must not find."""
    with new_database(server_url, template) as url:
        yield url


@pytest.fixture
def own_database_url(server_url: str, template: str) -> Iterator[str]:
    """A database for one test, which may do with it what it likes."""
    with new_database(server_url, template) as url:
        yield url


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers of a module keep covers."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def make_config(data_dir: Path) -> MakeConfig:
    """A configuration with a free port; settings by their names, None leaves one out."""

    def make(**settings: object) -> Config:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Nobody listens there: no test asks a provider by accident.
        here = {"isbndb_key": "a-key", "isbndb_url": "http://127.0.0.1:9", "schedule": "off"}
        here["alerts_off"] = "all"  # nobody looks at tables that a test empties
        here["cover_disk_gib"] = "0"  # however full this machine is
        values = {"data_dir": data_dir, "port": port, **here, **settings}
        return configuration.load(
            {f"ALEXANDRIA_{name.upper()}": str(value) for name, value in values.items() if value is not None}
        )

    return make


@pytest.fixture(scope="module")
def address(database_url: str, make_config: MakeConfig) -> Iterator[str]:
    """A server as it is set up at first, on this machine and without tokens, in a thread for the whole module."""
    started: Queue[tuple[str, Callable[[], object]]] = Queue()

    async def run() -> None:
        stop, loop, clock = asyncio.Event(), asyncio.get_running_loop(), SetClock()
        world = World.invent(seed=3, authors=2)
        async with (
            running_sandbox(world, keys={"a-key": PREMIUM}, clock=clock) as sandbox,
            serving(
                make_config(isbndb_url=sandbox.url), database_url, with_worker=False, clock=clock
            ) as server,
        ):
            started.put((server.address, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(asyncio.run, run())
        found, stop = started.get(timeout=20)
        yield found
        stop()
        running.result(timeout=20)


@pytest.fixture
async def client(address: str) -> AsyncIterator[Client]:
    """Asks the module's server."""
    async with aiohttp.ClientSession() as session:
        yield Client(address, session)


@pytest.fixture
async def start_server(database_url: str, make_config: MakeConfig) -> AsyncIterator[StartServer]:
    """Start a server with these settings, at noon, without a worker unless asked for; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(*, url: str = database_url, with_worker: bool = False, **settings: object) -> Client:
            server = await stack.enter_async_context(
                serving(make_config(**settings), url, with_worker=with_worker, clock=SetClock())
            )
            return Client(server.address, await stack.enter_async_context(aiohttp.ClientSession()))

        yield start


@pytest.fixture
def objects(data_dir: Path) -> ObjectStore:
    """Where the servers of this module keep covers."""
    return ObjectStore.open(data_dir / "covers")


@pytest.fixture(scope="module")
def library(database_url: str) -> None:
    """Two authors, two works, three editions; two editions share an ISBN."""
    asyncio.run(fill(database_url))


async def fill(database_url: str) -> None:
    """Write the library down."""
    async with Database.open(database_url) as database, database.transaction() as connection:
        catalogue = CatalogueStore(connection)
        await catalogue.save_identified_authors(
            [
                AuthorFacts(
                    "OL1A", "Ada Prolific", other_names=("A. Prolific",), birth_year=1900, death_year=1980
                ),
                AuthorFacts("OL2A", "Ben Sparse"),
            ]
        )
        await catalogue.save_identified_works(
            [
                WorkFacts(
                    "OL1W", "The Green Lamp", author_keys=("OL1A", "OL2A"), description="About a lamp."
                ),
                WorkFacts("OL2W", "The Red Lamp", author_keys=("OL1A",)),
            ]
        )
        await catalogue.save_editions(
            [
                edition("e1", "OL1W", "The Green Lamp", published="1998-09", pages=320),
                edition("e2", "OL2W", "The Red Lamp", published="2001"),
                edition("e3", "OL2W", "A Calendar of Lamps", published=None),
            ]
        )
        await catalogue.save_isbns(
            first=[(Isbn(FIRST_ISBN), "e1"), (Isbn(SHARED_ISBN), "e2")], others=[(Isbn(SHARED_ISBN), "e3")]
        )
        await catalogue.save_contributions(
            ["e1"],
            [
                {
                    "edition_key": "e1",
                    "position": 1,
                    "statement": "Prolific, Ada (author)",
                    "name": "Ada Prolific",
                    "role": "author",
                    "author_key": "OL1A",
                    "evidence": "identifier",
                }
            ],
        )


def edition(key: str, work_key: str, title: str, **fields: object) -> dict[str, object]:
    """A row as the catalogue's store takes it."""
    return {
        "key": key,
        "work_key": work_key,
        "title": title,
        "subtitle": None,
        "publisher": "Lamp House",
        "published": None,
        "language": "eng",
        "pages": None,
        "binding": "Paperback",
        "synopsis": None,
        "subjects": ["lamps"],
        "cover_url": None,
        "is_book": True,
        "provenance": {"title": "isbndb", "publisher": "openlibrary"},
        **fields,
    }


StoreCover = Callable[..., Awaitable[Picture]]


@pytest.fixture
async def store_cover(database: Database, objects: ObjectStore) -> AsyncIterator[StoreCover]:
    """Store a cover of one colour for an ISBN, as a worker would, over the one that was there."""

    async def store(isbn: str, colour: tuple[int, int, int] = (40, 90, 140)) -> Picture:
        body = (
            pyvips.Image.black(400, 600).new_from_image(colour).copy(interpretation="srgb").pngsave_buffer()
        )
        picture, sizes = judge(body), derive(body)
        assert isinstance(picture, Picture)
        assert isinstance(sizes, Mapping)
        for size, webp in sizes.items():
            await objects.put(object_key(picture.content_hash, size), webp, content_type="image/webp")
        async with database.transaction() as connection:
            await connection.execute("DELETE FROM covers_wanted WHERE isbn13 = %s", [isbn])
            covers = CoverStore(connection)
            await covers.want([CoverWish(Isbn(isbn), "https://covers.example/1.png", NOW)])
            await covers.record(
                await covers.get(Isbn(isbn)), CoverOutcome(CoverState.STORED, picture=picture), NOW
            )
        return picture

    yield store
    async with database.connection() as connection:
        await connection.execute("TRUNCATE covers_wanted")


@pytest.fixture
def unused_port(make_config: MakeConfig) -> int:
    """A port that nobody listens on."""
    return make_config().port
