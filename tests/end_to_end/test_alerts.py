"""Alerts as a person meets them: by command, and from processes that are killed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alexandria.clock import SystemClock
from alexandria.domain.alerting import Alert, AlertKind
from alexandria.stores.alerts import AlertStore
from alexandria.stores.postgres import Database
from end_to_end.processes import interrupted, ran, started
from targets import Listener, running_listener

SECRET = "0123456789abcdef-secret"


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with running_listener() as listening:
        yield listening


@pytest.fixture
def environment(database_url: str, tmp_path: Path, listener: Listener) -> dict[str, str]:
    return {
        "ALEXANDRIA_DATA_DIR": str(tmp_path),
        "ALEXANDRIA_DATABASE_URL": database_url,
        "ALEXANDRIA_ISBNDB_KEY": "a-key",
        "ALEXANDRIA_ISBNDB_URL": "http://127.0.0.1:9",
        "ALEXANDRIA_SCHEDULE": "off",
        "ALEXANDRIA_ALERT_DISK_GIB": "0",
        "ALEXANDRIA_ALERT_WEBHOOK": listener.url,
        "ALEXANDRIA_ALERT_WEBHOOK_SECRET": SECRET,
        "ALEXANDRIA_LOG_LEVEL": "debug",
    }


async def raise_alert(database: Database, run: str) -> None:
    async with database.transaction() as connection:
        alert = Alert(AlertKind.RUN_FAILING, run, "it fails", SystemClock().now())
        await AlertStore(connection).raise_alert(alert)


async def test_a_test_notice_goes_to_every_target_and_says_what_each_made_of_it(
    environment: dict[str, str], listener: Listener
) -> None:
    listener.statuses = [500]
    environment["ALEXANDRIA_ALERT_URLS"] = "json://person:secret-password@127.0.0.1:1/secret-path"
    code, out, err = await ran(environment, "alerts", "test", "--json")
    assert code == 1
    told = {each["target"]: each["error"] for each in json.loads(out)}
    assert told.keys() == {"json (1)", "webhook"}
    assert "500" in told["webhook"]
    assert "not taken" in told["json (1)"]
    del environment["ALEXANDRIA_ALERT_URLS"]
    code, out, _ = await ran(environment, "alerts", "test")
    assert (code, out) == (0, "webhook: sent\n")
    for secret in ("secret-password", "secret-path", SECRET):
        assert secret not in err


async def test_nowhere_to_send_to_and_an_unknown_address_are_one_line(environment: dict[str, str]) -> None:
    environment["ALEXANDRIA_ALERT_URLS"] = "nope://secret-token"
    code, _, err = await ran(environment, "alerts", "test")
    assert code == 1
    assert "ALEXANDRIA_ALERT_URLS: entry 1 is no address" in err
    assert "secret" not in err
    for name in [each for each in environment if "ALERT_" in each and "DISK" not in each]:
        del environment[name]
    code, _, err = await ran(environment, "alerts", "test")
    assert code == 1
    assert "nowhere to send to: set ALEXANDRIA_ALERT_URLS" in err


async def test_alerts_are_listed_silenced_and_told_of_again(
    environment: dict[str, str], database: Database
) -> None:
    environment["ALEXANDRIA_LOG_LEVEL"] = "error"
    await raise_alert(database, "run-1")
    code, out, _ = await ran(environment, "alerts")
    assert code == 0
    assert "warning: run_failing: run-1 (since " in out
    assert "it fails" in out
    code, out, _ = await ran(environment, "alerts", "silence", "run-failing", "--for", "2h", "--json")
    assert (code, json.loads(out)["kind"]) == (0, "run_failing")
    _, out, _ = await ran(environment, "alerts", "list", "--json")
    shown = json.loads(out)
    assert shown["alerts"][0]["silenced_until"] == shown["silences"][0]["until"]
    assert (await ran(environment, "alerts", "unsilence", "run-failing"))[0] == 0
    code, _, err = await ran(environment, "alerts", "unsilence", "run-failing")
    assert (code, "is not silenced" in err) == (1, True)
    code, _, err = await ran(environment, "alerts", "silence", "run-failing", "--for", "soon")
    assert (code, "such as 30m, 2h or 7d" in err) == (1, True)


async def test_workers_tell_once_and_the_next_one_after_a_kill(
    environment: dict[str, str], database: Database, listener: Listener
) -> None:
    workers = [await started(environment, "worker") for _ in range(2)]
    try:
        await raise_alert(database, "run-1")
        await listener.until(1)
        workers.pop().kill()
        await raise_alert(database, "run-2")
        await listener.until(2)
    finally:
        outputs = [await interrupted(each) for each in workers]
    assert sorted(each.json["subject"] for each in listener.received) == ["run-1", "run-2"]
    for code, _, err in outputs:
        assert code == 0, err
        assert SECRET not in err
        assert "secret-path" not in err
