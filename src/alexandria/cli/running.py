"""What commands share: wiring everything up, stopping cleanly, following a run, the process's exit code."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from alexandria import config as configuration
from alexandria import harvest
from alexandria.app import App, running_app, running_database
from alexandria.cli import console
from alexandria.domain.rollout import PauseCause
from alexandria.jobs.worker import Worker, work_until
from alexandria.load import LoadReport, load_into_catalogue
from alexandria.stores.harvests import HarvestStore, ItemState, Progress, Run, RunState
from alexandria.telemetry import Origin, configure_logs, new_request_id, working_for

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


class Exit(IntEnum):
    """What the process says when it ends."""

    DONE = 0
    ERROR = 1
    QUOTA_EXHAUSTED = 2
    INTERRUPTED = 130


SHORT_PAUSE = timedelta(minutes=2)
"""A run that goes on by itself so soon (a rate window, the minutes around midnight) is waited for."""


def with_app(work: Callable[[App], Coroutine[Any, Any, Exit]], *, origin: bool = True) -> None:
    """Do some work with everything wired up, and end the process with its exit code.

    What the command starts is found in the logs of whoever works on it by the command's id, unless it only does what others started.
    """
    settings = configuration.load()
    configure_logs(settings.log_level, settings.secrets)

    async def run(url: str) -> Exit:
        async with running_app(settings, url) as app:
            return await work(app)

    with running_database(settings) as url, working_for(Origin(new_request_id("cli-") if origin else None)):
        code = asyncio.run(run(url))
    raise typer.Exit(code)


@contextmanager
def interrupts(stop: Callable[[], object], *, quietly: bool = False) -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM ask for a clean stop; a second one ends at once. Yields whether one came."""
    loop = asyncio.get_running_loop()
    came = False

    def handle() -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True
        if console.notes.is_terminal and not quietly:
            console.say("stopping; what is in hand is finished first (again to end at once)")
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handle)
    try:
        yield lambda: came
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run something endless until Ctrl-C or SIGTERM ends it."""
    task = asyncio.create_task(work)
    with interrupts(task.cancel, quietly=True), suppress(asyncio.CancelledError):
        await task


async def follow_run(app: App, run_id: str, *, as_json: bool) -> Exit:
    """Work on a run until it ends or pauses, with a progress bar; print what it brought."""

    async def read() -> tuple[Run, Progress]:
        async with app.database.connection() as connection:
            return await harvest.get_run(connection, run_id), await HarvestStore(connection).get_progress(
                run_id
            )

    async def has_ended() -> bool:
        return is_over((await read())[0], now=app.clock.now())

    async def bars() -> Mapping[str, tuple[int, int, str]]:
        _, progress = await read()
        remark = f"{progress.units} units, {progress.editions_new} new editions"
        return {run_id: (progress.done + progress.failed, progress.items, remark)}

    worker = Worker(app, runs=frozenset({run_id}))
    with interrupts(worker.stop) as interrupted:
        async with console.progress_bars(bars):
            await work_until(worker, has_ended)
    run, progress = await read()
    await show_run(app, run, progress, as_json=as_json)
    if interrupted():
        console.say(f"stopped; go on with: alexandria harvest resume {run_id}")
        return Exit.INTERRUPTED
    return exit_code_of(run, progress)


_NOT_OF_THE_KEY = frozenset({PauseCause.PERSON, PauseCause.FAILING, PauseCause.CEILING})


def is_over(run: Run, *, now: datetime) -> bool:
    """Whether there is nothing to wait for: the run ended, its harvester is held, or it pauses for longer than a rate window or
    midnight."""
    if run.held:
        return True
    if run.state == RunState.PAUSED and run.resumes_at is not None:
        return run.resumes_at >= now + SHORT_PAUSE
    return run.state != RunState.RUNNING


def exit_code_of(run: Run, progress: Progress) -> Exit:
    """What a run's end says to a script."""
    if run.held:
        console.say(f"run {run.id} waits: {run.held}; see alexandria harvesters")
        return Exit.ERROR
    if run.state == RunState.PAUSED and not run.resumes_at and run.pause_cause in _NOT_OF_THE_KEY:
        console.say(f"see alexandria runs report {run.id}; go on with: alexandria harvest resume {run.id}")
        return Exit.ERROR
    if run.state == RunState.PAUSED:
        if run.resumes_at:
            console.say(
                f"go on after {run.resumes_at:%Y-%m-%d %H:%M} UTC with: alexandria harvest resume {run.id}"
            )
            return Exit.QUOTA_EXHAUSTED
        console.say(f"mend the cause, then: alexandria quota resume; alexandria harvest resume {run.id}")
        return Exit.ERROR
    return Exit.ERROR if progress.failed else Exit.DONE


async def show_run(app: App, run: Run, progress: Progress, *, as_json: bool) -> None:
    """Print a run, what it brought, and what failed."""
    async with app.database.connection() as connection:
        failed = await HarvestStore(connection).list_items(run.id, states=[ItemState.FAILED], limit=20)
    if as_json:
        failures = [{"name": each.name, "reason": each.reason} for each in failed]
        console.write_json(
            {
                "run": run.id,
                "state": run.state,
                "pause_cause": run.pause_cause,
                "pause_reason": run.pause_reason,
                "held": run.held,
                "resumes_at": run.resumes_at,
                **vars(progress),
                "failures": failures,
            }
        )
        return
    console.write_table(
        f"Run {run.id}: {run.state}",
        ("what", "count"),
        [(name.replace("_", " "), n) for name, n in vars(progress).items()],
    )
    if run.pause_reason:
        console.say(f"paused: {run.pause_reason}")
    if run.held:
        console.say(f"waits: {run.held}")
    for each in failed:
        console.say(f"failed: {each.name}: {each.reason}")


async def load_into(app: App, paths: Sequence[Path]) -> LoadReport:
    """Load dumps into the application's catalogue, with a progress bar."""
    read_so_far = (0, 0)

    def note(bytes_read: int, bytes_in_all: int) -> None:
        nonlocal read_so_far
        read_so_far = bytes_read, bytes_in_all

    async def bars() -> Mapping[str, tuple[int, int, str]]:
        kilobytes_read, kilobytes_in_all = (each // 1000 for each in read_so_far)
        return {"dump (kB)": (kilobytes_read, kilobytes_in_all, "")}

    async with console.progress_bars(bars):
        return await load_into_catalogue(app.database, paths, progress=note)
