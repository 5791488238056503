"""Whether the server is alive and ready, and how the quota stands."""

from typing import Any

from fastapi import APIRouter

from alexandria import __version__
from alexandria.api import shapes
from alexandria.api.context import TheApp, TheWorkerState
from alexandria.api.problems import NOT_READY, Refusal
from alexandria.app import App, isbndb_account, isbndb_policy, read_forecast
from alexandria.domain.quota import Account, State
from alexandria.domain.quota_status import Forecast, Status
from alexandria.stores.postgres import is_migrated

router = APIRouter(tags=["health"])

_NO_KEY = {"reason": "no_key", "detail": "ALEXANDRIA_ISBNDB_KEY is not set", "retry_at": None}


@router.get("/health", summary="Is the process alive?")
async def health() -> shapes.Health:
    """Answers at once, from memory: nothing is asked of the database or of a provider."""
    return shapes.Health(status="alive", version=__version__)


@router.get(
    "/ready",
    summary="Is everything up?",
    responses={503: {"description": "Not everything is up; `detail` says what is not."}},
)
async def ready(app: TheApp, worker: TheWorkerState) -> shapes.Readiness:
    """Whether the database answers and is migrated, and whether the worker inside the server works."""
    if not await is_migrated(app.database):
        raise Refusal(NOT_READY, "the database lacks migrations that this version needs; restart the server")
    if worker.state == "crashed":
        raise Refusal(
            NOT_READY, f"the worker crashed {worker.crashes} times and is started again: {worker.detail}"
        )
    return shapes.Readiness(status="ready", database="migrated", worker=worker.state)


@router.get("/api/quota/status", summary="How does the day's quota stand?")
async def quota_status(app: TheApp) -> shapes.QuotaStatus:
    """What was used of the day, what is left, and why nothing is sent if nothing is. Costs no unit."""
    status = await read_status(app)
    return show_status(app, status, await read_forecast(app, status))


def show_status(app: App, status: Status, forecast: Forecast) -> shapes.QuotaStatus:
    """The shape of a status."""
    hindrance = status.hindrance()
    why_not: dict[str, Any] = {
        "reason": hindrance and hindrance.reason,
        "detail": hindrance and hindrance.detail,
        "retry_at": hindrance and hindrance.retry_at,
    }
    if not app.config.isbndb_key:
        why_not = {**_NO_KEY, "can_make_calls": False}
    shown = forecast if app.config.isbndb_key else None
    fields: dict[str, Any] = {**status.as_json(), **why_not, "forecast": shown}
    return shapes.QuotaStatus.model_validate(fields)


async def read_status(app: App) -> Status:
    """The account's status; without a key, that of an account which has spent nothing."""
    policy = isbndb_policy(app.config)
    if app.config.isbndb_key:
        return await app.quota.status(isbndb_account(app.config), policy)
    return Status(policy, read_at=app.clock.now(), state=State(Account.of("isbndb", "")))
