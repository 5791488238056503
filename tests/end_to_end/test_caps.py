"""Caps with several worker processes at the same runs: not a unit more, and not one less."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database
from conftest import Environment
from end_to_end.processes import ended, interrupted, started


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    world = World.invent(seed=6, authors=60, works_per_top_author=40)
    async with running_sandbox(world, switches=Switches(rate_q=100_000)) as sandbox:
        yield sandbox


async def test_processes_that_work_on_runs_together_keep_their_caps_to_the_unit(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    environment = environment_for(sandbox, interactive_percent=0, scheduled_percent=0)
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE harvesters SET units_per_run = 24, units_per_day = 37 WHERE name = 'authors'"
        )
    names = [author.name for author in sandbox.world.truth.authors.values()]
    # Attempts that bring nothing are charged, and count.
    sandbox.faults.add(FaultKind.DROP_AFTER, endpoint="author", rate=0.1)
    workers = [await started(environment, "worker") for _ in range(2)]
    for half, spent, cap, code in (
        (names[:30], 24, "24 are left for the run", 1),
        (names[30:], 37, "37 are left", 2),
    ):
        arguments = [word for name in half for word in ("--author", name)]
        left, out, err = await ended(await started(environment, "harvest", "authors", *arguments, "--json"))
        told = json.loads(out)
        assert (told["state"], told["pause_cause"]) == ("paused", "ceiling"), err
        assert cap in told["pause_reason"]
        assert (left, sandbox.spent("sandbox-key")) == (code, spent), err
    assert all(process.returncode is None for process in workers)
    for code, _, err in await asyncio.gather(*(interrupted(process) for process in workers)):
        assert code == 0, err
    assert sandbox.spent("sandbox-key") == 37
