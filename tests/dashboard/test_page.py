"""The page as the server draws it."""

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.message import Message
from html import unescape
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
from alexandria.dashboard import overview, run, runs
from alexandria.dashboard.views import FRESH_FOR, Asked, Dashboard, Page
from alexandria.domain.quota import Account, DenialReason
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore

ISBNS = ("9780306406157",)
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


def test_the_overview_says_how_everything_stands(site: Any) -> None:
    status, headers, html = get(site.address)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    text = words(html)
    for expected in (
        "critical look at",
        "run stuck, since 2026-11-23 12:00 UTC",
        "11,766 units left today",
        "1,234 of 13,000 units used (9.49 %)",
        "Settled 1,200",
        "Reserved 34",
        "Foreign 0",
        "Daily limit 15,000",
        "Resets 2026-11-24 00:00 UTC",
        "At this pace they are spent at 2026-11-23 21:32 UTC",
        "Pace 1,234 units an hour",
        "Breaker closed no failure in a row",
        "authors, tier top-1000 running 20261123-000003 0 of 4 items (0 %)",
        "Paused: the day is used up. It goes on at 2026-11-24 00:00 UTC",
        "interactive 0 11,766 650",
        "author-bibliography bulk 1 1,200 0",
        "new-releases bulk 1 34 34",
        "isbndb works 0 0",
        "google-books not asked",
        "As of 2026-11-23 12:00:00 UTC .",
    ):
        assert expected in text, expected
    assert "Nothing is sent now" not in text
    assert "20261123-000001" not in text  # it has ended


def test_the_days_burndown_is_a_table_too(site: Any) -> None:
    _, _, html = get(site.address)
    rows = {
        row[0]: row[1:]
        for row in re.findall(r"<tr><th scope=\"row\">(.*?)</th>" + 3 * "<td.*?>(.*?)</td>", html)
    }
    # Left, forecast, if spent evenly: all was spent at noon, and what is left lasts for nine and a half hours.
    assert rows["2026-11-23 06:00"] == ("13,000", "–", "9,750")
    assert rows["2026-11-23 12:00"] == ("11,766", "11,766", "6,500")
    assert rows["2026-11-23 21:32"] == ("–", "0", "1,336")
    assert rows["2026-11-24 00:00"] == ("–", "–", "0")
    chart = json.loads(unescape(re.search(r'data-chart="(.*?)"', html)[1]))  # type: ignore[index]
    assert chart["x"][0] == datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    assert [each["name"] for each in chart["series"]] == ["left", "forecast", "if spent evenly"]


def test_the_queues_are_told_by_kind_with_their_dead_letters(site: Any) -> None:
    text = words(get(site.address, "/dashboard/queues")[2])
    for expected in (
        "harvest items 0 200–400 – 0 0 0 0.2 0 1",
        "covers 0 250–500 – 0 0 0 0.2 0 1",
        "open items of runs 0 80,000–100,000",
        "authors 8 0 0",
        f"isbn {ISBNS[0]}",
        "ValueError: not a picture",
        "after 5 attempts; queued 2026-11-23 10:00 UTC",
    ):
        assert expected in text, expected
    assert "API token, for the buttons" in text
    kinds = re.findall(
        r'<span class="badge calm">(.*?)</span>', get(site.address, "/dashboard/queues?kind=fetch_cover")[2]
    )
    assert kinds == ["covers"]


async def test_a_gate_that_is_closed_is_told(site: Any) -> None:
    await site.write(
        "UPDATE gates SET is_closed = true, depth = 90000 WHERE name IN ('items', 'fetch_cover')"
    )
    text = words(get(site.address, "/dashboard/queues")[2])
    await site.write("UPDATE gates SET is_closed = false, depth = 0")
    assert "covers paused 0 250–500" in text
    assert "open items of runs paused 90,000 80,000–100,000" in text
    assert "harvest items 0 200–400" in text


def test_without_a_script_commands_are_named(site: Any) -> None:
    for path, command in (
        ("/dashboard/queues", "alexandria dead-letters retry"),
        ("/dashboard/runs/20261123-000003", "alexandria runs pause 20261123-000003"),
        ("/dashboard/runs/20261123-000001", "alexandria runs retry 20261123-000001"),
    ):
        found = re.findall(r"<noscript>(.*?)</noscript>", get(site.address, path)[2], flags=re.DOTALL)
        assert any(command in each for each in found), path


def test_runs_are_listed_newest_first_and_by_state(site: Any) -> None:
    _, _, html = get(site.address, "/dashboard/runs")
    assert re.findall(r'href="/dashboard/runs/(\d+-\d+)"', html) == [f"20261123-00000{n}" for n in (3, 2, 1)]
    text = words(html)
    assert (
        "authors, tier top-100 20261123-000001, bulk, 2026-11-23 06:00 UTC done 4 of 4 1 failed 0 20 –"
        in text
    )
    assert "no answer" in text  # what failed last
    _, _, html = get(site.address, "/dashboard/runs?state=paused")
    assert re.findall(r'href="/dashboard/runs/(\d+-\d+)"', html) == ["20261123-000002"]


