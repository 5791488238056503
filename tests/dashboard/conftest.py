"""A server with something to show, and a browser to look at it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from alexandria.dashboard import live
from alexandria.stores.objects import ObjectStore
from conftest import SetClock
from dashboard.sites import FLAGS, TOKEN, Site, fill, find_chromium, new_database, running_site


@pytest.fixture
def bare_site(server_url: str, template: str, tmp_path: Path) -> Iterator[Site]:
    """A server as it is on the first day: no key, nothing in the catalogue."""
    with new_database(server_url, template) as url, running_site(url, tmp_path, SetClock()) as site:
        yield site


@pytest.fixture(scope="session")
def quick() -> Iterator[None]:
    """Let who follows a page be told within moments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "LOOK_SECONDS", 0.05)
        yield


@pytest.fixture(scope="module")
def site(
    server_url: str, template: str, quick: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A server with a day's quota partly spent, runs in every state, books, covers and failures; one for a module."""
    data_dir, clock = tmp_path_factory.mktemp("data"), SetClock()
    with new_database(server_url, template) as url:
        asyncio.run(fill(url, ObjectStore.open(data_dir / "covers"), clock))
        with running_site(url, data_dir, clock, isbndb_key="a-key", api_tokens=TOKEN) as site:
            yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """An installed Chromium; without one the test is skipped."""
    found = find_chromium()
    if found is None:
        pytest.skip("no Chromium is installed; to run this test: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        await browser.close()
