"""The feeder: what is handed out first."""

from itertools import pairwise

import pytest

from alexandria.clock import Clock
from alexandria.domain.quota import Lane
from alexandria.domain.targets import Target, TargetKind
from alexandria.jobs.queue import feed_run, forget_old_jobs, priority_of
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Connection, Database


async def add_run(
    connection: Connection, clock: Clock, run_id: str, lane: Lane, units: float, editions: float
) -> None:
    await HarvestStore(connection).add_run(
        run_id,
        kind="tiers",
        lane=lane,
        parameters={"max_pages": 1},
        targets=[
            Target(
                TargetKind.AUTHOR,
                f"OL{n}A",
                f"{run_id} {n}",
                units_expected=units,
                editions_expected=editions,
            )
            for n in range(3)
        ],
        fresh_since=clock.now(),
        now=clock.now(),
    )


async def test_jobs_are_taken_by_lane_and_then_by_what_a_unit_buys(database: Database, clock: Clock) -> None:
    async with database.transaction() as connection:
        for run_id, lane, units, editions in (
            ("poor", Lane.BULK, 1, 1),
            ("rich", Lane.BULK, 3, 150),
            ("free", Lane.BULK, 0, 0),
            ("scheduled", Lane.SCHEDULED, 1, 1),
        ):
            await add_run(connection, clock, run_id, lane, units, editions)
            assert await feed_run(connection, run_id, now=clock.now()) == 3
        rows = await (
            await connection.execute("SELECT payload FROM pgqueuer ORDER BY priority DESC, id")
        ).fetchall()
    taken = [
        next(name for name in ("poor", "rich", "free", "scheduled") if name in str(row[0])) for row in rows
    ]
    assert taken == ["scheduled"] * 3 + ["free"] * 3 + ["rich"] * 3 + ["poor"] * 3


@pytest.mark.parametrize("lane", list(Lane))
def test_no_yield_lifts_a_job_out_of_its_lane(lane: Lane) -> None:
    priorities = [
        priority_of(lane, units, editions)
        for units, editions in ((5, 0), (1, 1), (1, 50), (1, 10**6), (0, 0))
    ]
    assert all(lower < higher for lower, higher in pairwise(priorities))
    assert {each // 1000 for each in priorities} == {priority_of(lane, 1, 1) // 1000}


async def test_the_log_of_jobs_that_are_long_over_is_forgotten_and_that_of_dead_letters_kept(
    database: Database,
) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO pgqueuer (id, priority, created, updated, entrypoint, status)"
            " VALUES (7, 0, now(), now(), 'harvest_item', 'failed')"
        )
        await connection.execute(
            "INSERT INTO pgqueuer_log (created, job_id, status, priority, entrypoint)"
            " SELECT now() - age * interval '1 day', job, 'failed', 0, 'harvest_item'"
            " FROM (VALUES (8, 1), (6, 2), (8, 7)) AS log (age, job)"
        )
        assert await forget_old_jobs(connection) == 1
        rows = await (await connection.execute("SELECT job_id FROM pgqueuer_log ORDER BY job_id")).fetchall()
    assert rows == [(2,), (7,)]
