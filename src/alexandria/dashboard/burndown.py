"""The burn-down of a day: what was left of its units hour by hour, what would be left if they were spent evenly, and the forecast."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from alexandria.dashboard.charts import Chart, Series
from alexandria.domain.quota_status import Forecast, Status
from alexandria.domain.quota_usage import Line
from alexandria.domain.reserving import is_unlimited


def draw_burndown(status: Status, usage: Sequence[Line], forecast: Forecast) -> Chart | None:
    """The chart of a status's day, from its usage by hours; None where there is no limit for a day."""
    if is_unlimited(status.policy) or not status.limit:
        return None
    begins_at, resets_at = status.policy.days.begins_at(status.day), status.resets_at
    # To the minute: else the chart would be another one at every look.
    now = min(max(status.read_at.replace(second=0, microsecond=0), begins_at), resets_at)
    hours = [
        begins_at + timedelta(hours=n) for n in range(1, 24) if begins_at + timedelta(hours=n) < resets_at
    ]
    ends_at = min(forecast.exhausted_at or resets_at, resets_at).replace(second=0, microsecond=0)
    left_at_end = 0 if forecast.exhausted_at else (forecast.units_left_at_reset or 0)
    moments = sorted({begins_at, *hours, now, ends_at, resets_at})
    length = (resets_at - begins_at) / timedelta(hours=1)

    def planned(moment: datetime) -> float:
        return round(status.limit * (1 - (moment - begins_at) / timedelta(hours=1) / length))

    def left(moment: datetime) -> float | None:
        if moment > now:
            return None
        if moment == now:
            return status.remaining
        # An hour's line counts what was reserved in it; what was noticed late is counted where it was noticed.
        spent = sum(each.units for each in usage if each.hour is not None and each.hour < moment)
        return max(0, status.limit - spent)

    def expected(moment: datetime) -> float | None:
        if moment < now:
            return None
        if moment >= ends_at:
            return left_at_end if moment == ends_at else None
        share = (moment - now) / (ends_at - now)
        return round(status.remaining + (left_at_end - status.remaining) * share)

    return Chart(
        id="burndown-chart",
        title="Units left of the day",
        x_name="Time (UTC)",
        x=moments,
        unit="units left",
        series=[
            Series("left", [left(each) for each in moments], colour=1, is_filled=True),
            Series("forecast", [expected(each) for each in moments], colour=2, is_dashed=True),
            Series("if spent evenly", [planned(each) for each in moments], colour=6, is_dashed=True),
        ],
    )
