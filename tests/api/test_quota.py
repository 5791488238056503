"""Programs outside reserve, settle and release over HTTP, and take their units from the same day as everybody."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from alexandria.api.problems import refusal_of, respond
from alexandria.app import running_app
from alexandria.config import Config
from alexandria.domain.errors import QuotaDenied
from alexandria.domain.quota import Account, DenialReason, Lane, Policy, Request
from alexandria.sandbox.server import Sandbox, Switches, running_sandbox
from alexandria.sandbox.world import World
from alexandria.server import serving
from alexandria.stores.postgres import Database
from alexandria.stores.quota import COUNT_LEASE, QuotaStore
from conftest import SetClock

RESERVATIONS = "/api/quota/reservations"
ACCOUNT = Account.of("isbndb", "sandbox-key")
NIGHTLY, SHOP, ADMIN = "nightly-token-0123", "shop-token-01234567", "admin-token-0123456"
PROGRAMS = f"nightly:bulk:20:{NIGHTLY} shop:interactive:-:{SHOP}"
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Site:
    """A server over a database of its own, the sandbox that it asks, and their common clock."""

    address: str
    session: aiohttp.ClientSession
    clock: SetClock
    sandbox: Sandbox
    database: Database
    config: Config
    quota: QuotaStore

    async def ask(
        self, method: str, path: str = "", body: object = None, *, token: str = NIGHTLY, **options: Any
    ) -> tuple[int, Any]:
        """Status and body."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Content-Type": "application/json"} | options.pop("headers", {})
        given = {"data": body} if isinstance(body, str | bytes) else {"json": body}
        url = self.address + (path if path.startswith("/api") else f"{RESERVATIONS}{path}")
        async with self.session.request(method, url, headers=headers, **given, **options) as answer:
            content = await answer.json(content_type=None)
            content["retry-after"] = answer.headers.get("Retry-After")
            return answer.status, content

    async def reserve(self, units: int = 1, *, token: str = NIGHTLY, **members: Any) -> tuple[int, Any]:
        """POST, after a second of which the pace is in no one's way."""
        self.clock.advance(SECOND)
        return await self.ask("POST", "", {"units": units, **members}, token=token)

    async def end(self, id: str, state: str, *, token: str = NIGHTLY, **members: Any) -> tuple[int, Any]:  # noqa: A002
        """PUT."""
        return await self.ask("PUT", f"/{id}", {"state": state, **members}, token=token)

    async def status(self) -> Any:
        """How the day stands."""
        return (await self.ask("GET", "/api/quota/status", token=""))[1]

    async def rows(self) -> list[Any]:
        """Every row that the quota keeps."""
        tables = ("quota_accounts", "quota_windows", "quota_reservations", "quota_ledger")
        found = []
        async with self.database.connection() as connection:
            for table in tables:
                query = f"SELECT {table}::text FROM {table} ORDER BY 1"  # noqa: S608 - names from above
                found.append(await (await connection.execute(query.encode())).fetchall())
        return found


StartSite = Callable[..., Any]
WORLD = World.invent(seed=3, authors=2)


@pytest.fixture
async def start_site(own_database_url: str, make_config: Any, clock: SetClock) -> AsyncIterator[StartSite]:
    """Start a server and a sandbox at noon; they end with the test."""
    async with AsyncExitStack() as stack:

        async def start(**settings: object) -> Site:
            sandbox = await stack.enter_async_context(
                running_sandbox(WORLD, clock=clock, switches=Switches(rate_q=100_000))
            )
            given = {
                "isbndb_key": "sandbox-key",
                "isbndb_url": sandbox.url,
                "api_tokens": ADMIN,
                "quota_tokens": PROGRAMS,
            }
            config = make_config(**given | settings)
            server = await stack.enter_async_context(
                serving(config, own_database_url, with_worker=False, clock=clock)
            )
            session = await stack.enter_async_context(aiohttp.ClientSession())
            database = await stack.enter_async_context(Database.open(own_database_url))
            return Site(
                server.address, session, clock, sandbox, database, config, QuotaStore(database, clock)
            )

        yield start


@pytest.fixture
async def site(start_site: StartSite) -> Site:
    started: Site = await start_site()
    return started


# Reserving


