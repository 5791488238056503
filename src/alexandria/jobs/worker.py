"""The worker: takes jobs off the queue until it is told to stop. Start as many as you like, on as many machines."""

import asyncio
import os
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

import msgspec
import structlog
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries as JobQueries
from psycopg import AsyncConnection, OperationalError

from alexandria import meters, tracing
from alexandria.app import App, recount_if_due, schedule_of, throttle
from alexandria.backpressure import measure
from alexandria.covers import FetchCover, fetch_cover
from alexandria.domain.backpressure import GateName
from alexandria.domain.errors import StoreUnavailable
from alexandria.domain.isbn import Isbn
from alexandria.domain.plans import Kind, needs_key
from alexandria.harvest import Next
from alexandria.jobs.queue import (
    HarvestItem,
    are_covers_fetched,
    feed_covers,
    feed_run,
    forget_old_jobs,
)
from alexandria.stores.counts import CountStore
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.jobs import FETCH_COVER, HARVEST_ITEM, QueueDriver
from alexandria.stores.postgres import Connection, in_transaction
from alexandria.telemetry import Origin, redacted, working_for
from alexandria.throttle import Throttle
from alexandria.upkeep import keep_up_if_due

log = structlog.get_logger()

HEARTBEAT_TIMEOUT = timedelta(seconds=10)
"""A job whose worker has been silent for so long is given to another."""

TICK = timedelta(seconds=1)
"""How often the feeder looks for work that became due without anybody saying so (a reset, a retry, a resumed run)."""

MOST_COVERS_AT_ONCE = 2 * max(4, 2 * (os.cpu_count() or 1))
"""Pictures in work at the same time, of which tuning lets some percent be, a half at first: then one half of those waits for the network
while the other is computed."""

GRACE = timedelta(seconds=65)
"""How long jobs may go on after a stop was asked for before they are cancelled: longer than the time-out of a bulk call, because an answer
that is on its way is paid for."""


