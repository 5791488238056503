"""The breaker: stop asking a provider that gives no usable answers, and try now and then whether it is well again.

It has no state of its own and no timer: how many failures there were in a row, when the last one was, and the time decide.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from alexandria.domain.quota import DenialReason, Denied, Failures

MOST_FAILURES = 5
"""Failures in a row after which nobody asks for a while: fewer happen by chance where one call in ten fails."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
PROBE_SPAN = timedelta(seconds=30)
"""How long the one call that tries again may take before another may."""


def pause_ends_at(failures: Failures, now: datetime) -> datetime | None:
    """Until when nobody asks; None when there were too few failures. Each further failure doubles the pause."""
    if failures.count < MOST_FAILURES or failures.last_at is None:
        return None
    doublings = min(failures.count - MOST_FAILURES, 10)
    pause = min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE)
    # A failure that lies ahead of us says that the clock was set back: how long ago it was, nobody knows.
    return failures.last_at + pause if failures.last_at <= now else now


def refuse(failures: Failures, now: datetime) -> Denied | None:
    """Why nothing is sent because of failures; after the pause, one call at a time is let through."""
    ends_at = pause_ends_at(failures, now)
    if ends_at is None:
        return None
    detail = f"the provider gave no usable answer {failures.count} times in a row"
    if now < ends_at:
        return Denied(DenialReason.BREAKER, detail, ends_at)
    if (
        failures.probed_at is not None
        and ends_at <= failures.probed_at <= now < failures.probed_at + PROBE_SPAN
    ):
        return Denied(
            DenialReason.BREAKER, f"{detail}; one call tries again", failures.probed_at + PROBE_SPAN
        )
    return None


def try_again(failures: Failures, now: datetime) -> Failures:
    """What is known after a call was let through."""
    return failures if pause_ends_at(failures, now) is None else replace(failures, probed_at=now)


def after(failures: Failures, *, is_failure: bool, now: datetime) -> Failures:
    """What is known after an answer: one usable one is enough to close the breaker."""
    if not is_failure:
        return Failures()
    ends_at = pause_ends_at(failures, now)
    if ends_at is not None and now < ends_at:
        # It was on its way before the pause, and says nothing that is not known.
        return failures
    return replace(failures, count=failures.count + 1, last_at=now)
