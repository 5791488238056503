"""Problem documents (RFC 9457): the one form in which this API says that something is not as asked.

Every error becomes one here, whoever raises it; what only we should know stays in the log.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from alexandria.clock import Clock
from alexandria.domain.backpressure import Backlogged, Gate
from alexandria.domain.errors import (
    AlexandriaError,
    ConfigurationError,
    Conflict,
    FeedNotGranted,
    InvalidInput,
    ProviderRefused,
    ProviderUnavailable,
    QuotaDenied,
    QuotaExhausted,
    RecordNotFound,
    StoreUnavailable,
)
from alexandria.domain.quota import DenialReason
from alexandria.telemetry import redacted

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:alexandria:problem:"
STORE_RETRY = timedelta(seconds=5)
"""When to ask again while the database is away: a restart takes a few seconds."""


class FieldProblem(BaseModel):
    """One thing that is wrong with what was sent."""

    field: str = Field(description="Which parameter or member, such as `limit` or `authors[2]`.")
    reason: str = Field(description="What is wrong with it.")


class QueueProblem(BaseModel):
    """What is too long to add to it."""

    name: str = Field(
        description="`items`: open items of runs that go on by themselves; `covers`: covers wanted and due."
    )
    depth: int = Field(description="What waits.")
    low_water: int = Field(description="Down to so many nothing more is taken.")
    high_water: int = Field(description="At so many it was full.")
    drain_per_minute: float = Field(description="What was done within the last five minutes, a minute.")


class Problem(BaseModel):
    """An error, as RFC 9457 describes it, with members of our own after the first five."""

    model_config = ConfigDict(json_schema_extra={"description": "An error, in the form of RFC 9457."})

    type: str = Field(description="What kind of problem this is; docs/api.md lists them.")
    title: str = Field(description="The kind of problem in words, always the same for one type.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is the case this time, and what to do next.")
    instance: str = Field(description="The path that was asked for.")
    request_id: str = Field(description="Also in the header X-Request-ID and in the server's log.")
    field: str | None = Field(default=None, description="For bad input: the first thing that is wrong.")
    reason: str | None = Field(default=None, description="Why; for a spent or stopped quota, in one word.")
    errors: list[FieldProblem] | None = Field(default=None, description="For bad input: all that is wrong.")
    retry_at: datetime | None = Field(default=None, description="When to ask again; see also Retry-After.")
    retry_after_seconds: float | None = Field(
        default=None, description="The same as a span, for who has another clock; Retry-After rounds it up."
    )
    queue: QueueProblem | None = Field(
        default=None, description="When too much waits already: what, and how fast it becomes less."
    )
    done: dict[str, Any] | None = Field(
        default=None, description="What was done before; the run that it names goes on with the rest."
    )


@dataclass(frozen=True)
class Kind:
    """A type of problem: its name in the URN, its title and its status."""

    name: str
    title: str
    status: HTTPStatus


INVALID_INPUT = Kind("invalid-input", "Something that was sent is not valid", HTTPStatus.UNPROCESSABLE_ENTITY)
NOT_FOUND = Kind("not-found", "There is no such thing", HTTPStatus.NOT_FOUND)
NO_SUCH_ROUTE = Kind("no-such-route", "This address leads nowhere", HTTPStatus.NOT_FOUND)
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed", "This address does not take that method", HTTPStatus.METHOD_NOT_ALLOWED
)
CONFLICT = Kind("conflict", "That can't be done as things stand", HTTPStatus.CONFLICT)
TOKEN_NEEDED = Kind("token-needed", "Writing needs a token", HTTPStatus.UNAUTHORIZED)
FORBIDDEN = Kind("forbidden", "That is not allowed from there", HTTPStatus.FORBIDDEN)
TOO_LARGE = Kind("too-large", "More was sent than is taken", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
NOT_JSON = Kind("not-json", "What is sent must be JSON", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
QUOTA_EXHAUSTED = Kind("quota-exhausted", "The day's quota is used up", HTTPStatus.TOO_MANY_REQUESTS)
QUOTA_LIMITED = Kind("quota-limited", "The quota has no room for that now", HTTPStatus.TOO_MANY_REQUESTS)
BACKLOGGED = Kind("backlogged", "More waits than can be done soon", HTTPStatus.TOO_MANY_REQUESTS)
QUOTA_DENIED = Kind("quota-denied", "No call can be made now", HTTPStatus.SERVICE_UNAVAILABLE)
PROVIDER_REFUSED = Kind("provider-refused", "The provider refuses to answer", HTTPStatus.BAD_GATEWAY)
PROVIDER_UNAVAILABLE = Kind(
    "provider-unavailable", "The provider does not answer", HTTPStatus.SERVICE_UNAVAILABLE
)
STORE_UNAVAILABLE = Kind(
    "store-unavailable", "What is stored can't be reached", HTTPStatus.SERVICE_UNAVAILABLE
)
NOT_CONFIGURED = Kind("not-configured", "A setting is missing or wrong", HTTPStatus.SERVICE_UNAVAILABLE)
NOT_READY = Kind("not-ready", "Not everything is up", HTTPStatus.SERVICE_UNAVAILABLE)
TOO_SLOW = Kind("too-slow", "The answer took too long", HTTPStatus.SERVICE_UNAVAILABLE)
UNEXPECTED = Kind("unexpected", "Something went wrong here", HTTPStatus.INTERNAL_SERVER_ERROR)

KINDS = (
    INVALID_INPUT,
    NOT_FOUND,
    NO_SUCH_ROUTE,
    METHOD_NOT_ALLOWED,
    CONFLICT,
    TOKEN_NEEDED,
    FORBIDDEN,
    TOO_LARGE,
    NOT_JSON,
    QUOTA_EXHAUSTED,
    QUOTA_LIMITED,
    BACKLOGGED,
    QUOTA_DENIED,
    PROVIDER_REFUSED,
    PROVIDER_UNAVAILABLE,
    STORE_UNAVAILABLE,
    NOT_CONFIGURED,
    NOT_READY,
    TOO_SLOW,
    UNEXPECTED,
)
"""Every type of problem there is."""


@dataclass(eq=False)
class Refusal(Exception):
    """A problem that is raised as such, by code that speaks HTTP anyway."""

    kind: Kind
    detail: str
    reason: str | None = None
    retry_at: datetime | None = None
    retry_after: timedelta | None = None
    """The same as a span, where it is known: the clock of `retry_at` may be the coordinator's."""
    errors: Sequence[FieldProblem] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    queue: QueueProblem | None = None
    done: Mapping[str, Any] | None = None
    """What was done before that, in the shape of the answer that could not be given."""


