"""`alexandria runs ...`: what ran and what it brought; pause, resume, cancel, try again."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated

import typer

from alexandria import harvest
from alexandria.app import App
from alexandria.cli import console
from alexandria.cli.groups import ListOrShow
from alexandria.cli.running import AsJson, Exit, show_run, with_app
from alexandria.domain.run_report_texts import as_markdown
from alexandria.reports import read_report
from alexandria.rollout import BY_A_PERSON
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Connection

runs_cli = typer.Typer(help="Harvest runs: list, show, pause, resume, cancel, try again.", cls=ListOrShow)

RunId = Annotated[str, typer.Argument(help="The run's id, as `alexandria runs` shows it.", metavar="RUN")]


class Items(StrEnum):
    """Which items a report names one by one."""

    FAILED = "failed"
    ALL = "all"


@runs_cli.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(help="How many, the latest first.", min=1, max=1000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List harvest runs; this is what `alexandria runs` does.

    \b
    alexandria runs list --limit 5
    """

    async def show(app: App) -> Exit:
        async with app.database.connection() as connection:
            harvests = HarvestStore(connection)
            runs = await harvests.list_runs(limit=limit)
            found = await harvests.list_progress([run.id for run in runs])
            progress = [(run, found[run.id]) for run in runs]
        if as_json:
            console.write_json(
                [
                    {"run": run.id, "kind": run.kind, "state": run.state, "held": run.held, **vars(each)}
                    for run, each in progress
                ]
            )
            return Exit.DONE
        rows = [
            (
                run.id,
                run.target,
                f"{run.created_at:%Y-%m-%d %H:%M}",
                f"{run.state} (held)" if run.held else run.state,
                f"{each.done + each.failed}/{each.items}",
                each.units,
                each.editions_new,
            )
            for run, each in progress
        ]
        columns = ("run", "what", "started (UTC)", "state", "items", "units", "new editions")
        console.write_table("Runs", columns, rows)
        return Exit.DONE

    with_app(show)


@runs_cli.command("show")
def show_one(run_id: RunId, as_json: AsJson = False) -> None:
    """Show one run; `alexandria runs RUN` does the same.

    \b
    alexandria runs show 20261123-4f1a9c --json
    """

    async def show(app: App) -> Exit:
        async with app.database.connection() as connection:
            run = await harvest.get_run(connection, run_id)
            progress = await HarvestStore(connection).get_progress(run_id)
        await show_run(app, run, progress, as_json=as_json)
        return Exit.DONE

    with_app(show)


@runs_cli.command("report")
def report(
    run_id: RunId,
    as_json: Annotated[
        bool, typer.Option("--json/--markdown", help="In which form; Markdown if left out.")
    ] = False,
    items: Annotated[
        Items, typer.Option(help="Which items to name one by one, up to a thousand.")
    ] = Items.FAILED,
) -> None:
    """Report what a run was to do, what it did, what it cost and brought against what was expected, and what failed.

    \b
    alexandria runs report 20261123-4f1a9c > report.md
    """

    async def show(app: App) -> Exit:
        found = await read_report(app.database, run_id, now=app.clock.now(), lists_all=items is Items.ALL)
        if as_json:
            console.write_json(found.as_json())
        else:
            console.write_lines(as_markdown(found).splitlines())
        return Exit.DONE

    with_app(show)


@runs_cli.command("pause")
def pause(
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="Shown to others.")] = BY_A_PERSON,
    as_json: AsJson = False,
) -> None:
    """Hand nothing more of a run out until `alexandria runs resume`; calls on their way are finished.

    \b
    alexandria runs pause 20261123-4f1a9c --reason "the plan is being changed"
    """
    _change(
        run_id, lambda app, connection: harvest.pause_run(connection, run_id, reason=reason), as_json=as_json
    )


@runs_cli.command("resume")
def resume(run_id: RunId, as_json: AsJson = False) -> None:
    """Let workers go on with a paused run, whatever paused it; `alexandria harvest resume` works on it at once, here.

    \b
    alexandria runs resume 20261123-4f1a9c
    """
    _change(
        run_id,
        lambda app, connection: harvest.resume_run(connection, run_id, now=app.clock.now()),
        as_json=as_json,
    )


@runs_cli.command("cancel")
def cancel(run_id: RunId, as_json: AsJson = False) -> None:
    """End a run for good; what it brought stays, and calls on their way are finished.

    \b
    alexandria runs cancel 20261123-4f1a9c
    """
    _change(
        run_id,
        lambda app, connection: harvest.cancel_run(connection, run_id, now=app.clock.now()),
        as_json=as_json,
    )


@runs_cli.command("retry")
def retry(run_id: RunId, as_json: AsJson = False) -> None:
    """Let workers try the failed items and ISBNs of a run again.

    \b
    alexandria runs retry 20261123-4f1a9c
    """
    _change(
        run_id,
        lambda app, connection: harvest.retry_failed(connection, run_id, now=app.clock.now()),
        as_json=as_json,
    )


def _change(run_id: str, change: Callable[[App, Connection], Awaitable[object]], *, as_json: bool) -> None:
    """Do something to a run, all of it or nothing, and say how it stands then."""

    async def work(app: App) -> Exit:
        async with app.database.transaction() as connection:
            await change(app, connection)
            run = await harvest.get_run(connection, run_id)
        if as_json:
            console.write_json({"run": run.id, "state": run.state, "pause_reason": run.pause_reason})
        else:
            console.write_lines([f"run {run.id} is {run.state}"])
        return Exit.DONE

    with_app(work)
