"""The pages of the catalogue and of usage: as the server draws them, and in a real browser."""

import asyncio
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest

from alexandria.dashboard import catalogue, catalogue_search
from dashboard.test_browser import AXE, TOO_WIDE, VIOLATIONS, opened
from dashboard.test_page import get, words

ISBN = "9780306406157"
SEARCH = "/dashboard/catalogue/search"
LAMPS, DOUBTS = 25, 60

FILL = """
INSERT INTO editions (key, work_key, title, publisher, published, language, created_at)
SELECT 'lamp' || n, 'OL1W', 'A lamp with the number ' || n, 'Lamps & Sons', '1851', 'en', '2026-11-22 10:00Z'
  FROM generate_series(1, 25) AS n;
INSERT INTO reviews (kind, subject, other, reason, created_at)
SELECT 'name_shared', 'a name ' || n, '', 'two authors are called that', '2026-11-20 10:00Z'
  FROM generate_series(1, 60) AS n;
INSERT INTO reviews (kind, subject, other, reason, created_at)
VALUES ('isbn_shared', '9780306406157', 'e0', 'isbndb gives it to <b>another</b> title', '2026-11-23 10:00Z');
INSERT INTO meter_days (day, sample, labels, value)
SELECT (now() AT TIME ZONE 'UTC')::date, sample, labels::jsonb, value
  FROM (VALUES ('alexandria_provider_calls_total', '{"provider": "isbndb", "endpoint": "author", "outcome": "delivered"}', 90),
               ('alexandria_provider_calls_total', '{"provider": "isbndb", "endpoint": "author", "outcome": "limited"}', 6),
               ('alexandria_provider_calls_total', '{"provider": "isbndb", "endpoint": "bulk", "outcome": "interrupted"}', 4),
               ('alexandria_provider_call_seconds_count', '{"provider": "isbndb", "endpoint": "author"}', 100),
               ('alexandria_provider_call_seconds_sum', '{"provider": "isbndb", "endpoint": "author"}', 40),
               ('alexandria_provider_call_seconds_bucket', '{"provider": "isbndb", "endpoint": "author", "le": "0.5"}', 50),
               ('alexandria_provider_call_seconds_bucket', '{"provider": "isbndb", "endpoint": "author", "le": "1.0"}', 100),
               ('alexandria_provider_call_seconds_bucket', '{"provider": "isbndb", "endpoint": "author", "le": "+Inf"}', 100))
       AS sample (sample, labels, value);
"""


@pytest.fixture(scope="module", autouse=True)
def more(site: Any) -> None:
    """A shelf of lamps, doubts, and calls."""
    with psycopg.connect(site.database_url, autocommit=True) as connection:
        connection.execute(FILL.encode())
    site.clock.advance(timedelta(hours=1))


def search(site: Any, **wanted: object) -> tuple[int, str]:
    """Status and markup of a search."""
    status, _, html = get(site.address, f"{SEARCH}?{urlencode(wanted)}")
    return status, html


# The catalogue


def test_the_catalogue_says_what_it_holds_and_how_it_grows(site: Any) -> None:
    _, _, html = get(site.address, "/dashboard/catalogue")
    text = words(html)
    for expected in (
        f"Editions {LAMPS + 2} +{LAMPS} in 30 days",
        "Works 1 +0 in 30 days",
        "Covers 2 +2 in 30 days",
        f"22 Nov {LAMPS} 0 0 0",
        "Title 100 %",
        "Publisher 92 %",
        "Pages 0 %",
        f"Of all {LAMPS + 2} editions",
        "Stored 2 Wanted 0 still to come Failed 1",
        f"The latest of {DOUBTS + 1} doubts",
        "isbndb gives it to &lt;b&gt;another&lt;/b&gt; title",
    ):
        assert expected in text, expected


def test_pictures_have_their_place_before_they_are_there(site: Any) -> None:
    _, _, html = get(site.address, "/dashboard/catalogue")
    pictures = re.findall(r"<img src=\"/covers/[^>]+>", html)
    assert len(pictures) == 2
    assert all('width="88" height="132" loading="lazy"' in each for each in pictures)
    assert 'alt="The Green Lamp"' in "".join(pictures)


