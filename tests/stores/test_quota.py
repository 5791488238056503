"""The quota's ledger on a real PostgreSQL: many processes, kills, midnight, an absent database.

Run as a program this file is a group of processes that spend one account's units; the tests start it and kill parts of it.
"""

import asyncio
import logging
import os
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import psycopg
import pytest
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from alexandria.clock import Clock
from alexandria.domain.errors import InvalidInput, QuotaDenied, QuotaExhausted, StoreUnavailable
from alexandria.domain.pacing import spacing_of
from alexandria.domain.quota import (
    ARRIVAL_SPAN,
    RECONCILER,
    Account,
    DenialReason,
    Lane,
    Policy,
    Request,
    Reservation,
)
from alexandria.domain.reconciling import Reading
from alexandria.domain.settling import Evidence
from alexandria.stores.postgres import Database
from alexandria.stores.quota import COUNT_LEASE, COUNT_REST, QuotaStore
from alexandria.stores.quota_books import queries

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ACCOUNT = Account.of("isbndb", "one key")
POLICY = Policy()
FAST = Policy(requests_per_window=1_000_000)
"""So fast that no slot is ever too far ahead: for tests of anything but the pace."""


class MovableClock(Clock, Protocol):
    """The clock of `conftest.py`."""

    def advance(self, span: timedelta) -> None: ...

    def set(self, now: datetime) -> None: ...


@pytest.fixture
def quota(database: Database, clock: MovableClock) -> QuotaStore:
    return QuotaStore(database, clock)


@pytest.fixture
async def other_quota(database_url: str, clock: MovableClock) -> AsyncIterator[QuotaStore]:
    """The same quota as another process sees it: with connections of its own."""
    async with Database.open(database_url) as database:
        yield QuotaStore(database, clock)


def a_request(units: int = 1, *, consumer: str = "lookup", lane: Lane = Lane.INTERACTIVE) -> Request:
    return Request(uuid4(), lane, consumer, units)


async def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    async with database.connection() as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def everything(database: Database) -> list[list[tuple[Any, ...]]]:
    """Every row that the quota keeps."""
    tables = ("quota_accounts", "quota_windows", "quota_reservations", "quota_ledger")
    return [await rows(database, f"SELECT {table}::text FROM {table} ORDER BY 1") for table in tables]  # noqa: S608  # names from above


async def charged(database: Database) -> dict[date, int]:
    """Day -> units charged, from the windows."""
    return dict(await rows(database, "SELECT day, units_charged FROM quota_windows"))


async def ledger(database: Database) -> list[tuple[str, int, str]]:
    """Kind, units and detail of every entry, in order."""
    return await rows(database, "SELECT kind, units, detail FROM quota_ledger ORDER BY entry")


async def refusal(reserving: Any) -> QuotaDenied:
    with pytest.raises(QuotaDenied) as refused:
        await reserving
    return refused.value


# A reservation's life


async def test_what_is_reserved_is_charged_at_once_and_settled_later(
    quota: QuotaStore, database: Database
) -> None:
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(3))
    assert reservation.units == 3
    assert reservation.day == NOON.date()
    assert (reservation.not_before, reservation.use_before) == (NOON, NOON + 3 * SECOND)
    status = await quota.status(ACCOUNT, POLICY)
    assert (status.used, status.reserved, status.settled, status.remaining) == (3, 3, 0, 12_997)

    await quota.settle(reservation, units_spent=3, outcome="200")
    status = await quota.status(ACCOUNT, POLICY)
    assert (status.used, status.reserved, status.settled, status.remaining) == (3, 0, 3, 12_997)
    assert await ledger(database) == [("reserve", 3, ""), ("settle", 0, "200")]
    assert await quota.verify() == []


async def test_the_same_request_is_charged_once(
    quota: QuotaStore, other_quota: QuotaStore, database: Database
) -> None:
    request = a_request(5)
    first = await quota.reserve(ACCOUNT, POLICY, request)
    before = await everything(database)
    assert await other_quota.reserve(ACCOUNT, POLICY, request) == first
    assert await everything(database) == before


async def test_the_same_request_asked_twice_at_once_is_charged_once(
    quota: QuotaStore, other_quota: QuotaStore, database: Database
) -> None:
    request = a_request(5)
    reservations = await asyncio.gather(
        *(each.reserve(ACCOUNT, POLICY, request) for each in [quota, other_quota] * 4)
    )
    assert len(set(reservations)) == 1
    assert await charged(database) == {NOON.date(): 5}


async def test_an_id_is_never_used_for_two_requests(quota: QuotaStore) -> None:
    request = a_request(5)
    await quota.reserve(ACCOUNT, POLICY, request)
    assert (await refusal(quota.reserve(ACCOUNT, POLICY, replace(request, units=6)))).reason == "invalid"
    other_account = Account.of("isbndb", "another key")
    assert (await refusal(quota.reserve(other_account, POLICY, request))).reason == "invalid"


async def test_a_retry_after_a_release_needs_an_id_of_its_own(quota: QuotaStore) -> None:
    request = a_request()
    await quota.release(await quota.reserve(ACCOUNT, POLICY, request), reason="too late")
    assert (await refusal(quota.reserve(ACCOUNT, POLICY, request))).reason == "invalid"
    assert (await quota.reserve(ACCOUNT, POLICY, replace(request, request_id=uuid4()))).units == 1


async def test_units_that_a_bulk_call_did_not_spend_come_back(quota: QuotaStore, database: Database) -> None:
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(100))
    await quota.settle(reservation, units_spent=60, outcome="200")
    assert await charged(database) == {NOON.date(): 60}
    assert (await ledger(database))[-1] == ("settle", -40, "200")
    assert await quota.verify() == []


