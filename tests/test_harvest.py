"""Harvesting against the sandbox: what is found, what is paid, what survives."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.errors import RaiseException

from alexandria import harvest, harvest_pages, planning
from alexandria.app import App, isbndb_account, isbndb_policy
from alexandria.domain.catalogue import RecordKind, SourceRecord
from alexandria.domain.errors import InvalidInput
from alexandria.domain.names import name_key
from alexandria.domain.quota import Lane
from alexandria.enrich import absorb
from alexandria.harvest import Next
from alexandria.load import load_into_catalogue
from alexandria.providers.isbndb import BookPage
from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.server import Sandbox
from alexandria.sandbox.world import World
from alexandria.stores.harvests import HarvestStore, Progress, RunState
from alexandria.stores.postgres import Database
from conftest import Environment, SetClock, copy_of, url_of
from harvesting import app_on, items_of, sandbox_of


@pytest.fixture(scope="session")
def world() -> World:
    """A small one, whose most productive author still fills several pages."""
    return World.invent(seed=7, authors=12, works_per_top_author=250)


@pytest.fixture(scope="session")
def template_of_world(
    server_url: str, template: str, world: World, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A database into which the world's dump was loaded once; each test gets a copy."""
    name = "template_of_world"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    files = world.write_dumps(tmp_path_factory.mktemp("dumps"), irregular_share=0)

    async def load() -> None:
        async with Database.open(url_of(server_url, name)) as database:
            await load_into_catalogue(database, [files.editions, files.authors, files.works])

    asyncio.run(load())
    return name


@pytest.fixture
def database_url(server_url: str, template_of_world: str) -> Iterator[str]:
    with copy_of(server_url, template_of_world) as url:
        yield url


@pytest.fixture
async def sandbox(world: World) -> AsyncIterator[Sandbox]:
    async with sandbox_of(world) as sandbox:
        yield sandbox


async def start(app: App, *, tier: str = "top-100", max_pages: int = 100, refresh: bool = False) -> str:
    since = app.clock.now() - (timedelta(0) if refresh else app.config.freshness)
    async with app.database.transaction() as connection:
        plan = await planning.plan_tier(
            connection, tier, max_pages=max_pages, fresh_since=since, now=app.clock.now(), whole=refresh
        )
        return await harvest.start_run(connection, plan, lane=Lane.BULK, now=app.clock.now(), parameters={})


async def take_all(app: App, run_id: str) -> list[Next]:
    """Take every open item of a run once, in this process, one after the other."""
    harvester = app.harvester
    return [(await harvester.take(run_id, item.position)).next for item in await items_of(app, run_id)]


async def progress_of(app: App, run_id: str) -> tuple[str, Progress]:
    async with app.database.connection() as connection:
        run = await harvest.get_run(connection, run_id)
        return run.state, await HarvestStore(connection).get_progress(run_id)


async def contents(app: App) -> dict[str, list[Any]]:
    """Everything the catalogue holds, less the times at which it was written."""
    tables = {
        "editions": "SELECT to_jsonb(t) - '{created_at,updated_at}'::text[] FROM editions t",
        "works": "SELECT to_jsonb(t) - '{created_at,updated_at}'::text[] FROM works t",
        "authors": "SELECT to_jsonb(t) - '{created_at,updated_at}'::text[] FROM authors t",
        "contributions": "SELECT to_jsonb(t) FROM contributions t",
        "isbns": "SELECT to_jsonb(t) FROM edition_isbns t",
        "records": "SELECT provider, kind, key, encode(content_hash, 'hex'), edition_key FROM source_records",
        "titles": "SELECT to_jsonb(t) FROM work_titles t",
        "work_authors": "SELECT to_jsonb(t) FROM work_authors t",
    }
    async with app.database.connection() as connection:
        return {
            name: sorted(map(str, await (await connection.execute(query.encode())).fetchall()))
            for name, query in tables.items()
        }


