"""Backpressure at work: fill queues up to their marks, and let nobody pile up more than can be done soon (docs/backpressure.md).

How a gate stands is kept in the database, so that all processes agree, and its row is the lock under which a queue is filled: of
several feeders that wake at once one fills, and the others have nothing to do.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime

import structlog

from alexandria.domain.backpressure import Backlogged, Gate, GateName, Marks
from alexandria.domain.quota import Lane
from alexandria.stores.gates import GateStore
from alexandria.stores.jobs import JobStore, NewJob
from alexandria.stores.postgres import Connection, Database

log = structlog.get_logger()

Jobs = Mapping[str, NewJob]
"""By their keys."""


# Queues


async def top_up(
    connection: Connection,
    gate: GateName,
    find_due: Callable[[int], Awaitable[Jobs]],
    *,
    marks: Marks,
    lane: Lane = Lane.BULK,
    priority: int = 0,
    group: str = "",
    most: int | None = None,
    is_awaited: bool = False,
) -> int:
    """Fill a queue with what is due, as far as its gate lets it, within the caller's transaction; returns how many jobs that made.

    `find_due` is asked for so many, of which those that are in the queue, or in work, already are left out. At most `most` wait
    whose keys begin with `group`; only that bounds what somebody waits for (`is_awaited`). While somebody else fills the same queue
    nothing is done.
    """
    gates, jobs = GateStore(connection), JobStore(connection)
    was_closed = await gates.claim(gate)
    if was_closed is None:
        return 0
    open_jobs = await jobs.list_open(gate)
    depth = sum(open_jobs.values())
    is_closed = marks.closes(depth, was_closed=was_closed)
    room = marks.room(depth, lane, is_closed=is_closed)
    if most is not None:
        ours = most - sum(waits for key, waits in open_jobs.items() if key.startswith(group))
        room = ours if is_awaited else min(room, ours)
    if room > 0:
        due = await find_due(room + len(open_jobs))
        fresh = [key for key in due if key not in open_jobs][:room]
        depth += await jobs.enqueue(gate, {key: due[key] for key in fresh}, priority=priority)
    after = Gate(gate, marks, depth, marks.closes(depth, was_closed=is_closed))
    if after.is_closed != was_closed:
        await gates.save(after)
        _tell(after)
    return depth - sum(open_jobs.values())


async def put_first(
    connection: Connection, gate: GateName, jobs: Jobs, *, marks: Marks, priority: int
) -> int:
    """Let jobs for which somebody waits come before all others, within the caller's transaction; returns how many now do.

    They pass a closed gate, up to a quarter above its high mark; the rest of them is left to the feeder.
    """
    await GateStore(connection).lock(gate)
    store = JobStore(connection)
    hastened = await store.hasten(jobs, priority=priority)
    open_jobs = await store.list_open(gate)
    room = marks.room(sum(open_jobs.values()), Lane.INTERACTIVE, is_closed=True)
    fresh = [key for key in jobs if key not in open_jobs][:room]
    return hastened + await store.enqueue(gate, {key: jobs[key] for key in fresh}, priority=priority)


# Backlogs


async def measure(database: Database, marks: Mapping[GateName, Marks], *, now: datetime) -> None:
    """Count the backlogs if it is time to, whichever process does it."""
    async with database.transaction() as connection:
        flips = await GateStore(connection).measure(marks, now=now)
    for each in flips:
        _tell(each)


async def refuse_when_closed(
    database: Database, gate: GateName, marks: Mapping[GateName, Marks], *, now: datetime
) -> None:
    """Raises Backlogged when a backlog is too long for the bulk to add to it. Whoever adds to it asks this first, then `admit`s what
    it adds."""
    await measure(database, marks, now=now)
    async with database.connection() as connection:
        gates = GateStore(connection)
        found = (await gates.list_all(marks))[gate]
        if found.is_closed or found.depth >= found.marks.high:
            raise await _refusal(gates, found, now=now)


async def admit(
    connection: Connection,
    gate: GateName,
    added: int,
    marks: Mapping[GateName, Marks],
    *,
    lane: Lane,
    now: datetime,
) -> None:
    """Count what is added to a backlog, within the caller's transaction. Raises Backlogged when its gate is closed to that lane.

    A wish that passes is taken whole: what waits is at most the high mark and one wish, and what comes before the bulk at most its
    share and one wish.
    """
    if added <= 0:
        return
    gates = GateStore(connection)
    is_closing = await gates.admit(gate, added, marks[gate], lane=lane, now=now)
    found = (await gates.list_all(marks))[gate]
    if is_closing is None:
        raise await _refusal(gates, found, now=now)
    if is_closing:
        _tell(found)


async def _refusal(gates: GateStore, gate: Gate, *, now: datetime) -> Backlogged:
    found = await gates.find_largest_run(now=now) if gate.name is GateName.ITEMS else None
    if found is None:
        return Backlogged(gate)
    largest, standstill = found
    return Backlogged(replace(gate, largest=largest, standstill=standstill))


async def read_gates(
    connection: Connection, marks: Mapping[GateName, Marks], waiting: Mapping[str, int]
) -> Mapping[GateName, Gate]:
    """Every gate as it stands; `waiting` are the jobs in each queue now, by kind."""
    found = await GateStore(connection).list_all(marks)
    return {
        name: gate if name.is_backlog else replace(gate, depth=waiting.get(name, 0))
        for name, gate in found.items()
    }


def _tell(gate: Gate) -> None:
    log.info(
        "producer.paused" if gate.is_closed else "producer.resumed",
        gate=gate.name.value,
        depth=gate.depth,
        low_water=gate.marks.low,
        high_water=gate.marks.high,
        reason=gate.reason,
    )
