"""A past for the quota: days on which everything happens that a ledger can tell of."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol, cast
from uuid import uuid4

from alexandria.clock import Clock
from alexandria.domain.quota import ARRIVAL_SPAN, Account, Lane, Policy, Request, Reservation
from alexandria.domain.quota_usage import By, Line, Span
from alexandria.domain.reconciling import Reading
from alexandria.domain.settling import Evidence
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from alexandria.stores.quota_reports import QuotaReports

FIRST_DAY = date(2026, 10, 1)
ACCOUNT = Account.of("isbndb", "one key")
FAST = replace(Policy(), requests_per_window=1_000_000)
"""So fast that no slot is ever too far ahead."""


class MovableClock(Clock, Protocol):
    """The clock of `conftest.py`."""

    def advance(self, span: timedelta) -> None: ...


def pass_until(clock: MovableClock, moment: datetime) -> None:
    """Let time pass; setting the clock would be something else."""
    clock.advance(moment - clock.now())


def at(day: date, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC)


async def reserve(
    quota: QuotaStore, units: int, consumer: str, lane: Lane = Lane.BULK, *, job: str | None = None
) -> Reservation:
    # One slot after the other: bulk does not wait for one.
    cast("MovableClock", quota._books._clock).advance(timedelta(seconds=1))
    return await quota.reserve(ACCOUNT, FAST, Request(uuid4(), lane, consumer, units, job=job))


async def spend(
    quota: QuotaStore,
    units: int,
    consumer: str,
    lane: Lane = Lane.BULK,
    *,
    spent: int | None = None,
    job: str | None = None,
) -> None:
    reservation = await reserve(quota, units, consumer, lane, job=job)
    await quota.settle(reservation, units_spent=units if spent is None else spent, outcome="200")


async def live_through(quota: QuotaStore, clock: MovableClock, day: date = FIRST_DAY) -> None:
    """One day with all that can happen. It ends with a call that nobody settles before midnight."""
    pass_until(clock, at(day, 9, 10))
    await spend(quota, 3, "lookup", Lane.INTERACTIVE)
    await spend(quota, 100, "batch-direct", spent=60)
    await quota.release(await reserve(quota, 7, "batch-direct"), reason="too late")
    pass_until(clock, at(day, 10, 30))
    await spend(quota, 1, "new-releases", Lane.SCHEDULED)
    await reserve(quota, 5, "author-bibliography")
    clock.advance(ARRIVAL_SPAN + timedelta(minutes=1))
    await quota.expire()
    pass_until(clock, at(day, 14, 0))
    foreign = await reserve(quota, 2, "lookup", Lane.INTERACTIVE)
    evidence = Evidence(provider_time=clock.now(), total=15_000, left=15_000 - 111)
    await quota.settle(foreign, units_spent=2, outcome="200", evidence=evidence, policy=FAST)
    pass_until(clock, at(day, 16, 0))
    await quota.reconcile(ACCOUNT, FAST, Reading(day, 15_000, 100, clock.now()))
    pass_until(clock, at(day, 18, 0))
    await reserve(quota, 6, "author-bibliography")
    clock.advance(ARRIVAL_SPAN + timedelta(minutes=1))
    await quota.expire()
    pass_until(clock, at(day, 23, 59, 47))
    await reserve(quota, 4, "author-bibliography")
    pass_until(clock, at(day + timedelta(days=1), 0, 0, 6))
    await spend(quota, 1, "lookup", Lane.INTERACTIVE)


async def fill(database: Database, *, days: int, calls: int, first_day: date = FIRST_DAY) -> None:
    """So many days of so many settled calls each, written down in one go, the entries in the order in which they would be."""
    async with database.connection() as connection:
        await connection.execute(queries_of_a_history(days, calls, first_day).encode())


def queries_of_a_history(days: int, calls: int, first_day: date) -> str:
    """The statements; what they write is what reserving and settling one unit at a time does."""
    seconds = 86_000 // calls
    return f"""
        INSERT INTO quota_accounts (provider, key_hash, day)
        VALUES ('isbndb', '{ACCOUNT.key_hash}', date '{first_day}' + {days - 1});
        INSERT INTO quota_windows (provider, key_hash, day, units_charged, used)
        SELECT 'isbndb', '{ACCOUNT.key_hash}', date '{first_day}' + day, {calls}, '{{"bulk/author-bibliography": {calls}}}'
          FROM generate_series(0, {days - 1}) AS day;
        CREATE TEMP TABLE call AS
        SELECT gen_random_uuid() AS request_id, date '{first_day}' + day AS day,
               (date '{first_day}' + day)::timestamp AT TIME ZONE 'UTC' + call * interval '{seconds} seconds' AS at, call
          FROM generate_series(0, {days - 1}) AS day, generate_series(1, {calls}) AS call;
        INSERT INTO quota_reservations (request_id, provider, key_hash, day, lane, consumer, job, units, requests, not_before,
                                        use_before, state, units_charged, reserved_at, settled_at)
        SELECT request_id, 'isbndb', '{ACCOUNT.key_hash}', day, 'bulk', 'author-bibliography',
               '20261001-4f1a9c/' || call, 1, 1, at, at + interval '3 seconds', 'settled', 1, at, at + interval '1 second'
          FROM call;
        INSERT INTO quota_ledger (provider, key_hash, day, request_id, kind, units, detail, recorded_at)
        SELECT 'isbndb', '{ACCOUNT.key_hash}', day, request_id, kind, units, detail, at + units * interval '1 second'
          FROM call, (VALUES ('reserve', 1, ''), ('settle', 0, 'found')) AS entry (kind, units, detail)
         ORDER BY at, units DESC;
        DROP TABLE call;
        ANALYZE;
    """  # noqa: S608  # a test's own words


async def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    async with database.connection() as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def windows(database: Database) -> Mapping[date, int]:
    """Day -> units charged, as the window says."""
    return dict(await rows(database, "SELECT day, units_charged FROM quota_windows"))


async def every_report(reports: QuotaReports, days: int = 60) -> Mapping[By, list[Line]]:
    """All that can be asked about the days since the first."""
    span = Span(FIRST_DAY, FIRST_DAY + timedelta(days=days))
    return {by: await reports.list_usage(ACCOUNT, span, by) for by in By}
