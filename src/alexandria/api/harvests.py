"""Harvests over HTTP: plan them, start them, watch them, go on with them. The work is done by workers."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Response
from fastapi.responses import JSONResponse

from alexandria import harvest, planning
from alexandria.api import run_shapes as shapes
from alexandria.api.context import Limit, Offset, Responses, TheApp, TheConnection
from alexandria.api.health import read_status
from alexandria.api.problems import CONFLICT, Refusal
from alexandria.api.shapes import Pagination
from alexandria.app import App, isbndb_account, refuse_without_key
from alexandria.backpressure import refuse_when_closed
from alexandria.domain.backpressure import GateName
from alexandria.domain.errors import RecordNotFound
from alexandria.domain.plans import Plan
from alexandria.domain.quota import Lane
from alexandria.lookup import Page
from alexandria.outlook import time_to_finish
from alexandria.stores.harvests import HarvestStore, ItemState, Run, RunState
from alexandria.stores.postgres import Connection

router = APIRouter(tags=["harvests"])

RunId = Annotated[str, Path(max_length=64, description="As in `id` of a run.")]

NOT_FOUND: Responses = {404: {"description": "There is no such run."}}
REFUSED: Responses = {
    401: {"description": "A token is needed."},
    403: {"description": "Not from there."},
    413: {"description": "Too much was sent."},
    415: {"description": "What is sent must be JSON."},
    503: {"description": "A setting is missing, or the database does not answer."},
}


@router.post(
    "/api/harvest/authors",
    summary="Harvest bibliographies of authors",
    status_code=202,
    response_model=shapes.Run,
    responses={
        200: {"model": shapes.Plan, "description": "With `dry_run`: the plan; nothing was spent or written."},
        202: {"description": "The run was written down; its address is in the header Location."},
        429: {"description": "So many items wait that no run is started now; `queue` says how many."},
        **REFUSED,
    },
)
async def harvest_authors(
    app: TheApp,
    connection: TheConnection,
    wanted: Annotated[shapes.AuthorsHarvest, Body()],
    response: Response,
) -> shapes.Run | JSONResponse:
    """Start a run over a tier of authors or over authors by name, or, with `dry_run`, show what it would cost."""
    plan = await _plan(app, connection, wanted)
    if wanted.dry_run:
        return JSONResponse((await show_plan(app, plan)).model_dump(mode="json"))
    isbndb_account(app.config)  # without a key the run could never do anything: say so now
    await refuse_when_closed(app.database, GateName.ITEMS, app.config.marks, now=app.clock.now())
    run_id = await harvest.start_run(
        connection,
        plan,
        lane=Lane.BULK,
        now=app.clock.now(),
        parameters=wanted.model_dump(include={"tier", "authors"}, exclude_none=True),
        marks=app.config.marks,
    )
    response.headers["Location"] = f"/api/runs/{run_id}"
    return await show_run(connection, run_id)


async def _plan(app: App, connection: Connection, wanted: shapes.AuthorsHarvest) -> Plan:
    now = app.clock.now()
    fresh_since = now if wanted.refresh else now - app.config.freshness
    if wanted.tier is not None:
        return await planning.plan_tier(
            connection,
            wanted.tier,
            max_pages=wanted.max_pages,
            fresh_since=fresh_since,
            now=now,
            whole=wanted.refresh,
        )
    return await planning.plan_authors(
        connection,
        wanted.authors or [],
        max_pages=wanted.max_pages,
        fresh_since=fresh_since,
        now=now,
        whole=wanted.refresh,
    )


async def show_plan(app: App, plan: Plan) -> shapes.Plan:
    """A plan as it is shown before anything is spent."""
    status = await read_status(app) if app.config.isbndb_key else None
    units, calls = plan.units_expected, plan.calls_expected
    return shapes.Plan(
        kind=plan.kind,
        targets=len(plan.lines),
        units_expected=units,
        calls_expected=calls,
        editions_expected=plan.editions_expected,
        units_remaining=status.remaining if status else None,
        finishes_at=time_to_finish(status, app.clock.now(), units=units, calls=calls) if status else None,
        max_pages=plan.max_pages,
        lines=[shapes.PlanLine.model_validate(each) for each in plan.lines[: shapes.MOST_LINES]],
    )


async def show_run(connection: Connection, run_id: str) -> shapes.Run:
    """A run as it is now. Raises RecordNotFound."""
    harvests = HarvestStore(connection)
    run = await harvests.find_run(run_id)
    if run is None:
        raise RecordNotFound("harvests", f"no run has the id {run_id}; /api/runs lists them")
    return shapes.Run.of(run, await harvests.get_progress(run_id))


async def show_runs(connection: Connection, runs: Sequence[Run]) -> list[shapes.Run]:
    """Runs as they are now."""
    progress = await HarvestStore(connection).list_progress([each.id for each in runs])
    return [shapes.Run.of(each, progress[each.id]) for each in runs]


@router.get("/api/runs", summary="List runs")
async def list_runs(connection: TheConnection, limit: Limit = 20) -> shapes.RunsAnswer:
    """The latest runs with their progress, newest first."""
    return shapes.RunsAnswer(
        runs=await show_runs(connection, await HarvestStore(connection).list_runs(limit=limit))
    )


@router.get("/api/runs/{run_id}", summary="Look up a run", responses=NOT_FOUND)
async def get_run(
    connection: TheConnection,
    run_id: RunId,
    state: Annotated[
        list[ItemState] | None, Query(description="Only items in these states; may be repeated.")
    ] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> shapes.RunAnswer:
    """A run, its progress, and a page of its items."""
    run = await show_run(connection, run_id)
    items = await HarvestStore(connection).list_items(run_id, states=state, offset=offset, limit=limit + 1)
    page = Page(items[:limit], offset, limit, len(items) > limit)
    return shapes.RunAnswer(
        **dict(run),
        items=[shapes.Item.model_validate(each) for each in page.entries],
        pagination=Pagination.of(page),
    )


@router.post(
    "/api/runs/{run_id}/resume",
    summary="Go on with a run",
    status_code=202,
    responses={
        202: {"description": "The run goes on; its address is in the header Location."},
        409: {"description": "The run is not one that can go on."},
        **NOT_FOUND,
        **REFUSED,
    },
)
async def resume_run(
    app: TheApp,
    connection: TheConnection,
    run_id: RunId,
    response: Response,
    wanted: Annotated[shapes.Resumption | None, Body()] = None,
) -> shapes.Run:
    """Let a paused run go on now. With `retry_failed`, an ended one too: its failed items are tried again."""
    retry_failed = wanted is not None and wanted.retry_failed
    before = await show_run(connection, run_id)
    refuse_without_key(app.config, before.kind.replace("-", "_"))
    if before.state not in _resumable(retry_failed):
        raise Refusal(CONFLICT, f"the run is {before.state}; {_advice(retry_failed)}")
    await harvest.resume_run(connection, run_id, now=app.clock.now(), retry_failed=retry_failed)
    response.headers["Location"] = f"/api/runs/{run_id}"
    return await show_run(connection, run_id)


def _resumable(retry_failed: bool) -> Sequence[RunState]:
    """The states from which `harvest.resume_run` lets a run go on; a running one just stays so."""
    ended = [RunState.DONE, RunState.FAILED] if retry_failed else []
    return [RunState.RUNNING, RunState.PAUSED, *ended]


def _advice(retry_failed: bool) -> str:
    return (
        "only a paused or ended one goes on"
        if retry_failed
        else "only a paused one goes on, or an ended one whose failed items are tried again: retry_failed"
    )