def test_a_search_is_read_on_where_it_ended(site: Any) -> None:
    seen: list[str] = []
    address: str | None = f"{SEARCH}?q=lamp+WITH&by=title"
    while address and len(seen) < LAMPS:
        _, _, html = get(site.address, address)
        seen += re.findall(r"<h3>(A lamp with[^<]+)</h3>", html)
        found = re.search(r'<a href="(\?[^"]+)" rel="next">', html)
        address = f"{SEARCH}{found[1].replace('&amp;', '&')}" if found else None
    assert (address, len(seen), len(set(seen))) == (None, LAMPS, LAMPS)


@pytest.mark.parametrize(
    "wanted",
    [
        {"q": "green lamp"},
        {"q": "ada prolific", "by": "author"},
        {"q": "0-306-40615-2"},
        {"q": ISBN, "by": "isbn"},
    ],
)
def test_a_book_is_found_with_its_cover(site: Any, wanted: dict[str, str]) -> None:
    status, html = search(site, **wanted)
    assert status == 200
    assert "<h3>The Green Lamp</h3>" in html
    assert f'<img src="/covers/{ISBN}/small" alt="Cover of The Green Lamp" width="64" height="96"' in html
    assert "<p>Ada Prolific</p>" in html
    assert f'<a href="/api/editions/{ISBN}">{ISBN}</a>' in html


def test_nothing_found_says_what_to_do(site: Any) -> None:
    assert "Nothing found No title in the catalogue has this in it." in words(search(site, q="xylophone")[1])
    assert "alexandria harvest isbns 9780140328721" in words(search(site, q="9780140328721")[1])
    assert "Nothing was looked for yet" in words(search(site)[1])


def test_what_is_looked_for_is_text_and_never_markup(site: Any) -> None:
    html = search(site, q="<script>alert(1)</script>")[1]
    assert "<script>alert" not in html
    assert 'value="&lt;script&gt;alert(1)&lt;/script&gt;"' in html


def test_every_doubt_is_shown_once(site: Any) -> None:
    seen: list[str] = []
    address: str | None = "/dashboard/catalogue/reviews"
    while address and len(seen) <= DOUBTS:
        _, _, html = get(site.address, address)
        assert f"{DOUBTS + 1} in all" in words(html)
        seen += re.findall(r"q=(a\+name\+\d+|\d{13})&amp;by=", html)
        found = re.search(r'<a href="(\?after=[^"]+)" rel="next">', html)
        address = f"/dashboard/catalogue/reviews{found[1]}" if found else None
    assert (address, len(seen), len(set(seen))) == (None, DOUBTS + 1, DOUBTS + 1)
    assert seen[0] == ISBN


async def test_a_search_that_takes_too_long_is_given_up(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_search, "MOST_SECONDS", timedelta(milliseconds=100))
    with psycopg.connect(site.database_url) as connection:
        connection.execute("LOCK TABLE editions IN ACCESS EXCLUSIVE MODE")
        status, html = await asyncio.to_thread(search, site, q="of")
    assert status == 422
    assert "q is a part of too many titles or names to be put in order in time" in words(html)


async def test_a_measurement_that_takes_too_long_does_not_hold_up_the_page(
    bare_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "MOST_SECONDS", timedelta(milliseconds=100))
    with psycopg.connect(bare_site.database_url) as connection:
        connection.execute("LOCK TABLE contributions IN ACCESS EXCLUSIVE MODE")
        status, _, html = await asyncio.to_thread(get, bare_site.address, "/dashboard/catalogue")
    assert status == 200
    assert "That could not be found out in time" in words(html)


# Usage


def test_usage_says_what_units_were_spent_on_and_brought(site: Any) -> None:
    text = words(get(site.address, "/dashboard/usage")[2])
    for expected in (
        "Units 1,234 in 30 days",
        "New editions 20 of 36 found",
        "Covers found 12 2 stored",
        "23 Nov 1,200 34",
        "author-bibliography 1,200 20 0.02 12 0.01",
        "new-releases 34 0 0 0 0",
        "isbndb 100 90 0 6 0 4",
        "isbndb 100 0.5 0.95 0.99",
    ):
        assert expected in text, expected


def test_usage_reaches_as_far_back_as_asked(site: Any) -> None:
    for days, first in ((7, "17 Nov"), (90, "26 Aug")):
        _, _, html = get(site.address, f"/dashboard/usage?days={days}")
        text = words(html)
        assert f"Units 1,234 in {days} days" in text
        assert f"Day author-bibliography new-releases {first} 0 0" in text
        assert f'<a href="?days={days}" aria-current="true">' in html


