"""Planning, starting and watching harvests over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alexandria.domain.quota import Lane
from alexandria.domain.rollout import PauseCause
from alexandria.domain.targets import Target, TargetKind
from alexandria.stores.harvests import HarvestStore, ItemState, RunState
from alexandria.stores.postgres import Database

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("library")


@pytest.fixture(autouse=True)
async def no_runs(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("DELETE FROM harvest_runs")


async def add_run(database: Database, run_id: str, *, names: int = 3, minutes: int = 0) -> None:
    async with database.transaction() as connection:
        await HarvestStore(connection).add_run(
            run_id,
            kind="authors",
            lane=Lane.BULK,
            parameters={"tier": "top-100", "max_pages": 2},
            targets=[Target(TargetKind.AUTHOR, f"OL{n}A", f"Author {n}") for n in range(1, names + 1)],
            fresh_since=NOW,
            now=NOW + timedelta(minutes=minutes),
        )


async def fail_item(database: Database, run_id: str, position: int, reason: str) -> None:
    async with database.transaction() as connection:
        harvests = HarvestStore(connection)
        item = await harvests.find_item(run_id, position)
        assert item is not None
        await harvests.leave_item(item, ItemState.FAILED, now=NOW, reason=reason, failed=True)


async def end_items(database: Database, run_id: str) -> None:
    async with database.transaction() as connection:
        harvests = HarvestStore(connection)
        for item in await harvests.list_items(run_id):
            if item.state != ItemState.FAILED:
                await harvests.leave_item(item, ItemState.DONE, now=NOW)
        assert await harvests.finish_run(run_id, now=NOW)


async def test_a_tier_is_harvested_as_a_run_whose_address_is_given(client: Any) -> None:
    answer = await client.post("/api/harvest/authors", {"tier": "top-100", "max_pages": 2})
    assert answer.status == 202, answer.json
    assert answer.headers["Location"] == f"/api/runs/{answer.json['id']}"
    run = (await client.get(answer.headers["Location"])).json
    assert (run["state"], run["lane"], run["kind"]) == ("running", "bulk", "tiers")
    assert run["parameters"]["tier"] == "top-100"
    assert run["parameters"]["max_pages"] == 2
    assert run["progress"]["items"] == 2
    assert [each["name"] for each in run["items"]] == ["Ada Prolific", "Ben Sparse"]


async def test_authors_are_harvested_by_name(client: Any) -> None:
    answer = await client.post("/api/harvest/authors", {"authors": ["A. Prolific", "Somebody  New"]})
    run = (await client.get(answer.headers["Location"])).json
    assert [(each["subject"][:6], each["name"]) for each in run["items"]] == [
        ("OL1A", "A. Prolific"),
        ("named-", "Somebody New"),
    ]


async def test_a_dry_run_shows_the_plan_and_writes_nothing(client: Any) -> None:
    answer = await client.post("/api/harvest/authors", {"tier": "top-100", "dry_run": True})
    assert answer.status == 200
    assert (answer.json["targets"], answer.json["units_expected"], answer.json["units_remaining"]) == (
        2,
        2,
        13_000,
    )
    assert [each["subject"] for each in answer.json["lines"]] == ["OL1A", "OL2A"]
    assert (await client.get("/api/runs")).json == {"runs": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"tier": "top-100", "authors": ["A. Prolific"]}, "body"),
        ([], "body"),
        ("top-100", "body"),
        ({"tier": "top-7"}, "tier"),
        ({"tier": 7}, "tier"),
        ({"authors": []}, "authors"),
        ({"authors": ["A. Prolific", 7]}, "authors[1]"),
        ({"authors": ["A. Prolific", " "]}, "authors[1]"),
        ({"authors": ["x" * 201]}, "authors[0]"),
        ({"authors": ["a\x00b"]}, "authors[0]"),
        ({"authors": ["Various"]}, "author"),
        ({"authors": ["x"] * 1001}, "authors"),
        ({"tier": "top-100", "max_pages": 0}, "max_pages"),
        ({"tier": "top-100", "max_pages": 101}, "max_pages"),
        ({"tier": "top-100", "max_pages": "2"}, "max_pages"),
        ({"tier": "top-100", "max_pages": True}, "max_pages"),
        ({"tier": "top-100", "dry_rum": True}, "dry_rum"),
    ],
)
async def test_a_wish_that_makes_no_sense_names_the_member_and_starts_nothing(
    client: Any, body: object, field: str
) -> None:
    answer = await client.post("/api/harvest/authors", body)
    assert (answer.status, answer.json["field"]) == (422, field), answer.json
    assert answer.json["reason"]
    assert (await client.get("/api/runs")).json == {"runs": []}


@pytest.mark.parametrize("body", [b"{", b"", b'{"authors": ["\\ud800"]}', b"\xff\xfe", b"[" * 5000])
async def test_a_body_that_is_not_json_is_refused(client: Any, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await client.ask("POST", "/api/harvest/authors", data=body, headers=headers)
    assert (answer.status, answer.headers["Content-Type"]) == (422, "application/problem+json"), answer.body


async def test_without_a_key_a_plan_is_shown_but_nothing_is_started(start_server: Any) -> None:
    client = await start_server(isbndb_key=None)
    plan = await client.post("/api/harvest/authors", {"tier": "top-100", "dry_run": True})
    assert (plan.status, plan.json["units_remaining"]) == (200, None)
    refused = await client.post("/api/harvest/authors", {"tier": "top-100"})
    assert (refused.status, refused.json["type"]) == (503, "urn:alexandria:problem:not-configured")
    assert "ALEXANDRIA_ISBNDB_KEY" in refused.json["detail"]
    assert (await client.get("/api/runs")).json == {"runs": []}


async def test_runs_are_listed_with_their_progress_the_newest_first(client: Any, database: Database) -> None:
    for minutes, run_id in enumerate(("first", "second", "third")):
        await add_run(database, run_id, minutes=minutes)
    await fail_item(database, "second", 1, "out of order")
    runs = (await client.get("/api/runs?limit=2")).json["runs"]
    assert [each["id"] for each in runs] == ["third", "second"]
    assert [each["progress"]["failed"] for each in runs] == [0, 1]


async def test_the_items_of_a_run_are_paged_and_chosen_by_state(client: Any, database: Database) -> None:
    await add_run(database, "run", names=5)
    await fail_item(database, "run", 4, "the provider refused")
    page = (await client.get("/api/runs/run?limit=2&offset=1")).json
    assert [each["position"] for each in page["items"]] == [2, 3]
    assert page["pagination"] == {"offset": 1, "limit": 2, "returned": 2, "has_more": True}
    failed = (await client.get("/api/runs/run?state=failed&state=done")).json
    assert [(each["position"], each["reason"]) for each in failed["items"]] == [(4, "the provider refused")]
    assert (await client.get("/api/runs/run?state=lost")).json["field"] == "state[0]"


async def test_a_run_that_does_not_exist_is_not_found(client: Any) -> None:
    assert (await client.get("/api/runs/none")).status == 404
    assert (await client.post("/api/runs/none/resume")).status == 404


async def test_a_paused_run_goes_on(client: Any, database: Database) -> None:
    await add_run(database, "run")
    async with database.transaction() as connection:
        await HarvestStore(connection).pause_run(
            "run", cause=PauseCause.QUOTA, reason="used up", resumes_at=NOW
        )
    paused = (await client.get("/api/runs/run")).json
    assert (paused["state"], paused["pause_reason"]) == ("paused", "used up")
    assert paused["resumes_at"] == "2026-11-23T12:00:00Z"
    answer = await client.post("/api/runs/run/resume")
    assert (answer.status, answer.json["state"], answer.json["pause_reason"]) == (202, "running", None)
    assert answer.headers["Location"] == "/api/runs/run"


async def test_an_ended_run_goes_on_only_to_try_its_failed_items_again(
    client: Any, database: Database
) -> None:
    await add_run(database, "run")
    await fail_item(database, "run", 2, "no answer")
    await end_items(database, "run")
    refused = await client.post("/api/runs/run/resume")
    assert (refused.status, refused.json["type"]) == (409, "urn:alexandria:problem:conflict")
    assert "retry_failed" in refused.json["detail"]
    answer = await client.post("/api/runs/run/resume", {"retry_failed": True})
    assert (answer.json["state"], answer.json["progress"]["failed"]) == ("running", 0)


async def test_a_cancelled_run_stays_cancelled(client: Any, database: Database) -> None:
    await add_run(database, "run")
    async with database.connection() as connection:
        await connection.execute("UPDATE harvest_runs SET state = %s", [RunState.CANCELLED])
    assert (await client.post("/api/runs/run/resume", {"retry_failed": True})).status == 409


async def test_a_run_is_paused_by_a_person_and_resumed(client: Any, database: Database) -> None:
    await add_run(database, "run")
    answer = await client.post("/api/runs/run/pause", {"reason": "the plan is being changed"})
    assert answer.status == 200
    assert (answer.json["state"], answer.json["pause_cause"], answer.json["pause_reason"]) == (
        "paused",
        "person",
        "the plan is being changed",
    )
    assert answer.json["resumes_at"] is None
    assert (await client.post("/api/runs/run/pause")).status == 200, "a pause without a reason is one too"
    assert (await client.post("/api/runs/run/resume")).json["state"] == "running"
    refused = await client.post("/api/runs/run/pause", {"reason": "a\nb\x00"})
    assert (refused.status, refused.json["field"]) == (422, "reason")


async def test_a_cancelled_run_is_ended_for_good(client: Any, database: Database) -> None:
    await add_run(database, "run")
    answer = await client.post("/api/runs/run/cancel")
    assert (answer.status, answer.json["state"]) == (200, "cancelled")
    assert answer.json["finished_at"] is not None
    for action in ("pause", "cancel", "resume", "retry"):
        refused = await client.post(f"/api/runs/run/{action}")
        assert (refused.status, refused.json["type"]) == (409, "urn:alexandria:problem:conflict"), action
        assert "cancelled" in refused.json["detail"]
        assert (await client.post(f"/api/runs/none/{action}")).status == 404


async def test_only_what_failed_is_tried_again(client: Any, database: Database) -> None:
    await add_run(database, "run")
    await fail_item(database, "run", 2, "no answer")
    await end_items(database, "run")
    answer = await client.post("/api/runs/run/retry")
    assert (answer.status, answer.json["state"]) == (202, "running")
    assert (answer.json["progress"]["done"], answer.json["progress"]["failed"]) == (2, 0)
    await end_items(database, "run")
    refused = await client.post("/api/runs/run/retry")
    assert refused.status == 409
    assert (await client.get("/api/runs/run")).json["state"] == "done", "a refusal changes nothing"


async def test_a_report_is_read_as_json_or_markdown(client: Any, database: Database) -> None:
    await add_run(database, "run")
    await fail_item(database, "run", 2, "no answer")
    report = (await client.get("/api/runs/run/report")).json
    assert (report["state"], report["what"], report["items"]["failed"]) == (
        "running",
        "authors, tier top-100",
        1,
    )
    assert [(each["name"], each["reason"]) for each in report["listed"]] == [("Author 2", "no answer")]
    every = (await client.get("/api/runs/run/report?items=all")).json
    assert [each["position"] for each in every["listed"]] == [1, 2, 3]
    by_header = await client.get("/api/runs/run/report", headers={"Accept": "text/markdown"})
    by_parameter = await client.get("/api/runs/run/report?format=markdown")
    assert by_header.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert by_header.body == by_parameter.body
    assert b"# Run run: authors, tier top-100" in by_header.body
    assert b"| 2 | author | Author 2 | failed |" in by_header.body
    json_again = await client.get("/api/runs/run/report?format=json", headers={"Accept": "text/markdown"})
    assert json_again.json["run"] == "run"
    assert (await client.get("/api/runs/none/report")).status == 404
    assert (await client.get("/api/runs/run/report?format=pdf")).json["field"] == "format"
