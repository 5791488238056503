"""What goes back: pages, refusals, what they cost, and the rate-limit headers (contracts/isbndb.md, sections 4, 6 and 8)."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import msgspec

from alexandria.sandbox.accounts import DAY_SECONDS, WINDOW_SECONDS, Standing
from alexandria.sandbox.switches import Switches

RATE_TEXT = "Per minute quota exceeded, please try again later"
DAILY_TEXT = "Daily quota exceeded, please try again later"
NO_KEY_TEXT = "Full authentication is required to access this resource."
BAD_KEY_TEXT = "Bad credentials."
INACTIVE_TEXT = "Api key is not active"
MISS_TEXT = "Book not found"
"""Official texts (section 8)."""

_CODES = {RATE_TEXT: "rate_limited", DAILY_TEXT: "quota_exceeded"}


class Price(StrEnum):
    """What a call is charged as (section 4)."""

    FREE = "free"
    ONE = "one"
    STATS = "stats"
    MISS = "miss"
    EMPTY_SEARCH = "empty_search"
    BAD_REQUEST = "bad_request"
    UNAUTHORISED = "unauthorised"
    REJECTED = "rejected"


def units_of(price: Price, switches: Switches) -> int:
    """Units that a call with this price takes."""
    match price:
        case Price.FREE:
            return 0
        case Price.ONE:
            return 1
        case _:
            return int(getattr(switches, f"cost_{price}"))


class Refusal(Exception):
    """The provider does not give what was asked. `text` None is an empty body."""

    def __init__(self, status: int, text: str | None, price: Price) -> None:
        self.status = status
        self.text = text
        self.price = price
        super().__init__(text or "")


@dataclass(frozen=True, slots=True)
class Page:
    """A 200 with a list in it. `head` stands before the list; the members behind it depend on the generation."""

    head: dict[str, Any]
    list_name: str
    items: list[bytes]
    total: int | None = None
    page: int | None = None
    page_size: int | None = None
    tail: dict[str, Any] | None = None

    def encode(self, switches: Switches) -> bytes:
        """The body, its list as an array or as an object map (`book.containers`)."""
        members = [f"{_json(name)}:{_json(value)}".encode() for name, value in self.head.items()]
        members.append(_json(self.list_name).encode() + b":" + self._list(switches))
        rest = {"total": self.total, "page": self.page, "page_size": self.page_size}
        members += [f"{_json(name)}:{value}".encode() for name, value in rest.items() if value is not None]
        members += [f"{_json(name)}:{_json(value)}".encode() for name, value in (self.tail or {}).items()]
        return b"{" + b",".join(members) + b"}"

    def wrong_total(self) -> "Page":
        """The page with a `total` that does not hold."""
        return replace(self, total=None if self.total is None else 1 if self.total < 10 else self.total * 10)

    def _list(self, switches: Switches) -> bytes:
        if switches.book_containers == "maps":
            return b"{" + b",".join(b'"%d":%b' % pair for pair in enumerate(self.items)) + b"}"
        return b"[" + b",".join(self.items) + b"]"


@dataclass(frozen=True, slots=True)
class Found:
    """A 200 that is no list."""

    members: dict[str, Any]

    def encode(self, switches: Switches) -> bytes:
        """The body."""
        return msgspec.json.encode(self.members)


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished answer and what it costs."""

    status: int
    body: bytes
    units: int = 0
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def refuse(refusal: Refusal, switches: Switches) -> Reply:
    """The reply to a refusal, in the body that `errors.body` names."""
    body, content_type = error_body(refusal.text, switches)
    return Reply(refusal.status, body, units_of(refusal.price, switches), content_type)


def error_body(text: str | None, switches: Switches) -> tuple[bytes, str]:
    """An error's body and its type (section 8, "Body variants")."""
    if text is None:
        return b"", "application/json"
    members: dict[str, str]
    match switches.errors_body:
        case "both":
            members = {"message": text, "errorMessage": text}
        case "with_code":
            code = {"code": _CODES[text]} if text in _CODES else {}
            members = {"message": text, "errorMessage": text, **code}
        case "empty":
            return b"", "application/json"
        case "html":
            return (
                f"<html><head><title>Error</title></head><body><h1>{text}</h1></body></html>".encode(),
                "text/html",
            )
        case name:
            members = {name: text}
    return msgspec.json.encode(members), "application/json"


def limit_headers(standing: Standing, switches: Switches, number: int) -> list[tuple[str, str]]:
    """The rate-limit headers in the layout of this answer; `number` counts answers, for `alternate` (section 6)."""
    if switches.headers_layout == "absent":
        return []
    joined = switches.headers_layout == "joined" or (
        switches.headers_layout == "alternate" and number % 2 == 1
    )
    policies = [
        f'"rate";q={standing.rate_q};w={WINDOW_SECONDS}',
        f'"daily";q={standing.total};w={DAY_SECONDS}',
    ]
    rate_t, daily_t = standing.rate_wait, 0 if standing.left else standing.day_reset
    if switches.headers_t_when_left == "seconds_to_reset":
        rate_t, daily_t = rate_t or standing.rate_reset, standing.day_reset
    left = [f'"rate";r={standing.rate_left};t={rate_t}', f'"daily";r={standing.left};t={daily_t}']
    if joined:
        return [("ratelimit-policy", ", ".join(policies)), ("ratelimit", ", ".join(left))]
    return [("ratelimit-policy", each) for each in policies] + [("ratelimit", each) for each in left]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
