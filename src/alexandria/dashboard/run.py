"""The page of one run: what it was to do, how far it is, what it cost and brought, and what came of each item."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from alexandria.dashboard.run_lines import RunLine
from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.errors import RecordNotFound
from alexandria.domain.run_reports import TargetFigures
from alexandria.stores.harvests import HarvestStore, Item, ItemState, RunState
from alexandria.stores.postgres import Database
from alexandria.stores.run_reports import RunReportStore

ITEMS = 50
FIGURES_KEPT = timedelta(seconds=10)
"""Figures by target add up all items of a run, and what was charged for them."""

TONES = {
    ItemState.PENDING: "calm",
    ItemState.RUNNING: "busy",
    ItemState.PARTIAL: "busy",
    ItemState.DONE: "good",
    ItemState.EMPTY: "calm",
    ItemState.FAILED: "bad",
}


class RunAsked(Asked):
    """Which run, and which of its items are shown."""

    run_id: Annotated[str, Field(max_length=64)]
    state: ItemState | None = None
    after: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """The position of the last item that was seen."""


@dataclass(frozen=True)
class ItemLine:
    """One item, and what came of it."""

    item: Item

    @property
    def tone(self) -> str:
        """How its state looks."""
        return TONES[ItemState(self.item.state)]

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Of a target with ISBNs: how many came to what."""
        return Counter(outcome for outcome, _ in self.item.outcomes.values())


async def read(dashboard: Dashboard, asked: RunAsked) -> Mapping[str, object]:
    """Everything that the page says. Raises RecordNotFound for an unknown run."""
    database = dashboard.app.database
    async with database.transaction() as connection:
        harvests = HarvestStore(connection)
        run = await harvests.find_run(asked.run_id)
        if run is None:
            raise RecordNotFound("harvests", f"There is no run {asked.run_id}")
        line = RunLine(run, await harvests.get_progress(run.id))
        items = await harvests.list_items(
            run.id,
            states=[asked.state] if asked.state else None,
            after=asked.after or 0,
            limit=ITEMS + 1,
        )
    return {
        "title": run.target,
        "line": line,
        "can_retry": bool(line.progress.failed) and run.state != RunState.CANCELLED,
        "figures": await dashboard.remember(
            f"figures of {run.id}", FIGURES_KEPT, lambda: _list_figures(database, asked.run_id)
        ),
        "items": [ItemLine(each) for each in items[:ITEMS]],
        "next": items[ITEMS - 1].position if len(items) > ITEMS else None,
        "states": list(ItemState),
    }


async def _list_figures(database: Database, run_id: str) -> Sequence[TargetFigures]:
    async with database.connection() as connection:
        return await RunReportStore(connection).list_target_figures(run_id)


PAGE = Page(
    "run",
    "Run",
    "/dashboard/runs/{run_id}",
    ("summary", "figures", "items"),
    read,
    RunAsked,
    template="run.html",
    place="runs",
)
