"""Metering: every few seconds a process adds what it has counted to the sums that all processes share.

What is added is the difference to the last time, so sums only ever grow: a process that ends takes nothing with it, and one that is
killed loses what it counted since it last added.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import structlog

from alexandria import meters
from alexandria.domain.errors import StoreUnavailable
from alexandria.stores.meters import MeterStore
from alexandria.stores.postgres import Database

log = structlog.get_logger()

PUBLISH_SECONDS = 5.0
"""How late a sum may be; a fraction of the time between two scrapes."""
_LAST_WORD_SECONDS = 2.0
_TIDY_EVERY = 720
"""In publications: once an hour."""


@dataclass
class Publisher:
    """Publishes this process's meters to one database, beginning with what is counted from now on."""

    database: Database
    process: UUID = field(default_factory=uuid4)
    _published: Mapping[meters.Reading, float] = field(default_factory=meters.read)
    _count: int = 0
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def publish(self) -> None:
        """Add what is new, and give a sign of life. Raises StoreUnavailable; then the next time adds it."""
        async with self._adding() as store:
            await store.beat(self.process, workers=meters.workers_at_work())
            if self._count % _TIDY_EVERY == 0:
                await store.tidy()
        self._count += 1

    async def close(self) -> None:
        """Add what is new for the last time, and take leave. Raises StoreUnavailable."""
        async with self._adding() as store:
            await store.leave(self.process)

    @asynccontextmanager
    async def _adding(self) -> AsyncIterator[MeterStore]:
        """A transaction that adds what is new, one at a time: two would add the same."""
        async with self._alone:
            read = meters.read()
            new = self._new(read)
            async with self.database.transaction() as connection:
                store = MeterStore(connection)
                await store.add(new, spanned=_spanned(new))
                yield store
            self._published = read

    def _new(self, read: Mapping[meters.Reading, float]) -> Mapping[meters.Reading, float]:
        """What was added since the last time; of a histogram all buckets, also those that nothing fell into: shares are read off them."""
        changes = {sample: value - self._published.get(sample, 0.0) for sample, value in read.items()}
        return {
            (name, labels): change
            for (name, labels), change in changes.items()
            if change or (name.endswith("_bucket") and changes[_count_of(name, labels)])
        }


def _count_of(bucket: str, labels: tuple[tuple[str, str], ...]) -> meters.Reading:
    """The sample that counts what all buckets hold together."""
    return bucket.removesuffix("_bucket") + "_count", tuple(each for each in labels if each[0] != "le")


def _spanned(readings: Mapping[meters.Reading, float]) -> Mapping[meters.Reading, float]:
    return {each: value for each, value in readings.items() if each[0].startswith(meters.SPANNED)}


@asynccontextmanager
async def publishing(database: Database) -> AsyncIterator[Publisher]:
    """Publish beside the block, and once more at its end. A database that does not answer is tried again, and holds up nothing."""
    publisher, stop = Publisher(database), asyncio.Event()
    task = asyncio.create_task(_keep_publishing(publisher, stop))
    try:
        yield publisher
    finally:
        # What is on its way is let through: cut off, nobody would know whether it was added.
        stop.set()
        await asyncio.wait({task}, timeout=_LAST_WORD_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await publisher.close()
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("meters.lost", reason=str(error) or "the database took too long")


async def _keep_publishing(publisher: Publisher, stop: asyncio.Event) -> None:
    # Not until it is cancelled: the driver may answer a cancelled statement with an error of its own.
    while not stop.is_set():
        try:
            await publisher.publish()
        except StoreUnavailable as error:
            log.warning("meters.unpublished", reason=str(error))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PUBLISH_SECONDS)
