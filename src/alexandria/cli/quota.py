"""`alexandria quota ...`: what was spent, what is left, and whether the accounts agree."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

import typer

from alexandria.app import App, account_of, read_forecast, recount_patiently
from alexandria.cli import console
from alexandria.cli.quota_tables import reconciliation_in_words, show_status, show_usage
from alexandria.cli.running import AsJson, Exit, with_app
from alexandria.domain.errors import ProviderError, QuotaDenied
from alexandria.domain.quota_usage import MOST_DAYS, By, Span, total
from alexandria.providers.isbndb import PROVIDER

quota_cli = typer.Typer(
    help="What was spent, what is left, and whether the accounts agree.", no_args_is_help=True
)

Provider = Annotated[str, typer.Option(help="Whose units: isbndb, openlibrary, google-books, wikidata.")]


@quota_cli.command("status")
def quota_status(provider: Provider = PROVIDER, as_json: AsJson = False) -> None:
    """Show the day's limits, what was used by whom, what is left for whom, and how the day goes on. Costs no unit.

    \b
    alexandria quota status
    alexandria quota status --json
    """

    async def show(app: App) -> Exit:
        status = await app.quota.status(*account_of(app.config, provider))
        forecast = await read_forecast(app, status)
        if as_json:
            console.write_json({**status.as_json(), "forecast": forecast.as_json()})
        else:
            show_status(status, forecast)
        return Exit.DONE

    with_app(show)


@quota_cli.command("usage")
def quota_usage(
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="One day; today if left out.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(help="The last so many days, today included.", min=1, max=MOST_DAYS)
    ] = None,
    by: Annotated[
        By | None,
        typer.Option(
            help="A line for each of these; the hours of one day, or the days of several, if left out."
        ),
    ] = None,
    provider: Provider = PROVIDER,
    as_json: AsJson = False,
) -> None:
    """Show what was charged, by hour, day, lane or consumer; hours are UTC. Costs no unit.

    \b
    alexandria quota usage --day 2026-11-23
    alexandria quota usage --days 30 --by consumer --json
    """

    async def show(app: App) -> Exit:
        account, policy = account_of(app.config, provider)
        today = (await app.quota.status(account, policy)).day
        span = Span.of(day=day.date() if day else None, days=days, today=today)
        lines_by = by or span.usual_lines
        lines = await app.quota_reports.list_usage(account, span, lines_by)
        if as_json:
            console.write_json(
                {
                    "provider": provider,
                    "first_day": span.first_day,
                    "last_day": span.last_day,
                    "by": lines_by,
                    "total": total(lines).figures(),
                    "lines": [each.as_json() for each in lines],
                }
            )
        else:
            show_usage(provider, span, lines_by, lines)
        return Exit.DONE

    with_app(show)


@quota_cli.command("verify")
def quota_verify(as_json: AsJson = False) -> None:
    """Prove that the ledger's sum is what was charged, for every account and day.

    \b
    alexandria quota verify && echo proven
    """

    async def verify(app: App) -> Exit:
        discrepancies = await app.quota.verify()
        if as_json:
            console.write_json([str(each) for each in discrepancies])
        else:
            console.write_lines(
                [str(each) for each in discrepancies]
                or ["the ledger, the windows and the reservations agree"]
            )
        return Exit.ERROR if discrepancies else Exit.DONE

    with_app(verify)


@quota_cli.command("reconcile")
def quota_reconcile(as_json: AsJson = False) -> None:
    """Ask the provider for its own count now, and bring ours to what that proves. Costs no unit.

    \b
    alexandria quota reconcile
    """

    async def reconcile(app: App) -> Exit:
        account, policy = account_of(app.config, PROVIDER)
        before = await app.quota.status(account, policy)
        try:
            reconciliation = await recount_patiently(app)
        except (ProviderError, QuotaDenied) as error:
            console.say(f"alexandria: the provider's count is not known, so nothing was changed: {error}")
            return Exit.ERROR
        if reconciliation is None:
            console.say("alexandria: other processes keep asking the provider; try again in a moment")
            return Exit.ERROR
        # Already the answer that brings the count tells of foreign use, in its headers: that belongs to what was found too.
        reconciliation = replace(reconciliation, before=before.used)
        foreign = (await app.quota.status(account, policy)).foreign - before.foreign
        if as_json:
            console.write_json({**reconciliation.as_json(), "foreign_found": foreign})
        else:
            console.write_lines(reconciliation_in_words(reconciliation, foreign))
        return Exit.DONE

    with_app(reconcile)


@quota_cli.command("resume")
def quota_resume(provider: Provider = PROVIDER, as_json: AsJson = False) -> None:
    """Let calls go out again after the provider refused the key, or us, and the cause is mended.

    \b
    alexandria quota resume
    alexandria quota resume --provider openlibrary
    """

    async def resume(app: App) -> Exit:
        account, _ = account_of(app.config, provider)
        was_stopped = await app.quota.resume(account)
        if as_json:
            console.write_json({"was_stopped": was_stopped})
        else:
            console.write_lines(["calls go out again" if was_stopped else "nothing was stopped"])
        return Exit.DONE

    with_app(resume)
