"""The gateway, the coordinator on PostgreSQL and a provider that counts: what each learns from the other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from alexandria.domain.errors import (
    ConfigurationError,
    ProviderRefused,
    ProviderUnavailable,
    QuotaDenied,
    QuotaExhausted,
    RecordNotFound,
)
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import ARRIVAL_SPAN, Account, DenialReason, Lane, Policy, Rate
from alexandria.domain.quota_status import Status
from alexandria.providers.calls import Answer, Call, Meaning, Source, Verdict
from alexandria.providers.gateway import Gateway
from alexandria.providers.isbndb import IsbndbProvider
from alexandria.providers.policies import POLICIES
from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from conftest import SetClock
from providers.conftest import ScriptedServer

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
SECOND = timedelta(seconds=1)
POLICY = replace(POLICIES["isbndb"], hard_limit=60, safe_limit=50, requests_per_window=100_000)
WHO: dict[str, Any] = {"lane": Lane.INTERACTIVE, "consumer": "tests"}


@pytest.fixture(scope="module")
def world() -> World:
    return World.invent(seed=5, authors=6, works_per_top_author=5)


@dataclass
class Rig:
    """A provider, its clock and ours, and what our coordinator says."""

    sandbox: Sandbox
    quota: QuotaStore
    gateway: Gateway
    provider: IsbndbProvider
    clock: SetClock

    async def call(self) -> None:
        """One page, for one unit."""
        await self.provider.author_page("Somebody Unknown", 1, **WHO)

    async def status(self) -> Status:
        return await self.quota.status(self.provider.source.account, self.provider.source.policy)

    def asked(self) -> list[str]:
        """The kinds of request that reached the provider."""
        return [call.endpoint for call in self.sandbox.calls]


@asynccontextmanager
async def rig(
    world: World, database: Database, *, policy: Policy = POLICY, now: datetime = NOON, **switches: Any
) -> AsyncIterator[Rig]:
    clock = SetClock(now)
    settings = Switches(**({"rate_q": 200_000, "daily_total": 60} | switches))
    quota = QuotaStore(database, clock)
    async with (
        running_sandbox(world, switches=settings, clock=clock) as sandbox,
        Gateway(quota, clock, jitter=lambda: 0.0) as gateway,
    ):
        provider = IsbndbProvider(gateway, base_url=sandbox.url, key="sandbox-key", policy=policy)
        yield Rig(sandbox, quota, gateway, provider, clock)


# The count comes first


async def test_no_unit_is_spent_before_the_provider_was_asked_for_its_count(
    world: World, database: Database
) -> None:
    async with rig(world, database) as one:
        one.sandbox.spend_elsewhere(20)
        await one.call()
        await one.call()
        assert one.asked() == ["key", "author", "author"]
        status = await one.status()
        assert (status.used, status.settled, status.foreign) == (22, 2, 20)
        assert status.is_confirmed
        assert status.as_json()["provider_count"] == {
            "total": 60,
            "spent": 20,
            "read_at": "2026-11-23T12:00:00+00:00",
        }


async def test_a_provider_that_does_not_tell_its_count_is_sent_nothing_else(
    world: World, database: Database
) -> None:
    async with rig(world, database) as one:
        one.sandbox.faults.add(FaultKind.ERROR_500, endpoint="key")
        with pytest.raises(QuotaDenied) as denied:
            await one.call()
        # After five failures in a row, also this free call is left alone for a while.
        assert denied.value.reason in {DenialReason.UNCONFIRMED, DenialReason.BREAKER}
        assert set(one.asked()) == {"key"}
        assert (await one.status()).used == 0


async def test_every_process_asks_before_its_first_unit_and_then_no_more(
    world: World, database: Database
) -> None:
    async with rig(world, database) as one:
        await one.call()
        for expected in (2, 3):
            quota = QuotaStore(database, one.clock)
            async with Gateway(quota, one.clock) as gateway:
                other = IsbndbProvider(gateway, base_url=one.sandbox.url, key="sandbox-key", policy=POLICY)
                for _ in range(2):
                    await other.author_page("Somebody Unknown", 1, **WHO)
            assert one.asked().count("key") == expected
            one.clock.advance(timedelta(minutes=5))


# Evidence


async def test_every_answer_tells_the_count_the_pace_and_the_clock(world: World, database: Database) -> None:
    async with rig(world, database, rate_q=77, daily_clock_skew=300) as one:
        await one.call()
        one.sandbox.spend_elsewhere(7)
        await one.call()
        status = await one.status()
        assert (status.used, status.foreign) == (9, 7)
        assert status.state.rate == Rate(77, 60 * SECOND)
        assert abs(status.state.ahead - 300 * SECOND) <= 2 * SECOND


async def test_somebody_else_s_use_is_noticed_before_the_limit_is_passed(
    world: World, database: Database
) -> None:
    async with rig(world, database) as one:
        await one.call()
        one.sandbox.spend_elsewhere(40)
        for _ in range(9):
            await one.call()
        with pytest.raises(QuotaExhausted):
            await one.call()
        assert one.sandbox.spent_by_subscription() == POLICY.safe_limit
        assert one.sandbox.spent() == 10


async def test_what_is_charged_for_answers_that_cost_nothing_comes_back_with_the_count(
    world: World, database: Database
) -> None:
    """What a miss costs is not documented: it stays charged until the provider's count tells."""
    async with rig(world, database, cost_miss=0) as one:
        for _ in range(3):
            with pytest.raises(RecordNotFound):
                await one.provider.book(Isbn("9780306406157"), **WHO)
        await one.call()
        status = await one.status()
        assert (status.used, status.settled, status.unresolved) == (4, 1, 3)
        one.clock.advance(ARRIVAL_SPAN + timedelta(minutes=1))
        told = await one.gateway.recount(one.provider.source)
        assert told is not None
        assert (told.before, told.after) == (4, 1)
        status = await one.status()
        assert (status.used, status.settled, status.unresolved, status.foreign) == (1, 1, 0, 0)
        assert await one.quota.verify() == []


