"""The queue: what is in it, and the feeder that keeps it topped up.

The queue holds only what can run soon (design.md, section 6). The backlog lives in run items and in covers wanted; the feeder fills it
up to its high-water mark, then waits for its low one, and hands nothing out of a run that is paused (docs/backpressure.md).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from alexandria.backpressure import top_up
from alexandria.covers import cover_jobs
from alexandria.domain.backpressure import DEFAULT_MARKS, GateName, Marks
from alexandria.domain.plans import Kind
from alexandria.domain.quota import Lane
from alexandria.stores.covers import CoverStore
from alexandria.stores.harvesters import HarvesterStore
from alexandria.stores.harvests import HarvestStore, RunState
from alexandria.stores.jobs import HARVEST_ITEM, JobStore, NewJob
from alexandria.stores.postgres import Connection
from alexandria.telemetry import Origin

ITEM_MARKS, COVER_MARKS = DEFAULT_MARKS[GateName.HARVEST_ITEM], DEFAULT_MARKS[GateName.FETCH_COVER]
RUN_SHARE = 40
"""Jobs of one run that wait in the queue at most, so that no run fills it alone; fewer when many runs share it."""

_LANES = {Lane.BULK: 1, Lane.SCHEDULED: 2, Lane.INTERACTIVE: 3}
_SPAN = 1000
"""Of priorities within a lane, which come before what a call buys."""
_BY_YIELD = 9
"""Steps of priority for a new edition per unit: a page brings a hundred at most."""


class HarvestItem(msgspec.Struct, frozen=True):
    """Work on one item of a run."""

    run_id: str
    position: int


async def feed_run(
    connection: Connection,
    run_id: str,
    *,
    now: datetime,
    marks: Marks = ITEM_MARKS,
    runs: int = 1,
    is_followed: bool = False,
) -> int:
    """Hand out what is due of one run, within the caller's transaction; returns how many jobs that made.

    Nothing is due while its harvester is disabled or paused. `runs` share the queue. One that is followed by a person at a terminal
    passes a closed gate: there may be no worker that empties the queue of anything else.
    """
    harvests = HarvestStore(connection)
    run = await harvests.find_run(run_id)
    if run is None:
        return 0
    is_running = run.state == RunState.RUNNING or await harvests.resume_due_run(run_id, now=now)
    if not is_running or await harvests.finish_run(run_id, now=now) or run.held:
        return 0

    origin = Origin.read(run.origin).as_kept()

    async def find_due(_: int) -> Mapping[str, NewJob]:
        # Those that wait in the queue are still listed as due.
        due = await harvests.list_due_items(run_id, now=now, limit=2 * RUN_SHARE)
        return {
            f"{HARVEST_ITEM}:{run_id}:{each}": NewJob(msgspec.json.encode(HarvestItem(run_id, each)), origin)
            for each in due
        }

    return await top_up(
        connection,
        GateName.HARVEST_ITEM,
        find_due,
        marks=marks,
        lane=Lane(run.lane),
        priority=priority_of(Lane(run.lane), *(await harvests.find_next_yield(run_id))),
        group=f"{HARVEST_ITEM}:{run_id}:",
        most=min(RUN_SHARE, max(1, marks.high // max(1, runs))),
        is_awaited=is_followed,
    )


def priority_of(lane: Lane, units: float, editions: float) -> int:
    """Of jobs: lanes come first, then what buys most for a unit; what costs nothing comes before everything of its lane."""
    worth = _SPAN - 1 if units <= 0 else min(_SPAN - 2, round(_BY_YIELD * editions / units))
    return _LANES[lane] * _SPAN + worth


async def are_covers_fetched(connection: Connection) -> bool:
    """Whether the covers' harvester is at work."""
    covers = await HarvesterStore(connection).get(Kind.COVERS)
    return covers.is_enabled and covers.paused_at is None


async def feed_covers(connection: Connection, *, now: datetime, marks: Marks = COVER_MARKS) -> int:
    """Hand out covers that are wanted and due, unless their harvester is disabled or paused; returns how many jobs that made."""

    async def find_due(limit: int) -> Mapping[str, NewJob]:
        covers = CoverStore(connection)
        due = await covers.list_due(limit, now)
        return cover_jobs(due, await covers.find_origins(due))

    if not await are_covers_fetched(connection):
        return 0
    return await top_up(connection, GateName.FETCH_COVER, find_due, marks=marks)


LOG_KEPT = timedelta(days=7)
"""How long the queue's own log of what became of jobs is kept; runs and covers keep theirs for ever."""

_FORGOTTEN_AT_ONCE = 50_000
"""Entries: some seconds' work, and two days' entries."""


async def forget_old_jobs(connection: Connection) -> int:
    """Shorten the queue's log by what is older than `LOG_KEPT`; returns by how many entries."""
    return await JobStore(connection).forget_log(keep=LOG_KEPT, limit=_FORGOTTEN_AT_ONCE)
