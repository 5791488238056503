"""Makes the pictures of docs/dashboard.md anew: `make screenshots`. Needs a Chromium.

With `--serve` it serves what they show until Ctrl-C, to look at while changing a page.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyvips
from playwright.async_api import Browser, async_playwright

from alexandria.stores.embedded import running_server
from alexandria.stores.objects import ObjectStore
from alexandria.stores.postgres import Database, migrate
from alexandria.telemetry import configure_logs
from conftest import SetClock
from dashboard.showcase import KEY, fill_showcase
from dashboard.sites import FLAGS, Site, find_chromium, running_site

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"

PAGES = {
    "overview": "/",
    "queues": "/dashboard/queues",
    "runs": "/dashboard/runs",
    "run": "/dashboard/runs/20261123-4b81d0",
    "catalogue": "/dashboard/catalogue",
    "search": "/dashboard/catalogue/search?q=frankenstein",
    "usage": "/dashboard/usage",
}
FORMS: Mapping[str, Mapping[str, Any]] = {
    "light": {"viewport": {"width": 1180, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1180, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "is_mobile": True},
}
MOST_HEIGHT = 2600


@contextmanager
def showcase() -> Iterator[Site]:
    """A server over an invented day."""
    with tempfile.TemporaryDirectory(prefix="alexandria-pictures-") as folder:
        Path(folder).chmod(0o755)
        with running_server(Path(folder)) as url:
            clock = SetClock()
            covers = ObjectStore.open(Path(folder) / "data" / "covers")
            asyncio.run(fill(url, covers, clock))
            with running_site(
                url,
                Path(folder) / "data",
                clock,
                isbndb_key=KEY,
                contact="a@example.org",
                alerts_off="all",
                schedule="off",
                log_level="error",
            ) as site:
                yield site


async def fill(url: str, objects: ObjectStore, clock: SetClock) -> None:
    """Migrate an empty database, and fill it."""
    async with Database.open(url) as database:
        await migrate(database)
    await fill_showcase(url, objects, clock)


async def take(site: Site, only: str | None) -> None:
    """One picture of each page in each form."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        for name, path in PAGES.items():
            for form in FORMS:
                if only in {None, name}:
                    await take_one(browser, site, name, path, form)
        await browser.close()


async def take_one(browser: Browser, site: Site, name: str, path: str, form: str) -> None:
    """One picture, with few colours: a page has no more."""
    context = await browser.new_context(**FORMS[form], locale="en-GB", timezone_id="Europe/Berlin")
    page = await context.new_page()
    await page.goto(site.address + path)
    if await page.locator("#live-state").count():
        await page.get_by_text("Live", exact=True).wait_for()
    await page.evaluate("() => { for (const image of document.images) image.loading = 'eager' }")
    await page.wait_for_function("() => [...document.images].every(image => image.complete)")
    height = min(MOST_HEIGHT, await page.evaluate("document.documentElement.scrollHeight"))
    width = page.viewport_size["width"] if page.viewport_size else 0
    body = await page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})
    await context.close()
    IMAGES.mkdir(exist_ok=True)
    target = IMAGES / f"dashboard-{name}-{form}.png"
    pyvips.Image.new_from_buffer(body, "").pngsave(str(target), palette=True, Q=90, effort=10)
    print(target.name, target.stat().st_size)


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="serve until Ctrl-C instead")
    parser.add_argument("--only", choices=list(PAGES), help="only this page")
    wanted = parser.parse_args()
    configure_logs("error")
    with showcase() as site:
        if wanted.serve:
            print(site.address)
            asyncio.run(asyncio.Event().wait())
        else:
            asyncio.run(take(site, wanted.only))


if __name__ == "__main__":
    main()
