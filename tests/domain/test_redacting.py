"""Whatever a text says around it, a secret that is known does not come through, nor one that stands where secrets stand."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria.domain.redacting import MASK, Redactor, credentials_of, is_secret_name, parts_of

SECRET = "Zx9-hidden-51"
"""Nobody is told of it: it is found by where it stands."""

PLACES = [
    f"postgresql://reader:{SECRET}@db.example.org:5432/books",
    f"postgresql://reader:p@ss/{SECRET}@db.example.org/books",
    f"connection failed: host=db user=reader password={SECRET} dbname=books",
    f"password='{SECRET}'",
    f"https://bucket.example.org/a.jpg?X-Amz-Algorithm=AWS4&X-Amz-Signature={SECRET}&X-Amz-Expires=900",
    f"https://www.googleapis.com/books/v1/volumes?q=isbn:9780140328721&key={SECRET}",
    f"https://account.blob.example.org/covers/a.webp?sv=2025-01-01&sig={SECRET}",
    f"GET /a.jpg?token={SECRET} HTTP/1.1",
    f"ClientError(URL('https://covers.example.org/a.jpg?{SECRET}'))",
    f"https://person:{SECRET}@hooks.example.org/alerts",
    f"discord://4174216298/{SECRET}/",
    f"slack://{SECRET}/T1/B1",
    f"mailtos://person:{SECRET}@example.org?to=me",
    f"Authorization: Bearer {SECRET}",
    f"Authorization: Basic {SECRET}",
    f"{{'Authorization': '{SECRET}', 'Accept': '*/*'}}",
    f'{{"api_key": "{SECRET}"}}',
    f"('authorization', '{SECRET}')",
    f"s3://bucket/covers?secret_access_key={SECRET}",
    f"KV_TOKEN={SECRET}",
    f"password='my {SECRET} pw'",
    f'password="it\\"s {SECRET}"',
    f"password='not closed {SECRET}",
    f"password=abc,{SECRET}",
    f"(token=abc){SECRET}, lane=bulk)",
    f"secret=a'{SECRET}",
    f"password=a&{SECRET}",
    f"password: {SECRET}",
    "password: hunter2hunter",
    f"api_key: {SECRET} for isbndb",
    f'{{"detail": "{{\\"password\\": \\"a {SECRET}\\"}}"}}',
    f"b'x-api-key': b'{SECRET}'",
    f"Cookie: session={SECRET}; theme=dark",
    f"Cookie: theme=dark; session={SECRET}",
    f"set-cookie: a=b, {SECRET}; HttpOnly",
    f'Authorization: Digest username="a", response="{SECRET}"',
    f"HTTP_AUTHORIZATION=Custom {SECRET}",
    f"https://hooks.slack.com/services/T0123456/B0123456/{SECRET}",
    f"hooks.slack.com/services/T0123456/B0123456/{SECRET}",
    f"POST /services/T0123456/B0123456/{SECRET} HTTP/1.1",
    f"https://discord.com/api/webhooks/1234567890123/{SECRET}",
    f"https://discord.com/api/v10/webhooks/1234567890123/{SECRET}?wait=true",
    f"https://api.telegram.org/bot123456:{SECRET}/sendMessage",
    f"https://chat.example.org/hooks/abcdefgh{SECRET}",
    f"1-https://person:{SECRET}@example.org/",
    f"https://a.example.org/x,https://person:{SECRET}@example.org/",
]


@pytest.mark.parametrize("text", PLACES)
def test_a_secret_nobody_told_of_is_hidden_where_secrets_stand(text: str) -> None:
    shown = Redactor().text(f"it failed: {text}, so much for that")
    assert SECRET not in shown
    assert "hunter" not in shown
    assert shown.startswith("it failed: ")
    assert MASK in shown
    assert Redactor().text(shown) == shown, "what is hidden once looks hidden"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password='my secret pw' dbname=books", "password='***' dbname=books"),
        ("token=abc, lane=bulk", "token=***, lane=bulk"),
        ("Account(token=abc,user=x)", "Account(token=***,user=x)"),
        ("a.jpg?token=abc&size=5", "a.jpg?token=***&size=5"),
        ("{'password': 'a b', 'user': 'x'}", "{'password': '***', 'user': 'x'}"),
        ("{'Authorization': 'Bearer a', 'Accept': '*/*'}", "{'Authorization': '***', 'Accept': '*/*'}"),
        ("Cookie: a=b; c=d\r\nHost: x", "Cookie: ***\r\nHost: x"),
        (
            "https://discord.com/api/webhooks/12345678/abcdefgh failed",
            "https://discord.com/api/webhooks/*** failed",
        ),
    ],
)
def test_of_a_secret_no_more_is_hidden_than_it_is(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown


HOSTILE = [
    ".",
    "-",
    "a",
    "a.",
    "_x-amz-",
    "password",
    "x-amz-a",
    "a://b,",
    "a://b?",
    "a://@,",
    "a+",
    " ",
    "token ",
    "token\\",
    "token='",
    "token='\\",
    "token=,",
    "token=a,",
    "token:a,",
    "token: ",
    "\"'",
    "authorization",
    "cookie: ",
    "Bearer ",
    "/services/T",
    "/hooks/",
    "/bot1",
    "hooks.slack.com/a",
    "=,",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_costs_more_than_its_length(piece: str) -> None:
    def cost(letters: int) -> float:
        text = ("/x" + piece * letters)[:letters] + "\n=://"
        redactor, costs = Redactor(), list[float]()
        for _ in range(5):
            began = time.process_time()
            redactor.text(text)
            is_secret_name(text)
            costs.append(time.process_time() - began)
        return min(costs)

    # In proportion to its length eight times as much, by its square 64 times.
    assert cost(32_000) < 25 * cost(4_000) + 0.01


@pytest.mark.parametrize(
    "text",
    [
        "run 20261126-ab12cd: 3 targets, about 12 units",
        "https://openlibrary.org/authors/OL23919A.json answered with 404",
        "http://127.0.0.1:8765",
        "Key (dedupe_key)=(harvest_item:1) already exists.",
        "author_key=OL23919A is not the key of an author",
        "every token needs at least 16 characters",
        "isbn=9780140328721 lane=bulk consumer=covers",
        "the basic rule: one unit each",
        'connection to server at "127.0.0.1", port 9 failed: Connection refused',
        "2026-11-26T00:00:00+00:00",
        "monkey=1",
        "ISBNDB_KEY: is not set",
        "ALEXANDRIA_API_TOKENS: every token needs at least 16 characters",
        "token: expired",
        "tokens: 3",
        "no author has this key: OL23919A",
        "send `Authorization: Bearer <token>`",
        "cookies are not used",
        ".git/hooks/pre-commit",
        "GET /api/authors/services/ answered with 404",
    ],
)
def test_what_is_no_secret_is_left_as_it_is(text: str) -> None:
    assert Redactor(["another-secret"]).text(text) == text


texts = st.text(min_size=4, max_size=30).filter(lambda each: MASK not in each and not set(each) <= set("*"))


@given(secret=texts, before=st.text(max_size=20), after=st.text(max_size=20), name=st.text(max_size=8))
def test_a_known_secret_comes_through_in_no_field(secret: str, before: str, after: str, name: str) -> None:
    redactor = Redactor([secret])
    told = before + secret + after
    event: dict[str, Any] = {"text": told, "list": [told, {name: told}], "error": ValueError(told), told: 1}
    shown = redactor.value(event)
    assert isinstance(shown, dict)

    def every(value: object) -> list[str]:
        match value:
            case dict():
                return [text for pair in value.items() for each in pair for text in every(each)]
            case list():
                return [text for each in value for text in every(each)]
            case _:
                return [str(value)]

    fixed = {"text", "list", "error", name, "1", *event.keys() - {told}}
    assert not [text for text in every(shown) if secret in text and text not in fixed]


@given(secret=texts)
def test_a_known_secret_is_found_as_json_and_addresses_write_it(secret: str) -> None:
    from urllib.parse import quote

    redactor = Redactor([secret])
    assert MASK in redactor.text(quote(secret, safe=""))
    if secret.isprintable():
        assert MASK in redactor.text(json.dumps({"a": secret}, ensure_ascii=False))


def test_a_field_is_hidden_by_its_name_whatever_it_holds() -> None:
    shown = Redactor().value(
        {"token": "abc", "api_key": 5, "isbndb_key": "x", "author_key": "OL1A", "units": 3}
    )
    assert shown == {"token": MASK, "api_key": MASK, "isbndb_key": MASK, "author_key": "OL1A", "units": 3}
    assert is_secret_name("X-Amz-Signature")
    assert is_secret_name("alert_webhook_secret")
    assert not is_secret_name("tokens_left")
    assert not is_secret_name("work_key")


def test_of_an_address_that_may_be_shown_only_the_credentials_are_secret() -> None:
    assert credentials_of("postgresql://reader:pa%20ss@db/books?sslpassword=sesame&sslmode=require") == {
        "pa%20ss",
        "pa ss",
        "sesame",
    }
    assert credentials_of("s3://covers?access_key_id=AKIA1&region=eu-central-1") == {"AKIA1"}


def test_of_an_address_that_is_a_secret_every_long_part_is_but_hosts_and_short_words() -> None:
    address = "https://hooks.example.org/services/T012345678/short/abcdefghijklmn?x=0123456789"
    assert parts_of(address) == {address, "services", "T012345678", "abcdefghijklmn", "0123456789"}
    assert "Token-A-0123" in parts_of("slack://Token-A-0123/Token-B-0123")
    assert "hook-pass" in parts_of("json://person:hook-pass@127.0.0.1:99/x")
    assert "127.0.0.1" not in parts_of("json://person:hook-pass@127.0.0.1:99/x")