def respond(refusal: Refusal, *, path: str, request_id: str, now: datetime) -> JSONResponse:
    """The answer that says so. `now` is what Retry-After counts from."""
    headers = {**refusal.headers, "Cache-Control": "no-store"}
    wait = refusal.retry_after
    if wait is None and refusal.retry_at is not None:
        wait = refusal.retry_at - now
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait.total_seconds())))
    first = refusal.errors[0] if refusal.errors else None
    document = Problem(
        type=TYPE_PREFIX + refusal.kind.name,
        title=refusal.kind.title,
        status=refusal.kind.status,
        detail=redacted(refusal.detail),
        instance=path,
        request_id=request_id,
        field=first.field if first else None,
        reason=first.reason if first else refusal.reason,
        errors=list(refusal.errors) or None,
        retry_at=refusal.retry_at,
        retry_after_seconds=None if refusal.retry_after is None else refusal.retry_after.total_seconds(),
        queue=refusal.queue,
        done=None if refusal.done is None else dict(refusal.done),
    )
    return JSONResponse(
        document.model_dump(mode="json", exclude_none=True),
        status_code=refusal.kind.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def refusal_of(error: AlexandriaError, now: datetime) -> Refusal:
    """What an error of ours means to a client. Where the cause is nobody's business but ours, the detail is a general one."""
    match error:
        case InvalidInput():
            return Refusal(
                INVALID_INPUT, str(error), errors=[FieldProblem(field=error.field, reason=error.reason)]
            )
        case RecordNotFound():
            return Refusal(NOT_FOUND, error.reason)
        case Conflict() | FeedNotGranted():
            return Refusal(CONFLICT, str(error))
        case QuotaDenied():
            kind = _kind_of_denial(error)
            return Refusal(kind, str(error), str(error.reason), error.retry_at, error.retry_after)
        case Backlogged():
            return Refusal(
                BACKLOGGED,
                str(error),
                retry_at=now + error.gate.retry_after,
                retry_after=error.gate.retry_after,
                queue=_queue_of(error.gate),
            )
        case ProviderRefused():
            return Refusal(PROVIDER_REFUSED, str(error))
        case ProviderUnavailable():
            return Refusal(
                PROVIDER_UNAVAILABLE,
                str(error),
                retry_at=now + error.retry_after if error.retry_after else None,
            )
        case StoreUnavailable():
            detail = "the database or the object store does not answer; nothing was changed"
            return Refusal(STORE_UNAVAILABLE, detail, DenialReason.UNAVAILABLE.value, now + STORE_RETRY)
        case ConfigurationError():
            return Refusal(NOT_CONFIGURED, str(error))
        case _:
            return Refusal(UNEXPECTED, "the server's log says more under this request_id")


def _queue_of(gate: Gate) -> QueueProblem:
    return QueueProblem(
        name=gate.name.value,
        depth=gate.depth,
        low_water=gate.marks.low,
        high_water=gate.marks.high,
        drain_per_minute=round(gate.drain_per_minute, 2),
    )


_NO_ROOM = frozenset({DenialReason.SHARE, DenialReason.CEILING, DenialReason.PACED})


def _kind_of_denial(denial: QuotaDenied) -> Kind:
    """429 when the quota is known and has no room for this; 503 when nobody gets anything, whatever is left."""
    if isinstance(denial, QuotaExhausted):
        return QUOTA_EXHAUSTED
    return QUOTA_LIMITED if denial.reason in _NO_ROOM else QUOTA_DENIED


def refusal_of_validation(error: RequestValidationError) -> Refusal:
    """Name every parameter or member that is wrong, and why."""
    errors = [FieldProblem(field=_name(each["loc"]), reason=_reason(each)) for each in error.errors()]
    return Refusal(INVALID_INPUT, "; ".join(f"{each.field}: {each.reason}" for each in errors), errors=errors)


def _name(place: Sequence[str | int]) -> str:
    """`("body", "authors", 2)` -> `authors[2]`; what concerns the whole body is called `body`."""
    where, *path = place
    if not path or (where == "body" and isinstance(path[0], int)):
        return str(where)
    first, *rest = path
    return str(first) + "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in rest)


def _reason(error: Mapping[str, Any]) -> str:
    limits = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "is missing"
        case "int_parsing" | "int_type" | "int_from_float":
            return "is not a whole number"
        case "greater_than_equal":
            return f"must be {limits['ge']:,} or more"
        case "less_than_equal":
            return f"must be {limits['le']:,} or less"
        case "extra_forbidden":
            return "is not known here"
        case "json_invalid":
            return f"is not JSON: {limits.get('error', 'it breaks off')}"
        case "value_error":
            return str(limits["error"])
        case _:
            return str(error["msg"])


def refusal_of_http(error: HTTPException) -> Refusal:
    """What the router says: no such address, or not with that method."""
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return Refusal(NO_SUCH_ROUTE, "see /openapi.json for the addresses there are")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "")
            return Refusal(
                METHOD_NOT_ALLOWED,
                f"this address takes {allowed or 'another method'}",
                headers=dict(error.headers or {}),
            )
        case HTTPStatus.BAD_REQUEST:
            return Refusal(
                INVALID_INPUT,
                "body: can't be read",
                errors=[FieldProblem(field="body", reason="can't be read")],
            )
        case _:
            return Refusal(UNEXPECTED, "the server's log says more under this request_id")


