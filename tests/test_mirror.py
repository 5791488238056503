"""The mirror in Cloudflare KV: what is written, how often, by whom, and that its troubles stay its own."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from alexandria import config as configuration
from alexandria.app import kv_mirror, running_app
from alexandria.clock import SystemClock
from alexandria.domain.errors import StoreUnavailable
from alexandria.domain.quota import Account, DenialReason, Lane, Policy, Request, Window
from alexandria.domain.quota_status import Status
from alexandria.mirror import (
    FIRST_BACK_OFF_SECONDS,
    LOCK_NAME,
    LONGEST_BACK_OFF_SECONDS,
    SPACING_SECONDS,
    TAKEOVER_SECONDS,
    Mirror,
    Target,
)
from alexandria.providers.gateway import Gateway
from alexandria.server import make_app
from alexandria.stores.locks import Lock, lock_session
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from cloudflare import FINE, Cloudflare, running_cloudflare, status
from conftest import SetClock
from end_to_end.processes import interrupted, started
from stores.test_locks import end_session

ACCOUNT = Account.of("isbndb", "the-isbndb-key")
POLICY = Policy()


@pytest.fixture
async def cloudflare(clock: SetClock) -> AsyncIterator[Cloudflare]:
    async with running_cloudflare(clock) as stand_in:
        yield stand_in


@pytest.fixture
def quota(database: Database, clock: SetClock) -> QuotaStore:
    return QuotaStore(database, clock)


@pytest.fixture
async def gateway(quota: QuotaStore, clock: SetClock) -> AsyncIterator[Gateway]:
    async with Gateway(quota, clock) as gateway:
        yield gateway


MakeMirror = Callable[..., Mirror]


@pytest.fixture
def make_mirror(gateway: Gateway, quota: QuotaStore, clock: SetClock, cloudflare: Cloudflare) -> MakeMirror:
    """A mirror of the test's quota to the stand-in, or to another address."""

    async def read() -> Status:
        return await quota.status(ACCOUNT, POLICY)

    def make(url: str = cloudflare.url, read_status: Callable[[], Awaitable[Status]] = read) -> Mirror:
        target = Target(url, "an-account", "a-namespace", "alexandria_quota", "the-kv-token")
        return Mirror(target, read_status, gateway, clock)

    return make


@pytest.fixture
async def lock(database_url: str) -> AsyncIterator[Lock]:
    """Held by this test."""
    async with lock_session(database_url, LOCK_NAME, application_name="holder") as lock:
        assert await lock.try_take()
        yield lock


async def spend(quota: QuotaStore, units: int = 1) -> None:
    """Use some of the day's units, as a call would."""
    request = Request(uuid4(), Lane.INTERACTIVE, "tests", units)
    reservation = await quota.reserve(ACCOUNT, POLICY, request)
    await quota.settle(reservation, units_spent=units, outcome="delivered")


async def test_the_status_is_written_when_it_changed_and_not_when_only_time_passed(
    make_mirror: MakeMirror, lock: Lock, quota: QuotaStore, clock: SetClock, cloudflare: Cloudflare
) -> None:
    mirror = make_mirror()
    await spend(quota, 3)
    assert await mirror.look(lock)
    first = cloudflare.received[0][1]
    assert first == {
        **json.loads(json.dumps((await quota.status(ACCOUNT, POLICY)).as_json())),
        "written_at": clock.now().isoformat(),
    }
    assert first["used"] == 3
    clock.advance(timedelta(hours=1))
    assert not await mirror.look(lock)
    await spend(quota)
    assert await mirror.look(lock)
    assert cloudflare.used == [3, 4]


async def test_a_slot_that_was_taken_for_nothing_is_no_news(
    make_mirror: MakeMirror, lock: Lock, quota: QuotaStore, clock: SetClock, cloudflare: Cloudflare
) -> None:
    await spend(quota)
    mirror = make_mirror()
    await mirror.look(lock)
    clock.advance(timedelta(seconds=5))
    reservation = await quota.reserve(ACCOUNT, POLICY, Request(uuid4(), Lane.INTERACTIVE, "tests", 1))
    await quota.release(reservation, reason="tests")
    before = cloudflare.received[0][1]["next_slot_at"]
    assert (await quota.status(ACCOUNT, POLICY)).as_json()["next_slot_at"] != before
    assert not await mirror.look(lock)


