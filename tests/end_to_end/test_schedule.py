"""The schedule as a person uses it, and as several processes keep to it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alexandria.sandbox.server import running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Database
from alexandria.stores.schedule import ScheduleStore
from conftest import Environment
from end_to_end.processes import interrupted, ran, started

TABLES = """
[schedule.new-releases]
cron = "0 4 * * *"
time_zone = "America/New_York"
parameters = {months_back = 0}
[schedule.covers]
enabled = false
[schedule.tiers]
enabled = false
[schedule.upkeep]
enabled = false
"""
PROCESSES = 4


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    file = tmp_path / "alexandria.toml"
    file.write_text(TABLES)
    return file


async def entry(environment: dict[str, str], name: str = "new-releases") -> dict[str, Any]:
    code, out, err = await ran(environment, "schedule", "list", "--json")
    assert code == 0, err
    return next(each for each in json.loads(out) if each["name"] == name)


async def test_a_person_lists_runs_pauses_and_resumes_an_entry(
    environment_for: Environment, tables: Path
) -> None:
    async with running_sandbox(World.invent(seed=3, authors=2)) as sandbox:
        environment = environment_for(sandbox, schedule="on", config=tables)
        shown = await entry(environment)
        assert (shown["state"], shown["last"], shown["lane"]) == ("on", None, "scheduled")
        local = datetime.fromisoformat(shown["next_slot_local"])
        assert (local.hour, local.minute) == (4, 0)
        assert local.utcoffset() == local.astimezone(ZoneInfo("America/New_York")).utcoffset()
        assert datetime.fromisoformat(shown["next_slot"]) == local

        code, out, err = await ran(environment, "schedule", "run", "new-releases")
        assert code == 0, err
        run_id = out.strip()
        code, out, err = await ran(environment, "runs", run_id, "--json")
        assert code == 0, err
        assert json.loads(out)["run"] == run_id
        code, out, err = await ran(environment, "schedule", "run", "new-releases")
        assert (code, out) == (1, "")
        assert f"its run {run_id} is still open" in err
        last = (await entry(environment))["last"]
        assert (last["outcome"], last["run"], last["slot"]) == ("started", run_id, None)

        code, out, err = await ran(environment, "schedule", "pause", "new-releases", "--json")
        assert (code, json.loads(out)["state"]) == (0, "paused"), err
        code, out, err = await ran(environment, "schedule", "list")
        assert code == 0, err
        assert (
            "new-releases: paused, 0 4 * * * (America/New_York), harvester new-releases, lane scheduled"
            in out
        )
        assert f"by hand: started: {run_id}: 1 targets" in out
        assert "covers: off" in out
        code, out, err = await ran(environment, "schedule", "resume", "new-releases")
        assert code == 0, err
        assert out.startswith("new-releases is on; its next slot is")
        code, _, err = await ran(environment, "schedule", "pause", "new-release")
        assert (code, "no entry is named new-release" in err) == (1, True)


async def test_a_wrong_table_is_found_by_the_check(environment_for: Environment, tables: Path) -> None:
    async with running_sandbox(World.invent(seed=3, authors=2)) as sandbox:
        environment = environment_for(sandbox, schedule="on", config=tables)
        tables.write_text(  # noqa: ASYNC240 - a few bytes
            '[schedule.tiers]\nparameters = {tier = "top"}\n'
        )
        code, out, _ = await ran(environment, "check")
        assert code == 1
        assert "[schedule.tiers] parameters: tier must be one or several of" in out


async def test_workers_that_start_at_once_fire_what_was_missed_once(
    environment_for: Environment, database: Database, tables: Path
) -> None:
    async with running_sandbox(
        World.invent(seed=3, authors=20, works_per_top_author=5), switches=Switches(rate_q=100_000)
    ) as sandbox:
        environment = environment_for(sandbox, schedule="on", config=tables)
        async with database.connection() as connection:
            two_days_ago = datetime.now(UTC) - timedelta(days=2)
            await ScheduleStore(connection).add_entries(["new-releases"], now=two_days_ago)
        workers = [await started(environment, "worker") for _ in range(PROCESSES)]
        for worker in workers:
            assert worker.stderr
            assert b"working" in await asyncio.wait_for(worker.stderr.readline(), 60)
        async with asyncio.timeout(60), database.connection() as connection:
            # By the processes' hands, seen in the database alone.
            while [each.state for each in await HarvestStore(connection).list_runs()] != ["done"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        for worker in workers:
            assert (await interrupted(worker))[0] == 0
        async with database.connection() as connection:
            firings = await ScheduleStore(connection).list_firings("new-releases")
            runs = await HarvestStore(connection).list_runs()
        # Two days hold two slots; the second stands for both.
        assert [(each.outcome, each.run_id, each.missed) for each in firings] == [("started", runs[0].id, 1)]
        assert runs[0].parameters["schedule"] == "new-releases"
        assert sandbox.spent("sandbox-key") >= 1
