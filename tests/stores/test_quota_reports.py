"""What was charged, as it is read: by hour, day, lane and consumer, and entry by entry."""

from datetime import timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from alexandria.domain.errors import InvalidInput
from alexandria.domain.quota import Account, Lane
from alexandria.domain.quota_usage import By, LedgerKind, LedgerLine, Line, Span, total
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from alexandria.stores.quota_reports import QuotaReports, queries
from stores.quota_days import (
    ACCOUNT,
    FAST,
    FIRST_DAY,
    MovableClock,
    at,
    fill,
    live_through,
    pass_until,
    reserve,
    rows,
    spend,
    windows,
)

NEXT_DAY = FIRST_DAY + timedelta(days=1)
ONE_DAY = Span(FIRST_DAY, FIRST_DAY)


@pytest.fixture
def quota(database: Database, clock: MovableClock) -> QuotaStore:
    return QuotaStore(database, clock)


@pytest.fixture
def reports(database: Database, clock: MovableClock) -> QuotaReports:
    return QuotaReports(database, clock)


async def test_a_day_is_told_hour_by_hour(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock
) -> None:
    await live_through(quota, clock)
    lines = await reports.list_usage(ACCOUNT, ONE_DAY, By.HOUR)
    assert [(line.hour, line.requests) for line in lines] == [
        (at(FIRST_DAY, 9), 2),
        (at(FIRST_DAY, 10), 1),
        (at(FIRST_DAY, 14), 1),
        (at(FIRST_DAY, 16), 0),
        (at(FIRST_DAY, 18), 1),
        (at(FIRST_DAY, 23), 1),
    ]
    assert [(line.settled, line.reserved, line.unresolved, line.released) for line in lines] == [
        (63, 0, 0, 1),
        (1, 0, 0, 1),
        (2, 0, 0, 0),
        (0, 0, 0, 0),
        (0, 0, 6, 0),
        (0, 4, 0, 0),
    ]
    assert [line.foreign for line in lines] == [0, 0, 40, 0, 0, 0]
    assert lines[3].reconciled < 0
    assert {line.day for line in lines} == {FIRST_DAY}
    assert {(line.lane, line.consumer) for line in lines} == {(None, None)}


async def test_a_day_adds_up_to_its_window_whichever_way_it_is_told(
    quota: QuotaStore, reports: QuotaReports, database: Database, clock: MovableClock
) -> None:
    await live_through(quota, clock)
    for day, charged in (await windows(database)).items():
        assert charged > 0
        for by in By:
            assert total(await reports.list_usage(ACCOUNT, Span(day, day), by)).units == charged, (day, by)


async def test_a_call_over_midnight_counts_on_the_new_day_from_the_moment_it_was_carried(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock
) -> None:
    await live_through(quota, clock)
    [line] = await reports.list_usage(ACCOUNT, Span(NEXT_DAY, NEXT_DAY), By.HOUR)
    assert (line.hour, line.requests, line.settled, line.reserved) == (at(NEXT_DAY, 0), 1, 1, 4)


async def test_lanes_and_consumers_are_told_apart_and_what_others_spent_has_neither(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock
) -> None:
    pass_until(clock, at(FIRST_DAY, 9))
    await spend(quota, 3, "lookup", Lane.INTERACTIVE)
    await spend(quota, 4, "covers")
    await spend(quota, 5, "lookup")
    async with quota._books._database.connection() as connection:
        await connection.execute(
            b"UPDATE quota_windows SET units_charged = units_charged + 8;"
            b"INSERT INTO quota_ledger (provider, key_hash, day, kind, units, recorded_at)"
            b" SELECT provider, key_hash, day, 'foreign', 8, '2026-10-01T09:30Z' FROM quota_windows"
        )
    by_lane = await reports.list_usage(ACCOUNT, ONE_DAY, By.LANE)
    assert [(line.lane, line.units) for line in by_lane] == [(Lane.BULK, 9), (Lane.INTERACTIVE, 3), (None, 8)]
    by_consumer = await reports.list_usage(ACCOUNT, ONE_DAY, By.CONSUMER)
    assert [(line.lane, line.consumer, line.units) for line in by_consumer] == [
        (Lane.BULK, "covers", 4),
        (Lane.BULK, "lookup", 5),
        (Lane.INTERACTIVE, "lookup", 3),
        (None, None, 8),
    ]


