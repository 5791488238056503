"""Harvest runs in PostgreSQL: their items, their progress, and the pages that were paid for."""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from alexandria.stores.postgres import Connection, Database, Queries

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
    pause_reason: str | None
    resumes_at: datetime | None
    fresh_since: datetime
    created_at: datetime
    finished_at: datetime | None

    @property
    def target(self) -> str:
        """What is harvested, in words."""
        match self.parameters:
            case {"tier": tier}:
                return f"authors, tier {tier}"
            case {"authors": [first, *others]}:
                return f"{first} and {len(others):,} more" if others else str(first)
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
    editions_found: int
    editions_new: int
    works_new: int
    covers_wanted: int


@dataclass(frozen=True)
class Item:
    """One target of a run."""

    run_id: str
    position: int
    subject: str
    name: str
    state: str
    next_page: int
    total: int | None
    units: int
    editions_found: int
    editions_new: int
    works_new: int
    covers_wanted: int
    failures: int
    starts: int
    reason: str | None
    retry_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True)
class Page:
    """A page that was paid for; `absorbed_at` is None while its records are not in the catalogue yet."""

    provider: str
    query: str
    page: int
    fetched_at: datetime
    page_size: int
    total: int | None
    has_more: bool
    record_keys: list[str]
    dropped: int
    absorbed_at: datetime | None


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
        targets: Sequence[tuple[str, str]],
        fresh_since: datetime,
        now: datetime,
    ) -> None:
        """Write down a run and its items; targets are pairs of subject and name, in the order of the plan."""
        values = {"id": run_id, "kind": kind, "lane": lane, "parameters": Jsonb(dict(parameters))}
        await self._connection.execute(queries.add_run, {**values, "fresh_since": fresh_since, "now": now})
        rows = [
            {"position": n, "subject": subject, "name": name}
            for n, (subject, name) in enumerate(targets, start=1)
        ]
        await self._connection.execute(queries.add_items, {"run_id": run_id, "rows": Jsonb(rows), "now": now})

    async def find_run(self, run_id: str) -> Run | None:
        """One run by its id."""
        return await self._one(Run, queries.find_run, id=run_id)

    async def list_runs(self, *, limit: int = 20) -> list[Run]:
        """The latest runs, newest first."""
        return await self._all(Run, queries.list_runs, limit=limit)

    async def list_runs_to_feed(self, now: datetime) -> list[str]:
        """Runs that may have work to hand out now, oldest first."""
        cursor = await self._connection.execute(queries.list_runs_to_feed, {"now": now})
        return [row[0] for row in await cursor.fetchall()]

    async def get_progress(self, run_id: str) -> Progress:
        """How far a run has come."""
        return (await self._all(Progress, queries.get_progress, run_id=run_id))[0]

    async def list_items(
        self, run_id: str, *, states: Sequence[ItemState] | None = None, offset: int = 0, limit: int = 100
    ) -> list[Item]:
        """A run's items in the order of its plan."""
        wanted = list(states) if states is not None else None
        return await self._all(
            Item, queries.list_items, run_id=run_id, states=wanted, offset=offset, limit=limit
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
        now: datetime,
    ) -> None:
        """Move an item to its `next_page` with what the page before it brought, in the transaction that absorbs that page."""
        await self._connection.execute(
            queries.advance_item,
            {
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

    async def pause_run(self, run_id: str, *, reason: str, resumes_at: datetime | None) -> None:
        """Hand nothing more out until `resumes_at`, or until a person resumes the run."""
        await self._connection.execute(
            queries.pause_run, {"id": run_id, "reason": reason, "resumes_at": resumes_at}
        )

    async def resume_run(
        self, run_id: str, *, states: Sequence[RunState], now: datetime, retry_failed: bool = False
    ) -> bool:
        """Let a run go on if it is in one of these states; failed items are tried again if asked for."""
        if retry_failed:
            await self._connection.execute(queries.reopen_failed_items, {"run_id": run_id, "now": now})
        cursor = await self._connection.execute(queries.resume_run, {"id": run_id, "states": list(states)})
        return await cursor.fetchone() is not None

    async def finish_run(self, run_id: str, *, now: datetime) -> bool:
        """End a run that has nothing left to do; returns whether it ended now."""
        return (
            await (await self._connection.execute(queries.finish_run, {"id": run_id, "now": now})).fetchone()
            is not None
        )

    async def save_page(self, page: Page) -> None:
        """Write down a page that was paid for, in the transaction that stores its records."""
        values = {name: getattr(page, name) for name in Page.__dataclass_fields__ if name != "absorbed_at"}
        await self._connection.execute(queries.save_page, values)

    async def find_page(self, provider: str, query: str, page: int, *, fresh_since: datetime) -> Page | None:
        """A page that need not be asked again."""
        return await self._one(
            Page, queries.find_page, provider=provider, query=query, page=page, fresh_since=fresh_since
        )

    async def mark_page_absorbed(self, page: Page, *, now: datetime) -> None:
        """The page's records are in the catalogue."""
        values = {"provider": page.provider, "query": page.query, "page": page.page, "now": now}
        await self._connection.execute(queries.mark_page_absorbed, values)

    async def count_fresh_pages(
        self, provider: str, wanted: Sequence[str], *, fresh_since: datetime
    ) -> dict[str, tuple[int, bool]]:
        """Query -> how many of its pages are fresh, and whether they are all there is."""
        parameters = {"provider": provider, "queries": list(wanted), "fresh_since": fresh_since}
        rows = await (await self._connection.execute(queries.count_fresh_pages, parameters)).fetchall()
        return {row[0]: (row[1], row[2]) for row in rows}

    async def count_editions_of_authors(self, author_keys: Sequence[str]) -> dict[str, int]:
        """How many editions of each author the catalogue holds."""
        cursor = await self._connection.execute(
            queries.count_editions_of_authors, {"author_keys": list(author_keys)}
        )
        return {row[0]: row[1] for row in await cursor.fetchall()}

    async def list_latest_failures(self, *, limit: int = 10) -> list[Failure]:
        """Items that failed for good, latest first."""
        return await self._all(Failure, queries.list_latest_failures, limit=limit)

    async def sum_units_queued(self, *, page_size: int, most_pages: int) -> int:
        """Units that the open items of all runs are expected to cost still, at so many editions a page and so many pages a query."""
        parameters = {"page_size": page_size, "most_pages": most_pages}
        row = await (await self._connection.execute(queries.sum_units_queued, parameters)).fetchone()
        return math.ceil(row[0]) if row else 0

    async def _one(self, kind: type[Row], statement: str, /, **parameters: object) -> Row | None:
        return next(iter(await self._all(kind, statement, **parameters)), None)

    async def _all(self, kind: type[Row], statement: str, /, **parameters: object) -> list[Row]:
        async with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()


@asynccontextmanager
async def sole_use(database: Database, name: str) -> AsyncIterator[bool]:
    """Whether nobody else holds `name` now; if so it is ours until the block ends or the process dies."""
    async with database.connection() as connection:
        row = await (await connection.execute(queries.try_lock, {"name": name})).fetchone()
        if row is None or not row[0]:
            yield False
            return
        try:
            yield True
        finally:
            await connection.execute(queries.unlock, {"name": name})
