"""`alexandria dead-letters ...`: jobs that failed for good: read them, try them again, discard them."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated

import typer

from alexandria import monitoring
from alexandria.app import App
from alexandria.cli import console
from alexandria.cli.groups import ListOrShow
from alexandria.cli.running import AsJson, Exit, with_app
from alexandria.stores.jobs import FETCH_COVER, HARVEST_ITEM
from alexandria.stores.monitoring import DeadLetter, MonitoringStore
from alexandria.stores.postgres import Connection

dead_letters_cli = typer.Typer(
    help="Jobs that failed for good: list, show, try again, discard.", cls=ListOrShow
)

Number = Annotated[
    int,
    typer.Argument(help="As `alexandria dead-letters` shows it.", metavar="NUMBER", min=1, max=2**63 - 1),
]


class Kind(StrEnum):
    """What a job was to do."""

    HARVEST_ITEM = HARVEST_ITEM
    FETCH_COVER = FETCH_COVER


@dead_letters_cli.command("list")
def list_dead_letters(
    kind: Annotated[Kind | None, typer.Option(help="Only jobs of this kind.")] = None,
    limit: Annotated[int, typer.Option(help="How many, the latest first.", min=1, max=1000)] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters; this is what `alexandria dead-letters` does.

    \b
    alexandria dead-letters list --kind fetch_cover
    """

    async def show(app: App) -> Exit:
        async with app.database.connection() as connection:
            found = await MonitoringStore(connection).list_dead_letters(kind=kind and kind.value, limit=limit)
        if as_json:
            console.write_json([_as_json(each) for each in found])
        elif found:
            rows = [
                (
                    each.id,
                    each.kind,
                    f"{each.failed_at:%Y-%m-%d %H:%M}",
                    each.attempts,
                    each.error or "unknown",
                )
                for each in found
            ]
            console.write_table("Dead letters", ("no.", "kind", "failed (UTC)", "attempts", "of"), rows)
        else:
            console.write_lines(["there is no dead letter"])
        return Exit.DONE

    with_app(show)


@dead_letters_cli.command("show")
def show_one(number: Number, as_json: AsJson = False) -> None:
    """Show one with what it was to do and where it failed; `alexandria dead-letters NUMBER` does the same.

    \b
    alexandria dead-letters show 4711
    """

    async def show(app: App) -> Exit:
        async with app.database.connection() as connection:
            letter = await monitoring.get_dead_letter(connection, number)
        if as_json:
            console.write_json(_as_json(letter))
            return Exit.DONE
        lines = [f"{name}: {value}" for name, value in _as_json(letter).items()]
        where = (letter.traceback or {}).get("traceback")
        console.write_lines([*lines, str(where)] if where else lines)
        return Exit.DONE

    with_app(show)


@dead_letters_cli.command("retry")
def retry(number: Number, as_json: AsJson = False) -> None:
    """Queue its job again, its attempts counted anew.

    \b
    alexandria dead-letters retry 4711
    """
    _change(number, monitoring.retry_dead_letter, "is in the queue again", as_json=as_json)


@dead_letters_cli.command("discard")
def discard(number: Number, as_json: AsJson = False) -> None:
    """Forget it; what it was to do is queued again when it is still wanted.

    \b
    alexandria dead-letters discard 4711
    """
    _change(number, monitoring.discard_dead_letter, "is discarded", as_json=as_json)


def _change(
    number: int, change: Callable[[Connection, int], Awaitable[DeadLetter]], done: str, *, as_json: bool
) -> None:
    async def work(app: App) -> Exit:
        async with app.database.transaction() as connection:
            letter = await change(connection, number)
        if as_json:
            console.write_json(_as_json(letter))
        else:
            console.write_lines([f"{letter.kind} {number} {done}"])
        return Exit.DONE

    with_app(work)


def _as_json(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "kind": letter.kind,
        "arguments": monitoring.arguments_of(letter),
        "error": letter.error,
        "attempts": letter.attempts,
        "queued_at": letter.queued_at.isoformat(),
        "failed_at": letter.failed_at.isoformat(),
    }
