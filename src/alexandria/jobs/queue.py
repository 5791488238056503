"""The queue: what is in it, and the feeder that keeps it topped up.

The queue holds only what can run soon (design.md, section 6). The backlog lives in run items and in covers wanted; the feeder
fills up to a high-water mark and hands nothing out of a run that is paused. That is the backpressure.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from alexandria.domain.plans import Kind
from alexandria.domain.quota import Lane
from alexandria.stores.covers import CoverStore
from alexandria.stores.harvesters import HarvesterStore
from alexandria.stores.harvests import HarvestStore, RunState
from alexandria.stores.jobs import FETCH_COVER, HARVEST_ITEM, JobStore
from alexandria.stores.postgres import Connection
from alexandria.telemetry import Origin

HIGH_WATER = {HARVEST_ITEM: 40, FETCH_COVER: 200}
"""Jobs of each run, and of covers, that wait in the queue at most: some seconds of work for a few workers."""

_LANES = {Lane.BULK: 1, Lane.SCHEDULED: 2, Lane.INTERACTIVE: 3}
_SPAN = 1000
"""Of priorities within a lane, which come before what a call buys."""
_BY_YIELD = 9
"""Steps of priority for a new edition per unit: a page brings a hundred at most."""


class HarvestItem(msgspec.Struct, frozen=True):
    """Work on one item of a run."""

    run_id: str
    position: int


class FetchCover(msgspec.Struct, frozen=True):
    """Fetch the cover of one ISBN."""

    isbn: str


async def feed_run(connection: Connection, run_id: str, *, now: datetime) -> int:
    """Hand out what is due of one run, within the caller's transaction; returns how many jobs that made.

    Nothing is due while its harvester is disabled or paused.
    """
    harvests = HarvestStore(connection)
    run = await harvests.find_run(run_id)
    if run is None:
        return 0
    is_running = run.state == RunState.RUNNING or await harvests.resume_due_run(run_id, now=now)
    if not is_running or await harvests.finish_run(run_id, now=now) or run.held:
        return 0
    due = await harvests.list_due_items(run_id, now=now, limit=HIGH_WATER[HARVEST_ITEM])
    jobs = {f"{run_id}:{each}": HarvestItem(run_id, each) for each in due}
    priority = priority_of(Lane(run.lane), *(await harvests.find_next_yield(run_id)))
    origins = dict.fromkeys(jobs, Origin.read(run.origin))
    return await _top_up(
        connection, HARVEST_ITEM, jobs, origins=origins, group=f"{run_id}:", priority=priority
    )


def priority_of(lane: Lane, units: float, editions: float) -> int:
    """Of jobs: lanes come first, then what buys most for a unit; what costs nothing comes before everything of its lane."""
    worth = _SPAN - 1 if units <= 0 else min(_SPAN - 2, round(_BY_YIELD * editions / units))
    return _LANES[lane] * _SPAN + worth


async def are_covers_fetched(connection: Connection) -> bool:
    """Whether the covers' harvester is at work."""
    covers = await HarvesterStore(connection).get(Kind.COVERS)
    return covers.is_enabled and covers.paused_at is None


async def feed_covers(connection: Connection, *, now: datetime) -> int:
    """Hand out covers that are wanted and due, unless their harvester is disabled or paused; returns how many jobs that made."""
    if not await are_covers_fetched(connection):
        return 0
    # Those in work are still listed as due, so that more has to be looked at than can wait.
    due = await CoverStore(connection).list_due(limit=2 * HIGH_WATER[FETCH_COVER], now=now)
    asked = await CoverStore(connection).find_origins(due)
    origins = {str(isbn): Origin.read(kept) for isbn, kept in asked.items()}
    jobs = {str(isbn): FetchCover(str(isbn)) for isbn in due}
    return await _top_up(connection, FETCH_COVER, jobs, origins=origins)


async def _top_up(
    connection: Connection,
    kind: str,
    jobs: Mapping[str, msgspec.Struct],
    *,
    origins: Mapping[str, Origin],
    group: str = "",
    priority: int = 0,
) -> int:
    payloads = {f"{kind}:{key}": msgspec.json.encode(job) for key, job in jobs.items()}
    return await JobStore(connection).top_up(
        kind,
        payloads,
        group=f"{kind}:{group}",
        high_water=HIGH_WATER[kind],
        priority=priority,
        origins={f"{kind}:{key}": origin.as_kept() for key, origin in origins.items()},
    )


LOG_KEPT = timedelta(days=7)
"""How long the queue's own log of what became of jobs is kept; runs and covers keep theirs for ever."""

_FORGOTTEN_AT_ONCE = 50_000
"""Entries: some seconds' work, and two days' entries."""


async def forget_old_jobs(connection: Connection) -> int:
    """Shorten the queue's log by what is older than `LOG_KEPT`; returns by how many entries."""
    return await JobStore(connection).forget_log(keep=LOG_KEPT, limit=_FORGOTTEN_AT_ONCE)
