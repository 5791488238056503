"""The pages in a real browser. Skipped where no Chromium is installed: `apt-get install chromium`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from alexandria.dashboard import views
from alexandria.dashboard.views import FRESH_FOR
from alexandria.sandbox.world import World
from conftest import SetClock
from dashboard.sites import TOKEN, new_database, running_site
from harvesting import sandbox_of

# One browser for the module, and therefore one event loop.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PATHS = (
    "/",
    "/dashboard/queues",
    "/dashboard/runs",
    "/dashboard/runs/20261123-000001",
    "/dashboard/catalogue",
)
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
            "() => [...document.images].every(image => image.complete && image.naturalWidth > 0)"
        )
        assert await page.locator("#latest-covers img").count() == 2
        assert await page.get_by_alt_text("The Green Lamp").evaluate("image => image.naturalWidth") == 128


async def test_times_are_also_given_in_the_viewers_zone(browser: Any, site: Any) -> None:
    async with opened(browser, site) as page:
        assert await page.locator("#quota .figures time").inner_text() == "2026-11-24 00:00 UTC\n(01:00 CET)"


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_keeps_people_from_using_a_page(browser: Any, site: Any, path: str) -> None:
    async with opened(browser, site, path, color_scheme="light") as page:
        for width in (1280, 720, 360):
            await page.set_viewport_size({"width": width, "height": 740})
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate(TOO_WIDE) == []
        await page.get_by_text("Live", exact=True).wait_for()
        await page.evaluate(AXE.read_text("utf-8"))
        # All rules of axe-core, whatever their impact: WCAG 2.2 A and AA, and its best practices.
        assert await page.evaluate(VIOLATIONS, {}) == []
        await page.emulate_media(color_scheme="dark")
        assert await page.evaluate(VIOLATIONS, {"runOnly": ["color-contrast"]}) == []


TOO_WIDE = """[...document.querySelectorAll("body *:not(:is(.strip, .scroll, .plot) *, .skip)")]
  .filter(each => each.getBoundingClientRect().right > innerWidth).map(each => each.outerHTML)"""

VIOLATIONS = """async options => (await axe.run(document, {...options, resultTypes: ["violations"]}))
  .violations.map(each => [each.id, each.nodes[0].html])"""


async def test_every_page_works_without_a_script(browser: Any, site: Any) -> None:
    async with opened(browser, site, java_script_enabled=False) as page:
        for path in PATHS:
            await page.goto(site.address + path)
            assert await page.locator("main section").count() >= 2
            # A form that asks may be sent; what changes something is told as a command.
            assert await page.locator("button:visible:not([type=submit])").count() == 0
            assert "loads itself anew" in await page.locator("main").inner_text()
        await page.goto(site.address + "/dashboard/runs")
        await page.get_by_label("State").select_option("paused")
        await page.get_by_role("button", name="Show").click()
        assert await page.locator("#runs-table tbody tr").count() == 1


async def test_it_updates_itself_and_keeps_the_readers_place(browser: Any, site: Any) -> None:
    async with opened(browser, site) as page:
        link = page.get_by_role("link", name="authors, tier top-1000")
        await link.focus()
        await page.evaluate("document.getElementById('quota').dataset.mark = 'old'")
        assert await page.get_by_text("0 of 4 items (0 %)").first.is_visible()
        await site.write(
            "UPDATE harvest_items SET state = 'done' WHERE run_id = '20261123-000003' AND position = 1"
        )
        await page.get_by_text("1 of 4 items (25 %)").wait_for()
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


async def test_a_hidden_tab_follows_nothing(browser: Any, site: Any) -> None:
    async with opened(browser, site) as page:
        await page.get_by_text("Live", exact=True).wait_for()
        for is_hidden in (True, False):
            await page.evaluate(
                """isHidden => {
                  Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
                  document.dispatchEvent(new Event("visibilitychange"));
                }""",
                is_hidden,
            )
            assert await page.evaluate("source === null") is is_hidden


async def test_it_says_so_when_the_server_falls_silent(browser: Any, site: Any) -> None:
    async with opened(browser, site, expected=["Failed to load resource: net::ERR_FAILED"]) as page:
        await page.get_by_text("Live", exact=True).wait_for()
        await page.get_by_role("button", name="Pause updates").click()
        await page.route("**/dashboard/live?*", lambda route: route.abort())
        await page.get_by_role("button", name="Go on updating").click()
        await page.get_by_text("The server has not answered since").wait_for()
        assert await page.locator("#quota").is_visible()


async def test_a_chart_is_drawn_and_says_its_numbers(browser: Any, site: Any) -> None:
    async with opened(browser, site) as page:
        plot = page.locator("#burndown-chart-plot")
        await plot.locator("canvas").wait_for()
        legend = [each.strip() for each in await plot.locator(".u-legend th").all_inner_texts()]
        assert legend == ["at", "left", "forecast", "if spent evenly"]
        inked = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
        assert await plot.locator("canvas").evaluate(inked) > 20
        light = await plot.locator(".u-marker").nth(1).evaluate("each => getComputedStyle(each).borderColor")
        await page.emulate_media(color_scheme="dark")
        await page.wait_for_function(
            "before => getComputedStyle(document.querySelectorAll('#burndown-chart .u-marker')[1]).borderColor !== before",
            arg=light,
        )
        await page.get_by_text("The numbers").click()
        assert await page.get_by_role("rowheader", name="2026-11-23 12:00").is_visible()


async def test_what_is_unfolded_and_what_is_drawn_stay_through_an_update(browser: Any, site: Any) -> None:
    async with opened(browser, site, "/dashboard/queues") as page:
        details = page.locator("#moves-chart-numbers")
        await details.locator("summary").click()
        await page.evaluate("document.querySelector('#letters details').open = true")
        await page.evaluate("document.querySelector('#letters pre').isOld = true")
        before = await page.locator("#part-letters").get_attribute("data-version")
        await site.write("UPDATE pgqueuer SET attempts = attempts + 1 WHERE status = 'failed'")
        await page.wait_for_function(
            "before => document.getElementById('part-letters').dataset.version !== before", arg=before
        )
        assert await page.evaluate("document.querySelector('#letters details').open")
        assert await page.evaluate("document.querySelector('#letters pre').isOld")
        assert await details.evaluate("details => details.open")
        assert await page.locator("#moves-chart-plot canvas").count() == 1


async def give_token(page: Any, token: str) -> None:
    await page.get_by_label("API token, for the buttons").fill(token)
    await page.get_by_role("button", name="Keep it").click()


async def press(page: Any, name: str, path: str, *, sure: bool = False) -> str:
    """Press a button that posts to a path; returns what is said then."""
    await page.evaluate("document.getElementById('outcome').replaceChildren()")
    async with page.expect_response("**" + path):
        await page.get_by_role("button", name=name, exact=True).first.click()
        if sure:
            await page.locator("#confirm").get_by_role("button", name=name, exact=True).click()
    await page.locator("#outcome:not(:empty)").wait_for()
    said: str = await page.locator("#outcome").inner_text()
    return said


UNAUTHORIZED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"


async def test_a_button_without_or_with_a_wrong_token_says_so(browser: Any, site: Any) -> None:
    async with opened(
        browser, site, "/dashboard/runs/20261123-000003", expected=[UNAUTHORIZED, UNAUTHORIZED]
    ) as page:
        path = "/api/runs/20261123-000003/pause"
        assert (
            await press(page, "Pause", path)
            == "Nothing was done: this needs a token. Give it in the field above."
        )
        assert await page.evaluate("document.activeElement.id") == "token"
        await give_token(page, "quite-a-wrong-token")
        assert "Nothing was done: the token is wrong." in await press(page, "Pause", path)
        assert await page.locator("#summary .badge").inner_text() == "running"


async def test_a_run_is_paused_resumed_and_cancelled(browser: Any, site: Any) -> None:
    async with opened(browser, site, "/dashboard/runs/20261123-000003") as page:
        await give_token(page, TOKEN)
        badge = page.locator("#summary .badge").first
        for button, sure, said, state in (
            ("Pause", False, "The run is paused; calls on their way are finished.", "paused"),
            ("Resume", False, "The run goes on.", "running"),
            ("Cancel", True, "The run is cancelled; what it brought stays.", "cancelled"),
        ):
            path = f"/api/runs/20261123-000003/{button.lower()}"
            assert await press(page, button, path, sure=sure) == said
            site.clock.advance(FRESH_FOR)
            await page.wait_for_function(
                "state => document.querySelector('#summary .badge').textContent === state", arg=state
            )
            assert await badge.inner_text() == state
        assert await page.get_by_role("button", name="Resume").count() == 0


async def test_failed_items_are_tried_again(browser: Any, site: Any) -> None:
    async with opened(browser, site, "/dashboard/runs/20261123-000001") as page:
        await give_token(page, TOKEN)
        said = await press(page, "Try failed items again", "/api/runs/20261123-000001/retry")
        assert said == "What failed is tried again."
        site.clock.advance(FRESH_FOR)
        await page.get_by_text("3 of 4 items (75 %)").wait_for()


async def test_a_dead_letter_is_tried_again_and_another_discarded(browser: Any, site: Any) -> None:
    async with opened(browser, site, "/dashboard/queues") as page:
        await give_token(page, TOKEN)
        letters = page.locator("#letters article")
        assert await letters.count() == 2
        # Whoever is asked and says no changes nothing.
        await letters.first.get_by_role("button", name="Discard").click()
        await page.keyboard.press("Escape")
        assert await page.locator("#confirm").is_visible() is False
        assert "is in the queue again" in await press(page, "Try again", "/retry")
        site.clock.advance(FRESH_FOR)
        await page.wait_for_function("() => document.querySelectorAll('#letters article').length === 1")
        assert "is discarded" in await press(page, "Discard", "/discard", sure=True)
        site.clock.advance(FRESH_FOR)
        await page.get_by_text("There is none.").wait_for()


async def test_a_harvest_is_seen_as_it_goes(
    browser: Any, server_url: str, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "FRESH_FOR", timedelta(milliseconds=100))
    monkeypatch.setattr(views, "LONGEST_REST", timedelta(milliseconds=200))
    world = World.invent(seed=3, authors=4, works_per_top_author=8)
    author = next(iter(world.truth.authors.values()))
    with new_database(server_url, template) as url:
        async with sandbox_of(world) as sandbox:
            settings = {
                "isbndb_url": sandbox.url,
                "isbndb_key": "sandbox-key",
                "requests_per_minute": "6000",
                "download_hosts": sandbox.covers_url.partition("://")[2].rstrip("/"),
                "schedule": "off",
                "alert_disk_gib": "0",
            }
            with running_site(url, tmp_path, SetClock(), with_worker=True, **settings) as site:
                async with opened(browser, site, "/dashboard/runs") as page:
                    assert await page.get_by_text("Nothing was harvested yet.").is_visible()
                    await page.evaluate("window.isOld = true")
                    answer = await page.request.post(
                        f"{site.address}/api/harvest/authors", data={"authors": [author.name]}
                    )
                    assert answer.status == 202
                    row = page.get_by_role("row", name=author.name)
                    await row.get_by_text("done", exact=True).wait_for(timeout=30_000)
                    assert "1 of 1" in await row.inner_text()
                    assert await page.evaluate("window.isOld")  # the page was never loaded anew
                    await row.get_by_role("link").click()
                    units = page.locator("#summary dt:text-is('Units spent') + dd")
                    assert int((await units.inner_text()).split()[0]) >= 1
