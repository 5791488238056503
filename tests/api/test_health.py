"""Whether the server is alive and ready, and how the quota stands."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from alexandria.clock import Clock
from alexandria.domain.quota import Account, DenialReason, Lane, Policy, Request, State, Stop, Window
from alexandria.domain.quota_status import Status
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore

ACCOUNT = Account.of("isbndb", "a-key")


@pytest.fixture
def quota(database: Database, clock: Clock) -> QuotaStore:
    """The quota as another process has it, at the same noon as the server's."""
    return QuotaStore(database, clock)


@pytest.fixture(autouse=True)
async def unspent(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "ALTER TABLE quota_ledger DISABLE TRIGGER append_only;"
            "TRUNCATE quota_ledger, quota_reservations, quota_hours, quota_windows, quota_accounts;"
            "ALTER TABLE quota_ledger ENABLE TRIGGER append_only"
        )


async def test_health_needs_no_database(own_database_url: str, server_url: str, start_server: Any) -> None:
    client = await start_server(url=own_database_url)
    drop(own_database_url, server_url)
    answer = await client.get("/health")
    assert (answer.status, answer.json["status"]) == (200, "alive")


def drop(url: str, server_url: str) -> None:
    """Take the database away from a running server."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def test_ready_says_so_and_says_what_is_missing(
    own_database_url: str, server_url: str, start_server: Any
) -> None:
    client = await start_server(url=own_database_url)
    ready = await client.get("/ready")
    assert (ready.status, ready.json) == (
        200,
        {"status": "ready", "database": "migrated", "worker": "off"},
    )
    async with Database.open(own_database_url) as database, database.connection() as connection:
        await connection.execute("DELETE FROM migrations WHERE number = 1")
    behind = await client.get("/ready")
    assert (behind.status, behind.json["type"]) == (503, "urn:alexandria:problem:not-ready")
    assert "migrations" in behind.json["detail"]
    drop(own_database_url, server_url)
    away = await client.get("/ready")
    assert (away.status, away.json["type"]) == (503, "urn:alexandria:problem:store-unavailable")
    assert away.headers["Retry-After"] == "5"
    assert own_database_url not in away.body.decode()
    assert "FATAL" not in away.body.decode()


async def test_the_quota_of_an_untouched_day_is_whole(client: Any) -> None:
    answer = await client.get("/api/quota/status")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    expected = {
        "daily_limit": 15_000,
        "safety_limit": 13_000,
        "used": 0,
        "remaining": 15_000,
        "safety_remaining": 13_000,
        "percentage_used": 0.0,
        "reset_at": "2026-11-24T00:00:00Z",
        "can_make_calls": True,
        "reason": None,
        "provider": "isbndb",
    }
    assert {name: answer.json[name] for name in expected} == expected


async def test_what_is_spent_and_in_flight_is_told_apart(client: Any, quota: QuotaStore) -> None:
    policy = Policy()
    for units, is_settled in ((1000, True), (300, False)):
        request = Request(uuid4(), Lane.BULK, "author-bibliography", units)
        reservation = await quota.reserve(ACCOUNT, policy, request)
        if is_settled:
            await quota.settle(reservation, units_spent=units, outcome="found")
    status = (await client.get("/api/quota/status")).json
    assert (status["used"], status["safety_remaining"], status["percentage_used"]) == (1300, 11_700, 10.0)
    assert status["units"] == {"settled": 1000, "reserved": 300, "unresolved": 0, "foreign": 0}
    (consumer,) = status["consumers"]
    assert (consumer["consumer"], consumer["lane"], consumer["requests"]) == (
        "author-bibliography",
        "bulk",
        2,
    )


async def test_a_stopped_account_says_why_and_until_when(
    client: Any, quota: QuotaStore, clock: Clock
) -> None:
    until = clock.now() + timedelta(hours=2)
    await quota.stop(ACCOUNT, until=until, reason=DenialReason.BREAKER, detail="429 from the provider")
    stopped = (await client.get("/api/quota/status")).json
    assert (stopped["can_make_calls"], stopped["reason"], stopped["detail"]) == (
        False,
        "breaker",
        "429 from the provider",
    )
    assert datetime.fromisoformat(stopped["retry_at"]) == until
    await quota.stop(ACCOUNT, until=None, reason=DenialReason.SUSPENDED, detail="403 from the provider")
    assert (await client.get("/api/quota/status")).json["retry_at"] is None


async def test_without_a_key_the_status_says_that_there_is_none(start_server: Any) -> None:
    status = (await (await start_server(isbndb_key=None)).get("/api/quota/status")).json
    assert (status["can_make_calls"], status["reason"], status["used"]) == (False, "no_key", 0)


@pytest.mark.parametrize(
    ("time", "used", "reason", "until"),
    [
        ("12:00:00", 12_999, None, None),
        ("12:00:00", 13_000, "exhausted", "2026-11-24T00:00:05"),
        ("23:59:58", 0, "guard", "2026-11-24T00:00:05"),
        ("00:00:03", 0, "guard", "2026-11-23T00:00:05"),
    ],
)
def test_what_hinders_a_call_is_found_with_its_end(
    time: str, used: int, reason: str | None, until: str | None
) -> None:
    now = datetime.fromisoformat(f"2026-11-23T{time}+00:00")
    status = Status(Policy(), now, State(ACCOUNT, Window(now.date(), used)))
    hindrance = status.hindrance()
    assert (hindrance and hindrance.reason) == reason
    assert (hindrance and hindrance.retry_at) == (datetime.fromisoformat(f"{until}+00:00") if until else None)


def test_a_stop_outranks_a_spent_day() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    stop = Stop(DenialReason.SUSPENDED, "403", now, None)
    hindrance = Status(Policy(), now, State(ACCOUNT, Window(now.date(), 13_000), stop=stop)).hindrance()
    assert hindrance is not None
    assert (hindrance.reason, hindrance.retry_at) == ("suspended", None)


async def test_many_requests_at_once_are_all_answered(client: Any) -> None:
    answers = await asyncio.gather(*(client.get("/api/quota/status") for _ in range(50)))
    assert {each.status for each in answers} == {200}