async def test_what_the_provider_charged_beyond_the_reservation_counts_even_past_the_limit(
    quota: QuotaStore, database: Database
) -> None:
    tight = replace(POLICY, safe_limit=10)
    reservation = await quota.reserve(ACCOUNT, tight, a_request(1))
    await quota.settle(reservation, units_spent=1_000, outcome="200")
    assert await charged(database) == {NOON.date(): 1_000}
    assert (await ledger(database))[-1] == ("settle", 999, "200")
    assert (await quota.status(ACCOUNT, tight)).remaining == 0
    assert isinstance(await refusal(quota.reserve(ACCOUNT, tight, a_request())), QuotaExhausted)
    assert await quota.verify() == []


async def test_a_released_reservation_gives_everything_back(quota: QuotaStore, database: Database) -> None:
    await quota.release(await quota.reserve(ACCOUNT, POLICY, a_request(7)), reason="too late")
    assert await charged(database) == {NOON.date(): 0}
    assert await ledger(database) == [("reserve", 7, ""), ("release", -7, "too late")]
    assert await quota.verify() == []


async def settle(quota: QuotaStore, reservation: Reservation) -> None:
    await quota.settle(reservation, units_spent=2, outcome="200")


async def release(quota: QuotaStore, reservation: Reservation) -> None:
    await quota.release(reservation, reason="too late")


@pytest.mark.parametrize("first", [settle, release])
@pytest.mark.parametrize("second", [settle, release])
async def test_only_the_first_end_of_a_reservation_counts(
    quota: QuotaStore,
    other_quota: QuotaStore,
    database: Database,
    first: Callable[..., Any],
    second: Callable[..., Any],
) -> None:
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(3))
    await first(quota, reservation)
    before = await everything(database)
    await second(other_quota, reservation)
    assert await everything(database) == before


async def test_two_settlements_at_once_count_once(
    quota: QuotaStore, other_quota: QuotaStore, database: Database
) -> None:
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(3))
    await asyncio.gather(*(settle(each, reservation) for each in [quota, other_quota] * 4))
    assert await charged(database) == {NOON.date(): 2}
    assert await quota.verify() == []


async def test_nobody_spends_a_negative_amount(quota: QuotaStore) -> None:
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(3))
    with pytest.raises(InvalidInput, match="units_spent"):
        await quota.settle(reservation, units_spent=-1, outcome="200")


# Expiry


async def test_a_reservation_that_nobody_settled_stays_charged(
    quota: QuotaStore, clock: MovableClock, database: Database
) -> None:
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(4))
    clock.advance(reservation.use_before + ARRIVAL_SPAN - clock.now())
    assert await quota.expire() == 0
    clock.advance(SECOND)
    assert await quota.expire() == 1
    assert await quota.expire() == 0
    status = await quota.status(ACCOUNT, POLICY)
    assert (status.used, status.unresolved, status.reserved) == (4, 4, 0)
    assert await ledger(database) == [("reserve", 4, ""), ("unresolve", 0, "nobody settled it")]
    assert await quota.verify() == []


async def test_an_expired_reservation_is_not_given_back(
    quota: QuotaStore, clock: MovableClock, database: Database
) -> None:
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(4))
    clock.advance(timedelta(minutes=5))
    await quota.expire()
    await quota.release(reservation, reason="too late")
    assert await charged(database) == {NOON.date(): 4}


async def test_a_late_answer_corrects_an_expired_reservation(
    quota: QuotaStore, clock: MovableClock, database: Database
) -> None:
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(4))
    clock.advance(timedelta(minutes=5))
    await quota.expire()
    await quota.settle(reservation, units_spent=1, outcome="200")
    assert await charged(database) == {NOON.date(): 1}
    assert await quota.expire() == 0
    assert await quota.verify() == []


# The limit, the day and the pace


async def test_the_last_unit_of_the_day_is_granted_once(
    quota: QuotaStore, other_quota: QuotaStore, database: Database
) -> None:
    await quota.reserve(ACCOUNT, FAST, a_request(12_999))
    reserving = (each.reserve(ACCOUNT, FAST, a_request()) for each in [quota, other_quota] * 10)
    outcomes = Counter(type(each) for each in await asyncio.gather(*reserving, return_exceptions=True))
    assert outcomes == {Reservation: 1, QuotaExhausted: 19}
    assert await charged(database) == {NOON.date(): 13_000}


async def test_a_new_day_starts_at_zero_and_nothing_was_reset(
    quota: QuotaStore, clock: MovableClock, database: Database
) -> None:
    last = await quota.reserve(ACCOUNT, POLICY, a_request(13_000))
    exhausted = await refusal(quota.reserve(ACCOUNT, POLICY, a_request()))
    assert exhausted.retry_at == MIDNIGHT + 5 * SECOND

    clock.advance(exhausted.retry_at - clock.now())
    assert (await quota.status(ACCOUNT, POLICY)).used == 0
    assert (await quota.reserve(ACCOUNT, POLICY, a_request())).day == MIDNIGHT.date()
    assert await charged(database) == {NOON.date(): 13_000, MIDNIGHT.date(): 1}

    # An answer that comes after midnight belongs to the day on which the call was charged.
    await quota.settle(last, units_spent=12_000, outcome="200")
    assert await charged(database) == {NOON.date(): 12_000, MIDNIGHT.date(): 1}
    assert await quota.verify() == []