async def isbns_of(app: App) -> set[str]:
    async with app.database.connection() as connection:
        rows = await (await connection.execute("SELECT isbn FROM edition_isbns")).fetchall()
        return {row[0] for row in rows}


def listed_by(world: World, app_authors: set[str]) -> set[str]:
    """The ISBNs of the books that the sandbox lists for authors of these names."""
    keys = {name_key(name) for name in app_authors}
    return {
        str(each.isbn)
        for each in world.listed
        if each.isbn and not each.isbn.is_reserved and any(name_key(name) in keys for name in each.authors)
    }


def pages_asked(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    return Counter(
        (call.path, call.query) for call in sandbox.calls if call.status == 200 and "/author/" in call.path
    )


async def test_a_harvest_stores_what_the_provider_lists_for_its_authors(
    world: World, sandbox: Sandbox, environment_for: Environment
) -> None:
    async with app_on(environment_for(sandbox)) as app:
        run_id = await start(app)
        await take_all(app, run_id)
        state, progress = await progress_of(app, run_id)
        assert (state, progress.failed, progress.done) == (RunState.DONE, 0, progress.items)
        names = {item.name for item in await items_of(app, run_id)}
        assert listed_by(world, names) <= await isbns_of(app)
        assert progress.units == sandbox.spent("sandbox-key")
        status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
        assert status.used == sandbox.spent("sandbox-key")
        assert await app.quota.verify() == []


async def test_harvesting_the_same_authors_again_changes_nothing(
    world: World, sandbox: Sandbox, environment_for: Environment
) -> None:
    async with app_on(environment_for(sandbox)) as app:
        await take_all(app, await start(app))
        before, spent = await contents(app), sandbox.spent("sandbox-key")
        await take_all(app, await start(app))
        assert sandbox.spent("sandbox-key") == spent, "fresh pages are not asked for again"
        again = await start(app, refresh=True)
        await take_all(app, again)
        assert sandbox.spent("sandbox-key") == 2 * spent, "refresh asks again"
        assert await contents(app) == before
        assert (await progress_of(app, again))[1].editions_new == 0


async def test_stopping_between_any_two_pages_fetches_no_page_twice(
    world: World, sandbox: Sandbox, environment_for: Environment
) -> None:
    async with app_on(environment_for(sandbox)) as app:
        run_id = await start(app)
        for _ in range(200):
            open_items = [
                item for item in await items_of(app, run_id) if item.state in {"pending", "partial"}
            ]
            if not open_items:
                break
            # Another process each time, which stops as soon as it has one more page.
            turns = iter([False])
            await app.harvester.take(run_id, open_items[0].position, stopping=partial(next, turns, True))
        assert (await progress_of(app, run_id))[0] == RunState.DONE
        assert max(pages_asked(sandbox).values()) == 1
        assert any("page=3" in query for _, query in pages_asked(sandbox)), (
            "the test needs an author of several pages"
        )


async def test_a_page_that_was_paid_for_survives_the_loss_of_everything_after_it(
    world: World, sandbox: Sandbox, environment_for: Environment
) -> None:
    async with app_on(environment_for(sandbox)) as app:
        run_id = await start(app, max_pages=1)
        async with app.database.connection() as connection:
            await connection.execute(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk on fire'; END $$"
            )
            await connection.execute(
                "CREATE TRIGGER fail BEFORE INSERT ON contributions EXECUTE FUNCTION fail()"
            )
            with pytest.raises(RaiseException):
                await app.harvester.take(run_id, 1)
            await connection.execute("DROP TRIGGER fail ON contributions")
        spent = sandbox.spent("sandbox-key")
        assert spent == 1
        assert "disk on fire" in str((await items_of(app, run_id))[0].reason)
        async with app.database.transaction() as connection:
            await harvest.resume_run(connection, run_id, now=app.clock.now(), retry_failed=True)
        await app.harvester.take(run_id, 1)
        assert sandbox.spent("sandbox-key") == spent
        item = (await items_of(app, run_id))[0]
        assert item.editions_found > 0
        assert item.units == spent


async def test_quota_gone_in_mid_run_pauses_it_until_the_reset_and_loses_nothing(
    world: World, environment_for: Environment
) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox, safe_limit=5), clock=clock) as app,
    ):
        run_id = await start(app)
        outcomes = await take_all(app, run_id)
        assert Next.PAUSED in outcomes
        assert sandbox.spent("sandbox-key") == 5
        async with app.database.connection() as connection:
            run = await harvest.get_run(connection, run_id)
        assert run.state == RunState.PAUSED
        assert run.resumes_at is not None
        assert run.resumes_at.date() == (clock.now() + timedelta(days=1)).date()
        for _ in range(20):
            clock.advance(run.resumes_at - clock.now() + timedelta(seconds=1))
            async with app.database.transaction() as connection:
                await harvest.resume_run(connection, run_id, now=clock.now())
            await take_all(app, run_id)
            async with app.database.connection() as connection:
                run = await harvest.get_run(connection, run_id)
            if run.state == RunState.DONE or run.resumes_at is None:
                break
        assert run.state == RunState.DONE
        assert max(pages_asked(sandbox).values()) == 1


