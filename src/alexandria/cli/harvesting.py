"""`alexandria harvest ...`."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated

import typer

from alexandria import harvest, planning
from alexandria.app import App, isbndb_account, isbndb_policy, refuse_without_key
from alexandria.backpressure import refuse_when_closed
from alexandria.cli import console
from alexandria.cli.running import AsJson, Exit, follow_run, interrupts, with_app
from alexandria.domain.backpressure import GateName
from alexandria.domain.covers import CoverState
from alexandria.domain.errors import Conflict, InvalidInput
from alexandria.domain.plans import Plan
from alexandria.domain.quota import Lane
from alexandria.foreground import MOST_UNITS
from alexandria.jobs.queue import are_covers_fetched
from alexandria.jobs.worker import Worker, work_until
from alexandria.outlook import time_to_finish
from alexandria.stores.covers import CoverStore

harvest_cli = typer.Typer(help="Harvest from the provider into the catalogue.", no_args_is_help=True)

MaxPages = Annotated[
    int, typer.Option("--max-pages", help="Pages of 100 editions to ask for at most, for each target.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and what it is expected to cost; write nothing.")
]
Refresh = Annotated[bool, typer.Option("--refresh", help="Ask again for pages that are still fresh.")]


@harvest_cli.command("authors")
def harvest_authors(
    tier: Annotated[
        str | None, typer.Option(help="A slice of the authors by works: " + ", ".join(planning.TIERS))
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option(help="An author's name; may be given several times.")
    ] = None,
    author_key: Annotated[
        str | None, typer.Option(help="An author's key, when several bear the name.")
    ] = None,
    max_pages: MaxPages = planning.MOST_PAGES,
    dry_run: DryRun = False,
    refresh: Refresh = False,
    as_json: AsJson = False,
) -> None:
    """Harvest the bibliographies of a tier of authors, or of authors by name.

    \b
    alexandria harvest authors --tier top-100 --dry-run
    alexandria harvest authors --author "Jane Austen" --author "Mary Shelley"
    """
    if [tier is None, not author, author_key is None].count(False) != 1:
        raise InvalidInput("tier", tier or "", "give one of --tier, --author and --author-key")

    async def plan(app: App) -> Plan:
        since = fresh_since(app, refresh=refresh)
        async with app.database.connection() as connection:
            now = app.clock.now()
            if author_key is not None:
                return await planning.plan_author(
                    connection, author_key, max_pages=max_pages, fresh_since=since, now=now, whole=refresh
                )
            if tier is not None:
                return await planning.plan_tier(
                    connection, tier, max_pages=max_pages, fresh_since=since, now=now, whole=refresh
                )
            return await planning.plan_authors(
                connection, author or [], max_pages=max_pages, fresh_since=since, now=now, whole=refresh
            )

    run_harvest(
        plan, {"tier": tier, "authors": author, "author": author_key}, dry_run=dry_run, as_json=as_json
    )


@harvest_cli.command("new-releases")
def harvest_new_releases(
    start_month: Annotated[str, typer.Argument(help="First month, YYYY-MM.")],
    end_month: Annotated[
        str | None, typer.Argument(help="Last month; the first one alone if left out.")
    ] = None,
    subject: Annotated[
        list[str] | None, typer.Option(help="Only books with this subject; may be given several times.")
    ] = None,
    max_pages: MaxPages = 20,
    dry_run: DryRun = False,
    refresh: Refresh = False,
    as_json: AsJson = False,
) -> None:
    """Harvest what was published in a month, or in each of several months.

    \b
    alexandria harvest new-releases 2026-10
    alexandria harvest new-releases 2026-07 2026-10 --subject fantasy --dry-run
    """

    async def plan(app: App) -> Plan:
        async with app.database.connection() as connection:
            return await planning.plan_new_releases(
                connection,
                start_month,
                end_month or start_month,
                subjects=subject or [],
                today=app.clock.now(),
                max_pages=max_pages,
                fresh_since=fresh_since(app, refresh=refresh),
            )

    run_harvest(
        plan,
        {"start_month": start_month, "end_month": end_month or start_month, "subjects": subject},
        dry_run=dry_run,
        as_json=as_json,
    )


@harvest_cli.command("resume")
def harvest_resume(
    run_id: Annotated[str, typer.Argument(help="The run's id, as `alexandria runs` shows it.")],
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed items again, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was interrupted or paused.

    \b
    alexandria harvest resume 20261123-4f1a9c
    """

    async def resume(app: App) -> Exit:
        async with app.database.transaction() as connection:
            refuse_without_key(app.config, (await harvest.get_run(connection, run_id)).kind)
            await harvest.resume_run(connection, run_id, now=app.clock.now(), retry_failed=retry_failed)
        return await follow_run(app, run_id, as_json=as_json)

    with_app(resume)