def test_runs_and_items_come_page_by_page(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RUNS", 2)
    monkeypatch.setattr(run, "ITEMS", 3)
    site.clock.advance(FRESH_FOR)
    for path, link, expected in (
        ("/dashboard/runs", r'href="/dashboard/runs/(\d+-\d+)"', [f"20261123-00000{n}" for n in (3, 2, 1)]),
        ("/dashboard/runs/20261123-000003", r'<tr><td class="count">(\d+)</td>', ["1", "2", "3", "4"]),
    ):
        found, pages, following = [], 0, path
        while following:
            _, _, html = get(site.address, following)
            found += re.findall(link, html)
            following = unescape(next(iter(re.findall(r'rel="next" href="(.*?)"', html)), ""))
            pages += 1
        assert (found, pages) == (expected, 2)


def test_a_run_tells_what_came_of_each_item(site: Any) -> None:
    text = words(get(site.address, "/dashboard/runs/20261123-000001")[2])
    for expected in (
        "4 of 4 items (100 %)",
        "New editions 20",
        "Ended 2026-11-23 12:00 UTC",
        "author 4 3 0 1 0",
        "1 &lt;script&gt;alert('from a title')&lt;/script&gt; OL0A failed no answer",
        "2 Author 1 OL1A done 0 9 5",
    ):
        assert expected in text.replace("&#39;", "'"), expected
    _, _, html = get(site.address, "/dashboard/runs/20261123-000001?state=failed")
    assert re.findall(r'<tr><td class="count">(\d+)</td>', html) == ["1"]
    for report in re.findall(r'href="(/api/runs/.*?)"', html):
        assert get(site.address, unescape(report))[0] == 200


def test_what_comes_from_outside_is_text_and_never_markup(site: Any) -> None:
    for path, least in (
        ("/", 1),  # an alert
        ("/dashboard/queues", 6),  # arguments, errors and tracebacks
        ("/dashboard/runs", 3),  # an author, an item and its reason
        ("/dashboard/runs/20261123-000002", 2),
        ("/dashboard/catalogue", 2),  # a cover's title and text
    ):
        _, _, html = get(site.address, path)
        assert "<script>alert" not in html
        assert html.count("&lt;script&gt;alert(") >= least, path


def test_an_empty_catalogue_is_told_in_words(bare_site: Any) -> None:
    for path, expected in (
        ("/", "Nothing needs a person now."),
        ("/", "No ISBNdb key is set"),
        ("/", "Nothing is being harvested. Start one with alexandria harvest authors --tier top-100 ."),
        ("/dashboard/queues", "No open run has items left."),
        ("/dashboard/queues", "There is none."),
        ("/dashboard/runs", "Nothing was harvested yet."),
    ):
        assert expected in words(get(bare_site.address, path)[2]), expected
    # Without tokens nobody is asked for one.
    assert "API token" not in words(get(bare_site.address, "/dashboard/queues")[2])


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


PATHS = (
    "/",
    "/dashboard/queues",
    "/dashboard/runs",
    "/dashboard/runs/20261123-000003",
    "/dashboard/catalogue",
    "/dashboard/nothing",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_screen_reader_finds_its_way(site: Any, path: str) -> None:
    _, _, html = get(site.address, path)
    outline = Outline(html)
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert outline.tags.count(landmark) == 1
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.references) <= set(outline.ids)
    assert outline.tags.count("caption") == outline.tags.count("table")
    fields = sum(outline.tags.count(each) for each in ("progress", "input", "select"))
    assert outline.tags.count("label") == fields
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
    assert "tier top-1000 running 20261123-000003 0 of 4" in words(get(site.address)[2])
    await site.write(
        "UPDATE harvest_items SET state = 'done' WHERE run_id = '20261123-000003' AND position = 1"
    )
    assert "tier top-1000 running 20261123-000003 1 of 4 items (25 %)" in words(get(site.address)[2])


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
        ("/dashboard/live?page=nothing", 404, "No page that can be followed has that name."),
        ("/dashboard/runs/20260101-000000", 404, "There is no run 20260101-000000."),
        (
            "/dashboard/runs/" + 70 * "x",
            422,
            "In the address, run_id is not valid: string should have at most 64",
        ),
        ("/dashboard/runs?state=lost", 422, "In the address, state is not valid: input should be 'running'"),
        ("/dashboard/runs?after=20260101-000000", 422, "In the address, after is not the id of a run"),
        ("/dashboard/runs/20261123-000001?after=x", 422, "In the address, after is not valid"),
        ("/dashboard/runs/20261123-000001?after=0", 422, "In the address, after is not valid"),
        ("/dashboard/queues?after=-1", 422, "In the address, after is not valid"),
        ("/dashboard/queues?kind=nothing", 422, "In the address, kind is not valid"),
        ("/dashboard/live?page=runs&state=lost", 422, "In the address, state is not valid"),
    ],
)
def test_what_there_is_not_is_told_on_a_page(site: Any, path: str, status: int, expected: str) -> None:
    found, headers, html = get(site.address, path)
    assert (found, headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert expected in words(html).replace("&#39;", "'")


async def test_who_follows_a_page_is_the_more_patient_the_longer_it_takes_to_read(
    database_url: str, tmp_path: Any, clock: Any
) -> None:
    reads = 0

    async def read_slowly(dashboard: Dashboard, asked: Asked) -> Mapping[str, object]:
        nonlocal reads
        reads += 1
        clock.advance(timedelta(milliseconds=40))
        return {}

    page = Page("error", "Slow", "/slow", (), read_slowly, Asked)
    async with running_app(load({"ALEXANDRIA_DATA_DIR": str(tmp_path)}), database_url, clock=clock) as app:
        dashboard = Dashboard(app)
        for seconds, expected in ((0, 1), (3, 1), (2.9, 1), (0.2, 2)):  # 150 times 40 ms
            clock.advance(timedelta(seconds=seconds))
            await dashboard.see(page, Asked(), is_patient=True)
            assert reads == expected
        clock.advance(FRESH_FOR)
        await dashboard.see(page, Asked())
        assert reads == 3
