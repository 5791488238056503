"""What a page's script is told while it follows a page."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from alexandria.api.edge import Edge
from alexandria.api.security import Rules
from alexandria.dashboard import live, views
from conftest import SetClock
from dashboard.sites import new_database, running_site


@contextmanager
def following(site: Any, query: str = "page=overview") -> Iterator[HTTPResponse]:
    """The events of a page, for as long as the block lasts."""
    host = urlsplit(site.address)
    with closing(HTTPConnection(host.hostname or "", host.port, timeout=30)) as connection:
        connection.request("GET", f"/dashboard/live?{query}")
        yield connection.getresponse()


def read_event(answer: HTTPResponse) -> tuple[str, Any]:
    """The next event, or comment, with what it says."""
    name = ""
    while line := answer.readline().decode().rstrip("\n"):
        field, _, text = line.partition(": ")
        if field == "":
            return "comment", text
        if field == "event":
            name = text
        elif field == "data":
            answer.readline()
            return name, json.loads(text)
    return read_event(answer)  # what stood there was only how long to wait before coming again


async def test_who_follows_is_told_everything_once_and_then_what_changes(site: Any) -> None:
    with following(site) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        name, news = read_event(answer)
        assert (name, sorted(news["parts"])) == (
            "parts",
            ["alerts", "burndown", "consumers", "pace", "providers", "quota", "runs"],
        )
        await site.write("UPDATE alerts SET message = 'another message'")
        name, news = read_event(answer)
        assert (name, list(news["parts"])) == ("parts", ["alerts"])
        assert "another message" in news["parts"]["alerts"]["html"]
        assert news["read_at"] == site.clock.now().isoformat()


async def test_while_nothing_changes_there_is_only_a_sign_of_life(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SIGN_SECONDS", 0.2)
    with following(site, "page=run&run_id=20261123-000001&state=failed") as answer:
        assert read_event(answer)[0] == "parts"
        assert [read_event(answer), read_event(answer)] == 2 * [("comment", "nothing new")]


async def test_two_who_follow_a_page_are_told_the_same(site: Any) -> None:
    with following(site) as one, following(site) as other:
        assert read_event(one) == read_event(other)
        await site.write("UPDATE alerts SET message = 'a third message'")
        assert read_event(one) == read_event(other)


def test_a_viewer_who_leaves_makes_room_for_another(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_VIEWERS", 1)
    for _ in range(3):
        with eventually_following(site), following(site) as other:
            assert (other.status, other.headers["Retry-After"]) == (503, "30")


@contextmanager
def eventually_following(site: Any) -> Iterator[HTTPResponse]:
    """The events of a page, once there is room: that a viewer has left is noticed within moments."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with following(site) as answer:
            if answer.status == 200:
                yield answer
                return
    pytest.fail("a viewer who left is still counted")


def test_a_database_that_is_away_is_told_once_and_so_is_its_return(
    bare_site: Any, quick: None, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "FRESH_FOR", timedelta(0))  # nothing is remembered
    name = conninfo_to_dict(bare_site.database_url)["dbname"]
    with following(bare_site) as answer, psycopg.connect(server_url, autocommit=True) as connection:
        assert read_event(answer)[0] == "parts"
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        assert read_event(answer) == ("trouble", {"reason": "The database does not answer."})
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        assert read_event(answer)[0] == "parts"


def test_a_run_that_there_is_not_is_not_followed(site: Any) -> None:
    with following(site, "page=run&run_id=20260101-000000") as answer:
        assert answer.read() == b"retry: 3000\n\n"


def test_a_server_that_stops_waits_for_no_viewer(server_url: str, template: str, tmp_path: Any) -> None:
    with new_database(server_url, template) as url:
        with running_site(url, tmp_path, SetClock()) as site, following(site) as answer:
            assert read_event(answer)[0] == "parts"
            host = urlsplit(site.address)
            with socket.create_connection((host.hostname, host.port)) as silent:
                silent.sendall(b"GET /dashboard/live?page=overview HTTP/1.1\r\nHost: localhost\r\n\r\n")
                silent.recv(1)
                began = time.monotonic()
                site.stop()
                # The one who reads is told at once that this was all; nobody waits for the one who does not.
                assert answer.read() == b""
                assert time.monotonic() - began < 1
        assert time.monotonic() - began < 4


async def test_the_time_limit_of_requests_is_for_the_beginning_of_a_stream_of_events() -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await asyncio.sleep(0.1)  # five times as long as the limit
        await send({"type": "http.response.body", "body": b"data: late\n\n"})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
    }
    edge = Edge(answer, rules=Rules((), "127.0.0.1"), clock=SetClock(), timeout_seconds=0.02)
    await edge(scope, asyncio.Future, send)
    assert sent[-1]["body"] == b"data: late\n\n"
