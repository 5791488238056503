"""How wishes over HTTP are fulfilled: small ones while the caller waits, larger ones as a run; both are told alike."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from fastapi import Response
from fastapi.responses import JSONResponse

from alexandria import harvest, planning
from alexandria.api import enriching_shapes as shapes
from alexandria.api.context import Responses
from alexandria.api.harvests import show_plan
from alexandria.api.health import quota_status
from alexandria.api.problems import QUOTA_LIMITED, Refusal, refusal_of
from alexandria.app import App, refuse_without_key
from alexandria.backpressure import refuse_when_closed
from alexandria.domain.backpressure import GateName
from alexandria.domain.errors import AlexandriaError
from alexandria.domain.plans import Plan
from alexandria.domain.quota import Lane
from alexandria.foreground import MOST_UNITS
from alexandria.stores.harvests import HarvestStore, Item, ItemState, Progress, Run, RunState

Answer = TypeVar("Answer", bound=shapes.Work)

_ALIKE: Responses = {
    200: {"description": "It was done at once; with `dry_run`: the plan, and nothing was spent or written."},
    401: {"description": "A token is needed."},
    403: {"description": "Not from there."},
    409: {"description": "That harvester is switched off, or the plan of the key lacks what it needs."},
    413: {"description": "Too much was sent."},
    415: {"description": "What is sent must be JSON."},
    429: {
        "description": "The quota has no room: `done` says what was done, and the run that it names goes on with the rest by itself."
        " Or too much waits already (`queue`), and nothing was done."
    },
    502: {"description": "The provider refuses the key; `done` says what was done."},
    503: {"description": "A setting is missing, or the database does not answer."},
}


def answers(model: type[shapes.Work]) -> Responses:
    """What a harvester may answer, in the shape of its own."""
    going_on = "It is being done: the header Location names the run."
    return {**_ALIKE, 202: {"model": model, "description": going_on}}


@dataclass(frozen=True)
class Result:
    """A run as it stands when its caller is answered."""

    run: Run
    progress: Progress
    items: list[Item]
    outcomes: Mapping[str, int]
    errors: list[tuple[str, str]]
    work: dict[str, Any]
    stopped_by: AlexandriaError | None
    is_small: bool

    @property
    def failed_targets(self) -> list[shapes.FailedTarget]:
        """Items that failed, and why."""
        return [
            shapes.FailedTarget(name=each.name, error=each.reason or "")
            for each in self.items
            if each.state == ItemState.FAILED
        ]


async def fulfil(
    app: App, plan: Plan, *, parameters: Mapping[str, object], small: Lane, most: int | None = None
) -> Result:
    """Start a run for a plan; work on a small one at once, in the lane `small`, and leave a larger one to the workers.

    `most` is what it may come to where the plan can't tell, because its targets are found on the way.
    """
    refuse_without_key(app.config, plan.kind)
    began = app.clock.monotonic()
    is_small = (plan.units_expected if most is None else most) <= MOST_UNITS
    marks = None
    if not is_small:
        # A small wish is worked on at once and adds nothing to what waits.
        marks = app.config.marks
        await refuse_when_closed(app.database, GateName.ITEMS, marks, now=app.clock.now())
    async with app.database.transaction() as connection:
        run_id = await harvest.start_run(
            connection,
            plan,
            lane=small if is_small else Lane.BULK,
            now=app.clock.now(),
            parameters=parameters,
            marks=marks,
        )
    stopped_by = await app.foreground.work(run_id) if is_small else None
    async with app.database.transaction() as connection:
        harvests = HarvestStore(connection)
        run = await harvest.get_run(connection, run_id)
        progress = await harvests.get_progress(run_id)
        items = await harvests.list_items(run_id, limit=planning.MOST_ISBNS)
        outcomes = await harvests.count_isbn_outcomes(run_id)
        errors = await harvests.list_failed_isbns(run_id)
        calls = await harvests.count_calls(run_id)
    work = {
        "run": run_id,
        "state": run.state,
        "units_used": progress.units,
        "api_calls": calls,
        "duration_ms": round(1000 * (app.clock.monotonic() - began)),
        "quota": await quota_status(app),
    }
    return Result(run, progress, items, outcomes, errors, work, stopped_by, is_small)


def _refusal_of(app: App, result: Result) -> Refusal | None:
    """Why a small run waits, if it does: this work met the reason, or somebody else's on the same run did."""
    if result.stopped_by is not None:
        return refusal_of(result.stopped_by, app.clock.now())
    run = result.run
    if not result.is_small or run.state != RunState.PAUSED or run.resumes_at is None:
        return None
    return Refusal(
        QUOTA_LIMITED, run.pause_reason or "the quota has no room", run.pause_cause, run.resumes_at
    )


def answer_with(app: App, answer: Answer, result: Result, response: Response) -> Answer:
    """The answer with its status; as a problem document when the quota, or the provider, stopped the run."""
    refusal = _refusal_of(app, result)
    if refusal is not None:
        raise replace(refusal, done=answer.model_dump(mode="json"))
    if result.run.state == RunState.RUNNING or result.run.state == RunState.PAUSED:
        response.status_code = 202
    response.headers["Location"] = f"/api/runs/{result.run.id}"
    return answer


async def show(app: App, plan: Plan) -> JSONResponse:
    """The plan; nothing was spent or written."""
    return JSONResponse((await show_plan(app, plan)).model_dump(mode="json"))


def fresh_since(app: App, *, refresh: bool) -> datetime:
    """What was fetched since then need not be asked again; nothing is that fresh with `refresh`."""
    now = app.clock.now()
    return now if refresh else now - app.config.freshness
