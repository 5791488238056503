"""What a route is handed: the running application, and how its worker is."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from alexandria.api.security import Caller, refusal_of_stranger
from alexandria.app import App
from alexandria.stores.postgres import Connection


@dataclass
class WorkerState:
    """How the worker inside this process is: `off`, `idle`, `running` or `crashed`, and why."""

    state: str = "off"
    detail: str = ""
    crashes: int = 0


@dataclass(frozen=True)
class Context:
    """What the server puts where its routes find it (`app.state.context`)."""

    app: App
    worker: WorkerState


def get_app(request: Request) -> App:
    """The running application."""
    context: Context = request.app.state.context
    return context.app


def get_worker_state(request: Request) -> WorkerState:
    """How the worker is."""
    context: Context = request.app.state.context
    return context.worker


async def open_connection(request: Request) -> AsyncIterator[Connection]:
    """A connection for one request, in a transaction: what a route reads belongs together."""
    async with get_app(request).database.transaction() as connection:
        yield connection


def get_caller(request: Request) -> Caller:
    """Who asks, as the edge found out. Raises Refusal for a stranger."""
    caller: Caller | None = request.scope["caller"]
    if caller is None:
        raise refusal_of_stranger(request.headers)
    return caller


TheApp = Annotated[App, Depends(get_app)]
TheWorkerState = Annotated[WorkerState, Depends(get_worker_state)]
TheCaller = Annotated[Caller, Depends(get_caller)]
TheConnection = Annotated[Connection, Depends(open_connection, scope="function")]

Offset = Annotated[int, Query(ge=0, le=1_000_000, description="How many to leave out.")]
Limit = Annotated[int, Query(ge=1, le=100, description="How many to give at most.")]

Responses = dict[int | str, dict[str, Any]]
"""What an address may answer besides what its function returns, by status, for /openapi.json."""