async def test_a_clock_set_back_across_midnight_grants_nothing(
    quota: QuotaStore, clock: MovableClock
) -> None:
    clock.set(MIDNIGHT + 6 * SECOND)
    await quota.reserve(ACCOUNT, POLICY, a_request())
    for stepped_back in (12 * SECOND, timedelta(minutes=1), timedelta(hours=5)):
        clock.set(MIDNIGHT + 6 * SECOND - stepped_back)
        assert (await refusal(quota.reserve(ACCOUNT, POLICY, a_request()))).reason in {"guard", "unconfirmed"}


async def test_processes_take_turns_in_the_same_slots(quota: QuotaStore, other_quota: QuotaStore) -> None:
    reserving = (each.reserve(ACCOUNT, POLICY, a_request()) for each in [quota, other_quota] * 6)
    slots = sorted(each.not_before for each in await asyncio.gather(*reserving))
    assert slots == [NOON + number * spacing_of(POLICY.rate, POLICY.fence_span) for number in range(12)]


async def test_a_queue_that_is_too_long_is_told_when_to_come_back(
    quota: QuotaStore, clock: MovableClock
) -> None:
    slow = replace(POLICY, requests_per_window=6, longest_wait=15 * SECOND)
    for _ in range(2):
        await quota.reserve(ACCOUNT, slow, a_request())
    paced = await refusal(quota.reserve(ACCOUNT, slow, a_request()))
    assert paced.reason == "paced"
    assert paced.retry_at is not None
    clock.advance(paced.retry_at - clock.now())
    assert (await quota.reserve(ACCOUNT, slow, a_request())).not_before == paced.retry_at + 15 * SECOND


# Stops


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (DenialReason.BREAKER, QuotaDenied),
        (DenialReason.EXHAUSTED, QuotaExhausted),
        (DenialReason.SUSPENDED, QuotaDenied),
    ],
)
async def test_a_stop_stops_everybody_and_shows_its_reason(
    quota: QuotaStore,
    other_quota: QuotaStore,
    clock: MovableClock,
    reason: DenialReason,
    kind: type[QuotaDenied],
) -> None:
    until = NOON + 30 * SECOND
    await quota.stop(ACCOUNT, until=until, reason=reason, detail="429: slow down")
    denied = await refusal(other_quota.reserve(ACCOUNT, POLICY, a_request()))
    assert type(denied) is kind
    assert (denied.reason, denied.detail, denied.retry_at) == (reason, "429: slow down", until)
    status = await other_quota.status(ACCOUNT, POLICY)
    assert status.stop is not None
    assert (status.stop.reason, status.stop.stopped_at, status.stop.until) == (reason, NOON, until)
    assert not status.can_make_calls

    clock.set(until)
    assert (await other_quota.reserve(ACCOUNT, POLICY, a_request())).units == 1
    assert (await other_quota.status(ACCOUNT, POLICY)).stop is None


async def test_a_latched_stop_holds_until_a_person_resumes(
    quota: QuotaStore, other_quota: QuotaStore, clock: MovableClock
) -> None:
    await quota.stop(ACCOUNT, until=None, reason=DenialReason.SUSPENDED, detail="401: the key is refused")
    clock.advance(timedelta(days=30))
    denied = await refusal(other_quota.reserve(ACCOUNT, POLICY, a_request()))
    assert (denied.reason, denied.retry_at) == ("suspended", None)
    assert await other_quota.resume(ACCOUNT) is True
    assert await other_quota.resume(ACCOUNT) is False
    assert (await quota.reserve(ACCOUNT, POLICY, a_request())).units == 1


async def test_a_later_stop_never_shortens_a_longer_one(quota: QuotaStore) -> None:
    async def stopped_for() -> tuple[str, datetime | None]:
        denied = await refusal(quota.reserve(ACCOUNT, POLICY, a_request()))
        return denied.reason, denied.retry_at

    await quota.stop(ACCOUNT, until=NOON + 60 * SECOND, reason=DenialReason.BREAKER, detail="429")
    await quota.stop(ACCOUNT, until=NOON + 10 * SECOND, reason=DenialReason.BREAKER, detail="429")
    assert await stopped_for() == ("breaker", NOON + 60 * SECOND)
    await quota.stop(ACCOUNT, until=MIDNIGHT, reason=DenialReason.EXHAUSTED, detail="429, daily")
    assert await stopped_for() == ("exhausted", MIDNIGHT)
    await quota.stop(ACCOUNT, until=None, reason=DenialReason.SUSPENDED, detail="403")
    await quota.stop(ACCOUNT, until=MIDNIGHT, reason=DenialReason.EXHAUSTED, detail="429, daily")
    assert await stopped_for() == ("suspended", None)


async def test_a_new_key_starts_afresh(quota: QuotaStore) -> None:
    await quota.reserve(ACCOUNT, FAST, a_request(13_000))
    await quota.stop(ACCOUNT, until=None, reason=DenialReason.SUSPENDED, detail="403")
    new = Account.of("isbndb", "a new key")
    assert (await quota.reserve(new, POLICY, a_request())).units == 1
    assert (await quota.status(new, POLICY)).used == 1


async def test_an_account_is_stopped_only_for_what_a_provider_answered(quota: QuotaStore) -> None:
    with pytest.raises(InvalidInput, match="reason"):
        await quota.stop(ACCOUNT, until=None, reason=DenialReason.PACED, detail="")


