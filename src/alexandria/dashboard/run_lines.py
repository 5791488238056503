"""Runs as lines of a page."""

from collections.abc import Sequence
from dataclasses import dataclass

from alexandria.stores.harvests import HarvestStore, Progress, Run, RunState
from alexandria.stores.monitoring import MonitoringStore
from alexandria.stores.postgres import Connection

TONES = {
    RunState.RUNNING: "busy",
    RunState.PAUSED: "warn",
    RunState.DONE: "good",
    RunState.FAILED: "bad",
    RunState.CANCELLED: "calm",
}
"""How a state looks."""


@dataclass(frozen=True)
class RunLine:
    """A run and how far it has come."""

    run: Run
    progress: Progress

    @property
    def ended(self) -> int:
        """Items that are through, one way or the other."""
        return self.progress.done + self.progress.failed

    @property
    def percentage(self) -> int:
        """Of the items that are through, rounded down: 100 only when all are."""
        return 100 * self.ended // self.progress.items if self.progress.items else 0

    @property
    def tone(self) -> str:
        """How its state looks; a run that is handed no work looks like a paused one."""
        return "warn" if self.run.held else TONES[RunState(self.run.state)]

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.run.state in {RunState.RUNNING, RunState.PAUSED}

    @property
    def editions_per_unit(self) -> float | None:
        """New editions that a unit bought; None when none was spent."""
        return round(self.progress.editions_new / self.progress.units, 2) if self.progress.units else None


async def list_open_runs(connection: Connection, *, limit: int) -> Sequence[RunLine]:
    """Runs that have not ended, those that run first."""
    ids = await MonitoringStore(connection).list_open_runs(limit=limit)
    return await with_progress(connection, await HarvestStore(connection).find_runs(ids))


async def with_progress(connection: Connection, runs: Sequence[Run]) -> Sequence[RunLine]:
    """The same runs, each with how far it has come."""
    progress = await HarvestStore(connection).list_progress([each.id for each in runs])
    return [RunLine(each, progress[each.id]) for each in runs]
