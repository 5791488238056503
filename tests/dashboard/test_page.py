"""The page as the server draws it."""

import asyncio
import re
from datetime import timedelta
from email.message import Message
from html.parser import HTMLParser
from http.client import HTTPResponse
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from alexandria.app import running_app
from alexandria.config import load
from alexandria.dashboard import overview
from alexandria.dashboard.views import FRESH_FOR, Asked, Dashboard
from alexandria.domain.quota import Account, DenialReason
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore

ACCOUNT = Account.of("isbndb", "a-key")


def get(address: str, path: str = "/", **headers: str) -> tuple[int, Message, str]:
    """Status, headers and text of a page."""
    try:
        answer: HTTPResponse | HTTPError = urlopen(Request(address + path, headers=headers), timeout=20)  # noqa: S310 - ours
    except HTTPError as error:
        answer = error
    with answer:
        return answer.status or 0, answer.headers, answer.read().decode(errors="replace")


def words(html: str) -> str:
    """What a reader sees, in one line."""
    text = re.sub(r"<(script|style|noscript)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("&nbsp;", " ").replace("&#34;", '"').split())


def test_the_page_says_how_things_stand(site: Any) -> None:
    status, headers, html = get(site.address)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    text = words(html)
    for expected in (
        "11,766 units left today",
        "1,234 of 13,000 units used (9.49 %)",
        "Settled 1,200",
        "Reserved 34",
        "Daily limit 15,000",
        "Resets 2026-11-24 00:00 UTC",
        "author-bibliography bulk 1 1,200",
        "authors, tier top-1000: 0 of 4 (0 %)",
        "Paused: the day is used up. It goes on at 2026-11-24 00:00 UTC",
        "authors, tier top-100 done 20261123-000001 4 1 failed 0 20",
        "Covers that did not come: 1 failed.",
        "As of 2026-11-23 12:00:00 UTC .",
    ):
        assert expected in text, expected
    assert "Nothing is sent now" not in text


def test_what_comes_from_outside_is_text_and_never_markup(site: Any) -> None:
    # An author, an item and its reason; a cover's title and text.
    for path, most in (("/", 3), ("/dashboard/catalogue", 2)):
        _, _, html = get(site.address, path)
        assert "<script>alert" not in html
        assert html.count("&lt;script&gt;alert(") == most


def test_an_empty_catalogue_is_told_in_words(bare_site: Any) -> None:
    text = words(get(bare_site.address)[2])
    for expected in (
        "No ISBNdb key is set",
        "Nothing is being harvested. Start one with alexandria harvest authors --tier top-100 .",
        "Errors None.",
    ):
        assert expected in text, expected


@pytest.mark.parametrize(
    ("is_forever", "expected"),
    [
        (True, "403 (suspended). It goes on once a person has acted: alexandria quota resume ."),
        (False, "403 (suspended). It goes on at 2026-11-23 12:05 UTC"),
    ],
)
def test_a_stopped_account_says_why_and_what_to_do(site: Any, is_forever: bool, expected: str) -> None:
    async def set_stopped(is_stopped: bool) -> None:
        async with Database.open(site.database_url) as database:
            quota = QuotaStore(database, site.clock)
            await quota.resume(ACCOUNT)
            if is_stopped:
                until = None if is_forever else site.clock.now() + timedelta(minutes=5)
                await quota.stop(ACCOUNT, until=until, reason=DenialReason.SUSPENDED, detail="403")
        site.clock.advance(timedelta(seconds=2))

    asyncio.run(set_stopped(True))
    assert f"Nothing is sent now: {expected}" in words(get(site.address)[2])
    asyncio.run(set_stopped(False))
    assert "Nothing is sent now" not in words(get(site.address)[2])


def test_the_page_loads_nothing_but_this_servers_own_files(site: Any) -> None:
    _, headers, html = get(site.address)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    for address in re.findall(r'(?:src|href)="([^"#]+)"', html):
        assert address.startswith("/"), address
        assert get(site.address, address)[0] == 200, address
    assert "style=" not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"\son\w+=", html)


class Outline(HTMLParser):
    """Landmarks, headings, ids and what refers to them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in {"for", "aria-labelledby"}:
                self.references.append(value or "")
            assert tag != "img" or "alt" in dict(attrs)


PATHS = ("/", "/dashboard/catalogue", "/dashboard/nothing")


@pytest.mark.parametrize("path", PATHS)
def test_a_screen_reader_finds_its_way(site: Any, path: str) -> None:
    _, _, html = get(site.address, path)
    outline = Outline(html)
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert outline.tags.count(landmark) == 1
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.references) <= set(outline.ids)
    assert outline.tags.count("caption") == outline.tags.count("table")
    assert outline.tags.count("label") == outline.tags.count("progress")
    assert '<html lang="en">' in html
    assert "<th>" not in html


def test_without_a_script_the_page_reloads_itself(site: Any) -> None:
    _, _, html = get(site.address)
    assert re.search(r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', html)


def test_static_files_are_sent_again_only_when_they_have_changed(site: Any) -> None:
    status, headers, _ = get(site.address, "/dashboard/static/dashboard.css")
    assert (status, headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    again = get(site.address, "/dashboard/static/dashboard.css", **{"If-None-Match": headers["ETag"]})
    assert (again[0], again[2]) == (304, "")
    for path in ("nothing.css", "..%2fpage.py", "%2e%2e/page.py"):
        assert get(site.address, f"/dashboard/static/{path}")[0] == 404


async def test_what_is_shown_is_read_anew_after_a_moment(site: Any) -> None:
    before = words(get(site.address, "/")[2])
    assert "tier top-1000: 0 of 4" in before

    await site.write(
        "UPDATE harvest_items SET state = 'done' WHERE run_id = '20261123-000003' AND position = 1"
    )
    assert "tier top-1000: 1 of 4 (25 %)" in words(get(site.address, "/")[2])


def test_a_database_that_is_away_is_told_in_words(bare_site: Any, server_url: str) -> None:
    name = conninfo_to_dict(bare_site.database_url)["dbname"]
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        status, headers, html = get(bare_site.address)
        assert (status, headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert "The database does not answer" in words(html)
        assert get(bare_site.address, "/")[0] == 503
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


async def test_many_who_look_at_once_cost_one_reading(database_url: str, tmp_path: Any, clock: Any) -> None:
    config = load({"ALEXANDRIA_DATA_DIR": str(tmp_path)})
    async with running_app(config, database_url, clock=clock) as app:
        dashboard = Dashboard(app)
        seen = await asyncio.gather(*(dashboard.see(overview.PAGE, Asked()) for _ in range(20)))
        assert len({id(each) for each in seen}) == 1
        clock.advance(FRESH_FOR)
        assert await dashboard.see(overview.PAGE, Asked()) is not seen[0]


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/dashboard/nothing", 404, "The dashboard has no page /dashboard/nothing."),
        ("/dashboard/live?page=nothing", 404, "No page has that name."),
    ],
)
def test_what_there_is_not_is_told_on_a_page(site: Any, path: str, status: int, expected: str) -> None:
    found, headers, html = get(site.address, path)
    assert (found, headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert expected in words(html)
