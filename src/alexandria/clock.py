"""Time as a value that is passed in, so that a test can set it and a rehearsal can speed it up."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The three things anybody here asks of time."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, for spans within one process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a span of zero or less only yields."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ScaledClock:
    """A clock that was set to another time and runs faster: `factor` of its seconds go by in one of the machine's.

    It is derived from the machine's monotonic clock, which all processes of a machine share: those that are given the same three
    values agree as well as their machine's clock does, whenever each of them began.
    """

    def __init__(self, started_real: float, started_shifted: datetime, factor: float) -> None:
        """It showed `started_shifted` when the machine's `time.monotonic()` was `started_real`. Raises ValueError."""
        if not factor > 0:
            raise ValueError(f"a clock must run forwards: factor {factor}")
        self._started_real = started_real
        self._started_shifted = started_shifted
        self.factor = factor

    def now(self) -> datetime:
        """The shifted wall clock, aware, UTC."""
        return self._started_shifted + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Scaled seconds since the start; the same in every process."""
        return (time.monotonic() - self._started_real) * self.factor

    async def sleep(self, seconds: float) -> None:
        """Wait that many scaled seconds."""
        await asyncio.sleep(max(0.0, seconds) / self.factor)
