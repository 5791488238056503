"""Tuning over a real database: one process at a time turns dials by what all have counted, and all of them learn of it."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from alexandria import tuning
from alexandria.domain.errors import InvalidInput
from alexandria.domain.tuning import DIALS, Change
from alexandria.stores.meters import MeterStore
from alexandria.stores.postgres import Database
from alexandria.tuning import Dials

AT_ONCE = timedelta(0)
LATER = timedelta(hours=1)


async def count(
    database: Database, *, delivered: int = 0, failed: int = 0, seconds: float = 0.4, endpoint: str = "author"
) -> None:
    """What some processes have added to the sums of all."""
    of = (("endpoint", endpoint), ("provider", "isbndb"))
    number = float(delivered + failed)
    sums = {
        ("alexandria_provider_calls_total", (of[0], ("outcome", "delivered"), of[1])): float(delivered),
        ("alexandria_provider_calls_total", (of[0], ("outcome", "failed"), of[1])): float(failed),
        ("alexandria_provider_call_seconds_sum", of): number * seconds,
        ("alexandria_provider_call_seconds_count", of): number,
    }
    for bound in ("0.5", "2.0", "10.0", "30.0", "+Inf"):
        is_within = bound == "+Inf" or seconds <= float(bound)
        sums["alexandria_provider_call_seconds_bucket", (of[0], ("le", bound), of[1])] = (
            number if is_within else 0.0
        )
    async with database.transaction() as connection:
        await MeterStore(connection).add(sums, spanned={})


async def look(
    database: Database, *pinned: str, interval: timedelta = AT_ONCE
) -> dict[str, tuple[float, float]]:
    dials = Dials({name: DIALS[name].start for name in pinned})
    async with database.transaction() as connection:
        changes = await tuning.look(connection, dials, interval=interval)
    return {each.dial: (each.before, each.after) for each in changes}


async def test_a_dial_goes_down_with_failures_and_up_again_when_they_are_over(database: Database) -> None:
    await count(database, delivered=1000)
    assert await look(database) == {}, "what was counted before anybody looked is no sample"
    await count(database, delivered=20, failed=20)
    assert await look(database) == {"items_at_once": (4, 2)}
    await count(database, delivered=50)
    assert await look(database) == {"items_at_once": (2, 3)}
    async with database.transaction() as connection:
        (line,) = [
            each for each in await tuning.show(connection, Dials({})) if each.dial.name == "items_at_once"
        ]
    assert line.value == 3
    assert [(each.before, each.after) for each in line.changes] == [(2, 3), (4, 2)]
    assert "50% of 40 failed" in line.changes[1].reason


async def test_a_few_samples_add_up_over_several_looks(database: Database) -> None:
    await look(database)
    for _ in range(2):
        await count(database, failed=12)
        assert await look(database) == {}
    await count(database, failed=12)
    assert await look(database) == {"items_at_once": (4, 2)}
    assert await look(database) == {}, "they were taken into account"


async def test_each_dial_reads_its_own_calls(database: Database) -> None:
    await look(database)
    await count(database, delivered=200, endpoint="bulk", seconds=1.5)
    assert await look(database) == {
        "items_at_once": (4, 5),
        "isbns_at_once": (500, 550),
        "isbndb_bulk_seconds": (60, 48),
    }
    await count(database, delivered=200, seconds=25.0)
    assert await look(database) == {"items_at_once": (5, 2), "isbndb_seconds": (30, 45)}


async def test_it_is_looked_once_in_an_interval_by_one_process(database: Database) -> None:
    await look(database)
    await count(database, failed=40)
    assert await look(database, interval=LATER) == {}
    found = await asyncio.gather(*(look(database) for _ in range(8)))
    assert [each for each in found if each] == [{"items_at_once": (4, 2)}]


async def test_what_is_pinned_is_left_alone_and_stands_where_it_is_pinned(database: Database) -> None:
    await look(database)
    await count(database, failed=40)
    assert await look(database, "items_at_once") == {}
    pinned = Dials({"items_at_once": 7})
    pinned.learn({"items_at_once": 2, "isbndb_seconds": 25, "cover_seconds": 9999})
    assert pinned.whole("items_at_once") == 7
    assert pinned.value("isbndb_seconds") == 25
    assert pinned.value("cover_seconds") == 60, "a value of another version is brought within the bounds"
    async with database.transaction() as connection:
        with pytest.raises(InvalidInput, match="is pinned: take it out of ALEXANDRIA_PINNED"):
            await tuning.reset(connection, pinned, "items_at_once")


async def test_a_person_puts_a_dial_back(database: Database) -> None:
    async with database.transaction() as connection:
        assert await tuning.reset(connection, Dials({}), "items-at-once") is None
    await look(database)
    await count(database, failed=40)
    await look(database)
    async with database.transaction() as connection:
        change = await tuning.reset(connection, Dials({}), "items-at-once")
    assert change == Change("items_at_once", 2, 4, "reset by a person: 2 to 4 items")
    async with database.transaction() as connection:
        assert (await tuning.read(connection, Dials({})))["items_at_once"] == 4


async def test_sums_that_began_anew_are_no_sample(database: Database) -> None:
    await count(database, delivered=1000)
    await look(database)
    async with database.transaction() as connection:
        await connection.execute("DELETE FROM meters")
    await count(database, failed=40)
    assert await look(database) == {}


async def test_every_process_learns_of_a_change_and_tells_it_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "REFRESH_SECONDS", 0.02)
    await look(database)
    await count(database, failed=40)
    async with database.transaction() as connection:
        await connection.execute("UPDATE tuning SET looked_at = '-infinity'")
    one, other = Dials({}), Dials({})
    with capture_logs() as told:
        async with tuning.tuning(database, one), tuning.tuning(database, other), asyncio.timeout(20):
            while (one.whole("items_at_once"), other.whole("items_at_once")) != (2, 2):  # noqa: ASYNC110 - others do it
                await asyncio.sleep(0.02)
    (event,) = [each for each in told if each["event"] == "dial.changed"]
    assert (event["dial"], event["before"], event["after"]) == ("items_at_once", 4, 2)
    assert "100% of 40 failed" in event["reason"]


async def test_what_goes_wrong_once_is_told_and_does_not_end_the_tuning(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "REFRESH_SECONDS", 0.02)
    dials = Dials({})
    with capture_logs() as told:
        async with tuning.tuning(database, dials), asyncio.timeout(20):
            async with database.transaction() as connection:
                await connection.execute("ALTER TABLE dials RENAME TO mislaid")
            while not any(each["event"] == "dials.crashed" for each in told):  # noqa: ASYNC110 - others do it
                await asyncio.sleep(0.02)
            async with database.transaction() as connection:
                await connection.execute("ALTER TABLE mislaid RENAME TO dials")
                await connection.execute("INSERT INTO dials VALUES ('items_at_once', 2, now())")
            while dials.whole("items_at_once") != 2:  # noqa: ASYNC110 - others do it
                await asyncio.sleep(0.02)


def test_time_outs_are_known_by_provider_and_endpoint() -> None:
    dials = Dials({})
    dials.learn(
        {"isbndb_seconds": 20, "isbndb_bulk_seconds": 50, "google_books_seconds": 12, "cover_seconds": 15}
    )
    assert dials.seconds("isbndb", "author", 30) == 20
    assert dials.seconds("isbndb", "bulk", 60) == 50
    assert dials.seconds("google-books", "volumes", 30) == 12
    assert dials.seconds("cover", "", 30) == 15
    assert dials.seconds("another", "", 5.5) == 5.5
