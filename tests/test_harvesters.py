"""What the schedule starts: tiers one after the other, the months around now, covers given up, the upkeep."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alexandria import config, harvesters
from alexandria.config import Config
from alexandria.domain.covers import MOST_ATTEMPTS, CoverOutcome, CoverState, CoverWish
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Lane
from alexandria.domain.schedule import Cron, Entry
from alexandria.domain.targets import Target, TargetKind
from alexandria.planning import FEED_NOT_GRANTED
from alexandria.providers.isbndb import PROVIDER
from alexandria.schedule import Declined, Started
from alexandria.stores.covers import CoverStore
from alexandria.stores.harvest_pages import Page, PageStore
from alexandria.stores.harvests import HarvestStore, ItemState, Run
from alexandria.stores.isbn_answers import IsbnAnswerStore
from alexandria.stores.postgres import Connection, Database
from alexandria.stores.quota_reports import QuotaReports
from alexandria.stores.schedule import Firing, Outcome, ScheduleStore
from conftest import SetClock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def settings() -> Config:
    return config.load({"ALEXANDRIA_ISBNDB_KEY": "a-key"})


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    async with database.transaction() as connection:
        # Two tiers: the first hundred authors, and one more for the thousand.
        await connection.execute(
            "INSERT INTO authors (key, name, identity, works_count)"
            " SELECT 'OL' || n || 'A', 'Author ' || n, 'identified', 1000 - n FROM generate_series(1, 101) AS n"
        )
        yield connection


def entry(harvester: str, lane: Lane = Lane.BULK, **parameters: Any) -> Entry:
    return Entry("an-entry", Cron.parse("0 3 * * *"), ZoneInfo("UTC"), harvester, lane, parameters)


async def start(
    settings: Config, connection: Connection, of: Entry, now: datetime = NOW
) -> Started | Declined:
    """Start it as the schedule does, and write the firing down as the schedule does."""
    came = await harvesters.start(settings, connection, of, now)
    if isinstance(came, Started) and came.run_id:
        store = ScheduleStore(connection)
        number = await store.claim_slot(of.name, now, now=now)
        assert number
        await store.finish_firing(
            number, Firing(of.name, now, now, 0, Outcome.STARTED, came.run_id, came.remark)
        )
    return came


async def run_of(connection: Connection, came: Started | Declined) -> Run:
    assert isinstance(came, Started), came
    assert came.run_id
    run = await HarvestStore(connection).find_run(came.run_id)
    assert run
    return run


async def harvested(
    connection: Connection, name: str, kind: TargetKind = TargetKind.AUTHOR, *, now: datetime = NOW
) -> None:
    """A target's only page is stored."""
    page = Page(
        provider=PROVIDER,
        query=Target(kind, name, name).query,
        page=1,
        fetched_at=now,
        page_size=100,
        total=0,
        has_more=False,
        record_keys=[],
        dropped=0,
        absorbed_at=None,
    )
    await PageStore(connection).save(page)


async def test_a_tier_follows_the_one_before_and_after_the_last_comes_the_first(
    settings: Config, connection: Connection
) -> None:
    tiers = entry("authors", tier=["top-100", "top-1000"], max_pages=3)
    harvested_tiers = []
    for n in range(3):
        run = await run_of(connection, await start(settings, connection, tiers, NOW + n * DAY))
        assert (run.kind, run.lane, run.parameters["max_pages"]) == ("tiers", "bulk", 3)
        assert run.parameters["schedule"] == "an-entry"
        harvested_tiers.append(run.parameters["tier"])
    assert harvested_tiers == ["top-100", "top-1000", "top-100"]


