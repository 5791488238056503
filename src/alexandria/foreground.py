"""Small runs, worked on while their caller waits: what takes longer goes on behind the caller's back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from alexandria.domain.errors import AlexandriaError
from alexandria.harvest import Harvester, Next, Outcome
from alexandria.stores.harvests import HarvestStore, RunState

log = structlog.get_logger()

MOST_SECONDS = 12.0
"""How long a caller waits at most: less than the time after which the server gives a request up."""

MOST_UNITS = 100
"""What a run may be expected to cost to be worked on at once: one bulk call, or as many pages as take half a minute."""

_LOOK_SECONDS = 0.2
"""How often to look whether somebody else has finished an item that is in his hands."""

_STOP_SECONDS = 65.0
"""How long calls in hand may go on after a stop: longer than the time-out of a bulk call, because its answer is paid for."""

_AT_ONCE = 4


@dataclass
class Foreground:
    """Works on runs in this process, whatever its workers do. Several may work on one run: an item is in one hand at a time."""

    harvester: Harvester
    _tasks: set[asyncio.Task[AlexandriaError | None]] = field(default_factory=set)
    _is_stopping: bool = False

    async def work(self, run_id: str, *, seconds: float = MOST_SECONDS) -> AlexandriaError | None:
        """Work on a run until it ends or waits, or until the time is over: then the calls in hand are finished behind the caller's
        back, and the rest is left to the workers.

        Returns what made the run wait, if this work met it. Raises StoreUnavailable.
        """
        is_over = asyncio.Event()
        with structlog.contextvars.bound_contextvars(run=run_id):
            task = asyncio.create_task(self._work(run_id, is_over))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        finally:
            is_over.set()
        return task.result() if done else None

    def _forget(self, task: asyncio.Task[AlexandriaError | None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # If its caller is gone nobody else sees it; the run itself is left where a worker finds it.
            log.warning("foreground.failed", reason=f"{type(error).__name__}: {error}")

    async def _work(self, run_id: str, is_over: asyncio.Event) -> AlexandriaError | None:
        harvester = self.harvester

        def stopping() -> bool:
            return self._is_stopping or is_over.is_set()

        while not stopping():
            async with harvester.database.transaction() as connection:
                harvests, now = HarvestStore(connection), harvester.clock.now()
                await harvests.finish_run(run_id, now=now)
                run = await harvests.find_run(run_id)
                due = await harvests.list_due_items(run_id, now=now, limit=_AT_ONCE)
            if run is None or run.state != RunState.RUNNING or run.held:
                return None
            # Whatever becomes of one, the others come to their end: their answers are paid for.
            came = await asyncio.gather(
                *(harvester.take(run_id, position, stopping=stopping) for position in due),
                return_exceptions=True,
            )
            for each in came:
                if isinstance(each, BaseException):
                    raise each
            outcomes = [each for each in came if isinstance(each, Outcome)]
            paused = [each for each in outcomes if each.next is Next.PAUSED]
            if paused:
                return next((each.error for each in paused if each.error is not None), None)
            if not any(each.next is Next.ENDED for each in outcomes):
                await harvester.clock.sleep(_LOOK_SECONDS)
        return None

    async def stop(self) -> None:
        """Let calls in hand come to their end; what is left is put down for a worker."""
        self._is_stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def working_in_foreground(harvester: Harvester) -> AsyncIterator[Foreground]:
    """A `Foreground` that is stopped at the end of the block."""
    foreground = Foreground(harvester)
    try:
        yield foreground
    finally:
        await foreground.stop()
