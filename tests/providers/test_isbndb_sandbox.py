"""ISBNdb's client against the sandbox and the real quota store: what both count must agree."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from alexandria.clock import SystemClock
from alexandria.domain.catalogue import SourceRecord
from alexandria.domain.errors import (
    ProviderRefused,
    ProviderUnavailable,
    QuotaDenied,
    QuotaExhausted,
    RecordNotFound,
)
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Account, DenialReason, Lane, Policy
from alexandria.providers.gateway import Gateway
from alexandria.providers.isbndb import IsbndbProvider, edition_facts
from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from conftest import SetClock

KEY = "sandbox-key"
WHO: dict[str, Any] = {"lane": Lane.BULK, "consumer": "tests"}
POLICY = Policy(requests_per_window=100_000)
UNKNOWN = Isbn("9791000000008")


@pytest.fixture(scope="module")
def world() -> World:
    return World.invent(seed=11, authors=6, works_per_top_author=70)


class Noon(SystemClock):
    """The real clock, moved to the nearest noon, so that no test falls into the guard around midnight."""

    def __init__(self) -> None:
        now = super().now()
        self._shift = now.replace(hour=12, minute=0, second=0, microsecond=0) - now

    def now(self) -> Any:
        return super().now() + self._shift


class Rig:
    """A sandbox, a quota store and a provider between them, all at one clock."""

    def __init__(self, sandbox: Sandbox, quota: QuotaStore, provider: IsbndbProvider) -> None:
        self.sandbox, self.quota, self.provider = sandbox, quota, provider

    async def units_charged(self) -> int:
        """By our count."""
        assert await self.quota.verify() == []
        return (await self.quota.status(Account.of("isbndb", KEY), POLICY)).used


@asynccontextmanager
async def rig(
    world: World, database: Database, *, policy: Policy = POLICY, clock: Any = None, **switches: Any
) -> AsyncIterator[Rig]:
    clock = clock or Noon()
    quota = QuotaStore(database, clock)
    settings = Switches(**({"rate_q": 100_000} | switches))
    async with (
        running_sandbox(world, switches=settings, clock=clock) as sandbox,
        Gateway(quota, clock, jitter=lambda: 0.0) as gateway,
    ):
        yield Rig(sandbox, quota, IsbndbProvider(gateway, base_url=sandbox.url, key=KEY, policy=policy))


async def bibliography(provider: IsbndbProvider, name: str) -> list[SourceRecord]:
    records: list[SourceRecord] = []
    for number in range(1, 101):
        page = await provider.author_page(name, number, **WHO)
        records += page.records
        if not page.has_more:
            break
    return records


def name_of_most(world: World) -> str:
    truth = world.truth
    key = max(truth.authors, key=lambda each: len(truth.bibliographies[each]))
    return truth.authors[key].name


SHAPES: list[dict[str, Any]] = [
    *({"generation": each} for each in ("2.8.1", "2.8.0", "2.7.0", "2019", "after-2.8.1")),
    {"headers_layout": "joined", "book_containers": "maps", "book_null_fields": "null"},
    {"headers_layout": "alternate", "book_containers": "maps", "book_null_fields": "empty"},
    {"paging_short_pages": "always", "headers_t_when_left": "seconds_to_reset", "book_isbn_field": "isbn10"},
]


@pytest.mark.parametrize("switches", SHAPES, ids=lambda each: "-".join(map(str, each.values())))
async def test_every_generation_and_shape_gives_the_same_books(
    switches: dict[str, Any], world: World, database: Database
) -> None:
    async with rig(world, database, book_dirt="off", **switches) as one:
        records = await bibliography(one.provider, name_of_most(world))
        titles = {str(each.isbn): each.title for each in world.truth.editions.values() if each.isbn}
        assert len(records) > 50
        for record in records:
            facts = edition_facts(record).facts
            assert facts.title
            assert titles[record.key].startswith(facts.title)
        assert await one.units_charged() == one.sandbox.spent()


async def test_the_dirtiest_books_are_all_kept(world: World, database: Database) -> None:
    async with rig(world, database, book_dirt="off", paging_short_pages="none") as clean:
        expected = {record.key for record in await bibliography(clean.provider, name_of_most(world))}
        clean.sandbox.set_switches(Switches(rate_q=100_000, book_dirt="high", paging_short_pages="none"))
        records = await bibliography(clean.provider, name_of_most(world))
        assert len({record.key for record in records} & expected) >= 0.9 * len(expected)
        readings = [edition_facts(record) for record in records]
        assert all(reading.facts.title for reading in readings)
        assert any(reading.dropped for reading in readings)
        assert not clean.provider.shapes.counts


async def test_a_batch_is_charged_alike_on_both_sides(world: World, database: Database) -> None:
    known = [each.isbn for each in world.truth.editions.values() if each.isbn and each.in_isbndb][:30]
    known = [isbn for isbn in known if not isbn.is_reserved]
    async with rig(world, database) as one:
        batch = await one.provider.books([*known, UNKNOWN], **WHO)
        assert {record.key for record in batch.records} == {str(isbn) for isbn in known}
        assert batch.absent == (UNKNOWN,)
        assert batch.units == await one.units_charged() == one.sandbox.spent() == len(known) + 1


async def test_a_batch_that_is_too_long_for_one_answer_comes_in_halves(
    world: World, database: Database
) -> None:
    known = [each.isbn for each in world.truth.editions.values() if each.isbn and each.in_isbndb][:40]
    known = [isbn for isbn in known if not isbn.is_reserved]
    async with rig(world, database) as one:
        one.sandbox.faults.add(FaultKind.ERROR_500, endpoint="bulk", count=1)
        batch = await one.provider.books(known, **WHO)
        assert {record.key for record in batch.records} == {str(isbn) for isbn in known}
        assert await one.units_charged() == 2 * len(known)


async def test_after_one_fault_the_page_comes_and_our_count_is_never_below_the_provider_s(
    world: World, database: Database
) -> None:
    async with rig(world, database, clock=SetClock()) as one:
        for number, fault in enumerate(ONE_MORE_ATTEMPT, 1):
            one.sandbox.faults.add(fault, endpoint="author", count=1, seconds=0.01)
            page = await one.provider.author_page(name_of_most(world), 1, **WHO)
            assert page.records, fault
            assert len(one.sandbox.calls) == 2 * number, fault
            assert await one.units_charged() == 2 * number >= one.sandbox.spent(), fault


ONE_MORE_ATTEMPT = (
    FaultKind.ERROR_500,
    FaultKind.UNAVAILABLE_503,
    FaultKind.TRUNCATED_JSON,
    FaultKind.CUT_BODY,
    FaultKind.DROP_BEFORE,
    FaultKind.DROP_AFTER,
    FaultKind.HTML_BODY,
    FaultKind.GZIP_CUT,
)


async def test_a_fault_that_stays_is_a_failure_after_three_attempts(world: World, database: Database) -> None:
    async with rig(world, database, clock=SetClock()) as one:
        one.sandbox.faults.add(FaultKind.DROP_AFTER, endpoint="author")
        with pytest.raises(ProviderUnavailable):
            await one.provider.author_page(name_of_most(world), 1, **WHO)
        assert len(one.sandbox.calls) == await one.units_charged() == one.sandbox.spent() == 3


async def test_a_per_minute_429_is_waited_out(world: World, database: Database) -> None:
    async with rig(world, database, clock=SetClock()) as one:
        one.sandbox.faults.add(FaultKind.RATE_429, count=1)
        assert (await one.provider.author_page(name_of_most(world), 1, **WHO)).records


@pytest.mark.parametrize("body", ["error_message", "with_code"])
async def test_a_spent_day_closes_it_for_everybody_whatever_the_body(
    body: str, world: World, database: Database
) -> None:
    async with rig(world, database, daily_total=3, errors_body=body) as one:
        await one.provider.author_page(name_of_most(world), 1, **WHO)
        one.sandbox.spend_elsewhere(2)
        for _ in range(2):
            with pytest.raises(QuotaExhausted):
                await one.provider.author_page(name_of_most(world), 1, **WHO)
        assert len(one.sandbox.calls) == 2


async def test_the_key_is_asked_for_nothing(world: World, database: Database) -> None:
    async with rig(world, database) as one:
        await one.provider.author_page(name_of_most(world), 1, **WHO)
        status = await one.provider.key(**WHO)
        assert (status.total, status.spent, status.left) == (15_000, 1, 14_999)
        assert await one.units_charged() == 1


async def test_the_safe_limit_is_never_passed_by_callers_at_once(world: World, database: Database) -> None:
    policy = Policy(safe_limit=5, requests_per_window=100_000, longest_wait=timedelta(seconds=1))
    async with rig(world, database, policy=policy) as one:
        asking = (one.provider.author_page(name_of_most(world), 1, **WHO) for _ in range(12))
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(each, QuotaDenied) or not isinstance(each, BaseException) for each in results)
        assert one.sandbox.spent() == await one.units_charged() <= 5
        assert any(isinstance(each, QuotaDenied) for each in results)


async def test_an_unknown_key_stops_everybody_until_a_person_resumes(
    world: World, database: Database
) -> None:
    async with rig(world, database) as one:
        account = Account.of("isbndb", KEY)
        one.sandbox.faults.add(FaultKind.EMPTY_403, endpoint="author", count=1)
        with pytest.raises(ProviderRefused):
            await one.provider.author_page(name_of_most(world), 1, **WHO)
        with pytest.raises(QuotaDenied) as denial:
            await one.provider.author_page(name_of_most(world), 1, **WHO)
        assert denial.value.reason == DenialReason.SUSPENDED
        assert await one.quota.resume(account)
        assert (await one.provider.author_page(name_of_most(world), 1, **WHO)).records


async def test_an_unknown_book_is_absent(world: World, database: Database) -> None:
    async with rig(world, database) as one:
        with pytest.raises(RecordNotFound):
            await one.provider.book(UNKNOWN, **WHO)
        assert await one.units_charged() == one.sandbox.spent() == 1


async def test_the_feed_of_a_plan_without_it_leaves_the_key_alone(world: World, database: Database) -> None:
    async with rig(world, database) as one:
        with pytest.raises(ProviderRefused, match="not part of this plan"):
            await one.provider.updates(**WHO)
        assert (await one.provider.author_page(name_of_most(world), 1, **WHO)).records


@pytest.mark.parametrize("mode", ["cursor", "page"])
async def test_the_feed_is_followed_to_its_end(mode: str, world: World, database: Database) -> None:
    async with rig(world, database, feed_mode=mode, feed_minimum_plan="Premium") as one:
        found, cursor = 0, None
        for number in range(1, 200):
            page = await one.provider.updates(cursor=cursor, page=number, page_size=50, **WHO)
            found, cursor = found + len(page.updates), page.cursor
            if not page.has_more:
                break
        assert found > 0
        assert not page.has_more
        assert await one.units_charged() == one.sandbox.spent() == 0


@pytest.mark.parametrize("unknown", ["empty_200", "404"])
async def test_an_unknown_name_is_an_empty_page(unknown: str, world: World, database: Database) -> None:
    async with rig(world, database, names_unknown=unknown) as one:
        page = await one.provider.author_page("Nobody Of That Name", 1, **WHO)
        assert (page.records, page.has_more) == ((), False)


async def test_a_cover_comes_from_an_allowed_host_only(world: World, database: Database) -> None:
    async with (
        running_sandbox(world, switches=Switches(book_dirt="off")) as sandbox,
        Gateway(QuotaStore(database, Noon()), Noon()) as gateway,
    ):
        provider = IsbndbProvider(gateway, base_url=sandbox.url, key=KEY, policy=POLICY)
        page = await provider.author_page(name_of_most(world), 1, **WHO)
        url = next(found for record in page.records if (found := edition_facts(record).facts.cover_url))
        with pytest.raises(ProviderRefused):
            await gateway.download(url, most_bytes=10_000_000, timeout_seconds=5)
        host = sandbox.covers_url.removeprefix("http://")
        answer = await gateway.download(
            url, most_bytes=10_000_000, timeout_seconds=5, allowed_hosts=frozenset({host})
        )
        assert answer.body
