"""The daily digest: what the last day cost and brought, in a few lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from alexandria.domain.quota_status import Forecast, Status
from alexandria.domain.quota_usage import Line


@dataclass(frozen=True, slots=True)
class Harvested:
    """What the harvests of a span brought, and how things stand at its end."""

    editions: int
    """Editions that were not known before."""
    items_failed: int
    covers: int
    runs_ended: int
    runs_open: int
    alerts_open: int


@dataclass(frozen=True)
class Spent:
    """What was spent of a provider's last day, and how its present one stands."""

    provider: str
    day: date
    lines: Sequence[Line]
    """By consumer; without one: what others spent, and corrections."""
    status: Status
    forecast: Forecast


def digest_day(now: datetime, at: time) -> date | None:
    """The day whose digest is due: that of `now` by UTC once it is `at`; None before."""
    now = now.astimezone(UTC)
    return now.date() if now.time() >= at else None


def span_of(now: datetime) -> tuple[datetime, datetime]:
    """What a digest tells of: the day before, by UTC."""
    until = datetime.combine(now.astimezone(UTC).date(), time(0), UTC)
    return until - timedelta(days=1), until


def digest_title(day: date) -> str:
    """The digest's title; `day` is the one that it tells of."""
    return f"Alexandria: {day:%A}, {day}"


def digest_text(harvested: Harvested, spent: Spent | None) -> str:
    """The digest's lines."""
    lines = [
        f"{harvested.editions:,} new editions, {harvested.covers:,} covers.",
        f"{harvested.runs_ended:,} runs ended, {harvested.runs_open:,} are open; {harvested.items_failed:,} items failed.",
        f"{harvested.alerts_open:,} alerts are open.",
    ]
    return "\n".join([*(_spent_lines(spent) if spent else []), *lines])


def _spent_lines(spent: Spent) -> list[str]:
    by_consumer = [
        f"  {each.consumer or 'others with the same key, and corrections'}: {each.units:,}"
        for each in sorted(spent.lines, key=lambda line: -line.units)
        if each.units
    ]
    status, forecast = spent.status, spent.forecast
    left = forecast.units_left_at_reset
    pace = (
        f"used up at {forecast.exhausted_at:%H:%M} UTC at this pace"
        if forecast.exhausted_at
        else f"about {left or 0:,} left at the reset at this pace"
    )
    return [
        f"{sum(each.units for each in spent.lines):,} units of {status.limit:,} were used at {spent.provider} on {spent.day}.",
        *by_consumer,
        f"Today so far: {status.used:,}, {pace}; open runs need {forecast.units_queued:,}.",
    ]