async def test_slots_taken_by_a_wrong_clock_are_given_back_on_resume(
    quota: QuotaStore, database: Database, clock: MovableClock
) -> None:
    # A process that came and went: nobody is left who saw the clock before it was set right.
    clock.set(NOON + timedelta(days=365))
    await QuotaStore(database, clock).reserve(ACCOUNT, POLICY, a_request())
    clock.set(NOON)
    assert (await refusal(quota.reserve(ACCOUNT, POLICY, a_request()))).reason == "unconfirmed"
    assert await quota.resume(ACCOUNT) is True
    # Whatever the wrong clock sent has left the provider's window by then.
    clock.advance(timedelta(minutes=2))
    assert (await quota.reserve(ACCOUNT, POLICY, a_request())).not_before == NOON + timedelta(minutes=2)


async def test_a_stop_lasts_as_long_as_it_says_wherever_the_caller_s_clock_stands(
    quota: QuotaStore, clock: MovableClock
) -> None:
    for theirs in (NOON - timedelta(minutes=12), NOON + timedelta(minutes=12)):
        await quota.stop(
            ACCOUNT, until=theirs + 60 * SECOND, as_of=theirs, reason=DenialReason.BREAKER, detail="429"
        )
        denied = await refusal(quota.reserve(ACCOUNT, POLICY, a_request()))
        assert denied.retry_at == NOON + 60 * SECOND


async def test_a_latch_that_a_free_call_meets_again_is_tried_hourly_and_not_every_second(
    quota: QuotaStore, clock: MovableClock
) -> None:
    tries = 0
    await quota.stop(ACCOUNT, until=None, reason=DenialReason.SUSPENDED, detail="401")
    for _ in range(2 * 3600):
        clock.advance(SECOND)
        if await quota.claim_count(ACCOUNT, only_if_due=True) is not None:
            tries += 1
            await quota.stop(ACCOUNT, until=None, reason=DenialReason.SUSPENDED, detail="401")
            await quota.yield_count(ACCOUNT)
    assert tries == 2


# The provider's count


COUNTED = replace(FAST, has_counter=True)


async def know_the_count(quota: QuotaStore, clock: MovableClock, spent: int = 0) -> Reading:
    """The free call that opens the day, and its count, not compared yet."""
    asked_at = await quota.claim_count(ACCOUNT)
    assert asked_at is not None
    free = await quota.reserve(ACCOUNT, COUNTED, a_request(0, consumer=RECONCILER))
    answer = Evidence(clock.now(), total=15_000, left=15_000 - spent)
    await quota.settle(free, units_spent=0, outcome="200", evidence=answer, policy=COUNTED)
    return Reading(NOON.date(), 15_000, spent, asked_at)


async def test_a_count_that_is_compared_late_takes_back_nothing_that_was_learnt_meanwhile(
    quota: QuotaStore, database: Database, clock: MovableClock
) -> None:
    await quota.reconcile(ACCOUNT, COUNTED, await know_the_count(quota, clock))
    clock.advance(timedelta(minutes=10))
    late = await know_the_count(quota, clock)
    ours = await quota.reserve(ACCOUNT, COUNTED, a_request())
    # Meanwhile somebody else has spent nearly everything, and our call's answer says so.
    told = Evidence(clock.now(), total=15_000, left=2_000)
    await quota.settle(ours, units_spent=1, outcome="200", evidence=told, policy=COUNTED)
    assert await charged(database) == {NOON.date(): 13_000}
    await quota.reconcile(ACCOUNT, COUNTED, late)
    assert await charged(database) == {NOON.date(): 13_000}
    # A count that was asked afterwards is believed.
    clock.advance(timedelta(minutes=10))
    await quota.reconcile(ACCOUNT, COUNTED, await know_the_count(quota, clock, spent=12_000))
    assert await charged(database) == {NOON.date(): 12_000}
    assert await quota.verify() == []


async def test_thousands_of_lost_calls_come_back_with_one_count(
    quota: QuotaStore, database: Database, clock: MovableClock
) -> None:
    await quota.reconcile(ACCOUNT, COUNTED, await know_the_count(quota, clock))
    first = await quota.reserve(ACCOUNT, COUNTED, a_request())
    await quota.settle(first, units_spent=1, outcome="no answer", is_certain=False, policy=COUNTED)
    async with database.connection() as connection:
        # The same as that call, many times over: making them one by one takes longer than what is tried here.
        await connection.execute(
            b"INSERT INTO quota_reservations (request_id, provider, key_hash, day, lane, consumer, units, requests, not_before,"
            b" use_before, state, units_charged, reserved_at)"
            b" SELECT gen_random_uuid(), provider, key_hash, day, lane, consumer, units, requests, not_before, use_before, state,"
            b" units_charged, reserved_at FROM quota_reservations, generate_series(1, 6000) WHERE units = 1;"
        )
        await connection.execute(
            b"INSERT INTO quota_ledger (provider, key_hash, day, request_id, kind, units, recorded_at)"
            b" SELECT provider, key_hash, day, request_id, 'reserve', units, reserved_at FROM quota_reservations WHERE units = 1"
            b" ON CONFLICT DO NOTHING;"
        )
        await connection.execute(
            b"UPDATE quota_windows SET units_charged = 6001, used = jsonb_set(used, '{interactive/lookup}', '6001')"
        )
    assert await quota.verify() == []
    clock.advance(timedelta(minutes=10))
    await quota.reconcile(ACCOUNT, COUNTED, await know_the_count(quota, clock, spent=1))
    assert await charged(database) == {NOON.date(): 1}
    assert await quota.verify() == []