async def test_a_stop_and_a_new_day_are_news(
    make_mirror: MakeMirror, lock: Lock, quota: QuotaStore, clock: SetClock, cloudflare: Cloudflare
) -> None:
    mirror = make_mirror()
    await mirror.look(lock)
    clock.advance(timedelta(seconds=5))
    await quota.stop(ACCOUNT, until=None, reason=DenialReason.SUSPENDED, detail="the key is refused")
    assert await mirror.look(lock)
    clock.advance(timedelta(days=1))
    assert await mirror.look(lock)
    days = [document["day"] for _, document in cloudflare.received]
    assert days == ["2026-11-23", "2026-11-23", "2026-11-24"]


async def test_nothing_is_written_twice_in_a_second_however_often_it_is_tried(
    make_mirror: MakeMirror, lock: Lock, quota: QuotaStore, clock: SetClock, cloudflare: Cloudflare
) -> None:
    mirror = make_mirror()
    for _ in range(40):
        await spend(quota)
        await mirror.look(lock)
        clock.advance(timedelta(seconds=0.25))
    assert gaps(cloudflare) == [SPACING_SECONDS] * 9


async def test_a_slow_write_counts_from_its_end(
    make_mirror: MakeMirror, lock: Lock, quota: QuotaStore, clock: SetClock, cloudflare: Cloudflare
) -> None:
    mirror = make_mirror()

    def slow() -> web.Response:
        clock.advance(timedelta(seconds=3))
        return web.json_response(FINE)

    cloudflare.replies = [slow]
    await mirror.look(lock)
    await spend(quota)
    clock.advance(timedelta(seconds=0.9))
    assert not await mirror.look(lock)
    clock.advance(timedelta(seconds=0.1))
    assert await mirror.look(lock)


def gaps(cloudflare: Cloudflare) -> list[float]:
    """Seconds between one write and the next."""
    return [later - earlier for earlier, later in pairwise(cloudflare.times)]


# Troubles


async def test_after_a_failure_the_latest_status_is_written_and_said_once(
    make_mirror: MakeMirror, lock: Lock, quota: QuotaStore, clock: SetClock, cloudflare: Cloudflare
) -> None:
    mirror = make_mirror()
    cloudflare.replies = [status(500), status(502), status(503)]
    with capture_logs() as logs:
        for _ in range(60):
            await spend(quota)
            await mirror.look(lock)
            clock.advance(timedelta(seconds=1))
    first = FIRST_BACK_OFF_SECONDS
    assert gaps(cloudflare)[:4] == [first, 2 * first, 4 * first, SPACING_SECONDS]
    assert cloudflare.used[-1] == 60
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == ["mirror.failed"]
    [recovered] = [each for each in logs if each["event"] == "mirror.recovered"]
    assert recovered["failures"] == 3


async def test_a_second_outage_is_said_again_and_begins_with_a_short_pause(
    make_mirror: MakeMirror, lock: Lock, quota: QuotaStore, clock: SetClock, cloudflare: Cloudflare
) -> None:
    mirror = make_mirror()
    cloudflare.replies = [status(500), status(500), status(200, body=FINE), status(500)]
    with capture_logs() as logs:
        for _ in range(20):
            await spend(quota)
            await mirror.look(lock)
            clock.advance(timedelta(seconds=1))
    assert [each["event"] for each in logs].count("mirror.failed") == 3
    warned = [each for each in logs if each["log_level"] == "warning"]
    assert [each["next_try_in_seconds"] for each in warned] == [FIRST_BACK_OFF_SECONDS] * 2


async def test_the_pause_grows_to_its_bound_and_no_further(
    make_mirror: MakeMirror, lock: Lock, clock: SetClock, cloudflare: Cloudflare
) -> None:
    mirror = make_mirror()
    cloudflare.replies = [status(500)] * 40
    while len(cloudflare.received) < 40:
        await mirror.look(lock)
        clock.advance(timedelta(seconds=1))
    assert gaps(cloudflare)[:4] == [2, 4, 8, 16]
    assert max(gaps(cloudflare)) == gaps(cloudflare)[-1] == LONGEST_BACK_OFF_SECONDS


async def test_a_429_is_obeyed_for_as_long_as_it_asks(
    make_mirror: MakeMirror, lock: Lock, clock: SetClock, cloudflare: Cloudflare
) -> None:
    mirror = make_mirror()
    cloudflare.replies = [status(429, Retry_After="37")]
    await mirror.look(lock)
    clock.advance(timedelta(seconds=36))
    assert not await mirror.look(lock)
    assert len(cloudflare.received) == 1
    clock.advance(timedelta(seconds=1))
    assert await mirror.look(lock)


