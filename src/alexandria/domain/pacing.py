"""The pace: every account has one row of slots, so that all processes together keep the provider's rate.

A slot is the generic cell rate algorithm's theoretical arrival time. How far ahead a slot may be taken depends on the lane, so that
whoever waits for an answer never stands behind more than two slots of those that nobody waits for.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from alexandria.domain.quota import DenialReason, Denied, Lane, Policy, Rate, Request, State

LONGEST_QUEUE = timedelta(minutes=2)
"""A slot further ahead was not reached by waiting in turn (15 s and a window's requests): some clock was wrong."""

SLOTS_AHEAD = {Lane.SCHEDULED: 1, Lane.BULK: 1}
"""How many taken slots these lanes may stand behind. Then the next free one is never more than two slots away; the interactive
lane alone may queue further, as far as `Policy.longest_wait`."""

STEADY_WITHIN = timedelta(milliseconds=250)
"""A clock that differs less from what went by is not taken for set: so long may a busy machine keep a process waiting."""
MOST_DRIFT = 0.0005
"""How much faster or slower a clock may go without having been set: what NTP corrects at most, 500 parts per million."""

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Slot:
    """When to send, and the first time that is free afterwards; steady time."""

    at: datetime
    next_at: datetime


@dataclass(frozen=True, slots=True)
class Anchor:
    """A steady time, and the seconds of one process's monotonic clock that belong to it."""

    steady: datetime
    monotonic: float
    """When the store's answer came; it had read its clock at most `waited` seconds before."""
    waited: float = 0.0

    def at(self, monotonic: float) -> datetime:
        """The steady time at a later reading of the same monotonic clock."""
        return self.steady + timedelta(seconds=monotonic - self.monotonic)


def shift_now(
    shift: timedelta, now: datetime, anchor: Anchor | None, asked_at: float, answered_at: float
) -> timedelta:
    """How far the store's clock is off the steady time, which only goes on as fast as time does.

    `now` was read by the store between the process's monotonic seconds `asked_at` and `answered_at`. When it is not where the
    anchor expects it, somebody set that clock: slots go on as if nobody had.
    """
    if anchor is None:
        return shift
    slack = STEADY_WITHIN + timedelta(seconds=MOST_DRIFT * (answered_at - anchor.monotonic))
    least, most = anchor.at(asked_at), anchor.at(answered_at + anchor.waited)
    steady = now - shift
    if steady > most + slack:
        return now - most
    if steady < least - slack:
        return now - least
    return shift


def spacing_of(rate: Rate, fence_span: timedelta) -> timedelta:
    """The span between two requests' slots: (window + fence span) / requests, rounded up past equality.

    Why this keeps the rate: let W be the window, D the fence span, R the requests per window, T this spacing, so that R*T > W + D. A
    request of slot s is sent at some time in [s, s + D]. Those sent in a span of length W that starts at t therefore have slots in
    [t - D, t + W], which is W + D long. N slots that are T or more apart need (N - 1)*T, so (N - 1)*T <= W + D < R*T, hence N <= R,
    whatever the delays and whether or not the ends of the span count.
    """
    return (rate.window + fence_span) // rate.requests + _MICROSECOND


def slower(configured: Rate, learnt: Rate | None) -> Rate:
    """The rate to keep: what is configured, or what the provider says it grants if that is less."""
    if learnt is None or learnt.requests * configured.window >= configured.requests * learnt.window:
        return configured
    return learnt


def find_slot(state: State, request: Request, policy: Policy, now: datetime) -> Slot | Denied:
    """The first free slot, unless it lies too far ahead for the lane. `now` is the store's clock.

    A reservation of n requests keeps n - 1 spacings free before its slot and n after it, so that N requests in a row still span
    (N - 1) spacings or more, which is what the proof at `spacing_of` rests on.
    """
    spacing = spacing_of(slower(policy.rate, state.rate), policy.fence_span)
    steady = at = state.steady(now)
    if state.next_slot_at is not None:
        at = max(steady, state.next_slot_at + (request.requests - 1) * spacing)
    wait = at - steady
    # Waiting in turn never takes longer than the longest wait and two full windows of requests.
    if wait > max(LONGEST_QUEUE, policy.longest_wait + 2 * (policy.window + policy.fence_span)):
        taken = f"slots are taken until {now + wait:%Y-%m-%d %H:%M:%S} UTC: a clock was wrong"
        return Denied(DenialReason.UNCONFIRMED, f"{taken}; set it right, then resume the account", now + wait)
    most = longest_wait(request, policy, spacing)
    if wait > most:
        return Denied(
            DenialReason.PACED, f"the next free slot is at {now + wait:%H:%M:%S} UTC", now + wait - most
        )
    return Slot(at, at + request.requests * spacing)


def longest_wait(request: Request, policy: Policy, spacing: timedelta) -> timedelta:
    """How far ahead a request may take its slot."""
    if request.lane not in SLOTS_AHEAD:
        return policy.longest_wait
    # A request that counts several times needs that many slots in a row before its own.
    return min(policy.longest_wait, (SLOTS_AHEAD[request.lane] + request.requests - 1) * spacing)
