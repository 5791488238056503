"""`alexandria tune`: where each dial stands and why."""

from typing import Annotated

import typer

from alexandria import tuning
from alexandria.app import App
from alexandria.cli import console
from alexandria.cli.running import AsJson, Exit, with_app


def tune(
    show: Annotated[bool, typer.Option("--show", help="Show every dial; this is done anyway.")] = False,
    reset: Annotated[
        str | None, typer.Option(metavar="NAME", help="First put this dial back to where it starts.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is tuned, within which bounds, and why it stands where it stands; docs/tuning.md.

    Dials are pinned in the configuration: ALEXANDRIA_PINNED=items_at_once=4,isbndb_seconds=30.

    \b
    alexandria tune --show
    alexandria tune --reset items_at_once
    """

    async def work(app: App) -> Exit:
        change = None
        if reset is not None:
            async with app.database.transaction() as connection:
                change = await tuning.reset(connection, app.dials, reset)
            tuning.tell([change] if change else [])
        async with app.database.transaction() as connection:
            lines = await tuning.show(connection, app.dials)
        if as_json:
            console.write_json([each.as_json() for each in lines])
        else:
            console.write_lines([text for each in lines for text in _in_lines(each)])
        return Exit.DONE

    with_app(work)


def _in_lines(line: tuning.Line) -> list[str]:
    dial = line.dial
    stands = "pinned" if line.is_pinned else f"{dial.low:g} to {dial.high:g}, started at {dial.start:g}"
    return [
        f"{dial.name}: {line.value:g} {dial.unit} ({stands})",
        f"    {dial.why}",
        *(f"    {each.changed_at:%Y-%m-%d %H:%M} UTC: {each.reason}" for each in line.changes),
    ]