async def test_a_tier_with_nothing_to_ask_for_is_passed_over(
    settings: Config, connection: Connection
) -> None:
    for n in range(1, 101):
        await harvested(connection, f"Author {n}")
    tiers = entry("authors", tier=["top-100", "top-1000"])
    run = await run_of(connection, await start(settings, connection, tiers))
    assert (run.parameters["tier"], run.parameters["units_expected"]) == ("top-1000", 1)
    await harvested(connection, "Author 101")
    came = await start(settings, connection, tiers, NOW + timedelta(minutes=20))
    assert isinstance(came, Declined)
    assert "all their pages are fresh" in came.reason
    # After their freshness they are asked for again, the first tier first.
    run = await run_of(connection, await start(settings, connection, tiers, NOW + 31 * DAY))
    assert run.parameters["tier"] == "top-100"


async def test_new_releases_are_those_of_the_months_around_now_and_asked_for_daily(
    settings: Config, connection: Connection
) -> None:
    daily = entry("new-releases", Lane.SCHEDULED, months_back=2, months_ahead=2)
    run = await run_of(connection, await start(settings, connection, daily))
    items = await HarvestStore(connection).list_items(run.id)
    assert [each.subject for each in items] == ["2026-09", "2026-10", "2026-11", "2026-12", "2027-01"]
    assert (run.lane, run.target) == ("scheduled", "new releases of 2026-09 to 2027-01")
    for each in items:
        await harvested(connection, each.name, TargetKind.MONTH)
    assert isinstance(await start(settings, connection, daily, NOW + timedelta(hours=1)), Declined)
    assert isinstance(await start(settings, connection, daily, NOW + DAY), Started)


async def edition(connection: Connection, isbn: str) -> None:
    """An edition of which little is known."""
    await connection.execute(
        "INSERT INTO works (key, title, identity) VALUES (%s, 'A Work', 'matched')", [isbn]
    )
    await connection.execute(
        "INSERT INTO editions (key, work_key, title) VALUES (%s, %s, 'A Work')", [isbn, isbn]
    )
    await connection.execute(
        "INSERT INTO edition_isbns (isbn, edition_key, is_first) VALUES (%s, %s, true)", [isbn, isbn]
    )


@pytest.mark.parametrize("harvester", ["gaps", "missing-covers"])
async def test_editions_that_lack_something_are_asked_for_within_a_bound_and_not_before_their_time(
    settings: Config, connection: Connection, harvester: str
) -> None:
    assert isinstance(await start(settings, connection, entry(harvester)), Declined), "there is nothing"
    for isbn in ("9780306406157", "9781861972712", "9780140328721"):
        await edition(connection, isbn)
    run = await run_of(connection, await start(settings, connection, entry(harvester, max_units=2)))
    (item,) = await HarvestStore(connection).list_items(run.id)
    assert (len(item.isbns), run.kind) == (2, "gaps" if harvester == "gaps" else "covers")
    answers = IsbnAnswerStore(connection)
    await answers.save(PROVIDER, found=item.isbns[:1], absent=item.isbns[1:], asked_at=NOW)
    later = NOW + timedelta(minutes=5)
    run = await run_of(connection, await start(settings, connection, entry(harvester), later))
    (rest,) = await HarvestStore(connection).list_items(run.id)
    assert len(rest.isbns) == 1
    assert rest.isbns[0] not in item.isbns
    tomorrow = NOW + DAY + timedelta(minutes=1)
    run = await run_of(connection, await start(settings, connection, entry(harvester), tomorrow))
    (again,) = await HarvestStore(connection).list_items(run.id)
    assert set(again.isbns) == {item.isbns[1], rest.isbns[0]}, "the absent one is due, the found one fresh"


async def test_the_feed_is_read_unless_the_plan_of_the_key_lacks_it(
    settings: Config, connection: Connection
) -> None:
    run = await run_of(connection, await start(settings, connection, entry("updates", max_units=5)))
    (feed,) = await HarvestStore(connection).list_items(run.id)
    assert (feed.target, feed.units_expected, run.parameters["max_units"]) == ("feed", 0, 5)
    await HarvestStore(connection).leave_item(feed, ItemState.FAILED, now=NOW, reason=FEED_NOT_GRANTED)
    declined = await start(settings, connection, entry("updates"), NOW + timedelta(hours=1))
    assert isinstance(declined, Declined)
    assert "update feed" in declined.reason
    assert isinstance(await start(settings, connection, entry("updates"), NOW + DAY), Started)


