"""Alerts over HTTP: what is open, what is silenced, what could not be sent, and bad wishes."""

from datetime import UTC, datetime
from typing import Any

import pytest

from alexandria.domain.alerting import Alert, AlertKind, Severity
from alexandria.stores.alerts import AlertStore
from alexandria.stores.postgres import Database

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def as_at_first(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("DELETE FROM alerts")
        await connection.execute("DELETE FROM alert_silences")
        store = AlertStore(connection)
        for run in ("run-1", "run-2"):
            await store.raise_alert(Alert(AlertKind.RUN_FAILING, run, "it fails", NOW))
        await store.clear(AlertKind.RUN_FAILING, "run-1", now=NOW)


async def test_open_alerts_are_listed_and_those_that_are_over_if_asked_for(client: Any) -> None:
    answer = (await client.get("/api/alerts")).json
    assert answer == {
        "alerts": [
            {
                "kind": "run_failing",
                "severity": "warning",
                "subject": "run-2",
                "message": "it fails",
                "raised_at": "2026-11-23T12:00:00Z",
                "cleared_at": None,
                "silenced_until": None,
            }
        ],
        "silences": [],
        "undelivered": [],
    }
    answer = (await client.get("/api/alerts?all=true")).json
    assert [each["subject"] for each in answer["alerts"]] == ["run-2", "run-1"]
    assert answer["alerts"][1]["cleared_at"] == "2026-11-23T12:00:00Z"
    assert len((await client.get("/api/alerts?all=true&limit=1")).json["alerts"]) == 1


async def test_a_notice_that_could_not_be_sent_is_shown(client: Any, database: Database) -> None:
    async with database.transaction() as connection:
        store = AlertStore(connection)
        await store.distribute({"a-key": "json (1)"}, [Severity.WARNING], now=NOW)
        [claimed] = await store.claim_deliveries(["a-key"], now=NOW)
        await store.record_failure(claimed, "json (1): it was not taken", now=NOW)
    [lost] = (await client.get("/api/alerts")).json["undelivered"]
    assert lost == {
        "title": "Alexandria: run failing: run-2",
        "target": "json (1)",
        "attempts": 1,
        "error": "json (1): it was not taken",
        "given_up_at": None,
        "next_try_at": "2026-11-23T12:00:30Z",
    }


async def test_a_silence_is_added_shown_and_ended(client: Any) -> None:
    wanted = {"kind": "run-failing", "subject": "run-2", "minutes": 90}
    answer = await client.post("/api/alerts/silences", wanted)
    assert answer.status == 201
    silence = answer.json
    assert (silence["kind"], silence["until"]) == ("run_failing", "2026-11-23T13:30:00Z")
    shown = (await client.get("/api/alerts")).json
    assert shown["silences"] == [silence]
    assert shown["alerts"][0]["silenced_until"] == silence["until"]
    path = f"/api/alerts/silences/{silence['id']}"
    ended = await client.ask("DELETE", path, headers={"Content-Type": "application/json"})
    assert (ended.status, ended.json) == (200, {"silences": []})
    again = await client.ask("DELETE", path, headers={"Content-Type": "application/json"})
    assert again.status == 404


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"kind": "nothing", "minutes": 5}, "kind"),
        ({"kind": "queue_old"}, "minutes"),
        ({"kind": "queue_old", "minutes": 0}, "minutes"),
        ({"kind": "queue_old", "minutes": 10**9}, "minutes"),
        ({"kind": "queue_old", "minutes": 5, "subject": ""}, "subject"),
        ({"kind": "queue_old", "minutes": 5, "until": "tomorrow"}, "until"),
    ],
)
async def test_a_wrong_wish_is_refused_by_its_field(client: Any, wanted: object, field: str) -> None:
    answer = await client.post("/api/alerts/silences", wanted)
    assert (answer.status, answer.json["field"]) == (422, field)
    assert (await client.get("/api/alerts")).json["silences"] == []


@pytest.mark.parametrize("path", ["/api/alerts?limit=0", "/api/alerts?all=perhaps"])
async def test_a_wrong_question_is_refused(client: Any, path: str) -> None:
    assert (await client.get(path)).status == 422


@pytest.mark.parametrize("number", ["0", "x", "99999999999999999999"])
async def test_a_silence_that_can_not_be_is_refused(client: Any, number: str) -> None:
    answer = await client.ask(
        "DELETE", f"/api/alerts/silences/{number}", headers={"Content-Type": "application/json"}
    )
    assert answer.status == 422
