"""Alerts at work, over a real database and to real sockets: each is told once, whoever runs, dies or hears nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from alexandria.alerts import TICK_SECONDS, Watchkeeper, Wishes, kind_of, read, silence
from alexandria.app import alerting, read_accounts, running_app
from alexandria.config import load
from alexandria.domain.alert_readings import AccountReading
from alexandria.domain.alert_rules import GIBIBYTE, SILENCE
from alexandria.domain.alerting import REMINDED_AFTER, Alert, AlertKind, Severity
from alexandria.domain.digests import Spent
from alexandria.domain.errors import InvalidInput, StoreUnavailable
from alexandria.domain.notices import MOST_ATTEMPTS, back_off
from alexandria.domain.quota import Account, DenialReason, Lane, Policy, Request
from alexandria.domain.quota_usage import Line
from alexandria.domain.targets import Target, TargetKind
from alexandria.notifying import Sender, Webhook
from alexandria.providers.gateway import Gateway
from alexandria.providers.notices import AppriseSender, AppriseTarget
from alexandria.stores.alerts import KEPT, LEASE, READ_EVERY, AlertStore
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.jobs import JobStore, NewJob
from alexandria.stores.postgres import Connection, Database
from alexandria.stores.quota import QuotaStore
from conftest import SetClock
from targets import Listener, running_listener

SECRET = "0123456789abcdef-secret"
ACCOUNT, POLICY = Account.of("isbndb", "a key"), Policy(hard_limit=100, safe_limit=100)

MakeKeeper = Callable[..., Watchkeeper]


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with running_listener() as listening:
        yield listening


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    # One that goes away is noticed soon.
    async with Database.open(database_url, timeout_seconds=1) as opened:
        yield opened


@pytest.fixture
def quota(database: Database, clock: SetClock) -> QuotaStore:
    return QuotaStore(database, clock)


@pytest.fixture
async def make_keeper(
    database: Database, quota: QuotaStore, clock: SetClock, listener: Listener
) -> AsyncIterator[MakeKeeper]:
    """One more process's part, telling the listener by webhook; `targets` and `wishes` as given."""

    async def accounts() -> Sequence[AccountReading]:
        status = await quota.status(ACCOUNT, POLICY)
        return [AccountReading(status, status.forecast(0))]

    async def spent(day: date) -> Spent:
        status = await quota.status(ACCOUNT, POLICY)
        return Spent("isbndb", day, [Line(consumer="covers", settled=7)], status, status.forecast(0))

    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(Gateway(quota, clock))
        apprise = await stack.enter_async_context(AppriseSender())

        def make(
            *,
            wishes: Wishes | None = None,
            targets: Sequence[Any] | None = None,
            own: Database = database,
            read_accounts: Callable[[], Awaitable[Sequence[AccountReading]]] = accounts,
        ) -> Watchkeeper:
            sender = Sender(
                [Webhook(listener.url, SECRET)] if targets is None else targets, gateway, apprise, clock
            )
            return Watchkeeper(own, clock, sender, wishes or Wishes(), read_accounts, spent, host="a-host")

        yield make


async def stop_key(quota: QuotaStore) -> None:
    await quota.stop(ACCOUNT, until=None, reason=DenialReason.SUSPENDED, detail="403")


async def spend(quota: QuotaStore, units: int, number: int) -> None:
    await quota.reserve(ACCOUNT, POLICY, Request(UUID(int=number), Lane.INTERACTIVE, "covers", units))


async def open_alerts(database: Database, clock: SetClock) -> dict[tuple[str, str], Alert]:
    async with database.connection() as connection:
        found = await AlertStore(connection).list_open(now=clock.now())
    return {(each.kind, each.subject): each for each in found}


async def minutes_pass(clock: SetClock, number: float, *keepers: Watchkeeper) -> None:
    """The keepers look, one after the other, once a minute."""
    for _ in range(int(number)):
        clock.advance(READ_EVERY)
        for keeper in keepers:
            await keeper.look()


# Telling once


