"""Switching, pausing and capping harvesters over HTTP."""

from datetime import UTC, datetime
from typing import Any

import pytest

from alexandria.domain.alerting import Alert, AlertKind
from alexandria.stores.alerts import AlertStore
from alexandria.stores.postgres import Database

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("library")


@pytest.fixture(autouse=True)
async def as_at_first(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE harvesters SET is_enabled = true, paused_at = NULL, pause_reason = NULL, units_per_run = NULL,"
            " units_per_day = NULL, most_failures_percent = 50, least_items = 20"
        )
        await connection.execute("DELETE FROM alerts")
        await connection.execute("DELETE FROM harvest_runs")


async def patch(client: Any, name: str, body: object) -> Any:
    return await client.ask("PATCH", f"/api/harvesters/{name}", json=body)


async def test_harvesters_are_listed_with_what_is_set_and_with_alerts(
    client: Any, database: Database
) -> None:
    async with database.transaction() as connection:
        await AlertStore(connection).raise_alert(Alert(AlertKind.RUN_FAILING, "run-1", "it fails", NOW))
        await AlertStore(connection).raise_alert(Alert(AlertKind.RUN_FAILING, "run-1", "it fails more", NOW))
    answer = (await client.get("/api/harvesters")).json
    assert [each["name"] for each in answer["harvesters"]] == [
        "authors", "covers", "gaps", "isbns", "new-releases", "people", "tiers", "updates",
    ]  # fmt: skip
    assert answer["harvesters"][4] == {
        "name": "new-releases", "state": "enabled", "is_enabled": True, "paused_at": None, "pause_reason": None,
        "units_per_run": None, "units_per_day": None, "units_today": 0, "most_failures_percent": 50, "least_items": 20,
        "consumer": "new-releases", "runs_open": 0,
    }  # fmt: skip
    assert answer["alerts"] == [
        {
            "kind": "run_failing",
            "severity": "warning",
            "subject": "run-1",
            "message": "it fails",
            "raised_at": "2026-11-23T12:00:00Z",
            "cleared_at": None,
            "silenced_until": None,
        }
    ]


async def test_what_is_left_out_stays_as_it_is_and_null_takes_a_cap_away(client: Any) -> None:
    answer = await patch(client, "new-releases", {"units_per_day": 500, "units_per_run": 100})
    assert (answer.status, answer.json["units_per_day"], answer.json["units_per_run"]) == (200, 500, 100)
    answer = await patch(client, "new-releases", {"units_per_run": None, "least_items": 5})
    assert (answer.json["units_per_day"], answer.json["units_per_run"], answer.json["least_items"]) == (
        500,
        None,
        5,
    )
    listed = (await client.get("/api/harvesters")).json["harvesters"]
    assert [each["units_per_day"] for each in listed if each["name"] == "new-releases"] == [500]


async def test_a_harvester_is_paused_with_its_reason_and_resumed(client: Any) -> None:
    paused = (await patch(client, "authors", {"is_paused": True, "pause_reason": "looking"})).json
    assert (paused["state"], paused["paused_at"], paused["pause_reason"]) == (
        "paused",
        "2026-11-23T12:00:00Z",
        "looking",
    )
    started = await client.post("/api/harvest/authors", {"authors": ["A. Prolific"]})
    assert (started.status, started.json["held"]) == (202, "its harvester is paused: looking")
    assert (await patch(client, "authors", {"is_paused": False})).json["state"] == "enabled"
    run = (await client.get(started.headers["Location"])).json
    assert (run["state"], run["held"]) == ("running", None)


async def test_a_disabled_harvester_starts_nothing(client: Any) -> None:
    assert (await patch(client, "tiers", {"is_enabled": False})).json["state"] == "disabled"
    refused = await client.post("/api/harvest/authors", {"tier": "top-100"})
    assert (refused.status, refused.json["type"]) == (409, "urn:alexandria:problem:conflict")
    assert "alexandria harvesters enable tiers" in refused.json["detail"]
    assert (await client.get("/api/runs")).json == {"runs": []}
    plan = await client.post("/api/harvest/authors", {"tier": "top-100", "dry_run": True})
    assert plan.status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"pause_reason": "why"}, "body"),
        ({"is_enabled": True, "pause_reason": "why"}, "body"),
        ({"is_paused": True, "pause_reason": "a\nb\x00"}, "pause_reason"),
        ({"is_enabled": "yes"}, "is_enabled"),
        ({"is_enabled": None}, "is_enabled"),
        ({"units_per_day": -1}, "units_per_day"),
        ({"units_per_day": "500"}, "units_per_day"),
        ({"units_per_run": 10**10}, "units_per_run"),
        ({"most_failures_percent": 101}, "most_failures_percent"),
        ({"least_items": 0}, "least_items"),
        ({"least_items": None}, "least_items"),
        ({"unit_per_day": 5}, "unit_per_day"),
    ],
)
async def test_a_change_that_makes_no_sense_names_the_member_and_changes_nothing(
    client: Any, body: object, field: str
) -> None:
    before = (await client.get("/api/harvesters")).json
    answer = await patch(client, "authors", body)
    assert (answer.status, answer.json["field"]) == (422, field), answer.json
    assert (await client.get("/api/harvesters")).json == before


async def test_a_harvester_that_there_is_none_of_is_not_found(client: Any) -> None:
    answer = await patch(client, "robots", {"is_enabled": False})
    assert answer.status == 404
    assert "new-releases" in answer.json["detail"]


async def test_changing_a_harvester_needs_a_token_where_one_is_configured(start_server: Any) -> None:
    client = await start_server(api_tokens="a-token-of-sixteen-signs")
    refused = await patch(client, "authors", {"is_enabled": False})
    assert refused.status == 401
    assert (await client.get("/api/harvesters")).json["harvesters"][0]["is_enabled"] is True
