"""How many covers one process fetches at once: as many as memory and the disk allow (docs/backpressure.md)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from alexandria import meters
from alexandria.clock import Clock
from alexandria.domain.backpressure import is_disk_short, pictures_at_once
from alexandria.stores.machine import available_memory, free_bytes

log = structlog.get_logger()

HELD_SECONDS = 10.0
"""How long a picture waits for its turn before it goes back into the queue, for a machine with more room."""
LOOK_SECONDS = 0.1
DISK_FRESH_SECONDS = 5.0
"""How old a look at the disk may be: at ten covers of 60 kB a second, three megabytes."""


@dataclass
class Throttle:
    """One process's turns at pictures, `most` at once at most."""

    clock: Clock
    most: int
    folder: Path | None
    """Where covers are kept; None where that is no disk of this machine."""
    reserve: int
    """Bytes that covers leave free there."""
    read_memory: Callable[[], int | None] = available_memory
    read_disk: Callable[[Path], int] = free_bytes
    in_work: int = 0
    _free: int | None = None
    _looked_at: float | None = None
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _is_short: bool = False
    _told: tuple[int, str | None] = field(default=(0, None))

    def __post_init__(self) -> None:
        self._told = (self.most, None)

    @asynccontextmanager
    async def turn(self, stopping: Callable[[], bool]) -> AsyncIterator[str | None]:
        """A turn at a picture; yields None when it is there, or why it did not come within `HELD_SECONDS`."""
        cause = await self._wait(stopping)
        if cause is not None:
            yield cause
            return
        try:
            yield None
        finally:
            self.in_work -= 1

    async def _wait(self, stopping: Callable[[], bool]) -> str | None:
        until = self.clock.monotonic() + HELD_SECONDS
        is_held = False
        while True:
            at_once, cause = await self._allowed()
            if self.in_work < at_once:
                self.in_work += 1
                return None
            cause = cause or "turn"
            if not is_held and cause != "turn":
                meters.HELD_PICTURES.labels(cause).inc()
                is_held = True
            if stopping() or self.clock.monotonic() >= until:
                return f"no room for more pictures: {cause}"
            await self.clock.sleep(LOOK_SECONDS)

    async def _allowed(self) -> tuple[int, str | None]:
        """How many pictures may be in work, and what keeps it from being more."""
        # Those in work may not have taken their memory yet: what is free now must do for all of them together.
        memory, free, was_short = self.read_memory(), await self._look_at_disk(), self._is_short
        self._is_short = free is not None and is_disk_short(free, self.reserve, was_short=was_short)
        allowed = pictures_at_once(
            self.most, memory=memory, disk=free, reserve=self.reserve, was_short=was_short
        )
        by_memory = pictures_at_once(self.most, memory=memory, disk=None, reserve=0, was_short=False)
        cause = None if allowed == self.most else "memory" if allowed == by_memory else "disk"
        if (allowed, cause) != self._told:
            self._told = allowed, cause
            # Where none is fetched any more a person has to make room.
            tell = log.info if allowed else log.warning
            tell("pictures.adjusted", at_once=allowed, most=self.most, cause=cause, disk_free=free)
        return allowed, cause

    async def _look_at_disk(self) -> int | None:
        if self.folder is None or not self.reserve:
            return None
        # Whoever comes while somebody looks waits for what comes of it.
        async with self._looking:
            now = self.clock.monotonic()
            if self._looked_at is None or not 0 <= now - self._looked_at < DISK_FRESH_SECONDS:
                try:
                    self._free = await asyncio.to_thread(self.read_disk, self.folder)
                except OSError as error:
                    # Storing the next picture says what is wrong with it, and spends no attempt.
                    log.warning("pictures.disk_unread", folder=str(self.folder), reason=str(error))
                    self._free = None
                self._looked_at = now
            return self._free