async def test_what_went_back_to_the_old_value_during_a_failure_is_written_again(
    make_mirror: MakeMirror, lock: Lock, quota: QuotaStore, clock: SetClock, cloudflare: Cloudflare
) -> None:
    """A write without an answer may have arrived: KV might show the value in between."""
    seen = await quota.status(ACCOUNT, POLICY)
    used = [0, 5, 0]

    async def read() -> Status:
        window = Window(seen.day, used.pop(0))
        return replace(seen, state=replace(seen.state, window=window))

    mirror = make_mirror(read_status=read)
    await mirror.look(lock)
    cloudflare.replies = [status(504)]
    for _ in range(2):
        clock.advance(timedelta(seconds=5))
        await mirror.look(lock)
    assert cloudflare.used == [0, 5, 0]


async def test_a_new_turn_begins_with_a_write_for_somebody_else_may_have_written(
    make_mirror: MakeMirror, lock: Lock, clock: SetClock, cloudflare: Cloudflare
) -> None:
    mirror = make_mirror()
    await mirror.look(lock)
    mirror.take_over()
    clock.advance(timedelta(seconds=TAKEOVER_SECONDS))
    assert await mirror.look(lock)
    assert cloudflare.used == [0, 0]


@pytest.mark.parametrize("number", [401, 403, 404])
async def test_a_token_that_is_refused_says_which_settings_to_look_at(
    make_mirror: MakeMirror, lock: Lock, cloudflare: Cloudflare, number: int
) -> None:
    cloudflare.replies = [status(number, body={"success": False})]
    with capture_logs() as logs:
        assert not await make_mirror().look(lock)
    [warning] = [each for each in logs if each["log_level"] == "warning"]
    assert "ALEXANDRIA_KV_TOKEN" in warning["reason"]
    assert str(number) in warning["reason"]


@pytest.mark.parametrize("body", [{"success": False}, "a log-in page", None])
async def test_a_200_that_is_not_cloudflares_is_a_failure(
    make_mirror: MakeMirror, lock: Lock, cloudflare: Cloudflare, body: object
) -> None:
    cloudflare.replies = [status(200, body=body)]
    assert not await make_mirror().look(lock)


