"""Pages that stay current: server-sent events (WHATWG HTML, section 9.2) that tell which parts of a page have changed.

Nobody is told anything when nothing has changed, but for a comment now and then that shows whether the viewer is still there. A view
is read once for all who follow it, and the less often the longer that takes (`views.py`). Each viewer knows which versions it has: no
queue can grow behind a slow one.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.errors import AlexandriaError, StoreUnavailable

log = structlog.get_logger()

LOOK_SECONDS = 2.0
"""How often it is looked whether something has changed."""

PROMPT_LOOKS = 2
"""So many looks see what is no older than `FRESH_FOR`: who has pressed a button comes anew, to see what came of it."""

SIGN_SECONDS = 15.0
"""After so long without news the viewer gets a sign of life."""

SEND_SECONDS = 10.0
"""A viewer that takes nothing for so long makes room for others."""

MOST_VIEWERS = 100
"""Of one process; further ones are asked to come again."""

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
]


@dataclass
class Following:
    """One viewer of one page."""

    dashboard: Dashboard
    page: Page[Any]
    asked: Asked
    _seen: dict[str, str] = field(default_factory=dict)
    _is_troubled: bool = False
    _looks: int = 0

    async def look(self) -> bytes:
        """What there is to tell since the last look, which may be nothing. Raises what the page raises but StoreUnavailable."""
        try:
            self._looks += 1
            drawn = await self.dashboard.see(self.page, self.asked, is_patient=self._looks > PROMPT_LOOKS)
        except StoreUnavailable:
            is_new, self._is_troubled = not self._is_troubled, True
            return _event("trouble", {"reason": "The database does not answer."}) if is_new else b""
        changed = {
            name: {"version": part.version, "html": part.html}
            for name, part in drawn.parts.items()
            if self._seen.get(name) != part.version
        }
        if not changed and not self._is_troubled:
            return b""
        self._is_troubled = False
        self._seen |= {name: part["version"] for name, part in changed.items()}
        return _event("parts", {"read_at": drawn.read_at.isoformat(), "parts": changed})


def _event(name: str, data: Mapping[str, object]) -> bytes:
    # JSON has no line break outside of its texts, where it is escaped: one line of data is enough.
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


class EventStream(Response):
    """The events of one viewer, until it goes away or the server stops."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self.status_code = 200
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the viewer has gone, `scope["stopping"]` is set, or the page can't be shown any more."""
        dashboard = self._following.dashboard
        dashboard.viewers += 1
        gone = asyncio.create_task(_wait_until_gone(receive))
        stopping = asyncio.create_task(scope["stopping"].wait())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            async for event in self._events({gone, stopping}):
                async with asyncio.timeout(SEND_SECONDS):
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            with suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.info(
                "dashboard.unfollowed", page=self._following.page.name, reason="nobody takes what is sent"
            )
        finally:
            dashboard.viewers -= 1
            gone.cancel()
            stopping.cancel()
            await asyncio.gather(gone, stopping, return_exceptions=True)

    async def _events(self, ends: set[asyncio.Task[Any]]) -> AsyncIterator[bytes]:
        quiet_seconds = 0.0
        yield b"retry: 3000\n\n"
        while True:  # ends with one of `ends`
            try:
                event = await self._following.look()
            except AlexandriaError as error:
                log.info("dashboard.unfollowed", page=self._following.page.name, reason=str(error))
                return
            if event or quiet_seconds >= SIGN_SECONDS:
                quiet_seconds = 0.0
                yield event or b": nothing new\n\n"
            done, _ = await asyncio.wait(ends, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
            quiet_seconds += LOOK_SECONDS


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