async def test_new_releases_come_in_however_much_bulk_waits(connection: Connection) -> None:
    settings = config.load({"ALEXANDRIA_ISBNDB_KEY": "a-key", "ALEXANDRIA_ITEM_BACKLOG_MARKS": "4:8"})
    await run_of(connection, await start(settings, connection, entry("authors", tier="top-100")))
    declined = await start(settings, connection, entry("new-releases"))
    assert isinstance(declined, Declined)
    assert "pause or cancel run" in declined.reason
    run = await run_of(
        connection,
        await start(settings, connection, entry("new-releases", Lane.SCHEDULED), NOW + timedelta(hours=1)),
    )
    assert run.lane == Lane.SCHEDULED


@pytest.mark.parametrize("harvester", ["authors", "new-releases", "updates", "gaps", "missing-covers"])
async def test_without_a_key_nothing_is_started_and_the_reason_is_told(
    connection: Connection, harvester: str
) -> None:
    of = entry("authors", tier="top-100") if harvester == "authors" else entry(harvester)
    came = await start(config.load({}), connection, of)
    assert isinstance(came, Declined)
    assert "ALEXANDRIA_ISBNDB_KEY" in came.reason


async def test_covers_that_were_given_up_are_tried_once_more_after_a_week(
    settings: Config, connection: Connection
) -> None:
    covers = CoverStore(connection)
    isbns = [Isbn.parse(each) for each in ("9780306406157", "9781861972712", "9780140328721")]
    await covers.want([CoverWish(each, f"https://covers.example/{each}.png", NOW) for each in isbns])

    async def fail(isbn: Isbn, now: datetime, *, attempts: int) -> None:
        await connection.execute(
            "UPDATE covers_wanted SET attempts = %s WHERE isbn13 = %s", [attempts - 1, str(isbn)]
        )
        failed = CoverOutcome.failed("no answer", attempts=attempts, now=now)
        await covers.record(await covers.get(isbn), failed, now)

    await fail(isbns[0], NOW, attempts=MOST_ATTEMPTS)
    await fail(isbns[1], NOW + DAY, attempts=MOST_ATTEMPTS)
    await fail(isbns[2], NOW, attempts=1)
    later = NOW + 7 * DAY
    assert await start(settings, connection, entry("covers", most=1), later) == Started(
        remark="1 covers that were given up are tried again"
    )
    assert (await covers.get(isbns[0])).due_at == later
    assert (await covers.get(isbns[1])).due_at is None, "it was asked for six days ago"
    # Once more means once: it is given up again, for another week.
    again = await covers.get(isbns[0])
    await fail(isbns[0], later, attempts=again.attempts + 1)
    given_up = await covers.get(isbns[0])
    assert (given_up.state, given_up.attempts, given_up.due_at) == (
        CoverState.FAILED,
        MOST_ATTEMPTS + 1,
        None,
    )
    async with connection.transaction():
        came = await start(settings, connection, entry("covers"), later)
    assert came == Started(remark="0 covers that were given up are tried again")


async def test_the_upkeep_becomes_due_with_the_slot(
    settings: Config, database: Database, clock: SetClock
) -> None:
    reports = QuotaReports(database, clock)
    assert await reports.claim_upkeep()
    await reports.finish_upkeep(is_complete=True)
    assert not await reports.claim_upkeep()
    async with database.transaction() as connection:
        await start(settings, connection, entry("upkeep"))
        assert not await reports.claim_upkeep(), "not before the slot is committed"
    assert await reports.claim_upkeep()


async def test_a_harvester_that_is_disabled_declines_its_slot_and_says_why(
    settings: Config, connection: Connection
) -> None:
    await connection.execute("UPDATE harvesters SET is_enabled = false WHERE name = 'new_releases'")
    came = await start(settings, connection, entry("new-releases"))
    assert isinstance(came, Declined)
    assert "alexandria harvesters enable new-releases" in came.reason
    assert await HarvestStore(connection).list_runs() == []
