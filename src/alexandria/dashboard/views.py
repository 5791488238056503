"""Pages and their parts: what a page may be asked for, who reads it, and what is remembered of it for a moment.

A page is a title, an address and some parts. Each part is a template, `templates/<page>/<part>.html`, that is drawn from what the page's
`read` returns; parts that changed are what `live.py` sends to those who look. However many look, a view is read once in `FRESH_FOR`.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, cast

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from alexandria.app import App
from alexandria.dashboard import frame
from alexandria.domain.errors import InvalidInput, StoreUnavailable

FRESH_FOR = timedelta(seconds=2)
"""However many people look, a view is read at most this often."""

REST = 150
"""Who follows a page is content with what is up to so many times as old as reading it took: then following costs less than 1 % of a core,
however much there is to read."""
LONGEST_REST = timedelta(seconds=10)

READ_SECONDS = 5.0
"""Whoever looks at a page learns within this time that the database does not answer, or that too many look at once."""

READINGS_AT_ONCE = 4
"""Views that are read at the same time: however many look, most connections of the pool stay for the API."""

MOST_REMEMBERED = 128
"""Views of which the last reading is kept, some ten kilobytes each; the one that was looked at longest ago is forgotten first."""


class Asked(BaseModel):
    """What the address of a page asks for beyond the page itself. What is not known here is not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_what_was_left_empty(cls, given: Mapping[str, str]) -> Mapping[str, str]:
        """A form sends every field of its own, chosen or not."""
        return {name: text for name, text in given.items() if text}


Wish = TypeVar("Wish", bound=Asked)
Memory = TypeVar("Memory")


@dataclass(frozen=True)
class Page(Generic[Wish]):
    """One page of the dashboard."""

    name: str
    title: str
    address: str
    """May hold names in braces, which then are fields of `asked`."""
    parts: Sequence[str]
    """In the order in which they stand."""
    read: Callable[["Dashboard", Wish], Awaitable[Mapping[str, object]]]
    """What the parts' templates are given. Raises StoreUnavailable, and RecordNotFound or InvalidInput for what can't be shown."""
    asked: type[Wish]
    template: str = "page.html"
    """What the parts stand in."""
    place: str | None = None
    """The page of the navigation that it belongs to; None: it is one itself."""
    is_live: bool = True
    """Whether it may be followed; a search is not done again every two seconds."""

    def parse(self, parameters: Mapping[str, str]) -> Wish:
        """What an address asks for. Raises InvalidInput."""
        try:
            return self.asked.model_validate(parameters)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "the address"
            raise InvalidInput(name, first.get("input"), f"is not valid: {_lower(first['msg'])}") from None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


@dataclass(frozen=True)
class Part:
    """A part of a page as it was drawn; another `version` is another text."""

    html: Markup
    version: str

    @classmethod
    def of(cls, html: str) -> "Part":
        """A text with its version."""
        # What templates drew is markup: what came from outside was escaped there.
        return cls(Markup(html), hashlib.sha256(html.encode()).hexdigest()[:12])  # noqa: S704


@dataclass(frozen=True)
class Drawn:
    """A page as of `read_at`, when its reading began; it is fresh from when that had ended."""

    read_at: datetime
    drawn_at: datetime
    parts: Mapping[str, Part]
    values: Mapping[str, object]
    rest: timedelta
    """How old it may get for who follows the page."""


@dataclass
class _View:
    """One page for one wish, and the last reading of it."""

    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    drawn: Drawn | None = None
    failed_at: datetime | None = None


@dataclass
class Dashboard:
    """Draws pages, and remembers them for a moment."""

    app: App
    worker_state: Callable[[], tuple[str, str]] = lambda: ("off", "")
    """How the worker inside this process is, in a word and in a sentence."""
    viewers: int = 0
    """How many follow a page live."""
    _views: OrderedDict[tuple[str, Asked], _View] = field(default_factory=OrderedDict)
    _memories: OrderedDict[str, tuple[datetime, object]] = field(default_factory=OrderedDict)
    _reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READINGS_AT_ONCE))

    async def remember(self, name: str, span: timedelta, read: Callable[[], Awaitable[Memory]]) -> Memory:
        """What `read` returned within the last `span`: for what takes long to read and changes slowly."""
        now = self.app.clock.now()
        known = self._memories.get(name)
        if known is None or not now - span < known[0] <= now:
            known = self._memories[name] = (now, await read())
        _trim(self._memories, name)
        return cast("Memory", known[1])

    async def see(self, page: Page[Any], asked: Asked, *, is_patient: bool = False) -> Drawn:
        """A page as it is now, at most `FRESH_FOR` old, or as old as the patient allow. Raises StoreUnavailable and what `read` raises."""
        view = self._view(page, asked)
        try:
            async with asyncio.timeout(READ_SECONDS), view.reading:
                now = self.app.clock.now()
                fresh_for = view.drawn.rest if is_patient and view.drawn else FRESH_FOR
                if view.drawn is not None and now - fresh_for < view.drawn.drawn_at <= now:
                    return view.drawn
                if view.failed_at is not None and now - FRESH_FOR < view.failed_at <= now:
                    raise StoreUnavailable("the database did not answer a moment ago")
                try:
                    view.drawn = await self._read(page, asked)
                except StoreUnavailable:
                    # Those who wait behind the lock are not to wait as long again, one after the other.
                    view.failed_at = self.app.clock.now()
                    raise
                return view.drawn
        except TimeoutError as error:
            view.failed_at = self.app.clock.now()
            reason = "the database is slow, or too many look at once"
            raise StoreUnavailable(
                f"the dashboard could not be read within {READ_SECONDS:g} s: {reason}"
            ) from error

    async def _read(self, page: Page[Any], asked: Asked) -> Drawn:
        async with self._reading:
            began, read_at = self.app.clock.monotonic(), self.app.clock.now()
            values = await page.read(self, asked)
            parts = {
                part: Part.of(frame.render(f"{page.name}/{part}.html", asked=asked, **values))
                for part in page.parts
            }
            took = timedelta(seconds=self.app.clock.monotonic() - began)
        rest = min(max(FRESH_FOR, REST * took), LONGEST_REST)
        return Drawn(read_at, self.app.clock.now(), parts, values, rest)

    def _view(self, page: Page[Any], asked: Asked) -> _View:
        key = (page.name, asked)
        view = self._views.setdefault(key, _View())
        _trim(self._views, key)
        return view


def _trim(remembered: OrderedDict[Any, Any], used: object) -> None:
    remembered.move_to_end(used)
    while len(remembered) > MOST_REMEMBERED:
        remembered.popitem(last=False)
