"""Gates in PostgreSQL: whether producers have to wait, for all processes alike."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from alexandria.domain.backpressure import (
    BACKLOGS,
    DRAIN_WINDOW,
    Gate,
    GateName,
    LargestRun,
    Marks,
    drain_per_minute,
)
from alexandria.domain.quota import Lane
from alexandria.stores.postgres import Connection, Queries

queries = Queries("gates.sql")

MEASURED_EVERY = timedelta(seconds=10)
"""How often a backlog is counted, by one process for all."""
COUNTED_TO = 1_000_000
"""Of a backlog, so that a count takes a fraction of a second whatever it comes to."""


class GateStore:
    """Gates within one connection. A gate that was claimed or locked is held until the transaction ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, name: GateName) -> bool | None:
        """Whether a gate is closed; None when somebody else holds it."""
        row = await (await self._connection.execute(queries.claim_gate, {"name": name})).fetchone()
        return bool(row[0]) if row else None

    async def lock(self, name: GateName) -> tuple[bool, int]:
        """As `claim`, but waiting for whoever holds it: whether it is closed, and what waited when it was last looked at."""
        row = await (await self._connection.execute(queries.lock_gate, {"name": name})).fetchone()
        return (bool(row[0]), int(row[1])) if row else (False, 0)

    async def save(self, gate: Gate) -> None:
        """Write down how a gate stands that is held."""
        values = {"name": gate.name, "is_closed": gate.is_closed, "depth": gate.depth}
        await self._connection.execute(queries.save_gate, values)

    async def measure(self, marks: Mapping[GateName, Marks], *, now: datetime) -> Sequence[Gate]:
        """Count those backlogs for which it is time, and how fast they drain; returns the gates that flip."""
        claim = {"names": list(BACKLOGS), "now": now, "every": MEASURED_EVERY}
        due = await (await self._connection.execute(queries.claim_measurement, claim)).fetchall()
        flips = []
        for text, was_closed in due:
            name = GateName(text)
            depth, drain = await self._count(name, now=now), await self._drain(name.queue)
            is_closed = marks[name].closes(depth, was_closed=was_closed)
            await self._connection.execute(
                queries.save_measurement,
                {"name": name, "is_closed": is_closed, "depth": depth, "drain": drain, "now": now},
            )
            if is_closed != was_closed:
                flips.append(Gate(name, marks[name], depth, is_closed, drain))
        return flips

    async def _count(self, name: GateName, *, now: datetime, is_before_bulk: bool = False) -> int:
        lanes = [each for each in Lane if each is not Lane.BULK] if is_before_bulk else list(Lane)
        values = {"most": COUNTED_TO, "now": now, "lanes": lanes}
        of_covers = queries.count_awaited_covers if is_before_bulk else queries.count_covers
        statement = queries.count_items if name is GateName.ITEMS else of_covers
        row = await (await self._connection.execute(statement, values)).fetchone()
        return int(row[0]) if row else 0

    async def find_largest_run(self, *, now: datetime) -> tuple[LargestRun, timedelta] | None:
        """The run with the most items that wait, and how long no run at all goes on; None when nothing waits."""
        row = await (
            await self._connection.execute(queries.find_largest_run, {"most": COUNTED_TO})
        ).fetchone()
        if row is None:
            return None
        return LargestRun(row[0], row[1]), max(timedelta(0), row[2] - now) if row[2] else timedelta(0)

    async def _drain(self, queue: GateName) -> float:
        values = {"kind": queue, "window": DRAIN_WINDOW}
        row = await (await self._connection.execute(queries.read_drain, values)).fetchone()
        return drain_per_minute(row[0], row[1]) if row else 0.0

    async def admit(
        self, name: GateName, added: int, marks: Marks, *, lane: Lane, now: datetime
    ) -> bool | None:
        """Count what is added in this transaction; returns whether that closes the gate, or None when it may not be added.

        Who comes before the bulk passes a closed gate while less than a share waits of what comes before the bulk: what that is
        alone counts, for one large wish, which an open gate takes whole, would leave no share of the whole. The gate is held from
        here on, so no two add at once to what has room for one.
        """
        was_closed, depth = await self.lock(name)
        if was_closed or depth >= marks.high:
            share = marks.share(lane)
            if share == 0 or await self._count(name, now=now, is_before_bulk=True) >= share:
                return None
        after = Gate(name, marks, depth + added, was_closed or depth + added >= marks.high)
        await self.save(after)
        return after.is_closed and not was_closed

    async def list_all(self, marks: Mapping[GateName, Marks]) -> Mapping[GateName, Gate]:
        """Every gate as it was last written down; a queue drains as fast as the backlog that fills it."""
        rows = await (await self._connection.execute(queries.list_gates)).fetchall()
        drains = {GateName(row[0]).queue: row[3] for row in rows if GateName(row[0]).is_backlog}
        return {
            (name := GateName(row[0])): Gate(name, marks[name], row[2], row[1], drains[name.queue])
            for row in rows
        }
