"""`alexandria quota` and `alexandria upkeep` as a person or a script meets them."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest

from alexandria.clock import SystemClock
from alexandria.domain.quota import Account, DenialReason
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from conftest import Environment
from end_to_end.processes import ran
from stores.quota_days import fill

ACCOUNT = Account.of("isbndb", "sandbox-key")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    world = World.invent(seed=5, authors=8, works_per_top_author=12)
    async with running_sandbox(world, switches=Switches(rate_q=100_000)) as sandbox:
        yield sandbox


async def harvested(sandbox: Sandbox, environment: dict[str, str]) -> int:
    """Harvest three authors; returns the units that this cost."""
    names = [author.name for author in sandbox.world.truth.authors.values()][:3]
    code, _, err = await ran(environment, "harvest", "authors", *(w for n in names for w in ("--author", n)))
    assert code == 0, err
    return sandbox.spent("sandbox-key")


async def test_status_shows_everything_to_people_and_programs(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    environment = environment_for(sandbox)
    spent = await harvested(sandbox, environment)
    code, out, err = await ran(environment, "quota", "status")
    assert code == 0, err
    for told in (
        "confirmed by the provider",
        "safe limit",
        "of these foreign",
        "provider's own count",
        "at this pace left at the reset",
        "open runs still need",
        "still kept",
        "author-bibliography",
        "requests in 60 s, by the provider",
    ):
        assert told in out, (told, out)
    code, out, err = await ran(environment, "quota", "status", "--json")
    status = json.loads(out)
    assert (code, status["used"], status["units"]["settled"]) == (0, spent, spent)
    assert status["forecast"]["units_queued"] == 0
    code, out, err = await ran(environment, "quota", "status", "--provider", "openlibrary")
    assert code == 0, err
    assert "none for a day" in out


async def test_a_stopped_account_says_for_how_long_and_resume_lets_calls_out_again(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    environment = environment_for(sandbox)
    await QuotaStore(database).stop(ACCOUNT, until=None, reason=DenialReason.SUSPENDED, detail="403 from it")
    code, out, _ = await ran({**environment, "COLUMNS": "120"}, "quota", "status")
    assert (code, "suspended until alexandria quota resume: 403 from it" in out) == (0, True)
    assert json.loads((await ran(environment, "quota", "resume", "--json"))[1]) == {"was_stopped": True}
    assert json.loads((await ran(environment, "quota", "resume", "--json"))[1]) == {"was_stopped": False}
    code, out, _ = await ran(environment, "quota", "resume", "--provider", "openlibrary")
    assert (code, out.strip()) == (0, "nothing was stopped")


async def test_usage_is_what_was_spent_whichever_way_it_is_told(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    environment = environment_for(sandbox)
    spent = await harvested(sandbox, environment)
    for arguments in ([], ["--days", "2"], ["--by", "consumer"], ["--days", "30", "--by", "lane"]):
        code, out, err = await ran(environment, "quota", "usage", *arguments, "--json")
        assert code == 0, err
        usage = json.loads(out)
        assert usage["total"]["units"] == spent, arguments
        assert sum(line["units"] for line in usage["lines"]) == spent
    code, out, err = await ran(environment, "quota", "usage", "--by", "consumer")
    assert (code, "author-bibliography" in out, "all" in out) == (0, True, True)
    wrong = (
        ["--day", "2026-02-30"],
        ["--days", "0"],
        ["--by", "colour"],
        ["--day", "2026-01-01", "--days", "2"],
    )
    for arguments in (*wrong, ["--provider", "nobody"]):
        code, out, err = await ran(environment, "quota", "usage", *arguments)
        assert (code, out, len(err.strip().splitlines())) == (1, "", 1), (arguments, err)


async def test_reconcile_finds_what_somebody_else_spent(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    environment = environment_for(sandbox)
    spent = await harvested(sandbox, environment)
    code, out, err = await ran(environment, "quota", "reconcile")
    assert (code, "both agree" in out) == (0, True), (out, err)
    author = next(iter(sandbox.world.truth.authors.values())).name
    async with aiohttp.ClientSession(headers={"Authorization": "sandbox-key"}) as another_program:
        for _ in range(2):
            async with another_program.get(f"{sandbox.url}/author/{author}") as answer:
                assert answer.status == 200
    code, out, err = await ran(environment, "quota", "reconcile")
    assert code == 0, err
    assert "2 units were spent by somebody else" in out
    assert f"charged before {spent}, now {spent + 2}" in out
    code, out, _ = await ran(environment, "quota", "reconcile", "--json")
    assert (code, json.loads(out)["charged_after"]) == (0, spent + 2)
    assert sandbox.spent("sandbox-key") == spent + 2, "asking is free"
    code, out, _ = await ran(environment, "quota", "usage", "--json")
    assert json.loads(out)["total"]["foreign"] == 2


async def test_reconcile_gives_back_what_the_provider_never_counted(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    environment = environment_for(sandbox)
    spent = await harvested(sandbox, environment)
    async with database.connection() as connection:
        # A call that was lost on its way, so long ago that no answer can come any more.
        await connection.execute(
            "UPDATE quota_reservations SET settled_at = settled_at - interval '2 minutes';"
            "UPDATE quota_windows SET units_charged = units_charged + 7, used = used || '{\"bulk/covers\": 7}';"
            "INSERT INTO quota_reservations (request_id, provider, key_hash, day, lane, consumer, units, requests, not_before,"
            " use_before, state, units_charged, reserved_at) SELECT gen_random_uuid(), provider, key_hash, day, 'bulk',"
            " 'covers', 7, 1, now() - interval '9 minutes', now() - interval '9 minutes', 'unresolved', 7, now()"
            " FROM quota_windows;"
            "INSERT INTO quota_ledger (provider, key_hash, day, request_id, kind, units, recorded_at)"
            " SELECT provider, key_hash, day, request_id, 'reserve', 7, now() FROM quota_reservations WHERE state = 'unresolved'"
        )
    code, out, err = await ran(environment, "quota", "reconcile")
    assert code == 0, err
    assert f"charged before {spent + 7}, now {spent}" in out
    assert "7 units came back" in out
    assert (await ran(environment, "quota", "verify"))[0] == 0


async def test_reconcile_with_a_provider_that_does_not_answer_is_one_line_and_changes_nothing(
    sandbox: Sandbox, environment_for: Environment
) -> None:
    environment = environment_for(sandbox, isbndb_url="http://127.0.0.1:9")
    code, out, err = await ran(environment, "quota", "reconcile", "--json")
    assert (code, out) == (1, "")
    assert "the provider's count is not known, so nothing was changed" in err
    assert len(err.strip().splitlines()) == 1, err
    code, out, err = await ran(environment_for(sandbox, isbndb_key=""), "quota", "reconcile")
    assert (code, out) == (1, "")
    assert "ALEXANDRIA_ISBNDB_KEY" in err


async def test_verify_says_whether_the_accounts_agree(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    environment = environment_for(sandbox)
    await harvested(sandbox, environment)
    assert (await ran(environment, "quota", "verify", "--json"))[:2] == (0, "[]\n")
    async with database.connection() as connection:
        await connection.execute("UPDATE quota_windows SET units_charged = units_charged + 1")
    code, out, _ = await ran(environment, "quota", "verify", "--json")
    assert (code, len(json.loads(out))) == (1, 1)


async def test_upkeep_rolls_up_what_is_old(
    sandbox: Sandbox, environment_for: Environment, database: Database
) -> None:
    environment = environment_for(sandbox)
    first_day = SystemClock().now().date() - timedelta(days=50)
    await fill(database, days=6, calls=300, first_day=first_day)
    code, out, err = await ran(environment, "upkeep", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "rows_rolled_up": 900,
        "days_rolled_up": 3,
        "days_kept": [],
        "is_complete": True,
    }
    code, out, _ = await ran(environment, "upkeep")
    assert (code, out) == (0, "0 days rolled up: 0 reservations and comparisons\n")
    assert (await ran(environment, "quota", "verify"))[0] == 0