@dataclass
class Worker:
    """One process's worth of work."""

    app: App
    runs: frozenset[str] | None = None
    """The only runs to work on; None for all that are due, empty for none but covers."""
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _throttle: Throttle = field(init=False)
    _runs_fed: int = 1
    """How many runs shared the queue when it was last filled."""
    _are_covers_fetched: bool = True
    """As the last tick found it: to look again for each cover would cost as much as finding the cover itself."""
    _working: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._throttle = throttle(self.app, most=MOST_COVERS_AT_ONCE)

    def stop(self) -> None:
        """Finish the pages in hand, then end."""
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop`. What was begun is finished or put down; nothing is lost when it isn't.

        Raises StoreUnavailable when the database goes away.
        """
        try:
            async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
                stack.enter_context(meters.worker_at_work())
                # A queue manager each, so that items waiting for their slot don't keep pictures from being computed.
                await self._look_at_covers()
                managers = [await self._manager(stack, FETCH_COVER, self._fetch_cover, self._covers_at_once)]
                if self._may_harvest:
                    items = self._harvest_item
                    managers.append(await self._manager(stack, HARVEST_ITEM, items, self._items_at_once))
                keeping = [tasks.create_task(self._feed()), tasks.create_task(self._keep_counting())]
                if self.runs is None:
                    keeping.append(tasks.create_task(self._keep_to_schedule()))
                running = [tasks.create_task(self._take_jobs(manager)) for manager in managers]
                await self._stop.wait()
                for manager in managers:
                    manager.shutdown.set()
                await asyncio.wait(running, timeout=GRACE.total_seconds())
                for task in list(self._working):
                    task.cancel()
                await asyncio.wait(running)
                for task in keeping:
                    task.cancel()
        except ExceptionGroup as group:
            # Whichever part noticed first: the others were cancelled on its account.
            raise group.exceptions[0] from group

    @property
    def _may_harvest(self) -> bool:
        """Whether any run could be worked on here."""
        return self.runs is None or bool(self.runs)

    @property
    def _kinds(self) -> Sequence[Kind] | None:
        """Kinds of runs that can be worked on here; None for all. Without a key their items would be put aside for it."""
        return None if self.app.config.isbndb_key else [kind for kind in Kind if not needs_key(kind)]

    async def _manager(
        self,
        stack: AsyncExitStack,
        name: str,
        handle: Callable[[Job], Awaitable[None]],
        at_once: Callable[[], int],
    ) -> "TunedManager":
        try:
            listener = await AsyncConnection.connect(
                self.app.database.url, autocommit=True, application_name="alexandria-queue"
            )
        except OperationalError as error:
            raise StoreUnavailable(f"the database did not answer: {error}".strip()) from error
        await stack.enter_async_context(listener)
        manager = TunedManager(JobQueries(QueueDriver(listener, self.app.database)), at_once=at_once)
        manager.entrypoint(name, on_failure="hold")(_metered(name, handle))
        return manager

    def _items_at_once(self) -> int:
        """The provider's pace is the limit, not their number. Each holds a connection."""
        return self.app.dials.whole("items_at_once")

    def _covers_at_once(self) -> int:
        return max(1, MOST_COVERS_AT_ONCE * self.app.dials.whole("covers_percent") // 100)

    async def _take_jobs(self, manager: "TunedManager") -> None:
        await manager.run(
            batch_size=max(1, manager.at_once() // 2),
            dequeue_timeout=TICK,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
        )

    async def _harvest_item(self, job: Job) -> None:
        item = msgspec.json.decode(job.payload or b"", type=HarvestItem)
        structlog.contextvars.bind_contextvars(
            run=item.run_id, item=item.position
        )  # the job has a task of its own
        if self.runs is not None and item.run_id not in self.runs:
            # Somebody else's run: it stays queued for a worker that works on all.
            raise RetryRequested(TICK, "not this worker's run")
        if self._kinds is not None and not await self._is_of(item.run_id, self._kinds):
            raise RetryRequested(TICK, "this worker has no key")
        await self._until_cancelled(self._harvest(item))

    async def _is_of(self, run_id: str, kinds: Sequence[Kind]) -> bool:
        async with self.app.database.connection() as connection:
            run = await HarvestStore(connection).find_run(run_id)
        return run is None or run.kind in kinds

    async def _fetch_cover(self, job: Job) -> None:
        wanted = msgspec.json.decode(job.payload or b"", type=FetchCover)
        if not self._are_covers_fetched:
            return  # it is still wanted, and handed out again later
        async with self._throttle.turn(self._stop.is_set) as held_by:
            if held_by is not None:
                raise RetryRequested(TICK, held_by)
            await self._until_cancelled(fetch_wanted_cover(self.app, Isbn(wanted.isbn)))

    async def _until_cancelled(self, work: Awaitable[None]) -> None:
        """Do a job's work as a task that a stop may cancel once its grace is over."""
        task = asyncio.ensure_future(work)
        self._working.add(task)
        try:
            await task
        finally:
            self._working.discard(task)

    async def _harvest(self, item: HarvestItem) -> None:
        harvester = self.app.harvester
        try:
            outcome = await harvester.take(item.run_id, item.position, stopping=self._stop.is_set)
        except asyncio.CancelledError:
            await asyncio.shield(harvester.put_down(item.run_id, item.position))
            raise
        except StoreUnavailable as error:
            # A passing failure is no dead letter: the item knows where it stopped.
            raise RetryRequested(TICK, redacted(str(error))) from error
        match outcome.next:
            case Next.ENDED | Next.PAUSED:
                await self._feed_run(item.run_id)
            case Next.AGAIN if not self._stop.is_set():
                raise RetryRequested(outcome.delay, "snoozed")
            case Next.AGAIN:
                # The feeder of whoever works next finds the item where it was put down.
                return

    async def _feed(self) -> None:
        """Top the queue up, every tick."""
        while True:
            try:
                await self._feed_once()
            except StoreUnavailable as error:
                log.warning("queue.unfed", reason=str(error))
            await asyncio.sleep(TICK.total_seconds())

    async def _feed_once(self) -> None:
        marks, now = self.app.config.marks, self.app.clock.now()
        await measure(self.app.database, marks, now=now)
        await self._look_at_covers()
        async with self.app.database.connection() as connection:
            runs = await HarvestStore(connection).list_runs_to_feed(now, kinds=self._kinds)
        self._runs_fed = len(runs)
        for run_id in runs if self._may_harvest else []:
            if self.runs is None or run_id in self.runs:
                await self._feed_run(run_id)
        async with self.app.database.transaction() as connection:
            await feed_covers(connection, now=now, marks=marks[GateName.FETCH_COVER])
        await self.app.quota.expire()
        kept_up = await keep_up_if_due(
            self.app.quota, self.app.quota_reports, keep=self.app.config.quota_detail
        )
        if kept_up is not None:
            async with self.app.database.transaction() as connection:
                await forget_old_jobs(connection)
        async with self.app.database.transaction() as connection:
            await CountStore(connection).gather_if_due()

    async def _look_at_covers(self) -> None:
        async with self.app.database.connection() as connection:
            self._are_covers_fetched = await are_covers_fetched(connection)

    async def _keep_counting(self) -> None:
        """Compare our count with the provider's whenever that is due. A provider that is slow to answer holds up nothing else."""
        while True:
            try:
                await recount_if_due(self.app)
            except StoreUnavailable as error:
                log.warning("quota.count_unknown", reason=str(error))
            await asyncio.sleep(TICK.total_seconds())

    async def _keep_to_schedule(self) -> None:
        """Fire what is due by the clock. Planning a large tier takes seconds, and holds up nothing else."""
        schedule = schedule_of(self.app)
        while not schedule.is_empty:
            try:
                await schedule.fire_due()
            except StoreUnavailable as error:
                log.warning("schedule.unread", reason=str(error))
            await asyncio.sleep(TICK.total_seconds())

    async def _feed_run(self, run_id: str) -> None:
        async def feed(connection: Connection) -> int:
            return await feed_run(
                connection,
                run_id,
                now=self.app.clock.now(),
                marks=self.app.config.marks[GateName.HARVEST_ITEM],
                runs=self._runs_fed,
                is_followed=self.runs is not None,
            )

        await in_transaction(self.app.database, feed)


@dataclass
class TunedManager(QueueManager):
    """Takes jobs off the queue, as many at once as `at_once` says at that moment."""

    at_once: Callable[[], int] = field(kw_only=True)

    def fetch_jobs(
        self,
        batch_size: int,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> AsyncGenerator[Job, None]:
        """Jobs to begin now, asked for whenever there may be some. What `run` was told of their number is not looked at."""
        most = self.at_once()
        return super().fetch_jobs(max(1, most // 2), most, heartbeat_timeout)


def _metered(kind: str, handle: Callable[[Job], Awaitable[None]]) -> Callable[[Job], Awaitable[None]]:
    """The same, counted and timed."""

    async def handle_and_count(job: Job) -> None:
        began, outcome = time.monotonic(), "failed"
        try:
            await handle(job)
            outcome = "done"
        except RetryRequested as again:
            outcome = "again"
            if _tells_secrets(again):
                raise RetryRequested(again.delay, redacted(again.reason or "")) from None
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except Exception as error:
            log.exception("job.failed", kind=kind)
            if _tells_secrets(error):
                raise JobFailed.of(error) from None
            raise
        finally:
            milliseconds = round(1000 * (time.monotonic() - began))
            log.info("job.ended", kind=kind, outcome=outcome, milliseconds=milliseconds, attempt=job.attempts)
            meters.JOBS.labels(kind, outcome).inc()
            meters.JOB_SECONDS.labels(kind).observe(time.monotonic() - began)

    async def handle_for_origin(job: Job) -> None:
        """In the name, and the trace, of who made the job necessary."""
        origin, attributes = Origin.read(job.headers), {"alexandria.job": int(job.id)}
        with (
            working_for(origin, job=int(job.id)),
            tracing.span(f"job {kind}", "consumer", attributes, parent=origin.traceparent) as span,
        ):
            span.tell({"alexandria.request_id": origin.request_id})
            await handle_and_count(job)

    return handle_for_origin


class JobFailed(Exception):
    """A job's failure as its dead letter may keep it: without what was secret in it."""

    @classmethod
    def of(cls, error: Exception) -> Self:
        """In place of an error, with its traceback as a note."""
        failed = cls(redacted(f"{type(error).__name__}: {error}"))
        failed.add_note(redacted("".join(traceback.format_exception(error))))
        return failed


def _tells_secrets(error: Exception) -> bool:
    """Whether its text or its traceback, which the queue's log would keep, holds what nobody may be shown."""
    told = "".join(traceback.format_exception(error))
    return redacted(told) != told


async def fetch_wanted_cover(app: App, isbn: Isbn) -> None:
    """Fetch one cover with what the application has wired up."""
    await fetch_cover(
        isbn,
        database=app.database,
        gateway=app.gateway,
        objects=app.objects,
        allowed_hosts=app.config.download_hosts,
        clock=app.clock,
    )


async def work_until(
    worker: Worker,
    condition: Callable[[], Awaitable[bool]],
    *,
    every: timedelta = timedelta(seconds=0.2),
) -> None:
    """Run a worker until the condition holds or the worker is stopped otherwise; the condition is asked `every` so often."""

    async def watch() -> None:
        try:
            # What it waits for happens in the database, perhaps by another process's hand.
            while not await condition():  # noqa: ASYNC110
                await asyncio.sleep(every.total_seconds())
        finally:
            worker.stop()

    watcher = asyncio.create_task(watch())
    try:
        await worker.run()
    finally:
        watcher.cancel()
    with suppress(asyncio.CancelledError):
        await watcher
