"""A stand-in for the one call of Cloudflare's REST API that the mirror makes, on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from alexandria.clock import Clock

ACCOUNT = "an-account"
NAMESPACE = "a-namespace"
TOKEN = "the-kv-token"
FINE = {"success": True, "errors": [], "messages": [], "result": None}

_PATH = f"/client/v4/accounts/{ACCOUNT}/storage/kv/namespaces/{NAMESPACE}/values/alexandria_quota"

Reply = Callable[[], web.Response]


@dataclass
class Cloudflare:
    """Takes values and remembers them."""

    clock: Clock
    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    """What the next requests are answered with; after that everything is fine."""
    received: list[tuple[float, dict[str, object]]] = field(default_factory=list)
    """Every document, with the monotonic time at which it came."""
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.Response:
        assert (request.method, request.path) == ("PUT", _PATH)
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert request.content_type == "application/octet-stream"
        async with self.came:
            self.received.append((self.clock.monotonic(), json.loads(await request.read())))
            self.came.notify_all()
        return self.replies.pop(0)() if self.replies else web.json_response(FINE)

    @property
    def times(self) -> list[float]:
        return [moment for moment, _ in self.received]

    @property
    def used(self) -> list[object]:
        """The units used, as written one after the other."""
        return [document["used"] for _, document in self.received]

    async def until(self, writes: int) -> None:
        """Return once so many requests have come."""
        async with asyncio.timeout(20), self.came:
            await self.came.wait_for(lambda: len(self.received) >= writes)


def status(number: int, *, body: object = None, **headers: str) -> Reply:
    """An answer that is not the usual one."""
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: web.json_response(body, status=number, headers=lines)


@asynccontextmanager
async def running_cloudflare(clock: Clock) -> AsyncIterator[Cloudflare]:
    """The stand-in until the block ends; `clock` tells it when a document came."""
    stand_in = Cloudflare(clock)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", stand_in.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}/client/v4"
    try:
        yield stand_in
    finally:
        await runner.cleanup()