async def test_another_key_s_units_are_another_s(quota: QuotaStore, reports: QuotaReports) -> None:
    await spend(quota, 3, "lookup")
    span = Span(FIRST_DAY, FIRST_DAY + timedelta(days=100))
    assert await reports.list_usage(Account.of("isbndb", "another key"), span, By.DAY) == []
    assert len(await reports.list_usage(ACCOUNT, span, By.DAY)) == 1


def test_a_span_is_one_day_or_the_last_ones_and_never_both() -> None:
    assert Span.of(day=None, days=None, today=NEXT_DAY) == Span(NEXT_DAY, NEXT_DAY)
    assert Span.of(day=FIRST_DAY, days=None, today=NEXT_DAY) == ONE_DAY
    assert Span.of(day=None, days=2, today=NEXT_DAY) == Span(FIRST_DAY, NEXT_DAY)
    assert (ONE_DAY.usual_lines, Span(FIRST_DAY, NEXT_DAY).usual_lines) == (By.HOUR, By.DAY)
    for wrong in ({"day": FIRST_DAY, "days": 2}, {"day": None, "days": 0}, {"day": None, "days": 367}):
        with pytest.raises(InvalidInput, match="days"):
            Span.of(today=NEXT_DAY, **wrong)


def test_the_sum_of_nothing_is_nothing() -> None:
    assert total([]) == Line()


# The ledger


async def test_the_ledger_is_read_from_either_end_in_parts(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock
) -> None:
    await live_through(quota, clock)
    everything = await reports.list_entries(ACCOUNT, limit=1000)
    assert len(everything) > 10
    numbers = [each.entry for each in everything]
    assert numbers == sorted(numbers, reverse=True)
    assert {each.kind for each in everything} >= set(LedgerKind) - {
        LedgerKind.EXPIRE,
        LedgerKind.ADJUST,
    }
    for day, oldest_first in product((None, FIRST_DAY), (False, True)):
        parts: list[LedgerLine] = []
        while part := await reports.list_entries(
            ACCOUNT, limit=4, day=day, after=parts[-1].entry if parts else None, oldest_first=oldest_first
        ):
            parts += part
        wanted = [each for each in everything if day in {None, each.day}]
        assert parts == (wanted[::-1] if oldest_first else wanted)


async def test_the_ledger_is_searched_by_day_kind_and_consumer(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock
) -> None:
    await live_through(quota, clock)
    everything = await reports.list_entries(ACCOUNT, limit=1000)
    assert await reports.list_entries(ACCOUNT, limit=1000, day=NEXT_DAY) == [
        each for each in everything if each.day == NEXT_DAY
    ]
    [foreign] = await reports.list_entries(ACCOUNT, limit=1000, kind=LedgerKind.FOREIGN)
    assert (foreign.units, foreign.lane, foreign.consumer, foreign.request_id) == (40, None, None, None)
    batches = await reports.list_entries(ACCOUNT, limit=1000, consumer="batch-direct")
    assert [(each.kind, each.units) for each in batches] == [
        ("release", -7),
        ("reserve", 7),
        ("settle", -40),
        ("reserve", 100),
    ]
    assert {each.lane for each in batches} == {Lane.BULK}


async def test_an_entry_names_its_reservation_s_job(quota: QuotaStore, reports: QuotaReports) -> None:
    await reserve(quota, 1, "covers", job="a run/7")
    [entry] = await reports.list_entries(ACCOUNT, limit=10)
    assert (entry.consumer, entry.job, entry.kind) == ("covers", "a run/7", LedgerKind.RESERVE)


# The pace


