"""429 for who would add to what is too long, with a wait that follows from how fast it drains; and never for who adds nothing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from alexandria.domain.isbn import Isbn
from alexandria.stores.postgres import Database
from conftest import SetClock, someone_waits
from harvesting import many_isbns

KNOWN = many_isbns(40)
"""Thirty of them are wanted, the others were not to be had when they were last asked for."""
NOW = SetClock().now()


@pytest.fixture
async def long_backlog(own_database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Thirty covers and five items wait; fifteen covers were done within four minutes."""
    async with await psycopg.AsyncConnection.connect(own_database_url, autocommit=True) as connection:
        async with connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO covers_wanted (isbn13, url, found_at, state, due_at)"
                " VALUES (%s, 'https://covers.example.org/1.jpg', %s, %s, %s)",
                [
                    (str(isbn), NOW, *(("wanted", NOW) if n < 30 else ("missing", NOW + timedelta(days=90))))
                    for n, isbn in enumerate(KNOWN)
                ],
            )
        await connection.execute(
            "INSERT INTO harvest_runs (id, kind, lane, parameters, state, fresh_since, created_at)"
            " VALUES ('r', 'tiers', 'bulk', '{}', 'running', now(), now())"
        )
        await connection.execute(
            "INSERT INTO harvest_items (run_id, position, target, subject, name, updated_at)"
            " SELECT 'r', n, 'author', 'OL' || n || 'A', 'Author ' || n, now() FROM generate_series(1, 5) AS n"
        )
        await connection.execute(
            "INSERT INTO pgqueuer_log (created, job_id, status, priority, entrypoint)"
            " SELECT now() - interval '4 minutes', n, 'successful', 0, 'fetch_cover'"
            " FROM generate_series(1, 15) AS n"
        )
        yield connection


@pytest.fixture
async def client(start_server: Any, own_database_url: str, long_backlog: object) -> Any:
    return await start_server(
        url=own_database_url, cover_backlog_marks="10:20", item_backlog_marks="2:4", cover_queue_marks="5:9"
    )


def books(*isbns: Isbn) -> dict[str, object]:
    return {"books": [{"isbn": str(each)} for each in isbns]}


async def test_a_wish_beyond_its_share_of_a_long_backlog_is_429_with_queue_depth_marks_and_rate(
    client: Any, long_backlog: psycopg.AsyncConnection[Any]
) -> None:
    # Somebody waits for it, and few others do: it passes the closed gate, and is put before all others.
    few = await client.post("/api/covers/queue", books(KNOWN[34]))
    assert (few.status, few.json["queued"]) == (200, 1)
    row = await (await long_backlog.execute("SELECT dedupe_key, priority FROM pgqueuer")).fetchone()
    assert row == (f"fetch_cover:{KNOWN[34]}", 1)

    answer = await client.post("/api/covers/queue", books(*KNOWN[35:39]))
    problem = answer.json
    assert (answer.status, problem["type"]) == (429, "urn:alexandria:problem:backlogged")
    assert answer.headers["Content-Type"] == "application/problem+json"
    queue = problem["queue"]
    assert queue.pop("drain_per_minute") == pytest.approx(3.75, rel=0.1)
    assert queue == {"name": "covers", "depth": 31, "low_water": 10, "high_water": 20}
    # Twenty-one too many at nearly four a minute.
    assert int(answer.headers["Retry-After"]) == pytest.approx(336, rel=0.1)
    assert "31 covers wait to be fetched, and the high-water mark is 20" in problem["detail"]
    row = await (
        await long_backlog.execute("SELECT state FROM covers_wanted WHERE isbn13 = %s", [str(KNOWN[35])])
    ).fetchone()
    assert row == ("missing",)

    # What waits anyway adds nothing, and is put before the others.
    wanted = await client.post("/api/covers/queue", books(KNOWN[3]))
    assert (wanted.status, wanted.json["queued"]) == (200, 1)
    rows = await (await long_backlog.execute("SELECT dedupe_key, priority FROM pgqueuer")).fetchall()
    assert (f"fetch_cover:{KNOWN[3]}", 1) in rows


