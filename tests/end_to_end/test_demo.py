"""The demonstration, as a newcomer runs it: stopped in the middle, run again, and told in one line of JSON."""

import asyncio
import json
from pathlib import Path

import pytest

from end_to_end.processes import interrupted, ran, started

WORLD = ("--authors", "14", "--works", "25")


def stored_in(folder: Path) -> int:
    return len(list(folder.glob("covers/**/large.webp")))


async def first_cover(folder: Path) -> None:
    async with asyncio.timeout(60):
        while not stored_in(folder):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_the_demo_stops_cleanly_and_goes_on_when_it_is_run_again(folder: Path) -> None:
    environment = {"ALEXANDRIA_DATA_DIR": str(folder), "ALEXANDRIA_DATABASE_URL": ""}
    process = await started(environment, "demo", *WORLD)
    await first_cover(folder)
    code, _, err = await interrupted(process)
    assert code == 130, err
    assert "run it again to go on" in err
    assert "Traceback" not in err
    stored = stored_in(folder)

    code, out, err = await ran(environment, "demo", *WORLD)
    assert code == 0, err
    told = json.loads(out.splitlines()[-1])
    assert list(told) == [
        "authors",
        "editions_found",
        "editions_new",
        "works_new",
        "covers_stored",
        "units_used",
        "safe_limit",
        "provider_429",
        "ledger_matches_provider",
        "seconds",
    ]
    assert told["authors"] == 14
    assert told["editions_new"] > 0
    assert told["covers_stored"] > stored
    assert told["covers_stored"] <= told["editions_found"]
    assert 14 <= told["units_used"] <= 30
    assert told["safe_limit"] == 13_000
    assert told["provider_429"] == 0
    assert told["ledger_matches_provider"] is True
    assert "failed" not in err


async def test_the_demo_never_touches_a_catalogue_that_is_not_its_own(folder: Path) -> None:
    (folder / "postgres").mkdir()
    code, _, err = await ran({"ALEXANDRIA_DATA_DIR": str(folder), "ALEXANDRIA_DATABASE_URL": ""}, "demo")
    assert code == 1
    assert "not the demo's" in err
    code, _, err = await ran({"ALEXANDRIA_DATABASE_URL": "postgresql://localhost/mine"}, "demo")
    assert code == 1
    assert "ALEXANDRIA_DATABASE_URL" in err
