"""Harvest runs in PostgreSQL: their items, their progress, and the pages that were paid for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from alexandria.domain.isbn import Isbn
from alexandria.domain.rollout import PauseCause, Record
from alexandria.domain.targets import Span, Target, TargetKind
from alexandria.stores.postgres import Connection, Queries

queries = Queries("harvests.sql")
Row = TypeVar("Row")

ABANDONED_AFTER = timedelta(minutes=2)
"""A running item that nobody has touched for so long is handed out again: four heartbeats of a worker."""


class RunState(StrEnum):
    """Where a run stands; paused ones say why and, where that is known, when they go on."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ItemState(StrEnum):
    """Where an item of a run stands; partial ones have pages already and go on at `next_page`."""

    PENDING = "pending"
    RUNNING = "running"
    PARTIAL = "partial"
    DONE = "done"
    EMPTY = "empty"
    FAILED = "failed"


@dataclass(frozen=True)
class Run:
    """One harvest: its plan's parameters and its state."""

    id: str
    kind: str
    lane: str
    parameters: dict[str, Any]
    state: str
    pause_cause: str | None
    """A `PauseCause`; None when it is not paused, or was by an earlier version."""
    pause_reason: str | None
    resumes_at: datetime | None
    fresh_since: datetime
    created_at: datetime
    finished_at: datetime | None
    held: str | None
    """Why it is handed no work although it runs: its harvester is disabled or paused."""
    is_capped: bool
    """Whether there is a cap on what it may spend."""
    origin: dict[str, str] | None
    """Who started it, as `telemetry.Origin` keeps it; None when an earlier version did."""

    @property
    def target(self) -> str:
        """What is harvested, in words."""
        match self.parameters:
            case {"tier": tier}:
                return f"authors, tier {tier}"
            case {"authors": [first, *others]}:
                return f"{first} and {len(others):,} more" if others else str(first)
            case {"isbns": int(count)}:
                return f"{count:,} ISBNs" if count != 1 else "1 ISBN"
            case {"author": str(author)}:
                return author
            case {"start_month": first, "end_month": last}:
                return f"new releases of {first}" if first == last else f"new releases of {first} to {last}"
            case _:
                return self.kind


@dataclass(frozen=True)
class Progress:
    """A run's items by state, and what they have brought so far."""

    items: int
    done: int
    failed: int
    partial: int
    running: int
    units: int
    units_expected: float
    editions_expected: float
    editions_found: int
    editions_new: int
    works_new: int
    covers_wanted: int


@dataclass(frozen=True)
class Item:
    """One target of a run, and what came of it. `outcomes`, of a target with ISBNs: ISBN -> outcome and reason."""

    run_id: str
    position: int
    target: str
    subject: str
    name: str
    published_from: date | None
    published_to: date | None
    isbns: list[str]
    outcomes: dict[str, tuple[str, str | None]]
    sources: dict[str, str]
    """Source without paid units -> what became of asking it."""
    state: str
    next_page: int
    total: int | None
    units: int
    units_expected: float
    editions_expected: float
    editions_found: int
    editions_new: int
    works_new: int
    covers_wanted: int
    failures: int
    starts: int
    reason: str | None
    retry_at: datetime | None
    updated_at: datetime

    @property
    def asks(self) -> Target:
        """What it asks for."""
        return Target(
            TargetKind(self.target),
            self.subject,
            self.name,
            Span(self.published_from, self.published_to),
            tuple(Isbn(each) for each in self.isbns),
            self.units_expected,
            self.editions_expected,
        )


@dataclass(frozen=True)
class Yield:
    """What some items were expected to cost and to bring, uncorrected, and the new editions that they brought."""

    target: str
    items: int
    units_expected: float
    editions_expected: float
    editions_new: int


@dataclass(frozen=True)
class Backlog:
    """What is still open of one run, of one kind of target: units that it needs, and new editions that are expected of it, uncorrected."""

    run_id: str
    kind: str
    lane: str
    state: str
    target: str
    items: int
    units: float
    editions_expected: float


