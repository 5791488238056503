"""Reservations over HTTP: programs outside that share the key take their units from the same day (docs/outside-programs.md)."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Body, Path, Response

from alexandria import sharing
from alexandria.api import quota_shapes as shapes
from alexandria.api.context import Responses, TheApp, TheCaller
from alexandria.api.problems import CONFLICT, FORBIDDEN, FieldProblem, Refusal
from alexandria.api.security import RESERVATIONS, Caller
from alexandria.app import App, isbndb_account
from alexandria.domain.errors import InvalidInput, QuotaDenied
from alexandria.domain.outside import consumer_of
from alexandria.domain.quota import DenialReason, Lane, Policy, Record, Request, Reservation
from alexandria.domain.settling import Settlement

router = APIRouter(tags=["quota"])

UNNAMED = "api"
"""The program that a token which may do everything reserves for when it names none."""

Id = Annotated[UUID, Path(description="As in `id` of a reservation.")]

_REFUSED: Responses = {
    401: {"description": "A token is needed."},
    403: {"description": "The token is not for that, or not from there."},
    413: {"description": "Too much was sent."},
    415: {"description": "What is sent must be JSON."},
    503: {"description": "Nothing may be sent now, whatever is left; or the database does not answer."},
}
_NOT_FOUND: Responses = {404: {"description": "No reservation of yours has this id."}}


@router.post(
    RESERVATIONS,
    summary="Reserve units before a call",
    status_code=201,
    responses={
        200: {
            "model": shapes.Reservation,
            "description": "It was reserved before under the same `request_id`.",
        },
        201: {"description": "Reserved; its address is in the header Location."},
        429: {
            "description": "The quota has no room for that now; `reason` says why, Retry-After when to ask again."
        },
        **_REFUSED,
    },
)
async def reserve(
    app: TheApp, caller: TheCaller, wish: Annotated[shapes.Wish, Body()], response: Response
) -> shapes.Reservation:
    """Leave to send one request to the provider: wait `wait_seconds`, send within `use_within_seconds`, then settle."""
    isbndb_account(app.config)  # without a key nothing could be sent: say so now
    request = _read_request(caller, wish)
    _refuse_impossible(request, app.isbndb.source.policy)
    is_repeat = wish.request_id is not None and await app.quota.find(wish.request_id) is not None
    reservation = await _reserve(app, request)
    response.status_code = 200 if is_repeat else 201
    response.headers["Location"] = f"{RESERVATIONS}/{request.request_id}"
    return shapes.Reservation.of(Record(request, reservation, units_charged=request.units))


def _read_request(caller: Caller, wish: shapes.Wish) -> Request:
    program = caller.program
    if program is None:
        consumer, lane = consumer_of(wish.consumer or UNNAMED), wish.lane or Lane.BULK
    elif wish.consumer not in {None, program.name}:
        raise _forbidden("consumer", f"the token is that of {program.name}")
    else:
        consumer, lane = program.consumer, wish.lane or program.lane
        if not program.may_use(lane):
            raise _forbidden("lane", f"the highest lane of {program.name} is {program.lane}")
    return Request(wish.request_id or uuid4(), lane, consumer, wish.units, wish.requests, wish.job)


def _forbidden(field: str, reason: str) -> Refusal:
    return Refusal(FORBIDDEN, f"{field}: {reason}", errors=[FieldProblem(field=field, reason=reason)])


def _refuse_impossible(request: Request, policy: Policy) -> None:
    """Name the member that is wrong with what could never be granted."""
    if request.units > policy.safe_limit:
        raise InvalidInput(
            "units", request.units, f"a whole day has {policy.safe_limit:,}; split the request"
        )
    if request.requests > policy.requests_per_window:
        raise InvalidInput(
            "requests", request.requests, f"a window has {policy.requests_per_window:,}; split the request"
        )


async def _reserve(app: App, request: Request) -> Reservation:
    try:
        return await sharing.reserve(
            request, quota=app.quota, gateway=app.gateway, source=app.isbndb.source, clock=app.clock
        )
    except QuotaDenied as denial:
        if denial.reason == DenialReason.INVALID:
            # What else could be invalid was refused before.
            raise InvalidInput("request_id", str(request.request_id), denial.detail) from None
        raise


@router.get(
    RESERVATIONS + "/{id}",
    summary="Look up a reservation",
    responses={**_NOT_FOUND, 401: _REFUSED[401]},
)
async def get_reservation(app: TheApp, caller: TheCaller, id: Id) -> shapes.Reservation:  # noqa: A002 - the path's name
    """A reservation of your own, and what became of it."""
    record, _ = await sharing.get(app.quota, id, _owner(caller))
    return shapes.Reservation.of(record)


@router.put(
    RESERVATIONS + "/{id}",
    summary="Settle or release a reservation",
    responses={
        **_NOT_FOUND,
        409: {"description": "It was ended otherwise before; nothing was changed."},
        **_REFUSED,
    },
)
async def end_reservation(
    app: TheApp,
    caller: TheCaller,
    id: Id,  # noqa: A002 - the path's name
    ending: Annotated[shapes.Ending, Body()],
) -> shapes.Reservation:
    """Say what the call cost, or that it was not sent. The same again changes nothing."""
    record, state = await sharing.get(app.quota, id, _owner(caller))
    try:
        if ending.state == "released":
            record = await sharing.release(record, ending.outcome or "not sent", quota=app.quota)
        else:
            policy = app.isbndb.source.policy
            settlement, headers = _read_settlement(ending, record, policy), _read_headers(ending)
            record = await sharing.settle(record, state, settlement, headers, quota=app.quota, policy=policy)
    except sharing.ReservationConflict as conflict:
        raise Refusal(CONFLICT, str(conflict)) from None
    return shapes.Reservation.of(record)


def _owner(caller: Caller) -> str | None:
    return caller.program.consumer if caller.program else None


def _read_settlement(ending: shapes.Ending, record: Record, policy: Policy) -> Settlement:
    if (ending.units_spent or 0) > policy.hard_limit:
        raise InvalidInput("units_spent", ending.units_spent, f"a whole day has {policy.hard_limit:,}")
    spent = record.request.units if ending.units_spent is None else ending.units_spent
    return Settlement(spent, ending.outcome or "settled", ending.is_certain)


def _read_headers(ending: shapes.Ending) -> sharing.ProviderHeaders:
    given = ending.provider_headers or shapes.ProviderHeaders()
    return sharing.ProviderHeaders(given.date, given.ratelimit, given.ratelimit_policy)