EVERY_FAULT = [kind for kind in FaultKind if kind is not FaultKind.LATENCY]


@pytest.mark.parametrize("kind", EVERY_FAULT)
async def test_a_fault_of_the_provider_ends_in_the_right_catalogue_or_a_clear_report(
    kind: FaultKind, world: World, environment_for: Environment
) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):
        sandbox.faults.add(kind, endpoint="author", count=2, skip=1, seconds=2)
        run_id = await start(app)
        await finish(app, clock, run_id)
        state, progress = await progress_of(app, run_id)
        assert state == RunState.DONE
        failed = {item.name: item.reason for item in await items_of(app, run_id) if item.state == "failed"}
        assert all(failed.values()), "what failed says why"
        names = {item.name for item in await items_of(app, run_id)} - set(failed)
        assert listed_by(world, names) <= await isbns_of(app)
        assert not [item for item in await items_of(app, run_id) if item.state == "empty"]
        assert progress.done + progress.failed == progress.items
        assert await app.quota.verify() == []


async def test_faults_of_every_kind_mixed_cost_time_and_nothing_else(
    world: World, environment_for: Environment
) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):
        for kind in EVERY_FAULT:
            sandbox.faults.add(kind, endpoint="author", rate=0.07, count=3, seconds=2)
        run_id = await start(app)
        await finish(app, clock, run_id)
        # A person tries again what failed, as the report tells; by then the provider is well.
        sandbox.faults.clear()
        async with app.database.transaction() as connection:
            await harvest.resume_run(connection, run_id, now=clock.now(), retry_failed=True)
        await finish(app, clock, run_id)
        state, progress = await progress_of(app, run_id)
        assert (state, progress.failed, progress.done) == (RunState.DONE, 0, progress.items)
        names = {item.name for item in await items_of(app, run_id)}
        assert listed_by(world, names) <= await isbns_of(app)
        assert await app.quota.verify() == []


async def finish(app: App, clock: SetClock, run_id: str) -> None:
    """Take a run's items until it ends, a person resuming it and the clock moving on whenever it waits."""
    for _ in range(40):
        await take_all(app, run_id)
        async with app.database.transaction() as connection:
            run = await harvest.get_run(connection, run_id)
            if run.state == RunState.DONE:
                return
            clock.advance((run.resumes_at - clock.now()) if run.resumes_at else timedelta(minutes=2))
            await app.quota.resume(isbndb_account(app.config))
            await harvest.resume_run(connection, run_id, now=clock.now())
    raise AssertionError("the run does not end")