async def test_a_free_call_before_the_day_is_open_forgets_nothing_that_is_in_flight(
    quota: QuotaStore, clock: MovableClock
) -> None:
    """After a resume the day is opened anew; what was out before is still out."""
    await quota.reconcile(ACCOUNT, COUNTED, await know_the_count(quota, clock))
    await quota.reserve(ACCOUNT, COUNTED, a_request(6_000))
    await quota.stop(ACCOUNT, until=None, reason=DenialReason.SUSPENDED, detail="401")
    await quota.resume(ACCOUNT)
    clock.advance(2 * SECOND)
    await quota.reconcile(ACCOUNT, COUNTED, await know_the_count(quota, clock))
    # 6,000 are out and may hide as many of somebody else's: two thousand more don't fit for certain.
    denied = await refusal(quota.reserve(ACCOUNT, COUNTED, a_request(2_000)))
    assert (denied.reason, "6,000 are on their way" in denied.detail) == ("paced", True)


# A denial changes nothing


async def exhausted(quota: QuotaStore, clock: MovableClock) -> None:
    await quota.reserve(ACCOUNT, FAST, a_request(13_000))


async def paced(quota: QuotaStore, clock: MovableClock) -> None:
    await quota.reserve(ACCOUNT, replace(POLICY, requests_per_window=1), a_request())


async def stopped(quota: QuotaStore, clock: MovableClock) -> None:
    await quota.stop(ACCOUNT, until=None, reason=DenialReason.BREAKER, detail="429")


async def guarded(quota: QuotaStore, clock: MovableClock) -> None:
    clock.set(MIDNIGHT)


@pytest.mark.parametrize(
    ("arrange", "reason"),
    [(exhausted, "exhausted"), (paced, "paced"), (stopped, "breaker"), (guarded, "guard")],
)
async def test_a_denial_changes_nothing(
    quota: QuotaStore, clock: MovableClock, database: Database, arrange: Callable[..., Any], reason: str
) -> None:
    await arrange(quota, clock)
    before = await everything(database)
    for _ in range(3):
        assert (await refusal(quota.reserve(ACCOUNT, POLICY, a_request()))).reason == reason
    assert await everything(database) == before


# Status


async def test_a_status_tells_who_used_what(quota: QuotaStore) -> None:
    cover = await quota.reserve(ACCOUNT, FAST, a_request(2, consumer="covers", lane=Lane.BULK))
    await quota.settle(cover, units_spent=1, outcome="200")
    await quota.release(
        await quota.reserve(ACCOUNT, FAST, a_request(9, consumer="covers", lane=Lane.BULK)), reason="too late"
    )
    await quota.reserve(ACCOUNT, FAST, a_request(5, consumer="lookup", lane=Lane.INTERACTIVE))
    usages = (await quota.status(ACCOUNT, FAST)).as_json()["consumers"]
    assert usages == [
        {"lane": "bulk", "consumer": "covers", "requests": 1, "settled": 1, "reserved": 0, "unresolved": 0},
        {
            "lane": "interactive",
            "consumer": "lookup",
            "requests": 1,
            "settled": 0,
            "reserved": 5,
            "unresolved": 0,
        },
    ]


async def test_an_account_that_never_called_has_used_nothing(quota: QuotaStore, database: Database) -> None:
    status = await quota.status(ACCOUNT, POLICY)
    assert (status.used, status.remaining, status.next_slot_at, status.stop) == (0, 13_000, None, None)
    assert status.can_make_calls
    assert await everything(database) == [[], [], [], []]


async def test_times_are_utc_whatever_zone_the_server_is_in(
    quota: QuotaStore, database_url: str, clock: MovableClock
) -> None:
    name = conninfo_to_dict(database_url)["dbname"]
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(f"ALTER DATABASE {name} SET timezone TO 'Pacific/Auckland'".encode())
    async with Database.open(database_url) as database:
        abroad = QuotaStore(database, clock)
        request = a_request()
        await abroad.reserve(ACCOUNT, POLICY, request)
        again = await abroad.reserve(ACCOUNT, POLICY, request)
        assert again.not_before.isoformat() == "2026-11-23T12:00:00+00:00"
        await abroad.stop(ACCOUNT, until=MIDNIGHT, reason=DenialReason.BREAKER, detail="429")
        assert "again at 2026-11-24 00:00:00 UTC" in str(
            await refusal(abroad.reserve(ACCOUNT, POLICY, request))
        )
        assert await abroad.verify() == []


# Proof


REWRITES = (
    "UPDATE quota_ledger SET units = 0",
    "DELETE FROM quota_ledger",
    "TRUNCATE quota_ledger",
    "TRUNCATE quota_reservations CASCADE",
)


async def test_the_ledger_refuses_to_be_rewritten(quota: QuotaStore, database: Database) -> None:
    await quota.reserve(ACCOUNT, POLICY, a_request())
    for statement in REWRITES:
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            await rows(database, statement)
        assert await ledger(database) == [("reserve", 1, "")], statement


def an_entry(kind: str, units: int) -> str:
    """The statement that adds an entry for every reservation to the ledger."""
    columns = "provider, key_hash, day, request_id"
    values = f"{columns}, '{kind}', {units}, now()"
    return f"INSERT INTO quota_ledger ({columns}, kind, units, recorded_at) SELECT {values} FROM quota_reservations"  # noqa: S608  # a test's own words


