"""What the faults that struck a request do to its answer."""

import gzip
import math
from dataclasses import dataclass, replace

from aiohttp import web

from alexandria.sandbox.accounts import Standing
from alexandria.sandbox.answers import Page, Price, Refusal, Reply, refuse
from alexandria.sandbox.faults import Fault, FaultKind
from alexandria.sandbox.switches import Switches

GATEWAY_PAGE = b"<!doctype html><html><body><h1>Please stand by</h1></body></html>"
"""What a gateway shows instead of an answer."""


@dataclass(frozen=True, slots=True)
class Mishaps:
    """The faults of one request."""

    faults: tuple[Fault, ...] = ()

    def get(self, kind: FaultKind) -> Fault | None:
        """The first fault of this kind, if one struck."""
        return next((each for each in self.faults if each.kind is kind), None)

    def spoil_page(self, page: Page) -> Page:
        """The page without its records, or with a wrong total."""
        if self.get(FaultKind.EMPTY_PAGE):
            page = replace(page, items=[])
        return page.wrong_total() if self.get(FaultKind.WRONG_TOTAL) else page

    def spoil(self, reply: Reply, switches: Switches) -> Reply:
        """A failure instead of a good answer, or a damaged one; a refusal stays what it is."""
        if reply.status != 200 or not self.faults:
            return reply
        charged = reply.units * switches.cost_server_error
        if self.get(FaultKind.ERROR_500):
            return replace(refuse(Refusal(500, "Internal Server Error", Price.FREE), switches), units=charged)
        if fault := self.get(FaultKind.UNAVAILABLE_503):
            failure = refuse(Refusal(503, "Search is temporarily unavailable", Price.FREE), switches)
            return replace(failure, units=charged, headers=(("Retry-After", str(math.ceil(fault.seconds))),))
        if self.get(FaultKind.TRUNCATED_JSON):
            return replace(reply, body=reply.body[: len(reply.body) // 2])
        if self.get(FaultKind.HTML_BODY):
            return replace(reply, body=GATEWAY_PAGE, content_type="text/html")
        if self.get(FaultKind.GZIP_CUT):
            packed = gzip.compress(reply.body)
            return replace(reply, body=packed[: len(packed) // 2], headers=(("Content-Encoding", "gzip"),))
        return reply

    def pretend(self, standing: Standing) -> Standing:
        """The standing that a forced 429 tells of."""
        if fault := self.get(FaultKind.RATE_429):
            return replace(standing, rate_left=0, rate_wait=max(1, math.ceil(fault.seconds)))
        return replace(standing, left=0) if self.get(FaultKind.DAILY_429) else standing


def drop(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)  # never sent; the server wants something


async def cut(request: web.BaseRequest, reply: Reply, headers: list[tuple[str, str]]) -> web.StreamResponse:
    """Send half of the body that Content-Length announces, then close the connection."""
    response = web.StreamResponse(status=reply.status)
    for name, value in headers:
        response.headers.add(name, value)
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
