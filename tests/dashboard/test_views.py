"""What is remembered of pages: however many look, a view is read once, and few views at the same time."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from alexandria.dashboard import views
from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.errors import StoreUnavailable
from conftest import SetClock


class Number(Asked):
    """Which of many views."""

    number: int = 0


class Library:
    """Something to read that takes as long as a test lets it."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.dashboard = Dashboard(SimpleNamespace(clock=self.clock))  # type: ignore[arg-type]  # no more of it is looked at
        self.page = Page("page", "A page", "/", (), self.read, Number)
        self.readings = self.now = self.most = 0
        self.may_end = asyncio.Event()

    async def read(self, dashboard: Dashboard, asked: Number) -> Mapping[str, object]:
        self.readings += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await self.may_end.wait()
        self.clock.advance(timedelta(seconds=3))  # longer than a reading is fresh
        self.now -= 1
        return {}

    def look(self, number: int = 0) -> asyncio.Task[Any]:
        return asyncio.create_task(self.dashboard.see(self.page, Number(number=number)))


@pytest.fixture
def library() -> Library:
    return Library()


async def test_however_many_look_a_view_is_read_once_even_if_that_takes_long(library: Library) -> None:
    looks = [library.look() for _ in range(5)]
    await asyncio.sleep(0)
    library.may_end.set()
    drawn = await asyncio.gather(*looks)
    assert library.readings == 1
    assert len({id(each) for each in drawn}) == 1
    library.clock.advance(views.FRESH_FOR)
    await library.look()
    assert library.readings == 2


async def test_of_many_views_few_are_read_at_the_same_time(library: Library) -> None:
    looks = [library.look(number) for number in range(20)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert library.now == views.READINGS_AT_ONCE
    library.may_end.set()
    await asyncio.gather(*looks)
    assert (library.readings, library.most) == (20, views.READINGS_AT_ONCE)


async def test_who_waits_too_long_is_told_why_and_those_after_him_at_once(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "READ_SECONDS", 0.01)
    with pytest.raises(StoreUnavailable, match="too many look at once"):
        await library.look()
    with pytest.raises(StoreUnavailable, match="a moment ago"):
        await library.look()
    assert library.readings == 1
