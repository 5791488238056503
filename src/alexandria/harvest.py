"""Harvesting: a run is a plan, its items are taken one by one, each answer is paid for once.

This is the frame around the work on one item: whose turn it is, what a failure means, when a run waits or ends. The work itself
stands in `harvest_pages`, `harvest_isbns` and `harvest_feed`. An answer's records are stored the moment they arrive (design.md,
invariant 3); only then are they absorbed into the catalogue, in the transaction that moves the item on. Whoever is killed in between
loses nothing but time.
"""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from alexandria.backpressure import admit
from alexandria.clock import Clock
from alexandria.domain.alerting import Alert, AlertKind
from alexandria.domain.backpressure import GateName, Marks
from alexandria.domain.errors import (
    AlexandriaError,
    ConfigurationError,
    Conflict,
    InvalidInput,
    ProviderRefused,
    ProviderUnavailable,
    QuotaDenied,
    RecordNotFound,
    StoreUnavailable,
)
from alexandria.domain.plans import Kind, Plan
from alexandria.domain.quota import DenialReason, Lane
from alexandria.domain.rollout import PauseCause
from alexandria.domain.targets import TargetKind
from alexandria.harvest_feed import take_feed
from alexandria.harvest_isbns import IsbnCalls, take_isbns
from alexandria.harvest_pages import take_pages
from alexandria.harvest_people import take_people
from alexandria.harvest_turns import Turn
from alexandria.providers.isbndb import PROVIDER, IsbndbProvider
from alexandria.sources import FreeSources
from alexandria.stores.alerts import AlertStore
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.harvesters import HarvesterStore
from alexandria.stores.harvests import HarvestStore, Item, ItemState, Run, RunState
from alexandria.stores.locks import SoleUses
from alexandria.stores.postgres import Connection, Database
from alexandria.telemetry import Origin, redacted

log = structlog.get_logger()

MOST_STARTS = 3
"""A job that killed its worker so often is buried (design.md, section 6)."""

MOST_FAILURES = 3
"""Times that an item is tried again, beyond the gateway's own attempts, before it fails for good."""

_KEY_REFUSED = frozenset({401, 403})


class Next(StrEnum):
    """What is to become of an item's job."""

    ENDED = "ended"
    AGAIN = "again"
    """Later, after `delay`: a failure or somebody else's lock."""
    PAUSED = "paused"
    """The whole run waits, for quota or for a person, or was cancelled."""


@dataclass(frozen=True)
class Outcome:
    """How a turn at an item ended."""

    next: Next
    delay: timedelta = timedelta(0)
    error: AlexandriaError | None = None
    """What makes the run wait, if something does."""


async def start_run(
    connection: Connection,
    plan: Plan,
    *,
    lane: Lane,
    now: datetime,
    parameters: Mapping[str, object],
    marks: Mapping[GateName, Marks] | None = None,
) -> str:
    """Write the run down, within the caller's transaction; a worker's feeder hands its items out. Returns its id.

    Raises Conflict when the harvester is disabled, and Backlogged when so many items are open that the `marks` allow its lane no more;
    without marks it is started all the same.
    """
    await refuse_disabled(connection, plan.kind)
    if marks is not None:
        await admit(connection, GateName.ITEMS, len(plan.targets), marks, lane=lane, now=now)
    run_id = f"{now:%Y%m%d}-{secrets.token_hex(3)}"
    store = CatalogueStore(connection)
    await store.save_named_authors(
        {line.subject: line.name for line in plan.targets if line.subject.startswith("named-")}
    )
    await HarvestStore(connection).add_run(
        run_id,
        kind=plan.kind,
        lane=lane,
        parameters={
            **parameters,
            "max_pages": plan.max_pages,
            "units_expected": plan.units_expected,
            "editions_expected": plan.editions_expected,
            "anew": plan.anew,
        },
        targets=plan.targets,
        fresh_since=plan.fresh_since,
        origin=Origin.current().as_kept(),
        now=now,
    )
    log.info("harvest_run.started", run=run_id, kind=plan.kind, lane=lane, targets=len(plan.targets))
    # A plan without a target is done before it begins.
    await HarvestStore(connection).finish_run(run_id, now=now)
    return run_id


async def refuse_disabled(connection: Connection, kind: Kind) -> None:
    """Raises Conflict when nothing of this kind may be started; otherwise that stays so until the transaction ends."""
    if not await HarvesterStore(connection).is_enabled(kind):
        name = kind.replace("_", "-")
        raise Conflict(f"the harvester {name} is disabled; see alexandria harvesters enable {name}")


async def resume_run(
    connection: Connection, run_id: str, *, now: datetime, retry_failed: bool = False
) -> None:
    """Let a paused run go on, or try the failed items of an ended one again; a running one just goes on.

    Raises InvalidInput for an unknown run, and Conflict for one that ended, unless its failed items are to be tried again.
    """
    ended = [RunState.DONE, RunState.FAILED] if retry_failed else []
    harvests = HarvestStore(connection)
    if not await harvests.resume_run(run_id, states=[RunState.RUNNING, RunState.PAUSED, *ended], now=now):
        raise await _conflict(
            connection, run_id, "only a run that has not ended goes on, or its failed items"
        )
    if retry_failed:
        await harvests.reopen_failed_items(run_id, now=now)
    await AlertStore(connection).clear(AlertKind.RUN_FAILING, run_id, now=now)
    await harvests.finish_run(run_id, now=now)


async def retry_failed(connection: Connection, run_id: str, *, now: datetime) -> int:
    """Try again what failed in a run, and let it go on; returns how many items that are.

    Raises InvalidInput for an unknown run, Conflict for a cancelled one, and for one in which nothing failed.
    """
    harvests = HarvestStore(connection)
    states = [RunState.RUNNING, RunState.PAUSED, RunState.DONE, RunState.FAILED]
    if not await harvests.resume_run(run_id, states=states, now=now):
        raise await _conflict(connection, run_id, "what is left of it stays undone")
    items = await harvests.reopen_failed_items(run_id, now=now)
    if not items:
        raise Conflict(f"nothing failed in run {run_id}, so there is nothing to try again")
    await AlertStore(connection).clear(AlertKind.RUN_FAILING, run_id, now=now)
    return items


async def pause_run(connection: Connection, run_id: str, *, reason: str) -> None:
    """Hand nothing more of a run out until a person resumes it; calls on their way are finished.

    Raises InvalidInput for an unknown run, and Conflict for one that ended.
    """
    if not await HarvestStore(connection).pause_run(run_id, cause=PauseCause.PERSON, reason=reason):
        raise await _conflict(connection, run_id, "only a run that has not ended can be paused")
    log.info("harvest_run.paused", run=run_id, cause=PauseCause.PERSON, reason=reason, resumes_at=None)


async def cancel_run(connection: Connection, run_id: str, *, now: datetime) -> None:
    """End a run for good; calls on their way are finished, and what they bring is kept.

    Raises InvalidInput for an unknown run, and Conflict for one that ended.
    """
    if not await HarvestStore(connection).cancel_run(run_id, now=now):
        raise await _conflict(connection, run_id, "only a run that has not ended can be cancelled")
    await AlertStore(connection).clear(AlertKind.RUN_FAILING, run_id, now=now)
    log.info("harvest_run.cancelled", run=run_id)


async def _conflict(connection: Connection, run_id: str, advice: str) -> Conflict:
    return Conflict(f"run {run_id} is {(await get_run(connection, run_id)).state}: {advice}")