async def test_what_a_program_reserves_is_charged_to_it_and_shown(site: Site) -> None:
    status, body = await site.reserve(3, job="nightly list")
    assert status == 201
    assert {
        name: body[name] for name in ("provider", "day", "lane", "consumer", "job", "units", "state")
    } == {
        "provider": "isbndb",
        "day": "2026-11-23",
        "lane": "bulk",
        "consumer": "external-nightly",
        "job": "nightly list",
        "units": 3,
        "state": "reserved",
    }
    assert (await site.ask("GET", f"/{body['id']}"))[1] == body
    shown = await site.status()
    assert (shown["used"], shown["units"]["reserved"]) == (3, 3)
    assert {each["consumer"] for each in shown["consumers"]} == {"external-nightly", "reconciliation"}


async def test_spans_lead_to_the_slot_on_any_clock(site: Site) -> None:
    await site.reserve(token=SHOP)
    _, body = await site.ask("POST", "", {"units": 1}, token=SHOP)
    slot, end = (datetime.fromisoformat(body[name]) for name in ("not_before", "use_before"))
    wait = slot - site.clock.now()
    assert wait > timedelta(0)
    assert 0 <= body["wait_seconds"] - wait.total_seconds() < 0.001
    assert 0 <= (end - site.clock.now()).total_seconds() - body["use_within_seconds"] < 0.001
    site.clock.advance(SECOND)
    _, later = await site.ask("GET", f"/{body['id']}", token=SHOP)
    assert later["wait_seconds"] == 0
    assert later["use_within_seconds"] == pytest.approx(body["use_within_seconds"] - 1, abs=0.002)
    site.clock.advance(10 * SECOND)
    assert (await site.ask("GET", f"/{body['id']}", token=SHOP))[1]["use_within_seconds"] == 0


async def test_the_same_request_id_is_charged_once(site: Site) -> None:
    own_id = str(uuid4())
    wish = {"units": 5, "request_id": own_id}
    assert [(await site.ask("POST", "", wish))[0] for _ in range(3)] == [201, 200, 200]
    assert (await site.status())["used"] == 5
    before = await site.rows()
    for other in ({"units": 6}, {"units": 5, "job": "another"}, {"units": 5, "requests": 2}):
        status, problem = await site.ask("POST", "", {**wish, **other})
        assert (status, problem["field"]) == (422, "request_id")
    status, problem = await site.ask("POST", "", wish, token=SHOP)
    assert (status, problem["field"]) == (422, "request_id")
    assert await site.rows() == before
    await site.end(own_id, "settled")
    status, problem = await site.ask("POST", "", wish)
    assert (status, problem["field"]) == (422, "request_id")
    assert (await site.status())["used"] == 5


async def test_a_lane_above_the_tokens_own_is_refused(site: Site) -> None:
    for lane in ("interactive", "scheduled"):
        status, problem = await site.reserve(lane=lane)
        assert (status, problem["field"], problem["type"][-9:]) == (403, "lane", "forbidden")
    for lane in ("interactive", "scheduled", "bulk"):
        assert (await site.reserve(lane=lane, token=SHOP))[1]["lane"] == lane
    assert (await site.reserve(token=SHOP))[1]["lane"] == "interactive"
    status, problem = await site.reserve(consumer="shop")
    assert (status, problem["field"]) == (403, "consumer")


async def test_a_ceiling_holds_for_its_program_alone(site: Site) -> None:
    assert (await site.reserve(15))[0] == 201
    before = await site.rows()
    status, problem = await site.reserve(6)
    assert (status, problem["type"], problem["reason"]) == (
        429,
        "urn:alexandria:problem:quota-limited",
        "ceiling",
    )
    assert await site.rows() == before
    assert (await site.reserve(6, token=SHOP))[0] == 201
    assert (await site.reserve(5))[0] == 201


async def test_who_may_do_everything_reserves_in_a_programs_name(site: Site, start_site: StartSite) -> None:
    for name, consumer in ((None, "external-api"), ("reader-2", "external-reader-2")):
        status, body = await site.reserve(token=ADMIN, consumer=name)
        assert (status, body["consumer"], body["lane"]) == (201, consumer, "bulk")
    open_site = await start_site(api_tokens=None, quota_tokens=None)
    assert (await open_site.reserve(token="", consumer="local"))[1]["consumer"] == "external-local"


