"""Gradual rollout against the sandbox: what is switched off asks nothing, caps hold to the unit, and what keeps failing stops itself."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import pytest

from alexandria import harvest, planning, rollout
from alexandria.app import App, isbndb_account
from alexandria.domain.alerting import Alert
from alexandria.domain.errors import Conflict, InvalidInput
from alexandria.domain.plans import Kind, consumer_of
from alexandria.domain.quota import Lane
from alexandria.domain.rollout import PauseCause
from alexandria.harvest import Next
from alexandria.jobs.queue import feed_covers, feed_run
from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.world import World
from alexandria.stores.alerts import AlertStore
from alexandria.stores.harvesters import HarvesterStore
from alexandria.stores.harvests import HarvestStore, ItemState, Run, RunState
from conftest import Environment, SetClock
from harvesting import app_on, items_of, listed_isbns, run_of, sandbox_of, start, take_all

KEY = "sandbox-key"
ALL_DAY = {"interactive_percent": 0, "scheduled_percent": 0}


@pytest.fixture(scope="module")
def world() -> World:
    """Authors enough for a run of many items, and one of several pages."""
    return World.invent(seed=11, authors=60, works_per_top_author=250)


async def start_authors(app: App, world: World, count: int, *, max_pages: int = 5) -> str:
    names = [each.name for each in world.truth.authors.values()][:count]
    async with app.database.transaction() as connection:
        plan = await planning.plan_authors(
            connection,
            names,
            max_pages=max_pages,
            fresh_since=app.clock.now() - app.config.freshness,
            now=app.clock.now(),
        )
    return await start(app, plan)


async def start_isbns(app: App, world: World, count: int) -> str:
    async with app.database.connection() as connection:
        plan = await planning.plan_isbns(
            connection, listed_isbns(world)[:count], fresh_since=app.clock.now() - app.config.freshness
        )
    return await start(app, plan)


async def change(app: App, kind: Kind, **changes: object) -> None:
    async with app.database.transaction() as connection:
        await rollout.change_harvester(connection, kind, changes, now=app.clock.now())


async def take_together(apps: list[App], run_id: str) -> None:
    """Every open item at the same time, by one process's harvester or another's."""
    items = [each for each in await items_of(apps[0], run_id) if each.state in {"pending", "partial"}]
    await asyncio.gather(
        *(apps[number % len(apps)].harvester.take(run_id, item.position) for number, item in enumerate(items))
    )


async def fed(app: App, run_id: str) -> int:
    async with app.database.transaction() as connection:
        return await feed_run(connection, run_id, now=app.clock.now())


async def state_of(app: App, run_id: str) -> Run:
    return (await run_of(app, run_id))[0]


async def open_alerts(app: App) -> list[Alert]:
    async with app.database.connection() as connection:
        return list(await AlertStore(connection).list_open())


async def test_each_kind_of_run_has_a_harvester_that_is_on_and_without_caps(
    world: World, environment_for: Environment
) -> None:
    async with (
        sandbox_of(world) as sandbox,
        app_on(environment_for(sandbox)) as app,
        app.database.connection() as connection,
    ):
        found = await HarvesterStore(connection).list_all()
        assert {each.name: each.consumer for each in found} == {kind: consumer_of(kind) for kind in Kind}
        for each in found:
            assert (each.state, each.units_per_day, each.units_per_run) == ("enabled", None, None)
            assert (each.most_failures_percent, each.least_items) == (50, 20)


# Switching and pausing


async def test_nothing_of_a_disabled_harvester_is_started_or_handed_out(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        run_id = await start_authors(app, world, 3)
        await change(app, Kind.AUTHORS, is_enabled=False)
        with pytest.raises(Conflict, match="alexandria harvesters enable authors"):
            await start_authors(app, world, 1)
        assert await fed(app, run_id) == 0
        # A job that was queued before ends without asking.
        assert (await app.harvester.take(run_id, 1)).next is Next.PAUSED
        assert sandbox.spent(KEY) == 0
        assert (await state_of(app, run_id)).held == "its harvester is disabled"
        await change(app, Kind.AUTHORS, is_enabled=True)
        assert await fed(app, run_id) == 3
        await take_all(app, run_id)
        assert (await state_of(app, run_id)).state == RunState.DONE


async def test_a_paused_harvester_stops_between_two_pages_and_goes_on_by_itself(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        run_id = await start_authors(app, world, 1)
        pages = 0

        def after_a_page() -> bool:
            nonlocal pages
            pages += 1
            return pages > 1

        # The first page is taken and put down, so that the pause comes to an author half read.
        assert (await app.harvester.take(run_id, 1, stopping=after_a_page)).next is Next.AGAIN
        await change(app, Kind.AUTHORS, **rollout.pausing("looking", now=app.clock.now()))
        assert (await app.harvester.take(run_id, 1)).next is Next.PAUSED
        assert await fed(app, run_id) == 0
        assert sandbox.spent(KEY) == 1
        assert (await state_of(app, run_id)).held == "its harvester is paused: looking"
        other = await start_isbns(app, world, 1)
        await take_all(app, other)
        assert (await state_of(app, other)).state == RunState.DONE, "the others go on"
        await change(app, Kind.AUTHORS, **rollout.RESUMING)
        assert await fed(app, run_id) == 1
        await take_all(app, run_id)
        assert (await state_of(app, run_id)).state == RunState.DONE
        assert [item.next_page > 2 for item in await items_of(app, run_id)] == [True]


async def test_covers_are_not_handed_out_while_their_harvester_is_paused(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        await take_all(app, await start_authors(app, world, 1, max_pages=1))
        await change(app, Kind.COVERS, **rollout.pausing(None, now=app.clock.now()))
        async with app.database.transaction() as connection:
            assert await feed_covers(connection, now=app.clock.now()) == 0
        await change(app, Kind.COVERS, **rollout.RESUMING)
        async with app.database.transaction() as connection:
            assert await feed_covers(connection, now=app.clock.now()) > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"units_per_day": -1},
        {"units_per_run": 2_000_000_000},
        {"most_failures_percent": 101},
        {"least_items": 0},
    ],
)
async def test_a_setting_out_of_range_changes_nothing(
    world: World, environment_for: Environment, changes: Mapping[str, object]
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        with pytest.raises(InvalidInput, match=next(iter(changes))):
            await change(app, Kind.AUTHORS, **changes)
        async with app.database.connection() as connection:
            assert (await HarvesterStore(connection).get(Kind.AUTHORS)).units_per_day is None


# Caps


@pytest.mark.parametrize("cap", ["units_per_day", "units_per_run"])
async def test_a_cap_on_pages_holds_to_the_unit_however_many_work_and_fail_together(
    world: World, environment_for: Environment, cap: str
) -> None:
    async with sandbox_of(world) as sandbox:
        environment = environment_for(sandbox, **ALL_DAY)
        async with app_on(environment) as first, app_on(environment) as second, app_on(environment) as third:
            apps = [first, second, third]
            # Attempts that bring nothing are charged, and count.
            sandbox.faults.add(FaultKind.DROP_AFTER, endpoint="author", rate=0.15)
            await change(first, Kind.AUTHORS, **{cap: 23})
            run_id = await start_authors(first, world, 50)
            for _ in range(6):
                await take_together(apps, run_id)
                await first.quota.resume(isbndb_account(first.config))
                await fed(first, run_id)
            run, progress = await run_of(first, run_id)
            assert sandbox.spent(KEY) == 23
            assert progress.units == 23
            assert (run.state, run.pause_cause) == (RunState.PAUSED, PauseCause.CEILING)
            assert "0 of 23 are left" in str(run.pause_reason)
            assert (run.resumes_at is None) == (cap == "units_per_run")
            assert await first.quota.verify() == []


@pytest.mark.parametrize("cap", ["units_per_day", "units_per_run"])
async def test_a_cap_on_isbns_holds_to_the_unit_and_is_used_up(
    world: World, environment_for: Environment, cap: str
) -> None:
    async with sandbox_of(world) as sandbox:
        environment = environment_for(sandbox, **ALL_DAY)
        async with app_on(environment) as first, app_on(environment) as second:
            await change(first, Kind.ISBNS, **{cap: 257})
            run_id = await start_isbns(first, world, 700)
            for _ in range(3):
                await take_together([first, second], run_id)
                await fed(first, run_id)
            run, progress = await run_of(first, run_id)
            assert (sandbox.spent(KEY), progress.units) == (257, 257)
            assert (run.state, run.pause_cause) == (RunState.PAUSED, PauseCause.CEILING)


async def test_the_cap_of_a_day_ends_with_the_providers_day(
    world: World, environment_for: Environment
) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox, **ALL_DAY), clock=clock) as app,
    ):
        await change(app, Kind.AUTHORS, units_per_day=4)
        run_id = await start_authors(app, world, 12, max_pages=1)
        await take_all(app, run_id)
        run = await state_of(app, run_id)
        assert sandbox.spent(KEY) == 4
        assert run.resumes_at is not None
        assert run.resumes_at.date() == clock.now().date() + timedelta(days=1)
        assert await fed(app, run_id) == 0
        clock.advance(run.resumes_at - clock.now() + timedelta(seconds=1))
        assert await fed(app, run_id) > 0
        await take_all(app, run_id)
        assert len([item for item in await items_of(app, run_id) if item.state == "done"]) == 8


async def test_a_raised_cap_lets_runs_go_on_by_themselves(world: World, environment_for: Environment) -> None:
    async with (
        sandbox_of(world) as sandbox,
        app_on(environment_for(sandbox, **ALL_DAY)) as app,
    ):
        await change(app, Kind.AUTHORS, units_per_run=2)
        run_id = await start_authors(app, world, 10, max_pages=1)
        await take_all(app, run_id)
        assert sandbox.spent(KEY) == 2
        assert await fed(app, run_id) == 0, "no time makes room for it"
        await change(app, Kind.AUTHORS, units_per_run=5)
        assert await fed(app, run_id) == 8
        await take_all(app, run_id)
        assert sandbox.spent(KEY) == 5
        await change(app, Kind.AUTHORS, units_per_run=None)
        await fed(app, run_id)
        await take_all(app, run_id)
        assert sandbox.spent(KEY) == 10
        assert (await state_of(app, run_id)).state == RunState.DONE


async def test_a_person_who_resumes_a_run_grants_it_as_much_again(
    world: World, environment_for: Environment
) -> None:
    async with (
        sandbox_of(world) as sandbox,
        app_on(environment_for(sandbox, **ALL_DAY)) as app,
    ):
        await change(app, Kind.AUTHORS, units_per_run=3)
        run_id = await start_authors(app, world, 10, max_pages=1)
        for spent in (3, 6):
            await take_all(app, run_id)
            assert sandbox.spent(KEY) == spent
            async with app.database.transaction() as connection:
                await harvest.resume_run(connection, run_id, now=app.clock.now())


async def test_a_cap_that_is_set_while_a_run_goes_on_holds_from_its_next_page(
    world: World, environment_for: Environment
) -> None:
    async with (
        sandbox_of(world) as sandbox,
        app_on(environment_for(sandbox, **ALL_DAY)) as app,
    ):
        run_id = await start_authors(app, world, 6, max_pages=1)
        for position in (1, 2, 3):
            await app.harvester.take(run_id, position)
        await change(app, Kind.AUTHORS, units_per_day=3)
        assert (await app.harvester.take(run_id, 4)).next is Next.PAUSED
        assert sandbox.spent(KEY) == 3


async def test_what_others_spend_is_no_harvesters(world: World, environment_for: Environment) -> None:
    async with (
        sandbox_of(world) as sandbox,
        app_on(environment_for(sandbox, **ALL_DAY)) as app,
    ):
        await change(app, Kind.AUTHORS, units_per_day=2, units_per_run=2)
        await take_all(app, await start_isbns(app, world, 5))
        run_id = await start_authors(app, world, 2, max_pages=1)
        await take_all(app, run_id)
        assert (await state_of(app, run_id)).state == RunState.DONE
        assert sandbox.spent(KEY) == 7


# Failing


async def fail_items(app: App, run_id: str, states: list[ItemState]) -> None:
    """End items as a harvester ends them."""
    for position, state in enumerate(states, start=1):
        item = (await items_of(app, run_id))[position - 1]
        if item.state in {"pending", "partial"}:
            await app.harvester._end(item, state, "no good" if state is ItemState.FAILED else None)


async def test_a_run_whose_items_keep_failing_pauses_itself_and_tells_a_person(
    world: World, environment_for: Environment
) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):
        await change(app, Kind.AUTHORS, least_items=8)
        run_id = await start_authors(app, world, 40, max_pages=1)
        sandbox.faults.add(FaultKind.TRUNCATED_JSON, endpoint="author")
        for _ in range(3):
            for item in await items_of(app, run_id):
                await app.harvester.take(run_id, item.position)
                # Other calls come through meanwhile: the provider is well, so the breaker stays closed.
                await app.isbndb.key(lane=Lane.BULK, consumer="test")
            clock.advance(timedelta(seconds=10))
        run, progress = await run_of(app, run_id)
        assert (run.state, run.pause_cause, run.resumes_at) == (RunState.PAUSED, PauseCause.FAILING, None)
        assert "of the last 8 items failed, more than 50 %" in str(run.pause_reason)
        assert (progress.done, progress.failed) == (0, 8)
        assert [(each.kind, each.subject) for each in await open_alerts(app)] == [("run_failing", run_id)]
        spent = sandbox.spent(KEY)
        assert spent == 2 * 40 * 2 + 8 * 2, (
            "three turns of two attempts, until the eighth item failed for good"
        )
        clock.advance(timedelta(days=2))
        assert await fed(app, run_id) == 0, "it does not go on by itself"
        await take_all(app, run_id)
        assert sandbox.spent(KEY) == 0, "nothing on a later day"
        sandbox.faults.clear()
        async with app.database.transaction() as connection:
            await harvest.retry_failed(connection, run_id, now=clock.now())
        await app.quota.resume(isbndb_account(app.config))
        clock.advance(timedelta(minutes=10))
        await take_all(app, run_id)
        run, progress = await run_of(app, run_id)
        assert (run.state, progress.failed) == (RunState.DONE, 0)
        assert await open_alerts(app) == []


async def test_a_long_good_beginning_hides_no_broken_end(world: World, environment_for: Environment) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):
        run_id = await start_authors(app, world, 50, max_pages=1)
        await fail_items(app, run_id, [ItemState.DONE] * 25)
        clock.advance(timedelta(seconds=1))
        await fail_items(app, run_id, [ItemState.DONE] * 25 + [ItemState.FAILED] * 10)
        assert (await state_of(app, run_id)).state == RunState.RUNNING, (
            "10 of the last 20 are not more than half"
        )
        clock.advance(timedelta(seconds=1))
        await fail_items(app, run_id, [ItemState.FAILED] * 36)
        run = await state_of(app, run_id)
        assert (run.state, run.pause_cause) == (RunState.PAUSED, PauseCause.FAILING)
        assert str(run.pause_reason).startswith("11 of the last 20 items failed")


async def test_fewer_items_than_prove_something_stop_no_run(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        run_id = await start_authors(app, world, 30, max_pages=1)
        await fail_items(app, run_id, [ItemState.FAILED] * 19)
        assert (await state_of(app, run_id)).state == RunState.RUNNING
        await fail_items(app, run_id, [ItemState.FAILED] * 20)
        assert (await state_of(app, run_id)).pause_cause == PauseCause.FAILING


async def test_a_person_who_resumes_a_failing_run_gives_it_a_new_chance(
    world: World, environment_for: Environment
) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):
        run_id = await start_authors(app, world, 50, max_pages=1)
        await fail_items(app, run_id, [ItemState.FAILED] * 20)
        async with app.database.transaction() as connection:
            await harvest.resume_run(connection, run_id, now=clock.now())
        assert await open_alerts(app) == []
        clock.advance(timedelta(seconds=1))
        await fail_items(app, run_id, [ItemState.FAILED] * 21)
        assert (await state_of(app, run_id)).state == RunState.RUNNING
        await fail_items(app, run_id, [ItemState.FAILED] * 40)
        assert (await state_of(app, run_id)).pause_cause == PauseCause.FAILING
        assert len(await open_alerts(app)) == 1


async def test_isbns_that_nobody_can_read_count_as_failures_too(
    world: World, environment_for: Environment
) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):
        await change(app, Kind.ISBNS, least_items=2)
        run_id = await start_isbns(app, world, 500)
        async with app.database.connection() as connection:
            await connection.execute(
                "UPDATE harvest_items SET outcomes ="
                ' (SELECT jsonb_object_agg(isbn, \'["failed", "unreadable"]\'::jsonb) FROM unnest(isbns) AS isbn)'
                " WHERE position <= 2"
            )
        await fail_items(app, run_id, [ItemState.DONE] * 2)
        run = await state_of(app, run_id)
        assert run.pause_cause == PauseCause.FAILING, "an item of which every ISBN failed is no good one"
        async with app.database.transaction() as connection:
            assert await harvest.retry_failed(connection, run_id, now=clock.now()) == 2
        await take_all(app, run_id)
        async with app.database.connection() as connection:
            outcomes = await HarvestStore(connection).count_isbn_outcomes(run_id)
        assert outcomes == {"enriched": 500}


async def test_a_dead_provider_costs_a_bounded_number_of_units(
    world: World, environment_for: Environment
) -> None:
    """Then nobody asks but one call now and then, whatever the runs: the breaker's affair, which ends by itself."""
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):
        sandbox.faults.add(FaultKind.DROP_AFTER, endpoint="author")
        run_id = await start_authors(app, world, 40, max_pages=1)
        began_at = clock.now()
        while clock.now() < began_at + timedelta(hours=2):
            await take_all(app, run_id)
            run = await state_of(app, run_id)
            wait = run.resumes_at - clock.now() if run.resumes_at else timedelta(seconds=5)
            clock.advance(max(wait, timedelta(seconds=1)))
            await fed(app, run_id)
        assert sandbox.spent(KEY) <= 5 + 6 + 24 + 3
