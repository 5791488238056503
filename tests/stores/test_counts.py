"""Kept counts against counting, on a real PostgreSQL, whoever writes and however."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from structlog.testing import capture_logs

from alexandria.domain.catalogue import RecordKind, SourceRecord
from alexandria.domain.covers import CoverOutcome, CoverState, CoverWish, Picture
from alexandria.domain.errors import StoreUnavailable
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota_usage import Span
from alexandria.domain.targets import Target, TargetKind
from alexandria.enrich import absorb
from alexandria.sandbox.world import World
from alexandria.stores import postgres
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.counts import CountStore
from alexandria.stores.covers import CoverStore
from alexandria.stores.harvests import HarvestStore, ItemState
from alexandria.stores.postgres import Connection, Database, migrate, migrations
from conftest import someone_waits, url_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ALWAYS = Span(date(2000, 1, 1), date(2100, 1, 1))
ISBNS = [Isbn(each) for each in ("9780306406157", "9781861972712", "9780140328721")]

COUNTED = """
SELECT 'authors', (created_at AT TIME ZONE 'UTC')::date, count(*) FROM authors GROUP BY 2
 UNION ALL SELECT 'works', (created_at AT TIME ZONE 'UTC')::date, count(*) FROM works GROUP BY 2
 UNION ALL SELECT 'editions', (created_at AT TIME ZONE 'UTC')::date, count(*) FROM editions GROUP BY 2
 UNION ALL SELECT 'source_records', (retrieved_at AT TIME ZONE 'UTC')::date, count(*) FROM source_records GROUP BY 2
 UNION ALL SELECT 'reviews', (created_at AT TIME ZONE 'UTC')::date, count(*) FROM reviews GROUP BY 2
 UNION ALL SELECT 'covers_' || state, (coalesce(stored_at, found_at) AT TIME ZONE 'UTC')::date, count(*)
             FROM covers_wanted GROUP BY 1, 2
