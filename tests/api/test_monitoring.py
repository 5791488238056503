"""How everything stands over HTTP: what is told is what the database holds, and bad input is a clear problem."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from alexandria import meters
from alexandria.domain.quota import Account
from alexandria.metering import Publisher
from alexandria.stores.jobs import FETCH_COVER, HARVEST_ITEM
from alexandria.stores.monitoring import MonitoringStore
from alexandria.stores.postgres import Connection, Database

KEY_HASH = Account.of("isbndb", "a-key").key_hash

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def connection(own_database_url: str) -> AsyncIterator[Connection]:
    async with Database.open(own_database_url) as database, database.connection() as connection:
        yield connection


@pytest.fixture
async def server(start_server: Any, own_database_url: str) -> Any:
    return await start_server(url=own_database_url)


async def enqueue(
    connection: Connection,
    kind: str,
    key: str,
    *,
    status: str = "queued",
    payload: object = None,
    age: int = 0,
) -> int:
    """A job as PgQueuer keeps it, `age` seconds old."""
    rows = await connection.execute(
        "INSERT INTO pgqueuer (priority, created, execute_after, status, entrypoint, dedupe_key, payload)"
        " VALUES (0, now() - make_interval(secs => %(age)s), now() - make_interval(secs => %(age)s),"
        " %(status)s::pgqueuer_status, %(kind)s, %(key)s, %(payload)s) RETURNING id",
        {
            "age": age,
            "status": status,
            "kind": kind,
            "key": key,
            "payload": json.dumps(payload).encode(),
        },
    )
    row = await rows.fetchone()
    assert row is not None
    return int(row[0])


async def note(
    connection: Connection, job: int, kind: str, status: str, traceback: object = None, age: int = 0
) -> None:
    """A step of a job as PgQueuer notes it."""
    await connection.execute(
        "INSERT INTO pgqueuer_log (created, job_id, status, priority, entrypoint, traceback)"
        " VALUES (now() - make_interval(secs => %s), %s, %s::pgqueuer_status, 0, %s, %s)",
        [age, job, status, kind, json.dumps(traceback) if traceback else None],
    )


async def bury(connection: Connection, kind: str = FETCH_COVER, key: str = "one") -> int:
    """A dead letter."""
    job = await enqueue(connection, kind, key, status="failed", payload={"isbn": "9780306406157"})
    failure = {"exception_type": "ValueError", "exception_message": "not a picture", "traceback": "..."}
    await note(connection, job, kind, "failed", failure)
    return job


async def test_the_overview_says_who_works_what_is_left_and_what_runs(
    server: Any, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO harvest_runs (id, kind, lane, parameters, state, fresh_since, created_at)"
        " VALUES ('20261123-aaaaaa', 'tiers', 'bulk', '{\"tier\": \"top-100\"}', 'running', now(), now()),"
        " ('20261123-bbbbbb', 'tiers', 'bulk', '{}', 'done', now(), now())"
    )
    await connection.execute(
        "INSERT INTO alerts (kind, subject, message, raised_at) VALUES ('run_failing', 'x', 'look', now())"
    )
    answer = await server.get("/api/monitoring/overview")
    assert answer.status == 200
    told = answer.json
    assert told["quota"]["safety_remaining"] == 13_000
    assert told["quota"]["forecast"]["units_left_at_reset"] == 13_000
    assert told["breaker"] == {
        "state": "closed",
        "reason": None,
        "detail": None,
        "retry_at": None,
        "failures_in_a_row": 0,
    }
    assert told["pace"]["rate"]["requests"] == 180
    assert [each["id"] for each in told["runs"]] == ["20261123-aaaaaa"]
    assert [each["kind"] for each in told["alerts"]] == ["run_failing"]
    assert told["health"]["worker"] == "off"
    assert [each["kind"] for each in told["queues"]] == [HARVEST_ITEM, FETCH_COVER]


async def test_a_refused_key_latches_the_breaker_and_a_pause_opens_it(
    server: Any, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO quota_accounts (provider, key_hash, stopped_until, stop_reason, stop_detail, stopped_at)"
        " VALUES ('isbndb', %s, 'infinity', 'suspended', 'refused', '2026-11-23 11:00Z')",
        [KEY_HASH],
    )
    breaker = (await server.get("/api/monitoring/overview")).json["breaker"]
    assert (breaker["state"], breaker["reason"], breaker["retry_at"]) == ("latched", "suspended", None)
    await connection.execute(
        "UPDATE quota_accounts SET stop_reason = 'breaker', stopped_until = '2026-11-23 12:00:30Z'"
    )
    breaker = (await server.get("/api/monitoring/overview")).json["breaker"]
    assert (breaker["state"], breaker["retry_at"]) == ("open", "2026-11-23T12:00:30Z")
    await connection.execute(
        "UPDATE quota_accounts SET stop_reason = NULL, stopped_until = NULL, stop_detail = NULL, stopped_at = NULL,"
        " failures = 5, failed_at = '2026-11-23 11:59:58Z'"
    )
    breaker = (await server.get("/api/monitoring/overview")).json["breaker"]
    assert (breaker["state"], breaker["failures_in_a_row"]) == ("open", 5)
    (line,) = [
        each
        for each in (await server.get("/api/monitoring/providers")).json["providers"]
        if each["provider"] == "isbndb"
    ]
    assert line["breaker"] == breaker


async def test_queues_tell_depth_age_and_rates(server: Any, connection: Connection) -> None:
    job = await enqueue(connection, HARVEST_ITEM, "a", age=90)
    await enqueue(connection, HARVEST_ITEM, "b", age=30)
    await enqueue(connection, HARVEST_ITEM, "c", age=-600)
    await enqueue(connection, HARVEST_ITEM, "d", status="picked", age=500)
    await bury(connection, HARVEST_ITEM, "e")
    for status, traceback in (
        ("queued", None),
        ("queued", {"exception_type": "RetryRequested"}),
        ("successful", None),
    ):
        for _ in range(20):
            await note(connection, job, HARVEST_ITEM, status, traceback, age=60)
    await note(connection, job, HARVEST_ITEM, "successful", age=3600)
    told = (await server.get("/api/monitoring/queues?minutes=10")).json
    items, covers = told["queues"]
    assert (items["waiting"], items["snoozed"], items["in_work"], items["dead"]) == (2, 1, 1, 1)
    assert 90 <= items["oldest_seconds"] < 150
    # The twenty, and the dead letter's own failure.
    assert (items["entered_per_minute"], items["left_per_minute"], items["put_back_per_minute"]) == (
        2.0,
        2.1,
        2.0,
    )
    assert covers["waiting"] == covers["oldest_seconds"] == covers["left_per_minute"] == 0


async def test_a_dead_letter_is_read_and_tried_again(server: Any, connection: Connection) -> None:
    job = await bury(connection)
    (letter,) = (await server.get("/api/monitoring/dead-letters")).json["dead_letters"]
    assert (letter["id"], letter["kind"], letter["error"]) == (job, FETCH_COVER, "ValueError: not a picture")
    assert letter["arguments"] == {"isbn": "9780306406157"}
    answer = await server.post(f"/api/monitoring/dead-letters/{job}/retry")
    assert (answer.status, answer.json["id"]) == (200, job)
    assert (await MonitoringStore(connection).count_jobs())[FETCH_COVER].waiting == 1
    assert (await server.get("/api/monitoring/dead-letters")).json["dead_letters"] == []
    again = await server.post(f"/api/monitoring/dead-letters/{job}/retry")
    assert (again.status, again.json["type"]) == (404, "urn:alexandria:problem:not-found")


async def test_a_dead_letter_whose_job_is_queued_again_is_not_queued_twice(
    server: Any, connection: Connection
) -> None:
    job = await bury(connection)
    await enqueue(connection, FETCH_COVER, "one")
    answer = await server.post(f"/api/monitoring/dead-letters/{job}/retry")
    assert (answer.status, answer.json["type"]) == (409, "urn:alexandria:problem:conflict")
    assert (await MonitoringStore(connection).count_jobs())[FETCH_COVER].dead == 1


async def test_a_dead_letter_is_discarded(server: Any, connection: Connection) -> None:
    job, other = await bury(connection), await bury(connection, key="two")
    assert (await server.post(f"/api/monitoring/dead-letters/{job}/discard")).status == 200
    assert [each.id for each in await MonitoringStore(connection).list_dead_letters()] == [other]
    assert (await server.post(f"/api/monitoring/dead-letters/{job}/discard")).status == 404


async def test_a_job_that_waits_is_no_dead_letter(server: Any, connection: Connection) -> None:
    job = await enqueue(connection, FETCH_COVER, "one")
    assert (await server.post(f"/api/monitoring/dead-letters/{job}/discard")).status == 404
    assert (await MonitoringStore(connection).count_jobs())[FETCH_COVER].waiting == 1


async def test_dead_letters_come_in_parts_without_a_gap(server: Any, connection: Connection) -> None:
    jobs = [await bury(connection, key=str(number)) for number in range(5)]
    await bury(connection, HARVEST_ITEM, "other")
    seen: list[int] = []
    path, after = "/api/monitoring/dead-letters?kind=fetch_cover&limit=2", ""
    for _ in range(3):
        part = (await server.get(path + after)).json
        seen += [each["id"] for each in part["dead_letters"]]
        after = f"&after={part['next']}"
    assert seen == jobs[::-1]
    assert part["next"] is None


async def test_calls_of_the_last_hour_and_day_come_from_all_processes(
    server: Any, own_database_url: str
) -> None:
    async with Database.open(own_database_url) as database:
        first, second = Publisher(database), Publisher(database)
        meters.CALLS.labels("isbndb", "author", "delivered").inc(3)
        meters.CALLS.labels("isbndb", "bulk", "failed").inc()
        for _ in range(4):
            meters.CALL_SECONDS.labels("isbndb", "author").observe(0.3)
        await first.publish()
        async with database.connection() as connection:
            await connection.execute("UPDATE meter_spans SET span_at = span_at - interval '2 hours'")
        await second.publish()
        told = (await server.get("/api/monitoring/providers")).json["providers"]
        usage = (await server.get("/api/monitoring/usage")).json["providers"]
    by_name = {each["provider"]: each for each in told}
    assert set(by_name) == {"isbndb", "openlibrary", "google-books", "wikidata"}
    hour, day = by_name["isbndb"]["hour"], by_name["isbndb"]["day"]
    assert (hour["calls"], day["calls"]) == (4, 8)
    assert day["outcomes"] == {"delivered": 6, "failed": 2}
    assert day["endpoints"]["bulk"]["outcomes"] == {"failed": 2}
    assert day["latency_seconds"]["mean"] == 0.3
    assert 0.2 < day["latency_seconds"]["half"] <= 0.35
    assert by_name["wikidata"]["is_asked"] is False
    assert by_name["wikidata"]["hour"]["latency_seconds"]["half"] is None
    assert usage["isbndb"]["calls"] == 8


async def test_usage_tells_what_units_brought(server: Any, connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO quota_accounts (provider, key_hash) VALUES ('isbndb', %s)", [KEY_HASH]
    )
    await connection.execute(
        "INSERT INTO quota_windows (provider, key_hash, day, units_charged, used) VALUES"
        " ('isbndb', %(account)s, '2026-11-22', 15, '{\"bulk/bulk-authors\": 10}'),"
        " ('isbndb', %(account)s, '2026-11-23', 4, '{\"bulk/bulk-authors\": 3, \"scheduled/new-releases\": 1}'),"
        " ('isbndb', %(account)s, '2026-10-01', 99, '{\"bulk/bulk-authors\": 99}')",
        {"account": KEY_HASH},
    )
    await connection.execute(
        "INSERT INTO harvest_runs (id, kind, lane, parameters, state, fresh_since, created_at)"
        " VALUES ('20261122-aaaaaa', 'tiers', 'bulk', '{}', 'running', now(), '2026-11-22 10:00Z')"
    )
    for position, day, new in ((1, 22, 400), (2, 23, 120)):
        await connection.execute(
            "INSERT INTO harvest_items (run_id, position, subject, name, target, state, editions_found, editions_new,"
            " covers_wanted, updated_at) VALUES ('20261122-aaaaaa', %s, 'a', 'a', 'author', 'done', %s, %s, 26, %s)",
            [position, new, new, f"2026-11-{day} 11:00Z"],
        )
    told = (await server.get("/api/monitoring/usage?days=2")).json
    assert (told["first_day"], told["last_day"], told["foreign"]) == ("2026-11-22", "2026-11-23", 5)
    assert (told["total"]["units"], told["total"]["editions_new"]) == (14, 520)
    authors, releases = told["consumers"]
    assert (authors["consumer"], authors["units"], authors["editions_per_unit"]) == ("bulk-authors", 13, 40.0)
    assert authors["covers_per_unit"] == 4.0
    assert (releases["consumer"], releases["units"], releases["editions_per_unit"]) == (
        "new-releases",
        1,
        0.0,
    )
    assert [(each["day"], each["units"], each["editions_new"]) for each in told["days"]] == [
        ("2026-11-22", 10, 400),
        ("2026-11-23", 4, 120),
    ]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/monitoring/usage?days=0", "days"),
        ("/api/monitoring/usage?days=367", "days"),
        ("/api/monitoring/queues?minutes=1441", "minutes"),
        ("/api/monitoring/dead-letters?after=x", "after"),
        ("/api/monitoring/dead-letters?after=0", "after"),
        ("/api/monitoring/dead-letters?after=99999999999999999999", "after"),
        ("/api/monitoring/dead-letters?limit=101", "limit"),
        ("/api/monitoring/dead-letters?kind=nonsense", "kind"),
    ],
)
async def test_bad_input_is_named(client: Any, path: str, field: str) -> None:
    answer = await client.get(path)
    assert (answer.status, answer.json["field"]) == (422, field)


async def test_dead_letters_take_a_token_to_be_changed(
    start_server: Any, own_database_url: str, connection: Connection
) -> None:
    token = "t" * 32
    client = await start_server(url=own_database_url, api_tokens=token)
    job = await bury(connection)
    path = f"/api/monitoring/dead-letters/{job}/discard"
    assert (await client.post(path)).status == 401
    assert (await client.get("/api/monitoring/dead-letters")).status == 200
    assert (await client.post(path, headers={"Authorization": f"Bearer {token}"})).status == 200


async def test_a_database_that_is_away_is_a_problem_document(
    start_server: Any, own_database_url: str, server_url: str
) -> None:
    client = await start_server(url=own_database_url)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {urlsplit(own_database_url).path[1:]} WITH (FORCE)".encode())
    answer = await client.get("/api/monitoring/overview")
    assert (answer.status, answer.json["type"]) == (503, "urn:alexandria:problem:store-unavailable")
