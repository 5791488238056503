"""How `alexandria quota` shows its figures to people."""

from collections.abc import Sequence
from datetime import datetime

from alexandria.cli import console
from alexandria.domain.quota import Lane
from alexandria.domain.quota_status import Forecast, Status
from alexandria.domain.quota_usage import FIGURES, By, Line, Span, total
from alexandria.domain.reconciling import Reconciliation
from alexandria.domain.reserving import is_unlimited

Row = tuple[str, object]


def show_status(status: Status, forecast: Forecast) -> None:
    """The day's figures, then who may spend what, then who spent what."""
    figures = [
        *_limits(status),
        *_used(status),
        *_provider_count(status),
        *_pace(status),
        *_forecast(forecast),
    ]
    console.write_table(f"Units of {status.day} ({status.account.provider})", ("what", "value"), figures)
    lanes = [
        [line["lane"], line["floor"], line["floor_standing"], line["used"], line["remaining"]]
        for line in status.lanes()
    ]
    if not is_unlimited(status.policy):
        console.write_table("By lane", ("lane", "floor", "still kept", "used", "may still spend"), lanes)
    consumers = [
        [
            spender_in_words(each.lane, each.consumer),
            each.requests,
            each.settled,
            each.reserved,
            each.unresolved,
        ]
        for each in status.usages
    ]
    if consumers:
        names = ("consumer", "requests", "settled", "reserved", "unresolved")
        console.write_table("By consumer", names, consumers)


def _limits(status: Status) -> list[Row]:
    day = f"{status.day}, " + ("confirmed by the provider" if status.is_confirmed else "by our clock only")
    rows: list[Row] = [("day", day), ("resets at", _time(status.resets_at))]
    if is_unlimited(status.policy):
        return [*rows, ("limit", "none for a day")]
    return [
        *rows,
        ("hard limit", status.policy.hard_limit),
        ("safe limit", status.limit),
        ("remaining", status.remaining),
    ]


def _used(status: Status) -> list[Row]:
    return [
        ("used", status.used),
        ("of these settled", status.settled),
        ("of these reserved", status.reserved),
        ("of these unresolved", status.unresolved),
        ("of these foreign", status.foreign),
    ]


def _provider_count(status: Status) -> list[Row]:
    if status.provider_read_at is None:
        return [("provider's own count", "not asked yet today")]
    count = f"{status.provider_spent:,} of {status.provider_total:,}, read {_time(status.provider_read_at)}"
    return [("provider's own count", count)]


def _pace(status: Status) -> list[Row]:
    rate = status.state.rate or status.policy.rate
    source = "by the provider" if status.state.rate else "as configured"
    rows: list[Row] = [
        ("pace", f"{rate.requests:,} requests in {rate.window.total_seconds():g} s, {source}"),
        ("can make calls", "yes" if status.can_make_calls else "no"),
    ]
    if status.stop:
        until = f"until {_time(status.stop.until)}" if status.stop.until else "until alexandria quota resume"
        rows.append(("stopped", f"{status.stop.reason} {until}: {status.stop.detail}"))
    elif (hindrance := status.hindrance()) is not None:
        until = f" until {_time(hindrance.retry_at)}" if hindrance.retry_at else ""
        rows.append(("because", f"{hindrance.reason}{until}: {hindrance.detail}"))
    if status.state.failures.count:
        rows.append(("useless answers in a row", status.state.failures.count))
    return rows


def _forecast(forecast: Forecast) -> list[Row]:
    rows: list[Row] = [("units an hour", f"{forecast.units_per_hour:,.1f}")]
    if forecast.units_left_at_reset is not None:
        exhausted = _time(forecast.exhausted_at) if forecast.exhausted_at else "not before the reset"
        rows += [
            ("at this pace exhausted", exhausted),
            ("at this pace left at the reset", forecast.units_left_at_reset),
        ]
    return [*rows, ("open runs still need", _queue(forecast))]


def _queue(forecast: Forecast) -> str:
    if not forecast.units_queued:
        return "nothing"
    days = f", {forecast.days_queued:,.2f} days' units" if forecast.days_queued is not None else ""
    done = f", done on {forecast.queue_done_on}" if forecast.queue_done_on else ", more than is ever granted"
    return f"{forecast.units_queued:,} units{days}{done}"


def show_usage(provider: str, span: Span, by: By, lines: Sequence[Line]) -> None:
    """A line for each hour, day, lane or consumer, and their sum; figures that are nowhere other than 0 are left out."""
    days = f"{span.first_day}" if span.first_day == span.last_day else f"{span.first_day} to {span.last_day}"
    summed = total(lines)
    figures = [
        name
        for name in ("units", *FIGURES)
        if name in {"units", "requests"} or any(getattr(line, name) for line in lines)
    ]
    named = [*((_name(line, by), line) for line in lines), ("all", summed)]
    rows = [[name, *(getattr(line, figure) for figure in figures)] for name, line in named]
    console.write_table(f"Units charged on {days} ({provider})", (by.value, *figures), rows)


def _name(line: Line, by: By) -> str:
    match by:
        case By.HOUR:
            return f"{line.hour:%Y-%m-%d %H:%M}"
        case By.DAY:
            return f"{line.day}"
        case By.LANE | By.CONSUMER:
            return spender_in_words(line.lane, line.consumer)


def spender_in_words(lane: Lane | None, consumer: str | None) -> str:
    """`lane/consumer` in one column, so that a table fits into a usual terminal."""
    if lane is None:
        return "not ours"
    return f"{lane.value}/{consumer}" if consumer else lane.value


def reconciliation_in_words(reconciliation: Reconciliation, foreign: int) -> list[str]:
    """What the provider counts, what we had charged and have now, and what that means; `foreign` is what nobody here had charged."""
    reading = reconciliation.reading
    counted = f"{reading.day}: the provider counts {reading.spent:,} of {reading.total:,} units"
    if not reconciliation.is_in_time:
        return [counted, "that day is over, or has not begun here: nothing was changed; ask again"]
    charged = f"charged before {reconciliation.before:,}, now {reconciliation.after:,}"
    return [counted, charged, _meaning(reconciliation, foreign)]


def _meaning(reconciliation: Reconciliation, foreign: int) -> str:
    if foreign > 0:
        return f"{foreign:,} units were spent by somebody else who shares the subscription"
    if reconciliation.after < reconciliation.before:
        return f"{reconciliation.before - reconciliation.after:,} units came back: the provider never counted them"
    if reconciliation.after > reconciliation.reading.spent:
        more = reconciliation.after - reconciliation.reading.spent
        return f"{more:,} units more than it counts stay charged: it may not show them yet"
    return "both agree"


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
