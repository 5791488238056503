"""`alexandria schedule ...`: what is harvested by the clock."""

from typing import Annotated

import typer

from alexandria.app import App, schedule_of
from alexandria.cli import console
from alexandria.cli.running import AsJson, Exit, with_app
from alexandria.schedule import Line
from alexandria.stores.schedule import Firing, Outcome

schedule_cli = typer.Typer(
    help="What is harvested by the clock, when next, and what came of it.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The entry's name, as `alexandria schedule list` shows it.")]


@schedule_cli.command("list")
def schedule_list(as_json: AsJson = False) -> None:
    """List the entries of the schedule with their last slot, what came of it, and their next one.

    \b
    alexandria schedule list
    alexandria schedule list --json
    """

    async def show(app: App) -> Exit:
        async with app.database.transaction() as connection:
            lines = await schedule_of(app).list_lines(connection)
        if as_json:
            console.write_json([each.as_json() for each in lines])
            return Exit.DONE
        console.write_lines([text for each in lines for text in _in_lines(each)])
        return Exit.DONE

    with_app(show)


@schedule_cli.command("run")
def schedule_run(name: Name, as_json: AsJson = False) -> None:
    """Start an entry's harvester now, besides its slots and even if it is paused or off; workers do the work.

    Prints the run's id where there is one. While the entry's last run is open nothing is started, and the exit code is 1.

    \b
    alexandria schedule run new-releases
    """

    async def run(app: App) -> Exit:
        async with app.database.transaction() as connection:
            firing = await schedule_of(app).run_now(connection, name)
        if as_json:
            console.write_json(firing.as_json())
        elif firing.run_id:
            console.write_lines([firing.run_id])
        if firing.outcome is Outcome.SKIPPED:
            console.say(f"alexandria: nothing was started: {firing.remark}")
            return Exit.ERROR
        console.say(f"{name}: {firing.remark}")
        return Exit.DONE

    with_app(run)


@schedule_cli.command("pause")
def schedule_pause(name: Name, as_json: AsJson = False) -> None:
    """Let an entry's slots pass, in all processes, until it is resumed. A run that it started goes on.

    \b
    alexandria schedule pause tiers
    """

    async def pause(app: App) -> Exit:
        async with app.database.transaction() as connection:
            line = await schedule_of(app).pause(connection, name)
        _say_state(line, as_json=as_json)
        return Exit.DONE

    with_app(pause)


@schedule_cli.command("resume")
def schedule_resume(name: Name, as_json: AsJson = False) -> None:
    """Fire a paused entry's slots again, from now on; those of the pause are gone.

    \b
    alexandria schedule resume tiers
    """

    async def resume(app: App) -> Exit:
        async with app.database.transaction() as connection:
            line = await schedule_of(app).resume(connection, name)
        _say_state(line, as_json=as_json)
        return Exit.DONE

    with_app(resume)


def _say_state(line: Line, *, as_json: bool) -> None:
    if as_json:
        console.write_json(line.as_json())
    elif line.state == "on":
        console.write_lines(
            [f"{line.entry.name} is on; its next slot is {line.next_slot:%Y-%m-%d %H:%M} UTC"]
        )
    else:
        console.write_lines([f"{line.entry.name} is {line.state}"])


def _in_lines(line: Line) -> list[str]:
    """An entry for people. No table: it would be wider than most terminals."""
    entry, there = line.entry, line.next_slot_local
    head = f"{entry.name}: {line.state}, {entry.cron.text} ({entry.zone}), harvester {entry.harvester}, lane {entry.lane}"
    following = f"{line.next_slot:%Y-%m-%d %H:%M} UTC, {there:%Y-%m-%d %H:%M %Z} there"
    return [
        head,
        f"    last: {_in_words(line.last)}",
        f"    next: {following if line.state == 'on' else line.state}",
    ]


def _in_words(firing: Firing | None) -> str:
    if firing is None:
        return "never"
    slot = f"{firing.slot or firing.fired_at:%Y-%m-%d %H:%M} UTC" + ("" if firing.slot else " by hand")
    also = f" (for {firing.missed:,} missed ones too)" if firing.missed else ""
    return ": ".join(each for each in (slot, f"{firing.outcome}{also}", firing.run_id, firing.remark) if each)
