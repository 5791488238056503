"""The schedule at work: each slot is fired once, by whichever process comes first (docs/schedule.md).

A slot is claimed in the transaction in which its harvester writes its run down. Killed in between, nothing of either remains and
another process fires it; once committed, nobody does again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from psycopg import OperationalError

from alexandria.clock import Clock
from alexandria.domain.errors import AlexandriaError, RecordNotFound, StoreUnavailable
from alexandria.domain.schedule import CLOCK_DOUBT, GRACE, Due, Entry
from alexandria.stores.harvests import HarvestStore, RunState
from alexandria.stores.postgres import Connection, Database, in_transaction
from alexandria.stores.schedule import EntryState, Firing, Outcome, ScheduleStore
from alexandria.telemetry import Origin, new_request_id, redacted, working_for

log = structlog.get_logger()

_OPEN = frozenset({RunState.RUNNING, RunState.PAUSED})


@dataclass(frozen=True, slots=True)
class Started:
    """What a harvester did when it was asked to start: the run that it wrote down, or what it did without one, in words."""

    run_id: str | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Declined:
    """Why a harvester has nothing to do this time."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a harvester could not be started."""

    reason: str


Start = Callable[[Connection, Entry, datetime], Awaitable[Started | Declined]]
"""Starts an entry's harvester within the caller's transaction: only what the connection writes may happen, so that it is undone with
the slot. Calls to a provider belong into the run."""


@dataclass(frozen=True, slots=True)
class Line:
    """An entry and how it stands, for a person."""

    entry: Entry
    paused_at: datetime | None
    last: Firing | None
    next_slot: datetime
    """By the table: it comes to nothing while the entry is off or paused."""

    @property
    def state(self) -> str:
        """`on`, `paused` (by a person, until it is resumed) or `off` (in the configuration)."""
        if not self.entry.enabled:
            return "off"
        return "on" if self.paused_at is None else "paused"

    @property
    def next_slot_local(self) -> datetime:
        """The same in the entry's time zone."""
        return self.next_slot.astimezone(self.entry.zone)

    def as_json(self) -> dict[str, object]:
        """For the CLI and the API."""
        entry = self.entry
        return {
            "name": entry.name,
            "cron": entry.cron.text,
            "time_zone": str(entry.zone),
            "harvester": entry.harvester,
            "parameters": dict(entry.parameters),
            "lane": entry.lane,
            "missed": entry.missed,
            "state": self.state,
            "paused_at": self.paused_at and self.paused_at.isoformat(),
            "last": self.last and self.last.as_json(),
            "next_slot": self.next_slot.isoformat(),
            "next_slot_local": self.next_slot_local.isoformat(),
        }