async def test_what_holds_is_told_once_and_its_end_once(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener, database: Database
) -> None:
    keeper = make_keeper()
    await keeper.look()
    assert listener.received == []
    await stop_key(quota)
    await minutes_pass(clock, 3, keeper)
    assert (AlertKind.KEY_REFUSED, "isbndb") in await open_alerts(database, clock)
    await quota.resume(ACCOUNT)
    await minutes_pass(clock, 8, keeper)
    assert listener.titles == ["Alexandria: key refused: isbndb", "Alexandria: over: key refused: isbndb"]
    assert listener.received[0].json["event"] == "raised"
    assert "alexandria quota resume" in listener.received[0].json["body"]
    assert await open_alerts(database, clock) == {}


async def test_of_eight_processes_one_takes_the_reading_and_one_tells(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener, database_url: str
) -> None:
    await stop_key(quota)
    async with AsyncExitStack() as stack:
        keepers = [
            make_keeper(own=await stack.enter_async_context(Database.open(database_url, most_connections=3)))
            for _ in range(8)
        ]
        for _ in range(3):
            clock.advance(READ_EVERY)
            await asyncio.gather(*(each.look() for each in keepers))
    assert listener.titles == ["Alexandria: key refused: isbndb"]


async def test_a_reading_is_taken_once_a_minute_and_after_a_clock_was_set_back(
    database: Database, clock: SetClock
) -> None:
    async def claim() -> bool:
        async with database.transaction() as connection:
            return await AlertStore(connection).claim_reading(now=clock.now())

    assert [await claim(), await claim()] == [True, False]
    clock.advance(READ_EVERY)
    assert [await claim(), await claim()] == [True, False]
    clock.set(clock.now() - timedelta(days=1))
    assert [await claim(), await claim()] == [True, False]


async def test_marks_of_the_day_are_told_once_each_day(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener
) -> None:
    keeper = make_keeper()
    for number, units in enumerate((49, 1, 10, 36, 4), start=1):
        await spend(quota, units, number)
        await minutes_pass(clock, 1, keeper)
    assert [each.json["kind"] for each in listener.received] == ["quota_50", "quota_95", "quota_100"]
    clock.advance(timedelta(hours=13))
    await spend(quota, 60, 9)
    await minutes_pass(clock, 2, keeper)
    assert listener.titles[3:] == ["Alexandria: quota 50: isbndb 2026-11-24"]


async def test_a_warning_that_stands_for_a_day_is_told_once_more(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener
) -> None:
    keeper = make_keeper(wishes=Wishes(off=frozenset({AlertKind.DAY_UNCONFIRMED})))
    await stop_key(quota)
    await keeper.look()
    for _ in range(3):
        clock.advance(REMINDED_AFTER)
        await minutes_pass(clock, 2, keeper)
    refused = [each.json["event"] for each in listener.received if each.json["kind"] == "key_refused"]
    assert refused == ["raised", "reminded"]


async def test_least_severity_and_kinds_that_are_off(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener, database: Database
) -> None:
    await spend(quota, 60, 1)
    await stop_key(quota)
    quiet = make_keeper(wishes=Wishes(Severity.WARNING, frozenset({AlertKind.KEY_REFUSED})))
    await minutes_pass(clock, 2, quiet)
    assert listener.received == []
    assert [kind for kind, _ in await open_alerts(database, clock)] == [AlertKind.QUOTA_50]
    async with database.transaction() as connection:
        run = Alert(AlertKind.RUN_FAILING, "a-run", "it fails", clock.now())
        await AlertStore(connection).raise_alert(run)
    await minutes_pass(
        clock, 1, make_keeper(wishes=Wishes(off=frozenset({AlertKind.RUN_FAILING, AlertKind.KEY_REFUSED})))
    )
    assert listener.received == []


async def test_a_kind_that_is_switched_off_is_cleared(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, database: Database
) -> None:
    await stop_key(quota)
    await minutes_pass(clock, 1, make_keeper())
    await minutes_pass(clock, 7, make_keeper(wishes=Wishes(off=frozenset({AlertKind.KEY_REFUSED}))))
    assert await open_alerts(database, clock) == {}


