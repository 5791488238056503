"""What was charged, over HTTP: sums, the ledger in parts, and what is not asked rightly."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from alexandria.domain.quota import Account, Lane, Policy, Request
from alexandria.domain.targets import Target, TargetKind
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from alexandria.stores.quota_reports import QuotaReports
from alexandria.upkeep import roll_up_old_days
from conftest import SetClock

ACCOUNT = Account.of("isbndb", "a-key")


@pytest.fixture(autouse=True)
async def past(own_database_url: str) -> AsyncIterator[Database]:
    """Three units on Saturday, five the day after, and what noon of Monday, the 23rd, has brought: 60 + 4 units, 40 given back."""
    clock = SetClock()
    clock.advance(-timedelta(days=2))
    async with Database.open(own_database_url) as database:
        quota = QuotaStore(database, clock)
        for days, units, spent, lane, consumer in (
            (0, 3, 3, Lane.SCHEDULED, "new-releases"),
            (1, 5, 5, Lane.BULK, "author-bibliography"),
            (1, 100, 60, Lane.BULK, "author-bibliography"),
            (0, 4, 4, Lane.INTERACTIVE, "lookup"),
        ):
            clock.advance(timedelta(days=days) - timedelta(minutes=10 if days and units == 100 else 0))
            clock.advance(timedelta(seconds=1))
            request = Request(uuid4(), lane, consumer, units, job="a run/1" if lane is Lane.BULK else None)
            reservation = await quota.reserve(ACCOUNT, Policy(), request)
            await quota.settle(reservation, units_spent=spent, outcome="200")
        yield database


@pytest.fixture
async def client(own_database_url: str, start_server: Any) -> Any:
    return await start_server(url=own_database_url)


async def test_today_is_told_by_its_hours(client: Any) -> None:
    answer = await client.get("/api/quota/usage")
    assert (answer.status, answer.json["by"]) == (200, "hour")
    assert (answer.json["first_day"], answer.json["last_day"]) == ("2026-11-23", "2026-11-23")
    (line,) = answer.json["lines"]
    assert line == {
        "day": "2026-11-23",
        "hour": "2026-11-23T11:00:00Z",
        "lane": None,
        "consumer": None,
        "units": 64,
        "requests": 2,
        "settled": 64,
        "reserved": 0,
        "unresolved": 0,
        "released": 0,
        "foreign": 0,
        "reconciled": 0,
    }
    assert answer.json["total"]["units"] == (await client.get("/api/quota/status")).json["used"] == 64


async def test_several_days_are_told_by_day_or_by_who_spent_them(client: Any) -> None:
    days = (await client.get("/api/quota/usage?days=3")).json
    assert [(each["day"], each["units"]) for each in days["lines"]] == [
        ("2026-11-21", 3),
        ("2026-11-22", 5),
        ("2026-11-23", 64),
    ]
    lanes = (await client.get("/api/quota/usage?days=3&by=lane")).json
    assert {each["lane"]: each["units"] for each in lanes["lines"]} == {
        "bulk": 65,
        "interactive": 4,
        "scheduled": 3,
    }
    assert lanes["total"] == days["total"]
    one = (await client.get("/api/quota/usage?day=2026-11-21&by=consumer")).json
    assert [(each["consumer"], each["units"]) for each in one["lines"]] == [("new-releases", 3)]
    assert (await client.get("/api/quota/usage?day=2020-01-01")).json["lines"] == []


async def test_the_ledger_comes_in_parts_from_either_end(client: Any) -> None:
    whole = (await client.get("/api/quota/ledger")).json
    assert (len(whole["entries"]), whole["next"], whole["rolled_up_to"]) == (8, None, None)
    for order in ("newest", "oldest"):
        entries: list[Any] = []
        part = (await client.get(f"/api/quota/ledger?order={order}&limit=3")).json
        while True:
            entries += part["entries"]
            if part["next"] is None:
                break
            path = f"/api/quota/ledger?order={order}&limit=3&after={part['next']}"
            part = (await client.get(path)).json
        assert entries == (whole["entries"] if order == "newest" else whole["entries"][::-1])


async def test_the_ledger_is_searched(client: Any) -> None:
    path = "/api/quota/ledger?day=2026-11-23&kind=settle&consumer=author-bibliography"
    (entry,) = (await client.get(path)).json["entries"]
    expected = {"units": -40, "lane": "bulk", "consumer": "author-bibliography", "job": "a run/1"}
    assert {name: entry[name] for name in expected} == expected
    assert (await client.get("/api/quota/ledger?consumer=nobody")).json["entries"] == []


async def test_old_days_say_that_they_are_kept_in_short(client: Any, past: Database) -> None:
    clock = SetClock()
    clock.advance(timedelta(days=4))
    quota, reports = QuotaStore(past, clock), QuotaReports(past, clock)
    await quota.reserve(ACCOUNT, Policy(), Request(uuid4(), Lane.BULK, "covers", 1))
    await roll_up_old_days(quota, reports, keep=timedelta(days=3))
    ledger = (await client.get("/api/quota/ledger?day=2026-11-22")).json
    assert (ledger["entries"], ledger["rolled_up_to"]) == ([], "2026-11-23")
    assert (await client.get("/api/quota/usage?day=2026-11-22")).json["total"]["units"] == 5


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("usage?day=tomorrow", "day"),
        ("usage?day=2026-02-30", "day"),
        ("usage?days=0", "days"),
        ("usage?days=367", "days"),
        ("usage?days=many", "days"),
        ("usage?days=2&day=2026-11-23", "days"),
        ("usage?by=colour", "by"),
        ("usage?provider=nobody", "provider"),
        ("ledger?day=2026-13-01", "day"),
        ("ledger?kind=theft", "kind"),
        ("ledger?after=-1", "after"),
        ("ledger?after=a1", "after"),
        ("ledger?after=9223372036854775808", "after"),
        ("ledger?limit=0", "limit"),
        ("ledger?limit=1001", "limit"),
        ("ledger?order=best", "order"),
        ("ledger?consumer=", "consumer"),
        ("ledger?provider=nobody", "provider"),
    ],
)
async def test_what_is_not_asked_rightly_is_named(client: Any, query: str, field: str) -> None:
    answer = await client.get(f"/api/quota/{query}")
    assert (answer.status, answer.json["type"]) == (422, "urn:alexandria:problem:invalid-input")
    assert answer.json["field"] == field


async def test_odd_text_is_no_consumer_and_no_error(client: Any) -> None:
    for consumer in ("%00", "'%3B--", "%F0%9F%93%9A"):
        answer = await client.get(f"/api/quota/ledger?consumer={consumer}")
        assert answer.status in {200, 422}, answer.body


async def test_without_a_key_there_is_no_account_to_ask_about(
    own_database_url: str, start_server: Any
) -> None:
    client = await start_server(url=own_database_url, isbndb_key=None)
    for path in ("usage", "ledger"):
        answer = await client.get(f"/api/quota/{path}")
        assert (answer.status, answer.json["type"]) == (503, "urn:alexandria:problem:not-configured")
    assert (await client.get("/api/quota/status")).json["forecast"] is None
    assert (await client.get("/api/quota/usage?provider=openlibrary")).status == 200


async def test_the_status_foretells_the_rest_of_the_day(client: Any, past: Database) -> None:
    clock = SetClock()
    async with past.transaction() as connection:
        await HarvestStore(connection).add_run(
            "run",
            kind="authors",
            lane="bulk",
            parameters={"max_pages": 10, "units_expected": 26_000},
            targets=[Target(TargetKind.AUTHOR, key, key, units_expected=13_000) for key in ("OL1A", "OL2A")],
            fresh_since=clock.now(),
            now=clock.now(),
        )
    forecast = (await client.get("/api/quota/status")).json["forecast"]
    assert forecast == {
        "units_per_hour": 64.0,
        "exhausted_at": None,
        "units_left_at_reset": 13_000 - 64 - 12 * 64,
        "units_queued": 26_000,
        "days_queued": 2.0,
        "queue_done_on": "2026-11-25",
    }
