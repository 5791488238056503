"""`alexandria alerts ...`: what a person should look at, who was told, and what is silenced."""

import re
from datetime import timedelta
from typing import Annotated

import typer

from alexandria.alerts import kind_of, send_test, silence
from alexandria.app import App, notice_sender
from alexandria.cli import console
from alexandria.cli.groups import ListOrShow
from alexandria.cli.running import AsJson, Exit, with_app
from alexandria.domain.alerting import Alert
from alexandria.domain.errors import ConfigurationError, InvalidInput
from alexandria.stores.alerts import KEPT, AlertStore

alerts_cli = typer.Typer(
    help="Alerts: what a person should look at, who was told, and what is silenced.", cls=ListOrShow
)

Kind = Annotated[str, typer.Argument(help="Such as queue_old; docs/alerts.md has all.", metavar="KIND")]
Subject = Annotated[str | None, typer.Option(help="Only this subject, as `alexandria alerts list` shows it.")]

_SPAN = re.compile(r"(\d{1,6})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


@alerts_cli.command("list")
def list_alerts(
    with_cleared: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=1000)] = 100,
    as_json: AsJson = False,
) -> None:
    """List alerts that are open, what is silenced, and notices that could not be sent; this is what `alexandria alerts` does.

    \b
    alexandria alerts list
    alexandria alerts list --all --json
    """

    async def show(app: App) -> Exit:
        now = app.clock.now()
        async with app.database.transaction() as connection:
            store = AlertStore(connection)
            found = await store.list_alerts(now=now, with_cleared=with_cleared, limit=limit)
            silences = await store.list_silences(now=now)
            undelivered = await store.list_undelivered(since=now - KEPT)
        if as_json:
            console.write_json(
                {
                    "alerts": [each.as_json() for each in found],
                    "silences": [each.as_json() for each in silences],
                    "undelivered": [each.as_json() for each in undelivered],
                }
            )
            return Exit.DONE
        console.write_lines([text for each in found for text in _in_lines(each)] or ["no alert is open"])
        for each in silences:
            of = f" ({each.subject})" if each.subject else ""
            console.write_lines([f"silenced until {each.until:%Y-%m-%d %H:%M} UTC: {each.kind}{of}"])
        for lost in undelivered:
            then = f"again at {lost.next_try_at:%H:%M} UTC" if lost.next_try_at else "given up"
            console.say(f"not sent to {lost.target}: {lost.title}: {lost.error}; {then}")
        return Exit.DONE

    with_app(show)


def _in_lines(alert: Alert) -> list[str]:
    until = f" to {alert.cleared_at:%Y-%m-%d %H:%M}" if alert.cleared_at else ""
    silenced = ", silenced" if alert.silenced_until else ""
    return [
        f"{alert.severity}: {alert.kind}: {alert.subject} (since {alert.raised_at:%Y-%m-%d %H:%M}{until} UTC{silenced})",
        f"    {alert.message}",
    ]


@alerts_cli.command("test")
def send_to_targets(as_json: AsJson = False) -> None:
    """Send a test notice to every target, and say what each made of it; the exit code is 1 if one did not take it.

    \b
    alexandria alerts test
    """

    async def test(app: App) -> Exit:
        async with notice_sender(app) as sender:
            if not sender.targets:
                raise ConfigurationError(
                    "nowhere to send to: set ALEXANDRIA_ALERT_URLS or ALEXANDRIA_ALERT_WEBHOOK (docs/alerts.md)"
                )
            answers = await send_test(sender)
        if as_json:
            console.write_json([each.as_json() for each in answers])
        else:
            console.write_lines([f"{each.target}: {each.error or 'sent'}" for each in answers])
        return Exit.ERROR if any(each.error for each in answers) else Exit.DONE

    with_app(test)


@alerts_cli.command("silence")
def silence_kind(
    kind: Kind,
    span: Annotated[str, typer.Option("--for", help="For how long: 30m, 2h or 7d.")],
    subject: Subject = None,
    as_json: AsJson = False,
) -> None:
    """Tell nobody of a kind of alert for a while. It is shown all the same, and told at the end if it is still so.

    \b
    alexandria alerts silence queue_old --for 2h
    alexandria alerts silence breaker_open --subject openlibrary --for 7d
    """
    parsed, wanted = _parse_span(span), kind_of(kind)

    async def work(app: App) -> Exit:
        async with app.database.transaction() as connection:
            silenced = await silence(connection, wanted, subject, span=parsed, now=app.clock.now())
        if as_json:
            console.write_json(silenced.as_json())
        else:
            console.write_lines([f"silenced until {silenced.until:%Y-%m-%d %H:%M} UTC"])
        return Exit.DONE

    with_app(work)


@alerts_cli.command("unsilence")
def unsilence_kind(kind: Kind, subject: Subject = None) -> None:
    """End a silence before its time.

    \b
    alexandria alerts unsilence queue_old
    """
    wanted = kind_of(kind)

    async def work(app: App) -> Exit:
        async with app.database.transaction() as connection:
            ended = await AlertStore(connection).unsilence(wanted, subject, now=app.clock.now())
        if not ended:
            raise InvalidInput("kind", kind, "is not silenced; alexandria alerts list shows what is")
        return Exit.DONE

    with_app(work)


def _parse_span(text: str) -> timedelta:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise InvalidInput("for", text, "must be a number and m, h or d, such as 30m, 2h or 7d")
    return int(match[1]) * _UNITS[match[2]]