async def test_a_run_that_stopped_itself_is_told_of_too(
    make_keeper: MakeKeeper, clock: SetClock, listener: Listener, database: Database
) -> None:
    async with database.transaction() as connection:
        await AlertStore(connection).raise_alert(
            Alert(AlertKind.RUN_FAILING, "20261123-aaaa", "it fails", clock.now())
        )
    await make_keeper().look()
    await make_keeper().look()
    assert listener.titles == ["Alexandria: run failing: 20261123-aaaa"]


async def test_without_a_target_alerts_stand_and_whoever_has_one_later_tells_what_still_is(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener, database: Database
) -> None:
    await stop_key(quota)
    await spend_quietly(database, clock)
    await minutes_pass(clock, 1, make_keeper(targets=[]))
    clock.advance(timedelta(days=2))
    await minutes_pass(clock, 1, make_keeper(targets=[]))
    await make_keeper().look()
    told = [each.json for each in listener.received if each.json["kind"] != "day_unconfirmed"]
    assert [(each["kind"], each["event"]) for each in told] == [("key_refused", "raised")]


async def spend_quietly(database: Database, clock: SetClock) -> None:
    """An alert that is over before anybody was told."""
    async with database.transaction() as connection:
        store = AlertStore(connection)
        await store.raise_alert(Alert(AlertKind.RUN_FAILING, "a-run", "it fails", clock.now()))
        await store.clear(AlertKind.RUN_FAILING, "a-run", now=clock.now())


# Failures to send, and deaths in between


async def test_what_was_not_taken_is_tried_again_later_and_only_where_it_was_not(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener, database: Database
) -> None:
    async with running_listener() as other:
        keeper = make_keeper(
            targets=[Webhook(listener.url, SECRET), AppriseTarget(f"json://127.0.0.1:{other.port}", 1)]
        )
        listener.statuses = [500, 503]
        await stop_key(quota)
        await keeper.look()
        async with database.connection() as connection:
            [lost] = await AlertStore(connection).list_undelivered(since=clock.now())
        assert (lost.target, lost.attempts, lost.next_try_at) == ("webhook", 1, clock.now() + back_off(1))
        assert "500" in str(lost.error)
        tries = []
        for _ in range(40):
            clock.advance(timedelta(seconds=TICK_SECONDS))
            await keeper.look()
            tries.append(len(listener.received))
        assert tries.index(2) + 1 == back_off(1).total_seconds() / TICK_SECONDS
        assert tries.index(3) - tries.index(2) == back_off(2).total_seconds() / TICK_SECONDS
        assert tries[-1] == 3
        assert len(other.received) == 1
        assert len({each.json["id"] for each in listener.received}) == 1


async def test_what_nobody_takes_is_given_up_and_shown(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener, database: Database
) -> None:
    keeper = make_keeper()
    listener.statuses = [500] * 99
    await stop_key(quota)
    for _ in range(MOST_ATTEMPTS + 3):
        await keeper.look()
        clock.advance(timedelta(hours=1))
    of_this = [each for each in listener.received if each.json["event"] == "raised" and each.json["kind"] == "key_refused"]  # fmt: skip
    assert len(of_this) == MOST_ATTEMPTS
    async with database.connection() as connection:
        lost = await AlertStore(connection).list_undelivered(since=clock.now() - KEPT)
    assert [each.given_up_at is not None for each in lost if each.title.endswith("key refused: isbndb")] == [True]  # fmt: skip


async def test_a_process_that_dies_while_it_sends_is_followed_by_one_more_sending(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener
) -> None:
    await stop_key(quota)
    listener.gate.clear()
    dying = asyncio.create_task(make_keeper().look())
    await listener.until(1)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    listener.gate.set()
    survivor = make_keeper()
    clock.advance(LEASE - timedelta(seconds=1))
    await survivor.look()
    assert len(listener.received) == 1
    clock.advance(timedelta(seconds=1))
    for _ in range(3):
        await survivor.look()
        clock.advance(LEASE)
    assert len(listener.received) == 2
    assert len({each.headers["Alexandria-Notice"] for each in listener.received}) == 1


