"""Programs that spend one key's units through the coordinator, wired as `app.py` wires them.

Run as a program this file is a crowd of processes that do so under fire: every now and then one of them is killed and replaced. It
ends when its standard input is closed. Each line that it writes says how one call ended.
"""

import asyncio
import json
import logging
import os
import random
import select
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from alexandria.clock import Clock, SystemClock
from alexandria.domain.errors import ProviderError, QuotaDenied, StoreUnavailable
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Lane, Policy
from alexandria.providers.gateway import Gateway
from alexandria.providers.isbndb import PROVIDER, IsbndbProvider
from alexandria.providers.policies import POLICIES
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore

KEY = "sandbox-key"


class ShiftedClock(SystemClock):
    """The machine's clock, so much ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


def noon_if_near_midnight() -> timedelta:
    """What to add to every clock, so that a test that is about one day doesn't see it end; nothing at most times."""
    return timedelta(hours=12 if datetime.now(UTC).hour in {22, 23, 0} else 0)


def policy_of(safe_limit: int, *, requests_per_minute: int = 60_000, floor_percent: int = 0) -> Policy:
    """A Premium key's policy, of which only so many units may be spent, but fast."""
    floor = safe_limit * floor_percent // 100
    return replace(
        POLICIES[PROVIDER],
        safe_limit=safe_limit,
        requests_per_window=requests_per_minute,
        floors={Lane.INTERACTIVE: floor, Lane.SCHEDULED: floor},
    )


@dataclass(frozen=True, slots=True)
class Spender:
    """One program's own coordinator, gateway and provider."""

    database: Database
    quota: QuotaStore
    gateway: Gateway
    isbndb: IsbndbProvider


@asynccontextmanager
async def running_spender(
    database_url: str,
    sandbox_url: str,
    policy: Policy,
    *,
    ahead: timedelta = timedelta(0),
    most_connections: int = 4,
    timeout_seconds: float = 10.0,
) -> AsyncIterator[Spender]:
    """A program of its own; `ahead` of this machine's clock, else on the database's."""
    clock: Clock | None = ShiftedClock(ahead) if ahead else None
    async with Database.open(
        database_url, most_connections=most_connections, timeout_seconds=timeout_seconds
    ) as database:
        quota = QuotaStore(database, clock, timeout_seconds=timeout_seconds)
        async with Gateway(quota, clock or SystemClock()) as gateway:
            isbndb = IsbndbProvider(gateway, base_url=sandbox_url, key=KEY, policy=policy)
            yield Spender(database, quota, gateway, isbndb)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what comes by itself; the caller bounds it."""
    while True:
        if is_so():
            return
        await asyncio.sleep(0.02)


# A crowd under fire

MOST_BULK = 12
"""ISBNs in one of its lists."""

_CALLS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Crowd:
    """What the crowd is to do."""

    database_url: str
    sandbox_url: str
    safe_limit: int
    requests_per_minute: int
    processes: int
    ahead_seconds: float
    seed: int
    seconds_between_kills: float | None
    """On average; None: all is calm, nobody is killed, and nobody loses patience."""

    @property
    def policy(self) -> Policy:
        """What everybody in it keeps to."""
        return policy_of(self.safe_limit, requests_per_minute=self.requests_per_minute, floor_percent=5)

    def as_argument(self) -> str:
        """What `main` reads."""
        return json.dumps(asdict(self))


def tell(word: str) -> None:
    """One write, shorter than a pipe's buffer: lines of several processes do not mix."""
    os.write(1, f"{word}\n".encode())


async def ask(isbndb: IsbndbProvider, chance: random.Random, *, is_calm: bool) -> None:
    """A call of some kind, on some lane: pages, lists, and single books unless calm: what a book that is not there costs is unclear."""
    lane, draw = chance.choice(list(Lane)), chance.random()
    consumer = f"{lane}-work"
    if draw < 0.15 and not is_calm:
        await isbndb.book(an_isbn(chance), lane=lane, consumer=consumer)
    elif draw < 0.75:
        await isbndb.author_page(f"Author {chance.randrange(10**6)}", 1, lane=lane, consumer=consumer)
    else:
        wanted = [an_isbn(chance) for _ in range(chance.randint(2, MOST_BULK))]
        batch = await isbndb.books(wanted, lane=lane, consumer=consumer)
        if batch.failure is not None:
            raise batch.failure


