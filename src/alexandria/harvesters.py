"""What the schedule can start, by name: a new harvester is its parameters, a function, and one line of `STARTERS`."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from alexandria.config import Config
from alexandria.domain.backpressure import Backlogged
from alexandria.domain.errors import ConfigurationError, Conflict, FeedNotGranted
from alexandria.domain.plans import Plan
from alexandria.domain.quota import Lane
from alexandria.domain.schedule import Entry
from alexandria.harvest import start_run
from alexandria.planning import (
    MOST_PAGES,
    MOST_PEOPLE,
    MOST_UNITS,
    TIERS,
    plan_gaps,
    plan_missing_covers,
    plan_new_releases,
    plan_people,
    plan_tier,
    plan_updates,
)
from alexandria.schedule import Declined, Started
from alexandria.stores.covers import CoverStore
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Connection
from alexandria.stores.quota_reports import QuotaReports
from alexandria.stores.schedule import ScheduleStore

Parameters = TypeVar("Parameters", bound=msgspec.Struct)

Pages = Annotated[int, msgspec.Meta(ge=1, le=MOST_PAGES)]
Months = Annotated[int, msgspec.Meta(ge=0, le=11)]

_NO_KEY = "ALEXANDRIA_ISBNDB_KEY is not set, so nothing could be asked"


@dataclass(frozen=True)
class Order:
    """An entry's harvester is to start: in whose name, and with what."""

    connection: Connection
    """In the transaction that claims the slot."""
    entry: str
    lane: Lane
    now: datetime
    config: Config


@dataclass(frozen=True)
class Starter(Generic[Parameters]):
    """How a harvester is started: what it takes, checked when the program starts, and what writes its run down."""

    takes: type[Parameters]
    start: Callable[[Order, Parameters], Awaitable[Started | Declined]]

    def read(self, parameters: Mapping[str, Any]) -> Parameters:
        """Check parameters. Raises msgspec.ValidationError, which names the one that is wrong."""
        return msgspec.convert(parameters, self.takes)

    async def follow(self, order: Order, parameters: Mapping[str, Any]) -> Started | Declined:
        """Start with parameters as they are written."""
        return await self.start(order, self.read(parameters))


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Takes none."""


class Authors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tiers of authors, the most productive first, and pages of each author at most."""

    tier: str | list[str]
    max_pages: Pages = MOST_PAGES

    @property
    def tiers(self) -> list[str]:
        """One or several, in their order."""
        return [self.tier] if isinstance(self.tier, str) else self.tier

    def __post_init__(self) -> None:
        if not self.tiers or any(each not in TIERS for each in self.tiers):
            raise ValueError("tier must be one or several of " + ", ".join(TIERS))


class NewReleases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Months around the present one, by UTC; a page is not asked again for `fresh_hours`."""

    months_back: Months = 1
    months_ahead: Months = 0
    max_pages: Pages = 20
    fresh_hours: Annotated[int, msgspec.Meta(ge=0, le=24 * 3650)] = 20
    """Less than a day, so that a daily slot finds what the day before brought no longer fresh: a month goes on filling up."""


class Covers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Covers that were given up so long ago are tried again, at most so many."""

    again_after_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 7
    most: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100


