"""What an attempt came to, and what follows from it: who waits, until when, whether it is worth asking again. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alexandria.clock import Clock
from alexandria.domain.errors import (
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
    QuotaDenied,
    QuotaExhausted,
    RecordNotFound,
)
from alexandria.domain.quota import Account, DenialReason, Policy
from alexandria.domain.settling import CLOCK_TOLERANCE, Evidence
from alexandria.providers.calls import Answer, Meaning, Source, Verdict

MOST_ATTEMPTS = 3
LONGEST_RETRY_WAIT = timedelta(seconds=90)
"""A longer wait than a rate window and a half is the caller's: a snooze, not somebody kept waiting."""
RATE_PAUSE = timedelta(seconds=60)
"""How long to pause when a 429 names no wait: one rate window (contracts/isbndb.md, section 5)."""
LONGEST_PAUSE = timedelta(seconds=300)
PAUSE_MARGIN = timedelta(seconds=1)
"""Added to the provider's own wait, which comes in whole seconds and may have been rounded down."""
_UNCLEAR_SECONDS = 600.0
_FIRST_BACK_OFF = timedelta(seconds=1)

STOPS = {
    Meaning.PAUSED: DenialReason.BREAKER,
    Meaning.EXHAUSTED: DenialReason.EXHAUSTED,
    Meaning.SUSPENDED: DenialReason.SUSPENDED,
}
"""What stops everybody who shares the account, and under which reason."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt: `until` is the end of the pause, or of the day, when it met a limit."""

    verdict: Verdict
    answer: Answer | None = None
    units: int = 0
    was_sent: bool = True
    """False only when the request provably never left."""
    until: datetime | None = None


_WELL = frozenset({Meaning.DELIVERED, Meaning.ABSENT, Meaning.REFUSED})
"""Answers of a provider that works."""


def evidence_of(outcome: Outcome, *, elapsed: timedelta) -> Evidence:
    """What an attempt told about the account besides its content; `elapsed` from sending it to having read its answer."""
    verdict, answer = outcome.verdict, outcome.answer
    is_failure = True if verdict.meaning is Meaning.FAILED else False if verdict.meaning in _WELL else None
    return Evidence(
        provider_time=answer.provider_time if answer else None,
        elapsed=elapsed,
        total=verdict.total_today,
        left=verdict.remaining_today,
        rate=verdict.rate,
        is_failure=is_failure,
    )


class Limits:
    """Decides which window an unclear 429 means, which takes a memory of the last one, and until when a limit holds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._unclear_until: dict[Account, float] = {}

    def weigh(self, source: Source, outcome: Outcome, sent_at: float) -> Outcome:
        """The outcome with its limit made definite; `sent_at` is the monotonic time at which the attempt began."""
        verdict, account = outcome.verdict, source.account
        if verdict.meaning is Meaning.DELIVERED:
            self._unclear_until.pop(account, None)
        if verdict.meaning is Meaning.LIMITED:
            verdict = replace(verdict, meaning=self._read_unclear(account, verdict, sent_at))
        if verdict.meaning is Meaning.PAUSED:
            return replace(outcome, verdict=verdict, until=self._clock.now() + _pause(verdict))
        if verdict.meaning is Meaning.EXHAUSTED:
            return replace(
                outcome, verdict=verdict, until=_reset(outcome.answer, self._clock.now(), source.policy)
            )
        return outcome

    def _read_unclear(self, account: Account, verdict: Verdict, sent_at: float) -> Meaning:
        # Per minute the first time, the day when it comes again after the wait (contracts/isbndb.md, section 8). What was sent
        # before the wait was over says nothing new, and a wait that is long past neither.
        waited = self._unclear_until.get(account)
        if waited is not None and waited <= sent_at <= waited + _UNCLEAR_SECONDS:
            return Meaning.EXHAUSTED
        self._unclear_until[account] = self._clock.monotonic() + _pause(verdict).total_seconds()
        return Meaning.PAUSED


def _pause(verdict: Verdict) -> timedelta:
    return min(RATE_PAUSE if verdict.wait is None else verdict.wait, LONGEST_PAUSE) + PAUSE_MARGIN


def _reset(answer: Answer | None, now: datetime, policy: Policy) -> datetime:
    """The end of the provider's day, by our clock: the provider's decides, unless it is far off (design.md, section 5, Midnight)."""
    theirs = answer.provider_time if answer else None
    today = theirs if theirs and abs(theirs - now) <= CLOCK_TOLERANCE else now
    left = policy.days.ends_at(policy.days.of(today)) - today
    return now + max(left, RATE_PAUSE)


def wait_before_retry(
    outcome: Outcome, attempt: int, *, now: datetime, jitter: Callable[[], float]
) -> timedelta | None:
    """How long to wait before asking again; None when it is not worth it. `attempt` counts from 1, `jitter` is in [0, 1)."""
    verdict = outcome.verdict
    if attempt >= MOST_ATTEMPTS or (verdict.most_retries is not None and attempt > verdict.most_retries):
        return None
    match verdict.meaning:
        case Meaning.PAUSED if outcome.until:
            # A moment more, so that a clock that runs a little fast does not ask before the pause is over.
            wait = outcome.until - now + timedelta(milliseconds=50)
        case Meaning.FAILED if verdict.wait is not None:
            wait = verdict.wait
        case Meaning.FAILED:
            wait = _FIRST_BACK_OFF * 2 ** (attempt - 1) * (0.5 + jitter())
        case _:
            return None
    return wait if wait <= LONGEST_RETRY_WAIT else None


def error_of(provider: str, outcome: Outcome) -> ProviderError | QuotaDenied:
    """The error that tells the caller what to do next about an outcome that delivered nothing."""
    verdict, status = outcome.verdict, outcome.answer.status if outcome.answer else None
    match verdict.meaning:
        case Meaning.ABSENT:
            return RecordNotFound(provider, verdict.detail, status=status)
        case Meaning.REFUSED | Meaning.SUSPENDED:
            return ProviderRefused(provider, verdict.detail, status=status)
        case Meaning.PAUSED | Meaning.LIMITED:
            return QuotaDenied(provider, DenialReason.BREAKER, detail=verdict.detail, retry_at=outcome.until)
        case Meaning.EXHAUSTED:
            return QuotaExhausted(
                provider, DenialReason.EXHAUSTED, detail=verdict.detail, retry_at=outcome.until
            )
        case Meaning.FAILED | Meaning.DELIVERED:
            return ProviderUnavailable(provider, verdict.detail, status=status, retry_after=verdict.wait)
