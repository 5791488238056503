"""Harvesters over HTTP: what is switched on, paused and capped, and the alerts that are open."""

from typing import Annotated

from fastapi import APIRouter, Body, Path

from alexandria import rollout
from alexandria.api import run_shapes as shapes
from alexandria.api.alert_shapes import Alert
from alexandria.api.context import TheApp, TheConnection
from alexandria.api.harvests import REFUSED
from alexandria.app import read_units_today
from alexandria.domain.errors import InvalidInput, RecordNotFound
from alexandria.domain.plans import Kind
from alexandria.domain.rollout import kind_of
from alexandria.stores.alerts import AlertStore
from alexandria.stores.harvesters import HarvesterStore

router = APIRouter(tags=["harvests"])

Name = Annotated[str, Path(max_length=64, description="As in `name` of a harvester, such as `new-releases`.")]


@router.get("/api/harvesters", summary="List harvesters")
async def list_harvesters(app: TheApp, connection: TheConnection) -> shapes.HarvestersAnswer:
    """Every harvester with what is set for it, what it spent today, and the alerts that are open."""
    units = await read_units_today(app)
    found = await HarvesterStore(connection).list_all()
    return shapes.HarvestersAnswer(
        harvesters=[
            shapes.Harvester.model_validate(
                each.as_json(units_today=None if units is None else units.get(each.consumer, 0))
            )
            for each in found
        ],
        alerts=[
            Alert.model_validate(each.as_json())
            for each in await AlertStore(connection).list_open(now=app.clock.now())
        ],
    )


@router.patch(
    "/api/harvesters/{name}",
    summary="Change a harvester",
    responses={404: {"description": "There is no such harvester."}, **REFUSED},
)
async def change_harvester(
    app: TheApp,
    connection: TheConnection,
    name: Name,
    wanted: Annotated[shapes.HarvesterChange, Body()],
) -> shapes.Harvester:
    """Switch, pause or cap a harvester while it runs; what is left out stays as it is. A cap holds from the next call on."""
    kind, now = _find(name), app.clock.now()
    changes = wanted.model_dump(exclude_unset=True, exclude={"is_paused", "pause_reason"})
    if "is_paused" in wanted.model_fields_set:
        changes |= rollout.pausing(wanted.pause_reason, now=now) if wanted.is_paused else rollout.RESUMING
    after = await rollout.change_harvester(connection, kind, changes, now=now)
    units = await read_units_today(app)
    return shapes.Harvester.model_validate(
        after.as_json(units_today=None if units is None else units.get(after.consumer, 0))
    )


def _find(name: str) -> Kind:
    try:
        return kind_of(name)
    except InvalidInput as error:
        raise RecordNotFound("harvesters", f"no harvester is named {name}; {error.reason}") from error