@harvest_cli.command("covers")
def harvest_covers(as_json: AsJson = False) -> None:
    """Fetch the covers that are wanted and due, until none is left.

    \b
    alexandria harvest covers
    """

    async def fetch(app: App) -> Exit:
        async with app.database.connection() as connection:
            if not await are_covers_fetched(connection):
                raise Conflict("the harvester covers is disabled or paused; see alexandria harvesters")

        async def counts() -> Mapping[CoverState, int]:
            async with app.database.connection() as connection:
                return await CoverStore(connection).counts()

        async def is_done() -> bool:
            async with app.database.connection() as connection:
                is_held = not await are_covers_fetched(connection)
                return is_held or not await CoverStore(connection).list_due(limit=1, now=app.clock.now())

        async def bars() -> Mapping[str, tuple[int, int, str]]:
            now = await counts()
            return {
                "covers": (
                    sum(now.values()) - now[CoverState.WANTED],
                    sum(now.values()),
                    f"{now[CoverState.STORED]} stored",
                )
            }

        worker = Worker(app, runs=frozenset())
        with interrupts(worker.stop) as interrupted:
            async with console.progress_bars(bars):
                await work_until(worker, is_done)
        result = await counts()
        async with app.database.connection() as connection:
            reasons = await CoverStore(connection).count_reasons()
        if as_json:
            console.write_json(result)
        else:
            console.write_table("Covers", ("state", "covers"), sorted(result.items()))
        for state, reason, covers in reasons:
            console.say(f"{state}: {covers:,} x {reason}")
        if result[CoverState.REFUSED]:
            console.say("hosts that are not public are refused unless ALEXANDRIA_DOWNLOAD_HOSTS names them")
        return Exit.INTERRUPTED if interrupted() else Exit.DONE

    with_app(fetch)


def fresh_since(app: App, *, refresh: bool) -> datetime:
    """Pages fetched since then need not be asked again."""
    return app.clock.now() - (timedelta(0) if refresh else app.config.freshness)


def run_harvest(
    make_plan: Callable[[App], Awaitable[Plan]],
    parameters: Mapping[str, object],
    *,
    dry_run: bool,
    as_json: bool,
    at_best: Exit = Exit.DONE,
) -> None:
    """Plan, show the plan or carry it out, and end the process, with `at_best` if all of it went well."""

    async def work(app: App) -> Exit:
        plan = await make_plan(app)
        if dry_run:
            await show_plan(app, plan, as_json=as_json)
            return at_best
        refuse_without_key(app.config, plan.kind)
        marks = None
        if max(plan.units_expected, len(plan.targets)) > MOST_UNITS:
            marks = app.config.marks
            await refuse_when_closed(app.database, GateName.ITEMS, marks, now=app.clock.now())
        async with app.database.transaction() as connection:
            run_id = await harvest.start_run(
                connection,
                plan,
                lane=Lane.BULK,
                now=app.clock.now(),
                parameters={k: v for k, v in parameters.items() if v},
                marks=marks,
            )
        console.say(f"run {run_id}: {len(plan.lines):,} targets, about {plan.units_expected:,} units")
        return await follow_run(app, run_id, as_json=as_json) or at_best

    with_app(work)


async def show_plan(app: App, plan: Plan, *, as_json: bool) -> None:
    """Print what a run would ask for and what that is expected to cost."""
    status = None
    if app.config.isbndb_key:
        status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
    finish = status and time_to_finish(
        status, app.clock.now(), units=plan.units_expected, calls=plan.calls_expected
    )
    lines = [
        {
            "name": each.name,
            "subject": each.subject,
            "pages_fresh": each.pages_fresh,
            "units_expected": each.units_expected,
            "editions_expected": round(each.editions_expected, 1),
        }
        for each in plan.lines
    ]
    if as_json:
        console.write_json(
            {
                "kind": plan.kind,
                "units_expected": plan.units_expected,
                "calls_expected": plan.calls_expected,
                "editions_expected": plan.editions_expected,
                "units_remaining": status.remaining if status else None,
                "finishes_at": finish,
                "targets": lines,
            }
        )
        return
    columns = ("target", "key", "fresh pages", "units expected", "new editions expected")
    console.write_table(
        "Plan (nothing was spent or written)", columns, [tuple(each.values()) for each in lines]
    )
    left = f"; {status.remaining:,} are left today" if status else ""
    when = f"; through at {finish:%Y-%m-%d %H:%M} UTC" if finish else ""
    what = f"{len(plan.lines):,} targets, {plan.calls_expected:,} calls, about {plan.units_expected:,} units"
    console.write_lines([f"{what} for {plan.editions_expected:,} new editions{left}{when}"])
