"""`python -m alexandria.rehearsal`: rehearse a day and print the table; exit code 1 when a row does not hold."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from alexandria.cli import console
from alexandria.cli.running import AsJson, Exit
from alexandria.domain.errors import AlexandriaError
from alexandria.rehearsal.conducting import Outcome, folder_for, rehearse
from alexandria.rehearsal.scenario import Scenario, short
from alexandria.telemetry import configure_logs


def run(
    is_short: Annotated[
        bool, typer.Option("--short", help="The midnight and an hour, in less than a minute.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option(help="Real seconds for all of it: fewer make the clocks faster.", min=10)
    ] = None,
    authors: Annotated[int | None, typer.Option(help="Authors of the invented world.", min=10)] = None,
    seed: Annotated[int | None, typer.Option(help="The world's seed, and whose worker is killed.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the database and every process's log in this new folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rehearse a whole provider day against the sandbox, and print what came of it."""
    scenario = short() if is_short else Scenario()
    given: dict[str, Any] = {"seconds": seconds, "authors": authors, "seed": seed}
    scenario = replace(scenario, **{name: value for name, value in given.items() if value is not None})
    configure_logs("error")
    try:
        with folder_for(folder) as place:
            outcome = asyncio.run(rehearse(scenario, place, console.say))
    except KeyboardInterrupt:
        console.say("stopped; nothing is left running")
        raise typer.Exit(Exit.INTERRUPTED) from None
    show(outcome, as_json=as_json)
    raise typer.Exit(Exit.DONE if outcome.holds else Exit.ERROR)


def show(outcome: Outcome, *, as_json: bool) -> None:
    """The table, or one JSON document."""
    if as_json:
        console.write_json(outcome.as_json())
        return
    rows = [
        (each.name, _figure(each.value), each.must_be, "yes" if each.holds else "NO", each.remark)
        for each in outcome.measures
    ]
    console.write_table("The rehearsal", ("metric", "is", "must be", "holds", "remark"), rows)
    counts = ", ".join(f"{n:,} {what}" for what, n in outcome.counts.items())
    console.say(f"{outcome.seconds:.0f} s on clocks {outcome.factor:.0f} times as fast; {counts}")


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def main() -> None:
    """Run it; every error that a person can do something about is one line."""
    cli = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)
    cli.command()(run)
    try:
        sys.exit(cli(standalone_mode=False) or Exit.DONE)
    except AlexandriaError as error:
        console.say(f"rehearsal: {error}")
        sys.exit(Exit.ERROR)
    except typer.TyperException as error:
        console.say(f"rehearsal: {error.format_message()}")
        sys.exit(Exit.ERROR)


if __name__ == "__main__":
    main()
