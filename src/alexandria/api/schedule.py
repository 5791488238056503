"""The schedule over HTTP: what is harvested by the clock. Workers keep to it."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from alexandria.api import schedule_shapes as shapes
from alexandria.api.context import Responses, TheApp, TheConnection
from alexandria.api.problems import CONFLICT, Refusal
from alexandria.app import schedule_of
from alexandria.stores.schedule import Outcome

router = APIRouter(tags=["schedule"])

Name = Annotated[str, Path(max_length=40, description="As in `name` of an entry.")]

_REFUSED: Responses = {
    401: {"description": "A token is needed."},
    403: {"description": "Not from there."},
    404: {"description": "There is no such entry."},
    415: {"description": "What is sent must be JSON."},
    503: {"description": "The database does not answer."},
}


@router.get("/api/schedule", summary="List the schedule")
async def list_schedule(app: TheApp, connection: TheConnection) -> shapes.ScheduleAnswer:
    """Every entry, what came of its last slot, and its next one."""
    lines = await schedule_of(app).list_lines(connection)
    return shapes.ScheduleAnswer(entries=[shapes.Entry.model_validate(each.as_json()) for each in lines])


@router.post(
    "/api/schedule/{name}/run",
    summary="Start an entry now",
    status_code=202,
    responses={
        202: {
            "description": "It was started; the address of its run, if it has one, is in the header Location."
        },
        409: {"description": "There is nothing to do for it, or its last run is still open."},
        **_REFUSED,
    },
)
async def run_entry(app: TheApp, connection: TheConnection, name: Name, response: Response) -> shapes.Firing:
    """Start an entry's harvester besides its slots, even if it is paused or off."""
    firing = await schedule_of(app).run_now(connection, name)
    if firing.outcome is Outcome.SKIPPED:
        raise Refusal(CONFLICT, f"nothing was started: {firing.remark}")
    if firing.run_id:
        response.headers["Location"] = f"/api/runs/{firing.run_id}"
    return shapes.Firing.model_validate(firing.as_json())


@router.post("/api/schedule/{name}/pause", summary="Pause an entry", responses=_REFUSED)
async def pause_entry(app: TheApp, connection: TheConnection, name: Name) -> shapes.Entry:
    """Let an entry's slots pass, in all processes, until it is resumed. A run that it started goes on."""
    return shapes.Entry.model_validate((await schedule_of(app).pause(connection, name)).as_json())


@router.post("/api/schedule/{name}/resume", summary="Resume an entry", responses=_REFUSED)
async def resume_entry(app: TheApp, connection: TheConnection, name: Name) -> shapes.Entry:
    """Fire a paused entry's slots again, from now on; those of the pause are gone."""
    return shapes.Entry.model_validate((await schedule_of(app).resume(connection, name)).as_json())
