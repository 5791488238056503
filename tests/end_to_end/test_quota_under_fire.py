"""Sixteen processes spend one day's units while processes and the database are killed: never too much, and in the end exactly all.

`make soak` does the same for minutes. The seed is told; `--soak-seed` repeats its kills (what they hit depends on the machine).
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from alexandria.domain.pacing import spacing_of
from alexandria.domain.quota import ARRIVAL_SPAN, Account, Policy
from alexandria.domain.quota_status import Status
from alexandria.providers.isbndb import PROVIDER
from alexandria.sandbox.faults import Fault, FaultKind
from alexandria.sandbox.received import ReceivedCall
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database, migrate
from alexandria.stores.quota import QuotaStore
from end_to_end.conftest import FragileServer
from end_to_end.spending import (
    KEY,
    MOST_BULK,
    Crowd,
    ShiftedClock,
    Spender,
    noon_if_near_midnight,
    running_spender,
    until,
)

log = structlog.get_logger()

UNITS_PER_SECOND = 80
"""Of the limit: so few that it is met soon after the fire was to end; a slow machine gets longer."""
REQUESTS_PER_MINUTE = 9_000
WORLD = World.invent(seed=3, authors=10, works_per_top_author=2)
FAULTS = (
    *(Fault(kind=kind, rate=0.02) for kind in (FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER)),
    *(Fault(kind=kind, rate=0.02) for kind in (FaultKind.ERROR_500, FaultKind.CUT_BODY)),
    Fault(kind=FaultKind.TRUNCATED_JSON, rate=0.01),
    Fault(kind=FaultKind.LATENCY, rate=0.05, seconds=0.2),
)


@asynccontextmanager
async def running_crowd(crowd: Crowd) -> AsyncIterator[asyncio.subprocess.Process]:
    """The crowd's processes; none of them outlives the block."""
    program = Path(__file__).with_name("spending.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        crowd.as_argument(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def status_of(server: FragileServer, crowd: Crowd) -> Status:
    """How the account stands, as a process that has just begun sees it."""
    clock = ShiftedClock(timedelta(seconds=crowd.ahead_seconds)) if crowd.ahead_seconds else None
    async with Database.open(server.url, most_connections=1) as database:
        return await QuotaStore(database, clock).status(Account.of(PROVIDER, KEY), crowd.policy)


def has_met_limit(status: Status) -> bool:
    """Whether the last units are reached: what is on its way, or was lost on it, has to fit twice (`reserving.py`)."""
    return status.used + status.state.units_in_flight + MOST_BULK >= status.limit


async def tally(lines: asyncio.StreamReader, words: Counter[str]) -> None:
    """Count how the crowd's calls end, until all of it has ended."""
    async for line in lines:
        word, _, told = line.decode().strip().partition(" ")
        words[word] += 1
        if told:
            log.error("fire.escaped", told=told)


async def see_spending(
    crowd: Crowd, server: FragileServer, sandbox: Sandbox, *, more_than: int, most_seconds: float
) -> Status:
    """Look on until so many units are charged, or the limit is met, or for so long; what is seen must always be true."""
    until_then = time.monotonic() + most_seconds
    while True:  # ends: at the latest with the time
        counted, status = sandbox.spent(), await status_of(server, crowd)
        assert counted <= status.used, "a call was sent before it was charged"
        assert counted <= crowd.safe_limit
        if status.used > more_than or has_met_limit(status) or time.monotonic() > until_then:
            return status
        await asyncio.sleep(0.5)


async def set_on_fire(
    crowd: Crowd, server: FragileServer, sandbox: Sandbox, *, seconds: float
) -> Counter[str]:
    """Let the crowd spend and crash the database, for so long and until the limit is met. Returns how often what happened.

    Between two crashes it gets on by some units, however slow the machine is: so the limit is met in the end.
    """
    chance = random.Random(crowd.seed)  # noqa: S311  # reproducible on purpose
    words: Counter[str] = Counter()
    is_met = False
    async with running_crowd(crowd) as process, asyncio.TaskGroup() as group:
        assert process.stdin is not None
        assert process.stdout is not None
        telling = group.create_task(tally(process.stdout, words))
        began, charged = time.monotonic(), 0
        while (span := time.monotonic() - began) < seconds or (not is_met and span < 10 * seconds):
            await asyncio.sleep(chance.uniform(1, 2))
            more = chance.randint(UNITS_PER_SECOND, 3 * UNITS_PER_SECOND)
            status = await see_spending(crowd, server, sandbox, more_than=charged + more, most_seconds=10)
            is_met, charged = has_met_limit(status), status.used
            log.info("fire.seen", seconds=round(span), charged=charged, counted=sandbox.spent(), **words)
            await asyncio.to_thread(server.crash)
            words["crashed"] += 1
        process.stdin.close()
        # Long enough for a machine that has other tests to run: each may wait out the database's last crash.
        async with asyncio.timeout(90):
            await telling
            assert await process.wait() == 0
    assert is_met, "the limit was not met"
    return words


def most_within(calls: list[ReceivedCall], span: timedelta) -> int:
    """The most requests that arrived in any span so long."""
    most, first = 0, 0
    for last, call in enumerate(calls):
        while call.at - calls[first].at > span:
            first += 1
        most = max(most, last - first + 1)
    return most


def most_sent_within(span: timedelta, policy: Policy) -> int:
    """The most that the pace lets be sent in a span so long (proof: `pacing.spacing_of`)."""
    return int((span + policy.fence_span) / spacing_of(policy.rate, policy.fence_span)) + 1


async def spend_the_rest(crowd: Crowd) -> None:
    """Let the crowd spend, unharmed, until each of its processes was told that nothing is left."""
    words: Counter[str] = Counter()
    async with running_crowd(crowd) as process, asyncio.TaskGroup() as group, asyncio.timeout(60):
        assert process.stdin is not None
        assert process.stdout is not None
        telling = group.create_task(tally(process.stdout, words))
        await until(lambda: words["exhausted"] >= 3 * crowd.processes or telling.done())
        process.stdin.close()
        await telling
    assert not words["escaped"]


async def slots_too_close(spender: Spender, policy: Policy) -> int:
    """How many reservations were given a slot too close to the one before, whichever processes they belonged to."""
    query = (
        "SELECT count(*) FROM (SELECT not_before - lag(not_before) OVER (ORDER BY not_before) AS span"
        " FROM quota_reservations) AS slot WHERE span < %s"
    )
    async with spender.database.connection() as connection:
        cursor = await connection.execute(query, [spacing_of(policy.rate, policy.fence_span)])
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def units_of(spender: Spender, kind: str) -> int:
    """The sum of one kind of entries in the ledger."""
    async with spender.database.connection() as connection:
        cursor = await connection.execute("SELECT sum(units)::int FROM quota_ledger WHERE kind = %s", [kind])
        row = await cursor.fetchone()
    return int(row[0] or 0) if row else 0


@pytest.mark.timeout(0)  # each of its waits has its own, and a slow machine gets longer
async def test_sixteen_processes_under_fire_spend_a_day_to_its_limit_and_no_further(
    fragile_server: FragileServer, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seconds: float = pytestconfig.getoption("soak_seconds")
    seed: int = pytestconfig.getoption("soak_seed") or random.SystemRandom().randrange(10**6)
    ahead, journal = noon_if_near_midnight(), tmp_path / "journal"
    limit = int(UNITS_PER_SECOND * seconds)
    assert limit <= 15_000, "a Premium day has no more units: soak for at most 180 s"
    async with Database.open(fragile_server.url) as database:
        await migrate(database)
    switches = Switches(rate_q=REQUESTS_PER_MINUTE, faults=FAULTS)
    async with running_sandbox(
        WORLD, switches=switches, clock=ShiftedClock(ahead), journal=journal
    ) as sandbox:
        crowd = Crowd(
            database_url=fragile_server.url,
            sandbox_url=sandbox.url,
            safe_limit=limit,
            requests_per_minute=REQUESTS_PER_MINUTE,
            processes=16,
            ahead_seconds=ahead.total_seconds(),
            seed=seed,
            seconds_between_kills=0.6,
        )
        words = await set_on_fire(crowd, fragile_server, sandbox, seconds=seconds)
        counted, arrived = sandbox.spent(), sandbox.calls
        log.info("fire.ended", seed=seed, limit=limit, counted=counted, calls=len(arrived), **words)
        assert not words["escaped"], "an error that nobody is told about"
        assert words["killed"] > seconds
        assert counted <= limit
        assert not [status for _, status in sandbox.counts if status == 429]
        span = timedelta(seconds=10)
        assert most_within(arrived, span) <= most_sent_within(span, crowd.policy)

    # What was on its way has arrived: the sandbox has closed its connections. So the time in which it could is let pass.
    later = ahead + ARRIVAL_SPAN + timedelta(minutes=2)
    switches = Switches(rate_q=REQUESTS_PER_MINUTE)
    async with (
        running_sandbox(WORLD, switches=switches, clock=ShiftedClock(later), journal=journal) as sandbox,
        running_spender(fragile_server.url, sandbox.url, crowd.policy, ahead=later) as spender,
    ):
        counted = sandbox.spent()
        assert counted <= (await status_of(fragile_server, crowd)).used
        assert await spender.quota.verify() == []
        while await spender.quota.expire():  # ends: it takes up what is left of what nobody settled
            pass
        reconciliation = await spender.gateway.recount(spender.isbndb.source)
        assert reconciliation is not None
        log.info("fire.counted", charged=reconciliation.before, reconciled=reconciliation.after)
        assert reconciliation.after == counted == sandbox.spent()
        assert await spender.quota.verify() == []

        assert await slots_too_close(spender, crowd.policy) == 0
        calm = replace(crowd, sandbox_url=sandbox.url, ahead_seconds=later.total_seconds())
        await spend_the_rest(replace(calm, seconds_between_kills=None))

        assert sandbox.spent() == limit
        assert (await status_of(fragile_server, crowd)).used == limit
        assert await units_of(spender, "foreign") == 0, "somebody sent what was not charged"
        assert await spender.quota.verify() == []