WRONG_STATES = (
    "UPDATE quota_windows SET units_charged = -1",
    "UPDATE quota_reservations SET units_charged = 0",
    "UPDATE quota_reservations SET state = 'released'",
    "UPDATE quota_reservations SET state = 'lost'",
    "UPDATE quota_reservations SET use_before = not_before - interval '1 second'",
    "UPDATE quota_reservations SET units_carried = 2",
    "UPDATE quota_reservations SET carried_to = day + 2",
    "UPDATE quota_accounts SET rate_requests = 180",
    "UPDATE quota_accounts SET stopped_until = 'infinity'",
    "UPDATE quota_accounts SET key_hash = 'the key itself'",
    "DELETE FROM quota_windows",
    "DELETE FROM quota_reservations",
    an_entry("reserve", 2),
    an_entry("release", 2),
    an_entry("expire", 1),
    an_entry("adjust", 1),
    an_entry("foreign", 1),
    an_entry("reconcile", -1),
    an_entry("carry", 0),
    an_entry("refund", -1),
)


async def test_a_wrong_state_cannot_be_written(quota: QuotaStore, database: Database) -> None:
    await quota.reserve(ACCOUNT, POLICY, a_request(2))
    before = await everything(database)
    for statement in WRONG_STATES:
        with pytest.raises(psycopg.errors.IntegrityError):
            await rows(database, statement)
        assert await everything(database) == before, statement


@pytest.mark.parametrize(
    ("statement", "figures"),
    [
        ("UPDATE quota_windows SET units_charged = 0", (0, 5, 5)),
        ("UPDATE quota_reservations SET state = 'released', units_charged = 0", (5, 5, 0)),
        (an_entry("settle", 3), (5, 8, 5)),
    ],
)
async def test_verification_finds_what_does_not_agree(
    quota: QuotaStore, database: Database, statement: str, figures: tuple[int, int, int]
) -> None:
    await quota.reserve(ACCOUNT, POLICY, a_request(5))
    assert await quota.verify() == []
    async with database.connection() as connection:
        await connection.execute(statement.encode())
    [found] = await quota.verify()
    assert (found.account, found.day) == (ACCOUNT, NOON.date())
    assert (found.window_units, found.ledger_units, found.reservation_units) == figures
    assert "isbndb 2026-11-23: the window says" in str(found)


async def test_every_named_query_prepares_on_the_migrated_schema(database: Database) -> None:
    async with database.connection() as connection:
        for name in queries.names():
            numbered: dict[str, str] = {}

            def number(match: re.Match[str], numbered: dict[str, str] = numbered) -> str:
                return numbered.setdefault(match[1], f"${len(numbered) + 1}")

            statement = re.sub(r"%\((\w+)\)s", number, getattr(queries, name))
            result = connection.pgconn.prepare(name.encode(), statement.encode())
            assert result.status == psycopg.pq.ExecStatus.COMMAND_OK, (
                f"{name}: {result.error_message.decode()}"
            )


async def test_a_long_history_is_not_read_from_end_to_end(database: Database) -> None:
    parameters = {
        "provider": "isbndb",
        "key_hash": ACCOUNT.key_hash,
        "day": NOON.date(),
        "now": NOON,
        "used_before": NOON,
        "most": 10,
        "request_id": uuid4(),
        "units_spent": 1,
        "outcome": "200",
        "arrival_span": ARRIVAL_SPAN,
        "count_lag": SECOND,
        "asked_at": NOON,
        "asked_at_by_clock": NOON,
        "arrives_after": NOON,
        "steady": NOON,
        "since": NOON,
        **dict.fromkeys(
            (
                "rate_requests",
                "rate_window_seconds",
                "answered_at",
                "elapsed_seconds",
                "provider_left",
                "provider_total",
            )
        ),
    }
    index_of_query = {
        "sum_open": "quota_reservations_open",
        "list_open": "quota_reservations_open",
        "list_expired": "quota_reservations_open",
        "sum_uncertain": "quota_reservations_day",
        "list_usages": "quota_reservations_day",
        "find_reservation": "quota_reservations_pkey",
        "settle_in_passing": "quota_reservations_pkey",
    }
    async with database.transaction() as connection:
        # The tables are empty here: without this the planner would rightly not bother with an index.
        await connection.execute("SET LOCAL enable_seqscan = off")
        for query, index in index_of_query.items():
            plan = await connection.execute("EXPLAIN " + getattr(queries, query), parameters)
            assert index in str(await plan.fetchall()), query


