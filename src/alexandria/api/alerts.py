"""Alerts over HTTP: what a person should look at, who was told, and what is silenced."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Body, Path, Query

from alexandria.alerts import kind_of, silence
from alexandria.api import alert_shapes as shapes
from alexandria.api.context import Limit, TheApp, TheConnection
from alexandria.api.harvests import REFUSED
from alexandria.domain.errors import RecordNotFound
from alexandria.stores.alerts import KEPT, AlertStore

router = APIRouter(tags=["alerts"])


@router.get("/api/alerts", summary="List alerts")
async def list_alerts(
    app: TheApp,
    connection: TheConnection,
    with_cleared: Annotated[bool, Query(alias="all", description="Also those that are over.")] = False,
    limit: Limit = 100,
) -> shapes.AlertsAnswer:
    """Alerts that are open, the latest first; what is silenced; and notices that could not be sent."""
    store, now = AlertStore(connection), app.clock.now()
    found = await store.list_alerts(now=now, with_cleared=with_cleared, limit=limit)
    return shapes.AlertsAnswer(
        alerts=[shapes.Alert.model_validate(each.as_json()) for each in found],
        silences=[
            shapes.Silence.model_validate(each.as_json()) for each in await store.list_silences(now=now)
        ],
        undelivered=[
            shapes.Undelivered.model_validate(each.as_json())
            for each in await store.list_undelivered(since=now - KEPT)
        ],
    )


@router.post(
    "/api/alerts/silences",
    summary="Silence alerts",
    status_code=201,
    responses={201: {"description": "It is silenced."}, **REFUSED},
)
async def add_silence(
    app: TheApp, connection: TheConnection, wanted: Annotated[shapes.SilenceWish, Body()]
) -> shapes.Silence:
    """Tell nobody of a kind of alert, or of one subject of it, for a while. A silence of the same is replaced."""
    span = timedelta(minutes=wanted.minutes)
    silenced = await silence(connection, kind_of(wanted.kind), wanted.subject, span=span, now=app.clock.now())
    return shapes.Silence.model_validate(silenced.as_json())


@router.delete(
    "/api/alerts/silences/{id}",
    summary="End a silence",
    responses={404: {"description": "There is no such silence."}, **REFUSED},
)
async def end_silence(
    app: TheApp,
    connection: TheConnection,
    number: Annotated[int, Path(alias="id", ge=1, le=2**63 - 1, description="As in `id` of a silence.")],
) -> shapes.SilencesAnswer:
    """Tell of it again; what is still so is told now. Answers with what is silenced then."""
    store, now = AlertStore(connection), app.clock.now()
    if not await store.unsilence_by_id(number, now=now):
        raise RecordNotFound("alerts", f"there is no silence {number}")
    return shapes.SilencesAnswer(
        silences=[
            shapes.Silence.model_validate(each.as_json()) for each in await store.list_silences(now=now)
        ]
    )
