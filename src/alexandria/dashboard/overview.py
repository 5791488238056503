"""The first page: whether the day's units are well spent, what runs, and what needs a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from alexandria import monitoring
from alexandria.app import (
    App,
    account_of,
    isbndb_account,
    isbndb_policy,
    providers_asked,
    read_forecast,
)
from alexandria.dashboard.burndown import draw_burndown
from alexandria.dashboard.charts import Chart
from alexandria.dashboard.run_lines import list_open_runs
from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.quota import Lane
from alexandria.domain.quota_status import Forecast, Status
from alexandria.domain.quota_usage import By, Span
from alexandria.monitoring import Breaker, Calls
from alexandria.providers.isbndb import PROVIDER
from alexandria.providers.policies import POLICIES
from alexandria.stores.alerts import AlertStore
from alexandria.stores.meters import MeterStore
from alexandria.stores.monitoring import MonitoringStore

MOST_RUNS = 10

PACE_KEPT = timedelta(seconds=20)
"""Pace, forecast and chart: they tell of hours, and reading them adds up a day's charges and the backlog."""
PROVIDERS_KEPT = timedelta(seconds=20)

_ANSWERED = ("delivered", "absent")
"""What came of calls that brought a definite answer (`providers.calls.Meaning`)."""


@dataclass(frozen=True)
class Pace:
    """How the day has gone so far, and how it will go on."""

    forecast: Forecast
    burndown: Chart | None
    """None where there is no limit for a day."""


@dataclass(frozen=True)
class ProviderLine:
    """How one provider fares; `status` is None when it is not asked as configured."""

    name: str
    status: Status | None
    breaker: Breaker | None
    calls: Calls

    @property
    def answered(self) -> int:
        """Calls of the last hour that brought a definite answer."""
        return sum(self.calls.outcomes.get(each, 0) for each in _ANSWERED)

    @property
    def unanswered(self) -> Mapping[str, int]:
        """The others, by what came of them."""
        return {outcome: n for outcome, n in self.calls.outcomes.items() if outcome not in _ANSWERED and n}


async def read(dashboard: Dashboard, asked: Asked) -> Mapping[str, object]:
    """Everything that the page says."""
    app = dashboard.app
    status = pace = None
    if app.config.isbndb_key:
        status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
        pace = await dashboard.remember("pace", PACE_KEPT, lambda: _read_pace(app, status))
    providers = await dashboard.remember("providers", PROVIDERS_KEPT, lambda: _read_providers(app))
    worker, detail = dashboard.worker_state()
    async with app.database.transaction() as connection:
        return {
            "worker": worker,
            "worker_detail": detail,
            "quota": status,
            "hindrance": status.hindrance() if status else None,
            "breaker": monitoring.breaker_of(status) if status else None,
            "lanes": _lanes(status) if status else [],
            "pace": pace,
            "providers": providers,
            "alive": await MeterStore(connection).count_alive(),
            "jobs": (await MonitoringStore(connection).count_jobs()).values(),
            "alerts": await AlertStore(connection).list_open(now=app.clock.now()),
            "runs": await list_open_runs(connection, limit=MOST_RUNS),
            "most_runs": MOST_RUNS,
        }


async def _read_pace(app: App, status: Status) -> Pace:
    forecast = await read_forecast(app, status)
    usage = await app.quota_reports.list_usage(status.account, Span(status.day, status.day), By.HOUR)
    return Pace(forecast, draw_burndown(status, usage, forecast))


async def _read_providers(app: App) -> Sequence[ProviderLine]:
    async with app.database.connection() as connection:
        calls = await monitoring.read_calls(connection, timedelta(hours=1))
    asked, lines = providers_asked(app), []
    for name in POLICIES:
        status = await app.quota.status(*account_of(app.config, name)) if name in asked else None
        breaker = monitoring.breaker_of(status) if status else None
        lines.append(ProviderLine(name, status, breaker, calls.get(name, Calls())))
    return sorted(lines, key=lambda each: (each.status is None, each.name != PROVIDER, each.name))


@dataclass(frozen=True)
class LaneLine:
    """What one lane has used of the day, and what it may still spend, in units."""

    lane: Lane
    used: int
    remaining: int
    floor: int


def _lanes(status: Status) -> Sequence[LaneLine]:
    return [
        LaneLine(
            Lane(str(each["lane"])),
            int(str(each["used"])),
            int(str(each["remaining"])),
            int(str(each["floor_standing"])),
        )
        for each in status.lanes()
    ]


PAGE = Page(
    "overview",
    "Overview",
    "/",
    ("alerts", "quota", "pace", "burndown", "runs", "consumers", "providers"),
    read,
    Asked,
)