def install(app: FastAPI, clock: Clock) -> None:
    """Answer every error that a route raises with a problem document."""

    def answer(request: Request, refusal: Refusal) -> JSONResponse:
        return respond(
            refusal,
            path=request.url.path,
            request_id=request.scope.get("request_id", ""),
            now=clock.now(),
        )

    @app.exception_handler(AlexandriaError)
    async def of_ours(request: Request, error: AlexandriaError) -> JSONResponse:
        refusal = refusal_of(error, clock.now())
        if refusal.kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request.failed", path=request.url.path, error=str(error))
        return answer(request, refusal)

    @app.exception_handler(Refusal)
    async def of_a_route(request: Request, error: Refusal) -> JSONResponse:
        return answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def of_validation(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(request, refusal_of_validation(error))

    @app.exception_handler(HTTPException)
    async def of_the_router(request: Request, error: HTTPException) -> JSONResponse:
        return answer(request, refusal_of_http(error))


def describe(schema: dict[str, Any]) -> dict[str, Any]:
    """Correct an OpenAPI document: every error is a problem document, whatever the generator assumed."""
    definitions = schema.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions.update(problem.pop("$defs", {}))
    definitions["Problem"] = problem
    for name in ("HTTPValidationError", "ValidationError"):
        definitions.pop(name, None)
    reference = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for methods in schema["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")):
                    response["content"] = reference
                    if status == "422":
                        response["description"] = INVALID_INPUT.title
    return schema