async def test_an_author_whom_the_provider_does_not_know_is_empty_and_no_error(
    world: World, sandbox: Sandbox, environment_for: Environment
) -> None:
    async with app_on(environment_for(sandbox)) as app:
        async with app.database.transaction() as connection:
            plan = await planning.plan_authors(
                connection,
                ["Zqwv Nobodyson"],
                max_pages=3,
                fresh_since=app.clock.now() - app.config.freshness,
                now=app.clock.now(),
            )
            run_id = await harvest.start_run(
                connection, plan, lane=Lane.BULK, now=app.clock.now(), parameters={}
            )
        await take_all(app, run_id)
        assert [item.state for item in await items_of(app, run_id)] == ["empty"]


async def test_a_dry_run_tells_the_plan_and_writes_nothing(
    world: World, sandbox: Sandbox, environment_for: Environment
) -> None:
    async with app_on(environment_for(sandbox)) as app:
        before = await contents(app)
        async with app.database.connection() as connection:
            plan = await planning.plan_tier(
                connection, "top-100", max_pages=2, fresh_since=app.clock.now(), now=app.clock.now()
            )
        assert len(plan.lines) == 12
        assert plan.units_expected >= len(plan.lines)
        assert await contents(app) == before
        assert sandbox.spent("sandbox-key") == 0


@pytest.mark.parametrize(
    ("names", "told"),
    [([""], "author"), (["  "], "author"), (["Various"], "author"), (["J"], "not the name of a person")],
)
async def test_a_name_that_is_none_is_refused(
    names: list[str], told: str, sandbox: Sandbox, environment_for: Environment
) -> None:
    async with app_on(environment_for(sandbox)) as app, app.database.connection() as connection:
        with pytest.raises(InvalidInput, match=told):
            await planning.plan_authors(
                connection, names, max_pages=1, fresh_since=app.clock.now(), now=app.clock.now()
            )


@pytest.mark.parametrize(
    ("months", "told"),
    [
        (("2026-13", "2026-13"), "no such month"),
        (("2026-10", "2026-09"), "lies before"),
        (("2031-01", "2031-01"), "more than a year ahead"),
        (("october", "october"), "is not a month"),
        (("1990-01", "2026-01"), "more than 120 months"),
    ],
)
async def test_months_that_are_none_are_refused(
    months: tuple[str, str], told: str, sandbox: Sandbox, environment_for: Environment
) -> None:
    async with app_on(environment_for(sandbox)) as app, app.database.connection() as connection:
        with pytest.raises(InvalidInput, match=told):
            await planning.plan_new_releases(
                connection, *months, today=SetClock().now(), max_pages=1, fresh_since=app.clock.now()
            )


async def test_the_tiers_follow_each_other_without_gap_or_overlap() -> None:
    ends = [offset + length for offset, length in (planning.TIERS["top-1000"], planning.TIERS["1000-5000"])]
    assert ends == [planning.TIERS["1000-5000"][0], planning.TIERS["5000-20000"][0]]


async def test_absorbing_a_page_twice_is_absorbing_it_once(
    world: World, sandbox: Sandbox, environment_for: Environment
) -> None:
    async with app_on(environment_for(sandbox)) as app:
        page = await app.isbndb.author_page(world.listed[0].authors[0], 1, lane=Lane.BULK, consumer="test")
        async with app.database.transaction() as connection:
            first = await absorb(connection, page.records)
        before = await contents(app)
        async with app.database.transaction() as connection:
            second = await absorb(connection, list(reversed(page.records)))
        assert first.editions_new > 0
        assert (second.editions_new, second.works_new, second.authors_new, second.covers_wanted) == (
            0,
            0,
            0,
            0,
        )
        assert await contents(app) == before


