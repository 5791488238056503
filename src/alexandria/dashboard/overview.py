"""The first page: how everything stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from alexandria.app import isbndb_account, isbndb_policy
from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.covers import CoverState
from alexandria.stores.covers import CoverStore
from alexandria.stores.harvests import HarvestStore, Progress, Run, RunState
from alexandria.stores.postgres import Connection

log = structlog.get_logger()

LATEST_RUNS = 8
LATEST_FAILURES = 8

_ACTIVE = frozenset({RunState.RUNNING, RunState.PAUSED})
_FAILED_COVERS = (CoverState.FAILED, CoverState.MISSING, CoverState.REFUSED)


@dataclass(frozen=True)
class RunLine:
    """A run as a line of the page."""

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


async def read(dashboard: Dashboard, asked: Asked) -> Mapping[str, object]:
    """Everything that the page says."""
    app = dashboard.app
    now = app.clock.now()
    status = None
    if app.config.isbndb_key:
        status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
    worker, detail = dashboard.worker_state()
    async with app.database.transaction() as connection:
        lines = await _list_runs(connection, now)
        states = await CoverStore(connection).counts()
        return {
            "worker": worker,
            "worker_detail": detail,
            "quota": status,
            "hindrance": status.hindrance() if status else None,
            "active": sorted(
                (each for each in lines if each.run.state in _ACTIVE),
                key=lambda each: each.run.state != RunState.RUNNING,
            ),
            "ended": [each for each in lines if each.run.state not in _ACTIVE],
            "failed_covers": {state: states[state] for state in _FAILED_COVERS if states.get(state)},
            "failures": await HarvestStore(connection).list_latest_failures(limit=LATEST_FAILURES),
        }


async def _list_runs(connection: Connection, now: datetime) -> Sequence[RunLine]:
    """The latest runs, and older ones that still have something to do."""
    harvests = HarvestStore(connection)
    runs = await harvests.list_runs(limit=LATEST_RUNS)
    known = {each.id for each in runs}
    older = [each for each in await harvests.list_runs_to_feed(now) if each not in known]
    runs += await harvests.find_runs(older[:LATEST_RUNS])
    progress = await harvests.list_progress([each.id for each in runs])
    return [RunLine(run, progress[run.id]) for run in runs]


PAGE = Page("overview", "Overview", "/", ("quota", "harvests", "errors"), read, Asked)
