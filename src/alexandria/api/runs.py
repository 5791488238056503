"""What a person does with a run over HTTP: pause it, end it, try again what failed, read its report."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import PlainTextResponse

from alexandria import harvest
from alexandria.api import run_shapes as shapes
from alexandria.api.context import Responses, TheApp, TheConnection
from alexandria.api.harvests import NOT_FOUND, REFUSED, RunId, show_run
from alexandria.domain.run_report_texts import as_markdown
from alexandria.reports import read_report
from alexandria.rollout import BY_A_PERSON
from alexandria.stores.postgres import Connection

router = APIRouter(tags=["harvests"])

_CHANGES: Responses = {
    409: {"description": "The run is not in a state for that."},
    **NOT_FOUND,
    **REFUSED,
}

MARKDOWN = "text/markdown"


class Form(StrEnum):
    """How a report is written."""

    JSON = "json"
    MARKDOWN = "markdown"


class Listed(StrEnum):
    """Which items a report names one by one."""

    FAILED = "failed"
    ALL = "all"


@router.post("/api/runs/{run_id}/pause", summary="Pause a run", responses=_CHANGES)
async def pause_run(
    connection: TheConnection,
    run_id: RunId,
    wanted: Annotated[shapes.Pause | None, Body()] = None,
) -> shapes.Run:
    """Hand nothing more of a run out until it is resumed by a person; calls on their way are finished."""
    reason = (wanted and wanted.reason) or BY_A_PERSON
    return await _change(connection, run_id, lambda: harvest.pause_run(connection, run_id, reason=reason))


@router.post("/api/runs/{run_id}/cancel", summary="Cancel a run", responses=_CHANGES)
async def cancel_run(app: TheApp, connection: TheConnection, run_id: RunId) -> shapes.Run:
    """End a run for good; what it brought stays, and calls on their way are finished."""
    return await _change(
        connection, run_id, lambda: harvest.cancel_run(connection, run_id, now=app.clock.now())
    )


@router.post(
    "/api/runs/{run_id}/retry", summary="Try failed items again", status_code=202, responses=_CHANGES
)
async def retry_failed(app: TheApp, connection: TheConnection, run_id: RunId) -> shapes.Run:
    """Let workers try the failed items and ISBNs of a run again."""
    return await _change(
        connection, run_id, lambda: harvest.retry_failed(connection, run_id, now=app.clock.now())
    )


async def _change(connection: Connection, run_id: str, change: Callable[[], Awaitable[object]]) -> shapes.Run:
    await show_run(connection, run_id)  # one that there is none of is not found
    await change()
    return await show_run(connection, run_id)


@router.get(
    "/api/runs/{run_id}/report",
    summary="Report on a run",
    response_model=shapes.RunReport,
    responses={
        200: {
            "description": "In Markdown with `format=markdown`, or when `Accept` asks for it.",
            "content": {MARKDOWN: {"schema": {"type": "string"}}},
        },
        **NOT_FOUND,
    },
)
async def get_report(
    app: TheApp,
    request: Request,
    connection: TheConnection,
    run_id: RunId,
    form: Annotated[Form | None, Query(alias="format", description="Overrides `Accept`.")] = None,
    items: Annotated[Listed, Query(description="Which items to name, up to a thousand.")] = Listed.FAILED,
) -> shapes.RunReport | Response:
    """What a run was to do, what it did, what it cost and brought against what was expected, and what failed."""
    await show_run(connection, run_id)
    report = await read_report(app.database, run_id, now=app.clock.now(), lists_all=items is Listed.ALL)
    if form is Form.MARKDOWN or (form is None and MARKDOWN in request.headers.get("accept", "")):
        return PlainTextResponse(as_markdown(report), media_type=MARKDOWN)
    return shapes.RunReport.model_validate(report.as_json())
