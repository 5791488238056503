"""Stand-ins for where notices go, on real sockets: an HTTP address and a mail server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Received:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class Listener:
    """Takes whatever is posted, and answers with `statuses` first, then with 200."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers come while it is set."""
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/notices/secret-path"

    @property
    def apprise_url(self) -> str:
        """The same as Apprise takes it: its JSON service, with a user, a password and a token in the query."""
        return (
            f"json://person:secret-password@127.0.0.1:{self.port}/notices/secret-path?+X-Token=secret-token"
        )

    @property
    def titles(self) -> list[str]:
        return [each.json["title"] for each in self.received]

    async def until(self, notices: int) -> None:
        """Return once so many have come."""
        async with asyncio.timeout(40):
            while len(self.received) < notices:
                self._came.clear()
                await self._came.wait()

    async def handle(self, request: web.Request) -> web.Response:
        self.received.append(Received(request.path, dict(request.headers), await request.read()))
        self._came.set()
        await self.gate.wait()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@asynccontextmanager
async def running_listener() -> AsyncIterator[Listener]:
    """The HTTP address until the block ends."""
    listener = Listener()
    listener.gate.set()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", listener.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.01, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    listener.port = runner.addresses[0][1]
    try:
        yield listener
    finally:
        listener.gate.set()
        await runner.cleanup()


@dataclass
class MailServer:
    """As much of SMTP as it takes to be handed a mail."""

    port: int = 0
    mails: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            match line[:4].upper():
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    self.mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                    writer.write(b"250 taken\r\n")
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                case _:
                    writer.write(b"250 fine\r\n")
        writer.close()


@asynccontextmanager
async def running_mail_server() -> AsyncIterator[MailServer]:
    """The mail server until the block ends."""
    server = MailServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