async def test_the_pace_is_of_the_last_hour_of_the_day(
    quota: QuotaStore, reports: QuotaReports, clock: MovableClock
) -> None:
    pass_until(clock, at(FIRST_DAY, 9))
    await spend(quota, 100, "lookup")
    pass_until(clock, at(FIRST_DAY, 10, 30))
    await spend(quota, 100, "lookup", spent=60)
    await quota.release(await reserve(quota, 7, "lookup"), reason="too late")
    assert await reports.sum_recently_charged(await quota.status(ACCOUNT, FAST)) == 60
    pass_until(clock, at(FIRST_DAY, 23, 50))
    await spend(quota, 9, "lookup")
    pass_until(clock, at(NEXT_DAY, 0, 10))
    assert await reports.sum_recently_charged(await quota.status(ACCOUNT, FAST)) == 0


# Plans

SHORT_HISTORY = f"""
    INSERT INTO quota_hours
    SELECT 'isbndb', '{ACCOUNT.key_hash}', day, day::timestamp AT TIME ZONE 'UTC' + hour * interval '1 hour', 'bulk',
           'consumer ' || consumer, 1, 1, 0, 0, 0, 0
      FROM quota_windows, generate_series(0, 23) AS hour, generate_series(1, 20) AS consumer;
    ANALYZE quota_hours
"""  # noqa: S608  # a test's own words


async def test_a_long_history_is_not_read_from_end_to_end(database: Database) -> None:
    account = {"provider": "isbndb", "key_hash": ACCOUNT.key_hash}
    one_day = {"day": FIRST_DAY, "kind": None, "consumer": None, "after": None, "most": 10}
    any_day = {**one_day, "day": None, "after": 1_000_000}
    span = {"first_day": FIRST_DAY, "last_day": NEXT_DAY, "by": "hour"}
    reservations = {"quota_reservations_day", "quota_reservations_carried", "quota_ledger_counts"}
    expected: list[tuple[str, dict[str, Any], set[str]]] = [
        ("list_usage", span, {*reservations, "quota_hours_pkey"}),
        ("sum_recently_charged", {**one_day, "since": at(FIRST_DAY, 9)}, {"quota_reservations_day"}),
        ("list_entries_of_day", {**one_day, "direction": -1}, {"quota_ledger_day"}),
        ("list_newest_entries", any_day, {"quota_ledger_pkey"}),
        ("list_oldest_entries", any_day, {"quota_ledger_pkey"}),
        ("find_last_rolled_up_day", {}, {"quota_hours_pkey"}),
        ("list_days_to_roll_up", {**one_day, "before": NEXT_DAY}, {"quota_ledger_counts"}),
    ]
    await fill(database, days=20, calls=1000)
    async with database.transaction() as connection:
        await connection.execute(SHORT_HISTORY.encode())
        for query, parameters, indexes in expected:
            plan = await connection.execute("EXPLAIN " + getattr(queries, query), {**account, **parameters})
            text = str(await plan.fetchall())
            assert {index for index in indexes if index not in text} == set(), (query, text)
            assert "Seq Scan on quota_ledger" not in text, (query, text)
            assert "Seq Scan on quota_reservations" not in text, (query, text)


async def test_what_a_roll_up_reads_uses_indexes(database: Database) -> None:
    await fill(database, days=20, calls=1000)
    async with database.transaction() as connection:
        for column, value in (("request_id", f"'{{{uuid4()}}}'::uuid[]"), ("entry", "'{1}'::bigint[]")):
            plan = await connection.execute(
                f"EXPLAIN SELECT * FROM quota_calls WHERE {column} = ANY ({value})".encode()  # noqa: S608  # from above
            )
            text = str(await plan.fetchall())
            assert "Seq Scan" not in text, text


async def test_nothing_is_kept_of_a_key_but_its_hash(quota: QuotaStore, database: Database) -> None:
    await spend(quota, 1, "lookup")
    assert await rows(database, "SELECT DISTINCT key_hash FROM quota_calls") == [(ACCOUNT.key_hash,)]
