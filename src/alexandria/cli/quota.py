"""`alexandria quota ...`."""

import typer

from alexandria.app import App, isbndb_account, isbndb_policy
from alexandria.cli import console
from alexandria.cli.running import AsJson, Exit, with_app

quota_cli = typer.Typer(help="What was spent today, and what is left.", no_args_is_help=True)


@quota_cli.command("status")
def quota_status(as_json: AsJson = False) -> None:
    """Show today's limits, what was used, and when the day resets.

    \b
    alexandria quota status --json
    """

    async def show(app: App) -> Exit:
        status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
        if as_json:
            console.write_json(status.as_json())
            return Exit.DONE
        rows: list[tuple[str, object]] = [
            ("safe limit", status.policy.safe_limit),
            ("hard limit", status.policy.hard_limit),
            ("used", status.used),
            ("of these in flight", status.reserved),
            ("of these unresolved", status.unresolved),
            ("remaining", status.remaining),
            ("resets at", f"{status.resets_at:%Y-%m-%d %H:%M} UTC"),
            ("can make calls", "yes" if status.can_make_calls else "no"),
        ]
        if status.stop:
            until = (
                f"until {status.stop.until:%Y-%m-%d %H:%M:%S} UTC"
                if status.stop.until
                else "until alexandria quota resume"
            )
            rows.append(("stopped", f"{status.stop.reason} {until}: {status.stop.detail}"))
        console.write_table(f"Units of {status.day} ({status.account.provider})", ("what", "value"), rows)
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


@quota_cli.command("resume")
def quota_resume() -> None:
    """Let calls go out again after the provider refused the key and the cause is mended.

    \b
    alexandria quota resume
    """

    async def resume(app: App) -> Exit:
        was_stopped = await app.quota.resume(isbndb_account(app.config))
        console.write_lines(["calls go out again" if was_stopped else "nothing was stopped"])
        return Exit.DONE

    with_app(resume)
