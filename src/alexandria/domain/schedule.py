"""The schedule: what is harvested by the clock, and which of its slots are due.

Expressions are read as Debian's cron reads them. Where a time zone's clocks change:

* an hour field of `*` counts time as it passes: `*/5 * * * *` comes every five minutes, through gaps and repeated hours;
* any other names times on the clock. A time that is skipped comes at the end of the gap, once however many times lie in it; a time
  that is repeated comes the first time only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum, auto
from typing import Any, Self

from cronsim import CronSim, CronSimError

from alexandria.domain.quota import Lane

GRACE = timedelta(minutes=10)
"""How late a slot may be under the policy `skip`: longer than a restart or an update of the program takes."""

MOST_COUNTED = 1000
"""Missed slots beyond so many are not counted: three and a half days of every five minutes."""

CLOCK_DOUBT = timedelta(days=1)
"""A slot that was dealt with so far ahead of the clock was so by a clock that was wrong: no machine is a day ahead of another."""

_ANY_TIME = datetime(2000, 1, 1)  # noqa: DTZ001 - a time on the clock, not a moment


class Missed(StrEnum):
    """What becomes of slots that passed while nobody was at work."""

    ONCE = auto()
    """One firing for all of them, as soon as somebody is."""
    SKIP = auto()
    """None, unless the last of them is not older than `GRACE`."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression of five fields: minute, hour, day of month, month, day of week."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an expression. Raises ValueError with what is wrong about it."""
        if len(text.split()) != 5:
            raise ValueError("must have five fields: minute, hour, day of month, month, day of week")
        try:
            never_comes = next(CronSim(text, _ANY_TIME), None) is None
        except CronSimError as error:
            raise ValueError(f"is no cron expression: {str(error).lower()}") from None
        if never_comes:
            raise ValueError("names a day that never comes")
        return cls(" ".join(text.split()))

    def next_slot(self, after: datetime, zone: tzinfo) -> datetime:
        """The first slot later than `after`, UTC."""
        return next(
            slot
            for each in CronSim(self.text, self._on_the_clock(after, zone))
            if (slot := _moment(each, zone)) > after
        )

    def last_slot(self, until: datetime, zone: tzinfo) -> datetime:
        """The last slot that is not later than `until`, UTC."""
        beyond = until.replace(microsecond=0) + timedelta(seconds=1)
        slot = _moment(next(CronSim(self.text, self._on_the_clock(beyond, zone), reverse=True)), zone)
        # Looking back takes a repeated time for its first occurrence: at most an hour's slots are left to walk.
        while (following := self.next_slot(slot, zone)) <= until:
            slot = following
        return slot

    def _on_the_clock(self, moment: datetime, zone: tzinfo) -> datetime:
        local = moment.astimezone(zone)
        # Without a zone the library knows of no change of the clocks, and `_moment` decides.
        return local if self.text.split()[1] == "*" else local.replace(tzinfo=None, fold=0)


def _moment(time: datetime, zone: tzinfo) -> datetime:
    """The moment of a time on the clock, UTC: its first occurrence, or the end of the gap that it lies in."""
    if time.tzinfo is not None:
        return time.astimezone(UTC)
    while (moment := time.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != time:
        time += timedelta(minutes=1)
    return moment


@dataclass(frozen=True, slots=True)
class Due:
    """A slot whose time has come."""

    slot: datetime
    missed: int
    """Earlier slots that nobody dealt with, `MOST_COUNTED` at most: this one stands for them too."""
    is_too_late: bool
    """By the entry's policy it is not fired any more, only noted."""


@dataclass(frozen=True)
class Entry:
    """One line of the schedule."""

    name: str
    cron: Cron
    zone: tzinfo
    harvester: str
    lane: Lane
    parameters: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    missed: Missed = Missed.ONCE

    def next_slot(self, after: datetime) -> datetime:
        """The first slot later than `after`, UTC."""
        return self.cron.next_slot(after, self.zone)

    def due(self, handled_until: datetime, now: datetime) -> Due | None:
        """The slot to deal with now, None when every one up to `now` is. Never one that is not later than `handled_until`.

        Whoever deals with it moves `handled_until` to it. So each slot is dealt with once, in order, alone or by a later one.
        """
        slot = self.cron.last_slot(now, self.zone)
        if slot <= handled_until:
            return None
        is_too_late = self.missed is Missed.SKIP and now - slot > GRACE
        return Due(slot, self._count_between(handled_until, slot), is_too_late)

    def _count_between(self, after: datetime, before: datetime) -> int:
        count, slot = 0, self.next_slot(after)
        while slot < before and count < MOST_COUNTED:
            count, slot = count + 1, self.next_slot(slot)
        return count
