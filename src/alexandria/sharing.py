"""Share the key with programs outside: they reserve before they send, and say afterwards what it cost.

What they say is believed only as far as it can do no harm (docs/outside-programs.md).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from alexandria.clock import Clock
from alexandria.domain.errors import AlexandriaError, ProviderError, QuotaDenied, RecordNotFound
from alexandria.domain.outside import is_outside
from alexandria.domain.quota import (
    UNLIMITED,
    DenialReason,
    Policy,
    Record,
    Request,
    Reservation,
    ReservationState,
    State,
)
from alexandria.domain.settling import NO_EVIDENCE, Evidence, Settlement
from alexandria.providers.calls import read_http_date
from alexandria.providers.gateway import Gateway, Source
from alexandria.providers.ratelimit import read_policies, read_windows
from alexandria.stores.quota import QuotaStore

log = structlog.get_logger()

RECOUNT_SECONDS = 5.0
"""How long a program is kept waiting at most until the provider's count is known, whoever asks for it."""

_SHORTEST_WAIT = timedelta(milliseconds=50)

CLOCK_ERROR = timedelta(seconds=5)
"""What our idea of the provider's clock may be wrong by: no more than the guard around its midnight."""


class ReservationConflict(AlexandriaError):
    """A reservation was ended otherwise before; what was said now changed nothing."""


@dataclass(frozen=True, slots=True)
class ProviderHeaders:
    """What an answer's headers said, as they came: every line of each."""

    date: Sequence[str] = ()
    ratelimit: Sequence[str] = ()
    ratelimit_policy: Sequence[str] = ()


async def reserve(
    request: Request, *, quota: QuotaStore, gateway: Gateway, source: Source, clock: Clock
) -> Reservation:
    """Reserve for a program outside. Where the provider's count is not known it is asked first, for a few seconds at most.

    Raises what `QuotaStore.reserve` raises. Waiting for the slot is the program's own affair.
    """
    gives_up_at = clock.monotonic() + RECOUNT_SECONDS
    while True:  # ends: the count is given out once a second at most, and in between every round waits
        try:
            return await quota.reserve(source.account, source.policy, request)
        except QuotaDenied as denial:
            seconds_left = gives_up_at - clock.monotonic()
            if denial.reason != DenialReason.UNCONFIRMED or seconds_left <= 0:
                raise
            if not await _recount(gateway, source, clock, denial, seconds_left):
                raise


async def _recount(
    gateway: Gateway, source: Source, clock: Clock, denial: QuotaDenied, seconds_left: float
) -> bool:
    """Have the provider asked for its count, or wait for whoever is asking; False when that leads nowhere in time."""
    wait = max(denial.retry_after or timedelta(0), _SHORTEST_WAIT).total_seconds()
    try:
        async with asyncio.timeout(seconds_left):
            if await gateway.recount(source) is None:
                if wait > seconds_left:
                    return False
                await clock.sleep(wait)
    except (ProviderError, QuotaDenied, TimeoutError) as error:
        log.warning("quota.count_unknown", provider=source.account.provider, reason=str(error) or "time-out")
        return False
    return True


async def get(quota: QuotaStore, request_id: UUID, consumer: str | None) -> tuple[Record, State]:
    """A reservation of one consumer, or with None of any program outside, and the account that it is charged to.

    Raises RecordNotFound for any other: who does not own it learns nothing about it.
    """
    state = await quota.find(request_id)
    record = state.recorded if state else None
    if state is None or record is None or not _may_see(record.request.consumer, consumer):
        raise RecordNotFound("quota", f"no reservation of yours has the id {request_id}")
    return record, state


def _may_see(owner: str, consumer: str | None) -> bool:
    # The gateway settles its own calls; nobody else may.
    return is_outside(owner) and consumer in {None, owner}


async def settle(
    record: Record,
    state: State,
    settlement: Settlement,
    headers: ProviderHeaders,
    *,
    quota: QuotaStore,
    policy: Policy,
) -> Record:
    """Say what a call cost. The same again changes nothing. Raises ReservationConflict when it was ended otherwise."""
    is_open = record.state is ReservationState.RESERVED
    if is_open or (record.state is ReservationState.UNRESOLVED and settlement.is_certain):
        await quota.settle(
            record.reservation,
            units_spent=settlement.units_spent,
            outcome=settlement.outcome,
            is_certain=settlement.is_certain,
            evidence=read_evidence(record, state, headers),
            policy=policy,
        )
        record = await _read_again(quota, record)
    _refuse_contradiction(record, settlement)
    return record


def _refuse_contradiction(record: Record, settlement: Settlement) -> None:
    if record.state is ReservationState.RELEASED:
        raise ReservationConflict(
            "it was released: nothing was sent under it; reserve again for another call"
        )
    spent = units_charged(record)
    if settlement.is_certain and spent != settlement.units_spent:
        raise ReservationConflict(f"it is settled with {spent:,} units, not {settlement.units_spent:,}")


async def release(record: Record, reason: str, *, quota: QuotaStore) -> Record:
    """Give back what was not sent. The same again changes nothing. Raises ReservationConflict when it was ended otherwise."""
    if record.state is ReservationState.RESERVED:
        await quota.release(record.reservation, reason=reason)
        record = await _read_again(quota, record)
    if record.state is ReservationState.UNRESOLVED:
        raise ReservationConflict(
            "it was given up as one that may have been sent: it stays charged until the provider's count proves otherwise"
        )
    if record.state is not ReservationState.RELEASED:
        raise ReservationConflict(f"it is settled with {units_charged(record):,} units")
    return record


async def _read_again(quota: QuotaStore, record: Record) -> Record:
    """What came of it: somebody may have ended it otherwise in the same moment, and then that holds."""
    state = await quota.find(record.request.request_id)
    return state.recorded if state and state.recorded else record


def units_charged(record: Record) -> int:
    """What a reservation is charged; at midnight that may be on two days, until it is known on which."""
    return max(record.units_charged, record.units_carried)


def read_evidence(record: Record, state: State, headers: ProviderHeaders) -> Evidence:
    """What an answer's headers prove: what the provider has counted. All of it may be missing or nonsense.

    A Date that contradicts the provider's clock as we know it is not believed, nor anything beside it: it could open the next
    day too early. The pace is learnt from our own calls alone: another service's headers could stop everybody.
    """
    reservation = record.reservation
    moment = read_http_date(next(iter(headers.date), ""))
    # Nobody tells when it was sent and answered: at some time since its slot.
    ahead = state.clock_shift + state.ahead
    earliest, latest = reservation.not_before + ahead, reservation.as_of + ahead
    if moment is None or not earliest - CLOCK_ERROR <= moment <= latest + CLOCK_ERROR:
        return NO_EVIDENCE
    window = read_windows(headers.ratelimit).get("daily")
    grant = read_policies(headers.ratelimit_policy).get("daily")
    return Evidence(
        provider_time=moment,
        elapsed=max(latest - earliest, timedelta(0)),
        total=grant.allowance if grant else None,
        left=window.left if window and window.left <= UNLIMITED else None,
    )
