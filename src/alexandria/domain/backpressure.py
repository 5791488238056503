"""Backpressure: when those who make work have to wait for those who do it, and for how long.

A *gate* stands before everything that can fill up: the two queues, and the two backlogs that they are filled from. It closes when as
much waits as its high-water mark says and opens again at its low-water mark, so that it does not flutter in between. Pure: depths,
marks and spans come in, a decision goes out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from alexandria.domain.errors import AlexandriaError, InvalidInput
from alexandria.domain.quota import Lane


class GateName(StrEnum):
    """What fills up. The queues are named after their kind of job, the backlogs after what waits in them."""

    HARVEST_ITEM = "harvest_item"
    """Jobs of runs; filled by the workers' feeders."""
    FETCH_COVER = "fetch_cover"
    """Jobs of covers; the same."""
    ITEMS = "items"
    """Open items of runs that go on by themselves; filled by who starts runs."""
    COVERS = "covers"
    """Covers that are wanted and due; filled by what is harvested and by who wishes for covers."""

    @property
    def queue(self) -> "GateName":
        """The queue through which it drains: itself, or the one that is filled from it."""
        match self:
            case GateName.ITEMS:
                return GateName.HARVEST_ITEM
            case GateName.COVERS:
                return GateName.FETCH_COVER
            case _:
                return self

    @property
    def is_backlog(self) -> bool:
        """Whether what waits in it is not in the queue yet."""
        return self is not self.queue


BACKLOGS = (GateName.ITEMS, GateName.COVERS)

HIGHEST_MARK = 100_000_000
"""More than a catalogue has editions; an `int` column holds twenty times that."""

_SHARES = {Lane.BULK: 0.0, Lane.SCHEDULED: 0.125, Lane.INTERACTIVE: 0.25}
"""Of the high-water mark, how much more may wait for who comes before the bulk: otherwise a full queue would let nobody in. At most a
quarter, so that a queue stays bounded whoever fills it."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a gate closes and where it opens again: `low` < `high`, both in what waits. Raises InvalidInput."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= HIGHEST_MARK:
            raise InvalidInput(
                "marks", str(self), f"must be low:high with 0 <= low < high <= {HIGHEST_MARK:,}"
            )

    def __str__(self) -> str:
        return f"{self.low}:{self.high}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `low:high`. Raises InvalidInput."""
        low, _, high = text.partition(":")
        if not all(each.isascii() and each.isdigit() and len(each) <= 9 for each in (low, high)):
            raise InvalidInput("marks", text, "must be two whole numbers, low:high, as 250:500")
        return cls(int(low), int(high))

    def closes(self, depth: int, *, was_closed: bool) -> bool:
        """Whether the gate is closed when so much waits; between the marks it stays as it was."""
        return depth >= self.high or (was_closed and depth > self.low)

    def room(self, depth: int, lane: Lane, *, is_closed: bool) -> int:
        """How much may be put in, in a lane. Who comes before the bulk passes a closed gate, up to a quarter above the high mark."""
        if lane is Lane.BULK and is_closed:
            return 0
        return max(0, self.most(lane) - depth)

    def most(self, lane: Lane = Lane.INTERACTIVE) -> int:
        """How much waits at most when only those up to a lane put something in."""
        return self.high + self.share(lane)

    def share(self, lane: Lane) -> int:
        """How much those up to a lane may put before a closed gate; nothing, if it is the bulk."""
        return int(_SHARES[lane] * self.high)


DEFAULT_MARKS: Mapping[GateName, Marks] = MappingProxyType(
    {
        # Some seconds of work for a few workers: two feeders' ticks are far apart from the low mark to nothing.
        GateName.HARVEST_ITEM: Marks(200, 400),
        GateName.FETCH_COVER: Marks(250, 500),
        # About a week of a Premium plan's units, if each item costs one; and a day of covers at half a dozen a second.
        GateName.ITEMS: Marks(80_000, 100_000),
        GateName.COVERS: Marks(400_000, 500_000),
    }
)


# How fast it drains

DRAIN_WINDOW = timedelta(minutes=5)
"""What a drain rate is the mean of: long enough to hold some jobs, short enough to notice that a worker came or went."""
LEAST_SPAN = timedelta(minutes=1)
"""A rate is not told from less: two jobs within a second are no 120 a minute."""
SHORTEST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(hours=1)


def drain_per_minute(done: int, span: timedelta) -> float:
    """Jobs a minute that left a queue, of so many that ended within `span`, which is how long ago the first of them did."""
    return done / (min(max(span, LEAST_SPAN), DRAIN_WINDOW) / timedelta(minutes=1))


