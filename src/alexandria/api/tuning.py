"""Tuning over HTTP: where each dial stands, and why."""

from fastapi import APIRouter

from alexandria import tuning
from alexandria.api import tuning_shapes as shapes
from alexandria.api.context import Responses, TheApp, TheConnection

router = APIRouter(tags=["monitoring"])

_UNAVAILABLE: Responses = {503: {"description": "The database does not answer."}}


@router.get("/api/tuning", summary="What is tuned, and why?", responses=_UNAVAILABLE)
async def show_tuning(app: TheApp, connection: TheConnection) -> shapes.TuningAnswer:
    """Every dial: where it stands, its bounds, whether it is pinned, and what changed it last."""
    lines = await tuning.show(connection, app.dials)
    return shapes.TuningAnswer(dials=[shapes.Dial.model_validate(each.as_json()) for each in lines])
