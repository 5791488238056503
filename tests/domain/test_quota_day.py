"""A whole day of one account on a clock that costs nothing: who waits how long, and where the units go."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

from alexandria.domain.quota import (
    RECONCILER,
    Account,
    DenialReason,
    Denied,
    Lane,
    Policy,
    Request,
    Reservation,
    ReservationState,
)
from alexandria.domain.reconciling import Reading
from alexandria.domain.settling import Evidence, Settlement
from alexandria.providers.policies import POLICIES
from quota_in_memory import QuotaInMemory

DAY_BEGINS = datetime(2026, 11, 23, tzinfo=UTC)
DAY_ENDS = DAY_BEGINS + timedelta(days=1)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
TOTAL = 15_000


class Day:
    """Actors that call, an account, and a provider that answers within half a second."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.quota = QuotaInMemory(Account.of("isbndb", "a key"), policy)
        self.now = DAY_BEGINS + 10 * SECOND
        self.received = 0
        self.waits: dict[Lane, list[float]] = {lane: [] for lane in Lane}
        self.denied: Counter[tuple[Lane, str]] = Counter()
        self.granted_per_hour: Counter[tuple[Lane, int]] = Counter()
        self.refused_look_ups: list[datetime] = []
        self.agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self.order = count()
        self.chance = random.Random(7)  # noqa: S311  # reproducible on purpose

    def at(self, moment: datetime, act: Callable[[], None]) -> None:
        """Put something on the agenda."""
        heapq.heappush(self.agenda, (moment, next(self.order), act))

    def run(self) -> None:
        """Do what is on the agenda until the day is over."""
        while self.agenda:
            moment, _, act = heapq.heappop(self.agenda)
            if moment >= DAY_ENDS:
                return
            self.now = max(self.now, moment)
            act()

    @property
    def monotonic(self) -> float:
        return (self.now - DAY_BEGINS).total_seconds()

    def evidence(self) -> Evidence:
        """What the provider's answer says now."""
        return Evidence(
            self.now.replace(microsecond=0), total=TOTAL, left=TOTAL - self.received, is_failure=False
        )

    def ask_for_the_count(self) -> None:
        """The free call, answered at once."""
        request = Request(uuid4(), Lane.INTERACTIVE, RECONCILER, 0)
        if isinstance(self.quota.reserve(request, self.now, self.monotonic), Denied):
            return
        settlement = Settlement(0, "200")
        self.quota.settle(request.request_id, settlement, self.evidence(), self.now, self.monotonic)
        asked_at = self.quota.claim_count(self.now, self.monotonic)
        reading = Reading(self.now.date(), TOTAL, self.received, asked_at)
        self.quota.reconcile(reading, self.now, self.monotonic)
        self.forget(request)

    def call(self, lane: Lane, consumer: str, wanted_at: datetime, then: Callable[[bool], None]) -> None:
        """One call of one unit; waits as the gateway does. `then` is told whether it was sent."""
        request = Request(uuid4(), lane, consumer, 1)
        answer = self.quota.reserve(request, self.now, self.monotonic)
        if isinstance(answer, Reservation):
            self.waits[lane].append((answer.not_before - wanted_at).total_seconds())
            self.granted_per_hour[lane, self.now.hour] += 1
            self.at(answer.not_before, lambda: self.send(request, then))
            return
        self.denied[lane, answer.reason] += 1
        if answer.reason is DenialReason.UNCONFIRMED:
            self.ask_for_the_count()
        retry_at = answer.retry_at or DAY_ENDS
        if lane is Lane.INTERACTIVE and answer.reason in {DenialReason.SHARE, DenialReason.EXHAUSTED}:
            self.refused_look_ups.append(self.now)
            then(False)
        else:
            again = max(retry_at, self.now + SECOND / 20)
            self.at(again, lambda: self.call(lane, consumer, wanted_at, then))

    def send(self, request: Request, then: Callable[[bool], None]) -> None:
        """The provider receives it, and answers a little later."""
        self.received += 1
        self.at(self.now + self.chance.uniform(0.1, 0.5) * SECOND, lambda: self.hear(request, then))

    def hear(self, request: Request, then: Callable[[bool], None]) -> None:
        self.quota.settle(request.request_id, Settlement(1, "200"), self.evidence(), self.now, self.monotonic)
        self.forget(request)
        then(True)

    def forget(self, request: Request) -> None:
        """What is settled is of no more use here, and would make the day long."""
        if self.quota.records[request.request_id].state is ReservationState.SETTLED:
            del self.quota.records[request.request_id]
        self.quota.ledger.clear()
        self.quota.entered_at.clear()

    def keep_calling(self, lane: Lane, consumer: str) -> None:
        """A worker that has always something to ask."""
        self.call(lane, consumer, self.now, lambda _: self.keep_calling(lane, consumer))

    def look_ups(self, every_seconds: float, until: datetime) -> None:
        """People who look something up now and then."""
        moment = self.now
        while (moment := moment + self.chance.expovariate(1 / every_seconds) * SECOND) < until:
            self.at(moment, lambda at=moment: self.call(Lane.INTERACTIVE, "lookup", at, lambda _: None))  # type: ignore[misc]


def test_a_day_with_bulk_at_its_limit_keeps_people_waiting_for_less_than_a_second_and_ends_at_the_limit() -> (
    None
):
    floors = {Lane.INTERACTIVE: 650, Lane.SCHEDULED: 1_950}
    day = Day(replace(POLICIES["isbndb"], floors=floors))
    for _ in range(4):
        day.at(day.now, lambda: day.keep_calling(Lane.BULK, "bulk-authors"))
    # In the first hour bulk spends all that it may; afterwards people find what is kept for them.
    day.look_ups(20, DAY_BEGINS + HOUR)
    day.look_ups(180, DAY_ENDS)
    day.run()

    waits = sorted(day.waits[Lane.INTERACTIVE])
    assert len(waits) > 500
    assert waits[int(len(waits) * 0.99)] <= 1.0
    assert day.granted_per_hour[Lane.BULK, 0] > 9_000, "bulk was at its limit in the first hour"
    assert day.denied[Lane.BULK, DenialReason.SHARE] > 0
    # At any hour before the melt a look-up within the floor is granted.
    melt_begins = DAY_ENDS - day.policy.melt_begins
    assert [at for at in day.refused_look_ups if at < melt_begins] == []
    assert all(day.granted_per_hour[Lane.INTERACTIVE, hour] > 0 for hour in range(20))
    assert day.received == day.policy.safe_limit
