"""How everything stands, as JSON: for people who build their own dashboard. Costs no unit."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query

from alexandria import __version__, monitoring
from alexandria.api import alert_shapes
from alexandria.api import monitoring_shapes as shapes
from alexandria.api.context import Limit, Responses, TheApp, TheConnection, TheWorkerState
from alexandria.api.harvests import REFUSED, show_runs
from alexandria.api.health import read_status, show_status
from alexandria.api.shapes import Rate
from alexandria.app import App, account_of, isbndb_account, providers_asked, read_forecast
from alexandria.backpressure import read_gates
from alexandria.domain.backpressure import GateName
from alexandria.domain.quota_status import Forecast, Status
from alexandria.domain.quota_usage import Span
from alexandria.providers.policies import POLICIES
from alexandria.stores.alerts import AlertStore
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.jobs import FETCH_COVER, HARVEST_ITEM, JOB_KINDS
from alexandria.stores.meters import KEEP_DAYS, MeterStore
from alexandria.stores.monitoring import Flow, Jobs, MonitoringStore
from alexandria.stores.postgres import Connection

router = APIRouter(tags=["monitoring"])

MOST_RUNS = 20
OVERVIEW_MINUTES = 5
MOST_DAYS = KEEP_DAYS.days
"""Of a usage report: as long as calls are kept by day."""

_UNAVAILABLE: Responses = {503: {"description": "The database does not answer."}}


class JobKind(StrEnum):
    """What a job does."""

    HARVEST_ITEM = HARVEST_ITEM
    FETCH_COVER = FETCH_COVER


@router.get("/api/monitoring/overview", summary="How does everything stand?", responses=_UNAVAILABLE)
async def overview(app: TheApp, worker: TheWorkerState, connection: TheConnection) -> shapes.Overview:
    """Quota and forecast, breaker, pace, queues, what runs now, open alerts, and who is at work."""
    status = await read_status(app)
    forecast = await read_forecast(app, status)
    alive = await MeterStore(connection).count_alive()
    open_runs = await MonitoringStore(connection).list_open_runs(limit=MOST_RUNS)
    runs = await HarvestStore(connection).find_runs(open_runs)
    return shapes.Overview(
        read_at=status.read_at,
        health=shapes.HealthNow(
            version=__version__,
            worker=worker.state,
            worker_detail=worker.detail or None,
            processes_alive=alive.processes,
            workers_alive=alive.workers,
        ),
        quota=show_status(app, status, forecast),
        breaker=_breaker(status),
        pace=_pace(status, forecast),
        queues=await _queues(app, connection, minutes=OVERVIEW_MINUTES),
        runs=await show_runs(connection, runs),
        alerts=[
            alert_shapes.Alert.model_validate(each.as_json())
            for each in await AlertStore(connection).list_open(now=app.clock.now())
        ],
    )


@router.get("/api/monitoring/queues", summary="How do the queues stand?", responses=_UNAVAILABLE)
async def queues(
    app: TheApp,
    connection: TheConnection,
    minutes: Annotated[int, Query(ge=1, le=1440, description="What the rates are the mean of.")] = 5,
) -> shapes.QueuesAnswer:
    """Depth, marks, age, rates and dead letters by kind of job, the backlogs, and the items of runs that are not in the queue yet."""
    items = await MonitoringStore(connection).count_open_items()
    return shapes.QueuesAnswer(
        minutes=minutes,
        queues=await _queues(app, connection, minutes=minutes),
        backlogs=[
            shapes.BacklogGate.of(gate)
            for gate in (await read_gates(connection, app.config.marks, {})).values()
            if gate.name.is_backlog
        ],
        backlog=[
            shapes.Backlog.model_validate({"run_kind": kind, "state": state, "items": count})
            for (kind, state), count in sorted(items.items())
        ],
    )


@router.get("/api/monitoring/dead-letters", summary="List dead letters", responses=_UNAVAILABLE)
async def list_dead_letters(
    connection: TheConnection,
    kind: Annotated[JobKind | None, Query(description="Only jobs of this kind.")] = None,
    after: Annotated[
        int | None,
        Query(ge=1, le=2**63 - 1, description="Go on after this one: `next` of the part before."),
    ] = None,
    limit: Limit = 100,
) -> shapes.DeadLettersAnswer:
    """Jobs that failed for good, the latest first, with what they were to do and what they failed of."""
    found = await MonitoringStore(connection).list_dead_letters(
        kind=kind and kind.value, after=after, limit=limit + 1
    )
    return shapes.DeadLettersAnswer(
        dead_letters=[shapes.DeadLetter.of(each) for each in found[:limit]],
        next=found[limit - 1].id if len(found) > limit else None,
    )


Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="As in `id` of a dead letter.")]

_CHANGES: Responses = {404: {"description": "There is no such dead letter, or not any more."}, **REFUSED}


@router.post(
    "/api/monitoring/dead-letters/{id}/retry",
    summary="Try a dead letter again",
    responses={409: {"description": "The same job is in the queue again already."}, **_CHANGES},
)
async def retry_dead_letter(connection: TheConnection, id: Id) -> shapes.DeadLetter:  # noqa: A002 - the path's name
    """Queue its job again, its attempts counted anew. Answers the dead letter as it was."""
    return shapes.DeadLetter.of(await monitoring.retry_dead_letter(connection, id))


@router.post("/api/monitoring/dead-letters/{id}/discard", summary="Discard a dead letter", responses=_CHANGES)
async def discard_dead_letter(connection: TheConnection, id: Id) -> shapes.DeadLetter:  # noqa: A002 - the path's name
    """Forget it. What it was to do is queued again when it is still wanted. Answers the dead letter as it was."""
    return shapes.DeadLetter.of(await monitoring.discard_dead_letter(connection, id))


@router.get("/api/monitoring/providers", summary="How do the providers fare?", responses=_UNAVAILABLE)
async def providers(app: TheApp, connection: TheConnection) -> shapes.ProvidersAnswer:
    """For each provider what came of calls in the last hour and the last day, how long they took, its breaker and its pace."""
    hour = await monitoring.read_calls(connection, timedelta(hours=1))
    day = await monitoring.read_calls(connection, timedelta(days=1))
    asked = providers_asked(app)
    lines = []
    for provider in POLICIES:
        status = await app.quota.status(*account_of(app.config, provider)) if provider in asked else None
        lines.append(
            shapes.ProviderLine(
                provider=provider,
                is_asked=status is not None,
                breaker=_breaker(status) if status else None,
                pace=_pace(status, await read_forecast(app, status)) if status else None,
                hour=shapes.ProviderCalls.of(hour.get(provider, monitoring.Calls())),
                day=shapes.ProviderCalls.of(day.get(provider, monitoring.Calls())),
            )
        )
    return shapes.ProvidersAnswer(read_at=app.clock.now(), providers=lines)


@router.get("/api/monitoring/usage", summary="What did units bring?", responses=_UNAVAILABLE)
async def monitored_usage(
    app: TheApp,
    connection: TheConnection,
    days: Annotated[
        int, Query(ge=1, le=MOST_DAYS, description="The last so many days, today included.")
    ] = 30,
) -> shapes.MonitoredUsage:
    """Units by consumer and by day, the editions and covers that they brought, and what came of calls."""
    status = await read_status(app)
    span = Span.of(day=None, days=days, today=status.day)
    account = isbndb_account(app.config) if app.config.isbndb_key else None
    report = await monitoring.read_usage(connection, account, span)
    calls = await monitoring.read_calls_of_days(connection, days)
    return shapes.MonitoredUsage(
        first_day=span.first_day,
        last_day=span.last_day,
        total=shapes.GainedInAll.model_validate(report.total),
        foreign=report.foreign,
        consumers=[
            shapes.ConsumerUsage.model_validate({"consumer": consumer, **_figures(gained)})
            for consumer, gained in report.consumers.items()
        ],
        days=[
            shapes.DayUsage.model_validate({"day": day, **_figures(gained)})
            for day, gained in report.days.items()
        ],
        providers={provider: shapes.EndpointCalls.of(each) for provider, each in calls.items()},
    )


def _figures(gained: monitoring.Gained) -> dict[str, object]:
    return {
        **vars(gained),
        "editions_per_unit": gained.editions_per_unit,
        "covers_per_unit": gained.covers_per_unit,
    }


async def _queues(app: App, connection: Connection, *, minutes: int) -> list[shapes.QueueLine]:
    store = MonitoringStore(connection)
    jobs, flow = await store.count_jobs(), await store.count_flow(timedelta(minutes=minutes))
    gates = await read_gates(connection, app.config.marks, {})
    return [
        shapes.QueueLine.of(
            jobs.get(kind, Jobs(kind)), flow.get(kind, Flow(kind)), gates[GateName(kind)], minutes=minutes
        )
        for kind in JOB_KINDS
    ]


def _breaker(status: Status) -> shapes.Breaker:
    return shapes.Breaker.model_validate(monitoring.breaker_of(status))


def _pace(status: Status, forecast: Forecast) -> shapes.Pace:
    return shapes.Pace(
        units_per_hour=forecast.units_per_hour,
        rate=Rate.model_validate(status.as_json()["rate"]),
        next_slot_at=status.next_slot_at,
    )