# Silences


async def test_what_is_silenced_is_told_when_the_silence_ends_if_it_is_still_so(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener, database: Database
) -> None:
    keeper = make_keeper()
    async with database.transaction() as connection:
        await silence(connection, AlertKind.KEY_REFUSED, None, span=timedelta(hours=1), now=clock.now())
    await stop_key(quota)
    await minutes_pass(clock, 59, keeper)
    alert = (await open_alerts(database, clock))[AlertKind.KEY_REFUSED, "isbndb"]
    assert alert.silenced_until == clock.now() + timedelta(minutes=1)
    assert "key_refused" not in [each.json["kind"] for each in listener.received]
    await minutes_pass(clock, 2, keeper)
    assert "key_refused" in [each.json["kind"] for each in listener.received]


async def test_what_began_and_ended_in_silence_is_never_told(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener, database: Database
) -> None:
    keeper = make_keeper()
    async with database.transaction() as connection:
        await silence(connection, AlertKind.KEY_REFUSED, "isbndb", span=timedelta(hours=1), now=clock.now())
        await silence(connection, AlertKind.KEY_REFUSED, "other", span=timedelta(hours=9), now=clock.now())
    await stop_key(quota)
    await minutes_pass(clock, 2, keeper)
    await quota.resume(ACCOUNT)
    await minutes_pass(clock, 70, keeper)
    assert [each for each in listener.received if each.json["kind"] == "key_refused"] == []


async def test_a_silence_is_replaced_ended_and_of_one_subject_only(
    database: Database, clock: SetClock, make_keeper: MakeKeeper, listener: Listener
) -> None:
    now = clock.now()
    async with database.transaction() as connection:
        store = AlertStore(connection)
        first = await silence(connection, AlertKind.RUN_FAILING, "a", span=timedelta(hours=1), now=now)
        again = await silence(connection, AlertKind.RUN_FAILING, "a", span=timedelta(hours=2), now=now)
        assert (again.id, again.until) == (first.id, now + timedelta(hours=2))
        for run in "ab":
            await store.raise_alert(Alert(AlertKind.RUN_FAILING, run, "it fails", now))
    await make_keeper().look()
    assert listener.titles == ["Alexandria: run failing: b"]
    async with database.transaction() as connection:
        store = AlertStore(connection)
        assert not await store.unsilence(AlertKind.RUN_FAILING, None, now=now)
        assert await store.unsilence(AlertKind.RUN_FAILING, "a", now=now)
        assert await store.list_silences(now=now) == []
    await make_keeper().look()
    assert listener.titles[1:] == ["Alexandria: run failing: a"]


@pytest.mark.parametrize("span", [timedelta(seconds=59), timedelta(days=367)])
async def test_a_silence_has_an_end(database: Database, clock: SetClock, span: timedelta) -> None:
    async with database.transaction() as connection:
        with pytest.raises(InvalidInput, match="must lie between"):
            await silence(connection, AlertKind.RUN_FAILING, None, span=span, now=clock.now())


def test_a_kind_is_named_with_either_stroke() -> None:
    assert kind_of("queue-old") is kind_of("queue_old") is AlertKind.QUEUE_OLD
    with pytest.raises(InvalidInput, match="is not one of"):
        kind_of("queue")


# What a reading is made of


async def add_run(connection: Connection, run_id: str, at: datetime, items: int = 3) -> None:
    await HarvestStore(connection).add_run(
        run_id,
        kind="authors",
        lane="bulk",
        parameters={},
        targets=[Target(TargetKind.AUTHOR, f"OL{n}A", f"Name {n}") for n in range(items)],
        fresh_since=at,
        now=at,
    )


