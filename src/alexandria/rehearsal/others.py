"""Programs outside that spend the same key: one reserves over HTTP before each call, the other asks nobody.

Both are what anybody may write with the standard library and `client.py` (docs/outside-programs.md); only their clock is the
rehearsal's.
"""

import random
import time
from collections.abc import Iterator
from http.client import HTTPException
from urllib.parse import quote
from urllib.request import Request, urlopen

import msgspec

from alexandria.client import QuotaClient, QuotaRefused
from alexandria.clock import ScaledClock
from alexandria.rehearsal.scenario import KEY, OTHER_KEY, TOKEN, Orders
from alexandria.sandbox.world import World

_LONGEST_REST = 1800.0
"""Scaled seconds after which a refused program asks again, whatever it was told: a limit may have been raised."""
_TIMEOUT = 10.0


class Pace:
    """The rehearsal's clock as `client.py` uses one: it blocks."""

    def __init__(self, clock: ScaledClock) -> None:
        self._clock = clock

    def monotonic(self) -> float:
        """Scaled seconds."""
        return self._clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block for that many of them."""
        time.sleep(max(0.0, seconds) / self._clock.factor)


def ask_before_spending(orders: Orders) -> None:
    """Single pages at first, then lists of ISBNs until the day is spent, smaller ones when a large one no longer fits."""
    scenario, clock = orders.read_scenario(), orders.clock()
    pace, world = Pace(clock), scenario.invent_world()
    quota = QuotaClient(orders.server_url, TOKEN, timeout_seconds=_TIMEOUT, clock=pace)
    pages, isbns = _pages(orders, KEY, world, seed=1), _isbns(world)
    lists_from = scenario.at(scenario.lists_from)
    gap = (lists_from - scenario.begins_at) / max(1, scenario.single_units)
    most = scenario.list_units
    while True:  # ends with the process
        is_for_lists = clock.now() >= lists_from
        units = most if is_for_lists else 1
        call = _list(orders, [next(isbns) for _ in range(units)]) if is_for_lists else next(pages)
        refused = _spend(quota, call, units)
        if refused is None:
            pace.sleep(0 if is_for_lists else gap.total_seconds())
        elif refused.problem.get("reason") == "exhausted" and most > 1:
            most //= 2  # what is left may do for less
        else:
            pace.sleep(min(max(refused.retry_after_seconds, 1.0), _LONGEST_REST))


def _spend(quota: QuotaClient, request: Request, units: int) -> QuotaRefused | None:
    """One call as docs/outside-programs.md has it; returns the refusal if there was one."""
    try:
        with (
            quota.call(units=units, job="rehearsal") as call,
            urlopen(request, timeout=_TIMEOUT) as answer,  # noqa: S310 - the sandbox's own address
        ):
            answer.read()
            call.settle(units, headers=answer.headers)
    except QuotaRefused as refused:
        return refused
    except (OSError, HTTPException):
        # A fault of the provider's, or the server is busy: what was reserved stays charged until the count tells.
        pass
    return None


def spend_without_asking(orders: Orders) -> None:
    """Single pages with the other key, evenly spread over its hours."""
    scenario, clock = orders.read_scenario(), orders.clock()
    pages = _pages(orders, OTHER_KEY, scenario.invent_world(), seed=2)
    begins, ends = (scenario.at(each) for each in scenario.foreign_hours)
    for turn in range(scenario.foreign_units):
        at = begins + (ends - begins) * turn / scenario.foreign_units
        Pace(clock).sleep((at - clock.now()).total_seconds())
        try:
            with urlopen(next(pages), timeout=_TIMEOUT) as answer:  # noqa: S310 - the sandbox's own address
                answer.read()
        except (OSError, HTTPException):
            continue


def _pages(orders: Orders, key: str, world: World, *, seed: int) -> Iterator[Request]:
    """Requests for authors' first pages, in a seeded order."""
    names = [each.name for each in world.truth.authors.values()]
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    while True:
        url = f"{orders.sandbox_url}/author/{quote(chance.choice(names), safe='')}"
        yield Request(url, headers={"Authorization": key})  # noqa: S310 - the sandbox's own address


def _isbns(world: World) -> Iterator[str]:
    while True:
        yield from (each.isbn.digits for each in world.listed if each.isbn)


def _list(orders: Orders, isbns: list[str]) -> Request:
    headers = {"Authorization": KEY, "Content-Type": "application/json"}
    body = msgspec.json.encode({"isbns": isbns})
    return Request(f"{orders.sandbox_url}/books", body, headers, method="POST")  # noqa: S310 - as above