@dataclass
class Schedule:
    """The schedule as one process keeps to it. `fire_due` is asked every second; the database is, when a slot has come."""

    database: Database
    entries: Sequence[Entry]
    clock: Clock
    start: Start
    _is_known: bool = False
    _looked_at: dict[str, datetime] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is switched on."""
        return not any(each.enabled for each in self.entries)

    async def fire_due(self) -> list[Firing]:
        """Deal with every slot that has come and that nobody dealt with. Raises StoreUnavailable; what is left then waits for the
        next time, here or in another process."""
        now = self.clock.now()
        enabled = [each for each in self.entries if each.enabled]
        if not self._is_known and enabled:
            async with self.database.transaction() as connection:
                await ScheduleStore(connection).add_entries([each.name for each in enabled], now=now)
            self._is_known = True
        fired = [await self._look(entry, now) for entry in enabled if self._may_be_due(entry, now)]
        return [each for each in fired if each is not None]

    def _may_be_due(self, entry: Entry, now: datetime) -> bool:
        looked_at = self._looked_at.get(entry.name)
        # A clock that was set back is no reason to wait for the slot that came next by the old one.
        return looked_at is None or now < looked_at or entry.next_slot(looked_at) <= now

    async def _look(self, entry: Entry, now: datetime) -> Firing | None:
        with working_for(Origin(new_request_id("schedule-"))):
            return await self._look_at(entry, now)

    async def _look_at(self, entry: Entry, now: datetime) -> Firing | None:
        firing, was_ours = None, False

        async def deal(connection: Connection) -> None:
            nonlocal firing, was_ours
            state = await ScheduleStore(connection).lock_entry(entry.name, wait=False)
            was_ours = state is not None
            firing = await self._deal_with(connection, entry, state, now) if state else None

        await in_transaction(self.database, deal)
        # Otherwise somebody else is at it, and whether they come to an end is seen the next time.
        if was_ours:
            self._looked_at[entry.name] = now
        if firing:
            _report(firing)
        return firing

    async def _deal_with(
        self, connection: Connection, entry: Entry, state: EntryState, now: datetime
    ) -> Firing | None:
        store = ScheduleStore(connection)
        if state.paused_at is not None:
            return None
        if state.handled_until > now + CLOCK_DOUBT:
            log.warning("schedule.clock_doubted", entry=entry.name, handled_until=state.handled_until)
            await store.set_handled_until(entry.name, now)
            return None
        due = entry.due(state.handled_until, now)
        if due is None:
            return None
        await store.set_handled_until(entry.name, due.slot)
        number = await store.claim_slot(entry.name, due.slot, now=now, missed=due.missed)
        if number is None:
            return None
        came = await self._fire(connection, entry, due, now)
        firing = _firing(entry, due.slot, now, came, missed=due.missed)
        await store.finish_firing(number, firing)
        return firing

    async def _fire(
        self, connection: Connection, entry: Entry, due: Due, now: datetime
    ) -> Started | Declined | _Failed:
        if due.is_too_late:
            return Declined(f"missed by more than {GRACE.seconds // 60} minutes, and the policy is to skip")
        try:
            async with connection.transaction():
                return await self._start(connection, entry, now)
        except (StoreUnavailable, OperationalError):
            # Nothing can be written now, not even that it failed: the slot stays due.
            raise
        except AlexandriaError as error:
            return _Failed(str(error))
        except Exception as defect:
            # The other entries go on, and this one has its next slot; the history names the defect.
            log.exception("schedule.defect", entry=entry.name)
            return _Failed(redacted(f"a defect of ours: {type(defect).__name__}: {defect}".strip()))

    async def _start(self, connection: Connection, entry: Entry, now: datetime) -> Started | Declined:
        last_run = await ScheduleStore(connection).find_last_run(entry.name)
        run = await HarvestStore(connection).find_run(last_run) if last_run else None
        if run is not None and run.state in _OPEN:
            return Declined(f"its run {run.id} is still open ({run.state})")
        return await self.start(connection, entry, now)

    # By hand

    def get(self, name: str) -> Entry:
        """An entry, whether it is switched on or not. Raises RecordNotFound."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise RecordNotFound("schedule", f"no entry is named {name}; alexandria schedule list shows them")

    async def run_now(self, connection: Connection, name: str) -> Firing:
        """Fire an entry now, besides its slots and even if it is paused or off, within the caller's transaction.

        It is skipped while its last run is open. Raises RecordNotFound, and what the harvester says is wrong.
        """
        entry, now, store = self.get(name), self.clock.now(), ScheduleStore(connection)
        await store.add_entries([name], now=now)
        await store.lock_entry(name, wait=True)
        firing = _firing(entry, None, now, await self._start(connection, entry, now))
        # Whoever asked is told of a refusal at once; the history keeps what was done.
        if firing.outcome is not Outcome.SKIPPED:
            number = await store.claim_slot(name, None, now=now)
            if number is not None:
                await store.finish_firing(number, firing)
        _report(firing)
        return firing

    async def pause(self, connection: Connection, name: str) -> Line:
        """Let an entry's slots pass, in all processes, until it is resumed. Its open run goes on. Raises RecordNotFound."""
        await ScheduleStore(connection).pause_entry(self.get(name).name, now=self.clock.now())
        return await self._line(connection, name)

    async def resume(self, connection: Connection, name: str) -> Line:
        """Fire an entry's slots again, from now on; those of the pause are gone. Raises RecordNotFound."""
        await ScheduleStore(connection).resume_entry(self.get(name).name, now=self.clock.now())
        return await self._line(connection, name)

    async def _line(self, connection: Connection, name: str) -> Line:
        return next(each for each in await self.list_lines(connection) if each.entry.name == name)

    async def list_lines(self, connection: Connection) -> list[Line]:
        """Every entry and how it stands."""
        store, now = ScheduleStore(connection), self.clock.now()
        paused = await store.list_paused()
        last = await store.list_last_firings([each.name for each in self.entries])
        return [
            Line(each, paused.get(each.name), last.get(each.name), each.next_slot(now))
            for each in self.entries
        ]


def _firing(
    entry: Entry,
    slot: datetime | None,
    now: datetime,
    came: Started | Declined | _Failed,
    *,
    missed: int = 0,
) -> Firing:
    run_id = came.run_id if isinstance(came, Started) else None
    remark = came.remark if isinstance(came, Started) else came.reason
    match came:
        case Started():
            outcome = Outcome.STARTED if run_id else Outcome.DONE
        case Declined():
            outcome = Outcome.SKIPPED
        case _Failed():
            outcome = Outcome.FAILED
    return Firing(entry.name, slot, now, missed, outcome, run_id, remark)


def _report(firing: Firing) -> None:
    log.info(
        "schedule.fired",
        entry=firing.name,
        slot=firing.slot,
        missed=firing.missed,
        outcome=firing.outcome,
        run=firing.run_id,
        remark=firing.remark,
    )
