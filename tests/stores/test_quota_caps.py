"""Caps that are set while things run: exact among any number of reservations at once, and counted as what was charged."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from alexandria.domain.errors import QuotaDenied
from alexandria.domain.quota import Account, DenialReason, Lane, Policy, Request, Reservation
from alexandria.domain.targets import Target, TargetKind
from alexandria.stores.harvests import HarvestStore, RunState
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from conftest import SetClock

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACCOUNT = Account.of("isbndb", "one key")
POLICY = Policy(requests_per_window=1_000_000)
CAP = 17


@pytest.fixture
async def programs(database: Database, database_url: str, clock: SetClock) -> AsyncIterator[list[QuotaStore]]:
    """The same quota as two programs see it, a run of authors beside it."""
    async with database.transaction() as connection:
        for run_id in ("run", "run2"):
            await HarvestStore(connection).add_run(
                run_id,
                kind="authors",
                lane=Lane.BULK,
                parameters={},
                targets=[Target(TargetKind.AUTHOR, "OL1A", "Ada")],
                fresh_since=NOON,
                now=NOON,
            )
    async with Database.open(database_url) as other:
        yield [QuotaStore(database, clock), QuotaStore(other, clock)]


async def cap(database: Database, **caps: int | None) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE harvesters SET units_per_day = %s, units_per_run = %s WHERE name = 'authors'",
            [caps.get("day"), caps.get("run")],
        )


def a_request(units: int = 1, job: str | None = "run/1", consumer: str = "author-bibliography") -> Request:
    return Request(uuid4(), Lane.INTERACTIVE, consumer, units, job=job)


async def wanted(quota: QuotaStore, request: Request) -> Reservation | QuotaDenied:
    try:
        return await quota.reserve(ACCOUNT, POLICY, request)
    except QuotaDenied as denial:
        return denial


async def charged(programs: list[QuotaStore], requests: list[Request]) -> int:
    """Units that are granted when all ask at once."""
    answers = await asyncio.gather(
        *(wanted(programs[number % 2], request) for number, request in enumerate(requests))
    )
    assert {each.reason for each in answers if isinstance(each, QuotaDenied)} <= {DenialReason.CEILING}
    return sum(each.units for each in answers if isinstance(each, Reservation))


@pytest.mark.parametrize("span", ["day", "run"])
async def test_a_cap_is_spent_to_the_unit_and_no_further(
    programs: list[QuotaStore], database: Database, span: str
) -> None:
    await cap(database, **{span: CAP})
    assert await charged(programs, [a_request(1, f"run/{n}") for n in range(30)]) == CAP
    assert await charged(programs, [a_request(1, f"run/{n}") for n in range(4)]) == 0
    # A free call, another consumer's, and one of another run where the cap is on each.
    assert (await programs[0].reserve(ACCOUNT, POLICY, a_request(0))).units == 0
    assert await charged(programs, [a_request(5, consumer="bulk-authors")]) == 5
    assert await charged(programs, [a_request(5, "run2/1")]) == (5 if span == "run" else 0)
    assert await programs[0].verify() == []


async def test_the_first_calls_of_an_account_keep_the_cap_too(
    programs: list[QuotaStore], database: Database
) -> None:
    await cap(database, run=2, day=3)
    assert await charged(programs, [a_request(1) for _ in range(6)]) == 2
    assert await charged(programs, [a_request(1, "run2/1") for _ in range(6)]) == 1


async def test_what_is_given_back_may_be_spent_again_and_what_cost_more_counts(
    programs: list[QuotaStore], database: Database
) -> None:
    await cap(database, run=10)
    quota = programs[0]
    given_back = await quota.reserve(ACCOUNT, POLICY, a_request(6))
    await quota.release(given_back, reason="not sent")
    dearer = await quota.reserve(ACCOUNT, POLICY, a_request(4))
    await quota.settle(dearer, units_spent=7, outcome="200", policy=POLICY)
    lost = await quota.reserve(ACCOUNT, POLICY, a_request(2))
    await quota.settle(lost, units_spent=2, outcome="time-out", is_certain=False, policy=POLICY)
    assert await charged(programs, [a_request(1) for _ in range(3)]) == 1


async def test_a_run_whose_name_begins_with_anothers_spends_its_own(
    programs: list[QuotaStore], database: Database
) -> None:
    await cap(database, run=CAP)
    assert await charged(programs, [a_request(CAP, "run/1")]) == CAP
    assert await charged(programs, [a_request(CAP, "run2/1")]) == CAP
    assert await charged(programs, [a_request(1, "run")]) == 1, "a job without a slash is of no run"


async def test_a_cap_of_a_run_counts_units_that_are_kept_with_its_items(
    programs: list[QuotaStore], database: Database
) -> None:
    await cap(database, run=CAP)
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE harvest_items SET units_rolled_up = 5, units_shared = 4 WHERE run_id = 'run'"
        )
    assert await charged(programs, [a_request(1) for _ in range(CAP)]) == CAP - 9


async def test_a_persons_word_starts_the_count_of_a_capped_run_anew(
    programs: list[QuotaStore], database: Database
) -> None:
    await cap(database, run=3)
    assert await charged(programs, [a_request(1) for _ in range(5)]) == 3
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE harvest_runs SET state = 'paused', pause_cause = 'ceiling' WHERE id = 'run'"
        )
        await HarvestStore(connection).resume_run("run", states=[RunState.PAUSED], now=NOON)
    assert await charged(programs, [a_request(1) for _ in range(5)]) == 3


async def test_the_units_of_a_run_are_found_by_its_index(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        cursor = await connection.execute(
            "EXPLAIN SELECT sum(units_charged) FROM quota_reservations WHERE job ~>=~ ('run' || '/') AND job ~<~ ('run' || '0')"
        )
        plan = "\n".join(row[0] for row in await cursor.fetchall())
        assert "quota_reservations_jobs" in plan
        cursor = await connection.execute("EXPLAIN SELECT units FROM quota_reservations WHERE job = 'run/1'")
        assert "quota_reservations_jobs" in "\n".join(row[0] for row in await cursor.fetchall())


async def test_calls_that_cost_none_of_the_providers_units_are_not_counted(
    programs: list[QuotaStore], database: Database
) -> None:
    await cap(database, run=3, day=3)
    elsewhere = Account.of("openlibrary", "")
    for _ in range(5):
        free = await programs[0].reserve(elsewhere, POLICY, a_request(1, "run/1/free"))
        assert free.units == 1
    assert await charged(programs, [a_request(1) for _ in range(5)]) == 3