async def test_runs_are_quiet_since_an_item_was_touched_and_only_while_something_is_due(
    database: Database, clock: SetClock
) -> None:
    now, hour = clock.now(), timedelta(hours=1)

    async def quiet() -> dict[str, timedelta]:
        async with database.connection() as connection:
            found = await AlertStore(connection).list_quiet_runs(now=clock.now())
        return {each.run_id: each.quiet_for for each in found}

    async with database.transaction() as connection:
        for run in ("old", "fresh", "paused", "waiting", "done"):
            await add_run(connection, run, now - 2 * hour)
        for change in (
            "UPDATE harvest_items SET updated_at = updated_at + interval '90 minutes' WHERE run_id = 'fresh' AND position = 2",
            "UPDATE harvest_runs SET state = 'paused' WHERE id = 'paused'",
            "UPDATE harvest_items SET state = 'partial', retry_at = '2026-11-24' WHERE run_id = 'waiting'",
            "UPDATE harvest_items SET state = 'done' WHERE run_id = 'done'",
        ):
            await connection.execute(change.encode())
    assert await quiet() == {"old": 2 * hour, "fresh": timedelta(minutes=30)}
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE harvesters SET paused_at = now(), pause_reason = 'x' WHERE name = 'authors'"
        )
    assert await quiet() == {}


async def test_queues_tell_how_long_the_oldest_waits_and_what_is_dead(database: Database) -> None:
    async with database.transaction() as connection:
        jobs = {f"covers:{n}": NewJob(b"") for n in range(4)}
        await JobStore(connection).enqueue("covers", jobs, priority=0)
        await connection.execute(
            "UPDATE pgqueuer SET created = now() - interval '20 minutes', execute_after = now() - interval '20 minutes'"
            " WHERE dedupe_key = 'covers:0'"
        )
        # Put off by a snooze: it could not run, however old it is.
        await connection.execute(
            "UPDATE pgqueuer SET created = now() - interval '9 hours', execute_after = now() + interval '1 hour'"
            " WHERE dedupe_key = 'covers:1'"
        )
        await connection.execute(
            "UPDATE pgqueuer SET status = 'failed', created = now() - interval '9 hours' WHERE dedupe_key = 'covers:2'"
        )
        [queue] = await AlertStore(connection).list_queues()
    assert (queue.kind, queue.dead_letters) == ("covers", 1)
    assert timedelta(minutes=20) <= queue.oldest_waits < timedelta(minutes=22)


async def test_a_backlog_that_grows_for_an_hour_is_told(
    make_keeper: MakeKeeper, clock: SetClock, listener: Listener, database: Database
) -> None:
    keeper = make_keeper(wishes=Wishes(off=frozenset({AlertKind.DAY_UNCONFIRMED})))
    for hour in range(14):
        async with database.transaction() as connection:
            await add_run(connection, f"run-{hour}", clock.now(), items=20)
        await minutes_pass(clock, 5, keeper)
    [told] = [each.json for each in listener.received if each.json["kind"] == "backlog_growing"]
    assert told["subject"] == "items"
    async with database.connection() as connection:
        row = await (await connection.execute("SELECT count(*) FROM alert_samples")).fetchone()
    # Of each backlog, for an hour and a little.
    assert row
    assert row[0] <= 2 * 15


async def test_a_ledger_that_was_edited_is_noticed(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, listener: Listener, database: Database
) -> None:
    await spend(quota, 10, 1)
    keeper = make_keeper()
    await minutes_pass(clock, 4, keeper)
    assert listener.received == []
    async with database.connection() as connection:
        await connection.execute("UPDATE quota_windows SET units_charged = units_charged + 1")
    await minutes_pass(clock, 4, keeper)
    [told] = listener.received
    assert (told.json["kind"], told.json["severity"]) == ("ledger_differs", "critical")
    assert "adds up to 10 units, the day to 11" in told.json["body"]