@dataclass(frozen=True)
class Failure:
    """An item that failed for good."""

    run_id: str
    position: int
    name: str
    reason: str | None
    updated_at: datetime


class HarvestStore:
    """Harvests within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add_run(
        self,
        run_id: str,
        *,
        kind: str,
        lane: str,
        parameters: Mapping[str, Any],
        targets: Sequence[Target],
        fresh_since: datetime,
        origin: Mapping[str, str] | None = None,
        now: datetime,
    ) -> None:
        """Write down a run and its items, in the order of the plan, and who started it."""
        values = {"id": run_id, "kind": kind, "lane": lane, "parameters": Jsonb(dict(parameters))}
        values |= {"fresh_since": fresh_since, "origin": Jsonb(dict(origin)) if origin else None, "now": now}
        await self._connection.execute(queries.add_run, values)
        await self.add_items(run_id, targets, now=now)

    async def add_items(self, run_id: str, targets: Sequence[Target], *, now: datetime) -> None:
        """Write down further targets of a run, after those that it has."""
        rows = [
            {
                "position": n,
                "target": each.kind,
                "subject": each.subject,
                "name": each.name,
                "published_from": each.span.first and each.span.first.isoformat(),
                "published_to": each.span.last and each.span.last.isoformat(),
                "isbns": [str(isbn) for isbn in each.isbns],
                "units_expected": each.units_expected,
                "editions_expected": each.editions_expected,
            }
            for n, each in enumerate(targets, start=1)
        ]
        await self._connection.execute(queries.add_items, {"run_id": run_id, "rows": Jsonb(rows), "now": now})

    async def find_run(self, run_id: str) -> Run | None:
        """One run by its id."""
        return next(iter(await self.find_runs([run_id])), None)

    async def list_runs(self, *, limit: int = 20) -> list[Run]:
        """The latest runs, newest first."""
        return await self._all(Run, queries.list_runs, limit=limit)

    async def list_runs_after(
        self, after: str | None, *, state: RunState | None = None, limit: int = 20
    ) -> list[Run]:
        """Runs, newest first, that come after the one with the id `after`, or from the newest on; of one state or of all."""
        return await self._all(Run, queries.list_runs_after, after=after, state=state, limit=limit)

    async def list_runs_to_feed(self, now: datetime, *, kinds: Sequence[str] | None = None) -> list[str]:
        """Runs that may have work to hand out now, oldest first."""
        cursor = await self._connection.execute(
            queries.list_runs_to_feed, {"now": now, "kinds": None if kinds is None else list(kinds)}
        )
        return [row[0] for row in await cursor.fetchall()]

    async def find_runs(self, ids: Sequence[str]) -> list[Run]:
        """Runs by their ids, in that order; those that there are not are left out."""
        found = {each.id: each for each in await self._all(Run, queries.find_runs, ids=list(ids))}
        return [found[each] for each in ids if each in found]

    async def get_progress(self, run_id: str) -> Progress:
        """How far a run has come."""
        return (await self.list_progress([run_id]))[run_id]

    async def list_progress(self, ids: Sequence[str]) -> Mapping[str, Progress]:
        """How far runs have come, by their ids, read at once; those that there are not are left out."""
        cursor = await self._connection.execute(queries.list_progress, {"ids": list(ids)})
        return {row[0]: Progress(*row[1:]) for row in await cursor.fetchall()}

    async def list_items(
        self,
        run_id: str,
        *,
        states: Sequence[ItemState] | None = None,
        after: int = 0,
        offset: int = 0,
        limit: int = 100,
    ) -> list[Item]:
        """A run's items in the order of its plan, those that come `after` a position."""
        wanted = list(states) if states is not None else None
        return await self._all(
            Item, queries.list_items, run_id=run_id, states=wanted, after=after, offset=offset, limit=limit
        )

    async def find_item(self, run_id: str, position: int) -> Item | None:
        """One item."""
        return await self._one(Item, queries.find_item, run_id=run_id, position=position)

    async def list_due_items(self, run_id: str, *, now: datetime, limit: int) -> list[int]:
        """Positions of items that can run now."""
        parameters = {"run_id": run_id, "now": now, "abandoned_before": now - ABANDONED_AFTER, "limit": limit}
        return [
            row[0]
            for row in await (await self._connection.execute(queries.list_due_items, parameters)).fetchall()
        ]

    async def find_next_yield(self, run_id: str) -> tuple[float, float]:
        """Units and new editions that a run's first open item is expected to cost and bring; nothing when there is none."""
        cursor = await self._connection.execute(queries.find_next_yield, {"run_id": run_id})
        row = await cursor.fetchone()
        return (row[0], row[1]) if row else (0.0, 0.0)

    async def start_item(self, run_id: str, position: int, *, now: datetime) -> Item | None:
        """Mark an item as running and count the start; returns it as it is then, None when it has ended."""
        return await self._one(Item, queries.start_item, run_id=run_id, position=position, now=now)

    async def advance_item(
        self,
        item: Item,
        *,
        total: int | None,
        editions_found: int,
        editions_new: int,
        works_new: int,
        covers_wanted: int,
        outcomes: Mapping[str, tuple[str, str | None]] | None = None,
        sources: Mapping[str, str] | None = None,
        units_shared: int = 0,
        is_progress: bool = True,
        now: datetime,
    ) -> bool:
        """Move an item to its `next_page` with what was brought, in the transaction that absorbs that; returns whether its run goes on.

        `outcomes` are those of some of its ISBNs, `sources` what became of asking sources without paid units; `units_shared` were charged to calls that it shared with others.
        Without `is_progress` its failures and starts go on being counted.
        """
        cursor = await self._connection.execute(
            queries.advance_item,
            {
                "outcomes": Jsonb(dict(outcomes or {})),
                "sources": Jsonb(dict(sources or {})),
                "units_shared": units_shared,
                "is_progress": is_progress,
                "run_id": item.run_id,
                "position": item.position,
                "next_page": item.next_page,
                "total": total,
                "editions_found": editions_found,
                "editions_new": editions_new,
                "works_new": works_new,
                "covers_wanted": covers_wanted,
                "now": now,
            },
        )
        row = await cursor.fetchone()
        return row is not None and bool(row[0])

    async def leave_item(
        self,
        item: Item,
        state: ItemState,
        *,
        now: datetime,
        reason: str | None = None,
        retry_at: datetime | None = None,
        failed: bool = False,
    ) -> None:
        """Put an item down. Unless it ended or `failed`, that is a snooze and counts as no start."""
        snoozed = not failed and state in {ItemState.PENDING, ItemState.PARTIAL}
        await self._connection.execute(
            queries.leave_item,
            {
                "run_id": item.run_id,
                "position": item.position,
                "state": state,
                "reason": reason,
                "retry_at": retry_at,
                "failures": int(failed),
                "snoozed": snoozed,
                "now": now,
            },
        )

    async def pause_run(
        self, run_id: str, *, cause: PauseCause, reason: str, resumes_at: datetime | None = None
    ) -> bool:
        """Hand nothing more out until `resumes_at`, or until a person resumes the run; returns whether that is why it pauses now."""
        parameters = {"id": run_id, "cause": cause, "reason": reason, "resumes_at": resumes_at}
        return await self._is_changed(queries.pause_run, parameters)

    async def resume_run(self, run_id: str, *, states: Sequence[RunState], now: datetime) -> bool:
        """Let a run go on, on a person's word, if it is in one of these states; returns whether it is."""
        parameters = {"id": run_id, "states": list(states), "now": now}
        return await self._is_changed(queries.resume_run, parameters)

    async def resume_due_run(self, run_id: str, *, now: datetime) -> bool:
        """Let a paused run go on whose time has come; returns whether it does."""
        return await self._is_changed(queries.resume_due_run, {"id": run_id, "now": now})

    async def cancel_run(self, run_id: str, *, now: datetime) -> bool:
        """End a run for good, whatever is left; returns whether it had not ended."""
        return await self._is_changed(queries.cancel_run, {"id": run_id, "now": now})

    async def reopen_failed_items(self, run_id: str, *, now: datetime) -> int:
        """Let what failed be tried again; returns how many items that are."""
        cursor = await self._connection.execute(queries.reopen_failed_items, {"run_id": run_id, "now": now})
        return cursor.rowcount

    async def get_record(self, run_id: str) -> Record:
        """How the items fared that ended last."""
        return (await self._all(Record, queries.get_record, run_id=run_id))[0]

    async def _is_changed(self, statement: str, parameters: Mapping[str, object]) -> bool:
        return await (await self._connection.execute(statement, parameters)).fetchone() is not None

    async def finish_run(self, run_id: str, *, now: datetime) -> bool:
        """End a run that has nothing left to do; returns whether it ended now."""
        return (
            await (await self._connection.execute(queries.finish_run, {"id": run_id, "now": now})).fetchone()
            is not None
        )

    async def count_editions_of_authors(self, author_keys: Sequence[str]) -> dict[str, int]:
        """How many editions of each author the catalogue holds."""
        cursor = await self._connection.execute(
            queries.count_editions_of_authors, {"author_keys": list(author_keys)}
        )
        return {row[0]: row[1] for row in await cursor.fetchall()}

    async def find_last_feed(self, *, before: datetime) -> datetime | None:
        """When the latest run began that read the update feed to its end."""
        row = await (await self._connection.execute(queries.find_last_feed, {"before": before})).fetchone()
        return row[0] if row else None

    async def find_feed_refused_at(self, reason: str) -> datetime | None:
        """When the update feed was last refused for this reason."""
        cursor = await self._connection.execute(queries.find_feed_refused_at, {"reason": reason})
        row = await cursor.fetchone()
        return row[0] if row else None

    async def list_authors_with_gaps(
        self, *, page_size: int, window: int, limit: int
    ) -> list[tuple[str, str]]:
        """Keys and names of authors of whom the provider has more than we read, at so many results a page, the most first.

        `window` is how many results a query shows: what has more is asked for in parts."""
        parameters = {"page_size": page_size, "window": window, "limit": limit}
        cursor = await self._connection.execute(queries.list_authors_with_gaps, parameters)
        return [(row[0], row[1]) for row in await cursor.fetchall()]

    async def list_yields(self, *, since: datetime) -> list[Yield]:
        """What was expected of items that ended since then and what they brought, by what they asked for."""
        return await self._all(Yield, queries.list_yields, since=since)

    async def count_isbn_outcomes(self, run_id: str) -> dict[str, int]:
        """How many of a run's ISBNs came to which outcome; those without one yet are left out."""
        cursor = await self._connection.execute(queries.count_isbn_outcomes, {"run_id": run_id})
        return {row[0]: row[1] for row in await cursor.fetchall()}

    async def list_failed_isbns(self, run_id: str, *, limit: int = 1000) -> list[tuple[str, str]]:
        """ISBNs of a run that failed, and why."""
        parameters = {"run_id": run_id, "limit": limit}
        cursor = await self._connection.execute(queries.list_failed_isbns, parameters)
        return [(row[0], row[1]) for row in await cursor.fetchall()]

    async def count_calls(self, run_id: str) -> int:
        """Requests that were reserved in a run's name, as far as single charges are still kept."""
        row = await (await self._connection.execute(queries.count_calls, {"run_id": run_id})).fetchone()
        return int(row[0]) if row else 0

    async def list_latest_failures(self, *, limit: int = 10) -> list[Failure]:
        """Items that failed for good, latest first."""
        return await self._all(Failure, queries.list_latest_failures, limit=limit)

    async def list_backlog(self, *, page_size: int, most_pages: int) -> list[Backlog]:
        """What open runs still need, at so many editions a page and so many pages a query."""
        return await self._all(Backlog, queries.list_backlog, page_size=page_size, most_pages=most_pages)

    async def _one(self, kind: type[Row], statement: str, /, **parameters: object) -> Row | None:
        return next(iter(await self._all(kind, statement, **parameters)), None)

    async def _all(self, kind: type[Row], statement: str, /, **parameters: object) -> list[Row]:
        async with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()