# Refusals


async def stop(site: Site, reason: DenialReason, until: datetime | None) -> None:
    await site.quota.stop(ACCOUNT, until=until, reason=reason, detail="said so")


async def test_what_the_quota_has_no_room_for_is_429_with_its_reason(start_site: StartSite) -> None:
    site = await start_site(safe_limit=100, interactive_percent=10, scheduled_percent=0)
    status, reserved = await site.reserve(11, token=ADMIN)
    assert status == 201
    await site.end(reserved["id"], "settled", token=ADMIN)
    status, problem = await site.reserve(85, token=ADMIN)
    assert (status, problem["reason"]) == (429, "share")
    status, problem = await site.reserve(90, token=SHOP)
    assert (status, problem["reason"], problem["type"][-9:]) == (429, "exhausted", "exhausted")
    until_opening = datetime(2026, 11, 24, 0, 0, 5, tzinfo=UTC) - site.clock.now()
    assert int(problem["retry-after"]) == pytest.approx(until_opening.total_seconds(), abs=2)
    for _ in range(5):
        status, problem = await site.ask("POST", "", {"units": 0})
    assert (status, problem["reason"], problem["retry-after"]) == (429, "paced", "1")
    assert 0 < problem["retry_after_seconds"] < 1


async def test_what_nobody_gets_is_503_with_its_reason(site: Site) -> None:
    assert (await site.reserve())[0] == 201
    await stop(site, DenialReason.BREAKER, site.clock.now() + 30.5 * SECOND)
    status, problem = await site.ask("POST", "", {"units": 1})
    assert (status, problem["reason"], problem["retry-after"]) == (503, "breaker", "31")
    await stop(site, DenialReason.SUSPENDED, None)
    status, problem = await site.ask("POST", "", {"units": 1})
    assert (status, problem["reason"], problem["retry-after"]) == (503, "suspended", None)
    await site.quota.resume(ACCOUNT)
    site.clock.advance(datetime(2026, 11, 23, 23, 59, 57, tzinfo=UTC) - site.clock.now())
    status, problem = await site.ask("POST", "", {"units": 1})
    assert (status, problem["reason"], problem["retry-after"]) == (503, "guard", "8")


async def test_the_server_asks_for_an_unknown_count_itself(site: Site) -> None:
    site.sandbox.spend_elsewhere(400)
    assert (await site.reserve(7))[0] == 201
    assert [each.endpoint for each in site.sandbox.calls] == ["key"]
    assert (await site.status())["used"] == 407


@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_count_that_can_not_be_had_is_503_and_soon_over(start_site: StartSite, is_slow: bool) -> None:
    site = await start_site(**{} if is_slow else {"isbndb_url": "http://127.0.0.1:9"})
    site.sandbox.set_switches(Switches(latency=(30, 30)))
    async with asyncio.timeout(10):
        status, problem = await site.reserve(7)
    assert (status, problem["reason"]) == (503, "unconfirmed")
    assert int(problem["retry-after"]) >= 1
    assert (await site.status())["used"] == 0


async def test_another_process_that_asks_for_the_count_is_waited_for_and_replaced_when_it_died(
    site: Site,
) -> None:
    await site.quota.claim_count(ACCOUNT)
    began_at = site.clock.now()
    async with asyncio.timeout(10):
        status, _ = await site.reserve(7)
    # By a clock that only our waiting moves.
    assert site.clock.now() - began_at >= COUNT_LEASE
    assert (status, [call.endpoint for call in site.sandbox.calls]) == (201, ["key"])


async def test_without_a_key_there_is_nothing_to_reserve(start_site: StartSite) -> None:
    site = await start_site(isbndb_key=None)
    status, problem = await site.reserve()
    assert (status, problem["type"][-14:]) == (503, "not-configured")


def test_the_wait_is_told_as_a_span_whatever_the_clocks_say() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    denial = QuotaDenied(
        "isbndb", DenialReason.PACED, retry_at=now + timedelta(hours=3), retry_after=timedelta(seconds=1.2)
    )
    response = respond(refusal_of(denial, now), path="/", request_id="r", now=now)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "2")


# Settling and releasing


