"""The schedule in PostgreSQL: which slots were dealt with, who is dealing with one, and what came of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum, auto
from typing import Any

from psycopg.rows import class_row

from alexandria.stores.postgres import Connection, Queries

queries = Queries("schedule.sql")

FIRINGS_KEPT = timedelta(days=35)
"""Those that started no run; as long as single charges of the quota are kept by default."""


class Outcome(StrEnum):
    """What came of a slot."""

    STARTED = auto()
    """A run was written down; its id is known."""
    DONE = auto()
    """What there was to do is done; there is no run."""
    SKIPPED = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class EntryState:
    """Where an entry stands: slots up to `handled_until` were dealt with; `paused_at` is None unless a person paused it."""

    handled_until: datetime
    paused_at: datetime | None


@dataclass(frozen=True, slots=True)
class Firing:
    """What was done about a slot. `slot` is None when a person asked for it; `missed` counts the slots that it stood for besides."""

    name: str
    slot: datetime | None
    fired_at: datetime
    missed: int
    outcome: Outcome
    run_id: str | None
    remark: str

    def as_json(self) -> dict[str, object]:
        """For the CLI."""
        return {
            "slot": self.slot and self.slot.isoformat(),
            "fired_at": self.fired_at.isoformat(),
            "missed": self.missed,
            "outcome": self.outcome,
            "run": self.run_id,
            "remark": self.remark,
        }


class ScheduleStore:
    """The schedule within one connection: a slot is claimed in the transaction that starts what it is for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add_entries(self, names: Sequence[str], *, now: datetime) -> None:
        """Make entries known that are not yet; their slots count from now."""
        await self._connection.execute(queries.add_entries, {"names": list(names), "now": now})

    async def lock_entry(self, name: str, *, wait: bool) -> EntryState | None:
        """Keep an entry for the rest of the transaction. None when it is unknown or, unless we `wait`, somebody else keeps it."""
        cursor = self._connection.cursor(row_factory=class_row(EntryState))
        await cursor.execute(queries.lock_entry if wait else queries.try_lock_entry, {"name": name})
        return await cursor.fetchone()

    async def set_handled_until(self, name: str, until: datetime) -> None:
        """Say up to when an entry's slots were dealt with; the caller keeps its lock."""
        await self._connection.execute(queries.set_handled_until, {"name": name, "until": until})

    async def claim_slot(
        self, name: str, slot: datetime | None, *, now: datetime, missed: int = 0
    ) -> int | None:
        """The number of a new firing, None when that slot was fired before."""
        row = await (
            await self._connection.execute(
                queries.claim_slot, {"name": name, "slot": slot, "now": now, "missed": missed}
            )
        ).fetchone()
        return int(row[0]) if row else None

    async def finish_firing(self, number: int, firing: Firing) -> None:
        """Write down what came of a claimed slot, in the same transaction. Old firings of the entry are forgotten."""
        before = firing.fired_at - FIRINGS_KEPT
        await self._connection.execute(queries.forget_firings, {"name": firing.name, "before": before})
        outcome = {"outcome": firing.outcome, "run_id": firing.run_id, "remark": firing.remark}
        await self._connection.execute(queries.finish_firing, {"firing": number, **outcome})

    async def pause_entry(self, name: str, *, now: datetime) -> None:
        """Let an entry's slots pass until it is resumed."""
        await self.add_entries([name], now=now)
        await self._connection.execute(queries.pause_entry, {"name": name, "now": now})

    async def resume_entry(self, name: str, *, now: datetime) -> None:
        """Fire an entry's slots again, from now on."""
        await self._connection.execute(queries.resume_entry, {"name": name, "now": now})

    async def list_paused(self) -> dict[str, datetime]:
        """Entries that a person paused, and since when."""
        rows = await (await self._connection.execute(queries.list_paused)).fetchall()
        return {name: paused_at.astimezone(UTC) for name, paused_at in rows}

    async def find_last_run(self, name: str) -> str | None:
        """The id of the run that an entry started last; the run itself may be gone."""
        row = await (await self._connection.execute(queries.find_last_run, {"name": name})).fetchone()
        return row[0] if row else None

    async def list_firings(self, name: str, *, limit: int = 100) -> list[Firing]:
        """What came of an entry's slots, the latest first."""
        return await self._firings(queries.list_firings, {"name": name, "limit": limit})

    async def list_last_firings(self, names: Sequence[str]) -> dict[str, Firing]:
        """What came of each entry's last slot; those that never had one are left out."""
        found = await self._firings(queries.list_last_firings, {"names": list(names)})
        return {each.name: each for each in found}

    async def _firings(self, query: str, parameters: dict[str, Any]) -> list[Firing]:
        cursor = await self._connection.execute(query, parameters)
        return [
            Firing(
                name,
                slot and slot.astimezone(UTC),
                fired_at.astimezone(UTC),
                missed,
                Outcome(outcome),
                run_id,
                remark,
            )
            for name, slot, fired_at, missed, outcome, run_id, remark in await cursor.fetchall()
        ]
