"""Counting: the provider's journal by day, and duplicates found by absorbing everything once more."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from alexandria.domain.catalogue import RecordKind, SourceRecord
from alexandria.enrich import absorb
from alexandria.rehearsal.counting import Catalogue, absorb_in_order, read_catalogue, read_journal
from alexandria.rehearsal.likeness import count_split
from alexandria.sandbox.server import running_sandbox
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database
from conftest import SetClock, copy_of

WORLD = World.invent(seed=3, authors=8, works_per_top_author=12)


@pytest.fixture
def reference_url(server_url: str, template: str) -> Iterator[str]:
    with copy_of(server_url, template) as url:
        yield url


async def harvest(database: Database) -> None:
    """The whole world, in answers of twenty records."""
    now = datetime(2026, 11, 24, tzinfo=UTC)
    records = [
        SourceRecord(
            "isbndb",
            RecordKind.EDITION,
            str(edition.isbn),
            msgspec.json.encode(WORLD.record(place)),
            now + timedelta(minutes=place // 20),
        )
        for place, edition in enumerate(WORLD.listed)
    ]
    for at in range(0, len(records), 20):
        async with database.transaction() as connection:
            await absorb(connection, records[at : at + 20])


async def catalogue_of(database: Database) -> Catalogue:
    async with database.connection() as connection:
        return await read_catalogue(connection)


async def test_twins_are_found_by_absorbing_everything_once_more(
    database: Database, reference_url: str
) -> None:
    await harvest(database)
    async with Database.open(reference_url) as reference:
        await absorb_in_order(database, reference)
        alone = await catalogue_of(reference)
    found = await catalogue_of(database)
    assert len(found.works) > 50
    assert (found.works.keys(), found.authors.keys()) == (alone.works.keys(), alone.authors.keys())
    assert count_split(found.works, alone.works) == count_split(found.authors, alone.authors) == 0

    async with database.transaction() as connection:
        # What two workers would have made that did not see each other.
        await connection.execute(
            "INSERT INTO works (key, title, identity) VALUES ('twin', 'Twin', 'matched')"
        )
        await connection.execute(
            "UPDATE editions SET work_key = 'twin' WHERE key = (SELECT min(key) FROM editions WHERE work_key ="
            " (SELECT work_key FROM editions GROUP BY work_key HAVING count(*) > 1 LIMIT 1))"
        )
        await connection.execute(
            "INSERT INTO authors (key, name, identity) VALUES ('other', 'Other', 'named')"
        )
        await connection.execute(
            "UPDATE contributions SET author_key = 'other' WHERE (edition_key, position) = (SELECT min(edition_key), 1"
            " FROM contributions WHERE position = 1 AND author_key = (SELECT author_key FROM contributions"
            " WHERE position = 1 GROUP BY author_key HAVING count(*) > 1 LIMIT 1))"
        )
    found = await catalogue_of(database)
    assert count_split(found.works, alone.works) == 1
    assert count_split(found.authors, alone.authors) == 1


async def test_the_journal_tells_what_was_spent_on_each_day_by_whomever(tmp_path: Path) -> None:
    clock = SetClock(datetime(2026, 11, 23, 23, 59, tzinfo=UTC))
    journal = tmp_path / "journal"
    async with running_sandbox(WORLD, clock=clock, journal=journal) as sandbox:
        sandbox.spend_elsewhere(7)
        clock.advance(timedelta(minutes=2))
        sandbox.spend_elsewhere(5)
        sandbox.spend_elsewhere(1)
    assert read_journal(journal) == {date(2026, 11, 23): 7, date(2026, 11, 24): 6}
