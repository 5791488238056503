"""The page of usage: what units were spent on, what they brought, what came of calls and how long answers took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from alexandria import monitoring
from alexandria.app import isbndb_account, isbndb_policy
from alexandria.dashboard.charts import Chart, Series
from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.quota_usage import Span
from alexandria.monitoring import Calls, UsageReport
from alexandria.providers.calls import Meaning

RANGES = (7, 30, 90)
"""Days that the page can be asked for."""

MOST_CONSUMERS = 5
"""With a colour of their own; the others share the last one."""
_OTHERS = 6

OUTCOMES: tuple[tuple[str, int, frozenset[str]], ...] = (
    ("delivered", 3, frozenset({Meaning.DELIVERED})),
    ("no such record", 1, frozenset({Meaning.ABSENT})),
    ("asked to wait", 2, frozenset({Meaning.PAUSED, Meaning.LIMITED, Meaning.EXHAUSTED})),
    ("refused", 4, frozenset({Meaning.REFUSED, Meaning.SUSPENDED})),
    ("failed", 5, frozenset({Meaning.FAILED, "interrupted"})),
)
"""What became of calls, as the page brings outcomes together: a name, a colour, and the outcomes as they are counted."""


class UsageAsked(Asked):
    """How far back."""

    days: int = 30

    @field_validator("days")
    @classmethod
    def _is_offered(cls, days: int) -> int:
        if days not in RANGES:
            raise PydanticCustomError("days", "it must be 7, 30 or 90")
        return days


@dataclass(frozen=True)
class ProviderLine:
    """Calls to a provider, or to one of its endpoints, as a line of a table."""

    name: str
    calls: Calls
    is_endpoint: bool = False

    @property
    def outcomes(self) -> Sequence[int]:
        """How many came to each of `OUTCOMES`."""
        return [_count(self.calls, counted) for _, _, counted in OUTCOMES]

    @property
    def seconds(self) -> Sequence[float | None]:
        """What half, 95 and 99 of 100 answers took at most."""
        return [self.calls.latencies.quantile(share) for share in (0.5, 0.95, 0.99)]


def _count(calls: Calls, counted: frozenset[str]) -> int:
    return sum(count for outcome, count in calls.outcomes.items() if outcome in counted)


async def read(dashboard: Dashboard, asked: UsageAsked) -> Mapping[str, object]:
    """Everything that the page says."""
    app = dashboard.app
    account, today = None, app.clock.now().date()
    if app.config.isbndb_key:
        account = isbndb_account(app.config)
        today = (await app.quota.status(account, isbndb_policy(app.config))).day
    async with app.database.transaction() as connection:
        span = Span.of(day=None, days=asked.days, today=today)
        report = await monitoring.read_usage(connection, account, span)
        calls = await monitoring.read_calls_of_days(connection, asked.days)
    return {
        "report": report,
        "has_key": account is not None,
        "ranges": RANGES,
        "mean": report.total.units / asked.days,
        "units": _draw_units(report),
        "gained": _draw_gained(report),
        "outcomes": _draw_outcomes(calls),
        "outcome_names": [name for name, _, _ in OUTCOMES],
        "lines": list(_lines(calls)),
    }


def _lines(calls: Mapping[str, Calls]) -> Sequence[ProviderLine]:
    lines = []
    for provider, each in calls.items():
        lines.append(ProviderLine(provider, each))
        if len(each.endpoints) > 1:
            lines += [ProviderLine(name, of, is_endpoint=True) for name, of in each.endpoints.items()]
    return lines


def _names(days: Sequence[date]) -> Sequence[str]:
    return [f"{day:%-d %b}" for day in days]


def _draw_units(report: UsageReport) -> Chart:
    """Units by day; those who spent most have a colour each."""
    spenders = [name for name, gained in report.consumers.items() if gained.units]
    shown = spenders[:MOST_CONSUMERS] if len(spenders) > _OTHERS else spenders
    series = [
        Series(name, [spent[name] for spent in report.units.values()], colour)
        for colour, name in enumerate(shown, start=1)
    ]
    if len(shown) < len(spenders):
        rest = [
            sum(count for name, count in spent.items() if name not in shown)
            for spent in report.units.values()
        ]
        series.append(Series("others", rest, _OTHERS))
    return Chart(
        "units", "Units by consumer", "Day", _names(list(report.units)), "units", series, kind="stacked"
    )


def _draw_gained(report: UsageReport) -> Chart:
    days = report.days
    return Chart(
        "gained",
        "What a unit brought",
        "Day",
        _names(list(days)),
        "for a unit",
        [
            Series("new editions", [each.editions_per_unit for each in days.values()], 1),
            Series("covers found", [each.covers_per_unit for each in days.values()], 2),
        ],
    )


def _draw_outcomes(calls: Mapping[str, Calls]) -> Chart:
    """Of each provider's calls what percentage came to what: providers that are asked a hundred times more often than others hide nothing."""
    lines = [ProviderLine(name, each) for name, each in calls.items() if each.calls]
    return Chart(
        "outcomes",
        "Shares by provider",
        "Provider",
        [each.name for each in lines],
        "percent of calls",
        [
            Series(name, [100 * line.outcomes[place] / line.calls.calls for line in lines], colour)
            for place, (name, colour, _) in enumerate(OUTCOMES)
        ],
        kind="stacked",
    )


PAGE = Page(
    "usage",
    "Usage",
    "/dashboard/usage",
    ("units", "yield", "calls"),
    read,
    UsageAsked,
    template="usage/page.html",
)