async def test_what_was_spent_replaces_what_was_reserved_and_the_same_again_changes_nothing(
    site: Site,
) -> None:
    _, body = await site.reserve(10)
    status, settled = await site.end(body["id"], "settled", units_spent=4, outcome="40 books")
    assert (status, settled["state"], settled["units_charged"]) == (200, "settled", 4)
    assert (settled["wait_seconds"], settled["use_within_seconds"]) == (None, None)
    before = await site.rows()
    site.clock.advance(SECOND)
    assert await site.end(body["id"], "settled", units_spent=4, outcome="again") == (200, settled)
    for contradiction in (
        {"state": "settled", "units_spent": 5},
        {"state": "released"},
        {"state": "settled"},
    ):
        status, problem = await site.ask("PUT", f"/{body['id']}", contradiction)
        assert (status, problem["type"][-8:]) == (409, "conflict")
        assert "4 units" in problem["detail"]
    assert await site.rows() == before
    assert (await site.status())["used"] == 4


async def test_what_was_not_sent_comes_back_once(site: Site) -> None:
    _, body = await site.reserve(10)
    status, released = await site.end(body["id"], "released")
    assert (status, released["state"], released["units_charged"]) == (200, "released", 0)
    assert await site.end(body["id"], "released") == (200, released)
    before = await site.rows()
    for members in ({}, {"is_certain": False}, {"units_spent": 0}):
        assert (await site.end(body["id"], "settled", **members))[0] == 409
    assert await site.rows() == before
    assert (await site.status())["used"] == 0


async def test_two_who_end_it_at_once_are_told_apart(site: Site) -> None:
    _, body = await site.reserve(10)
    answers = await asyncio.gather(
        *(site.end(body["id"], "settled", units_spent=units) for units in (1, 2, 3, 4)),
        site.end(body["id"], "released"),
    )
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409, 409]
    (won,) = [shown for status, shown in answers if status == 200]
    assert (await site.status())["used"] == won["units_charged"]


async def test_more_than_was_reserved_is_charged_too_but_no_more_than_a_day(site: Site) -> None:
    _, body = await site.reserve(1)
    before = await site.rows()
    status, problem = await site.end(body["id"], "settled", units_spent=15_001)
    assert (status, problem["field"]) == (422, "units_spent")
    assert await site.rows() == before
    await site.end(body["id"], "settled", units_spent=3)
    assert (await site.status())["used"] == 3


async def test_what_was_given_up_can_be_settled_late_but_not_released(site: Site) -> None:
    _, body = await site.reserve(10)
    _, unknown = await site.reserve(2)
    assert (await site.end(unknown["id"], "settled", is_certain=False))[1]["state"] == "unresolved"
    assert (await site.end(unknown["id"], "settled", is_certain=False))[0] == 200
    site.clock.advance(timedelta(minutes=3))
    assert await site.quota.expire() == 1
    assert (await site.ask("GET", f"/{body['id']}"))[1]["state"] == "unresolved"
    before = await site.rows()
    status, problem = await site.end(body["id"], "released")
    assert status == 409
    assert "stays charged" in problem["detail"]
    assert await site.rows() == before
    status, settled = await site.end(body["id"], "settled", units_spent=1)
    assert (status, settled["state"]) == (200, "settled")
    assert (await site.status())["used"] == 3


async def test_a_program_that_vanishes_costs_its_reservation_until_the_count_is_compared(site: Site) -> None:
    _, gone = await site.reserve(10)
    site.clock.advance(timedelta(minutes=3))
    await site.quota.expire()
    shown = await site.status()
    assert (shown["used"], shown["units"]["unresolved"]) == (10, 10)
    site.clock.advance(timedelta(minutes=1))
    async with as_another_process(site) as app:
        await app.gateway.recount(app.isbndb.source)
    shown = await site.status()
    assert (shown["used"], shown["units"]["unresolved"]) == (site.sandbox.spent(), 0) == (0, 0)
    assert (await site.ask("GET", f"/{gone['id']}"))[1]["state"] == "released"
    assert await site.quota.verify() == []


def as_another_process(site: Site) -> Any:
    """The same application as a worker has it."""
    return running_app(site.config, site.database.url, clock=site.clock)


# What the provider's headers prove