def an_isbn(chance: random.Random) -> Isbn:
    """Well-formed; whether any book has it does not matter to its price."""
    body = f"9781{chance.randrange(10**8):08d}"
    check = -sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(body)) % 10
    return Isbn.parse(f"{body}{check}")


async def ask_again_and_again(isbndb: IsbndbProvider, chance: random.Random, *, is_calm: bool) -> None:
    """Ask until we are stopped; unless calm, one caller in ten loses patience, wherever its call may be by then."""
    while True:  # ends: the process is killed, or its task cancelled
        try:
            async with asyncio.timeout(30 if is_calm or chance.random() < 0.9 else chance.uniform(0, 0.1)):
                await ask(isbndb, chance, is_calm=is_calm)
            word = "answered"
        except TimeoutError:
            word = "abandoned"
        except QuotaDenied as denial:
            word = str(denial.reason)
        except StoreUnavailable:
            word = "unavailable"
        except ProviderError:
            word = "failed"
        tell(word)
        if word != "answered":
            await asyncio.sleep(0.05)


async def spend(crowd: Crowd, seed: int) -> None:
    """One process of the crowd: until SIGTERM, or SIGKILL."""
    chance = random.Random(seed)  # noqa: S311  # reproducible on purpose
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _this_task().cancel)
    ahead = timedelta(seconds=crowd.ahead_seconds)
    while True:  # ends: the signal cancels it
        try:
            async with (
                running_spender(crowd.database_url, crowd.sandbox_url, crowd.policy, ahead=ahead) as spender,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(_CALLS_AT_ONCE):
                    group.create_task(
                        ask_again_and_again(
                            spender.isbndb, chance, is_calm=crowd.seconds_between_kills is None
                        )
                    )
        except StoreUnavailable:
            tell("unavailable")


def _this_task() -> "asyncio.Task[object]":
    task = asyncio.current_task()
    assert task is not None
    return task


def born(crowd: Crowd, seed: int) -> int:
    """Fork one process of the crowd: everything is imported already, which takes longer than all else."""
    if child := os.fork():
        return child
    status = 1
    try:
        asyncio.run(spend(crowd, seed))
    except asyncio.CancelledError:
        status = 0
    except BaseException:  # noqa: BLE001  # whatever it is, it must be told and no handler of the parent's may run
        tell(f"escaped {json.dumps(traceback.format_exc()[-1500:])}")
    finally:
        os._exit(status)


def main(crowd: Crowd) -> None:
    """Keep so many processes alive, killing one after the other, until standard input ends; then let them end by themselves."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    chance = random.Random(crowd.seed)  # noqa: S311  # reproducible on purpose
    children = [born(crowd, chance.randrange(2**32)) for _ in range(crowd.processes)]
    span = crowd.seconds_between_kills
    while not select.select([0], [], [], chance.expovariate(1 / span) if span else None)[0]:
        victim = children.pop(chance.randrange(len(children)))
        os.kill(victim, signal.SIGKILL)
        _, status = os.waitpid(victim, 0)
        tell("killed" if os.WIFSIGNALED(status) else "ended")
        children.append(born(crowd, chance.randrange(2**32)))
    for child in children:
        os.kill(child, signal.SIGTERM)
    for child in children:
        os.waitpid(child, 0)


def read_crowd(argument: str) -> Crowd:
    """The other side of `Crowd.as_argument`."""
    members: Mapping[str, object] = json.loads(argument)
    return Crowd(**members)  # type: ignore[arg-type]  # our own JSON


if __name__ == "__main__":
    main(read_crowd(sys.argv[1]))
