"""Harvesting ISBNs against the sandbox: each is paid once, asked again at its time, and shared with who else asks."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg.errors import RaiseException

from alexandria import harvest, planning
from alexandria.app import App
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Lane
from alexandria.harvest import Next
from alexandria.load import load_into_catalogue
from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.identities import is_in_openlibrary as in_openlibrary
from alexandria.sandbox.server import Sandbox
from alexandria.sandbox.world import World
from alexandria.stores.harvests import HarvestStore, ItemState, RunState
from conftest import Environment, SetClock
from harvesting import (
    app_on,
    every,
    items_of,
    listed_isbns,
    run_of,
    sandbox_of,
    start,
    take_all,
    unknown_isbns,
)

ALL_DAY = {"interactive_percent": 0, "scheduled_percent": 0}
"""Nothing is kept for others, so that the whole day can be spent."""


@pytest.fixture(scope="module")
def world() -> World:
    return World.invent(seed=5, authors=8, works_per_top_author=60)


async def ask(app: App, isbns: list[Isbn], *, fresh_for: timedelta | None = None) -> str:
    """A run over these ISBNs, taken to where it gets."""
    since = app.clock.now() - (app.config.freshness if fresh_for is None else fresh_for)
    async with app.database.connection() as connection:
        plan = await planning.plan_isbns(connection, isbns, fresh_since=since, anew=fresh_for == timedelta(0))
    run_id = await start(app, plan, isbns=len(isbns))
    await take_all(app, run_id)
    return run_id


async def outcomes_of(app: App, run_id: str) -> dict[str, int]:
    async with app.database.connection() as connection:
        return await HarvestStore(connection).count_isbn_outcomes(run_id)


async def editions_with(app: App, isbns: list[Isbn]) -> set[str]:
    async with app.database.connection() as connection:
        cursor = await connection.execute(
            "SELECT isbn FROM edition_isbns WHERE isbn = ANY(%s)", [every(isbns)]
        )
        return {row[0] for row in await cursor.fetchall()}


async def test_isbns_are_enriched_for_a_unit_each_and_what_is_unknown_is_remembered(
    world: World, environment_for: Environment
) -> None:
    known, unknown = listed_isbns(world)[:120], unknown_isbns(world, 5)
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        run_id = await ask(app, [*known, *unknown])
        run, progress = await run_of(app, run_id)
        assert (run.state, progress.items, progress.failed) == (RunState.DONE, 2, 0)
        assert await outcomes_of(app, run_id) == {"enriched": 120, "not_found": 5}
        assert (sandbox.spent(), progress.units) == (125, 125)
        assert await editions_with(app, known) == set(every(known))
        assert progress.editions_new == progress.editions_found > 100

        again = await ask(app, [*known, *unknown])
        assert await outcomes_of(app, again) == {"skipped_fresh": 120, "not_found": 5}
        assert sandbox.spent() == 125, "asking again buys nothing"
        assert (await run_of(app, again))[1].units == 0


async def test_what_is_not_there_is_asked_again_after_a_day_a_week_and_a_month(
    world: World, environment_for: Environment
) -> None:
    clock, isbns = SetClock(), unknown_isbns(world, 2)
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox), clock=clock) as app,
    ):

        async def units() -> int:
            return (await run_of(app, await ask(app, isbns)))[1].units

        assert await units() == 2
        for days in (1, 7, 30, 30):
            clock.advance(timedelta(days=days) - timedelta(minutes=10))
            assert await units() == 0, f"asked before {days} days were over"
            clock.advance(timedelta(minutes=11))
            assert await units() == 2, f"not asked after {days} days"


async def test_too_few_units_buy_as_many_isbns_as_there_are_units_and_the_rest_the_next_day(
    world: World, environment_for: Environment
) -> None:
    clock, isbns = SetClock(), listed_isbns(world)[:150]
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(environment_for(sandbox, safe_limit=67, **ALL_DAY), clock=clock) as app,
    ):
        run_id = await ask(app, isbns)
        run, progress = await run_of(app, run_id)
        assert (run.state, sandbox.spent()) == (RunState.PAUSED, 67)
        assert await outcomes_of(app, run_id) == {"enriched": 67}
        assert run.resumes_at is not None
        while run.state == RunState.PAUSED:
            assert run.resumes_at is not None
            clock.advance(run.resumes_at - clock.now() + timedelta(seconds=1))
            async with app.database.transaction() as connection:
                await harvest.resume_run(connection, run_id, now=clock.now())
            await take_all(app, run_id)
            run, progress = await run_of(app, run_id)
        assert await outcomes_of(app, run_id) == {"enriched": 150}
        assert (run.state, progress.units) == (RunState.DONE, 150)
        assert not sandbox.repeated()


async def test_callers_at_the_same_moment_share_one_call_and_nobody_pays_twice(
    world: World, environment_for: Environment
) -> None:
    isbns = listed_isbns(world)[:30]
    wishes = [isbns[:12], isbns[8:20], isbns[20:30], isbns[:5]]
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        runs = []
        for wish in wishes:
            async with app.database.connection() as connection:
                plan = await planning.plan_isbns(
                    connection, wish, fresh_since=app.clock.now() - app.config.freshness
                )
            runs.append(await start(app, plan, lane=Lane.INTERACTIVE, isbns=len(wish)))
        taken = await asyncio.gather(*(app.harvester.take(run_id, 1) for run_id in runs))
        assert [each.next for each in taken] == [Next.ENDED] * 4
        bulk = [call for call in sandbox.calls if call.endpoint == "bulk"]
        assert (len(bulk), sandbox.spent()) == (1, 30)
        for run_id, wish in zip(runs, wishes, strict=True):
            outcomes = await outcomes_of(app, run_id)
            assert set(outcomes) <= {"enriched", "found"}
            assert sum(outcomes.values()) == len(wish)
        units = [(await run_of(app, run_id))[1].units for run_id in runs]
        assert sum(units) == 30, "what was charged stands under the runs, and once"


async def test_what_was_paid_for_survives_a_death_before_it_is_in_the_catalogue(
    world: World, environment_for: Environment
) -> None:
    isbns = listed_isbns(world)[:10]
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        async with app.database.connection() as connection:
            plan = await planning.plan_isbns(
                connection, isbns, fresh_since=app.clock.now() - app.config.freshness
            )
            run_id = await start(app, plan)
            await connection.execute(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk on fire'; END $$"
            )
            await connection.execute(
                "CREATE TRIGGER fail BEFORE INSERT ON contributions EXECUTE FUNCTION fail()"
            )
            with pytest.raises(RaiseException):
                await app.harvester.take(run_id, 1)
            await connection.execute("DROP TRIGGER fail ON contributions")
        assert await editions_with(app, isbns) == set()
        async with app.database.transaction() as connection:
            await harvest.resume_run(connection, run_id, now=app.clock.now(), retry_failed=True)
        await app.harvester.take(run_id, 1)
        assert sandbox.spent() == 10, "paid once"
        assert await outcomes_of(app, run_id) == {"found": 10}
        assert await editions_with(app, isbns) == set(every(isbns))


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.ERROR_500,
        FaultKind.UNAVAILABLE_503,
        FaultKind.CUT_BODY,
        FaultKind.TRUNCATED_JSON,
        FaultKind.DROP_AFTER,
    ],
)
async def test_a_failure_is_no_absence(world: World, environment_for: Environment, kind: FaultKind) -> None:
    isbns = listed_isbns(world)[:8]
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        sandbox.faults.add(kind, endpoint="bulk", count=1)
        run_id = await ask(app, isbns)
        for _ in range(5):
            async with app.database.transaction() as connection:
                await connection.execute("UPDATE harvest_items SET retry_at = NULL")
            await app.harvester.take(run_id, 1)
        assert await outcomes_of(app, run_id) == {"enriched": 8}


async def test_numbers_that_unrelated_books_share_are_never_asked_for(
    world: World, environment_for: Environment
) -> None:
    reserved = Isbn.parse("9780000000002")
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        run_id = await ask(app, [reserved])
        async with app.database.connection() as connection:
            failed = await HarvestStore(connection).list_failed_isbns(run_id)
        assert [isbn for isbn, _ in failed] == [str(reserved)]
        assert "share this number" in failed[0][1]
        assert sandbox.spent() == 0
        assert [each.state for each in await items_of(app, run_id)] == [ItemState.DONE]


# Sources without paid units


def free_environment(environment_for: Environment, sandbox: Sandbox, **settings: object) -> dict[str, str]:
    """Open Library and Wikidata are asked, too: at the sandbox."""
    return environment_for(
        sandbox,
        contact="https://example.org/about",
        openlibrary_url=sandbox.openlibrary_url,
        openlibrary_covers_url=sandbox.openlibrary_covers_url,
        wikidata_url=sandbox.wikidata_url,
        **settings,
    )


async def test_what_a_free_source_completes_costs_no_unit_and_is_not_asked_again_anywhere(
    world: World, environment_for: Environment
) -> None:
    isbns = listed_isbns(world)[:40]
    async with (
        sandbox_of(world) as sandbox,
        app_on(free_environment(environment_for, sandbox)) as app,
    ):
        run_id = await ask(app, isbns)
        outcomes = await outcomes_of(app, run_id)
        assert sum(outcomes.values()) == 40
        (item,) = await items_of(app, run_id)
        free = {isbn for isbn, (_, reason) in item.outcomes.items() if reason and "costs no unit" in reason}
        assert 5 < len(free) < 40, (
            "the test needs some that Open Library completes, and some that it does not"
        )
        assert sandbox.spent() == 40 - len(free) == (await run_of(app, run_id))[1].units
        assert item.sources["openlibrary"] == "answered"
        assert item.sources["google-books"].startswith("skipped: ALEXANDRIA_GOOGLE_BOOKS_KEY")
        assert await editions_with(app, isbns) == set(every(isbns))
        free_calls = len(sandbox.free_calls)
        again = await ask(app, isbns)
        assert (await run_of(app, again))[1].units == 0
        assert len(sandbox.free_calls) == free_calls


async def test_a_book_that_only_a_free_source_knows_is_never_called_unknown(
    world: World, environment_for: Environment
) -> None:
    listed = set(listed_isbns(world))
    only_free = [
        each.isbn
        for each in world.truth.editions.values()
        if each.isbn and each.isbn not in listed and not each.isbn.is_reserved and in_openlibrary(each)
    ][:10]
    assert only_free, "the test needs books that the paid provider does not list"
    async with (
        sandbox_of(world) as sandbox,
        app_on(free_environment(environment_for, sandbox)) as app,
    ):
        for _ in range(2):
            run_id = await ask(app, only_free)
            outcomes = await outcomes_of(app, run_id)
            held = await editions_with(app, only_free)
            assert outcomes.get("not_found", 0) == len(only_free) - len(held), outcomes
        assert held


async def test_a_free_source_that_fails_costs_its_answer_only(
    world: World, environment_for: Environment
) -> None:
    isbns = listed_isbns(world)[:10]
    async with sandbox_of(world) as sandbox:
        environment = free_environment(environment_for, sandbox) | {
            "ALEXANDRIA_OPENLIBRARY_URL": "http://127.0.0.1:9"
        }
        async with app_on(environment) as app:
            run_id = await ask(app, isbns)
            (item,) = await items_of(app, run_id)
            assert item.sources["openlibrary"].startswith("failed: ")
            assert (item.state, sandbox.spent()) == (ItemState.DONE, 10)


async def test_asking_anew_asks_for_what_was_absent_too(world: World, environment_for: Environment) -> None:
    isbns = [*unknown_isbns(world, 2), *listed_isbns(world)[:2]]
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        await ask(app, isbns)
        again = await ask(app, isbns, fresh_for=timedelta(0))
        assert (await run_of(app, again))[1].units == 4
        assert await outcomes_of(app, again) == {"not_found": 2, "found": 2}


async def test_a_list_whose_answer_always_breaks_fails_for_good_after_a_few_turns(
    world: World, environment_for: Environment
) -> None:
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        sandbox.faults.add(FaultKind.CUT_BODY, endpoint="bulk")
        run_id = await ask(app, listed_isbns(world)[:10])
        for _ in range(4):
            # The provider is well for everybody else, so that nobody gives it up.
            await app.isbndb.author_page("Nobody At All", 1, lane=Lane.BULK, consumer="cron")
            async with app.database.transaction() as connection:
                await connection.execute("UPDATE harvest_items SET retry_at = NULL")
            await app.harvester.take(run_id, 1)
        (item,) = await items_of(app, run_id)
        assert item.state == ItemState.FAILED
        assert item.units <= 90, "three turns of three attempts"


async def test_what_was_answered_before_a_failure_is_kept(world: World, environment_for: Environment) -> None:
    isbns = listed_isbns(world)[:100]
    async with (
        sandbox_of(world) as sandbox,
        app_on(environment_for(sandbox, safe_limit=67, **ALL_DAY)) as app,
    ):
        sandbox.faults.add(FaultKind.EMPTY_403, endpoint="bulk", skip=1)
        run_id = await ask(app, isbns)
        assert (await outcomes_of(app, run_id)).get("enriched") == 50
        assert len(await editions_with(app, isbns)) == 50


async def test_many_small_wishes_at_once_wait_for_no_connection(
    world: World, environment_for: Environment
) -> None:
    isbns = listed_isbns(world)[:24]
    async with sandbox_of(world) as sandbox, app_on(environment_for(sandbox)) as app:
        runs = []
        for isbn in isbns:
            async with app.database.connection() as connection:
                plan = await planning.plan_isbns(
                    connection, [isbn], fresh_since=app.clock.now() - app.config.freshness
                )
            runs.append(await start(app, plan, lane=Lane.INTERACTIVE, isbns=1))
        assert (
            await asyncio.gather(*(app.foreground.work(run_id, seconds=60) for run_id in runs)) == [None] * 24
        )
        assert [(await run_of(app, run_id))[0].state for run_id in runs] == [RunState.DONE] * 24
        assert sandbox.spent() == 24
        bulk = [call for call in sandbox.calls if call.endpoint == "bulk"]
        assert len(bulk) < 12, "they share calls"


async def test_people_are_asked_about_later_when_nobody_answers(
    world: World, environment_for: Environment, tmp_path: Path
) -> None:
    async with sandbox_of(world) as sandbox:
        nowhere = dict.fromkeys(
            ("ALEXANDRIA_OPENLIBRARY_URL", "ALEXANDRIA_WIKIDATA_URL"), "http://127.0.0.1:9"
        )
        async with app_on(free_environment(environment_for, sandbox) | nowhere) as app:
            files = world.write_dumps(tmp_path, irregular_share=0)
            await load_into_catalogue(app.database, [files.authors, files.works, files.editions])
            async with app.database.connection() as connection:
                plan = await planning.plan_people(
                    connection, most=50, fresh_since=app.clock.now() - app.config.freshness
                )
            run_id = await start(app, plan, people=50)
            await take_all(app, run_id)
            (item,) = await items_of(app, run_id)
            assert (item.state in {"pending", "partial"}, item.total or 0) == (True, 0)


async def test_a_run_over_covers_pays_only_where_no_free_source_has_one(
    world: World, environment_for: Environment
) -> None:
    isbns = listed_isbns(world)[:30]
    async with (
        sandbox_of(world) as sandbox,
        app_on(free_environment(environment_for, sandbox)) as app,
    ):
        since = app.clock.now() - app.config.freshness
        async with app.database.connection() as connection:
            plan = await planning.plan_covers(connection, isbns, fresh_since=since)
        run_id = await start(app, plan, covers=30)
        await take_all(app, run_id)
        async with app.database.connection() as connection:
            hosts = await (
                await connection.execute("SELECT url FROM covers_wanted ORDER BY isbn13")
            ).fetchall()
        free = [url for (url,) in hosts if url.startswith(sandbox.openlibrary_covers_url)]
        assert 0 < len(free) < 30
        assert sandbox.spent() <= 30 - len(free)


async def test_people_are_asked_about_once_those_with_the_most_works_first(
    world: World, environment_for: Environment, tmp_path: Path
) -> None:
    clock = SetClock()
    async with (
        sandbox_of(world, clock=clock) as sandbox,
        app_on(free_environment(environment_for, sandbox), clock=clock) as app,
    ):
        files = world.write_dumps(tmp_path, irregular_share=0)
        await load_into_catalogue(app.database, [files.authors, files.works, files.editions])

        async def people(most: int) -> tuple[str, int]:
            since = clock.now() - app.config.freshness
            async with app.database.connection() as connection:
                plan = await planning.plan_people(connection, most=most, fresh_since=since)
            run_id = await start(app, plan, people=most)
            await take_all(app, run_id)
            (item,) = await items_of(app, run_id)
            return item.state, item.total or 0

        assert await people(3) == (ItemState.DONE, 3)
        state, count = await people(100)
        assert (state, count) == (ItemState.DONE, len(world.truth.authors) - 3)
        assert await people(100) == (ItemState.EMPTY, 0)
        async with app.database.connection() as connection:
            row = await (
                await connection.execute("SELECT count(*) FROM author_identifiers WHERE kind = 'wikidata'")
            ).fetchone()
        assert row
        assert row[0] > 0
        assert sandbox.spent() == 0


async def test_no_call_asks_for_more_isbns_than_is_tuned(world: World, environment_for: Environment) -> None:
    async with (
        sandbox_of(world) as sandbox,
        app_on(environment_for(sandbox, pinned="isbns_at_once=25")) as app,
    ):
        run_id = await ask(app, listed_isbns(world)[:60])
        assert (await run_of(app, run_id))[0].state == RunState.DONE
        assert await outcomes_of(app, run_id) == {"enriched": 60}
        assert [call.units for call in sandbox.calls if call.endpoint == "bulk"] == [25, 25, 10]
