"""The harvesters over HTTP: what is done at once, what goes on, what is said when units run out, and what is refused."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from alexandria.domain.names import name_key
from alexandria.sandbox.accounts import PRO
from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.server import PREMIUM, Sandbox, running_sandbox
from alexandria.sandbox.world import World
from alexandria.server import serving
from api.conftest import Client, MakeConfig
from conftest import SetClock
from harvesting import FAST, every, listed_isbns, unknown_isbns

WHOLE_DAY = {"interactive_percent": 0, "scheduled_percent": 0}


@dataclass(frozen=True)
class Desk:
    """A server over a sandbox, both with the same clock."""

    client: Client
    sandbox: Sandbox
    clock: SetClock


@pytest.fixture(scope="module")
def world() -> World:
    return World.invent(seed=5, authors=8, works_per_top_author=60)


@pytest.fixture
async def open_desk(world: World, own_database_url: str, make_config: MakeConfig) -> AsyncIterator[Any]:
    """Opens a desk with these settings."""
    async with AsyncExitStack() as stack:

        async def open_one(**settings: object) -> Desk:
            clock = SetClock()
            sandbox = await stack.enter_async_context(
                running_sandbox(world, keys={"a-key": PREMIUM}, switches=FAST, clock=clock)
            )
            config = make_config(isbndb_url=sandbox.url, requests_per_minute=6000, **settings)
            server = await stack.enter_async_context(
                serving(config, own_database_url, with_worker=False, clock=clock)
            )
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Desk(Client(server.address, session), sandbox, clock)

        yield open_one


@pytest.fixture
async def desk(open_desk: Any) -> Desk:
    made: Desk = await open_desk()
    return made


async def batch(desk: Desk, isbns: list[str], **more: object) -> Any:
    return await desk.client.post("/api/enrich/batch-direct", {"isbns": isbns, **more})


# ISBNs


async def test_a_small_batch_is_done_while_its_caller_waits(desk: Desk, world: World) -> None:
    known, unknown = every(listed_isbns(world)[:20]), every(unknown_isbns(world, 3))
    as_10 = listed_isbns(world)[0].to_10()
    assert as_10 is not None
    answer = await batch(desk, [*known, as_10, known[1], *unknown, "9780306406158", "nonsense", " "])
    assert answer.status == 200, answer.json
    told = answer.json
    assert {
        key: told[key] for key in ("requested", "found", "enriched", "not_found", "failed", "pending")
    } == {
        "requested": 26,
        "found": 20,
        "enriched": 20,
        "not_found": 3,
        "failed": 3,
        "pending": 0,
    }
    assert [each["isbn"] for each in told["errors"]] == ["9780306406158", "nonsense", " "]
    assert "check digit" in told["errors"][0]["error"]
    assert (told["units_used"], told["api_calls"], told["state"]) == (23, 1, "done")
    assert told["quota"]["used"] == desk.sandbox.spent("a-key") == 23
    assert told["covers_queued"] > 0
    shown = await desk.client.get(f"/api/editions/{known[3]}")
    assert shown.status == 200

    again = (await batch(desk, known + unknown)).json
    assert (again["skipped_fresh"], again["not_found"], again["units_used"]) == (20, 3, 0)
    refreshed = (await batch(desk, known, refresh=True)).json
    assert (refreshed["found"], refreshed["enriched"], refreshed["units_used"]) == (20, 0, 20)


async def test_a_large_batch_goes_on_as_a_run_and_says_the_same(desk: Desk, world: World) -> None:
    isbns = every(listed_isbns(world)[:150])
    answer = await batch(desk, isbns, source="a spreadsheet")
    assert answer.status == 202
    told = answer.json
    assert (told["state"], told["pending"], told["units_used"]) == ("running", 150, 0)
    run = (await desk.client.get(answer.headers["Location"])).json
    assert (run["id"], run["kind"], run["lane"], run["progress"]["items"]) == (
        told["run"],
        "isbns",
        "bulk",
        2,
    )
    assert run["parameters"]["source"] == "a spreadsheet"


async def test_when_units_run_out_the_answer_is_429_with_what_was_done_and_when_to_come_again(
    open_desk: Any, world: World
) -> None:
    desk = await open_desk(safe_limit=30, **WHOLE_DAY)
    isbns = every(listed_isbns(world)[:50])
    answer = await batch(desk, isbns)
    assert (answer.status, desk.sandbox.spent("a-key")) == (429, 30), answer.json
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert 11 * 3600 < int(answer.headers["Retry-After"]) < 13 * 3600
    done = answer.json["done"]
    assert (done["found"], done["not_found"], done["pending"]) == (30, 0, 20)
    assert (done["units_used"], done["state"]) == (30, "paused")
    exhausted = await batch(desk, isbns)
    assert (exhausted.status, exhausted.json["done"]["skipped_fresh"]) == (429, 30)
    assert exhausted.json["done"]["not_found"] == 0, "no units is no absence"
    assert desk.sandbox.spent("a-key") == 30
    desk.clock.advance(timedelta(seconds=int(answer.headers["Retry-After"]) + 1))
    rest = await batch(desk, isbns)
    assert (rest.status, rest.json["skipped_fresh"], rest.json["found"]) == (200, 30, 20), rest.json


async def test_a_refused_key_is_said_and_nothing_is_called_absent(desk: Desk, world: World) -> None:
    desk.sandbox.faults.add(FaultKind.EMPTY_403, count=20)
    answer = await batch(desk, every(listed_isbns(world)[:3]))
    assert answer.status in {502, 503}, answer.json
    done = answer.json["done"]
    assert (done["found"], done["not_found"], done["pending"], done["state"]) == (0, 0, 3, "paused")


async def test_a_failing_provider_is_no_error_of_the_caller_and_no_absence(desk: Desk, world: World) -> None:
    desk.sandbox.faults.add(FaultKind.ERROR_500, endpoint="bulk", count=200)
    answer = await batch(desk, every(listed_isbns(world)[:3]))
    assert (answer.status, answer.json["reason"]) == (503, "breaker"), answer.json
    done = answer.json["done"]
    assert (done["found"], done["not_found"], done["failed"], done["pending"]) == (0, 0, 0, 3)
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("enrich/batch-direct", {}, "isbns"),
        ("enrich/batch-direct", {"isbns": []}, "isbns"),
        ("enrich/batch-direct", {"isbns": ["9780306406157"] * 1001}, "isbns"),
        ("enrich/batch-direct", {"isbns": "9780306406157"}, "isbns"),
        ("enrich/batch-direct", {"isbns": [9780306406157]}, "isbns[0]"),
        ("enrich/batch-direct", {"isbns": ["9" * 201]}, "isbns[0]"),
        ("enrich/batch-direct", {"isbns": ["9780306406158"]}, "isbns"),
        ("enrich/batch-direct", {"isbns": ["9780306406157"], "source": ""}, "source"),
        ("authors/enrich-bibliography", {}, "body"),
        ("authors/enrich-bibliography", {"author_name": "A", "author_key": "OL1A"}, "body"),
        ("authors/enrich-bibliography", {"author_name": "Various"}, "author"),
        ("authors/enrich-bibliography", {"author_name": " "}, "author_name"),
        ("authors/enrich-bibliography", {"author_key": "OL999999A"}, "author_key"),
        ("authors/enrich-bibliography", {"author_name": "Mary Shelley", "max_pages": 0}, "max_pages"),
        ("authors/enrich-bibliography", {"author_name": "Mary Shelley", "max_pages": 101}, "max_pages"),
        ("books/enrich-new-releases", {}, "start_month"),
        ("books/enrich-new-releases", {"start_month": "2026-13"}, "start_month"),
        ("books/enrich-new-releases", {"start_month": "October"}, "start_month"),
        ("books/enrich-new-releases", {"start_month": "2026-10", "end_month": "2026-09"}, "end_month"),
        ("books/enrich-new-releases", {"start_month": "2026-10", "end_month": "2029-01"}, "end_month"),
        (
            "books/enrich-new-releases",
            {"start_month": "2026-10", "max_pages_per_month": 0},
            "max_pages_per_month",
        ),
        (
            "books/enrich-new-releases",
            {"start_month": "2026-10", "max_pages_per_month": 101},
            "max_pages_per_month",
        ),
        ("books/enrich-new-releases", {"start_month": "2026-10", "subjects": ["no such thing"]}, "subjects"),
        ("books/enrich-new-releases", {"start_month": "2026-10", "subjects": ["--"]}, "subjects"),
        ("harvest/covers", {"batch_size": 0}, "batch_size"),
        ("harvest/covers", {"batch_size": 1001}, "batch_size"),
        ("covers/queue", {"books": []}, "books"),
        ("covers/queue", {"books": [{"isbn": "9780306406157"}] * 101}, "books"),
        ("covers/queue", {"books": [{}]}, "books[0].isbn"),
        ("harvest/gaps", {"max_units": 0}, "max_units"),
        ("harvest/updates", {"max_units": 100_001}, "max_units"),
    ],
)
async def test_bad_input_names_the_member_and_spends_nothing(
    client: Client, path: str, body: object, field: str
) -> None:
    answer = await client.post(f"/api/{path}", body)
    assert (answer.status, answer.json["field"]) == (422, field), answer.json
    assert answer.json["reason"]
    assert (await client.get("/api/runs")).json == {"runs": []}
    assert (await client.get("/api/quota/status")).json["used"] == 0


# Authors and months


def most_productive(world: World) -> str:
    """The name under which the sandbox lists most books."""
    counts: dict[str, int] = {}
    for each in world.listed:
        for name in each.authors:
            counts[name] = counts.get(name, 0) + 1
    return max(counts, key=lambda name: (counts[name], name))


async def test_a_bibliography_is_harvested_while_its_caller_waits(desk: Desk, world: World) -> None:
    name = most_productive(world)
    answer = await desk.client.post("/api/authors/enrich-bibliography", {"author_name": name})
    told = answer.json
    assert (answer.status, told["author"], told["state"], told["failed"]) == (200, name, "done", 0), told
    listed = [
        each for each in world.listed if any(name_key(other) == name_key(name) for other in each.authors)
    ]
    assert 0 < told["books_found"] <= len(listed)
    assert (told["enriched"], told["already_existed"]) == (told["books_found"], 0)
    assert told["pages_fetched"] == told["units_used"] == desk.sandbox.spent("a-key") > 0
    assert told["quota_exhausted"] is False
    again = (await desk.client.post("/api/authors/enrich-bibliography", {"author_name": name})).json
    assert (again["units_used"], again["enriched"]) == (0, 0)
    desk.clock.advance(timedelta(minutes=1))
    whole = {"author_name": name, "skip_existing": False}
    refreshed = (await desk.client.post("/api/authors/enrich-bibliography", whole)).json
    assert (refreshed["units_used"], refreshed["enriched"]) == (told["units_used"], 0)
    key = (await desk.client.get("/api/authors/top", params={"limit": "1"})).json["authors"][0]["key"]
    by_key = await desk.client.post("/api/authors/enrich-bibliography", {"author_key": key, "max_pages": 1})
    assert by_key.status == 200


async def test_an_unknown_author_is_no_error_and_no_quota_is_429(open_desk: Any) -> None:
    desk = await open_desk(safe_limit=1, **WHOLE_DAY)
    nobody = {"author_name": "Zqwv Nobodyson"}
    told = (await desk.client.post("/api/authors/enrich-bibliography", nobody)).json
    assert (told["state"], told["books_found"], told["failed"]) == ("done", 0, 0)
    refused = await desk.client.post("/api/authors/enrich-bibliography", {"author_name": "Zqwv Someone Else"})
    assert refused.status == 429
    done = refused.json["done"]
    assert (done["quota_exhausted"], done["books_found"], done["state"]) == (True, 0, "paused")


async def test_new_releases_of_a_month_and_of_a_subject(desk: Desk, world: World) -> None:
    newest = max(str(each.published)[:7] for each in world.listed if len(str(each.published)) >= 7)
    told = (await desk.client.post("/api/books/enrich-new-releases", {"start_month": newest})).json
    in_month = [each for each in world.listed if str(each.published).startswith(newest)]
    assert told["state"] == "done", told
    assert 0 < told["total_books_found"] <= len(in_month)
    assert (told["months_processed"], told["newly_enriched"]) == (1, told["total_books_found"])
    subject = next(each.subjects[0] for each in in_month if each.isbn and each.subjects)
    wish = {"start_month": newest, "subjects": [subject]}
    some = await desk.client.post("/api/books/enrich-new-releases", wish)
    assert some.status == 200, some.json
    assert 0 < some.json["total_books_found"] <= told["total_books_found"]
    assert some.json["newly_enriched"] == 0, "the month's page showed them already"


# Covers


async def test_covers_are_asked_for_where_they_are_missing(desk: Desk, world: World) -> None:
    isbns = listed_isbns(world)[:30]
    await batch(desk, every(isbns))
    known = await desk.client.post("/api/covers/queue", {"books": [{"isbn": str(isbns[0])}, {"isbn": "x"}]})
    told = known.json
    assert (known.status, told["queued"] + told["asked"], told["failed"], told["units_used"]) == (
        200,
        1,
        1,
        0,
    )
    assert told["errors"][0]["isbn"] == "x"
    unknown = listed_isbns(world)[40]
    asked = (await desk.client.post("/api/covers/queue", {"books": [{"isbn": str(unknown)}]})).json
    assert (asked["asked"], asked["units_used"], asked["state"]) == (1, 1, "done")
    rest = (await desk.client.post("/api/harvest/covers", {"batch_size": 10})).json
    assert rest["queried"] == rest["units_used"] <= 10


# The feed and gaps


async def test_what_the_feed_says_has_changed_is_asked_for_again(desk: Desk, world: World) -> None:
    desk.sandbox.open_key("a-key", PRO)
    isbns = listed_isbns(world)
    for start in range(0, len(isbns), 100):
        await batch(desk, every(isbns[start : start + 100]))
    spent = desk.sandbox.spent("a-key")
    first = (await desk.client.post("/api/harvest/updates", {"max_units": 100})).json
    assert (first["state"], first["units_used"]) == ("done", 0), (
        "what was just asked for is newer than the feed"
    )
    desk.clock.advance(timedelta(hours=30))
    changed = (await desk.client.post("/api/harvest/updates", {"max_units": 100})).json
    assert changed["state"] == "done"
    assert 0 < changed["units_used"] < len(isbns) / 4
    assert desk.sandbox.spent("a-key") == changed["units_used"], "a new day began"
    assert spent > 0
    again = (await desk.client.post("/api/harvest/updates", {"max_units": 100})).json
    assert again["units_used"] == 0


async def test_a_plan_without_the_feed_is_asked_once_a_day_and_its_key_stays_in_use(
    desk: Desk, world: World
) -> None:
    refused = await desk.client.post("/api/harvest/updates", {"max_units": 100})
    assert (refused.status, refused.json["failed"]) == (200, 1), refused.json
    assert "does not include the update feed" in refused.json["errors"][0]["error"]
    later = await desk.client.post("/api/harvest/updates", {"max_units": 100})
    assert (later.status, "not asked again before" in later.json["detail"]) == (409, True)
    assert (await batch(desk, every(listed_isbns(world)[:2]))).json["found"] == 2
    desk.clock.advance(timedelta(hours=25))
    assert (await desk.client.post("/api/harvest/updates", {"max_units": 100})).status == 200


async def test_gaps_are_filled_pages_first(desk: Desk, world: World) -> None:
    name = most_productive(world)
    await desk.client.post("/api/authors/enrich-bibliography", {"author_name": name, "max_pages": 1})
    desk.clock.advance(timedelta(days=31))
    before = desk.sandbox.spent("a-key")
    told = (await desk.client.post("/api/harvest/gaps", {"max_units": 5})).json
    assert (told["state"], told["failed"]) == ("done", 0), told
    assert 0 < told["units_used"] == desk.sandbox.spent("a-key") - before <= 5