async def test_a_miss_among_the_day_s_last_units_holds_nobody_up(world: World, database: Database) -> None:
    """Its answer came, so it is not on its way any more; only its cost is not known."""
    async with rig(world, database) as one:
        for _ in range(POLICY.safe_limit - 2):
            await one.call()
        with pytest.raises(RecordNotFound):
            await one.provider.book(Isbn("9780306406157"), **WHO)
        began_at = one.clock.now()
        await one.call()
        assert one.clock.now() - began_at < 5 * SECOND
        assert one.sandbox.spent() == POLICY.safe_limit


@pytest.mark.parametrize("fault", [FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER])
async def test_after_lost_answers_the_day_still_ends_at_exactly_the_limit(
    fault: FaultKind, world: World, database: Database
) -> None:
    async with rig(world, database) as one:
        one.sandbox.faults.add(fault, endpoint="author", count=4)
        with pytest.raises(ProviderUnavailable):
            await one.call()
        for _ in range(200):
            try:
                await one.call()
            except QuotaExhausted:
                break
            except (QuotaDenied, ProviderUnavailable):
                one.clock.advance(10 * SECOND)
                await one.quota.expire()
        assert one.sandbox.spent() == POLICY.safe_limit
        assert await one.quota.verify() == []


# Stops and the breaker


async def test_a_key_that_is_taken_again_is_found_out_by_a_free_call(
    world: World, database: Database
) -> None:
    async with rig(world, database) as one:
        await one.call()
        one.sandbox.faults.add(FaultKind.EMPTY_403, endpoint="author", count=1)
        with pytest.raises(ProviderRefused):
            await one.call()
        with pytest.raises(QuotaDenied) as denied:
            await one.call()
        assert denied.value.reason == DenialReason.SUSPENDED
        assert await one.gateway.recount(one.provider.source, only_if_due=True) is None
        one.clock.advance(10 * SECOND)
        assert await one.gateway.recount(one.provider.source, only_if_due=True) is not None
        await one.call()

        # Refused again within the hour: the latch stays, or every call would be a try.
        one.sandbox.faults.add(FaultKind.EMPTY_403, endpoint="author", count=1)
        with pytest.raises(ProviderRefused):
            await one.call()
        one.clock.advance(timedelta(minutes=50))
        assert await one.gateway.recount(one.provider.source, only_if_due=True) is None
        one.clock.advance(timedelta(minutes=15))
        assert await one.gateway.recount(one.provider.source, only_if_due=True) is not None
        await one.call()


async def test_a_provider_that_fails_is_left_alone_and_tried_now_and_then(
    world: World, database: Database
) -> None:
    async with rig(world, database) as one:
        await one.call()
        one.sandbox.faults.add(FaultKind.UNAVAILABLE_503, endpoint="author", count=6, seconds=1)
        failures = 0
        while failures < 5:
            with pytest.raises((ProviderUnavailable, QuotaDenied)):
                await one.call()
            failures = (await one.status()).state.failures.count
        received = len(one.sandbox.calls)
        with pytest.raises(QuotaDenied) as denied:
            await one.call()
        assert denied.value.reason == DenialReason.BREAKER
        assert len(one.sandbox.calls) == received
        for _ in range(20):
            one.clock.advance(10 * SECOND)
            try:
                await one.call()
                break
            except (ProviderUnavailable, QuotaDenied):
                continue
        assert (await one.status()).state.failures.count == 0
        # What the failed calls cost, the provider's count tells as soon as it is well.
        one.clock.advance(2 * SECOND)
        assert await one.gateway.recount(one.provider.source, only_if_due=True) is not None