async def test_secrets_are_in_no_log_and_no_document(
    make_mirror: MakeMirror,
    lock: Lock,
    clock: SetClock,
    cloudflare: Cloudflare,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    cloudflare.replies = [status(403), status(500)]
    nowhere = make_mirror("http://127.0.0.1:1/client/v4")
    with capture_logs() as logs:
        for mirror in (make_mirror(), nowhere):
            for _ in range(12):
                await mirror.look(lock)
                clock.advance(timedelta(seconds=1))
    shown = f"{logs} {caplog.text} {nowhere!r}"
    assert "mirror.failed" in shown
    for secret in ("the-kv-token", "the-isbndb-key", ACCOUNT.key_hash):
        assert secret not in shown
        assert secret not in str(cloudflare.received)


async def test_a_status_that_can_not_be_read_is_not_written(
    make_mirror: MakeMirror, lock: Lock, cloudflare: Cloudflare
) -> None:
    async def read() -> Status:
        raise StoreUnavailable("the database did not answer")

    with pytest.raises(StoreUnavailable):
        await make_mirror(read_status=read).look(lock)
    assert cloudflare.received == []


# Taking turns


@asynccontextmanager
async def running(*mirrors: Mirror, database_url: str) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Mirrors that run as they do beside a server or a worker."""
    tasks = [asyncio.create_task(mirror.run(database_url)) for mirror in mirrors]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_two_mirrors_of_one_database_write_once(
    make_mirror: MakeMirror, quota: QuotaStore, cloudflare: Cloudflare, database_url: str
) -> None:
    async with running(make_mirror(), make_mirror(), database_url=database_url):
        await cloudflare.until(writes=1)
        await spend(quota)
        await cloudflare.until(writes=2)
        await spend(quota)
        await cloudflare.until(writes=3)
    # Each of these was written as reserved, as settled, or as both; never by both mirrors.
    documents = [json.dumps(document | {"written_at": ""}) for _, document in cloudflare.received]
    assert len(set(documents)) == len(documents)


async def test_two_mirrors_never_write_within_a_second_also_when_one_takes_over_from_the_other(
    make_mirror: MakeMirror, quota: QuotaStore, cloudflare: Cloudflare, database_url: str
) -> None:
    async def read() -> Status:
        await spend(quota)
        return await quota.status(ACCOUNT, POLICY)

    first, second = make_mirror(read_status=read), make_mirror(read_status=read)
    async with running(first, second, database_url=database_url):
        for turn in range(1, 4):
            await cloudflare.until(writes=4 * turn)
            await end_session(database_url, "alexandria-mirror")
        await cloudflare.until(writes=16)
    assert min(gaps(cloudflare)) >= SPACING_SECONDS


async def test_a_holder_that_lost_its_lock_writes_nothing_more(
    make_mirror: MakeMirror, lock: Lock, quota: QuotaStore, cloudflare: Cloudflare, database_url: str
) -> None:
    await end_session(database_url, "holder")
    with pytest.raises(StoreUnavailable):
        await make_mirror().look(lock)
    assert cloudflare.received == []


async def test_the_next_in_line_takes_over_when_the_holder_dies_and_waits_for_its_last_write(
    make_mirror: MakeMirror, clock: SetClock, cloudflare: Cloudflare, database_url: str
) -> None:
    async with running(make_mirror(), database_url=database_url) as [first]:
        await cloudflare.until(writes=1)
        async with running(make_mirror(), database_url=database_url):
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            died_at = clock.monotonic()
            await cloudflare.until(writes=2)
    assert cloudflare.times[1] - died_at >= TAKEOVER_SECONDS - SPACING_SECONDS
    assert cloudflare.times[1] - cloudflare.times[0] >= TAKEOVER_SECONDS


async def test_a_defect_and_a_database_that_is_away_end_nothing(
    make_mirror: MakeMirror, quota: QuotaStore, cloudflare: Cloudflare, database_url: str
) -> None:
    troubles: list[Exception] = [
        StoreUnavailable("the database did not answer"),
        RuntimeError("a defect"),
    ]

    async def read() -> Status:
        if troubles:
            raise troubles.pop(0)
        return await quota.status(ACCOUNT, POLICY)

    with capture_logs() as logs:
        async with running(make_mirror(read_status=read), database_url=database_url):
            await cloudflare.until(writes=1)
    told = [each["event"] for each in logs]
    assert told.index("mirror.interrupted") < told.index("mirror.crashed")


# Beside a server and a worker


def settings(cloudflare: Cloudflare) -> dict[str, str]:
    """What switches the mirror on."""
    given = {
        "account": "an-account",
        "namespace": "a-namespace",
        "token": "the-kv-token",
        "url": cloudflare.url,
    }
    return {f"ALEXANDRIA_KV_{name.upper()}": value for name, value in given.items()}


async def test_a_server_mirrors_its_quota_also_without_a_worker(
    cloudflare: Cloudflare, clock: SetClock, database_url: str, tmp_path: Path
) -> None:
    environment = {"ALEXANDRIA_DATA_DIR": str(tmp_path), "ALEXANDRIA_ISBNDB_KEY": "the-isbndb-key"}
    config = configuration.load(environment | settings(cloudflare) | {"ALEXANDRIA_SAFE_LIMIT": "77"})
    api = make_app(config, database_url, with_worker=False, clock=clock)
    async with api.router.lifespan_context(api):
        await cloudflare.until(writes=1)
    assert cloudflare.received[0][1]["safety_limit"] == 77


@pytest.mark.parametrize("missing", ["ALEXANDRIA_ISBNDB_KEY", "ALEXANDRIA_KV_"])
async def test_without_a_key_or_its_settings_the_mirror_is_off(
    cloudflare: Cloudflare, clock: SetClock, database_url: str, tmp_path: Path, missing: str
) -> None:
    environment = {"ALEXANDRIA_DATA_DIR": str(tmp_path), "ALEXANDRIA_ISBNDB_KEY": "the-isbndb-key"}
    environment |= settings(cloudflare)
    config = configuration.load(
        {name: value for name, value in environment.items() if not name.startswith(missing)}
    )
    async with running_app(config, database_url, clock=clock) as app:
        assert kv_mirror(app) is None


async def test_the_next_worker_takes_over_from_one_that_was_killed(database_url: str, tmp_path: Path) -> None:
    async with running_cloudflare(SystemClock()) as cloudflare:
        environment = settings(cloudflare) | {
            "ALEXANDRIA_DATA_DIR": str(tmp_path),
            "ALEXANDRIA_DATABASE_URL": database_url,
            "ALEXANDRIA_ISBNDB_KEY": "the-isbndb-key",
            "ALEXANDRIA_ISBNDB_URL": "http://127.0.0.1:9",
            "ALEXANDRIA_SCHEDULE": "off",
        }
        first = await started(environment, "worker")
        await cloudflare.until(writes=1)
        second = await started(environment, "worker")
        assert second.stderr is not None
        await second.stderr.readline()  # it works, and so waits for its turn
        first.kill()
        await first.communicate()
        # More than one if the provider, whom nobody plays here, was given up meanwhile.
        written_by_first = len(cloudflare.received)
        await cloudflare.until(writes=written_by_first + 1)
        code, _, err = await interrupted(second)
    assert code == 0, err
    assert len(cloudflare.received) == written_by_first + 1
    assert gaps(cloudflare)[-1] >= TAKEOVER_SECONDS
    assert "the-kv-token" not in err
