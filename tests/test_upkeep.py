"""Old days in short: what is rolled up reads the same, proves the same, and is never lost."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alexandria import config
from alexandria.app import running_app
from alexandria.domain.quota import Account, Lane
from alexandria.domain.quota_status import Discrepancy
from alexandria.domain.quota_usage import By, Span, total
from alexandria.domain.targets import Target, TargetKind
from alexandria.jobs.worker import Worker
from alexandria.monitoring import read_usage
from alexandria.stores import quota_reports
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from alexandria.stores.quota_reports import UPKEEP_LEASE, QuotaReports
from alexandria.upkeep import RolledUp, keep_up_if_due, roll_up_old_days
from stores.quota_days import (
    ACCOUNT,
    FIRST_DAY,
    MovableClock,
    at,
    every_report,
    fill,
    live_through,
    pass_until,
    reserve,
    rows,
    spend,
    windows,
)

KEEP = timedelta(days=35)
DAY = timedelta(days=1)


@pytest.fixture
def quota(database: Database, clock: MovableClock) -> QuotaStore:
    return QuotaStore(database, clock)


@pytest.fixture
def reports(database: Database, clock: MovableClock) -> QuotaReports:
    return QuotaReports(database, clock)


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """Settings of a worker without a key."""
    return {"ALEXANDRIA_DATABASE_URL": database_url, "ALEXANDRIA_DATA_DIR": str(tmp_path)}


@pytest.fixture
async def other(database_url: str, clock: MovableClock) -> AsyncIterator[tuple[QuotaStore, QuotaReports]]:
    """The same as another process has them: with connections of its own."""
    async with Database.open(database_url) as database:
        yield QuotaStore(database, clock), QuotaReports(database, clock)


async def live_for(quota: QuotaStore, clock: MovableClock, days: int) -> None:
    """Eventful days, then long enough that they are old, and a day on which something is spent again."""
    for number in range(days):
        await live_through(quota, clock, FIRST_DAY + number * DAY)
    pass_until(clock, at(FIRST_DAY + days * DAY + KEEP + DAY, 12))
    await spend(quota, 1, "lookup")


async def details(database: Database) -> dict[date, int]:
    """Day -> entries that are still kept one by one."""
    return dict(await rows(database, "SELECT day, count(*)::int FROM quota_ledger GROUP BY day"))


async def whole(database: Database) -> list[list[tuple[Any, ...]]]:
    tables = ("quota_windows", "quota_hours", "quota_reservations", "quota_ledger")
    return [await rows(database, f"SELECT {table}::text FROM {table} ORDER BY 1") for table in tables]  # noqa: S608  # names from above


async def test_old_days_read_and_prove_the_same_after_they_were_rolled_up(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    await live_for(quota, clock, days=3)
    await quota.expire()
    before, charged = await every_report(reports), await windows(database)
    rolled_up = await roll_up_old_days(quota, reports, keep=KEEP)
    assert (rolled_up.days, rolled_up.days_kept, rolled_up.is_complete) == (4, [], True)
    assert await details(database) == {clock.now().date(): 2}
    assert await every_report(reports) == before
    assert await windows(database) == charged
    assert await quota.verify() == []
    for day, units in charged.items():
        assert total(await reports.list_usage(ACCOUNT, Span(day, day), By.HOUR)).units == units
    assert await reports.find_last_rolled_up_day(ACCOUNT) == FIRST_DAY + 3 * DAY


async def test_what_usage_tells_adds_up_to_the_ledger_before_and_after(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    await live_for(quota, clock, days=3)
    await quota.expire()
    ledger = dict(await rows(database, "SELECT day, sum(units)::int FROM quota_ledger GROUP BY day"))
    days = (clock.now().date() - FIRST_DAY).days + 2
    for is_rolled_up in (False, True):
        async with database.connection() as connection:
            span = Span.of(day=None, days=days, today=clock.now().date())
            told = await read_usage(connection, ACCOUNT, span)
        assert {day: gained.units for day, gained in told.days.items() if gained.units} == {
            day: sum(spent.values()) for day, spent in told.units.items() if spent.total()
        }
        assert told.total.units + told.foreign == sum(ledger.values())
        assert sum(each.units for each in told.consumers.values()) == told.total.units
        if not is_rolled_up:
            await roll_up_old_days(quota, reports, keep=KEEP)


async def test_rolling_up_again_changes_nothing(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    await live_for(quota, clock, days=1)
    await roll_up_old_days(quota, reports, keep=KEEP)
    before = await whole(database)
    assert await roll_up_old_days(quota, reports, keep=KEEP) == RolledUp(days_kept=[])
    assert await whole(database) == before


async def test_every_part_of_a_roll_up_leaves_everything_as_it_reads_and_proves(
    quota: QuotaStore,
    reports: QuotaReports,
    clock: MovableClock,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quota_reports, "MOST_ROLLED_UP_AT_ONCE", 2)
    await live_for(quota, clock, days=2)
    await quota.expire()
    before, parts = await every_report(reports), 0
    while not (await roll_up_old_days(quota, reports, keep=KEEP, most_parts=1)).is_complete:
        parts += 1
        assert await every_report(reports) == before
        assert await quota.verify() == []
    assert parts > 10
    assert await details(database) == {clock.now().date(): 2}


async def test_young_days_are_kept_one_by_one(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    for number in range(6):
        pass_until(clock, at(FIRST_DAY + number * DAY, 12))
        await spend(quota, 1, "lookup")
    assert (await roll_up_old_days(quota, reports, keep=KEEP)).rows == 0
    assert (await roll_up_old_days(quota, reports, keep=timedelta(days=4))).days == 1
    assert min(await details(database)) == FIRST_DAY + DAY
    # Whatever is asked for, the last three days stay.
    await roll_up_old_days(quota, reports, keep=timedelta(days=3))
    assert min(await details(database)) == FIRST_DAY + 2 * DAY


@pytest.mark.parametrize("today", ["2026-10-06", "2036-01-01", "2026-10-03"])
async def test_the_database_itself_refuses_to_roll_up_young_days_whatever_the_clock_says(
    quota: QuotaStore, database: Database, clock: MovableClock, today: str
) -> None:
    for number in range(6):
        pass_until(clock, at(FIRST_DAY + number * DAY, 12))
        await spend(quota, 1, "lookup")
    before = await whole(database)
    # The last three days of the account, and by a clock that is behind, the last three by that.
    for number in range(0 if today == "2026-10-03" else 3, 6):
        call = f"SELECT roll_up_quota('isbndb', '{ACCOUNT.key_hash}', '{FIRST_DAY + number * DAY}', '{today}', 9)"
        with pytest.raises(psycopg.errors.RaiseException, match=r"append-only: .* is too young"):
            await rows(database, call)
    assert await whole(database) == before


async def test_the_ledger_is_guarded_again_once_a_roll_up_is_over(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    await live_for(quota, clock, days=1)
    await quota.expire()
    async with database.transaction() as connection:
        rolled_up = await connection.execute(
            "SELECT roll_up_quota('isbndb', %s, %s, %s, 1)",
            [ACCOUNT.key_hash, FIRST_DAY, clock.now().date()],
        )
        assert await rolled_up.fetchone() == (1,)
        for statement in ("DELETE FROM quota_ledger", "UPDATE quota_ledger SET units = 0"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                async with connection.transaction():
                    await connection.execute(statement.encode())


async def test_a_day_with_something_open_stays_as_it_is(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    await live_for(quota, clock, days=1)
    # Nobody swept: what the database holds is what counts.
    before = await details(database)
    assert await reports.roll_up(ACCOUNT, FIRST_DAY) is None
    assert await details(database) == before
    await quota.expire()
    assert await reports.roll_up(ACCOUNT, FIRST_DAY)


async def test_a_day_whose_costs_may_still_become_known_stays_as_it_is(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    await live_for(quota, clock, days=1)
    await quota.expire()
    # As it can be when clocks were set: the call itself is young, only its day is old.
    for days, stays in ((1, True), (3, False)):
        async with database.connection() as connection:
            await connection.execute(
                "UPDATE quota_reservations SET use_before = %s WHERE state = 'unresolved'",
                [clock.now() - days * DAY],
            )
        assert (await reports.roll_up(ACCOUNT, FIRST_DAY) is None) == stays


async def test_a_day_whose_accounts_differ_is_kept_as_evidence(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    await live_for(quota, clock, days=2)
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE quota_reservations SET units_charged = units_charged + 1 WHERE consumer = 'new-releases' AND day = %s",
            [FIRST_DAY],
        )
    [wrong] = await quota.verify()
    rolled_up = await roll_up_old_days(quota, reports, keep=KEEP)
    assert rolled_up.days_kept == [(ACCOUNT, FIRST_DAY)]
    assert rolled_up.days == 2
    assert FIRST_DAY in await details(database)
    assert await quota.verify() == [wrong]


@pytest.mark.parametrize(
    ("statement", "figures"),
    [
        ("UPDATE quota_windows SET units_charged = units_charged + 1", (1, 0, 0)),
        ("UPDATE quota_hours SET settled = settled + 2 WHERE consumer = 'new-releases'", (0, 2, 2)),
        ("UPDATE quota_hours SET foreign_units = foreign_units + 3 WHERE foreign_units > 0", (0, 3, 0)),
        (
            "DELETE FROM quota_hours WHERE consumer = 'new-releases'",
            (0, -1, -1),
        ),
    ],
)
async def test_verification_goes_on_proving_days_that_were_rolled_up(
    quota: QuotaStore,
    reports: QuotaReports,
    clock: MovableClock,
    database: Database,
    statement: str,
    figures: tuple[int, int, int],
) -> None:
    await live_for(quota, clock, days=1)
    await roll_up_old_days(quota, reports, keep=KEEP)
    units = (await windows(database))[FIRST_DAY]
    ours = sum(
        line.units
        for line in await reports.list_usage(ACCOUNT, Span(FIRST_DAY, FIRST_DAY), By.LANE)
        if line.lane
    )
    async with database.connection() as connection:
        await connection.execute(
            f"{statement} {'AND' if 'WHERE' in statement else 'WHERE'} day = %s".encode(), [FIRST_DAY]
        )
    window, ledger, reservations = figures
    assert await quota.verify() == [
        Discrepancy(ACCOUNT, FIRST_DAY, units + window, units + ledger, ours + reservations)
    ]


async def test_settling_or_releasing_what_was_rolled_up_changes_nothing(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    pass_until(clock, at(FIRST_DAY, 12))
    lost = [await reserve(quota, 4, "lookup") for _ in range(3)]
    pass_until(clock, at(FIRST_DAY + KEEP + 2 * DAY, 12))
    await spend(quota, 1, "lookup")
    await roll_up_old_days(quota, reports, keep=KEEP)
    before = await whole(database)
    await quota.settle(lost[0], units_spent=4, outcome="200")
    await quota.settle(lost[1], units_spent=9, outcome="200")
    await quota.release(lost[2], reason="too late")
    assert await whole(database) == before
    assert await quota.verify() == []


async def test_what_a_run_cost_is_known_after_its_calls_were_rolled_up(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    pass_until(clock, at(FIRST_DAY, 12))
    async with database.transaction() as connection:
        await HarvestStore(connection).add_run(
            "run",
            kind="authors",
            lane="bulk",
            parameters={},
            targets=[Target(TargetKind.AUTHOR, key, key) for key in ("OL1A", "OL2A")],
            fresh_since=clock.now(),
            now=clock.now(),
        )
    for position, units in ((1, 1), (1, 2), (2, 5)):
        await spend(quota, units, "author-bibliography", job=f"run/{position}")
    for name in ("run/99", "no run of ours/1", "somebody's script", "a/b/c", "run/12345678901"):
        await spend(quota, 1, "batch-direct", job=name)
    pass_until(clock, at(FIRST_DAY + KEEP + 2 * DAY, 12))
    await spend(quota, 8, "author-bibliography", job="run/1")
    for expected_left in (8, 1):
        async with database.connection() as connection:
            harvests = HarvestStore(connection)
            assert [item.units for item in await harvests.list_items("run")] == [11, 5]
            assert (await harvests.get_progress("run")).units == 16
            found = await harvests.find_item("run", 1)
            assert found is not None
            assert found.units == 11
        if expected_left == 8:
            assert (await roll_up_old_days(quota, reports, keep=KEEP)).days == 1
    assert await rows(database, "SELECT count(*)::int FROM quota_reservations") == [(1,)]


async def test_the_latest_days_of_a_key_that_is_no_longer_used_stay(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    pass_until(clock, at(FIRST_DAY, 12))
    await spend(quota, 1, "lookup")
    pass_until(clock, at(FIRST_DAY + 10 * KEEP, 12))
    assert (await roll_up_old_days(quota, reports, keep=KEEP)).rows == 0
    assert await details(database) == {FIRST_DAY: 2}


# Many at once, and kills


async def test_several_at_once_roll_up_everything_once(
    quota: QuotaStore,
    reports: QuotaReports,
    other: tuple[QuotaStore, QuotaReports],
    clock: MovableClock,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quota_reports, "MOST_ROLLED_UP_AT_ONCE", 3)
    await live_for(quota, clock, days=3)
    await quota.expire()
    before = await every_report(reports)
    async with asyncio.TaskGroup() as tasks:
        for each_quota, each_reports in [(quota, reports), other] * 3:
            tasks.create_task(roll_up_old_days(each_quota, each_reports, keep=KEEP))
    assert await every_report(reports) == before
    assert await details(database) == {clock.now().date(): 2}
    assert await quota.verify() == []


async def test_a_roll_up_that_is_killed_in_the_middle_leaves_its_part_whole(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database, database_url: str
) -> None:
    await live_for(quota, clock, days=1)
    await quota.expire()
    before, reported = await whole(database), await every_report(reports)
    call = "SELECT roll_up_quota('isbndb', %s, %s, %s, 4)"
    parameters = [ACCOUNT.key_hash, FIRST_DAY, clock.now().date()]
    async with await psycopg.AsyncConnection.connect(database_url) as killed:
        await killed.execute(call, parameters)
        async with database.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend(%s)", [killed.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            await killed.commit()
        await killed.close()
    assert await whole(database) == before
    await roll_up_old_days(quota, reports, keep=KEEP)
    assert await every_report(reports) == reported
    assert await quota.verify() == []


async def test_who_settles_while_its_day_is_rolled_up_comes_before_or_after_it(
    quota: QuotaStore,
    reports: QuotaReports,
    other: tuple[QuotaStore, QuotaReports],
    clock: MovableClock,
    database: Database,
) -> None:
    pass_until(clock, at(FIRST_DAY, 12))
    lost = [await reserve(quota, 4, "lookup", Lane.INTERACTIVE) for _ in range(20)]
    pass_until(clock, at(FIRST_DAY + KEEP + 2 * DAY, 12))
    await spend(quota, 1, "lookup")
    await quota.expire()
    async with asyncio.TaskGroup() as tasks:
        for number, reservation in enumerate(lost):
            tasks.create_task(other[0].settle(reservation, units_spent=number, outcome="200"))
            if number == 5:
                tasks.create_task(roll_up_old_days(quota, reports, keep=KEEP))
    assert await quota.verify() == []
    usage = total(await reports.list_usage(ACCOUNT, Span(FIRST_DAY, FIRST_DAY), By.HOUR))
    assert usage.units == (await windows(database))[FIRST_DAY]


# Once a day


async def test_the_upkeep_is_done_once_a_day_by_one_process(
    quota: QuotaStore,
    reports: QuotaReports,
    other: tuple[QuotaStore, QuotaReports],
    clock: MovableClock,
) -> None:
    pass_until(clock, at(FIRST_DAY, 12))
    both = [(quota, reports), other] * 4
    done = await asyncio.gather(*(keep_up_if_due(*each, keep=KEEP) for each in both))
    assert len([each for each in done if each is not None]) == 1
    pass_until(clock, at(FIRST_DAY + DAY, 0, 59))
    assert await keep_up_if_due(quota, reports, keep=KEEP) is None
    pass_until(clock, at(FIRST_DAY + DAY, 1, 0))
    assert await keep_up_if_due(quota, reports, keep=KEEP) == RolledUp(days_kept=[])
    # A clock that was far ahead does not keep it from being done for years.
    pass_until(clock, at(FIRST_DAY + 1000 * DAY, 12))
    assert await keep_up_if_due(quota, reports, keep=KEEP) is not None
    clock.advance(-900 * DAY)
    assert await keep_up_if_due(quota, reports, keep=KEEP) is not None


async def test_an_upkeep_that_has_much_to_do_goes_on_at_the_next_look(
    quota: QuotaStore,
    reports: QuotaReports,
    clock: MovableClock,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quota_reports, "MOST_ROLLED_UP_AT_ONCE", 3)
    await live_for(quota, clock, days=2)
    done: list[RolledUp] = []
    while (part := await keep_up_if_due(quota, reports, keep=KEEP, most_parts=2)) is not None:
        done.append(part)
    assert len(done) > 2
    assert [each.is_complete for each in done] == [False] * (len(done) - 1) + [True]
    assert await details(database) == {clock.now().date(): 2}


async def test_an_upkeep_whose_process_was_killed_is_taken_over(
    reports: QuotaReports, quota: QuotaStore, clock: MovableClock
) -> None:
    assert await reports.claim_upkeep()
    assert await keep_up_if_due(quota, reports, keep=KEEP) is None
    clock.advance(UPKEEP_LEASE)
    assert await keep_up_if_due(quota, reports, keep=KEEP) is not None


async def test_a_worker_sees_to_it_between_two_looks_at_the_queue(
    environment: dict[str, str], clock: MovableClock, database: Database
) -> None:
    settings = config.load(environment)
    assert settings.database_url
    async with running_app(settings, settings.database_url, clock=clock) as app:
        await live_for(app.quota, clock, days=1)
        await Worker(app)._feed_once()
        assert await details(database) == {clock.now().date(): 2}
        await Worker(app)._feed_once()
        assert await app.quota.verify() == []


async def test_a_month_of_full_days_shrinks_to_its_hours(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    await fill(database, days=6, calls=2000)
    pass_until(clock, at(FIRST_DAY + KEEP + 10 * DAY, 12))
    assert await quota.verify() == []
    done = await roll_up_old_days(quota, reports, keep=KEEP)
    assert (done.days, done.rows) == (3, 6000)
    assert await rows(database, "SELECT count(*)::int FROM quota_hours") == [(3 * 24,)]
    assert await quota.verify() == []


async def test_a_stranger_s_account_is_rolled_up_on_its_own(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock, database: Database
) -> None:
    await live_for(quota, clock, days=1)
    before = await every_report(reports)
    assert await reports.roll_up(Account.of("isbndb", "another key"), FIRST_DAY) == 0
    assert await every_report(reports) == before
