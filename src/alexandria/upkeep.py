"""The daily upkeep: days of the quota that are long over are kept in short, by hour instead of call by call (docs/quota.md).

Any number of processes may do it at once, and each may be killed at any moment: a part of a day is rolled up in one transaction, or
not at all, and what it adds up to is the same before and after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import structlog

from alexandria.domain.quota import Account
from alexandria.stores.quota import QuotaStore
from alexandria.stores.quota_reports import QuotaReports

log = structlog.get_logger()

PARTS_AT_ONCE = 10
"""Of the upkeep between two looks at the queue, of a thousand calls each: about a second's work."""


@dataclass(frozen=True, slots=True)
class RolledUp:
    """What an upkeep did: reservations, and entries without one, that hourly sums have replaced."""

    rows: int = 0
    days: int = 0
    """Days that are wholly rolled up now, and were not before."""
    days_kept: Sequence[tuple[Account, date]] = ()
    """Days that are old enough and still had to stay as they are; `alexandria quota verify` says whether they are in order."""
    is_complete: bool = True
    """False when there is more to do."""

    def as_json(self) -> dict[str, object]:
        """For the CLI."""
        kept = [{"provider": account.provider, "day": day.isoformat()} for account, day in self.days_kept]
        return {
            "rows_rolled_up": self.rows,
            "days_rolled_up": self.days,
            "days_kept": kept,
            "is_complete": self.is_complete,
        }


async def keep_up_if_due(
    quota: QuotaStore, reports: QuotaReports, *, keep: timedelta, most_parts: int = PARTS_AT_ONCE
) -> RolledUp | None:
    """Do a part of the daily upkeep if it is due and nobody else is at it; None when there was nothing to do.

    Raises StoreUnavailable; then whoever asks a minute later goes on.
    """
    if not await reports.claim_upkeep():
        return None
    rolled_up = await roll_up_old_days(quota, reports, keep=keep, most_parts=most_parts)
    await reports.finish_upkeep(is_complete=rolled_up.is_complete)
    return rolled_up


async def roll_up_old_days(
    quota: QuotaStore, reports: QuotaReports, *, keep: timedelta, most_parts: int | None = None
) -> RolledUp:
    """Roll up days that began longer than `keep` ago, the oldest first, in at most so many parts."""
    # What nobody settled keeps its day from being rolled up.
    await quota.expire()
    rows, days, parts = 0, 0, 0
    kept: list[tuple[Account, date]] = []
    for account, day in await reports.list_days_to_roll_up(keep=keep):
        while rolled_up := await reports.roll_up(account, day):
            rows, parts = rows + rolled_up, parts + 1
            if parts == most_parts:
                return RolledUp(rows, days, kept, is_complete=False)
        if rolled_up is None:
            kept.append((account, day))
        else:
            days += 1
    for account, day in kept:
        log.warning("quota.day_kept", provider=account.provider, day=str(day))
    if rows:
        log.info("quota.rolled_up", days=days, rows=rows)
    return RolledUp(rows, days, kept)
