"""The page of the queues: what waits, since when, how fast it goes, and what failed for good."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from alexandria import monitoring
from alexandria.backpressure import read_gates
from alexandria.dashboard.charts import Chart, Series
from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.backpressure import Gate, GateName
from alexandria.stores.jobs import FETCH_COVER, HARVEST_ITEM, JOB_KINDS
from alexandria.stores.monitoring import DeadLetter, Flow, Jobs, MonitoringStore
from alexandria.stores.postgres import Connection, Database

FLOW_MINUTES = 5
"""What the rates of the table are the mean of."""
CHART_SPAN = timedelta(minutes=2)
CHART_SINCE = timedelta(hours=2)
SLOW_KEPT = timedelta(seconds=30)
"""The chart, and the count of the backlog, which reads every open item."""
LETTERS = 20

KIND_NAMES = {HARVEST_ITEM: "harvest items", FETCH_COVER: "covers"}
GATE_NAMES = {GateName.ITEMS: "open items of runs", GateName.COVERS: "covers that are wanted and due"}


class QueuesAsked(Asked):
    """Which dead letters are shown."""

    kind: Literal["harvest_item", "fetch_cover"] | None = None
    after: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    """The id of the last one that was seen."""


@dataclass(frozen=True)
class QueueLine:
    """Jobs of one kind."""

    jobs: Jobs
    flow: Flow
    gate: Gate

    @property
    def name(self) -> str:
        """For people."""
        return KIND_NAMES[self.jobs.kind]

    @property
    def entered_per_minute(self) -> float:
        """New ones."""
        return self.flow.entered / FLOW_MINUTES

    @property
    def left_per_minute(self) -> float:
        """Those that were done, and those that failed for good."""
        return (self.flow.done + self.flow.failed) / FLOW_MINUTES

    @property
    def put_back_per_minute(self) -> float:
        """Those that are tried again, or snoozed."""
        return self.flow.put_back / FLOW_MINUTES


@dataclass(frozen=True)
class LetterLine:
    """A dead letter as it is shown."""

    letter: DeadLetter

    @property
    def name(self) -> str:
        """What kind of job it was."""
        return KIND_NAMES.get(self.letter.kind, self.letter.kind)

    @property
    def arguments(self) -> str:
        """What it was to do, in a line."""
        found = monitoring.arguments_of(self.letter)
        if isinstance(found, dict):
            return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items())
        return str(found)

    @property
    def traceback(self) -> str | None:
        """Where it failed; None when that is no longer known."""
        text = (self.letter.traceback or {}).get("traceback")
        return str(text)[-4000:] if text else None


async def read(dashboard: Dashboard, asked: QueuesAsked) -> Mapping[str, object]:
    """Everything that the page says."""
    database = dashboard.app.database
    chart = await dashboard.remember("moves", SLOW_KEPT, lambda: _draw_moves(database))
    backlog = await dashboard.remember("backlog", SLOW_KEPT, lambda: _count_backlog(database))
    async with database.transaction() as connection:
        letters = await MonitoringStore(connection).list_dead_letters(
            kind=asked.kind, after=asked.after, limit=LETTERS + 1
        )
        gates = await read_gates(connection, dashboard.app.config.marks, {})
        return {
            "queues": await _list_queues(connection, gates),
            "backlogs": [(text, gates[name]) for name, text in GATE_NAMES.items()],
            "flow_minutes": FLOW_MINUTES,
            "chart": chart,
            "backlog": backlog,
            "letters": [LetterLine(each) for each in letters[:LETTERS]],
            "next": letters[LETTERS - 1].id if len(letters) > LETTERS else None,
            "kind_names": KIND_NAMES,
        }


async def _list_queues(connection: Connection, gates: Mapping[GateName, Gate]) -> Sequence[QueueLine]:
    store = MonitoringStore(connection)
    jobs, flow = await store.count_jobs(), await store.count_flow(timedelta(minutes=FLOW_MINUTES))
    return [
        QueueLine(jobs.get(kind, Jobs(kind)), flow.get(kind, Flow(kind)), gates[GateName(kind)])
        for kind in JOB_KINDS
    ]


async def _draw_moves(database: Database) -> Chart:
    async with database.connection() as connection:
        moves = await MonitoringStore(connection).list_moves(CHART_SINCE, span=CHART_SPAN)
    minutes = CHART_SPAN / timedelta(minutes=1)
    columns = {
        "came in": [each.entered for each in moves],
        "done": [each.done for each in moves],
        "put back": [each.put_back for each in moves],
        "failed": [each.failed for each in moves],
    }
    return Chart(
        id="moves-chart",
        title="Jobs a minute, of all kinds",
        x_name="Time (UTC)",
        x=[each.span_at for each in moves],
        unit="jobs a minute",
        series=[
            Series(name, [count / minutes for count in counts], colour=colour, is_filled=name == "came in")
            for (name, counts), colour in zip(columns.items(), (1, 3, 2, 5), strict=True)
        ],
    )


async def _count_backlog(database: Database) -> Mapping[str, Mapping[str, int]]:
    """Kind of run -> state -> open items."""
    async with database.connection() as connection:
        counts = await MonitoringStore(connection).count_open_items()
    backlog: dict[str, Counter[str]] = {}
    for (kind, state), count in sorted(counts.items()):
        backlog.setdefault(kind, Counter())[state] += count
    return backlog


PAGE = Page(
    "queues",
    "Queues",
    "/dashboard/queues",
    ("depth", "moves", "letters"),
    read,
    QueuesAsked,
    template="queues.html",
)
