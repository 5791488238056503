"""What open runs are expected to need still, in units."""

import math
from typing import Any

import pytest

from alexandria.clock import Clock
from alexandria.domain.targets import Target, TargetKind
from alexandria.planning import MOST_PAGES
from alexandria.providers.isbndb import PAGE_SIZE
from alexandria.stores.harvests import HarvestStore, queries
from alexandria.stores.postgres import Connection, Database


async def add_run(
    connection: Connection, clock: Clock, run_id: str, items: int, *, units_each: float = 1, **parameters: Any
) -> None:
    await HarvestStore(connection).add_run(
        run_id,
        kind="authors",
        lane="bulk",
        parameters=parameters,
        targets=[
            Target(TargetKind.AUTHOR, f"OL{n}A", f"Author {n}", units_expected=units_each)
            for n in range(items)
        ],
        fresh_since=clock.now(),
        now=clock.now(),
    )


async def queued(connection: Connection) -> int:
    backlog = await HarvestStore(connection).list_backlog(page_size=PAGE_SIZE, most_pages=MOST_PAGES)
    return math.ceil(sum(each.units for each in backlog))


async def test_with_no_run_nothing_is_queued(database: Database) -> None:
    async with database.transaction() as connection:
        assert await queued(connection) == 0


async def test_what_was_not_begun_needs_what_the_plan_expected(database: Database, clock: Clock) -> None:
    async with database.transaction() as connection:
        await add_run(connection, clock, "a", 10, max_pages=5, units_each=2.5)
        assert await queued(connection) == 25
        await connection.execute("UPDATE harvest_items SET state = 'done' WHERE position <= 4")
        assert await queued(connection) == 15
        # All its pages are fresh: nothing is to be paid.
        await add_run(connection, clock, "b", 10, max_pages=5, units_each=0)
        assert await queued(connection) == 15


@pytest.mark.parametrize(
    ("total", "next_page", "max_pages", "units"),
    [
        (250, 2, 100, 2),
        (250, 2, 2, 1),
        (250, 4, 100, 0),
        (100, 1, 100, 1),
        (0, 1, 100, 0),
        (20_000, 11, 100, 90),
    ],
)
async def test_what_was_begun_needs_the_pages_that_are_left_of_its_total(
    database: Database, clock: Clock, total: int, next_page: int, max_pages: int, units: int
) -> None:
    async with database.transaction() as connection:
        await add_run(connection, clock, "a", 1, max_pages=max_pages, units_each=7)
        for state in ("partial", "running", "pending"):
            await connection.execute(
                "UPDATE harvest_items SET state = %s, total = %s, next_page = %s", [state, total, next_page]
            )
            assert await queued(connection) == units


async def test_what_is_over_needs_nothing_and_what_is_paused_still_does(
    database: Database, clock: Clock
) -> None:
    async with database.transaction() as connection:
        await add_run(connection, clock, "a", 4, max_pages=1)
        await connection.execute("UPDATE harvest_items SET state = 'failed' WHERE position = 1")
        await connection.execute("UPDATE harvest_items SET state = 'empty' WHERE position = 2")
        for state, units in (("running", 2), ("paused", 2), ("cancelled", 0), ("failed", 0), ("done", 0)):
            await connection.execute("UPDATE harvest_runs SET state = %s", [state])
            assert await queued(connection) == units, state


async def test_a_long_backlog_is_read_by_its_open_items(database: Database, clock: Clock) -> None:
    async with database.transaction() as connection:
        await add_run(connection, clock, "a", 5000, max_pages=1)
        await connection.execute("UPDATE harvest_items SET state = 'done' WHERE position > 10")
        await connection.execute("ANALYZE harvest_items; ANALYZE harvest_runs")
        plan = await connection.execute(
            "EXPLAIN " + queries.list_backlog, {"page_size": PAGE_SIZE, "most_pages": MOST_PAGES}
        )
        text = str(await plan.fetchall())
        assert "harvest_items_open" in text, text
