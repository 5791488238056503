"""Every error is a problem document, and says no more than it should."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import structlog
from fastapi import FastAPI

from alexandria.api import problems
from alexandria.api.edge import MOST_BODY_BYTES, Edge
from alexandria.api.security import Rules
from alexandria.domain.errors import (
    AlexandriaError,
    ConfigurationError,
    InvalidInput,
    ProviderRefused,
    ProviderUnavailable,
    QuotaDenied,
    QuotaExhausted,
    RecordNotFound,
    StoreUnavailable,
)
from alexandria.server import listening
from conftest import SetClock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=12, seconds=5)
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def troubled(unused_port: int) -> AsyncIterator[tuple[str, FastAPI]]:
    """The address of a server whose routes a test may add, behind the same edge and with the same answers to errors."""
    app = FastAPI()
    problems.install(app, SetClock())
    app.add_middleware(Edge, rules=Rules((), "127.0.0.1"), clock=SetClock(), timeout_seconds=0.3)
    async with listening(app, "127.0.0.1", unused_port) as server:
        yield server.address, app


@pytest.mark.parametrize(
    ("error", "status", "kind", "members"),
    [
        (
            InvalidInput("isbn", "12", "is short"),
            422,
            "invalid-input",
            {"field": "isbn", "reason": "is short"},
        ),
        (RecordNotFound("catalogue", "no such work"), 404, "not-found", {"detail": "no such work"}),
        (
            QuotaExhausted("isbndb", "exhausted", detail="0 left", retry_at=LATER),
            429,
            "quota-exhausted",
            {"reason": "exhausted", "retry_at": "2026-11-24T00:00:05Z"},
        ),
        (QuotaDenied("isbndb", "suspended", detail="403"), 503, "quota-denied", {"reason": "suspended"}),
        (ProviderRefused("isbndb", "no such plan"), 502, "provider-refused", {}),
        (
            ProviderUnavailable("isbndb", "no answer", retry_after=timedelta(seconds=90)),
            503,
            "provider-unavailable",
            {},
        ),
        (StoreUnavailable("host=/secret/socket"), 503, "store-unavailable", {}),
        (ConfigurationError("ALEXANDRIA_X is wrong"), 503, "not-configured", {}),
        (AlexandriaError("password=hunter2"), 500, "unexpected", {}),
        (RuntimeError("password=hunter2"), 500, "unexpected", {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_every_error_has_its_problem(
    troubled: tuple[str, FastAPI], error: Exception, status: int, kind: str, members: dict[str, str]
) -> None:
    address, app = troubled

    @app.get("/trouble")
    async def trouble() -> None:
        raise error

    async with aiohttp.ClientSession() as session, session.get(address + "/trouble?x=1") as answer:
        document = await answer.json(content_type="application/problem+json")
        assert answer.status == document["status"] == status
        assert document["type"] == f"urn:alexandria:problem:{kind}"
        assert document["instance"] == "/trouble"
        assert document["title"]
        assert document["detail"]
        assert document["request_id"] == answer.headers["X-Request-ID"]
        assert {name: document[name] for name in members} == members
        for secret in ("secret", "hunter2", "Traceback"):
            assert secret not in await answer.text()
        if retry_at := document.get("retry_at"):
            wait = datetime.fromisoformat(retry_at) - NOW
            assert int(answer.headers["Retry-After"]) == wait.total_seconds()


async def test_what_crashed_is_in_the_log_under_the_request_id(troubled: tuple[str, FastAPI]) -> None:
    address, app = troubled

    @app.get("/trouble")
    async def trouble() -> None:
        raise RuntimeError("the cause")

    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
        headers = {"X-Request-ID": "my-request.1"}
        async with aiohttp.ClientSession() as session, session.get(address + "/trouble", headers=headers):
            pass
    (crash,) = [each for each in logged if each["event"] == "request.crashed"]
    assert (crash["request_id"], crash["error"]) == ("my-request.1", "RuntimeError")


async def test_of_a_long_path_the_log_bears_the_beginning(troubled: tuple[str, FastAPI]) -> None:
    address, _ = troubled
    with structlog.testing.capture_logs() as logged:
        async with aiohttp.ClientSession() as session, session.get(f"{address}/x{'.' * 4000}=") as answer:
            assert answer.status == 404
    (answered,) = [each for each in logged if each["event"] == "request.answered"]
    assert answered["path"] == "/x" + "." * 498


async def test_an_answer_that_takes_too_long_is_given_up(troubled: tuple[str, FastAPI]) -> None:
    address, app = troubled
    cancelled = asyncio.Event()

    @app.get("/trouble")
    async def trouble() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with aiohttp.ClientSession() as session, session.get(address + "/trouble") as answer:
        assert answer.status == 503
        assert (await answer.json(content_type=None))["type"] == "urn:alexandria:problem:too-slow"
    assert cancelled.is_set()


async def test_a_body_that_never_comes_is_not_waited_for(troubled: tuple[str, FastAPI]) -> None:
    address, _ = troubled
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    writer.write(
        b"POST /trouble HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    )
    async with asyncio.timeout(5):
        assert b" 503 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "no-such-route"),
        ("GET", "/api/runs/", 404, "no-such-route"),
        ("GET", "/docs", 404, "no-such-route"),
        ("DELETE", "/api/runs", 405, "method-not-allowed"),
        ("GET", "/api/harvest/authors", 405, "method-not-allowed"),
        ("OPTIONS", "/api/runs", 405, "method-not-allowed"),
    ],
)
async def test_an_address_that_leads_nowhere_says_so(
    client: Any, method: str, path: str, status: int, kind: str
) -> None:
    answer = await client.ask(method, path, headers=JSON)
    assert (answer.status, answer.json["type"]) == (status, f"urn:alexandria:problem:{kind}")
    if status == 405:
        assert answer.headers["Allow"] in answer.json["detail"]


async def test_a_request_keeps_the_id_it_came_with_if_that_is_one(client: Any) -> None:
    given = await client.get("/health", headers={"X-Request-ID": "trace-7.b_c"})
    assert given.headers["X-Request-ID"] == "trace-7.b_c"
    for odd in ("a b", "x" * 65, "<script>"):
        answer = await client.get("/health", headers={"X-Request-ID": odd})
        assert answer.headers["X-Request-ID"] != odd
    others = [(await client.get("/health")).headers["X-Request-ID"] for _ in range(2)]
    assert others[0] != others[1]


async def test_all_that_is_wrong_is_named_at_once(client: Any) -> None:
    answer = await client.get("/api/authors/top?limit=x&offset=-1")
    assert answer.json["errors"] == [
        {"field": "limit", "reason": "is not a whole number"},
        {"field": "offset", "reason": "must be 0 or more"},
    ]


@pytest.mark.parametrize("says_so", [True, False])
async def test_a_body_beyond_the_bound_is_refused_whether_or_not_it_says_so(
    client: Any, says_so: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(2 * MOST_BODY_BYTES // 65536):
            yield b" " * 65536

    body = b" " * (MOST_BODY_BYTES + 1) if says_so else chunks()
    answer = await client.ask("POST", "/api/harvest/authors", data=body, headers=JSON)
    assert (answer.status, answer.json["type"]) == (413, "urn:alexandria:problem:too-large")


async def test_every_answer_bears_safe_headers(client: Any) -> None:
    for path in ("/health", "/nowhere", "/api/runs"):
        headers = (await client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers
