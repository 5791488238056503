"""Harvesting ISBNs: one unit each, so each is asked for once, in calls that are shared with whoever else asks at that moment."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from alexandria.clock import Clock
from alexandria.domain.catalogue import RecordKind
from alexandria.domain.errors import AlexandriaError, QuotaDenied
from alexandria.domain.isbn import Isbn
from alexandria.domain.isbn_outcomes import IsbnOutcome, Outcomes
from alexandria.domain.plans import Kind, consumer_of
from alexandria.domain.quota import DenialReason, Lane
from alexandria.enrich import absorb
from alexandria.harvest_free import ask_free_sources, list_known_elsewhere
from alexandria.harvest_turns import Turn
from alexandria.providers.isbndb import BULK_LIMIT, PROVIDER, BookBatch, IsbndbProvider
from alexandria.sources import FreeSources
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.harvests import HarvestStore, ItemState
from alexandria.stores.isbn_answers import IsbnAnswerStore
from alexandria.stores.postgres import Connection, Database, in_transaction
from alexandria.telemetry import Origin

log = structlog.get_logger()

GATHERING_SECONDS = 0.2
"""How long ISBNs are gathered before one call asks for all of them: less than a reader notices, and less than the third of a second
between two requests of a Premium plan."""

_KNOWN_ELSEWHERE = "a source that costs no unit knows it, the paid one does not"

_TOO_MANY = frozenset(
    {DenialReason.EXHAUSTED, DenialReason.SHARE, DenialReason.CEILING, DenialReason.INVALID}
)
"""Denials that a smaller call may not meet: there are units left, but not so many, or a day never has so many."""


_Key = tuple[Lane, str, str | None]
"""Calls are shared within a lane and a consumer, or, where they may not be, within a job."""


@dataclass
class _Gathering:
    """ISBNs that go into one call, which caller was the first to want each, and in whose names they ask."""

    isbns: dict[Isbn, int] = field(default_factory=dict)
    jobs: list[str | None] = field(default_factory=list)
    request_ids: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Share:
    """One caller's part of a call; its records are stored."""

    batch: BookBatch
    changed: set[str]
    """Keys of records that say something new."""
    units_shared: int
    """Units of a call that others had a part in, so that they stand under nobody's job: of the ISBNs that this caller was the first to
    want. An attempt that brought nothing is charged to nobody's run then."""


class IsbnCalls:
    """Gathers the ISBNs that this process's callers want at about the same time into one bulk call."""

    def __init__(
        self,
        isbndb: IsbndbProvider,
        database: Database,
        clock: Clock,
        *,
        most: Callable[[], int] = lambda: BULK_LIMIT,
    ) -> None:
        """`most` says how many ISBNs go into one call just now."""
        self._most = most
        self._isbndb = isbndb
        self._database = database
        self._clock = clock
        self._open: dict[_Key, tuple[_Gathering, asyncio.Task[tuple[BookBatch, set[str]]]]] = {}

    async def ask(
        self,
        isbns: Collection[Isbn],
        *,
        lane: Lane,
        consumer: str,
        job: str | None = None,
        is_alone: bool = False,
    ) -> Share:
        """What the provider says about these ISBNs, one unit each unless several callers want the same one.

        As `IsbndbProvider.books`, but that a call for which too few units are left is made smaller until it fits. `is_alone` shares
        the call with nobody but the same job, so that its units stand under that job: a cap on a run counts them there.
        """
        key = lane, consumer, job if is_alone else None
        if key not in self._open:
            fresh = _Gathering()
            task = asyncio.create_task(self._send(key, fresh))
            # Its callers see what went wrong; if all of them are gone nobody has to.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._open[key] = fresh, task
        gathering, task = self._open[key]
        caller = len(gathering.jobs)
        gathering.jobs.append(job)
        if request_id := Origin.current().request_id:
            gathering.request_ids.add(request_id)
        for isbn in isbns:
            gathering.isbns.setdefault(isbn, caller)
        # A caller who goes away takes nothing from the others, and nothing that was paid for.
        batch, changed = await asyncio.shield(task)
        mine = set(isbns)
        part = replace(
            batch,
            records=tuple(each for each in batch.records if Isbn(each.key) in mine),
            absent=tuple(each for each in batch.absent if each in mine),
            unclear=tuple(each for each in batch.unclear if each in mine),
            unasked=tuple(each for each in batch.unasked if each in mine),
        )
        answered = (*(Isbn(each.key) for each in part.records), *part.absent, *part.unclear)
        first = sum(gathering.isbns[each] == caller for each in answered)
        return Share(part, changed, first if len(gathering.jobs) > 1 else 0)

    async def _send(self, key: _Key, gathering: _Gathering) -> tuple[BookBatch, set[str]]:
        await self._clock.sleep(GATHERING_SECONDS)
        del self._open[key]
        lane, consumer, _ = key
        job = gathering.jobs[0] if len(gathering.jobs) == 1 else None
        # The task is that of the first caller; what it does, it does for all of them.
        shared = {"request_ids": sorted(gathering.request_ids)} if len(gathering.request_ids) > 1 else {}
        with structlog.contextvars.bound_contextvars(**shared):
            log.info("isbn_call.gathered", callers=len(gathering.jobs), isbns=len(gathering.isbns))
            return await self._ask_what_fits(list(gathering.isbns), lane, consumer, job)

    async def _ask_what_fits(
        self, isbns: Sequence[Isbn], lane: Lane, consumer: str, job: str | None
    ) -> tuple[BookBatch, set[str]]:
        """All of them, or as many as there are units left for; the rest is `unasked`, with what stopped it as `failure`.

        Each part is stored before the next one is asked for. Returns also the keys about which something new was said.
        """
        answered, changed = BookBatch(), set[str]()
        rest = list(isbns)
        size = min(len(rest), self._most())
        while rest:  # ends: something is answered, or the size is halved
            try:
                batch = await self._isbndb.books(rest[:size], lane=lane, consumer=consumer, job=job)
            except AlexandriaError as error:
                is_too_many = isinstance(error, QuotaDenied) and error.reason in _TOO_MANY
                if size > 1 and is_too_many:
                    size = (size + 1) // 2
                    continue
                if not (answered.records or answered.absent or answered.unclear):
                    raise
                return answered.and_then(BookBatch(unasked=tuple(rest), failure=error)), changed
            changed |= await self._store(batch)
            answered = answered.and_then(batch)
            rest = rest[size:]
            if batch.failure is not None:
                return answered.and_then(BookBatch(unasked=tuple(rest))), changed
        return answered, changed

    async def _store(self, batch: BookBatch) -> set[str]:
        """Keep what was paid for, before anything else happens to it; returns the keys about which something new was said."""

        async def store(connection: Connection) -> set[str]:
            changed = await CatalogueStore(connection).save_records(batch.records)
            await IsbnAnswerStore(connection).save(
                PROVIDER,
                found=sorted({record.key for record in batch.records}),
                absent=sorted(map(str, batch.absent)),
                asked_at=self._clock.now(),
            )
            return set(changed)

        return await in_transaction(self._database, store)


async def take_isbns(turn: Turn, calls: IsbnCalls, free: FreeSources) -> ItemState | None:
    """Take an item's ISBNs, those without an outcome yet. Raises what stopped the call after what came of the rest is kept.

    Sources without paid units are asked first, but for what the paid one says has changed there.
    """
    waiting = [each for each in turn.target.isbns if str(each) not in turn.item.outcomes]
    known = await _take_known(turn, waiting)
    if known:
        await _absorb(turn, _paid_for(known), known, only_unplaced=True)
    wanted = [each for each in waiting if str(each) not in known]
    if turn.run.kind != Kind.UPDATES and wanted:
        known |= await ask_free_sources(turn, free, wanted)
        wanted = [each for each in wanted if str(each) not in known]
    if not wanted:
        return _ended(turn, known)
    share = await calls.ask(
        wanted,
        lane=turn.lane,
        consumer=consumer_of(turn.run.kind),
        job=turn.job,
        is_alone=turn.run.is_capped,
    )
    async with turn.database.connection() as connection:
        elsewhere = await list_known_elsewhere(connection, share.batch.absent)
    outcomes = _outcomes_of(share.batch, share.changed, elsewhere)
    await _absorb(
        turn,
        [record.key for record in share.batch.records],
        outcomes,
        units_shared=share.units_shared,
    )
    if share.batch.failure is not None:
        raise share.batch.failure
    return _ended(turn, {**known, **outcomes})