# Fail closed


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[None]:
    """Hold every row of a table as another transaction would."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(f"SELECT 1 FROM {table} FOR UPDATE".encode())  # noqa: S608  # a test's own words
        yield
        await connection.rollback()


async def waiting(connection: psycopg.AsyncConnection[Any]) -> int:
    """The process id of the first backend that waits for a lock."""
    async with asyncio.timeout(10):
        while True:
            query = (
                "SELECT pid FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
            )
            if row := await (await connection.execute(query)).fetchone():
                return int(row[0])
            await asyncio.sleep(0)


@pytest.mark.parametrize("table", ["quota_accounts", "quota_windows"])
async def test_a_database_that_does_not_answer_grants_nothing(
    quota: QuotaStore, database: Database, database_url: str, clock: MovableClock, table: str
) -> None:
    await quota.reserve(ACCOUNT, POLICY, a_request())
    before = await everything(database)
    impatient = QuotaStore(database, clock, timeout_seconds=0.2)
    async with locked(database_url, table):
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.2 s"):
            await impatient.reserve(ACCOUNT, POLICY, a_request())
    assert await everything(database) == before
    assert (await impatient.reserve(ACCOUNT, POLICY, a_request())).units == 1


@pytest.mark.parametrize("table", ["quota_accounts", "quota_windows"])
async def test_a_connection_lost_in_the_middle_of_a_reservation_grants_nothing(
    quota: QuotaStore, database: Database, database_url: str, table: str
) -> None:
    await quota.reserve(ACCOUNT, POLICY, a_request())
    before = await everything(database)
    async with (
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as observer,
        locked(database_url, table),
        asyncio.TaskGroup() as tasks,
    ):
        reserving = tasks.create_task(_outcome(quota.reserve(ACCOUNT, POLICY, a_request())))
        await observer.execute("SELECT pg_terminate_backend(%s)", [await waiting(observer)])
        assert isinstance(await reserving, StoreUnavailable)
    assert await everything(database) == before
    assert (await quota.reserve(ACCOUNT, POLICY, a_request())).units == 1


async def _outcome(doing: Any) -> Any:
    try:
        return await doing
    except StoreUnavailable as error:
        return error


async def test_a_day_that_ends_during_the_wait_for_the_lock_is_not_charged_any_more(
    quota: QuotaStore, database: Database, database_url: str, clock: MovableClock
) -> None:
    await quota.reserve(ACCOUNT, POLICY, a_request())
    clock.advance(MIDNIGHT - 20 * SECOND - NOON)
    async with (
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as observer,
        asyncio.TaskGroup() as tasks,
    ):
        async with locked(database_url, "quota_accounts"):
            reserving = tasks.create_task(quota.reserve(ACCOUNT, POLICY, a_request()))
            await waiting(observer)
            clock.advance(30 * SECOND)
        assert (await reserving).day == MIDNIGHT.date()
    assert await charged(database) == {NOON.date(): 1, MIDNIGHT.date(): 1}


async def test_a_database_that_is_gone_is_not_an_unused_quota(
    server_url: str, database_url: str, clock: MovableClock
) -> None:
    name = conninfo_to_dict(database_url)["dbname"]
    async with (
        Database.open(database_url, timeout_seconds=0.3) as database,
        await psycopg.AsyncConnection.connect(server_url, autocommit=True) as server,
    ):
        quota = QuotaStore(database, clock)
        reservation = await quota.reserve(ACCOUNT, POLICY, a_request(5))
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        calls = (
            quota.reserve(ACCOUNT, POLICY, a_request()),
            quota.settle(reservation, units_spent=1, outcome="200"),
            quota.release(reservation, reason="too late"),
            quota.stop(ACCOUNT, until=None, reason=DenialReason.BREAKER, detail="429"),
            quota.status(ACCOUNT, POLICY),
            quota.verify(),
        )
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, StoreUnavailable)

        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        async with Database.open(database_url) as recovered:
            assert await charged(recovered) == {NOON.date(): 5}
            assert await QuotaStore(recovered, clock).verify() == []


async def test_a_server_that_was_never_there_is_said_to_be_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no PostgreSQL answered"):
        async with Database.open(make_conninfo(host=str(tmp_path), dbname="none"), timeout_seconds=0.2):
            pass


async def test_tables_that_are_missing_are_not_an_unused_quota(quota: QuotaStore, database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE quota_windows RENAME TO lost")
    with pytest.raises(StoreUnavailable, match="quota_windows"):
        await quota.reserve(ACCOUNT, POLICY, a_request())
    with pytest.raises(StoreUnavailable, match="quota_windows"):
        await quota.status(ACCOUNT, POLICY)


async def test_a_reservation_that_could_not_be_written_is_not_granted(
    quota: QuotaStore, database: Database
) -> None:
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE quota_ledger ADD CONSTRAINT full_disk CHECK (units < 3)")
    with pytest.raises(StoreUnavailable, match="full_disk"):
        await quota.reserve(ACCOUNT, POLICY, a_request(3))
    assert await charged(database) == {}


# A settlement that takes no lock of the account's, beside what does


@asynccontextmanager
async def settling_in_passing(database: Database, reservation: Reservation) -> AsyncIterator[None]:
    """While the block runs, a reservation is settled and not yet committed."""
    answer = dict.fromkeys(
        ("rate_requests", "rate_window_seconds", "answered_at", "provider_left", "provider_total", "now")
    )
    settled = {"request_id": reservation.request_id, "units_spent": reservation.units, "outcome": "delivered"}
    async with database.transaction() as connection:
        cursor = await connection.execute(
            queries.settle_in_passing, {**answer, **settled, "elapsed_seconds": 0.0, "steady": NOON}
        )
        assert cursor.rowcount == 1
        yield


async def until_somebody_waits_for_a_lock(database: Database) -> None:
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while True:
            if await rows(database, query):
                return
            await asyncio.sleep(0.01)


async def test_what_is_settled_in_the_moment_in_which_it_expires_stays_settled(
    quota: QuotaStore, database: Database, clock: MovableClock
) -> None:
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(3))
    clock.advance(ARRIVAL_SPAN + timedelta(minutes=1))
    async with asyncio.TaskGroup() as group, settling_in_passing(database, reservation):
        expiring = group.create_task(quota.expire())
        await until_somebody_waits_for_a_lock(database)
    assert expiring.result() == 0
    assert await rows(database, "SELECT state, units_charged FROM quota_reservations") == [("settled", 3)]
    assert [kind for kind, _, _ in await ledger(database)] == ["reserve", "settle"]


async def test_who_settles_twice_at_once_settles_once(quota: QuotaStore, database: Database) -> None:
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(3))
    async with asyncio.TaskGroup() as group, settling_in_passing(database, reservation):
        group.create_task(quota.settle(reservation, units_spent=1, outcome="delivered"))
        await until_somebody_waits_for_a_lock(database)
    assert await charged(database) == {NOON.date(): 3}
    assert [kind for kind, _, _ in await ledger(database)] == ["reserve", "settle"]


async def test_what_is_settled_in_the_moment_in_which_a_day_begins_is_not_carried_over(
    quota: QuotaStore, database: Database, clock: MovableClock
) -> None:
    clock.set(MIDNIGHT - 10 * SECOND)
    reservation = await quota.reserve(ACCOUNT, POLICY, a_request(3))
    clock.set(MIDNIGHT + 10 * SECOND)
    async with asyncio.TaskGroup() as group, settling_in_passing(database, reservation):
        group.create_task(quota.reserve(ACCOUNT, POLICY, a_request()))
        await until_somebody_waits_for_a_lock(database)
    assert await charged(database) == {NOON.date(): 3, MIDNIGHT.date(): 1}
    states = await rows(database, "SELECT state, units_charged FROM quota_reservations ORDER BY units")
    assert states == [("reserved", 1), ("settled", 3)]
    assert await quota.verify() == []


# Who asks for the provider's count


async def test_who_does_not_get_the_provider_s_count_leaves_it_to_others_soon(
    quota: QuotaStore, clock: MovableClock
) -> None:
    assert await quota.claim_count(ACCOUNT) == NOON
    await quota.yield_count(ACCOUNT)
    assert await quota.claim_count(ACCOUNT) is None, "not at once: it may fail again"
    clock.advance(COUNT_REST)
    assert await quota.claim_count(ACCOUNT) == NOON + COUNT_REST


async def test_who_is_killed_while_it_asks_for_the_count_holds_others_up_for_seconds(
    quota: QuotaStore, other_quota: QuotaStore, clock: MovableClock
) -> None:
    assert await quota.claim_count(ACCOUNT)
    assert await other_quota.claim_count(ACCOUNT) is None
    clock.advance(COUNT_LEASE)
    assert await other_quota.claim_count(ACCOUNT)


# Many processes


async def spend_all(
    database_url: str, policy: Policy, *, processes: int, fate: str
) -> AsyncIterator[tuple[str, str, int]]:
    """Let so many processes spend until nothing is left or all are killed; yields their steps: word, process id, units."""
    arguments = [database_url, str(policy.safe_limit), str(processes), fate]
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *arguments, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            async for line in process.stdout:
                word, pid, units = line.decode().split()
                yield word, pid, int(units)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def test_eight_processes_are_granted_exactly_the_limit(
    quota: QuotaStore, database: Database, database_url: str
) -> None:
    granted: Counter[str] = Counter()
    async for word, pid, units in spend_all(
        database_url, replace(FAST, safe_limit=300), processes=8, fate="spared"
    ):
        granted[pid] += units if word == "reserved" else 0
    assert granted.total() == 300
    assert len(granted) > 1
    assert await charged(database) == {NOON.date(): 300}
    assert await quota.verify() == []


async def test_processes_killed_at_any_moment_never_overspend(
    quota: QuotaStore, database: Database, database_url: str, clock: MovableClock
) -> None:
    policy = replace(FAST, safe_limit=600)
    sent, killed = 0, 0
    for fate in ("killed", "spared"):
        async for word, _, units in spend_all(database_url, policy, processes=8, fate=fate):
            sent += units if word == "sent" else 0
            killed += word == "killed"
        assert sent <= (await charged(database))[NOON.date()] <= 600
        assert await quota.verify() == []
    assert killed

    # Those who came after the kills used up exactly what was left.
    assert await charged(database) == {NOON.date(): 600}
    clock.advance(timedelta(minutes=5))
    await quota.expire()
    status = await quota.status(ACCOUNT, policy)
    assert (status.reserved, status.settled + status.unresolved) == (0, 600)
    assert await quota.verify() == []


class StoppedClock:
    """Noon for ever: slots move on by themselves, and no test run falls into the guard band."""

    def now(self) -> datetime:
        return NOON

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def tell(word: str, units: int = 0, pid: int | None = None) -> None:
    """One write, shorter than a pipe's buffer: lines of several processes do not mix."""
    os.write(1, f"{word} {pid or os.getpid()} {units}\n".encode())


