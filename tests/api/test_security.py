"""Who may write, and what a page in somebody's browser may not make us do."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from alexandria.api.security import (
    Caller,
    Rules,
    find_caller,
    is_loopback,
    refusal_of_request,
    refuse_exposure,
)
from alexandria.config import Config
from alexandria.domain.errors import ConfigurationError
from alexandria.domain.outside import Program
from alexandria.domain.quota import Lane
from alexandria.server import make_app

TOKEN = "a-token-of-enough-length"
OTHER = "another-token-long-enough"
HERE = {"host": "127.0.0.1:8765", "content-type": "application/json"}
WISH = {"tier": "top-100", "dry_run": True}

PROGRAM = Program("nightly", Lane.BULK, None, "a-program-token-long-enough")
RESERVATIONS = "/api/quota/reservations"

OPEN = Rules((), "127.0.0.1")
GUARDED = Rules((TOKEN, OTHER), "0.0.0.0")  # noqa: S104 - only a word here


def status_of(
    rules: Rules, method: str, headers: dict[str, str], peer: str | None = "127.0.0.1"
) -> int | None:
    refusal = refusal_of_request(rules, method, Headers(headers), peer)
    return refusal.kind.status if refusal else None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.168.1.2", False),
        ("::ffff:192.168.1.2", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_this_machine_is_told_from_others(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "books.example"])  # noqa: S104
def test_a_server_that_others_reach_needs_tokens(make_config: Any, host: str) -> None:
    config: Config = make_config(host=host)
    with pytest.raises(ConfigurationError, match="ALEXANDRIA_API_TOKENS"):
        make_app(config, "postgresql://nowhere")
    refuse_exposure(Rules((TOKEN,), host))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8765", None),
        ("localhost", None),
        ("localhost:8765", None),
        ("[::1]:8765", None),
        ("evil.example", 403),
        ("evil.example:8765", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost@evil.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_without_tokens_only_this_machines_names_are_answered_to(host: str, expected: int | None) -> None:
    assert status_of(OPEN, "GET", {"host": host}) == expected
    assert status_of(OPEN, "POST", {**HERE, "host": host}) == expected


def test_with_tokens_any_name_will_do_for_reading() -> None:
    assert status_of(GUARDED, "GET", {"host": "books.example"}, "203.0.113.9") is None


@pytest.mark.parametrize(
    ("peer", "more", "expected"),
    [
        ("127.0.0.1", {}, None),
        ("::1", {}, None),
        ("192.168.1.2", {}, 403),
        (None, {}, 403),
        ("127.0.0.1", {"x-forwarded-for": "192.168.1.2"}, 403),
        ("127.0.0.1", {"forwarded": "for=192.168.1.2"}, 403),
    ],
)
def test_without_tokens_only_this_machine_writes(
    peer: str | None, more: dict[str, str], expected: int | None
) -> None:
    assert status_of(OPEN, "POST", {**HERE, **more}, peer) == expected


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {TOKEN}", None),
        (f"bearer {OTHER}", None),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer ", 401),
        ("Bearer é", 401),
        ("", 401),
    ],
)
def test_with_tokens_whoever_writes_shows_one(authorization: str, expected: int | None) -> None:
    headers = {**HERE, "authorization": authorization.encode().decode("latin-1")}
    assert status_of(GUARDED, "POST", headers) == expected
    assert status_of(GUARDED, "DELETE", headers) == expected


@pytest.mark.parametrize("rules", [OPEN, GUARDED], ids=["open", "guarded"])
@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:8765", None),
        ("https://127.0.0.1:8765", None),
        ("http://127.0.0.1:9000", 403),
        ("http://localhost:8765", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_a_page_of_another_site_writes_nothing(rules: Rules, origin: str, expected: int | None) -> None:
    headers = {**HERE, "origin": origin, "authorization": f"Bearer {TOKEN}"}
    assert status_of(rules, "POST", headers) == expected
    assert status_of(rules, "GET", headers) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("application/json", None),
        ("Application/JSON; charset=utf-8", None),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/plain; application/json", 415),
        ("", 415),
    ],
)
def test_only_json_is_taken_for_a_form_can_be_sent_by_any_page(content: str, expected: int | None) -> None:
    assert status_of(OPEN, "POST", {**HERE, "content-type": content}) == expected


@pytest.mark.parametrize("tokens", [(TOKEN, OTHER), ()], ids=["guarded", "open"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (RESERVATIONS, None),
        (f"{RESERVATIONS}/7c9e6679-7425-40de-944b-07fc1f90ae7e", None),
        (f"{RESERVATIONS}/a/b", 403),
        (f"{RESERVATIONS}x", 403),
        (f"{RESERVATIONS}/../../harvest/authors", 403),
        (f"/x{RESERVATIONS}", 403),
        ("/api/harvest/authors", 403),
        ("/", 403),
        ("", 403),
    ],
)
def test_a_programs_token_writes_to_reservations_only(
    tokens: tuple[str, ...], path: str, expected: int | None
) -> None:
    rules = Rules(tokens, "127.0.0.1", (PROGRAM,))
    headers = Headers({**HERE, "authorization": f"Bearer {PROGRAM.token}"})
    refusal = refusal_of_request(rules, "POST", headers, "127.0.0.1", path)
    assert (refusal and refusal.kind.status) == expected
    assert refusal_of_request(rules, "GET", headers, "127.0.0.1", path) is None


@pytest.mark.parametrize(
    ("tokens", "authorization", "peer", "expected"),
    [
        ((TOKEN,), f"Bearer {TOKEN}", "203.0.113.9", Caller()),
        ((TOKEN,), f"Bearer {PROGRAM.token}", "203.0.113.9", Caller(PROGRAM)),
        ((TOKEN,), f"Basic {PROGRAM.token}", "127.0.0.1", None),
        ((TOKEN,), f"Bearer {OTHER}", "127.0.0.1", None),
        ((TOKEN,), None, "127.0.0.1", None),
        ((), f"Bearer {PROGRAM.token}", "127.0.0.1", Caller(PROGRAM)),
        ((), f"Bearer {OTHER}", "127.0.0.1", None),
        ((), "", "127.0.0.1", None),
        ((), None, "127.0.0.1", Caller()),
        ((), None, "192.168.1.2", None),
    ],
)
def test_who_asks_is_known_by_the_token_or_by_being_here(
    tokens: tuple[str, ...], authorization: str | None, peer: str, expected: Caller | None
) -> None:
    headers = Headers(HERE if authorization is None else {**HERE, "authorization": authorization})
    assert find_caller(Rules(tokens, "127.0.0.1", (PROGRAM,)), headers, peer) == expected


def test_a_programs_token_does_not_let_a_server_without_other_tokens_out() -> None:
    with pytest.raises(ConfigurationError, match="ALEXANDRIA_API_TOKENS"):
        refuse_exposure(Rules((), "0.0.0.0", (PROGRAM,)))  # noqa: S104 - only a word here


async def test_tokens_are_asked_for_over_the_wire(start_server: Any) -> None:
    client = await start_server(api_tokens=f"{OTHER} {TOKEN}")
    refused = await client.post("/api/harvest/authors", WISH)
    assert (refused.status, refused.json["type"]) == (401, "urn:alexandria:problem:token-needed")
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="alexandria"'
    wrong = await client.post("/api/harvest/authors", WISH, headers={"Authorization": "Bearer nonsense"})
    assert 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]
    assert TOKEN not in wrong.body.decode()
    for token in (TOKEN, OTHER):
        headers = {"Authorization": f"Bearer {token}"}
        assert (await client.post("/api/harvest/authors", WISH, headers=headers)).status == 200
    assert (await client.get("/api/runs")).status == 200


async def test_a_rebound_name_and_another_origin_are_refused_over_the_wire(client: Any) -> None:
    for path in ("/", "/api/runs", "/health", "/nowhere"):
        answer = await client.get(path, headers={"Host": "evil.example"})
        assert (answer.status, answer.json["type"]) == (403, "urn:alexandria:problem:forbidden")
    answer = await client.post("/api/harvest/authors", WISH, headers={"Origin": "https://evil.example"})
    assert answer.status == 403
    own = await client.post("/api/harvest/authors", WISH, headers={"Origin": client.address})
    assert own.status == 200
    form = await client.ask("POST", "/api/harvest/authors", data={"tier": "top-100"})
    assert (form.status, form.json["type"]) == (415, "urn:alexandria:problem:not-json")
