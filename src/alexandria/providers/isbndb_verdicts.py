"""What the statuses of ISBNdb's answers mean for the caller and for everybody who shares the key (contracts/isbndb.md, 8)."""

import json
import math
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum

import msgspec

from alexandria.domain.quota import Rate
from alexandria.providers.calls import Answer, Call, Meaning, Verdict
from alexandria.providers.ratelimit import Window, read_policies, read_retry_after, read_windows

_MOST_ERROR_BYTES = 64 * 1024
_MOST_SPACING = timedelta(minutes=1)
"""A pace slower than that is no plan's (contracts/isbndb.md, section 5): one odd header must not stop everybody."""
_MOST_DETAIL_CHARACTERS = 300


class Endpoint(StrEnum):
    """The kinds of request that we make."""

    BOOK = "book"
    BULK = "bulk"
    BOOKS = "books"
    AUTHOR = "author"
    KEY = "key"
    UPDATES = "updates"


_MEMBERS = {
    Endpoint.BOOK: ("book",),
    Endpoint.BULK: ("data", "books"),
    Endpoint.BOOKS: ("books", "data"),
    Endpoint.AUTHOR: ("books", "data"),
    Endpoint.KEY: ("plan_limit",),
    Endpoint.UPDATES: ("data",),
}
"""Where the content of a 200 stands; the first that is there counts. Without any of them it is no answer."""


def read_answer(call: Call, answer: Answer) -> Verdict:
    """What an answer means for the caller and for everybody who shares the key (contracts/isbndb.md, section 8)."""
    windows = read_windows(answer.lines("ratelimit"))
    grants = read_policies(answer.lines("ratelimit-policy"))
    rate = grants.get("rate")
    if rate and rate.span / rate.allowance > _MOST_SPACING:
        rate = None
    return replace(
        _read_status(call, answer, windows),
        remaining_today=windows["daily"].left if "daily" in windows else None,
        total_today=grants["daily"].allowance if "daily" in grants else None,
        rate=Rate(rate.allowance, rate.span) if rate else None,
    )


def _read_status(call: Call, answer: Answer, windows: dict[str, Window]) -> Verdict:
    endpoint, status = Endpoint(call.endpoint), answer.status
    if status == 200:
        return _read_content(endpoint, answer)
    code, said = _read_error(answer)
    if status == 429:
        return _read_429(answer, code, said, windows)
    if status == 404 and endpoint is Endpoint.BOOK:
        return Verdict(Meaning.ABSENT, said)
    if status == 404 and endpoint in {Endpoint.AUTHOR, Endpoint.BOOKS}:
        # An unknown name, with some generations: an empty page, as others say it (section 3.4).
        return Verdict(Meaning.DELIVERED, said)
    if status in {401, 403}:
        return _read_forbidden(endpoint, status, said, windows)
    if 300 <= status < 500 and status != 408:
        return Verdict(Meaning.REFUSED, f"refused the request with {status} ({said})")
    wait = read_retry_after(answer.line("retry-after"), answer.received_at) if status == 503 else None
    # A 500 is worth one more try, but a list of ISBNs is halved instead: its answer may have been too long (section 3.2).
    retries = (0 if endpoint is Endpoint.BULK else 1) if status == 500 else None
    return Verdict(Meaning.FAILED, f"answered with {status} ({said})", wait=wait, most_retries=retries)


def _read_forbidden(endpoint: Endpoint, status: int, said: str, windows: dict[str, Window]) -> Verdict:
    if status == 401:
        return Verdict(Meaning.SUSPENDED, f"the key is refused ({said}): check the key and the subscription")
    if endpoint is Endpoint.UPDATES:
        return Verdict(Meaning.REFUSED, f"the update feed is not part of this plan ({said})")
    if _is_empty(windows, "daily"):
        return Verdict(Meaning.EXHAUSTED, f"forbidden ({said}), with nothing left of the day's quota")
    return Verdict(
        Meaning.SUSPENDED, f"forbidden ({said}): check the key, its host and what is left of the day's quota"
    )


def _read_429(answer: Answer, code: str, said: str, windows: dict[str, Window]) -> Verdict:
    """Which window is empty: `code`, else the word "daily", else the header, else unclear (section 8)."""
    # A `t` of 0 says nothing here; and Retry-After is documented for 503 only, but does no harm (section 6).
    wait = windows["rate"].wait if "rate" in windows else None
    wait = wait or read_retry_after(answer.line("retry-after"), answer.received_at)
    if code == "quota_exceeded" or (code != "rate_limited" and "daily" in said.lower()):
        return Verdict(Meaning.EXHAUSTED, said)
    if code == "rate_limited":
        return Verdict(Meaning.PAUSED, said, wait=wait)
    if _is_empty(windows, "daily"):
        return Verdict(Meaning.EXHAUSTED, said)
    if _is_empty(windows, "rate") or "per minute" in said.lower():
        return Verdict(Meaning.PAUSED, said, wait=wait)
    return Verdict(Meaning.LIMITED, said, wait=wait)


def _is_empty(windows: dict[str, Window], name: str) -> bool:
    return name in windows and windows[name].left == 0


def _read_content(endpoint: Endpoint, answer: Answer) -> Verdict:
    content = decode(answer.body)
    if content is None:
        return Verdict(Meaning.FAILED, "answered with 200, but not with a whole JSON object", most_retries=1)
    if not any(member in content for member in _MEMBERS[endpoint]) and read_count(content.get("total")) != 0:
        return Verdict(
            Meaning.FAILED, f"answered with 200, but without {_MEMBERS[endpoint][0]!r}", most_retries=1
        )
    units = read_count(content.get("requested")) if endpoint is Endpoint.BULK else None
    # Only what a 200 costs is documented, and of a list only if it says so (section 4).
    return Verdict(
        Meaning.DELIVERED, units=units, is_certain=endpoint is not Endpoint.BULK or units is not None
    )


def _read_error(answer: Answer) -> tuple[str, str]:
    """The code and the text of an error body, in any of its variants (section 8)."""
    if len(answer.body) > _MOST_ERROR_BYTES:
        return "", "a long text"
    content = decode(answer.body)
    if content is None:
        text = _shorten(answer.body.decode(errors="replace"))
        return "", "a web page" if text.startswith("<") else text or "an empty body"
    texts = (content.get(member) for member in ("errorMessage", "message", "error_message"))
    said = next((text for text in texts if isinstance(text, str) and text.strip()), "no reason given")
    code = content.get("code")
    return code if isinstance(code, str) else "", _shorten(said)


def _shorten(text: str) -> str:
    return " ".join(text.split())[:_MOST_DETAIL_CHARACTERS]


def decode(body: bytes) -> dict[str, object] | None:
    """The JSON object of a body, or None. One damaged character costs itself, not the page of a hundred books."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        content = _decode_damaged(body)
    except RecursionError:
        return None
    return content if isinstance(content, dict) else None


def _decode_damaged(body: bytes) -> object:
    """JSON with broken UTF-8, bare control characters, half surrogate pairs or NaN: those are replaced."""
    try:
        content = json.loads(
            body.decode(errors="replace"),
            strict=False,
            parse_constant=lambda _: None,
            parse_float=_read_float,
        )
        return msgspec.json.decode(json.dumps(content, ensure_ascii=False).encode(errors="replace"))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _read_float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def read_count(value: object) -> int | None:
    """A whole number of 0 or more, also written as a text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