async def spend(url: str, policy: Policy, fate: str) -> None:
    """Reserve, then settle, release or forget, until a single unit is refused or the kernel ends the process in the middle."""
    chance = random.Random(os.getpid())  # noqa: S311  # no secret
    most_units = 3 if fate == "killed" else 1
    async with Database.open(url, most_connections=1) as database:
        quota = QuotaStore(database, StoppedClock())
        if fate == "killed":
            # Nobody handles this signal, so at that moment the process is gone, like one that gets SIGKILL.
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.001, 0.3))
        while most_units:
            units = chance.randint(1, most_units)
            try:
                reservation = await quota.reserve(ACCOUNT, policy, a_request(units))
            except QuotaExhausted:
                most_units = units - 1
                continue
            tell("reserved", units)
            if fate == "killed" and chance.random() < 0.2:
                await quota.release(reservation, reason="not sent")
                continue
            tell("sent", units)
            if chance.random() < 0.8:
                await quota.settle(reservation, units_spent=units, outcome="200")


def main(url: str, safe_limit: str, processes: str, fate: str) -> None:
    """Fork once everything is imported: that is much faster than one interpreter after the other."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    children = []
    for _ in range(int(processes)):
        if child := os.fork():
            children.append(child)
        else:
            asyncio.run(spend(url, replace(FAST, safe_limit=int(safe_limit)), fate))
            os._exit(0)
    for child in children:
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            tell("killed", pid=child)


if __name__ == "__main__":
    main(*sys.argv[1:])
