"""What the catalogue costs: absorbing pages of a hundred editions, against only storing their records on the same server, and against
absorbing them without the related ISBNs that translations are found by.

All are measured in one run, in turns, so that the ratio says something on any machine. Figures are kept in docs/performance.md.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from alexandria.domain.catalogue import RecordKind, SourceRecord
from alexandria.enrich import absorb
from alexandria.sandbox.world import World
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.embedded import running_server
from alexandria.stores.postgres import Database, migrate
from measuring import be_quiet

PAGE = 100
PAGES = 60


def pages() -> list[list[SourceRecord]]:
    """Pages of an invented world, as ISBNdb would give them."""
    world = World.invent(seed=1, authors=120, works_per_top_author=400)
    now = datetime.now(UTC)
    records = []
    for place, edition in enumerate(world.listed[: PAGE * PAGES]):
        body = msgspec.json.encode(world.record(place))
        records.append(SourceRecord("isbndb", RecordKind.EDITION, str(edition.isbn), body, now))
    return [records[start : start + PAGE] for start in range(0, len(records), PAGE)]


def without_leads(page: Sequence[SourceRecord]) -> list[SourceRecord]:
    """The same records, silent about related ISBNs."""
    books = [msgspec.json.decode(each.body) for each in page]
    return [
        replace(
            record, body=msgspec.json.encode({name: book[name] for name in book if name != "other_isbns"})
        )
        for record, book in zip(page, books, strict=True)
    ]


async def measure(database: Database) -> None:
    """Store every third page only, absorb the others, one of two without leads."""
    stored: list[float] = []
    plain: list[float] = []
    whole: list[float] = []
    every = pages()
    for only_stored, without, taken_in in zip(
        every[::3], map(without_leads, every[1::3]), every[2::3], strict=True
    ):
        started_at = time.perf_counter()
        async with database.transaction() as connection:
            await CatalogueStore(connection).save_records(only_stored)
        stored.append(time.perf_counter() - started_at)
        for page, spans in ((without, plain), (taken_in, whole)):
            started_at = time.perf_counter()
            async with database.transaction() as connection:
                await absorb(connection, page)
            spans.append(time.perf_counter() - started_at)
    for name, spans in (("stored only", stored), ("absorbed without leads", plain), ("absorbed", whole)):
        print(f"{name}: {PAGE / median(spans):,.0f} editions/s", end="; ")
    print(
        f"ratios: stored/absorbed {median(stored) / median(whole):.2f},"
        f" without leads/absorbed {median(plain) / median(whole):.2f}"
    )


async def main(url: str) -> None:
    be_quiet()
    async with Database.open(url) as database:
        await migrate(database)
        await measure(database)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with running_server(Path(folder)) as server:
            asyncio.run(main(server))