async def test_spellings_that_the_provider_answers_alike_are_paid_once(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    async with app_on(environment_for(sandbox)) as app:
        for name in ("Zqwv Nobodyson", "zqwv  nobodyson"):
            async with app.database.transaction() as connection:
                since = app.clock.now() - app.config.freshness
                plan = await planning.plan_authors(
                    connection, [name], max_pages=1, fresh_since=since, now=app.clock.now()
                )
                run_id = await harvest.start_run(
                    connection, plan, lane=Lane.BULK, now=app.clock.now(), parameters={}
                )
            await take_all(app, run_id)
        assert sandbox.spent("sandbox-key") == 1


async def test_a_page_that_came_forgives_the_failures_before_it(
    world: World, environment_for: Environment
) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):
        run_id = await start(app)
        # Each turn fails after the gateway's three attempts: two turns at page 1, then one at page 2.
        sandbox.faults.add(FaultKind.DROP_AFTER, endpoint="author", count=6)
        sandbox.faults.add(FaultKind.DROP_AFTER, endpoint="author", count=3, skip=7)
        harvester = app.harvester
        outcomes = []
        for _ in range(4):
            outcomes.append((await harvester.take(run_id, 1)).next)
            # Other calls come through meanwhile: the provider is well, so the breaker stays closed.
            await app.isbndb.key(lane=Lane.BULK, consumer="test")
        assert outcomes == [Next.AGAIN, Next.AGAIN, Next.AGAIN, Next.ENDED]
        item = (await items_of(app, run_id))[0]
        assert item.state == "done"
        assert item.units == sandbox.spent("sandbox-key"), "what failed was paid for, too"


@pytest.mark.parametrize(
    ("shown", "total", "page", "expected"),
    [
        (100, 250, 1, True),
        (50, 250, 3, False),
        (100, 1, 1, True),
        (100, 100, 1, False),
        (100, None, 7, True),
        (0, None, 2, False),
        (0, 900, 2, False),
        (3, 900, 2, True),
    ],
)
def test_whether_another_page_is_asked_for_follows_what_came_and_not_only_what_was_announced(
    shown: int, total: int | None, page: int, expected: bool
) -> None:
    record = SourceRecord("isbndb", RecordKind.EDITION, "9780140328721", b"{}", SetClock().now())
    answer = BookPage((record,) * shown, total=total, page=page, page_size=100, dropped=(), units=1)
    assert harvest_pages.goes_on(answer) is expected


async def test_more_results_than_a_query_shows_are_asked_in_shorter_spans(
    database_url: str, environment_for: Environment
) -> None:
    world = World.invent(seed=9, authors=1, works_per_top_author=900)
    (author,) = world.truth.authors.values()
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        # The provider says ten times as much as there is: more than it shows of one query.
        sandbox.faults.add(FaultKind.WRONG_TOTAL, endpoint="author", count=1)
        async with app.database.transaction() as connection:
            plan = await planning.plan_authors(
                connection,
                [author.name],
                max_pages=100,
                fresh_since=app.clock.now() - app.config.freshness,
                now=app.clock.now(),
            )
            run_id = await harvest.start_run(
                connection, plan, lane=Lane.BULK, now=app.clock.now(), parameters={}
            )
        while waiting := [each for each in await items_of(app, run_id) if each.state == "pending"]:
            await app.harvester.take(run_id, waiting[0].position)
        items = await items_of(app, run_id)
        assert len(items) > 3
        assert (items[0].state, items[0].reason) == ("done", f"asked in {len(items) - 1} parts")
        assert sum(each.editions_expected for each in items[1:]) == pytest.approx(items[0].editions_expected)
        assert (await progress_of(app, run_id))[0] == RunState.DONE
        dated = {
            str(each.isbn)
            for each in world.listed
            if each.isbn
            and not each.isbn.is_reserved
            and each.published
            and name_key(author.name) in {name_key(name) for name in each.authors}
        }
        assert len(dated) > 1000
        assert dated <= await isbns_of(app)
        assert not sandbox.repeated()
