"""How many jobs a worker has in work follows what it is told, while it works."""

import asyncio

from pgqueuer.db import PsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries as JobQueries
from psycopg import AsyncConnection

from alexandria.jobs.worker import HEARTBEAT_TIMEOUT, TICK, TunedManager
from alexandria.stores.jobs import QueueDriver
from alexandria.stores.postgres import Database


async def test_as_many_jobs_are_in_work_as_is_said_at_that_moment(database: Database) -> None:
    at_once, in_work, goes_on = 1, 0, asyncio.Semaphore(0)
    peak = asyncio.Condition()

    async def work(_: Job) -> None:
        nonlocal in_work
        async with peak:
            in_work += 1
            peak.notify_all()
        await goes_on.acquire()
        in_work -= 1

    async def until(count: int) -> None:
        async with asyncio.timeout(30), peak:
            await peak.wait_for(lambda: in_work >= count)

    async with database.connection() as connection:
        await JobQueries(PsycopgDriver(connection)).enqueue(["work"] * 12, [None] * 12, [0] * 12)
    async with await AsyncConnection.connect(database.url, autocommit=True) as listener:
        manager = TunedManager(JobQueries(QueueDriver(listener, database)), at_once=lambda: at_once)
        manager.entrypoint("work")(work)
        running = asyncio.create_task(
            manager.run(batch_size=1, dequeue_timeout=TICK / 10, heartbeat_timeout=HEARTBEAT_TIMEOUT)
        )
        try:
            await until(1)
            await asyncio.sleep(0.3)  # three times as long as it takes to look for more
            assert in_work == 1
            at_once = 5
            await until(5)
            await asyncio.sleep(0.3)
            assert in_work == 5
        finally:
            manager.shutdown.set()
            for _ in range(12):
                goes_on.release()
            await running