async def ask_sandbox(site: Site) -> dict[str, Any]:
    """Send a call of a program's own; the headers of its answer."""
    async with site.session.get(
        f"{site.sandbox.url}/author/Nobody", headers={"Authorization": "sandbox-key"}
    ) as answer:
        assert answer.status == 200
        return {
            "date": answer.headers["Date"],
            "ratelimit": answer.headers.getall("ratelimit"),
            "ratelimit_policy": answer.headers.getall("ratelimit-policy"),
        }


async def test_headers_that_are_passed_on_show_what_others_spent(site: Site) -> None:
    _, body = await site.reserve()
    site.sandbox.spend_elsewhere(500)
    headers = await ask_sandbox(site)
    assert (await site.end(body["id"], "settled", units_spent=1, provider_headers=headers))[0] == 200
    shown = await site.status()
    assert (shown["used"], shown["units"]["foreign"]) == (501, 500)


async def test_headers_that_come_late_do_not_set_the_clock_back(site: Site) -> None:
    _, body = await site.reserve()
    headers = await ask_sandbox(site)
    site.clock.advance(timedelta(seconds=90))
    await site.end(body["id"], "settled", units_spent=1, provider_headers=headers)
    state = await site.quota.find(UUID(body["id"]))
    assert state is not None
    assert abs(state.ahead) <= SECOND


@pytest.mark.parametrize(
    ("date_in", "ratelimit", "policy"),
    [
        (timedelta(minutes=10), '"daily";r=0', '"daily";q=15000;w=86400'),
        (timedelta(days=1), '"daily";r=0', '"daily";q=15000;w=86400'),
        (timedelta(0), '"daily";r=999999999999', '"daily";q=15000;w=86400'),
        (timedelta(0), '"rate";r=0;t=86400', '"rate";q=1;w=2000000000'),
        (timedelta(0), "nonsense", ""),
        (None, '"daily";r=0', '"daily";q=15000;w=86400'),
    ],
)
async def test_headers_that_can_not_be_true_change_nothing_but_the_reservation(
    site: Site, date_in: timedelta | None, ratelimit: str, policy: str
) -> None:
    _, body = await site.reserve()
    (accounts, *_) = await site.rows()
    date = "" if date_in is None else format_datetime(site.clock.now() + date_in, usegmt=True)
    headers = {"date": date, "ratelimit": ratelimit, "ratelimit_policy": policy}
    status, settled = await site.end(body["id"], "settled", units_spent=1, provider_headers=headers)
    assert (status, settled["state"]) == (200, "settled")
    assert (await site.rows())[0] == accounts
    assert (await site.status())["used"] == 1


# Whose it is


async def test_what_is_not_ones_own_does_not_exist(site: Site) -> None:
    _, body = await site.reserve(2)
    async with as_another_process(site) as app:
        ours = Request(uuid4(), Lane.BULK, "author-bibliography", 1)
        site.clock.advance(5 * SECOND)
        await app.quota.reserve(ACCOUNT, Policy(), ours)
    before = await site.rows()
    foreign = [(body["id"], SHOP), (str(ours.request_id), NIGHTLY), (str(ours.request_id), ADMIN)]
    for id_, token in [*foreign, (str(uuid4()), NIGHTLY)]:
        for answer in (
            await site.ask("GET", f"/{id_}", token=token),
            await site.end(id_, "settled", token=token),
            await site.end(id_, "released", token=token),
        ):
            assert (answer[0], answer[1]["type"][-9:]) == (404, "not-found")
    assert await site.rows() == before
    assert (await site.end(body["id"], "settled", token=ADMIN))[0] == 200


async def test_a_programs_token_opens_nothing_else(site: Site) -> None:
    for path in (
        "/api/harvest/authors",
        "/api/runs/20261123-000000/resume",
        "/api/quota/reservationsx",
        "/x",
    ):
        status, problem = await site.ask("POST", path, {"tier": "top-100"})
        if path.startswith("/api"):
            assert (status, problem["type"][-9:]) == (403, "forbidden"), path
    assert (await site.ask("GET", "/api/runs"))[0] == 200
    for token in ("", "revoked-token-0123456", NIGHTLY[:-1]):
        assert (await site.ask("POST", "", {"units": 1}, token=token))[0] == 401
        assert (await site.ask("GET", f"/{uuid4()}", token=token))[0] == 401