LARGE = {
    "/api/harvest/authors": {"authors": ["Mary Shelley", "Jane Austen"]},
    "/api/enrich/batch-direct": {"isbns": [str(each) for each in many_isbns(101)]},
    "/api/harvest/gaps": {"max_units": 1000},
    "/api/harvest/updates": {"max_units": 1000},
    "/api/harvest/people": {"most": 500},
}


async def test_large_harvests_wait_nothing_is_written_and_a_plan_is_shown_all_the_same(
    client: Any, long_backlog: psycopg.AsyncConnection[Any]
) -> None:
    for path, body in LARGE.items():
        answer = await client.post(path, body)
        assert (answer.status, answer.json["type"]) == (429, "urn:alexandria:problem:backlogged"), (
            path,
            answer.json,
        )
        assert answer.json["queue"]["name"] == "items"
        # Nothing was done of items, and nobody knows when something will be.
        assert answer.headers["Retry-After"] == "3600"
        assert "pause or cancel run r, the largest one with 5 open items" in answer.json["detail"]
    runs = await (await long_backlog.execute("SELECT id FROM harvest_runs")).fetchall()
    assert runs == [("r",)]
    plan = await client.post("/api/harvest/authors", {"authors": ["Mary Shelley"], "dry_run": True})
    assert plan.status == 200


async def test_a_small_wish_is_worked_on_however_much_waits(client: Any) -> None:
    answer = await client.post("/api/enrich/batch-direct", {"isbns": [str(KNOWN[0])]})
    # Nobody listens at the provider's address: that it was asked shows that the gate let the wish pass.
    assert answer.json.get("type") != "urn:alexandria:problem:backlogged"
    assert answer.json["done"]["run"]


async def test_how_the_gates_stand_is_told_with_the_queues_and_to_prometheus(client: Any) -> None:
    await client.post("/api/covers/queue", books(KNOWN[35]))
    told = (await client.get("/api/monitoring/queues")).json
    lines = {each["kind"]: each for each in told["queues"]}
    assert {key: lines["fetch_cover"][key] for key in ("low_water", "high_water", "is_paused")} == {
        "low_water": 5,
        "high_water": 9,
        "is_paused": False,
    }
    assert lines["fetch_cover"]["drain_per_minute"] == pytest.approx(3.75, rel=0.1)
    [covers] = [each for each in told["backlogs"] if each["name"] == "covers"]
    assert (covers["depth"], covers["low_water"], covers["high_water"], covers["is_paused"]) == (
        31,
        10,
        20,
        True,
    )
    text = (await client.get("/metrics")).body.decode()
    assert 'alexandria_gate_closed{gate="covers"} 1.0' in text
    assert 'alexandria_gate_closed{gate="fetch_cover"} 0.0' in text
    assert 'alexandria_gate_depth{gate="covers"} 31.0' in text
    assert 'alexandria_gate_high_water{gate="items"} 4.0' in text


async def test_a_wish_that_loses_a_deadlock_is_taken_all_the_same(client: Any, own_database_url: str) -> None:
    low, high = sorted(KNOWN[3:5])
    lock = "SELECT FROM covers_wanted WHERE isbn13 = %s FOR UPDATE"
    async with asyncio.timeout(20), Database.open(own_database_url) as database:
        async with database.transaction() as other:
            await other.execute("SET LOCAL deadlock_timeout = '1min'")
            await other.execute(lock, [str(high)])
            asked = asyncio.create_task(client.post("/api/covers/queue", books(high, low)))
            await someone_waits(database)
            await other.execute(lock, [str(low)])
        answer = await asked
    assert (answer.status, answer.json["queued"]) == (200, 2)