async def _pause_if_failing(connection: Connection, run_id: str, *, now: datetime) -> None:
    """Stop a run whose items fail too often from burning units, and tell a person."""
    harvests = HarvestStore(connection)
    failure = (await harvests.get_record(run_id)).failure
    if failure is None or not await harvests.pause_run(run_id, cause=PauseCause.FAILING, reason=failure):
        return
    log.info("harvest_run.paused", run=run_id, cause=PauseCause.FAILING, reason=failure, resumes_at=None)
    await AlertStore(connection).raise_alert(
        Alert(
            AlertKind.RUN_FAILING,
            run_id,
            f"run {run_id} pauses: {failure}; see alexandria runs report {run_id}, then resume or cancel it",
            now,
        )
    )


async def get_run(connection: Connection, run_id: str) -> Run:
    """A run by its id. Raises InvalidInput when there is none."""
    run = await HarvestStore(connection).find_run(run_id)
    if run is None:
        raise InvalidInput("run", run_id, "is not the id of a run; see alexandria runs")
    return run


@dataclass(frozen=True)
class Harvester:
    """Takes items of runs, one at a time, as far as quota and provider allow."""

    database: Database
    sole_uses: SoleUses
    isbndb: IsbndbProvider
    isbn_calls: IsbnCalls
    free_sources: FreeSources
    clock: Clock

    async def take(
        self, run_id: str, position: int, *, stopping: Callable[[], bool] = lambda: False
    ) -> Outcome:
        """Work on an item until it ends or has to wait. `stopping` is asked between two calls."""
        async with self.database.transaction() as connection:
            harvests = HarvestStore(connection)
            run, item = await harvests.find_run(run_id), await harvests.find_item(run_id, position)
        if run is None or item is None or run.state != RunState.RUNNING or run.held:
            return Outcome(Next.PAUSED)
        async with self.sole_uses.hold(_lock_of(item)) as is_ours:
            # Another run is at the same pages: what it pays for, this one finds stored a moment later.
            return (
                await self._take_alone(run, position, stopping)
                if is_ours
                else Outcome(Next.AGAIN, timedelta(seconds=2))
            )

    async def _take_alone(self, run: Run, position: int, stopping: Callable[[], bool]) -> Outcome:
        async with self.database.transaction() as connection:
            # Read now that nobody else can move it on.
            item = await HarvestStore(connection).start_item(run.id, position, now=self.clock.now())
        if item is None:
            return Outcome(Next.ENDED)
        if item.starts > MOST_STARTS:
            return await self._end(
                item, ItemState.FAILED, f"its worker died {MOST_STARTS} times at page {item.next_page}"
            )
        turn = Turn(run, item, self.database, self.clock, stopping)
        try:
            state = await self._work(turn)
        except StoreUnavailable:
            # No fault of the item's: if it can be put down at all, this start does not count.
            with suppress(StoreUnavailable):
                await self._leave(item, None)
            raise
        except AlexandriaError as error:
            return await self._put_aside(run, item, error)
        except Exception as defect:
            # The run goes on without this item and its report names the defect; the job is kept as a dead letter.
            await self._end(
                item, ItemState.FAILED, f"a defect of ours: {type(defect).__name__}: {defect}".strip()
            )
            raise
        if state is not None:
            return await self._end(item, state)
        await self._leave(item, None)
        return Outcome(Next.AGAIN)

    async def _work(self, turn: Turn) -> ItemState | None:
        """The state in which the item ends, or None when it was left off between two calls."""
        match turn.target.kind:
            case TargetKind.ISBNS:
                return await take_isbns(turn, self.isbn_calls, self.free_sources)
            case TargetKind.PEOPLE:
                return await take_people(turn, self.free_sources)
            case TargetKind.FEED:
                return await take_feed(turn, self.isbndb)
            case _:
                return await take_pages(turn, self.isbndb)

    async def _put_aside(self, run: Run, item: Item, error: AlexandriaError) -> Outcome:
        """What is to become of an item whose answer did not come: only a definite absence is an empty bibliography."""
        match error:
            case QuotaDenied():
                return await self._pause(run, item, error, error.detail or error.reason, error.retry_at)
            case RecordNotFound():
                return await self._end(item, ItemState.EMPTY)
            case ProviderRefused() if error.status in _KEY_REFUSED:
                # Everybody who shares the key was stopped with this answer: no item of the run is to blame.
                return await self._pause(run, item, error, error.reason, None)
            case ConfigurationError():
                return await self._pause(run, item, error, str(error), None)
            case ProviderUnavailable():
                return await self._try_later(item, error)
            case _:
                return await self._end(item, ItemState.FAILED, str(error))

    async def _pause(
        self, run: Run, item: Item, error: AlexandriaError, reason: str, resumes_at: datetime | None
    ) -> Outcome:
        cause, reason = _cause_of(error), redacted(reason)
        async with self.database.transaction() as connection:
            await HarvestStore(connection).pause_run(
                run.id, cause=cause, reason=reason, resumes_at=resumes_at
            )
        await self._leave(item, None)
        log.info("harvest_run.paused", run=run.id, cause=cause, reason=reason, resumes_at=resumes_at)
        return Outcome(Next.PAUSED, error=error)

    async def _try_later(self, item: Item, failure: ProviderUnavailable) -> Outcome:
        async with self.database.connection() as connection:
            # As it is now: a page that came since the turn began has set the count back.
            item = await HarvestStore(connection).find_item(item.run_id, item.position) or item
        if item.failures + 1 >= MOST_FAILURES:
            return await self._end(item, ItemState.FAILED, str(failure))
        delay = failure.retry_after or timedelta(seconds=2 ** (item.failures + 1))
        await self._leave(item, str(failure), retry_at=self.clock.now() + delay, failed=True)
        return Outcome(Next.AGAIN, delay)

    async def _leave(
        self,
        item: Item,
        reason: str | None,
        *,
        retry_at: datetime | None = None,
        failed: bool = False,
    ) -> None:
        async with self.database.transaction() as connection:
            harvests = HarvestStore(connection)
            current = await harvests.find_item(item.run_id, item.position)
            await harvests.leave_item(
                item,
                _unfinished(current or item),
                now=self.clock.now(),
                reason=reason and redacted(reason),
                retry_at=retry_at,
                failed=failed,
            )

    async def _end(self, item: Item, state: ItemState, reason: str | None = None) -> Outcome:
        async with self.database.transaction() as connection:
            harvests = HarvestStore(connection)
            await harvests.leave_item(item, state, now=self.clock.now(), reason=reason and redacted(reason))
            if not await harvests.finish_run(item.run_id, now=self.clock.now()):
                await _pause_if_failing(connection, item.run_id, now=self.clock.now())
        if state is ItemState.FAILED:
            log.info("harvest_item.failed", run=item.run_id, name=item.name, reason=reason)
        return Outcome(Next.ENDED)

    async def put_down(self, run_id: str, position: int) -> None:
        """Let go of an item whose worker is told to stop, so that the next one need not wait for it."""
        async with self.database.transaction() as connection:
            item = await HarvestStore(connection).find_item(run_id, position)
        if item is not None and item.state == ItemState.RUNNING:
            await self._leave(item, None)


def _cause_of(error: AlexandriaError) -> PauseCause:
    match error:
        case QuotaDenied(reason=DenialReason.CEILING):
            return PauseCause.CEILING
        case QuotaDenied():
            return PauseCause.QUOTA
        case _:
            return PauseCause.REFUSED


def _lock_of(item: Item) -> str:
    """Pages belong to whoever asks for the same; everything else is its run's own."""
    target = item.asks
    is_shared = target.kind in {TargetKind.AUTHOR, TargetKind.MONTH, TargetKind.SUBJECT}
    return f"harvest {PROVIDER} {target.query}" if is_shared else f"harvest {item.run_id}/{item.position}"


def _unfinished(item: Item) -> ItemState:
    return ItemState.PARTIAL if item.next_page > 1 or item.outcomes else ItemState.PENDING
