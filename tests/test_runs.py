"""What a person does with runs: pause, cancel, try again, read what came of them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from alexandria import harvest, planning
from alexandria.app import App
from alexandria.domain.errors import Conflict, InvalidInput
from alexandria.domain.rollout import PauseCause
from alexandria.domain.run_report_texts import as_markdown
from alexandria.domain.run_reports import MOST_LISTED
from alexandria.domain.targets import Target, TargetKind
from alexandria.harvest import Next
from alexandria.jobs.queue import feed_run
from alexandria.jobs.worker import Worker, work_until
from alexandria.reports import read_report
from alexandria.sandbox.world import World
from alexandria.stores.harvests import HarvestStore, ItemState, RunState
from conftest import Environment, SetClock
from harvesting import app_on, items_of, listed_isbns, run_of, sandbox_of, start, take_all, unknown_isbns

KEY = "sandbox-key"


@pytest.fixture(scope="module")
def world() -> World:
    return World.invent(seed=12, authors=12, works_per_top_author=250)


async def start_authors(app: App, world: World, count: int) -> str:
    names = [each.name for each in world.truth.authors.values()][:count]
    async with app.database.transaction() as connection:
        since = app.clock.now() - app.config.freshness
        plan = await planning.plan_authors(
            connection, names, max_pages=100, fresh_since=since, now=app.clock.now()
        )
    return await start(app, plan, authors=names)


async def do(app: App, change: Callable[..., Awaitable[object]], run_id: str, **arguments: Any) -> None:
    async with app.database.transaction() as connection:
        await change(connection, run_id, **arguments)


async def fed(app: App, run_id: str) -> int:
    async with app.database.transaction() as connection:
        return await feed_run(connection, run_id, now=app.clock.now())


async def test_a_run_that_is_paused_in_the_middle_of_an_author_asks_for_no_further_page(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        run_id = await start_authors(app, world, 1)
        harvester = app.harvester
        # Between the first page and the second somebody pauses the run: what is in hand is kept, nothing more is asked.
        async with app.database.connection() as connection:
            await connection.execute(
                "CREATE FUNCTION pause_now() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE harvest_runs"
                " SET state = 'paused', pause_cause = 'person', pause_reason = 'enough'; RETURN NEW; END $$"
            )
            await connection.execute(
                "CREATE TRIGGER pause_now AFTER INSERT ON harvest_pages FOR EACH ROW EXECUTE FUNCTION pause_now()"
            )
        assert (await harvester.take(run_id, 1)).next is Next.AGAIN
        assert (await harvester.take(run_id, 1)).next is Next.PAUSED
        item = (await items_of(app, run_id))[0]
        assert (item.state, item.next_page, sandbox.spent(KEY)) == ("partial", 2, 1)
        assert item.editions_found > 0
        async with app.database.connection() as connection:
            await connection.execute("DROP TRIGGER pause_now ON harvest_pages")
        await do(app, harvest.resume_run, run_id, now=app.clock.now())
        await take_all(app, run_id)
        run, progress = await run_of(app, run_id)
        assert (run.state, progress.done) == (RunState.DONE, 1)


async def test_a_persons_pause_is_ended_by_nobody_else(world: World, environment_for: Environment) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):
        run_id = await start_authors(app, world, 3)
        await do(app, harvest.pause_run, run_id, reason="the plan is being changed")
        # A call that was on its way meanwhile comes back with the quota's word; it changes nothing.
        async with app.database.transaction() as connection:
            assert not await HarvestStore(connection).pause_run(
                run_id,
                cause=PauseCause.QUOTA,
                reason="used up",
                resumes_at=clock.now() + timedelta(hours=1),
            )
        clock.advance(timedelta(days=3))
        assert await fed(app, run_id) == 0
        run, _ = await run_of(app, run_id)
        assert (run.state, run.pause_cause, run.pause_reason) == (
            RunState.PAUSED,
            PauseCause.PERSON,
            "the plan is being changed",
        )
        await do(app, harvest.resume_run, run_id, now=clock.now())
        assert await fed(app, run_id) == 3


async def test_a_person_may_pause_what_the_quota_paused(world: World, environment_for: Environment) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):
        run_id = await start_authors(app, world, 3)
        async with app.database.transaction() as connection:
            await HarvestStore(connection).pause_run(
                run_id, cause=PauseCause.QUOTA, reason="used up", resumes_at=clock.now()
            )
        await do(app, harvest.pause_run, run_id, reason="enough")
        assert await fed(app, run_id) == 0


async def test_what_is_queued_of_a_cancelled_run_ends_without_asking(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        run_id = await start_authors(app, world, 8)
        assert await fed(app, run_id) == 8
        await do(app, harvest.cancel_run, run_id, now=app.clock.now())

        async def queue_is_empty() -> bool:
            async with app.database.connection() as connection:
                cursor = await connection.execute("SELECT count(*) FROM pgqueuer")
                return await cursor.fetchone() == (0,)

        await work_until(Worker(app), queue_is_empty)
        run, progress = await run_of(app, run_id)
        assert (run.state, progress.done, sandbox.spent(KEY)) == (RunState.CANCELLED, 0, 0)
        assert run.finished_at is not None


async def test_an_ended_run_can_only_be_tried_again_and_a_cancelled_one_not_even_that(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        now = app.clock.now()
        done = await start_authors(app, world, 1)
        await take_all(app, done)
        cancelled = await start_authors(app, world, 1)
        await do(app, harvest.cancel_run, cancelled, now=now)
        for run_id in (done, cancelled):
            for change, arguments in (
                (harvest.pause_run, {"reason": "enough"}),
                (harvest.cancel_run, {"now": now}),
                (harvest.resume_run, {"now": now}),
                (harvest.retry_failed, {"now": now}),
            ):
                before = await run_of(app, run_id)
                with pytest.raises(Conflict, match=run_id):
                    await do(app, change, run_id, **arguments)
                assert await run_of(app, run_id) == before
        with pytest.raises(Conflict, match="cancelled"):
            await do(app, harvest.resume_run, cancelled, now=now, retry_failed=True)
        with pytest.raises(InvalidInput, match="nothing"):
            await do(app, harvest.pause_run, "nothing", reason="enough")


async def test_failed_items_and_isbns_are_tried_again_and_what_was_paid_for_is_not(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        isbns = listed_isbns(world)[:150]
        async with app.database.connection() as connection:
            plan = await planning.plan_isbns(
                connection, isbns, fresh_since=app.clock.now() - app.config.freshness
            )
        run_id = await start(app, plan)
        await take_all(app, run_id)
        async with app.database.connection() as connection:
            # As if the answers about three of them could not have been read, and nothing had come of the second call.
            await connection.execute(
                'UPDATE harvest_items SET outcomes = outcomes || (SELECT jsonb_object_agg(isbn, \'["failed", "unreadable"]\'::jsonb)'
                " FROM unnest(isbns[1:3]) AS isbn) WHERE position = 1"
            )
            await connection.execute(
                "UPDATE harvest_items SET state = 'failed', outcomes = '{}', reason = 'no answer' WHERE position = 2"
            )
            await connection.execute("DELETE FROM isbn_answers")
        spent = sandbox.spent(KEY)
        await do(app, harvest.retry_failed, run_id, now=app.clock.now())
        assert [item.state for item in await items_of(app, run_id)] == ["partial", "pending"]
        await take_all(app, run_id)
        run, progress = await run_of(app, run_id)
        assert (run.state, progress.failed) == (RunState.DONE, 0)
        assert sandbox.spent(KEY) == spent + 3 + 50


# Reports


async def test_a_report_says_what_was_expected_what_came_and_what_failed(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        isbns = [*listed_isbns(world)[:110], *unknown_isbns(world, 5)]
        async with app.database.connection() as connection:
            plan = await planning.plan_isbns(
                connection, isbns, fresh_since=app.clock.now() - app.config.freshness
            )
        run_id = await start(app, plan, isbns=len(isbns))
        async with app.database.transaction() as connection:
            await HarvestStore(connection).add_items(
                run_id, [Target(TargetKind.AUTHOR, "OL1A", "A | *B* <i>")], now=app.clock.now()
            )
            item = await HarvestStore(connection).find_item(run_id, 3)
            assert item is not None
            await HarvestStore(connection).leave_item(
                item, ItemState.FAILED, now=app.clock.now(), reason="no\nanswer"
            )
        await take_all(app, run_id)
        report = await read_report(app.database, run_id, now=app.clock.now())
        told = report.as_json()
        _, progress = await run_of(app, run_id)
        assert (told["state"], told["units"]) == ("done", sandbox.spent(KEY))
        assert told["units_expected"] == 115
        assert told["editions_new"] == progress.editions_new > 0
        assert told["editions_per_unit"] == round(progress.editions_new / progress.units, 2)
        assert told["items"] | {"open": 0} == {
            "items": 3, "done": 2, "empty": 0, "failed": 1, "partial": 0, "running": 0, "open": 0,
        }  # fmt: skip
        assert {each["target"]: (each["items"], each["units"]) for each in told["targets"]} == {
            "author": (1, 0),
            "isbns": (2, 115),
        }
        assert told["isbns"] == {"enriched": 110, "not_found": 5}
        assert [(each["position"], each["reason"]) for each in told["listed"]] == [(3, "no\nanswer")]
        every = await read_report(app.database, run_id, now=app.clock.now(), lists_all=True)
        assert [each.position for each in every.items] == [1, 2, 3]
        text = as_markdown(report)
        assert f"# Run {run_id}" in text
        assert "| 3 | author | A \\| \\*B\\* \\<i\\> | failed | 0 | 0 | 0 | no answer |" in text
        assert "| units spent | 115, expected 115 |" in text


async def test_a_report_counts_what_it_does_not_list_and_is_quick_for_a_run_of_100_000_items(
    world: World, environment_for: Environment
) -> None:
    async with (
        sandbox_of(world) as sandbox,
        app_on(environment_for(sandbox)) as app,
        app.database.connection() as connection,
    ):
        run_id = await start_authors(app, world, 1)
        await connection.execute(
            "INSERT INTO harvest_items (run_id, position, target, subject, name, state, reason, updated_at)"
            " SELECT %s, n, 'author', 'OL' || n || 'A', 'Author ' || n,"
            " CASE WHEN n %% 10 = 0 THEN 'failed' ELSE 'done' END, 'no answer', now() FROM generate_series(2, 100000) AS n",
            [run_id],
        )
        await connection.execute("ANALYZE harvest_items")
        began_at = app.clock.monotonic()
        report = await read_report(app.database, run_id, now=app.clock.now())
        assert app.clock.monotonic() - began_at < 3
        assert (report.sum("items"), report.sum("failed")) == (100_000, 10_000)
        assert (len(report.items), report.items_left_out) == (MOST_LISTED, 9_000)
        assert "And 9,000 more." in as_markdown(report)


async def test_a_report_of_a_run_that_does_not_exist_says_so(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        with pytest.raises(InvalidInput, match="nothing"):
            await read_report(app.database, "nothing", now=app.clock.now())
