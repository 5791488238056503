"""The outlook: what is going to be asked, what that should bring, and how good earlier expectations have been."""

import math
from dataclasses import dataclass
from datetime import datetime

from alexandria.domain.plans import OutlookLine, finishes_at
from alexandria.domain.quota import Lane
from alexandria.domain.quota_status import Status
from alexandria.domain.targets import TargetKind
from alexandria.domain.yields import Experience, Yields
from alexandria.planning import EXPERIENCE, MOST_PAGES, read_experiences
from alexandria.providers.isbndb import PAGE_SIZE
from alexandria.stores.harvests import Backlog, HarvestStore
from alexandria.stores.postgres import Connection


async def read_backlog(connection: Connection) -> list[Backlog]:
    """What open runs still need."""
    return await HarvestStore(connection).list_backlog(page_size=PAGE_SIZE, most_pages=MOST_PAGES)


@dataclass(frozen=True)
class Outlook:
    """What is going to be asked, in the order of what a unit buys, and how good expectations have been."""

    lines: tuple[OutlookLine, ...]
    yields: Yields
    experiences: tuple[Experience, ...]

    @property
    def units(self) -> int:
        """Units that all of it needs."""
        return math.ceil(sum(each.units for each in self.lines))

    @property
    def calls(self) -> int:
        """Requests that all of it takes."""
        return math.ceil(sum(each.calls for each in self.lines))

    @property
    def editions_expected(self) -> int:
        """New editions that it is expected to bring."""
        return round(sum(each.editions_expected for each in self.lines))

    def finishes_at(self, status: Status, now: datetime) -> datetime | None:
        """When all of it is through if nothing else is asked; None when nothing may ever be spent."""
        return time_to_finish(status, now, units=self.units, calls=self.calls)


def time_to_finish(status: Status, now: datetime, *, units: int, calls: int) -> datetime | None:
    """When so many calls for so many units are through, begun now; None when nothing may ever be spent."""
    return finishes_at(
        now,
        units=units,
        calls=calls,
        left_today=status.remaining,
        units_a_day=status.limit,
        rate=status.state.rate or status.policy.rate,
        resets_at=status.resets_at,
    )


async def read_outlook(connection: Connection, *, now: datetime) -> Outlook:
    """The backlog of all runs as one plan. Spends and changes nothing."""
    experiences = await read_experiences(connection, since=now - EXPERIENCE)
    yields = Yields.learnt(experiences)
    lines = [
        OutlookLine(
            each.run_id,
            each.kind,
            each.lane,
            each.state,
            TargetKind(each.target),
            each.items,
            each.units,
            each.items if each.target == TargetKind.ISBNS else each.units,
            each.editions_expected * yields.factors[TargetKind(each.target)],
        )
        for each in await read_backlog(connection)
    ]
    # Lanes come first, whatever they buy: somebody waits.
    lines.sort(key=lambda each: (list(Lane).index(Lane(each.lane)), -each.editions_per_unit, each.run))
    return Outlook(tuple(lines), yields, tuple(experiences))
