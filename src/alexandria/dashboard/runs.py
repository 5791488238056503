"""The page of the runs: all of them, newest first, and what failed last."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from alexandria.dashboard.run_lines import with_progress
from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.errors import InvalidInput
from alexandria.stores.harvests import HarvestStore, RunState

RUNS = 20
LATEST_FAILURES = 8


class RunsAsked(Asked):
    """Which runs are shown."""

    state: RunState | None = None
    after: Annotated[str, Field(max_length=64)] | None = None
    """The id of the last run that was seen."""


async def read(dashboard: Dashboard, asked: RunsAsked) -> Mapping[str, object]:
    """Everything that the page says. Raises InvalidInput for a cursor that is no run's id."""
    async with dashboard.app.database.transaction() as connection:
        harvests = HarvestStore(connection)
        if asked.after is not None and await harvests.find_run(asked.after) is None:
            raise InvalidInput("after", asked.after, "is not the id of a run; go on from the first page")
        found = await harvests.list_runs_after(asked.after, state=asked.state, limit=RUNS + 1)
        return {
            "runs": await with_progress(connection, found[:RUNS]),
            "next": found[RUNS - 1].id if len(found) > RUNS else None,
            "states": list(RunState),
            "failures": await harvests.list_latest_failures(limit=LATEST_FAILURES),
        }


PAGE = Page("runs", "Runs", "/dashboard/runs", ("list", "failures"), read, RunsAsked, template="runs.html")