async def test_a_revoked_token_is_not_taken_for_the_person_at_this_machine(start_site: StartSite) -> None:
    site = await start_site(api_tokens=None)
    assert (await site.reserve(token="revoked-token-0123456"))[0] == 401
    assert (await site.reserve())[1]["consumer"] == "external-nightly"
    assert (await site.reserve(token=""))[1]["consumer"] == "external-api"
    status, _ = await site.ask("POST", "", {"units": 1}, headers={"X-Forwarded-For": "192.168.1.2"})
    assert status == 403


# Bad input


@pytest.mark.parametrize(
    ("body", "field_"),
    [
        ({}, "units"),
        ({"units": -1}, "units"),
        ({"units": 13_001}, "units"),
        ({"units": 10**30}, "units"),
        ({"units": 1.5}, "units"),
        ({"units": "1"}, "units"),
        ({"units": True}, "units"),
        ({"units": None}, "units"),
        ({"units": 1, "requests": 0}, "requests"),
        ({"units": 1, "requests": 181}, "requests"),
        ({"units": 1, "requests": 10**12}, "requests"),
        ({"units": 1, "request_id": "not-a-uuid"}, "request_id"),
        ({"units": 1, "request_id": 7}, "request_id"),
        ({"units": 1, "lane": "fast"}, "lane"),
        ({"units": 1, "provider": "openlibrary"}, "provider"),
        ({"units": 1, "job": ""}, "job"),
        ({"units": 1, "job": "a\x00b"}, "job"),
        ({"units": 1, "job": "x" * 201}, "job"),
        ({"units": 1, "consumer": "Not A Name"}, "consumer"),
        ({"units": 1, "consumer": "x" * 41}, "consumer"),
        ({"units": 1, "colour": "red"}, "colour"),
        ([1], "body"),
        ('{"units": 1', "body"),
        ('{"units": 1' + "0" * 5000 + "}", "body"),
        (b'{"units": 1, "job": "\xff"}', "body"),
        ('{"units": 1, "job": "\\ud800"}', "job"),
        ("[" * 100_000, "body"),
    ],
)
async def test_a_bad_wish_is_named_and_changes_nothing(site: Site, body: object, field_: str) -> None:
    await site.reserve(token=ADMIN)
    before = await site.rows()
    status, problem = await site.ask("POST", "", body, token=ADMIN)
    assert (status, problem["type"][-13:], problem["field"]) == (422, "invalid-input", field_)
    assert await site.rows() == before


@pytest.mark.parametrize(
    ("body", "field_"),
    [
        ({}, "state"),
        ({"state": "expired"}, "state"),
        ({"state": "settled", "units_spent": -1}, "units_spent"),
        ({"state": "settled", "units_spent": 10**30}, "units_spent"),
        ({"state": "settled", "units_spent": "3"}, "units_spent"),
        ({"state": "settled", "is_certain": "yes"}, "is_certain"),
        ({"state": "settled", "outcome": "a\x00b"}, "outcome"),
        ({"state": "settled", "provider_headers": {"cookie": "x"}}, "provider_headers.cookie"),
        ({"state": "settled", "provider_headers": {"date": 7}}, "provider_headers.date"),
        ({"state": "settled", "provider_headers": {"ratelimit": ["x"] * 21}}, "provider_headers.ratelimit"),
        ({"state": "released", "units_spent": 1}, "units_spent"),
        ({"state": "released", "is_certain": False}, "is_certain"),
        ({"state": "released", "provider_headers": {}}, "provider_headers"),
        ({"state": "settled", "units": 1}, "units"),
        ("nonsense", "body"),
    ],
)
async def test_a_bad_ending_is_named_and_changes_nothing(site: Site, body: object, field_: str) -> None:
    _, reserved = await site.reserve()
    before = await site.rows()
    status, problem = await site.ask("PUT", f"/{reserved['id']}", body)
    assert (status, problem["field"]) == (422, field_)
    assert await site.rows() == before


async def test_an_id_that_is_none_is_named(site: Site) -> None:
    for id_ in ("1", "not-a-uuid", "7c9e6679-7425-40de-944b-4f1a9c2e7d4bx"):
        for status, problem in (
            await site.ask("GET", f"/{id_}"),
            await site.end(id_, "released"),
        ):
            assert (status, problem["field"]) == (422, "id")
