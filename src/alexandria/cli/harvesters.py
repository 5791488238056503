"""`alexandria harvesters ...`: switch, pause and cap harvesters while they run."""

from collections.abc import Mapping
from typing import Annotated

import typer

from alexandria import rollout
from alexandria.app import App, read_units_today
from alexandria.cli import console
from alexandria.cli.groups import ListOrShow
from alexandria.cli.running import AsJson, Exit, with_app
from alexandria.domain.errors import InvalidInput
from alexandria.domain.rollout import Harvester, kind_of
from alexandria.stores.alerts import AlertStore
from alexandria.stores.harvesters import HarvesterStore

harvesters_cli = typer.Typer(
    help="Harvesters: what is switched on, paused and capped, while they run.", cls=ListOrShow
)

Name = Annotated[str, typer.Argument(help="Such as authors or new-releases.", metavar="NAME")]
_NO_CAP = "none"


@harvesters_cli.command("list")
def list_harvesters(as_json: AsJson = False) -> None:
    """List harvesters with their caps, and the alerts that are open; this is what `alexandria harvesters` does.

    \b
    alexandria harvesters list
    """

    async def show(app: App) -> Exit:
        async with app.database.connection() as connection:
            found = await HarvesterStore(connection).list_all()
            alerts = await AlertStore(connection).list_open(now=app.clock.now())
        units = await read_units_today(app)
        if as_json:
            console.write_json(
                {
                    "harvesters": [
                        each.as_json(units_today=units.get(each.consumer, 0) if units is not None else None)
                        for each in found
                    ],
                    "alerts": [each.as_json() for each in alerts],
                }
            )
            return Exit.DONE
        columns = (
            "harvester",
            "state",
            "units today",
            "a day at most",
            "a run at most",
            "pauses a run at",
            "open runs",
        )
        console.write_table("Harvesters", columns, [_row(each, units) for each in found])
        for each in found:
            if each.paused_at:
                console.say(f"{each.shown_name} is paused: {each.pause_reason}")
        for alert in alerts:
            console.say(f"alert since {alert.raised_at:%Y-%m-%d %H:%M} UTC: {alert.message}")
        return Exit.DONE

    with_app(show)


def _row(each: Harvester, units: Mapping[str, int] | None) -> tuple[object, ...]:
    threshold = f"> {each.most_failures_percent} % of {each.least_items} items"
    return (
        each.shown_name,
        each.state,
        None if units is None else units.get(each.consumer, 0),
        each.units_per_day,
        each.units_per_run,
        threshold,
        each.runs_open,
    )


@harvesters_cli.command("enable")
def enable(name: Name, as_json: AsJson = False) -> None:
    """Let runs of a harvester be started and go on.

    \b
    alexandria harvesters enable new-releases
    """
    _change(name, {"is_enabled": True}, as_json=as_json)


@harvesters_cli.command("disable")
def disable(name: Name, as_json: AsJson = False) -> None:
    """Let no run of a harvester be started, and hand nothing out of those that are open.

    \b
    alexandria harvesters disable new-releases
    """
    _change(name, {"is_enabled": False}, as_json=as_json)


@harvesters_cli.command("pause")
def pause(
    name: Name,
    reason: Annotated[str | None, typer.Option(help="Shown to others.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hand nothing out of a harvester's runs until it is resumed; runs may still be started, and wait.

    \b
    alexandria harvesters pause covers --reason "the disk is nearly full"
    """
    _change(name, {}, as_json=as_json, pause=(reason,))


@harvesters_cli.command("resume")
def resume(name: Name, as_json: AsJson = False) -> None:
    """Let a paused harvester go on, and its open runs with it.

    \b
    alexandria harvesters resume covers
    """
    _change(name, rollout.RESUMING, as_json=as_json)


@harvesters_cli.command("cap")
def cap(
    name: Name,
    units_per_day: Annotated[str | None, typer.Option(help="Units a day, or none for no cap.")] = None,
    units_per_run: Annotated[str | None, typer.Option(help="Units of each run, or none for no cap.")] = None,
    most_failures_percent: Annotated[
        int | None, typer.Option(help="A run pauses itself when more of its latest items failed.")
    ] = None,
    least_items: Annotated[int | None, typer.Option(help="How many items that are.")] = None,
    as_json: AsJson = False,
) -> None:
    """Cap what a harvester spends, and say how many failures are too many; what is left out stays as it is.

    \b
    alexandria harvesters cap new-releases --units-per-day 500 --units-per-run none
    """
    caps = {"units_per_day": units_per_day, "units_per_run": units_per_run}
    changes: dict[str, object] = {
        field: _units(field, text) for field, text in caps.items() if text is not None
    }
    thresholds = {"most_failures_percent": most_failures_percent, "least_items": least_items}
    changes |= {field: value for field, value in thresholds.items() if value is not None}
    if not changes:
        raise InvalidInput("units_per_day", "", "say what to change, such as --units-per-day 500")
    _change(name, changes, as_json=as_json)


def _units(field: str, text: str) -> int | None:
    if text == _NO_CAP:
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(field, text, "give a number of units, or none for no cap") from None


def _change(
    name: str, changes: Mapping[str, object], *, as_json: bool, pause: tuple[str | None] | None = None
) -> None:
    kind = kind_of(name)

    async def work(app: App) -> Exit:
        now = app.clock.now()
        wanted = rollout.pausing(pause[0], now=now) if pause else changes
        async with app.database.transaction() as connection:
            after = await rollout.change_harvester(connection, kind, wanted, now=now)
        units = await read_units_today(app)
        if as_json:
            today = None if units is None else units.get(after.consumer, 0)
            console.write_json(after.as_json(units_today=today))
        else:
            caps = [
                f"{'no cap' if units is None else f'{units:,} units'} a {span}"
                for units, span in ((after.units_per_day, "day"), (after.units_per_run, "run"))
            ]
            console.write_lines([f"{after.shown_name} is {after.state}; {', '.join(caps)}"])
        return Exit.DONE

    with_app(work)