def retry_after(
    depth: int, marks: Marks, per_minute: float, standstill: timedelta = timedelta(0)
) -> timedelta:
    """When to come back to a closed gate: how long what lies above its low mark takes to drain; a second at least, an hour at most.

    An hour, too, when nothing drains: nobody can tell, and whoever asks every few minutes learns nothing. Never before the
    `standstill` is over, which may be longer.
    """
    above = max(0, depth - marks.low)
    if per_minute * (LONGEST_WAIT / timedelta(minutes=1)) < above:
        return max(LONGEST_WAIT, standstill)
    seconds = 60 * above / per_minute if above else 0.0
    return max(SHORTEST_WAIT, timedelta(seconds=seconds), standstill)


@dataclass(frozen=True, slots=True)
class LargestRun:
    """Of the runs whose items wait, the one with the most: what to pause or cancel to make room."""

    id: str
    open_items: int


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate as it stands. `depth` is what waits before it, `drain_per_minute` what leaves its queue."""

    name: GateName
    marks: Marks
    depth: int
    is_closed: bool
    drain_per_minute: float = 0.0
    standstill: timedelta = timedelta(0)
    """How long nothing at all drains from now on, because every run whose items wait is paused, for the quota or a ceiling."""
    largest: LargestRun | None = None
    """Looked up only for who is refused."""

    @property
    def retry_after(self) -> timedelta:
        """When to ask again: when it should be open, if that can be told."""
        return retry_after(self.depth, self.marks, self.drain_per_minute, self.standstill)

    @property
    def reason(self) -> str:
        """Why it is closed or open, in words."""
        if self.is_closed:
            return f"{self.depth:,} {_WAIT[self.name]}, and the high-water mark is {self.marks.high:,}"
        return f"{self.depth:,} {_WAIT[self.name]}, and the low-water mark is {self.marks.low:,}"


_WAIT = {
    GateName.HARVEST_ITEM: "jobs of runs wait in the queue",
    GateName.FETCH_COVER: "jobs of covers wait in the queue",
    GateName.ITEMS: "items of runs wait",
    GateName.COVERS: "covers wait to be fetched",
}


class Backlogged(AlexandriaError):
    """So much waits already that nothing may be added: come back after `gate.retry_after`. Nothing was changed."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        super().__init__(
            f"{gate.reason}: more is taken when they are down to {gate.marks.low:,}; {_pace_text(gate)}, so come back in"
            f" {_span_text(gate.retry_after)}{_room_text(gate.largest)}"
        )


def _pace_text(gate: Gate) -> str:
    rate = gate.drain_per_minute
    if gate.standstill > timedelta(0):
        return f"every run that they belong to is paused for {_span_text(gate.standstill)}"
    if rate <= 0:
        return "none was done within the last five minutes"
    minutes = (gate.depth - gate.marks.low) / rate
    pace = f"{rate:,.1f} a minute are done"
    is_long = minutes > LONGEST_WAIT / timedelta(minutes=1)
    return f"{pace}, which takes about {math.ceil(minutes / 60):,} hours at that rate" if is_long else pace


def _room_text(largest: LargestRun | None) -> str:
    if largest is None:
        return ""
    return f"; or pause or cancel run {largest.id}, the largest one with {largest.open_items:,} open items"


def _span_text(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} minutes" if seconds <= 7200 else f"{math.ceil(seconds / 3600)} hours"


# Pictures

WORST_PICTURE = 400 * 1024 * 1024
"""Bytes that one picture may take while it is in work: the 370 MB of the worst that is let in (`covers.py`), its file, and its sizes."""
DISK_BAND = 1.25
"""Room on a disk that was short is enough again with a quarter more than the reserve."""
SLOW_BAND = 2.0
"""Below twice the reserve pictures are stored one after the other: the disk is seen to fill up before it is full."""


def is_disk_short(free: int, reserve: int, *, was_short: bool) -> bool:
    """Whether nothing more may be stored, with so many bytes free; a reserve of 0 never stops anything."""
    return free < reserve or (was_short and free < DISK_BAND * reserve)


def pictures_at_once(
    most: int, *, memory: int | None, disk: int | None, reserve: int, was_short: bool
) -> int:
    """How many pictures may be in work in one process, `most` at most: 0 while the disk is short, otherwise at least 1.

    `memory` and `disk` are what is free of each, in bytes; None where nobody can tell, or, of the disk, where covers lie elsewhere.
    """
    if disk is not None and is_disk_short(disk, reserve, was_short=was_short):
        return 0
    if disk is not None and disk < SLOW_BAND * reserve:
        return 1
    return most if memory is None else max(1, min(most, memory // WORST_PICTURE))
