"""What tests of harvests share: an application over a sandbox, and what it did there."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import cache

from alexandria import config, harvest
from alexandria.app import App, running_app
from alexandria.clock import Clock
from alexandria.domain.isbn import Isbn
from alexandria.domain.plans import Plan
from alexandria.domain.quota import Lane
from alexandria.harvest import Outcome
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.harvests import HarvestStore, Item, Progress, Run
from end_to_end.spending import ShiftedClock, noon_if_near_midnight

FAST = Switches(rate_q=100_000, book_dirt="off")


@cache
def daytime() -> Clock | None:
    """The clock of a test that is about one day, for sandbox and application alike: near midnight one that shows noon.

    None, the machine's clocks, at most times. Decided once, so that all of a test agree.
    """
    ahead = noon_if_near_midnight()
    return ShiftedClock(ahead) if ahead else None


@asynccontextmanager
async def sandbox_of(
    world: World, *, switches: Switches = FAST, clock: Clock | None = None
) -> AsyncIterator[Sandbox]:
    """A sandbox whose day does not end during a test that did not bring a clock."""
    async with running_sandbox(world, switches=switches, clock=clock or daytime()) as sandbox:
        yield sandbox


@asynccontextmanager
async def app_on(environment: Mapping[str, str], *, clock: Clock | None = None) -> AsyncIterator[App]:
    """An application with these settings."""
    settings = config.load(environment)
    assert settings.database_url
    async with running_app(settings, settings.database_url, clock=clock or daytime()) as app:
        yield app


async def start(app: App, plan: Plan, *, lane: Lane = Lane.BULK, **parameters: object) -> str:
    """Write a run down."""
    async with app.database.transaction() as connection:
        return await harvest.start_run(
            connection, plan, lane=lane, now=app.clock.now(), parameters=parameters
        )


async def take_all(app: App, run_id: str) -> list[Outcome]:
    """Take every open item of a run once, in this process, one after the other, and those that come to it meanwhile."""
    outcomes: list[Outcome] = []
    taken: set[int] = set()
    while waiting := [each for each in await items_of(app, run_id) if each.position not in taken]:
        for item in waiting:
            outcomes.append(await app.harvester.take(run_id, item.position))
            taken.add(item.position)
    return outcomes


async def items_of(app: App, run_id: str) -> list[Item]:
    """A run's items."""
    async with app.database.connection() as connection:
        return await HarvestStore(connection).list_items(run_id, limit=1000)


async def run_of(app: App, run_id: str) -> tuple[Run, Progress]:
    """A run and how far it has come."""
    async with app.database.connection() as connection:
        return await harvest.get_run(connection, run_id), await HarvestStore(connection).get_progress(run_id)


def listed_isbns(world: World) -> list[Isbn]:
    """ISBNs that the sandbox knows, in order; none that books share."""
    return sorted({each.isbn for each in world.listed if each.isbn and not each.isbn.is_reserved})


def unknown_isbns(world: World, count: int) -> list[Isbn]:
    """Valid ISBNs that the sandbox does not know."""
    known = set(map(str, listed_isbns(world)))
    bodies = (f"97815{number:07d}" for number in range(10**7))
    found = (Isbn.parse(body + _check_digit(body)) for body in bodies)
    return [
        each
        for _, each in zip(range(count), (isbn for isbn in found if str(isbn) not in known), strict=False)
    ]


def many_isbns(count: int) -> list[Isbn]:
    """So many valid ISBNs, in order."""
    bodies = (f"97910{number:07d}" for number in range(count))
    return [Isbn.parse(body + _check_digit(body)) for body in bodies]


def _check_digit(body: str) -> str:
    """ISO 2108: weights 1 and 3 in turn."""
    return str(-sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(body)) % 10)


def minutes(now: datetime, count: float) -> datetime:
    """So many minutes later."""
    return now + timedelta(minutes=count)


def every(isbns: Iterable[Isbn]) -> list[str]:
    """As texts."""
    return [str(each) for each in isbns]
