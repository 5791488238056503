"""Many processes at one run, killed at random: the limit holds, nothing is paid twice, nothing is doubled."""

import asyncio
import json
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database
from conftest import Environment
from end_to_end.processes import ran, started

SAFE_LIMIT = 300
PROCESSES = 8


async def harvest_with_kills(environment: dict[str, str], run_id: str, *, kills: int, seed: int) -> list[int]:
    """Keep eight processes at a run, killing one of them again and again; returns the exit codes of those that ended."""
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    codes: list[int] = []

    async def one() -> None:
        nonlocal kills
        while True:
            process = await started(environment, "harvest", "resume", run_id, "--json")
            if kills > 0:
                kills -= 1
                try:
                    await asyncio.wait_for(process.wait(), 1.0 + chance.random() * 2.5)
                except TimeoutError:
                    process.send_signal(signal.SIGKILL)
                    await process.communicate()
                    continue
            await process.communicate()
            codes.append(process.returncode or 0)
            return

    async with asyncio.timeout(100):
        await asyncio.gather(*(one() for _ in range(PROCESSES)))
    return codes


async def twins(database: Database) -> dict[str, int]:
    """How often something stands twice that may stand once."""
    questions = {
        "editions of one isbn": "SELECT count(*) - count(DISTINCT isbn) FROM edition_isbns",
        "works of one title and author": (
            "SELECT count(*) FROM (SELECT author_key, lower(title) FROM works JOIN work_authors ON work_key = key"
            " GROUP BY 1, 2 HAVING count(*) > 1) AS twin"
        ),
        "authors of one name": (
            "SELECT count(*) FROM (SELECT name FROM authors WHERE identity = 'named' GROUP BY 1 HAVING count(*) > 1) AS twin"
        ),
        "works without editions": (
            "SELECT count(*) FROM works WHERE identity = 'matched'"
            " AND NOT EXISTS (SELECT FROM editions WHERE work_key = works.key)"
        ),
        "wrong counts of works": (
            "SELECT count(*) FROM authors WHERE works_count <>"
            " (SELECT count(*) FROM work_authors WHERE author_key = authors.key)"
        ),
    }
    async with database.connection() as connection:
        return {
            name: row[0]
            for name, query in questions.items()
            if (row := await (await connection.execute(query.encode())).fetchone())
        }


@pytest.mark.timeout(240)
async def test_eight_processes_killed_at_random_never_pass_the_limit(
    environment_for: Environment, database: Database, tmp_path: Path
) -> None:
    # Homonyms off: two people of one name may have works of one title, which the count of twins could not tell from a defect.
    world = World.invent(seed=3, authors=380, works_per_top_author=6, new_share=0.1, homonym_share=0.0)
    async with running_sandbox(world, switches=Switches(rate_q=100_000, book_dirt="off")) as sandbox:
        # Nothing is kept for people: the harvest may use up the day at any hour.
        floors = {"interactive_percent": 0, "scheduled_percent": 0}
        environment = environment_for(sandbox, safe_limit=SAFE_LIMIT, requests_per_minute=3000, **floors)
        files = world.write_dumps(tmp_path, irregular_share=0)
        code, _, err = await ran(
            environment, "load", str(files.authors), str(files.works), str(files.editions)
        )
        assert code == 0, err
        first = await started(environment, "harvest", "authors", "--tier", "top-1000")
        run_id = await first_run(database)
        first.send_signal(signal.SIGKILL)
        await first.communicate()

        codes = await harvest_with_kills(environment, run_id, kills=12, seed=11)

        assert set(codes) == {2}, "every process that lived says that the quota is exhausted"
        assert sandbox.spent("sandbox-key") <= SAFE_LIMIT
        assert pages_paid_twice(sandbox) <= 13, "only a page whose process died before it could store it"
        assert await twins(database) == dict.fromkeys(await twins(database), 0)
        code, out, err = await ran(environment, "runs", run_id, "--json")
        assert code == 0, err
        told = json.loads(out)
        assert told["state"] == "paused"
        assert told["failed"] == 0
        assert told["items"] > SAFE_LIMIT >= told["done"] > SAFE_LIMIT - 40

        # The next day's quota, here a larger one: what is left is done, what is done stays done.
        done_before = told["done"]
        code, out, err = await ran(
            {**environment, "ALEXANDRIA_SAFE_LIMIT": "2000"}, "harvest", "resume", run_id, "--json"
        )
        assert code == 0, err
        assert json.loads(out)["done"] == told["items"] > done_before
        assert await twins(database) == dict.fromkeys(await twins(database), 0)
        assert (await ran(environment, "quota", "verify"))[0] == 0


def pages_paid_twice(sandbox: Sandbox) -> int:
    asked = Counter((call.path, call.query) for call in sandbox.calls if call.units)
    return sum(times - 1 for times in asked.values())


async def first_run(database: Database) -> str:
    async with asyncio.timeout(30):
        while True:
            async with database.connection() as connection:
                row = await (await connection.execute("SELECT id FROM harvest_runs")).fetchone()
            if row:
                return str(row[0])
            await asyncio.sleep(0.05)