async def test_a_disk_with_too_little_room_is_told_once_for_all_machines_that_have_the_folder(
    make_keeper: MakeKeeper, clock: SetClock, listener: Listener, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "not" / "made" / "yet"
    low = make_keeper(wishes=Wishes(data_dir=folder, disk_least=10**9 * GIBIBYTE))
    well = make_keeper(wishes=Wishes(data_dir=folder, disk_least=0))
    await minutes_pass(clock, 20, low, well)
    assert listener.titles == [f"Alexandria: disk low: {folder}"]
    await minutes_pass(clock, 7, well)
    assert listener.titles[1:] == [f"Alexandria: over: disk low: {folder}"]


async def test_the_disk_of_the_covers_is_looked_at_too_and_the_notice_says_when_they_wait(
    make_keeper: MakeKeeper, clock: SetClock, listener: Listener, tmp_path: Path
) -> None:
    data, covers = tmp_path / "data", tmp_path / "covers"
    wishes = Wishes(data_dir=data, disk_least=10**9 * GIBIBYTE, covers_dir=covers, covers_least=2 * GIBIBYTE)
    await minutes_pass(clock, 2, make_keeper(wishes=wishes))
    told = {each.json["subject"]: each.json["body"] for each in listener.received}
    assert told.keys() == {str(data), str(covers)}
    assert "below 2.0 GiB no covers are fetched" in told[str(covers)]
    assert "no covers are fetched" not in told[str(data)]
    within = Wishes(data_dir=data, covers_dir=data / "covers", covers_least=7)
    assert within.disks == [(data, 7)]


async def test_every_account_that_is_configured_is_read(
    database_url: str, tmp_path: Path, clock: SetClock
) -> None:
    settings = {"ALEXANDRIA_DATA_DIR": str(tmp_path), "ALEXANDRIA_ISBNDB_KEY": "a-key"}
    async with running_app(load(settings), database_url, clock=clock) as app:
        accounts = await read_accounts(app)
        assert [each.provider for each in accounts] == ["isbndb", "openlibrary", "wikidata"]
        async with app.database.transaction() as connection:
            reading = await read(connection, accounts, now=clock.now())
        assert reading.accounts[0].ledger_units is None


@pytest.mark.parametrize(("off", "is_watched"), [("all", False), ("quota_50", True)])
async def test_a_server_watches_unless_every_alert_is_off(
    database_url: str, tmp_path: Path, clock: SetClock, off: str, is_watched: bool
) -> None:
    settings = {"ALEXANDRIA_DATA_DIR": str(tmp_path), "ALEXANDRIA_ALERTS_OFF": off}
    async with running_app(load(settings), database_url, clock=clock) as app, alerting(app):
        async with asyncio.timeout(20):
            while is_watched and not await _is_read(app.database):  # noqa: ASYNC110 - the database says so
                await asyncio.sleep(0.01)
        assert await _is_read(app.database) == is_watched


async def _is_read(database: Database) -> bool:
    async with database.connection() as connection:
        row = await (
            await connection.execute("SELECT finished_at IS NOT NULL FROM upkeep WHERE task = 'alerts'")
        ).fetchone()
    return row is not None and bool(row[0])


# The database itself


async def test_a_database_that_does_not_answer_is_told_from_memory_once(
    make_keeper: MakeKeeper, clock: SetClock, listener: Listener, database: Database
) -> None:
    away = True

    async def accounts() -> Sequence[AccountReading]:
        return []

    keeper = make_keeper(read_accounts=accounts)
    await keeper.look()
    real = keeper.database
    keeper.database = _Away(real)  # type: ignore[assignment]
    listener.statuses = [500]
    began = clock.now()
    with capture_logs() as logs:
        while away and clock.now() - began < SILENCE * 3:
            clock.advance(timedelta(seconds=TICK_SECONDS * 6))
            await keeper.look()
    # Refused once, and so told a second time, half a minute later; then not again.
    assert listener.titles == ["Alexandria: database silent: a-host"] * 2
    assert "succeeded since 2026-11-23 12:00 UTC" in listener.received[0].json["body"]
    assert [each["event"] for each in logs].count("alert.raised") == 1
    keeper.database = real
    await minutes_pass(clock, 3, keeper)
    assert listener.titles[2:] == ["Alexandria: over: database silent: a-host"]
    async with database.connection() as connection:
        [past] = await AlertStore(connection).list_alerts(now=clock.now(), with_cleared=True)
    assert (past.kind, past.raised_at, past.severity) == ("database_silent", began, "critical")
    assert past.cleared_at is not None


class _Away:
    """A database whose server is gone, as `Database` tells it."""

    def __init__(self, database: Database) -> None:
        self.url = database.url

    def connection(self) -> Any:
        raise StoreUnavailable("the database did not answer")

    transaction = connection


async def test_a_short_outage_is_nobodys_business(
    make_keeper: MakeKeeper, clock: SetClock, listener: Listener
) -> None:
    keeper = make_keeper()
    await keeper.look()
    real = keeper.database
    for _ in range(3):
        keeper.database = _Away(real)  # type: ignore[assignment]
        clock.advance(SILENCE - timedelta(seconds=1))
        await keeper.look()
        keeper.database = real
        await keeper.look()
    assert listener.received == []


async def test_a_defect_ends_nothing(make_keeper: MakeKeeper, clock: SetClock) -> None:
    looks = 0

    async def accounts() -> Sequence[AccountReading]:
        nonlocal looks
        looks += 1
        clock.advance(READ_EVERY)
        raise RuntimeError("a defect")

    keeper = make_keeper(read_accounts=accounts)
    keeper.tick_seconds = 0.01
    with capture_logs() as logs:
        running = asyncio.create_task(keeper.run())
        async with asyncio.timeout(20):
            while looks < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert "alerts.crashed" in [each["event"] for each in logs]


# The digest


async def test_the_digest_is_sent_once_a_day_after_its_hour_by_one_of_all(
    make_keeper: MakeKeeper, clock: SetClock, listener: Listener, database: Database
) -> None:
    clock.set(datetime(2026, 11, 23, 6, 59, tzinfo=UTC))
    wishes = Wishes(least=Severity.CRITICAL, digest_at=time(7))
    keepers = [make_keeper(wishes=wishes) for _ in range(4)]
    async with database.transaction() as connection:
        await add_run(connection, "a-run", clock.now() - timedelta(days=1))
        await connection.execute("UPDATE harvest_items SET editions_new = 5 WHERE position < 2")
        await connection.execute("UPDATE harvest_items SET state = 'failed' WHERE position = 2")
    await asyncio.gather(*(each.look() for each in keepers))
    assert listener.received == []
    for _ in range(3):
        clock.advance(timedelta(minutes=1))
        await asyncio.gather(*(each.look() for each in keepers))
    [told] = [each.json for each in listener.received]
    assert (told["event"], told["title"]) == ("digest", "Alexandria: Sunday, 2026-11-22")
    lines = told["body"].splitlines()
    assert lines[:2] == ["7 units of 100 were used at isbndb on 2026-11-22.", "  covers: 7"]
    assert "1 are open; 1 items failed." in told["body"]
    clock.set(datetime(2026, 11, 24, 15, tzinfo=UTC))
    await asyncio.gather(*(each.look() for each in keepers))
    await keepers[0].look()
    assert listener.titles[1:] == ["Alexandria: Monday, 2026-11-23"]


async def test_old_alerts_and_notices_are_forgotten(
    make_keeper: MakeKeeper, quota: QuotaStore, clock: SetClock, database: Database
) -> None:
    keeper = make_keeper(wishes=Wishes(digest_at=time(7)))
    await stop_key(quota)
    await keeper.look()
    await quota.resume(ACCOUNT)
    await minutes_pass(clock, 8, keeper)
    keeper.wishes = replace(keeper.wishes, digest_at=None)
    clock.advance(KEPT + timedelta(days=1))
    await keeper.look()
    async with database.connection() as connection:
        counts = await (
            await connection.execute(
                "SELECT (SELECT count(*) FROM alerts WHERE cleared_at IS NOT NULL), (SELECT count(*) FROM alert_notices WHERE"
                " created_at < %s), (SELECT count(*) FROM alert_deliveries WHERE due_at < %s)",
                [clock.now() - KEPT, clock.now() - KEPT],
            )
        ).fetchone()
    assert counts == (0, 0, 0)
