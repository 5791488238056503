"""Another program spends the same subscription without asking: seen by the next call or the next count, and never too much in total."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest

from alexandria.domain.errors import QuotaExhausted
from alexandria.domain.quota import Lane
from alexandria.domain.quota_status import Status
from alexandria.domain.reconciling import Reconciliation
from alexandria.sandbox.accounts import Key
from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from end_to_end.spending import (
    KEY,
    ShiftedClock,
    Spender,
    an_isbn,
    noon_if_near_midnight,
    policy_of,
    running_spender,
    until,
)

LIMIT = 200
OTHER_KEY = "another program's key"
WORLD = World.invent(seed=3, authors=5, works_per_top_author=2)


@pytest.fixture(params=["two_lines", "absent"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """One subscription with two keys, ours and the other program's; with and without the headers that tell what is left."""
    switches = Switches(rate_q=100_000).changed({"headers.layout": request.param})
    clock = ShiftedClock(noon_if_near_midnight())
    keys = {key: Key(subscription="shared") for key in (KEY, OTHER_KEY)}
    async with running_sandbox(WORLD, switches=switches, keys=keys, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def spender(database_url: str, sandbox: Sandbox) -> AsyncIterator[Spender]:
    async with running_spender(
        database_url, sandbox.url, policy_of(LIMIT), ahead=noon_if_near_midnight()
    ) as spender:
        yield spender


async def spend(spender: Spender) -> None:
    """One page, for one unit."""
    await spender.isbndb.author_page("Nobody", 1, lane=Lane.INTERACTIVE, consumer="lookup")


async def spend_all(spender: Spender) -> None:
    """Pages, on several tasks, until nothing is left."""

    async def until_exhausted() -> None:
        with suppress(QuotaExhausted):
            while True:  # ends: each call takes a unit
                await spend(spender)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(until_exhausted())


async def status_of(spender: Spender) -> Status:
    return await spender.quota.status(spender.isbndb.source.account, policy_of(LIMIT))


async def notice(spender: Spender, sandbox: Sandbox) -> None:
    """What it takes to see somebody else's use: one call, or where its answer doesn't tell, one look at the provider's count."""
    if sandbox.switches.headers_layout == "absent":
        await recount(spender)
    else:
        await spend(spender)


async def recount(spender: Spender) -> Reconciliation:
    """A look at the provider's count, as soon as one may be taken: it was asked within the last second, it may be."""
    async with asyncio.timeout(20):
        while True:
            if reconciliation := await spender.gateway.recount(spender.isbndb.source):
                return reconciliation
            await asyncio.sleep(0.05)


async def spend_with_the_other_key(sandbox: Sandbox, calls: int) -> None:
    """The other program: requests of its own, that ask nobody."""
    async with aiohttp.ClientSession(headers={"Authorization": OTHER_KEY}) as session:
        for _ in range(calls):
            async with session.get(f"{sandbox.url}/author/Somebody") as response:
                assert response.status == 200
                await response.read()


async def test_what_another_program_spends_at_once_is_noticed_and_told_as_foreign(
    spender: Spender, sandbox: Sandbox
) -> None:
    for _ in range(10):
        await spend(spender)
    sandbox.spend_elsewhere(100, KEY)
    await notice(spender, sandbox)
    status = await status_of(spender)
    assert (status.used, status.foreign) == (sandbox.spent_by_subscription(KEY), 100)

    await spend_all(spender)
    status = await status_of(spender)
    assert (status.used, status.foreign, status.remaining) == (LIMIT, 100, 0)
    assert sandbox.spent_by_subscription(KEY) == LIMIT
    assert await spender.quota.verify() == []


async def test_two_programs_at_once_end_the_day_at_the_limit_together(
    spender: Spender, sandbox: Sandbox, database_url: str
) -> None:
    async def ours() -> None:
        for _ in range(25):
            await spend(spender)

    async with asyncio.TaskGroup() as group:
        group.create_task(spend_with_the_other_key(sandbox, 75))
        for _ in range(3):
            group.create_task(ours())
    assert sandbox.spent_by_subscription(KEY) == 150
    await notice(spender, sandbox)
    status = await status_of(spender)
    assert (status.used, status.foreign) == (sandbox.spent_by_subscription(KEY), 75)

    # A second process of ours knows it too.
    ahead = noon_if_near_midnight()
    async with (
        running_spender(database_url, sandbox.url, policy_of(LIMIT), ahead=ahead) as second,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(spend_all(spender))
        group.create_task(spend_all(second))
    assert sandbox.spent_by_subscription(KEY) == LIMIT
    assert sandbox.spent(OTHER_KEY) == 75
    status = await status_of(spender)
    assert (status.used, status.foreign) == (LIMIT, 75)
    assert await spender.quota.verify() == []


async def test_what_another_program_takes_between_the_last_calls_is_left_to_it(
    spender: Spender, sandbox: Sandbox
) -> None:
    sandbox.spend_elsewhere(LIMIT - 40, KEY)
    for _ in range(10):
        await spend(spender)
        await spend_with_the_other_key(sandbox, 1)
    await notice(spender, sandbox)
    await spend_all(spender)
    assert sandbox.spent_by_subscription(KEY) == LIMIT
    status = await status_of(spender)
    assert (status.used, status.foreign) == (LIMIT, LIMIT - 30)
    assert await spender.quota.verify() == []


@pytest.mark.parametrize("sandbox", ["two_lines"], indirect=True)
async def test_what_another_program_spends_behind_a_call_on_its_way_is_not_spent_again(
    spender: Spender, sandbox: Sandbox
) -> None:
    sandbox.spend_elsewhere(LIMIT - 51, KEY)
    await spend(spender)
    sandbox.faults.add(FaultKind.LATENCY, endpoint="bulk", seconds=1.0)
    chance = random.Random(1)  # noqa: S311  # no secret
    wanted = [an_isbn(chance) for _ in range(40)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        # By our count there are fifty units left, and no answer has told yet that ten are gone.
        sandbox.spend_elsewhere(10, KEY)
        batch = group.create_task(spender.isbndb.books(wanted, lane=Lane.BULK, consumer="batch"))
        await until(lambda: sandbox.spent(KEY) == 41)
        with pytest.raises(QuotaExhausted):
            await spend(spender)
    assert batch.result().failure is None
    assert sandbox.spent_by_subscription(KEY) == LIMIT


async def test_when_another_program_has_spent_it_all_nothing_more_is_sent(
    spender: Spender, sandbox: Sandbox
) -> None:
    for _ in range(10):
        await spend(spender)
    sandbox.spend_elsewhere(LIMIT, KEY)
    await notice(spender, sandbox)
    spent = sandbox.spent(KEY)
    assert spent <= 11, "the one call that showed it"
    with pytest.raises(QuotaExhausted):
        await spend(spender)
    status = await status_of(spender)
    assert (sandbox.spent(KEY), status.foreign, status.can_make_calls) == (spent, LIMIT, False)
    assert await spender.quota.verify() == []