"""
KEPT = "SELECT counted, day, sum(rows)::bigint FROM catalogue_counts GROUP BY 1, 2 HAVING sum(rows) <> 0"


async def rows(connection: Connection, query: str) -> set[tuple[object, ...]]:
    return set(await (await connection.execute(query.encode())).fetchall())


async def check(connection: Connection) -> None:
    """What is kept is what counting gives."""
    counted = await rows(connection, COUNTED)
    assert counted
    assert await rows(connection, KEPT) == counted


async def gather(connection: Connection) -> None:
    await connection.execute("UPDATE upkeep SET due_at = '-infinity' WHERE task = 'counts'")
    async with connection.transaction():
        assert await CountStore(connection).gather_if_due()


async def fill(connection: Connection, *, at: datetime = NOON) -> None:
    """A page of an invented world, and covers in some states."""
    world = World.invent(seed=1, authors=8, works_per_top_author=10)
    async with connection.transaction():
        await absorb(
            connection,
            [
                SourceRecord(
                    "isbndb",
                    RecordKind.EDITION,
                    str(edition.isbn),
                    msgspec.json.encode(world.record(place)),
                    at,
                )
                for place, edition in enumerate(world.listed[:60])
            ],
        )
    covers = CoverStore(connection)
    await covers.want([CoverWish(isbn, f"https://covers.example/{isbn}.jpg", at) for isbn in ISBNS])
    stored = CoverOutcome(CoverState.STORED, picture=Picture("ab" * 32, 500, 750, 4711))
    await covers.record(await covers.get(ISBNS[0]), stored, at + DAY)
    await covers.record(await covers.get(ISBNS[1]), CoverOutcome.failed("no answer", attempts=1, now=at), at)


async def test_kept_counts_are_what_counting_gives(database: Database) -> None:
    async with database.connection() as connection:
        await fill(connection)
        await connection.execute("INSERT INTO reviews (kind, subject, reason) VALUES ('a', 'b', 'c')")
        await check(connection)
        counts = await CatalogueStore(connection).count()
        assert (counts.source_records, counts.reviews > 0) == (60, True)
        assert counts.editions > 40
        states = await CoverStore(connection).counts()
        assert (states[CoverState.STORED], states[CoverState.FAILED]) == (1, 1)

        # What goes, and what comes again, is counted too.
        await connection.execute("UPDATE editions SET created_at = created_at WHERE is_book")
        await fill(connection, at=NOON + DAY)
        await connection.execute("DELETE FROM editions")
        await connection.execute("DELETE FROM works")
        await connection.execute("DELETE FROM reviews WHERE subject = 'b'")
        await connection.execute("DELETE FROM covers_wanted WHERE state = 'failed'")
        await check(connection)


async def test_what_was_undone_is_not_counted(database: Database) -> None:
    async with database.connection() as connection:
        async with connection.transaction(force_rollback=True):
            await fill(connection)
        assert await rows(connection, KEPT) == set()


async def test_gathering_changes_no_sum_and_leaves_a_row_for_a_day(database: Database) -> None:
    async with database.connection() as connection, database.connection() as other:
        await fill(connection)
        before = await rows(connection, KEPT)
        # Somebody who is in the middle of adding is neither waited for nor lost.
        async with other.transaction():
            await other.execute("INSERT INTO authors (key, name, identity) VALUES ('OL9A', 'A', 'named')")
            await asyncio.wait_for(gather(connection), 5)
            assert await rows(connection, KEPT) == before
        await check(connection)
        await gather(connection)
        await check(connection)
        crowded = "SELECT counted, day FROM catalogue_counts GROUP BY 1, 2 HAVING count(*) > 1"
        assert await rows(connection, crowded) == set()
        async with connection.transaction():
            assert not await CountStore(connection).gather_if_due()


async def test_growth_is_told_by_day(database: Database) -> None:
    async with database.connection() as connection:
        await fill(connection)
        growth = await CountStore(connection).list_growth(ALWAYS)
        assert growth["covers_stored"] == {(NOON + DAY).date(): 1}
        assert sum(growth["editions"].values()) == (await CatalogueStore(connection).count()).editions
        assert (await CountStore(connection).list_growth(Span(date(2001, 1, 1), date(2001, 1, 2))))[
            "editions"
        ] == {}


async def test_what_an_item_brings_is_kept_by_the_day_on_which_it_does(database: Database) -> None:
    async with database.connection() as connection:
        harvests, kept = HarvestStore(connection), CountStore(connection)
        await harvests.add_run(
            "run",
            kind="tiers",
            lane="bulk",
            parameters={},
            targets=[Target(TargetKind.AUTHOR, "OL1A", "An author")],
            fresh_since=NOON,
            now=NOON,
        )
        for days, new in ((0, 40), (0, 2), (1, 7)):
            item = await harvests.start_item("run", 1, now=NOON + days * DAY)
            assert item is not None
            await harvests.advance_item(
                item,
                total=None,
                editions_found=100,
                editions_new=new,
                works_new=0,
                covers_wanted=0,
                now=NOON + days * DAY,
            )
            await harvests.leave_item(item, ItemState.PARTIAL, now=NOON + days * DAY)
        expected = [
            (NOON.date(), "bulk-authors", 200, 42),
            ((NOON + DAY).date(), "bulk-authors", 100, 7),
        ]
        for _ in range(2):
            gains = sorted(await kept.list_gains(ALWAYS), key=lambda each: each.day)
            assert [(g.day, g.consumer, g.editions_found, g.editions_new) for g in gains] == expected
            await gather(connection)
        assert await rows(connection, "SELECT count(*) FROM harvest_gains") == {(2,)}


@asynccontextmanager
async def installation_of_before(server_url: str, database: Database) -> AsyncIterator[Database]:
    """A database as it was before counts were kept."""
    name = "before_kept_counts"
    async with database.connection() as connection:
        await connection.execute(f"CREATE DATABASE {name}".encode())
    try:
        async with Database.open(url_of(server_url, name)) as old:
            async with old.connection() as connection:
                await connection.execute(
                    "CREATE TABLE migrations (number int PRIMARY KEY, name text NOT NULL,"
                    " applied_at timestamptz NOT NULL DEFAULT now())"
                )
                for each in (each for each in migrations() if each.number < 15):
                    await connection.execute(each.statements.encode())
                    await connection.execute(
                        "INSERT INTO migrations VALUES (%s, %s)", [each.number, each.name]
                    )
            yield old
    finally:
        async with database.connection() as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def test_an_installation_of_before_is_counted_once_when_it_is_updated(
    server_url: str, database: Database
) -> None:
    async with installation_of_before(server_url, database) as old:
        async with old.connection() as connection:
            await connection.execute(
                "INSERT INTO works (key, title, identity) VALUES ('w', 'A title', 'matched')"
            )
            await connection.execute(
                "INSERT INTO covers_wanted (isbn13, url, found_at, due_at) VALUES ('9780306406157', 'x', now(), now())"
            )
            await connection.execute(
                "INSERT INTO harvest_runs (id, kind, lane, parameters, state, fresh_since, created_at)"
                " VALUES ('run', 'tiers', 'bulk', '{}', 'running', now(), now())"
            )
            await connection.execute(
                "INSERT INTO harvest_items (run_id, position, subject, name, target, editions_new, updated_at)"
                " VALUES ('run', 1, 'a', 'a', 'author', 5, '2026-11-20 23:59Z')"
            )
        await migrate(old)
        async with old.connection() as connection:
            await check(connection)
            (gain,) = await CountStore(connection).list_gains(ALWAYS)
            assert (gain.day, gain.editions_new) == (date(2026, 11, 20), 5)


@pytest.mark.parametrize(("is_backward", "repeats"), [(False, 0), (True, 1)])
async def test_an_update_and_who_brings_records_meanwhile_do_not_end_each_other(
    server_url: str, database: Database, is_backward: bool, repeats: int
) -> None:
    """As a harvest writes nobody is in anybody's way; of whoever writes in another order the update is the one to begin again."""
    record = SourceRecord("isbndb", RecordKind.EDITION, str(ISBNS[0]), b"{}", NOON)

    async def bring_records() -> None:
        await CatalogueStore(writer).save_records([record])

    async def name_an_author() -> None:
        await writer.execute("INSERT INTO authors (key, name, identity) VALUES ('OL9A', 'A', 'named')")

    first, second = (name_an_author, bring_records) if is_backward else (bring_records, name_an_author)
    async with installation_of_before(server_url, database) as old, asyncio.timeout(30):
        with capture_logs() as told:
            async with old.transaction() as writer:
                await writer.execute("SET LOCAL deadlock_timeout = '1min'")
                await first()
                update = asyncio.create_task(migrate(old))
                await someone_waits(old)
                await second()
            await update
        assert sum(each["event"] == "migration.repeated" for each in told) == repeats
        async with old.connection() as connection:
            await check(connection)


async def test_an_update_that_is_never_let_through_says_what_to_do(
    server_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_MIGRATION_ATTEMPTS", 1)
    async with installation_of_before(server_url, database) as old, asyncio.timeout(30):
        async with old.transaction() as writer:
            await writer.execute("SET LOCAL deadlock_timeout = '1min'")
            await writer.execute("LOCK TABLE harvest_items IN ROW EXCLUSIVE MODE")
            update = asyncio.create_task(migrate(old))
            await someone_waits(old)
            await writer.execute("LOCK TABLE source_records IN ROW EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match="migration 15 met a deadlock"):
            await update
        await migrate(old)
