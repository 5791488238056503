"""The schedule over HTTP."""

from datetime import datetime
from typing import Any

import pytest

from alexandria.stores.postgres import Database

TOKEN = "0123456789abcdef"
pytestmark = pytest.mark.usefixtures("library")


@pytest.fixture(autouse=True)
async def no_history(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("DELETE FROM harvest_runs")
        await connection.execute("TRUNCATE schedule_entries, schedule_firings")


async def entry(client: Any, name: str) -> dict[str, Any]:
    answer = await client.get("/api/schedule")
    assert answer.status == 200, answer.body
    return next(each for each in answer.json["entries"] if each["name"] == name)


async def test_every_entry_is_listed_with_its_next_slot(client: Any) -> None:
    shown = await entry(client, "new-releases")
    assert shown == {
        "name": "new-releases",
        "cron": "30 3 * * *",
        "time_zone": "UTC",
        "harvester": "new-releases",
        "parameters": {},
        "lane": "scheduled",
        "missed": "once",
        "state": "off",
        "paused_at": None,
        "last": None,
        "next_slot": "2026-11-24T03:30:00Z",
        "next_slot_local": "2026-11-24T03:30:00Z",
    }


async def test_an_entry_is_started_and_the_address_of_its_run_given(client: Any) -> None:
    answer = await client.post("/api/schedule/tiers/run")
    assert (answer.status, answer.json["outcome"], answer.json["slot"]) == (202, "started", None), answer.json
    run = (await client.get(answer.headers["Location"])).json
    assert (run["lane"], run["parameters"]["tier"], run["parameters"]["schedule"]) == (
        "bulk",
        "top-1000",
        "tiers",
    )
    assert (await entry(client, "tiers"))["last"] == answer.json
    again = await client.post("/api/schedule/tiers/run")
    assert (again.status, again.json["type"]) == (409, "urn:alexandria:problem:conflict")
    assert f"its run {run['id']} is still open" in again.json["detail"]


async def test_an_entry_without_a_run_says_what_it_did(client: Any) -> None:
    answer = await client.post("/api/schedule/covers/run")
    assert (answer.status, answer.json["outcome"], answer.json["run"]) == (202, "done", None)
    assert "Location" not in answer.headers


async def test_an_entry_is_paused_and_resumed(start_server: Any) -> None:
    client = await start_server(schedule="on")
    paused = await client.post("/api/schedule/tiers/pause")
    assert (paused.status, paused.json["state"]) == (200, "paused")
    assert datetime.fromisoformat(paused.json["paused_at"]) == datetime.fromisoformat("2026-11-23T12:00:00Z")
    assert (await entry(client, "tiers"))["state"] == "paused"
    resumed = await client.post("/api/schedule/tiers/resume")
    assert (resumed.json["state"], resumed.json["paused_at"]) == ("on", None)


@pytest.mark.parametrize("deed", ["run", "pause", "resume"])
async def test_an_entry_that_does_not_exist_is_not_found_and_a_token_is_needed(
    client: Any, start_server: Any, deed: str
) -> None:
    unknown = await client.post(f"/api/schedule/nothing/{deed}")
    assert (unknown.status, unknown.json["type"]) == (404, "urn:alexandria:problem:not-found")
    guarded = await start_server(api_tokens=TOKEN)
    assert (await guarded.post(f"/api/schedule/covers/{deed}")).status == 401
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert (await guarded.post(f"/api/schedule/covers/{deed}", headers=headers)).status in {200, 202}


async def test_what_can_not_be_started_without_a_key_says_so(start_server: Any) -> None:
    client = await start_server(isbndb_key=None)
    refused = await client.post("/api/schedule/new-releases/run")
    assert refused.status == 409
    assert "ALEXANDRIA_ISBNDB_KEY" in refused.json["detail"]
