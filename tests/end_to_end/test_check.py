"""`alexandria check` as a person meets it: every part said in words, whatever is wrong with the others."""

import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from alexandria.cli.check import judge_key
from alexandria.domain.quota import Account, DenialReason, Lane, Policy, State, Window
from alexandria.domain.quota_status import Status, Usage
from alexandria.providers.isbndb import KeyStatus
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from conftest import Environment, SetClock
from end_to_end.processes import ran

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    world = World.invent(seed=5, authors=8, works_per_top_author=12)
    async with running_sandbox(world, switches=Switches(rate_q=100_000)) as sandbox:
        yield sandbox


async def checked(environment: dict[str, str], *, code: int) -> dict[str, dict[str, Any]]:
    """The findings of `alexandria check --json` by subject; it has to end with this code and without a traceback."""
    ended, out, err = await ran(environment, "check", "--json")
    assert ended == code, (out, err)
    assert "Traceback" not in err
    told = json.loads(out)
    assert told["is_well"] == (code == 0)
    return {each["subject"]: each for each in told["findings"]}


def states(findings: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {subject: each["state"] for subject, each in findings.items()}


ALL_WELL = dict.fromkeys(["configuration", "database", "provider", "quota", "object store"], "works")


async def test_when_all_is_well_every_part_says_so_and_nothing_is_spent(
    sandbox: Sandbox, environment_for: Environment, tmp_path: Path
) -> None:
    environment = environment_for(sandbox)
    assert (await ran(environment, "harvest", "authors", "--author", "Edda Vale"))[0] == 0
    spent = sandbox.spent("sandbox-key")
    assert spent == 1
    findings = await checked(environment, code=0)
    assert states(findings) == ALL_WELL
    figures = findings["provider"]["figures"]
    assert (figures["plan"], figures["units_counted_by_provider"], figures["units_counted_here"]) == (
        "Premium",
        1,
        1,
    )
    assert figures["bulk_limit"] == 1000
    database = findings["database"]["figures"]
    assert (database["kind"], database["migrations_applied"]) == ("external", 0)
    assert sandbox.spent("sandbox-key") == spent
    assert list((tmp_path / "covers").iterdir()) == [], "the probe leaves nothing behind"


async def test_people_get_a_line_for_each_part(sandbox: Sandbox, environment_for: Environment) -> None:
    code, out, err = await ran(environment_for(sandbox), "check")
    assert code == 0, err
    assert [line.partition(":")[0] for line in out.splitlines()] == list(ALL_WELL)
    assert "PostgreSQL 18" in out
    assert "the plan Premium grants 15,000 units a day" in out
    assert "sandbox-key" not in out + err


async def test_without_a_key_it_says_so_plainly_and_that_is_allowed(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    findings = await checked(environment_for(sandbox, isbndb_key=""), code=0)
    assert findings["provider"]["state"] == "absent"
    assert "no ISBNdb key is configured" in findings["provider"]["said"]
    assert "ALEXANDRIA_ISBNDB_KEY" in findings["provider"]["advice"]
    assert not sandbox.calls


async def test_a_wrong_key_says_how_to_mend_it_and_that_everything_is_stopped(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    environment = environment_for(sandbox, isbndb_key="not-the-key")
    for _ in range(2):  # refused by the provider, then kept from asking it again
        findings = await checked(environment, code=1)
        assert states(findings) == ALL_WELL | {"provider": "wrong", "quota": "wrong"}
        assert "the key is refused" in findings["provider"]["said"]
        assert "alexandria quota resume" in findings["provider"]["advice"]
        assert "suspended" in findings["quota"]["said"]
        assert "not-the-key" not in str(findings)
    assert len(sandbox.calls) == 1


async def test_a_provider_that_is_down_leaves_the_rest_well(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    findings = await checked(environment_for(sandbox, isbndb_url="http://127.0.0.1:1"), code=1)
    assert states(findings) == ALL_WELL | {"provider": "wrong"}
    assert "http://127.0.0.1:1" in findings["provider"]["advice"]


async def test_a_database_that_is_down_is_one_clear_line_and_the_rest_is_still_checked(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    environment = environment_for(
        sandbox, database_url="postgresql://alexandria:pa55word@127.0.0.1:1/nowhere"
    )
    findings = await checked(environment, code=1)
    assert states(findings) == ALL_WELL | {
        "database": "wrong",
        "provider": "not checked",
        "quota": "not checked",
    }
    assert "Connection refused" in findings["database"]["said"]
    assert "\n" not in findings["database"]["said"]
    assert "ALEXANDRIA_DATABASE_URL" in findings["database"]["advice"]
    code, out, err = await ran(environment, "check")
    assert code == 1
    assert "pa55word" not in f"{findings}{out}{err}"
    assert err == ""
    assert not sandbox.calls, "with an unknown count nothing is sent, not even what is free"


@pytest.fixture
def open_folder() -> Iterator[str]:
    """A folder that an embedded server's own account may enter."""
    with tempfile.TemporaryDirectory(prefix="alexandria-tests-") as folder:
        Path(folder).chmod(0o755)
        yield folder


async def test_an_embedded_server_is_named_as_such_and_one_that_can_not_run_says_why(
    sandbox: Sandbox, environment_for: Environment, open_folder: str
) -> None:
    environment = environment_for(sandbox, database_url="", data_dir=open_folder)
    findings = await checked(environment, code=0)
    assert states(findings) == ALL_WELL
    assert findings["database"]["figures"]["kind"] == "embedded"
    environment["ALEXANDRIA_POSTGRES_BIN"] = open_folder
    findings = await checked(environment, code=1)
    assert "ALEXANDRIA_POSTGRES_BIN" in findings["database"]["said"]
    assert findings["object store"]["state"] == "works"


async def test_an_address_of_the_provider_that_can_not_be_used_is_not_the_databases_fault(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    findings = await checked(environment_for(sandbox, isbndb_url="http://user:pa55@127.0.0.1"), code=1)
    assert states(findings) == ALL_WELL | {"provider": "wrong", "quota": "not checked"}
    assert "ALEXANDRIA_ISBNDB_URL" in findings["provider"]["said"]
    assert "pa55" not in str(findings)


async def test_an_address_that_can_not_be_understood_is_not_repeated(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    environment = environment_for(sandbox, database_url="postgresql://alexandria:pa55%zz@127.0.0.1/nowhere")
    findings = await checked(environment, code=1)
    assert findings["database"]["state"] == "wrong"
    assert "pa55" not in str(findings)


async def test_an_empty_database_is_set_up_and_one_that_may_not_be_is_said(
    sandbox: Sandbox, environment_for: Environment, server_url: str, database_url: str
) -> None:
    name = urlsplit(database_url).path.strip("/")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}_empty".encode())
        connection.execute("CREATE ROLE reader LOGIN")
    empty = database_url.replace(name, f"{name}_empty")
    try:
        reader = environment_for(sandbox, database_url=empty.replace("//alexandria@", "//reader@"))
        findings = await checked(reader, code=1)
        assert "permission denied" in findings["database"]["said"]
        findings = await checked(environment_for(sandbox, database_url=empty), code=0)
        assert findings["database"]["figures"]["migrations_applied"] > 0
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name}_empty WITH (FORCE)".encode())
            connection.execute("DROP ROLE reader")


async def test_a_database_of_a_newer_version_is_left_alone(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    async with database.connection() as connection:
        await connection.execute("INSERT INTO migrations (number, name) VALUES (9999, 'later')")
    findings = await checked(environment_for(sandbox), code=1)
    assert "run the newer version" in findings["database"]["said"]


async def test_a_folder_that_can_not_be_written_leaves_the_rest_well(
    sandbox: Sandbox, environment_for: Environment, tmp_path: Path
) -> None:
    (tmp_path / "covers").write_text("a file where the folder should be")
    findings = await checked(environment_for(sandbox), code=1)
    assert states(findings) == ALL_WELL | {"object store": "wrong"}
    assert str(tmp_path / "covers") in findings["object store"]["said"]


async def test_a_setting_that_is_wrong_is_named_and_nothing_else_is_tried(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    findings = await checked(environment_for(sandbox, safe_limit="many"), code=1)
    assert "ALEXANDRIA_SAFE_LIMIT" in findings["configuration"]["said"]
    assert set(states(findings).values()) == {"wrong", "not checked"}


async def test_a_server_that_others_could_write_to_is_said_before_it_is_started(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    findings = await checked(environment_for(sandbox, host="0.0.0.0"), code=1)  # noqa: S104
    assert "ALEXANDRIA_API_TOKENS" in findings["configuration"]["advice"]


async def test_books_that_disagree_are_wrong(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    environment = environment_for(sandbox)
    assert (await ran(environment, "harvest", "authors", "--author", "Edda Vale"))[0] == 0
    async with database.connection() as connection:
        await connection.execute("UPDATE quota_windows SET units_charged = units_charged + 5")
    findings = await checked(environment, code=1)
    assert states(findings) == ALL_WELL | {"quota": "wrong"}
    assert "the ledger, the windows and the reservations differ" in findings["quota"]["said"]


async def test_a_stop_that_ends_by_itself_is_said_and_is_nothing_wrong(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    tomorrow = datetime(2126, 11, 24, tzinfo=UTC)
    await QuotaStore(database, SetClock()).stop(
        Account.of("isbndb", "sandbox-key"), until=tomorrow, reason=DenialReason.EXHAUSTED, detail="spent"
    )
    findings = await checked(environment_for(sandbox), code=0)
    assert states(findings) == ALL_WELL | {"provider": "not checked"}
    assert "2126-11-24" in findings["quota"]["advice"]


async def test_a_plan_that_grants_less_than_the_safe_limit_is_wrong(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    sandbox.set_switches(Switches(rate_q=100_000, daily_total=5_000))
    findings = await checked(environment_for(sandbox), code=1)
    assert "ALEXANDRIA_HARD_LIMIT to 5000" in findings["provider"]["advice"]


def judged(
    *, spent: int, total: int = 15_000, key_total: int | None = None, day: int = 23
) -> tuple[str, str]:
    """State and advice for what the provider says, while we counted 100 units."""
    answered_at = NOW.replace(day=day)
    left = total - spent
    key = KeyStatus("Premium", total, spent, left, key_total, None, None, None, None, None, NOW, answered_at)
    usages = (Usage(Lane.BULK, "covers", 100, settled=100, reserved=0, unresolved=0),)
    state = State(Account.of("isbndb", ""), Window(NOW.date(), units_charged=100))
    ours = Status(Policy(), NOW, state, usages=usages)
    finding = judge_key(key, ours, 1000)
    return finding.state, finding.advice


def test_a_provider_that_counted_as_we_did_or_less_is_well() -> None:
    assert judged(spent=100) == judged(spent=90) == ("works", "")


def test_units_that_something_else_spent_are_said_and_wrong_only_beyond_the_reserve() -> None:
    state, advice = judged(spent=2_100)
    assert state == "works"
    assert "2,000 units" in advice
    assert judged(spent=2_101)[0] == "wrong"


def test_a_plan_or_a_key_smaller_than_the_safe_limit_is_wrong() -> None:
    assert judged(spent=100, total=13_000)[0] == "works"
    assert judged(spent=100, total=12_999)[0] == "wrong"
    assert "ALEXANDRIA_HARD_LIMIT to 1100" in judged(spent=100, key_total=1_100)[1]


def test_counts_of_two_days_are_not_compared() -> None:
    state, advice = judged(spent=9_000, day=22)
    assert state == "works"
    assert "clock" in advice
