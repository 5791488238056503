"""Leave to send: reserved, waited for, checked against the fence, and settled whatever happens to the caller.

The quota coordinator decides; this is how the gateway deals with it (design.md, section 5).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import structlog

from alexandria.clock import Clock
from alexandria.domain.errors import AlexandriaError, ProviderUnavailable, QuotaDenied
from alexandria.domain.quota import Account, DenialReason, Policy, Request, Reservation
from alexandria.domain.settling import Evidence
from alexandria.providers.calls import Call, Quota, Source

log = structlog.get_logger()

T = TypeVar("T")

_MOST_FENCES = 5
_STORE_SECONDS = 10.0
_SHORTEST_WAIT = timedelta(milliseconds=50)


class Patience:
    """How much longer a call may be kept waiting, over all its attempts."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._left = seconds

    async def take(self, span: timedelta) -> bool:
        """Wait so long; False at once when that is more than is left."""
        seconds = max(span.total_seconds(), 0.0)
        if seconds > self._left:
            return False
        self._left -= seconds
        await self._clock.sleep(seconds)
        return True


@dataclass(frozen=True, slots=True)
class Permit:
    """A reservation whose turn has come, and the monotonic time from which it is too late to send."""

    reservation: Reservation
    lapses_at: float
    lapses_by_wall_at: datetime


class Permits:
    """Obtains permits and sees to it that each is settled or released, even if the task that held it is stopped."""

    def __init__(self, quota: Quota, clock: Clock, recount: Callable[[Source], Awaitable[None]]) -> None:
        """`recount` asks the provider for its count, when the coordinator does not know it."""
        self._quota = quota
        self._clock = clock
        self._recount = recount
        self._unfinished: set[asyncio.Task[Any]] = set()

    async def obtain(self, call: Call, source: Source, patience: Patience) -> Permit:
        """Reserve, wait for the slot, and check the fence. Raises QuotaDenied or StoreUnavailable: then nothing may be sent."""
        for _ in range(_MOST_FENCES):
            permit, opens_at = await self._reserve(call, source, patience)
            try:
                # A slot is at most `Policy.longest_wait` away; more means that somebody set the clock back.
                is_near = await patience.take(timedelta(seconds=opens_at - self._clock.monotonic()))
            except asyncio.CancelledError:
                await self.release(permit.reservation, "the caller was stopped before sending")
                raise
            if is_near and self._is_in_time(permit):
                return permit
            await self.release(permit.reservation, "too late to send" if is_near else "too long to wait")
            if not is_near:
                at = permit.reservation.not_before
                raise QuotaDenied(
                    source.account.provider,
                    DenialReason.PACED,
                    detail="the next slot is too far away",
                    retry_at=at,
                )
        raise ProviderUnavailable(
            source.account.provider,
            f"{_MOST_FENCES} reservations lapsed before they could be used: this machine is overloaded",
        )

    async def _reserve(self, call: Call, source: Source, patience: Patience) -> tuple[Permit, float]:
        """A new reservation and the monotonic time of its slot; waits out what passes for as long as there is patience."""
        request = Request(uuid4(), call.lane, call.consumer, call.units, call.requests, call.job)
        while True:  # ends: every round takes some of the patience
            # The reservation's times are the coordinator's. Its fence counts from before it was asked and its slot from after, so
            # that whatever held us up in between makes us later than the slot and never later than the fence.
            wall, monotonic = self._clock.now(), self._clock.monotonic()
            try:
                reservation = await self._reserve_shielded(source, request)
            except QuotaDenied as denial:
                await self._wait_out(denial, request, source, patience)
            else:
                lapses_in = reservation.use_before - reservation.as_of
                permit = Permit(reservation, monotonic + lapses_in.total_seconds(), wall + lapses_in)
                opens_in = reservation.not_before - reservation.as_of
                return permit, self._clock.monotonic() + opens_in.total_seconds()

    async def _wait_out(
        self, denial: QuotaDenied, request: Request, source: Source, patience: Patience
    ) -> None:
        """Wait until it makes sense to ask again; raises the denial when that is not worth it."""
        if denial.reason == DenialReason.UNCONFIRMED and source.count is not None and not request.is_probe:
            await self._recount(source)
        elif denial.reason != DenialReason.PACED:
            raise denial
        if denial.retry_at is None:
            raise denial
        wait = denial.retry_at - self._clock.now() if denial.retry_after is None else denial.retry_after
        if not await patience.take(max(wait, _SHORTEST_WAIT)):
            raise denial

    async def _reserve_shielded(self, source: Source, request: Request) -> Reservation:
        reserving = asyncio.create_task(self._quota.reserve(source.account, source.policy, request))
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            self.keep(self._release_late(reserving))
            raise

    async def _release_late(self, reserving: "asyncio.Task[Reservation]") -> None:
        """The caller went away while the store was deciding: what was granted was certainly not used."""
        try:
            reservation = await reserving
        except AlexandriaError:
            return
        await self.release(reservation, "the caller was stopped before sending")

    def _is_in_time(self, permit: Permit) -> bool:
        # The wall clock is asked as well: a machine that was suspended did not count the time on the other one.
        return self._clock.monotonic() < permit.lapses_at and self._clock.now() < permit.lapses_by_wall_at

    async def settle(
        self,
        reservation: Reservation,
        policy: Policy,
        *,
        units_spent: int,
        outcome: str,
        is_certain: bool,
        evidence: Evidence,
        requests_spent: int | None = None,
    ) -> None:
        """It was, or may have been, sent."""
        settling = self._quota.settle(
            reservation,
            units_spent=units_spent,
            outcome=outcome,
            is_certain=is_certain,
            evidence=evidence,
            policy=policy,
            requests_spent=requests_spent,
        )
        await self._surely(settling, reservation.account)

    async def release(self, reservation: Reservation, reason: str, *, is_failure: bool = False) -> None:
        """It provably was not sent."""
        await self._surely(
            self._quota.release(reservation, reason=reason, is_failure=is_failure), reservation.account
        )

    async def stop(
        self, account: Account, *, until: datetime | None, reason: DenialReason, detail: str
    ) -> None:
        """Nobody sends for this account before `until`."""
        stopping = self._quota.stop(
            account, until=until, reason=reason, detail=detail, as_of=self._clock.now()
        )
        await self._surely(stopping, account)

    async def yield_count(self, account: Account) -> None:
        """The provider's count could not be had: somebody else may ask for it."""
        await self._surely(self._quota.yield_count(account), account)

    async def _surely(self, work: Coroutine[Any, Any, None], account: Account) -> None:
        """Do this even if the caller is stopped meanwhile. Should the store be away, what is reserved just stays charged."""

        async def bounded() -> None:
            try:
                async with asyncio.timeout(_STORE_SECONDS):
                    await work
            except (AlexandriaError, TimeoutError) as error:
                # An answer was paid for; it must not be lost because the account of it could not be written.
                log.warning(
                    "quota.left_open", provider=account.provider, reason=str(error) or type(error).__name__
                )

        await asyncio.shield(self.keep(bounded()))

    def keep(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a task that may outlive its caller, but not `close`."""
        task = asyncio.create_task(work)
        self._unfinished.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._unfinished.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whoever waited for it has it as well; should nobody have, it is not lost.
            log.debug("quota.task_failed", reason=str(error) or type(error).__name__)

    async def close(self) -> None:
        """Wait for what is still to be written down."""
        if self._unfinished:
            await asyncio.wait(set(self._unfinished), timeout=_STORE_SECONDS)
