"""What a thousand units buy: four ways to spend them on the same world, each from the same loaded dump.

(a) ISBN by ISBN, (b) the same ISBNs in bulk calls, (c) the earlier system's way: one page for each author of a tier, in the order of
their works, with twenty pages for each month (predecessor.md, sections 1.5 and 1.7), (d) our plans. An edition counts as gained once the
provider's own record of it is in the catalogue; *new* are those that the dump did not hold. Figures are kept in docs/performance.md.
"""

import argparse
import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from alexandria import config as configuration
from alexandria import harvest, planning
from alexandria.app import App, running_app
from alexandria.domain.catalogue import SourceRecord
from alexandria.domain.errors import AlexandriaError, QuotaDenied, RecordNotFound
from alexandria.domain.isbn import Isbn
from alexandria.domain.plans import Plan
from alexandria.domain.quota import Lane
from alexandria.enrich import absorb
from alexandria.load import load_into_catalogue
from alexandria.sandbox.invent import Recipe
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Database, migrate
from measuring import NoonClock, be_quiet, copy_of, server

KEY = "sandbox-key"
SPENDS: dict[str, Any] = {"lane": Lane.BULK, "consumer": "bench"}
FIXED_PAGES = 20
"""Of a month, in the earlier system."""


async def isbns_of(app: App) -> list[Isbn]:
    """Every ISBN of the dump, in an order that favours none."""
    async with app.database.connection() as connection:
        rows = await (await connection.execute("SELECT isbn FROM edition_isbns ORDER BY isbn")).fetchall()
    isbns = [Isbn(row[0]) for row in rows]
    random.Random(1).shuffle(isbns)  # noqa: S311 - an order, no secret
    return isbns


async def keep(app: App, records: Sequence[SourceRecord]) -> None:
    """What all four do with what they bought."""
    async with app.database.transaction() as connection:
        await absorb(connection, records)


async def one_by_one(app: App) -> None:
    for isbn in await isbns_of(app):
        try:
            await keep(app, [await app.isbndb.book(isbn, **SPENDS)])
        except RecordNotFound:
            continue


async def in_bulk(app: App) -> None:
    isbns = await isbns_of(app)
    for start in range(0, len(isbns), 100):
        share = await app.harvester.isbn_calls.ask(isbns[start : start + 100], **SPENDS)
        await keep(app, share.batch.records)
        if share.batch.failure is not None:
            raise share.batch.failure


async def as_before(app: App) -> None:
    """Twenty pages of this month and the last, then a page for each author of the tier."""
    today = Recipe.today
    for month in (f"{today:%Y-%m}", f"{today.replace(day=1).replace(month=today.month - 1 or 12):%Y-%m}"):
        for number in range(1, FIXED_PAGES + 1):
            page = await app.isbndb.books_page(month, number, column="date_published", **SPENDS)
            await keep(app, page.records)
            if not page.records:
                break
    async with app.database.connection() as connection:
        authors = await CatalogueStore(connection).list_top_authors(offset=0, limit=1000)
    for author in authors:
        await keep(app, (await app.isbndb.author_page(author.name, 1, **SPENDS)).records)


async def as_planned(app: App) -> None:
    """Both plans at once, whatever buys most first; then gaps."""
    now = app.clock.now()
    since = now - app.config.freshness
    today = Recipe.today
    last_month = f"{today.replace(day=1).replace(month=today.month - 1 or 12):%Y-%m}"
    async with app.database.transaction() as connection:
        plans: list[Plan] = [
            await planning.plan_tier(
                connection, "all", max_pages=planning.MOST_PAGES, fresh_since=since, now=now
            ),
            await planning.plan_new_releases(
                connection, last_month, f"{today:%Y-%m}", today=now, max_pages=FIXED_PAGES, fresh_since=since
            ),
        ]
        runs = [
            await harvest.start_run(connection, plan, lane=Lane.BULK, now=now, parameters={})
            for plan in plans
        ]
        items = [
            item for run in runs for item in await HarvestStore(connection).list_items(run, limit=100_000)
        ]
    items.sort(key=lambda each: -each.editions_expected / max(each.units_expected, 0.01))
    for item in items:
        outcome = await app.harvester.take(item.run_id, item.position)
        if outcome.error is not None:
            raise outcome.error


WAYS: dict[str, Callable[[App], Awaitable[None]]] = {
    "(a) ISBN by ISBN": one_by_one,
    "(b) bulk batches": in_bulk,
    "(c) the earlier system's way": as_before,
    "(d) our plans": as_planned,
}


async def measure(name: str, url: str, world: World, budget: int, folder: Path) -> float:
    """Spend a day's budget one way; prints and returns editions gained for a thousand units."""
    switches = Switches(rate_q=1_000_000, book_dirt="off")
    async with (
        running_sandbox(world, switches=switches, clock=NoonClock()) as sandbox,
        app_over(sandbox, url, budget, folder) as app,
    ):
        before = await count_editions(app)
        try:
            await WAYS[name](app)
        except QuotaDenied:
            pass
        except AlexandriaError as error:
            raise SystemExit(f"{name}: {error}") from error
        units, new = sandbox.spent(KEY), await count_editions(app) - before
        async with app.database.connection() as connection:
            row = await (
                await connection.execute(
                    "SELECT count(DISTINCT edition_key) FROM source_records WHERE provider = 'isbndb' AND kind = 'edition'"
                )
            ).fetchone()
        gained = int(row[0]) if row else 0
    per_thousand = 1000 * gained / units
    print(
        f"{name:30} {units:6,} units {gained:8,} editions gained, {new:7,} new: {per_thousand:9,.0f} and {1000 * new / units:8,.0f} for 1,000 units"
    )
    return per_thousand


async def count_editions(app: App) -> int:
    async with app.database.connection() as connection:
        return (await CatalogueStore(connection).count()).editions


@asynccontextmanager
async def app_over(sandbox: Sandbox, url: str, budget: int, folder: Path) -> AsyncIterator[App]:
    """An application whose whole day is the budget."""
    settings = replace(
        configuration.load({"ALEXANDRIA_DATA_DIR": str(folder)}),
        database_url=url,
        isbndb_url=sandbox.url,
        isbndb_key=KEY,
        safe_limit=budget,
        interactive_percent=0,
        scheduled_percent=0,
        requests_per_minute=60_000,
    )
    async with running_app(settings, url, clock=NoonClock()) as app:
        yield app


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--authors", type=int, default=1500)
    arguments.add_argument("--works", type=int, default=400, help="of the most productive author")
    arguments.add_argument("--budget", type=int, default=400, help="units")
    options = arguments.parse_args()
    be_quiet()
    world = World.invent(seed=11, authors=options.authors, works_per_top_author=options.works)
    with server() as server_url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with psycopg.connect(server_url, autocommit=True) as connection:
            # What is measured is what units buy, not the disk.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE loaded")

        async def load() -> None:
            async with Database.open(urlsplit(server_url)._replace(path="/loaded").geturl()) as database:
                await migrate(database)
                files = world.write_dumps(folder, irregular_share=0)
                await load_into_catalogue(database, [files.authors, files.works, files.editions])

        asyncio.run(load())
        print(f"{len(world.listed):,} editions at the provider; {options.budget:,} units for each way")
        figures = [
            asyncio.run(
                measure(way, copy_of(server_url, "loaded", f"way_{n}"), world, options.budget, folder)
            )
            for n, way in enumerate(WAYS)
        ]
        print(
            "against (c): "
            + ", ".join(f"{way[:3]} {each / figures[2]:.2f}" for way, each in zip(WAYS, figures, strict=True))
        )


if __name__ == "__main__":
    main()
