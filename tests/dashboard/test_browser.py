"""The pages in a real browser. Skipped where no Chromium is installed: `apt-get install chromium`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

# One browser for the module, and therefore one event loop.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PATHS = ("/", "/dashboard/catalogue")
AXE = Path(__file__).parent / "vendor" / "axe.min.js"


@asynccontextmanager
async def opened(
    browser: Any, site: Any, path: str = "/", *, expected: Sequence[str] = (), **options: Any
) -> AsyncIterator[Any]:
    """A page, as this viewer sees it; it must not complain, but for what is expected, nor ask anybody but its server."""
    context = await browser.new_context(timezone_id="Europe/Berlin", locale="en-GB", **options)
    page = await context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(site.address + path)
    yield page
    await context.close()
    assert complaints == list(expected)
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(site.address).netloc}


async def test_the_overview_shows_its_data_and_is_live(browser: Any, site: Any) -> None:
    async with opened(browser, site) as page:
        bar = page.get_by_label("1,234 of 13,000 units used")
        assert await bar.evaluate("bar => bar.position") == pytest.approx(1234 / 13_000)
        await page.get_by_text("Live", exact=True).wait_for()


async def test_pictures_are_shown(browser: Any, site: Any) -> None:
    async with opened(browser, site, "/dashboard/catalogue") as page:
        await page.locator("#latest-covers").scroll_into_view_if_needed()
        await page.wait_for_function(
            "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
        )
        assert await page.locator("#latest-covers img").count() == 2
        assert await page.get_by_alt_text("The Green Lamp").evaluate("image => image.naturalWidth") == 128


async def test_times_are_also_given_in_the_viewers_zone(browser: Any, site: Any) -> None:
    async with opened(browser, site) as page:
        assert await page.locator("#quota .figures time").inner_text() == "2026-11-24 00:00 UTC\n(01:00 CET)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
async def test_nothing_keeps_people_from_using_a_page(
    browser: Any, site: Any, path: str, scheme: str
) -> None:
    async with opened(browser, site, path, color_scheme=scheme) as page:
        await page.get_by_text("Live", exact=True).wait_for()
        await page.evaluate(AXE.read_text("utf-8"))
        found = await page.evaluate("axe.run()")
        # All rules of axe-core, whatever their impact: WCAG 2.2 A and AA, and its best practices.
        assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


@pytest.mark.parametrize("width", [360, 720, 1280])
@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_wider_than_the_window(browser: Any, site: Any, path: str, width: int) -> None:
    async with opened(browser, site, path, viewport={"width": width, "height": 740}) as page:
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        too_wide = await page.evaluate(
            "[...document.querySelectorAll('body *:not(:is(.strip, .scroll) *, .skip)')]"
            ".filter(each => each.getBoundingClientRect().right > innerWidth).map(each => each.outerHTML)"
        )
        assert too_wide == []


@pytest.mark.parametrize("path", PATHS)
async def test_it_works_without_a_script(browser: Any, site: Any, path: str) -> None:
    async with opened(browser, site, path, java_script_enabled=False) as page:
        assert await page.locator("main section").count() >= 2
        assert not await page.get_by_role("button").is_visible()
        assert "loads itself anew" in await page.locator("main").inner_text()


async def test_it_updates_itself_and_keeps_the_readers_place(browser: Any, site: Any) -> None:
    async with opened(browser, site) as page:
        link = page.get_by_role("link", name="20261123-000003")
        await link.focus()
        await page.evaluate("document.getElementById('quota').dataset.mark = 'old'")
        assert await page.get_by_text("tier top-1000: 0 of 4").is_visible()
        await site.write(
            "UPDATE harvest_items SET state = 'done' WHERE run_id = '20261123-000003' AND position = 1"
        )
        await page.get_by_text("tier top-1000: 1 of 4").wait_for()
        assert await link.evaluate("link => link === document.activeElement")
        # What did not change was not touched.
        assert await page.locator("#quota").get_attribute("data-mark") == "old"


async def test_updates_can_be_paused(browser: Any, site: Any) -> None:
    async with opened(browser, site) as page:
        await page.get_by_role("button", name="Pause updates").press("Enter")
        await page.get_by_text("Paused", exact=True).wait_for()
        assert await page.evaluate("source === null")
        async with page.expect_request("**/dashboard/live?page=overview"):
            await page.get_by_role("button", name="Go on updating").click()


async def test_it_says_so_when_the_server_falls_silent(browser: Any, site: Any) -> None:
    async with opened(browser, site, expected=["Failed to load resource: net::ERR_FAILED"]) as page:
        await page.get_by_text("Live", exact=True).wait_for()
        await page.get_by_role("button", name="Pause updates").click()
        await page.route("**/dashboard/live?*", lambda route: route.abort())
        await page.get_by_role("button", name="Go on updating").click()
        await page.get_by_text("The server has not answered since").wait_for()
        assert await page.locator("#quota").is_visible()
