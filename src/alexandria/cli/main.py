"""The command line: everything Alexandria does, for a person at a terminal or a script.

Exit codes: 0 done, 1 an error (one line on stderr says which), 2 the quota is exhausted and the run resumes after the reset,
130 interrupted.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from alexandria import config as configuration
from alexandria.app import App, alerting, isbndb_account, mirroring
from alexandria.cli import console
from alexandria.cli.alerts import alerts_cli
from alexandria.cli.check import check
from alexandria.cli.dead_letters import dead_letters_cli
from alexandria.cli.enriching import enrich, show_outlook
from alexandria.cli.harvesters import harvesters_cli
from alexandria.cli.harvesting import harvest_cli
from alexandria.cli.quota import quota_cli
from alexandria.cli.running import AsJson, Exit, interrupts, load_into, until_stopped, with_app
from alexandria.cli.runs import runs_cli
from alexandria.cli.schedule import schedule_cli
from alexandria.cli.tuning import tune
from alexandria.domain.errors import AlexandriaError, ConfigurationError, QuotaDenied
from alexandria.jobs.worker import Worker
from alexandria.telemetry import configure_logs, redacted
from alexandria.upkeep import roll_up_old_days

cli = typer.Typer(
    name="alexandria",
    help="A book-metadata catalogue that fills itself without ever overspending the day's quota.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cli.add_typer(harvest_cli, name="harvest")
cli.add_typer(runs_cli, name="runs")
cli.add_typer(harvesters_cli, name="harvesters")
cli.add_typer(quota_cli, name="quota")
cli.add_typer(schedule_cli, name="schedule")
cli.add_typer(alerts_cli, name="alerts")
cli.add_typer(dead_letters_cli, name="dead-letters")
cli.command()(enrich)
cli.command("plan")(show_outlook)
cli.command()(check)
cli.command()(tune)


def main() -> None:
    """Run the command line; every error that a person can do something about is one line."""
    try:
        # Without its standalone mode typer gives the code of a typer.Exit back instead of ending the process.
        sys.exit(cli(standalone_mode=False) or Exit.DONE)
    except (KeyboardInterrupt, typer.Abort):
        console.say("stopped; what was begun goes on where it stopped")
        sys.exit(Exit.INTERRUPTED)
    except QuotaDenied as denied:
        console.say(redacted(f"alexandria: {denied}"))
        sys.exit(Exit.QUOTA_EXHAUSTED)
    except AlexandriaError as error:
        console.say(redacted(f"alexandria: {error}"))
        sys.exit(Exit.ERROR)
    except typer.TyperException as error:
        console.say(f"alexandria: {error.format_message()}")
        sys.exit(Exit.ERROR)


@cli.command()
def load(
    paths: Annotated[
        list[Path], typer.Argument(help="Open Library dumps: authors, works, editions; plain or .gz.")
    ],
    as_json: AsJson = False,
) -> None:
    """Load Open Library dumps into the catalogue; a load that was killed goes on where it stopped.

    Rows that can't be read are set aside with their place and reason; the good ones around them are kept, and the exit code is 1.

    \b
    alexandria load ol_dump_authors_latest.txt.gz ol_dump_works_latest.txt.gz ol_dump_editions_latest.txt.gz
    """

    async def work(app: App) -> Exit:
        report = await load_into(app, paths)
        if as_json:
            console.write_json(report.as_json())
        else:
            console.write_lines(report.as_lines())
        return Exit.ERROR if report.failed or report.rows_set_aside.counts else Exit.DONE

    with_app(work)


@cli.command("config")
def show_config(as_json: AsJson = False) -> None:
    """Show every setting, its value and where that came from; secrets are masked.

    \b
    alexandria config
    """
    shown = configuration.show()
    if as_json:
        console.write_json({each.name: {"value": each.value, "from": each.origin} for each in shown})
    else:
        # One a line, so that it can be copied and searched however narrow the terminal is.
        for each in shown:
            name = configuration.PREFIX + each.name.upper()
            console.write_lines([f"{name}={each.value or ''}", f"    {each.help} (from {each.origin})"])


@cli.command()
def upkeep(as_json: AsJson = False) -> None:
    """Roll up days of the quota that are long over, now; workers do it once a day by themselves.

    Every charge is kept one by one for ALEXANDRIA_QUOTA_DETAIL_DAYS days, then as sums of an hour. Stop it as you like.

    \b
    alexandria upkeep
    """

    async def work(app: App) -> Exit:
        done = await roll_up_old_days(app.quota, app.quota_reports, keep=app.config.quota_detail)
        if as_json:
            console.write_json(done.as_json())
            return Exit.DONE
        console.write_lines([f"{done.days:,} days rolled up: {done.rows:,} reservations and comparisons"])
        for account, day in done.days_kept:
            console.say(
                f"{account.provider} {day} stays as it is: open, or not in order; see alexandria quota verify"
            )
        return Exit.DONE

    with_app(work)


@cli.command()
def worker() -> None:
    """Work on whatever is due, until stopped. Start as many as you like, on as many machines.

    \b
    alexandria worker
    """

    async def work(app: App) -> Exit:
        isbndb_account(app.config)
        each = Worker(app)
        with interrupts(each.stop):
            console.say("working; Ctrl-C stops")
            async with mirroring(app), alerting(app):
                await each.run()
        return Exit.DONE

    with_app(work, origin=False)


@cli.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to serve on; ALEXANDRIA_HOST if left out.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to serve on; ALEXANDRIA_PORT if left out.", min=1, max=65535)
    ] = None,
    with_worker: Annotated[bool, typer.Option(help="Also work on runs within the server.")] = True,
) -> None:
    """Serve the API and the dashboard.

    \b
    alexandria serve --port 8765
    """
    from alexandria.server import serve as serve_forever  # the web stack is slow to import

    settings = configuration.load()
    configure_logs(settings.log_level, settings.secrets)
    serve_forever(settings, host=host or settings.host, port=port or settings.port, with_worker=with_worker)


@cli.command()
def sandbox(
    books: Annotated[
        Path | None, typer.Option(help="Serve these rows (CSV or JSON lines) instead of the invented world.")
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            help="Port of the API, the next two for covers and control; 0: free ones.", min=0, max=65533
        ),
    ] = 8780,
    seed: Annotated[int, typer.Option(help="The invented world's seed.")] = 1,
    authors: Annotated[int, typer.Option(help="Authors of the invented world.", min=1)] = 100,
    works: Annotated[int, typer.Option(help="Works of its most productive author.", min=1)] = 120,
    key: Annotated[str, typer.Option(help="The key that the sandbox accepts.")] = "sandbox-key",
    journal: Annotated[
        Path | None, typer.Option(help="Where charges are kept, so that a restart remembers them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a stand-in ISBNdb on this machine, to develop and rehearse against without spending a unit.

    \b
    alexandria sandbox --books books.csv
    """
    # Nothing else needs the sandbox, so nothing else waits for its import.
    from alexandria.sandbox.accounts import PREMIUM
    from alexandria.sandbox.google_books import GOOGLE_KEY
    from alexandria.sandbox.server import Sandbox, serve_forever
    from alexandria.sandbox.world import World

    configure_logs("warning")
    world = (
        World.from_file(books)
        if books
        else World.invent(seed=seed, authors=authors, works_per_top_author=works)
    )
    for dropped in world.set_aside:
        console.say(f"set aside: {dropped.place}: {dropped.reason}")

    def announce(running: Sandbox) -> None:
        addresses = {
            "url": running.url,
            "covers_url": running.covers_url,
            "control_url": running.control_url,
            "openlibrary_url": running.openlibrary_url,
            "openlibrary_covers_url": running.openlibrary_covers_url,
            "google_books_url": running.google_books_url,
            "wikidata_url": running.wikidata_url,
            "key": key,
            "google_books_key": GOOGLE_KEY,
        }
        if as_json:
            console.write_json(addresses)
        else:
            console.write_lines([f"{name}: {address}" for name, address in addresses.items()])
            console.say("Ctrl-C stops")

    serving = serve_forever(
        world,
        ready=announce,
        port=port,
        covers_port=port and port + 1,
        control_port=port and port + 2,
        keys={key: PREMIUM},
        journal=journal,
    )
    try:
        asyncio.run(until_stopped(serving))
    except OSError as error:
        raise ConfigurationError(
            f"port {port}: {error.strerror or error}; choose another with --port"
        ) from error


@cli.command()
def demo(
    authors: Annotated[int, typer.Option(help="Authors of the invented world.", min=1, max=1000)] = 120,
    works: Annotated[int, typer.Option(help="Works of its most productive author.", min=1, max=1000)] = 250,
    seed: Annotated[int, typer.Option(help="The invented world's seed.")] = 1,
    serve_it: Annotated[
        bool, typer.Option("--serve", help="Serve the API and the dashboard over what the demo brought.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port to serve on.", min=1, max=65535)] = 8765,
) -> None:
    """Set up a catalogue from an invented world: load a dump, harvest its top-100 authors, their covers and a month.

    \b
    alexandria demo
    alexandria demo --serve
    """
    # Nothing else needs the sandbox, so nothing else waits for its import.
    from alexandria.cli.demo import run_demo, serve_demo

    recipe = {"seed": seed, "authors": authors, "works": works}
    if serve_it:
        serve_demo(recipe, port=port)
    else:
        raise typer.Exit(run_demo(recipe))
