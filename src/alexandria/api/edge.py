"""The edge: what holds for every request, whichever route it is for.

An id, a time limit, a bounded body, the rules of `security.py`, safe headers, and an answer when something unexpected happens.
"""

import asyncio
import time
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alexandria import meters, tracing
from alexandria.api.problems import (
    INVALID_INPUT,
    TOO_LARGE,
    TOO_SLOW,
    UNEXPECTED,
    FieldProblem,
    Refusal,
    respond,
)
from alexandria.api.security import READING, Rules, find_caller, refusal_of_request
from alexandria.clock import Clock
from alexandria.telemetry import is_request_id, new_request_id

log = structlog.get_logger()

MOST_BODY_BYTES = 256 * 1024
"""Enough for a thousand authors' names; nothing that is sent here is longer."""

REQUEST_SECONDS: Final = 20.0
"""For one request, its body included. Long work is a run, not a request (design.md, invariant 9)."""

EVENT_STREAM: Final = "text/event-stream"
"""What has no end of its own: the time limit is for its beginning."""

LOGGED_PATH = 500
"""Letters. No route of ours is longer, and a stranger's may be as long as the server takes."""

NO_ROUTE = "none"
"""What requests are counted under that led nowhere, or were refused before it was known where to."""

_METHODS = READING | {"POST", "PUT", "PATCH", "DELETE"}

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer that does not say otherwise itself."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, *, rules: Rules, clock: Clock, timeout_seconds: float = REQUEST_SECONDS
    ) -> None:
        self._app = app
        self._rules = rules
        self._clock = clock
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, send)
        with structlog.contextvars.bound_contextvars(request_id=request.id), request.traced() as span:
            try:
                async with asyncio.timeout(self._timeout_seconds) as request.limit:
                    await self._answer(request, receive)
            except TimeoutError:
                detail = f"no answer within {self._timeout_seconds:g} s; ask for less at once, or again later"
                await self._refuse(request, receive, Refusal(TOO_SLOW, detail))
            except Exception as error:
                log.exception("request.crashed", path=request.path[:LOGGED_PATH], error=type(error).__name__)
                await self._refuse(
                    request, receive, Refusal(UNEXPECTED, "the server's log says more under this request_id")
                )
            log.info("request.answered", **request.summary())
            request.count()
            request.tell(span)

    async def _answer(self, request: "_Request", receive: Receive) -> None:
        scope, headers = request.scope, Headers(scope=request.scope)
        peer = scope["client"][0] if scope.get("client") else None
        try:
            if refusal := refusal_of_request(self._rules, scope["method"], headers, peer, scope["path"]):
                raise refusal
            _refuse_unreadable(scope)
            if scope["method"] not in READING:
                receive = _replay(await _read(headers, receive))
        except Refusal as refusal:
            await self._refuse(request, receive, refusal)
            return
        # What may be got may be asked for its head (RFC 9110, section 9.3.2); the server leaves the body out.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        found = {
            "method": method,
            "request_id": request.id,
            "caller": find_caller(self._rules, headers, peer),
        }
        request.inner = {**scope, **found}
        await self._app(request.inner, receive, request.send)

    async def _refuse(self, request: "_Request", receive: Receive, refusal: Refusal) -> None:
        if request.status is not None:
            return  # too late: the client sees an answer that breaks off
        now = self._clock.now()
        response = respond(refusal, path=request.path, request_id=request.id, now=now)
        await response(request.scope, receive, request.send)


class _Request:
    """One request on its way through: its id, and what became of it."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if is_request_id(given) else new_request_id()
        self.scope = scope
        self.path: str = scope["path"]
        self.inner: Scope = {}
        """What the application was handed; the router notes there which route it found."""
        self.status: int | None = None
        self.limit: asyncio.Timeout | None = None
        self._send = send
        self._began = time.monotonic()
        self._answered_after: float | None = None
        """In seconds, of an answer that goes on for as long as somebody listens."""

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, with the headers that every answer bears."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = self.id
            if headers.get("content-type", "").startswith(EVENT_STREAM):
                self._let_go_on()
        await self._send(message)

    def _let_go_on(self) -> None:
        self._answered_after = time.monotonic() - self._began
        if self.limit is not None:
            self.limit.reschedule(None)

    @property
    def route(self) -> str:
        """The route's template: a path may hold anything."""
        found: str = getattr(self.inner.get("route"), "path", NO_ROUTE)
        return found

    @property
    def method(self) -> str:
        """From a closed set."""
        return self.scope["method"] if self.scope["method"] in _METHODS else "other"

    def count(self) -> None:
        """For the metrics."""
        meters.HTTP_REQUESTS.labels(self.method, self.route, str(self.status or 0)).inc()
        seconds = self._answered_after or time.monotonic() - self._began
        meters.HTTP_SECONDS.labels(self.route).observe(seconds)

    def traced(self) -> AbstractContextManager[tracing.Span]:
        """A span, within the client's trace if it sent its own."""
        parent = Headers(scope=self.scope).get("traceparent")
        attributes = {"http.request.method": self.method, "alexandria.request_id": self.id}
        return tracing.span(self.method, "server", attributes, parent=parent)

    def tell(self, span: tracing.Span) -> None:
        """What became of it, for the trace."""
        span.name(f"{self.method} {self.route}")
        span.tell({"http.route": self.route, "http.response.status_code": self.status})
        if (self.status or 500) >= 500:
            span.fail(str(self.status or "none"))

    def summary(self) -> MutableMapping[str, Any]:
        """For the log; without the query, which may hold what somebody reads."""
        milliseconds = round(1000 * (time.monotonic() - self._began))
        return {
            "method": self.scope["method"],
            "path": self.path[:LOGGED_PATH],
            "status": self.status,
            "milliseconds": milliseconds,
        }


def _refuse_unreadable(scope: Scope) -> None:
    """Text that no key, title or name can contain, and that the database would choke on."""
    for field, text in (("path", scope["path"]), ("query", scope["query_string"].decode("latin-1"))):
        if "\x00" in text or "%00" in text:
            raise Refusal(
                INVALID_INPUT,
                f"{field}: contains a NUL character",
                errors=[FieldProblem(field=field, reason="contains a NUL character")],
            )


async def _read(headers: Headers, receive: Receive) -> bytes:
    """The whole body. Raises Refusal when it is longer than MOST_BODY_BYTES, whether or not it says so."""
    too_large = Refusal(TOO_LARGE, f"at most {MOST_BODY_BYTES:,} bytes are taken; send less at once")
    declared = headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > MOST_BODY_BYTES:
        raise too_large
    body = bytearray()
    while True:  # ends at the latest with the time limit or the bound
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            raise too_large
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes) -> Receive:
    """A body that was read already, once, then the silence of a client that waits for the answer."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        message = next(messages, None)
        return message if message is not None else await asyncio.Future()

    return receive