def test_the_first_day_is_told_in_words(bare_site: Any) -> None:
    assert "No ISBNdb key is set, so no unit was spent." in words(
        get(bare_site.address, "/dashboard/usage")[2]
    )
    text = words(get(bare_site.address, "/dashboard/catalogue")[2])
    for expected in (
        "The catalogue is empty.",
        "There is no edition yet.",
        "No cover is wanted yet.",
        "Nothing:",
    ):
        assert expected in text, expected
    assert "Nothing waits for a person." in words(get(bare_site.address, "/dashboard/catalogue/reviews")[2])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/dashboard/usage?days=8", "days is not valid: it must be 7, 30 or 90"),
        ("/dashboard/usage?days=x", "days is not valid"),
        (f"{SEARCH}?q=lamp&after=x", "after is not valid"),
        (f"{SEARCH}?q=lamp&after=-1", "after is not valid"),
        (f"{SEARCH}?q=lamp&after=1001", "after is not valid"),
        (f"{SEARCH}?q=lamp&by=smell", "by is not valid"),
        (f"{SEARCH}?q=a", "q needs at least two letters or digits"),
        (f"{SEARCH}?q=12&by=isbn", "q "),
        (f"{SEARCH}?q={'a' * 201}", "q is not valid"),
        ("/dashboard/catalogue/reviews?after=nonsense", "after is no place in this list"),
        (f"/dashboard/catalogue/reviews?after={quote('eyJhdCI6MX0')}", "after is no place in this list"),
    ],
)
def test_what_can_not_be_shown_says_why(site: Any, path: str, expected: str) -> None:
    status, headers, html = get(site.address, path)
    assert (status, headers["Content-Type"]) == (422, "text/html; charset=utf-8")
    assert f"In the address, {expected}" in words(html)


def test_a_search_can_not_be_followed(site: Any) -> None:
    assert get(site.address, "/dashboard/live?page=search&q=lamp")[0] == 404


# In a browser

PATHS = (
    f"{SEARCH}?q=lamp",
    "/dashboard/catalogue/reviews",
    "/dashboard/usage",
)


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", PATHS)
async def test_nothing_keeps_people_from_using_a_page(browser: Any, site: Any, path: str) -> None:
    async with opened(browser, site, path, color_scheme="light") as page:
        for width in (1280, 720, 360):
            await page.set_viewport_size({"width": width, "height": 740})
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate(TOO_WIDE) == []
        await page.evaluate(AXE.read_text("utf-8"))
        assert await page.evaluate(VIOLATIONS, {}) == []
        await page.emulate_media(color_scheme="dark")
        assert await page.evaluate(VIOLATIONS, {"runOnly": ["color-contrast"]}) == []


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("has_script", [True, False])
async def test_a_book_is_looked_for_and_found_with_its_picture(
    browser: Any, site: Any, has_script: bool
) -> None:
    async with opened(browser, site, "/dashboard/catalogue", java_script_enabled=has_script) as page:
        await page.get_by_label("Search the catalogue").fill("green lamp")
        await page.get_by_label("Search the catalogue").press("Enter")
        await page.get_by_role("heading", name="The Green Lamp").wait_for()
        picture = page.get_by_alt_text("Cover of The Green Lamp")
        await picture.scroll_into_view_if_needed()
        box = await picture.bounding_box()
        assert (round(box["width"]), round(box["height"])) == (64, 96)
        if has_script:
            await page.wait_for_function("() => [...document.images].every(image => image.naturalWidth > 0)")


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
async def test_charts_are_drawn_from_their_tables(browser: Any, site: Any) -> None:
    async with opened(browser, site, "/dashboard/usage?days=7") as page:
        await page.locator("#units canvas").wait_for()
        assert await page.locator("#outcomes canvas").count() == 1
        await page.locator("#units-numbers summary").click()
        assert await page.locator("#units-table tbody tr").count() == 7
        await page.get_by_role("link", name="90 days").click()
        assert await page.locator("#units-table tbody tr").count() == 90
    async with opened(browser, site, "/dashboard/usage", java_script_enabled=False) as page:
        assert await page.locator("#units canvas").count() == 0
        await page.locator("#units-numbers summary").click()
        assert await page.get_by_text("1,200", exact=True).first.is_visible()
