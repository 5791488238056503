"""The command line as a person or a script meets it: what it prints, where, and how it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alexandria.domain.tuning import Change
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database
from alexandria.stores.tuning import TuningStore
from conftest import Environment
from end_to_end.processes import interrupted, ran, started
from harvesting import listed_isbns, unknown_isbns


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    world = World.invent(seed=5, authors=8, works_per_top_author=12)
    async with running_sandbox(world, switches=Switches(rate_q=100_000)) as sandbox:
        yield sandbox


async def test_bad_input_is_one_line_that_names_the_place_and_a_code_that_is_not_zero(
    sandbox: Sandbox, environment_for: Environment, tmp_path: Path
) -> None:
    environment = environment_for(sandbox)
    binary = tmp_path / "binary.txt.gz"
    binary.write_bytes(bytes(range(256)))
    csv = tmp_path / "ratings.csv"
    csv.write_text("work_key,edition_key,rating,day\n/works/OL1W,,5,2026-01-01\n")
    no_text = tmp_path / "latin.csv"
    no_text.write_bytes(b"isbn13,title\n9780140328721,caf\xe9\n")
    cases = [
        (["harvest", "authors", "--tier", "top-7"], "top-7"),
        (["harvest", "authors", "--author", ""], "author"),
        (["harvest", "authors"], "--tier, --author and --author-key"),
        (["harvest", "authors", "--author-key", "OL999999A"], "OL999999A"),
        (["harvest", "new-releases", "2026-10", "--subject", "no such subject"], "no such subject"),
        (["harvest", "gaps", "--max-units", "0"], "max_units"),
        (["enrich"], "--file"),
        (["enrich", "--file", str(binary)], "binary.txt.gz"),
        (["harvest", "authors", "--tier", "top-100", "--max-pages", "0"], "max_pages"),
        (["harvest", "new-releases", "2026-13"], "2026-13"),
        (["harvest", "resume", "nothing"], "nothing"),
        (["runs", "nothing"], "nothing"),
        (["harvesters", "pause", "robots"], "new-releases"),
        (["harvesters", "cap", "authors", "--units-per-day", "many"], "units_per_day"),
        (["load", str(binary)], "binary.txt.gz"),
        (["load", str(csv)], "ratings.csv"),
        (["load", str(tmp_path / "absent.txt")], "absent.txt"),
        (["sandbox", "--books", str(binary)], "binary.txt.gz"),
        (["nonsense"], "nonsense"),
    ]
    # A few at once: each is a process that mostly starts up.
    turns = asyncio.Semaphore(3)

    async def met(arguments: list[str]) -> tuple[int, str, str]:
        async with turns:
            return await ran(environment, *arguments)

    ends = await asyncio.gather(*(met(arguments) for arguments, _ in cases))
    for (arguments, told), (code, out, err) in zip(cases, ends, strict=True):
        assert code == 1, (arguments, out, err)
        assert told in err
        assert len(err.strip().splitlines()) == 1, err
        assert "Traceback" not in err
    assert sandbox.spent("sandbox-key") == 0


async def test_without_a_key_a_harvest_says_how_to_get_one(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    code, _, err = await ran(
        environment_for(sandbox, isbndb_key=""), "harvest", "authors", "--author", "Edda Vale"
    )
    assert code == 1
    assert "ALEXANDRIA_ISBNDB_KEY" in err


async def test_what_is_tuned_is_shown_with_its_reason_and_put_back(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    environment = environment_for(sandbox, pinned="cover_seconds=20")
    change = Change("items_at_once", 4, 2, "50% of 40 failed: 4 to 2 items")
    async with database.transaction() as connection:
        await TuningStore(connection).change(change)
    code, out, err = await ran(environment, "tune", "--show")
    assert code == 0, err
    assert "items_at_once: 2 items (2 to 8, started at 4)" in out
    assert f"UTC: {change.reason}" in out
    assert "cover_seconds: 20 seconds (pinned)" in out
    (code, out, _), (refused, _, err) = await asyncio.gather(
        ran(environment, "tune", "--reset", "items-at-once", "--json"),
        ran(environment, "tune", "--reset", "cover_seconds"),
    )
    assert code == 0
    (dial,) = [each for each in json.loads(out) if each["name"] == "items_at_once"]
    assert (dial["value"], dial["changes"][0]["reason"]) == (4, "reset by a person: 2 to 4 items")
    assert (refused, "take it out of ALEXANDRIA_PINNED" in err) == (1, True)


async def test_a_harvest_by_name_reports_in_json_what_it_brought(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    environment = environment_for(sandbox)
    author = next(iter(sandbox.world.truth.authors.values())).name
    code, out, err = await ran(environment, "harvest", "authors", "--author", author, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["state"] == "done"
    assert told["editions_new"] > 0
    assert told["units"] == sandbox.spent("sandbox-key")
    code, out, _ = await ran(environment, "quota", "status", "--json")
    assert code == 0
    assert json.loads(out)["used"] == told["units"]
    code, out, err = await ran(environment, "harvest", "covers", "--json")
    assert code == 0, err
    assert json.loads(out)["stored"] > 0


async def test_covers_from_a_host_that_is_not_public_are_refused_with_the_reason(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    environment = environment_for(sandbox, download_hosts="")
    author = next(iter(sandbox.world.truth.authors.values())).name
    assert (await ran(environment, "harvest", "authors", "--author", author))[0] == 0
    code, out, err = await ran(environment, "harvest", "covers", "--json")
    assert code == 0, err
    assert json.loads(out)["refused"] > 0
    assert json.loads(out)["stored"] == 0
    assert "not public" in err
    assert "ALEXANDRIA_DOWNLOAD_HOSTS" in err
    assert sandbox.cover_calls.total() == 0


async def test_a_spent_quota_ends_a_harvest_with_code_2_and_the_reset_time(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    names = [author.name for author in sandbox.world.truth.authors.values()][:4]
    arguments = [word for name in names for word in ("--author", name)]
    environment = environment_for(sandbox, safe_limit=2)
    code, out, err = await ran(environment, "harvest", "authors", *arguments, "--json")
    assert code == 2, err
    assert json.loads(out)["state"] == "paused"
    assert "alexandria harvest resume" in err
    assert sandbox.spent("sandbox-key") == 2


async def test_ctrl_c_stops_a_worker_cleanly(sandbox: Sandbox, environment_for: Environment) -> None:
    process = await started(environment_for(sandbox), "worker")
    assert process.stderr is not None
    assert b"working" in await asyncio.wait_for(process.stderr.readline(), 30)
    code, _, err = await interrupted(process)
    assert code == 0, err
    assert "Traceback" not in err


async def test_a_dry_run_prints_the_plan_and_leaves_no_run(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    code, out, err = await ran(
        environment_for(sandbox),
        "harvest",
        "authors",
        "--author",
        "Edda Vale",
        "--max-pages",
        "3",
        "--dry-run",
        "--json",
    )
    assert code == 0, err
    plan = json.loads(out)
    assert plan["units_expected"] == 1
    assert [target["name"] for target in plan["targets"]] == ["Edda Vale"]
    async with database.connection() as connection:
        assert await (await connection.execute("SELECT count(*) FROM harvest_runs")).fetchone() == (0,)
    assert sandbox.spent("sandbox-key") == 0


async def test_a_refused_key_stops_everyone_until_a_person_resumes(
    environment_for: Environment, sandbox: Sandbox
) -> None:
    environment = environment_for(sandbox, isbndb_key="not-the-key")
    code, out, err = await ran(environment, "harvest", "authors", "--author", "Edda Vale", "--json")
    assert code == 1, err
    assert json.loads(out)["state"] == "paused"
    assert "alexandria quota resume" in err
    code, out, _ = await ran(environment, "quota", "status", "--json")
    assert json.loads(out)["stop"]["reason"] == "suspended"
    assert "not-the-key" not in out + err
    code, out, _ = await ran(environment, "quota", "resume")
    assert code == 0
    assert "go out again" in out


async def test_a_broken_line_of_a_dump_is_named_and_the_rows_around_it_are_kept(
    sandbox: Sandbox, environment_for: Environment, database: Database, tmp_path: Path
) -> None:
    row = '/type/author\t/authors/OL{n}A\t1\t2026-01-01T00:00:00\t{{"key": "/authors/OL{n}A", "name": "Edda Vale {n}"}}\n'
    dump = tmp_path / "authors.txt"
    dump.write_bytes(
        row.format(n=1).encode()
        + b"/type/author\t/authors/OL2A\t1\n"
        + row.format(n=3).encode()
        + b"\xff\xfe\n"
    )
    code, out, err = await ran(environment_for(sandbox), "load", str(dump))
    assert code == 1, (out, err)
    assert "authors.txt:2" in out
    assert "authors.txt:4" in out
    async with database.connection() as connection:
        rows = await (await connection.execute("SELECT key FROM authors ORDER BY key")).fetchall()
    assert rows == [("OL1A",), ("OL3A",)]


async def test_rows_for_the_sandbox_that_are_broken_are_named_and_the_rest_is_served(tmp_path: Path) -> None:
    books = tmp_path / "books.csv"
    books.write_bytes(
        b"isbn13,title,authors\n9780140328721,Tides,Edda Vale\n9780140328722,Wrong Digit,Edda Vale\n"
        b"9780261102217,Caf\xe9,Edda Vale\n"
    )
    process = await started({}, "sandbox", "--books", str(books), "--port", "0", "--json")
    assert process.stdout is not None
    assert json.loads(await asyncio.wait_for(process.stdout.readline(), 30))["url"]
    _, _, err = await interrupted(process)
    assert "books.csv:3" in err
    assert "books.csv:4" in err


async def test_fetching_covers_spends_nothing_on_a_run_that_was_left(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    names = [author.name for author in sandbox.world.truth.authors.values()][:4]
    arguments = [word for name in names for word in ("--author", name)]
    assert (await ran(environment_for(sandbox, safe_limit=1), "harvest", "authors", *arguments))[0] == 2
    async with database.connection() as connection:
        await connection.execute("UPDATE harvest_runs SET state = 'running', resumes_at = NULL")
    code, _, err = await ran(environment_for(sandbox), "harvest", "covers")
    assert code == 0, err
    code, _, err = await ran(environment_for(sandbox), "harvest", "authors", "--author", "Zqwv Nobodyson")
    assert code == 0, err
    assert sandbox.spent("sandbox-key") == 2, "one unit before, one for the author who was asked for"


async def test_isbns_are_enriched_once_and_what_is_open_is_shown(
    sandbox: Sandbox, environment_for: Environment, tmp_path: Path
) -> None:
    environment = environment_for(sandbox)
    known = [str(each) for each in listed_isbns(sandbox.world)[:4]]
    (tmp_path / "isbns.txt").write_text(
        "\n".join([*known[1:], "", *map(str, unknown_isbns(sandbox.world, 1))])
    )
    wish = ["enrich", known[0], "--file", str(tmp_path / "isbns.txt")]
    code, out, err = await ran(environment, *wish, "--dry-run", "--json")
    assert (code, json.loads(out)["units_expected"], sandbox.spent("sandbox-key")) == (0, 5, 0), err
    code, out, err = await ran(environment, *wish, "--json")
    told = json.loads(out)
    assert (code, told["state"], told["units"], told["editions_found"]) == (0, "done", 5, 4), err
    assert sandbox.spent("sandbox-key") == 5
    code, out, err = await ran(environment, "enrich", known[0], "97803064061580", "--json")
    assert (code, json.loads(out)["units"]) == (1, 0), "an invalid one is an error, and the rest is done"
    assert "97803064061580" in err
    code, out, err = await ran(environment, "plan", "--json")
    told = json.loads(out)
    assert (code, told["units"], told["units_remaining"], told["lines"]) == (0, 0, 12_995, []), err
    (isbns,) = told["accuracy"]
    assert (isbns["target"], isbns["units_expected"], isbns["editions_new"]) == ("isbns", 6, 4)


async def test_runs_are_paused_cancelled_and_reported_and_harvesters_switched(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    environment = environment_for(sandbox)
    author = next(iter(sandbox.world.truth.authors.values())).name
    code, out, err = await ran(environment, "harvesters", "pause", "authors", "--reason", "looking", "--json")
    assert (code, json.loads(out)["state"]) == (0, "paused"), err
    code, out, err = await ran(environment, "harvest", "authors", "--author", author, "--json")
    assert code == 1, err
    assert "its harvester is paused: looking" in err
    run = json.loads(out)["run"]
    assert (json.loads(out)["state"], sandbox.spent("sandbox-key")) == ("running", 0)

    code, out, _ = await ran(environment, "runs", "pause", run, "--json")
    assert (code, json.loads(out)["state"]) == (0, "paused")
    assert (await ran(environment, "harvesters", "resume", "authors"))[0] == 0
    code, out, err = await ran(environment, "harvest", "resume", run, "--json")
    assert (code, json.loads(out)["state"]) == (0, "done"), err

    for command in ("cancel", "retry"):
        code, _, err = await ran(environment, "runs", command, run)
        assert (code, len(err.strip().splitlines())) == (1, 1), err
        assert run in err
    code, out, _ = await ran(environment, "runs", "report", run, "--json", "--items", "all")
    told = json.loads(out)
    assert (code, told["state"], told["units"]) == (0, "done", sandbox.spent("sandbox-key"))
    assert [each["name"] for each in told["listed"]] == [author]
    code, out, _ = await ran(environment, "runs", "report", run)
    assert out.startswith(f"# Run {run}: ")
    code, out, _ = await ran(environment, "runs", "--json")
    assert [each["run"] for each in json.loads(out)] == [run]

    code, out, _ = await ran(
        environment,
        "harvesters",
        "cap",
        "new-releases",
        "--units-per-day",
        "500",
        "--units-per-run",
        "none",
        "--json",
    )
    assert (code, json.loads(out)["units_per_day"], json.loads(out)["units_per_run"]) == (0, 500, None)
    assert (await ran(environment, "harvesters", "disable", "authors"))[0] == 0
    code, _, err = await ran(environment, "harvest", "authors", "--author", author)
    assert code == 1
    assert "alexandria harvesters enable authors" in err
    code, out, _ = await ran(environment, "harvesters", "--json")
    listed = {each["name"]: each for each in json.loads(out)["harvesters"]}
    assert (listed["authors"]["state"], listed["authors"]["units_today"]) == ("disabled", told["units"])
    assert listed["new-releases"]["units_per_day"] == 500
