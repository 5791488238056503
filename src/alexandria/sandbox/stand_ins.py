"""The stand-ins for sources without paid units: what they have in common, and which of them a path belongs to.

Each has its own limits, its own faults by name, and an answer for what it does not know (docs/sandbox.md).
"""

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from alexandria.sandbox.accounts import Accounts
from alexandria.sandbox.faults import Fault, FaultKind, Faults
from alexandria.sandbox.mishaps import GATEWAY_PAGE, drop
from alexandria.sandbox.received import Received, ReceivedCall
from alexandria.sandbox.routes import Free

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_IDENTIFIES = re.compile(r"bot|spider|crawl|google|http|@", re.IGNORECASE)
"""What counts as naming somebody in a User-Agent (contracts/openlibrary.md, section 6)."""


@dataclass(frozen=True, slots=True)
class Given:
    """One answer of a stand-in."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    units: int = 0
    """What it took of a day's quota."""


def given_json(value: object, status: int = 200, **members: Any) -> Given:
    """An answer in JSON."""
    return Given(status, json.dumps(value, ensure_ascii=False).encode(), **members)


class Source(Protocol):
    """What a stand-in brings of its own."""

    def answer(self, path: str, query: Mapping[str, str]) -> Given:
        """The answer to a GET, its limits left aside."""
        ...

    def refuse(self, user_agent: str, query: Mapping[str, str]) -> Given | None:
        """Why whoever asks gets nothing; None when he may."""
        ...

    def limited(self, wait_seconds: int) -> Given:
        """The answer to who is too fast."""
        ...

    def emptied(self, given: Given) -> Given:
        """A good answer without what it found."""
        ...


@dataclass
class Bucket:
    """A leaky bucket: so many a second leave it, and so many may stand in it (nginx's limit_req)."""

    rate: float
    burst: int
    _level: float = 0.0
    _seen: float = field(default=-math.inf)

    def wait(self, moment: float) -> int:
        """0 when one more fits in now, else the seconds until it does, rounded up; `moment` is monotonic."""
        leaked = (moment - self._seen) * self.rate if self._seen > -math.inf else self._level
        self._level, self._seen = max(0.0, self._level - leaked), moment
        if self._level + 1 > self.burst + 1:
            return max(1, math.ceil((self._level - self.burst) / self.rate))
        self._level += 1
        return 0


def names_a_contact(user_agent: str) -> bool:
    """Whether a User-Agent says who runs the program."""
    return _IDENTIFIES.search(user_agent) is not None


class StandIns:
    """All stand-ins on one port, each under the path of its name; every other path is ISBNdb's."""

    def __init__(
        self, accounts: Accounts, faults: Faults, sources: Mapping[Free, tuple[Source, Bucket]]
    ) -> None:
        self.received = Received()
        self._accounts = accounts
        self._faults = faults
        self._sources = sources

    def before(self, isbndb: Handler) -> Handler:
        """A handler that gives each request to whom it is for."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            name, _, rest = request.path.removeprefix("/").partition("/")
            if name in set(Free):
                return await self._handle(Free(name), f"/{rest}", request)
            return await isbndb(request)

        return handle

    async def _handle(self, name: Free, path: str, request: web.BaseRequest) -> web.StreamResponse:
        source, bucket = self._sources[name]
        faults = {each.kind: each for each in self._faults.strike(name, path)}
        if fault := faults.get(FaultKind.LATENCY):
            await asyncio.sleep(fault.seconds)
        if FaultKind.DROP_BEFORE in faults:
            return drop(request)
        query = dict(request.query)
        given = self._admit(source, bucket, request, query, faults) or source.answer(path, query)
        if given.status == 200:
            given = _spoil(source, given, faults)
        shown = {each: value for each, value in query.items() if each != "key"}
        self.received.add(
            ReceivedCall(
                at=self._accounts.now(self._accounts.switches),
                method=request.method,
                path=path,
                query="&".join(f"{each}={value}" for each, value in sorted(shown.items())),
                status=given.status,
                units=given.units,
                endpoint=name.value,
                key_hash="",
            )
        )
        return web.Response(
            status=given.status,
            body=given.body,
            content_type=given.content_type,
            headers=dict(given.headers),
        )

    def _admit(
        self,
        source: Source,
        bucket: Bucket,
        request: web.BaseRequest,
        query: Mapping[str, str],
        faults: Mapping[FaultKind, Fault],
    ) -> Given | None:
        if request.method != "GET":
            return Given(405, b"", "text/plain")
        if FaultKind.EMPTY_403 in faults:
            return Given(403, b"<html><h1>403 Forbidden</h1></html>", "text/html")
        if fault := faults.get(FaultKind.RATE_429):
            return source.limited(math.ceil(fault.seconds))
        refused = source.refuse(request.headers.get("User-Agent", ""), query)
        if refused is None and (wait := bucket.wait(self._accounts.clock.monotonic())):
            return source.limited(wait)
        return refused


def _spoil(source: Source, given: Given, faults: Mapping[FaultKind, Fault]) -> Given:
    if FaultKind.ERROR_500 in faults:
        return Given(500, b"<html><h1>Internal Server Error</h1></html>", "text/html")
    if fault := faults.get(FaultKind.UNAVAILABLE_503):
        return Given(503, b"", "text/html", (("Retry-After", str(math.ceil(fault.seconds))),))
    if FaultKind.TRUNCATED_JSON in faults:
        return Given(200, given.body[: len(given.body) // 2])
    if FaultKind.HTML_BODY in faults:
        return Given(200, GATEWAY_PAGE, "text/html")
    return source.emptied(given) if FaultKind.EMPTY_PAGE in faults else given