class Units(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units to spend at most; what is left comes with the next slot."""

    max_units: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = MOST_UNITS


class People(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Authors to ask free sources about, at most so many at a slot."""

    most: Annotated[int, msgspec.Meta(ge=1, le=MOST_PEOPLE)] = 500


async def start_authors(order: Order, parameters: Authors) -> Started | Declined:
    """Harvest the tier that comes after the one harvested last, or the first after it with a page to ask for."""
    if not order.config.isbndb_key:
        return Declined(_NO_KEY)
    tiers = parameters.tiers
    last = await _last_tier(order)
    begin = tiers.index(last) + 1 if last in tiers else 0
    fresh_since = order.now - order.config.freshness
    for tier in [*tiers[begin:], *tiers[:begin]]:
        plan = await plan_tier(
            order.connection,
            tier,
            max_pages=parameters.max_pages,
            fresh_since=fresh_since,
            now=order.now,
        )
        if plan.units_expected:
            return await _start(order, plan, {"tier": tier})
    return Declined("nothing to ask for: there are no such authors, or all their pages are fresh")


async def _last_tier(order: Order) -> object:
    run_id = await ScheduleStore(order.connection).find_last_run(order.entry)
    run = await HarvestStore(order.connection).find_run(run_id) if run_id else None
    return run.parameters.get("tier") if run else None


async def start_new_releases(order: Order, parameters: NewReleases) -> Started | Declined:
    """Harvest what is published in the months around now."""
    if not order.config.isbndb_key:
        return Declined(_NO_KEY)
    now = order.now
    first, last = _month(now, -parameters.months_back), _month(now, parameters.months_ahead)
    plan = await plan_new_releases(
        order.connection,
        first,
        last,
        today=now,
        max_pages=parameters.max_pages,
        fresh_since=now - timedelta(hours=parameters.fresh_hours),
    )
    if not plan.units_expected:
        return Declined("nothing to ask for: the pages of all months are fresh")
    return await _start(order, plan, {"start_month": first, "end_month": last})


def _month(now: datetime, ahead: int) -> str:
    year, month = divmod(now.year * 12 + now.month - 1 + ahead, 12)
    return f"{year:04d}-{month + 1:02d}"


async def _start(order: Order, plan: Plan, parameters: Mapping[str, object]) -> Started | Declined:
    try:
        run_id = await start_run(
            order.connection,
            plan,
            lane=order.lane,
            now=order.now,
            parameters={**parameters, "schedule": order.entry},
            marks=order.config.marks,
        )
    except (Conflict, Backlogged) as refused:
        return Declined(str(refused))
    return Started(run_id, f"{len(plan.lines):,} targets, about {plan.units_expected:,} units")


async def start_covers(order: Order, parameters: Covers) -> Started:
    """Ask once more for covers that were given up. Those that are wanted or failed a moment ago wait for no slot: workers see to
    them every second."""
    covers = await CoverStore(order.connection).try_given_up_again(
        asked_before=order.now - timedelta(days=parameters.again_after_days),
        now=order.now,
        limit=parameters.most,
    )
    return Started(remark=f"{covers:,} covers that were given up are tried again")


async def start_updates(order: Order, parameters: Units) -> Started | Declined:
    """Read the update feed, for nothing, and ask again for what changed."""
    if not order.config.isbndb_key:
        return Declined(_NO_KEY)
    try:
        plan = await plan_updates(order.connection, now=order.now)
    except FeedNotGranted as error:
        return Declined(str(error))
    return await _start(order, plan, {"max_units": parameters.max_units})


async def start_gaps(order: Order, parameters: Units) -> Started | Declined:
    """Ask for pages of authors of whom there is more, then for editions that lack fields."""
    plan_them = partial(plan_gaps, max_pages=MOST_PAGES)
    return await _start_within(order, parameters, plan_them, "there are no gaps that may be asked for now")


async def start_missing_covers(order: Order, parameters: Units) -> Started | Declined:
    """Ask where the covers of editions are that have none."""
    return await _start_within(
        order, parameters, plan_missing_covers, "no edition without a cover may be asked for now"
    )


async def _start_within(
    order: Order, parameters: Units, plan_them: Callable[..., Awaitable[Plan]], nothing: str
) -> Started | Declined:
    if not order.config.isbndb_key:
        return Declined(_NO_KEY)
    fresh_since = order.now - order.config.freshness
    plan = await plan_them(
        order.connection, max_units=parameters.max_units, fresh_since=fresh_since, now=order.now
    )
    if not plan.units_expected:
        return Declined(nothing)
    return await _start(order, plan, {"max_units": parameters.max_units})


async def start_people(order: Order, parameters: People) -> Started | Declined:
    """Ask Open Library and Wikidata about authors; they serve only callers who name a contact."""
    if not order.config.contact:
        return Declined(
            "ALEXANDRIA_CONTACT is not set, and Open Library and Wikidata serve only callers that name one"
        )
    fresh_since = order.now - order.config.freshness
    plan = await plan_people(order.connection, most=parameters.most, fresh_since=fresh_since)
    return await _start(order, plan, {"people": parameters.most})


async def start_upkeep(order: Order, _: NoParameters) -> Started:
    """Make the daily upkeep due now. Without a slot it is once a day all the same, soon after midnight UTC."""
    await QuotaReports.ask_for_upkeep(order.connection)
    return Started(remark="workers are at it")


STARTERS: Mapping[str, Starter[Any]] = {
    "authors": Starter(Authors, start_authors),
    "new-releases": Starter(NewReleases, start_new_releases),
    "covers": Starter(Covers, start_covers),
    "missing-covers": Starter(Units, start_missing_covers),
    "updates": Starter(Units, start_updates),
    "gaps": Starter(Units, start_gaps),
    "people": Starter(People, start_people),
    "upkeep": Starter(NoParameters, start_upkeep),
}
"""Every harvester that an entry of the schedule may name."""


def check(entries: Iterable[Entry]) -> None:
    """Raises ConfigurationError, naming the table and the field, for an unknown harvester or parameters that it does not take."""
    for entry in entries:
        if entry.harvester not in STARTERS:
            raise ConfigurationError(
                f"[schedule.{entry.name}] harvester: {entry.harvester!r} is not one of " + ", ".join(STARTERS)
            )
        try:
            STARTERS[entry.harvester].read(entry.parameters)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"[schedule.{entry.name}] parameters: {error}") from None


async def start(config: Config, connection: Connection, entry: Entry, now: datetime) -> Started | Declined:
    """Start an entry's harvester within the caller's transaction; see `schedule.Start`."""
    order = Order(connection, entry.name, entry.lane, now, config)
    return await STARTERS[entry.harvester].follow(order, entry.parameters)
