"""What processes count adds up, whoever ends or is killed, and whether or not the database answers."""

import asyncio
from datetime import timedelta

import pytest
from psycopg.errors import UndefinedTable

from alexandria import meters
from alexandria.metering import Publisher, publishing
from alexandria.stores.meters import Alive, MeterStore, Readings
from alexandria.stores.postgres import Database

CALLS = (
    "alexandria_provider_calls_total",
    (("endpoint", "author"), ("outcome", "delivered"), ("provider", "isbndb")),
)
EDITIONS = ("alexandria_added_editions_total", ())


def call() -> None:
    meters.CALLS.labels("isbndb", "author", "delivered").inc()
    meters.CALL_SECONDS.labels("isbndb", "author").observe(0.3)


async def sums(database: Database) -> Readings:
    async with database.connection() as connection:
        return await MeterStore(connection).list_sums()


async def alive(database: Database) -> Alive:
    async with database.connection() as connection:
        return await MeterStore(connection).count_alive()


async def test_what_is_new_is_added_once(database: Database) -> None:
    publisher = Publisher(database)
    call()
    await publisher.publish()
    await publisher.publish()
    assert (await sums(database))[CALLS] == 1
    call()
    call()
    meters.EDITIONS.inc(7)
    await publisher.publish()
    found = await sums(database)
    assert (found[CALLS], found[EDITIONS]) == (3, 7)
    by_bucket = {
        dict(labels)["le"]: value
        for (sample, labels), value in found.items()
        if sample == "alexandria_provider_call_seconds_bucket"
    }
    assert (by_bucket["0.2"], by_bucket["0.35"], by_bucket["+Inf"]) == (0, 3, 3), (
        "empty buckets are told, too"
    )


async def test_a_process_that_ends_takes_nothing_with_it(database: Database) -> None:
    publisher = Publisher(database)
    call()
    await publisher.publish()
    assert (await alive(database)).processes == 1
    await publisher.close()
    assert (await alive(database)).processes == 0
    assert (await sums(database))[CALLS] == 1


async def test_the_last_word_is_heard(database: Database) -> None:
    async with publishing(database) as publisher:
        await publisher.publish()
        await publisher.publish()  # after the first one of the publisher's own, which came between
        call()
    assert (await sums(database))[CALLS] == 1
    assert await alive(database) == Alive(0, 0)


async def test_the_shortest_command_ends_at_once(database: Database) -> None:
    for _ in range(30):
        async with asyncio.timeout(5), publishing(database):
            # Enough for the first publication to be on its way.
            for _ in range(3):
                await asyncio.sleep(0)


async def test_one_that_publishes_twice_at_once_adds_once(database: Database) -> None:
    publisher = Publisher(database)
    call()
    await asyncio.gather(publisher.publish(), publisher.publish(), publisher.close())
    assert (await sums(database))[CALLS] == 1


async def test_workers_are_counted_while_they_live(database: Database) -> None:
    publisher = Publisher(database)
    with meters.worker_at_work():
        await publisher.publish()
        assert await alive(database) == Alive(1, 1)
    await publisher.publish()
    assert await alive(database) == Alive(1, 0)


async def test_who_was_silent_for_long_is_not_alive_and_is_forgotten(database: Database) -> None:
    killed = Publisher(database)
    await killed.publish()
    async with database.connection() as connection:
        await connection.execute("UPDATE processes SET seen_at = seen_at - interval '31 seconds'")
    assert await alive(database) == Alive(0, 0)
    async with database.connection() as connection:
        await connection.execute("UPDATE processes SET seen_at = seen_at - interval '2 days'")
    await Publisher(database).publish()
    async with database.connection() as connection:
        rows = await (await connection.execute("SELECT count(*) FROM processes")).fetchall()
    assert rows == [(1,)]


async def test_what_could_not_be_added_is_added_the_next_time(database: Database) -> None:
    publisher = Publisher(database)
    call()
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE processes RENAME TO gone")
    with pytest.raises(UndefinedTable):
        await publisher.publish()
    assert await sums(database) == {}
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE gone RENAME TO processes")
    await publisher.publish()
    assert (await sums(database))[CALLS] == 1


async def test_many_that_add_at_once_lose_nothing(database: Database) -> None:
    publishers = [Publisher(database) for _ in range(8)]
    for _ in range(5):
        call()
        meters.JOBS.labels("harvest_item", "done").inc()
        await asyncio.gather(*(each.publish() for each in publishers))
    # Each of them believes that it alone counts for this process, so each adds everything.
    assert (await sums(database))[CALLS] == 5 * len(publishers)


async def test_spans_tell_the_last_hour_and_are_forgotten_after_a_month(database: Database) -> None:
    publisher = Publisher(database)
    call()
    meters.EDITIONS.inc()
    await publisher.publish()
    async with database.connection() as connection:
        rows = await (await connection.execute("SELECT DISTINCT sample FROM meter_spans")).fetchall()
        assert {sample for (sample,) in rows} == {
            "alexandria_provider_calls_total",
            "alexandria_provider_call_seconds_bucket",
            "alexandria_provider_call_seconds_count",
            "alexandria_provider_call_seconds_sum",
        }
        await connection.execute("UPDATE meter_spans SET span_at = span_at - interval '2 hours'")
        store = MeterStore(connection)
        assert await store.sum_since(timedelta(hours=1)) == {}
        assert (await store.sum_since(timedelta(hours=24)))[CALLS] == 1
        await connection.execute("UPDATE meter_spans SET span_at = span_at - interval '32 days'")
        await store.tidy()
        assert (await (await connection.execute("SELECT count(*) FROM meter_spans")).fetchone()) == (0,)