# Midnight


@pytest.mark.parametrize("skew", [-700, -3, 0, 3, 700])
async def test_a_new_day_begins_when_the_provider_says_so(
    skew: int, world: World, database: Database
) -> None:
    """The provider's clock differs from ours; its day changes at its own midnight, and neither day gets more than its limit."""
    async with rig(world, database, now=MIDNIGHT - timedelta(minutes=13), daily_clock_skew=skew) as one:
        per_day: dict[str, int] = {}
        reasons: set[str] = set()
        for _ in range(400):
            provider_now = one.clock.now() + skew * SECOND
            try:
                await one.call()
                per_day[provider_now.date().isoformat()] = one.sandbox.spent()
            except QuotaDenied as denied:
                reasons.add(denied.reason)
            one.clock.advance(5 * SECOND)
        # A provider that is ahead has but a minute left of its day.
        assert per_day == {"2026-11-23": 15 if skew == 700 else 50, "2026-11-24": 50}
        assert reasons <= {"exhausted", "guard", "unconfirmed"}
        assert await one.quota.verify() == []
        assert all(call.status == 200 for call in one.sandbox.calls)


# Other providers: a policy is data


async def test_a_provider_that_wants_a_contact_is_told_it_and_not_asked_without_one(
    database: Database, server: ScriptedServer
) -> None:
    clock = SetClock()
    quota = QuotaStore(database, clock)
    source = Source(Account.of("openlibrary", ""), POLICIES["openlibrary"], read_plainly)
    call = Call("GET", f"{server.url}/works/OL1W.json", 0, Lane.INTERACTIVE, "tests")
    server.replies = [web.Response(text="{}")]
    async with Gateway(quota, clock) as gateway:
        with pytest.raises(ConfigurationError, match="ALEXANDRIA_CONTACT"):
            await gateway.send(call, source=source)
    assert server.received == []
    async with Gateway(quota, clock, contact="https://example.org/about; me@example.org") as gateway:
        began_at = clock.now()
        for _ in range(4):
            await gateway.send(call, source=source)
        # Three a second: the fourth goes out more than a second after the first.
        assert clock.now() - began_at > SECOND
    assert server.received[0].headers["User-Agent"].endswith(" (+https://example.org/about; me@example.org)")


async def test_a_query_of_wikidata_gives_back_the_seconds_that_it_did_not_take(
    database: Database, server: ScriptedServer
) -> None:
    clock = SetClock()
    source = Source(Account.of("wikidata", ""), POLICIES["wikidata"], read_plainly)
    call = Call(
        "GET",
        f"{server.url}/sparql",
        0,
        Lane.INTERACTIVE,
        "tests",
        requests=55,
        headers=(("X-Took", "5"),),
        most_wait_seconds=200,
    )

    async def seconds_for_three() -> float:
        began_at = clock.monotonic()
        async with Gateway(QuotaStore(database, clock), clock, contact="me@example.org") as gateway:
            for _ in range(3):
                await gateway.send(call, source=source)
        return clock.monotonic() - began_at

    server.replies = [web.Response(text="{}", headers={"X-Took": "5"})]
    # Each may take 55 of the 60 seconds, so the next one waits until so many are free again: nearly none is, had it taken them all.
    assert await seconds_for_three() < 150
    clock.advance(timedelta(minutes=10))
    server.replies = [web.Response(text="{}", headers={"X-Took": "55"})]
    assert await seconds_for_three() > 200


async def test_google_s_daily_thousand_is_counted_by_pacific_days(
    database: Database, server: ScriptedServer
) -> None:
    clock = SetClock(datetime(2026, 11, 23, 7, 50, tzinfo=UTC))
    policy = replace(POLICIES["google-books"], hard_limit=4, safe_limit=3)
    source = Source(Account.of("google-books", "a key"), policy, read_plainly)
    call = Call("GET", f"{server.url}/volumes", 1, Lane.INTERACTIVE, "tests")
    server.replies = [web.Response(text="{}")]
    async with Gateway(QuotaStore(database, clock), clock) as gateway:
        for _ in range(3):
            await gateway.send(call, source=source)
        with pytest.raises(QuotaExhausted) as exhausted:
            await gateway.send(call, source=source)
        assert exhausted.value.retry_at == datetime(2026, 11, 23, 8, 1, tzinfo=UTC)
        clock.advance(exhausted.value.retry_at - clock.now())
        await gateway.send(call, source=source)
    assert len(server.received) == 4


def read_plainly(call: Call, answer: Answer) -> Verdict:
    """A reader of a provider that says how much of its time a query took."""
    took = answer.line("x-took")
    return Verdict(Meaning.DELIVERED, is_certain=True, requests_spent=int(took) if took else None)
