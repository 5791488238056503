"""`alexandria enrich`, `alexandria plan`, and the harvests that choose their targets themselves."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from alexandria import planning
from alexandria.app import App, isbndb_account, isbndb_policy
from alexandria.cli import console
from alexandria.cli.harvesting import DryRun, Refresh, fresh_since, harvest_cli, run_harvest
from alexandria.cli.running import AsJson, Exit, with_app
from alexandria.domain.errors import InvalidInput
from alexandria.domain.isbn import parse_each
from alexandria.domain.plans import Plan
from alexandria.outlook import read_outlook

MOST_FILE_BYTES = 10_000_000
"""Of a file of ISBNs: far more than a run takes."""

MaxUnits = Annotated[
    int, typer.Option("--max-units", help="Units to spend at most; what is left comes with the next run.")
]


def enrich(
    isbns: Annotated[list[str] | None, typer.Argument(help="ISBNs in any written form.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A file with an ISBN on each line; - for standard input.")
    ] = None,
    source: Annotated[str, typer.Option(help="Who asks, in a word or two; kept with the run.")] = "cli",
    dry_run: DryRun = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask again for what was asked not long ago.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Enrich editions by ISBN: a unit each, less those that were asked for not long ago.

    Invalid ISBNs are named and the rest is done; the exit code is 1 then.

    \b
    alexandria enrich 9780140449136 0-306-40615-2
    alexandria enrich --file isbns.txt --dry-run
    """
    texts = [*(isbns or []), *(_read_lines(file) if file else [])]
    valid, invalid = parse_each(texts)
    for text, reason in invalid.items():
        console.say(f"{text}: {reason}")
    if not valid:
        raise InvalidInput("isbns", texts[0] if texts else "", "give at least one valid ISBN, or --file")

    async def plan(app: App) -> Plan:
        async with app.database.connection() as connection:
            return await planning.plan_isbns(
                connection, valid, fresh_since=fresh_since(app, refresh=refresh), anew=refresh
            )

    run_harvest(
        plan,
        {"isbns": len(valid), "source": source},
        dry_run=dry_run,
        as_json=as_json,
        at_best=Exit.ERROR if invalid else Exit.DONE,
    )


def _read_lines(file: Path) -> list[str]:
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
            content = source.read(MOST_FILE_BYTES + 1)
        if len(content) > MOST_FILE_BYTES:
            raise InvalidInput("file", file.name, f"is longer than {MOST_FILE_BYTES:,} bytes")
        return [line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("file", file.name, f"can't be read as a text: {error}") from error


@harvest_cli.command("updates")
def harvest_updates(max_units: MaxUnits = planning.MOST_UNITS, as_json: AsJson = False) -> None:
    """Read the provider's update feed, for nothing, and ask again for those editions of ours that changed.

    \b
    alexandria harvest updates --max-units 500
    """

    async def plan(app: App) -> Plan:
        async with app.database.connection() as connection:
            return await planning.plan_updates(connection, now=app.clock.now())

    run_harvest(plan, {"max_units": max_units}, dry_run=False, as_json=as_json)


@harvest_cli.command("gaps")
def harvest_gaps(
    max_units: MaxUnits = planning.MOST_UNITS,
    dry_run: DryRun = False,
    refresh: Refresh = False,
    as_json: AsJson = False,
) -> None:
    """Ask for pages of authors of whom the provider has more than we read, then for editions that lack fields.

    \b
    alexandria harvest gaps --max-units 500 --dry-run
    """

    async def plan(app: App) -> Plan:
        async with app.database.connection() as connection:
            return await planning.plan_gaps(
                connection,
                max_units=max_units,
                max_pages=planning.MOST_PAGES,
                fresh_since=fresh_since(app, refresh=refresh),
                now=app.clock.now(),
            )

    run_harvest(plan, {"max_units": max_units}, dry_run=dry_run, as_json=as_json)


@harvest_cli.command("missing-covers")
def harvest_missing_covers(
    max_units: MaxUnits = planning.MOST_UNITS, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Ask where the covers of editions are that have none, the newest first; workers, or harvest covers, fetch them.

    \b
    alexandria harvest missing-covers --max-units 200 --dry-run
    """

    async def plan(app: App) -> Plan:
        async with app.database.connection() as connection:
            return await planning.plan_missing_covers(
                connection,
                max_units=max_units,
                fresh_since=fresh_since(app, refresh=False),
                now=app.clock.now(),
            )

    run_harvest(plan, {"max_units": max_units}, dry_run=dry_run, as_json=as_json)


@harvest_cli.command("people")
def harvest_people(
    most: Annotated[
        int, typer.Option(help="Authors to ask about at most, those with the most works first.")
    ] = 500,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask again about those asked about not long ago.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask Open Library and Wikidata for years, names and identifiers of authors; costs no unit.

    \b
    alexandria harvest people --most 200
    """

    async def plan(app: App) -> Plan:
        async with app.database.connection() as connection:
            return await planning.plan_people(
                connection, most=most, fresh_since=fresh_since(app, refresh=refresh)
            )

    run_harvest(plan, {"people": most}, dry_run=False, as_json=as_json)


def show_outlook(as_json: AsJson = False) -> None:
    """Show what open runs still need, what that should bring and when it is through; spends nothing.

    \b
    alexandria plan
    """

    async def show(app: App) -> Exit:
        status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
        now = app.clock.now()
        async with app.database.connection() as connection:
            outlook = await read_outlook(connection, now=now)
        finish = outlook.finishes_at(status, now)
        if as_json:
            console.write_json(
                {
                    "units": outlook.units,
                    "calls": outlook.calls,
                    "editions_expected": outlook.editions_expected,
                    "units_remaining": status.remaining,
                    "finishes_at": finish,
                    "lines": [vars(each) for each in outlook.lines],
                    "accuracy": [
                        {
                            "target": each.kind,
                            "units_expected": each.units_expected,
                            "editions_expected": each.editions_expected,
                            "editions_new": each.editions_new,
                            "correction": outlook.yields.factors[each.kind],
                        }
                        for each in outlook.experiences
                    ],
                }
            )
            return Exit.DONE
        console.write_table(
            "What is open, in order",
            ("run", "kind", "lane", "state", "asks for", "items", "units", "new editions expected"),
            [
                (
                    each.run,
                    each.kind,
                    each.lane,
                    each.state,
                    each.target,
                    each.items,
                    round(each.units),
                    round(each.editions_expected),
                )
                for each in outlook.lines
            ],
        )
        console.write_table(
            "Expected and brought in the last 30 days",
            ("asked for", "units expected", "editions expected", "brought", "correction"),
            [
                (
                    each.kind,
                    round(each.units_expected),
                    round(each.editions_expected),
                    round(each.editions_new),
                    f"{outlook.yields.factors[each.kind]:.2f}",
                )
                for each in outlook.experiences
            ],
        )
        when = f"through at {finish:%Y-%m-%d %H:%M} UTC" if finish else "never through: nothing may be spent"
        left = f"{status.remaining:,} units are left today"
        console.write_lines([f"{outlook.units:,} units in {outlook.calls:,} calls; {left}; {when}"])
        return Exit.DONE

    with_app(show)