def _ended(turn: Turn, outcomes: Mapping[str, tuple[str, str | None]]) -> ItemState:
    every = {**turn.item.outcomes, **outcomes}
    is_empty = all(outcome == IsbnOutcome.NOT_FOUND for outcome, _ in every.values())
    return ItemState.EMPTY if is_empty else ItemState.DONE


async def _take_known(turn: Turn, isbns: Sequence[Isbn]) -> Outcomes:
    """What need not be asked: answered since the run began, or not long before unless the run asks for everything anew."""
    async with turn.database.connection() as connection:
        answers = await IsbnAnswerStore(connection).find(PROVIDER, isbns)
        elsewhere = await list_known_elsewhere(connection, isbns)
    freshness = turn.run.created_at - turn.run.fresh_since
    outcomes: Outcomes = {}
    for isbn, answer in answers.items():
        until = answer.asks_again_at(freshness)
        is_of_this_run = answer.asked_at > turn.run.created_at
        if not is_of_this_run and (until <= turn.clock.now() or turn.asks_anew):
            continue
        if answer.misses and isbn in elsewhere:
            outcomes[str(isbn)] = IsbnOutcome.SKIPPED_FRESH, _KNOWN_ELSEWHERE
        elif answer.misses:
            reason = None if is_of_this_run else f"is not asked for again before {until:%Y-%m-%d %H:%M} UTC"
            outcomes[str(isbn)] = IsbnOutcome.NOT_FOUND, reason
        elif is_of_this_run:
            outcomes[str(isbn)] = IsbnOutcome.FOUND, None
        else:
            asked_at = f"asked for at {answer.asked_at:%Y-%m-%d %H:%M} UTC"
            outcomes[str(isbn)] = IsbnOutcome.SKIPPED_FRESH, asked_at
    shared = "unrelated books share this number: nothing found under it would be right"
    return outcomes | {str(each): (IsbnOutcome.FAILED, shared) for each in isbns if each.is_reserved}


def _paid_for(outcomes: Outcomes) -> list[str]:
    """ISBNs about which there is a record; a worker that died may have left it unabsorbed."""
    return [
        isbn
        for isbn, (outcome, _) in outcomes.items()
        if outcome in {IsbnOutcome.FOUND, IsbnOutcome.SKIPPED_FRESH}
    ]


async def _absorb(
    turn: Turn, keys: Sequence[str], outcomes: Outcomes, *, units_shared: int = 0, only_unplaced: bool = False
) -> None:
    """Bring records into the catalogue and write down what came of their ISBNs, in one transaction."""

    async def bring(connection: Connection) -> None:
        store = CatalogueStore(connection)
        records = await store.find_records(PROVIDER, RecordKind.EDITION, keys)
        if only_unplaced:
            placed = await store.list_placed_records(PROVIDER, keys)
            records = [each for each in records if each.key not in placed]
        gained = await absorb(connection, records)
        await HarvestStore(connection).advance_item(
            turn.item,
            total=None,
            editions_found=gained.editions_found,
            editions_new=gained.editions_new,
            works_new=gained.works_new,
            covers_wanted=gained.covers_wanted,
            outcomes=outcomes,
            units_shared=units_shared,
            is_progress=bool(outcomes),
            now=turn.clock.now(),
        )

    await in_transaction(turn.database, bring)


def _outcomes_of(batch: BookBatch, enriched: Collection[str], elsewhere: Collection[Isbn]) -> Outcomes:
    """What came of each ISBN that was asked for; those that a failure left out have no outcome yet."""
    outcomes: Outcomes = {
        record.key: (IsbnOutcome.ENRICHED if record.key in enriched else IsbnOutcome.FOUND, None)
        for record in batch.records
    }
    outcomes |= {
        str(each): (IsbnOutcome.FOUND, _KNOWN_ELSEWHERE)
        if each in elsewhere
        else (IsbnOutcome.NOT_FOUND, None)
        for each in batch.absent
    }
    outcomes |= {
        str(each): (IsbnOutcome.FAILED, "the provider's answer about it could not be read")
        for each in batch.unclear
    }
    return outcomes
