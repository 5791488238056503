"""The `ratelimit` headers and `Retry-After`: what is left, and how long to wait (contracts/isbndb.md, section 6)."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from alexandria.providers.calls import read_http_date

_ITEM = re.compile(r'\s*"?(?P<name>[A-Za-z][\w-]*)"?\s*(?P<members>(?:;[^,]*)?)')
_MEMBER = re.compile(r'(?P<name>[a-z]+)\s*=\s*"?(?P<value>\d{1,12})"?\s*$', re.IGNORECASE)

_LONGEST_WAIT = timedelta(days=1)
_MOST = 2_000_000_000
"""A larger figure is no allowance of any plan, and no column holds it."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one window of the provider has left, and the seconds until the next request is allowed.

    `wait` means something only when nothing is left or the answer is a 429: the provider's own example gives one beside a
    full window.
    """

    left: int
    wait: timedelta | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What one window grants: so many in a span so long."""

    allowance: int
    span: timedelta


def read_windows(lines: Iterable[str]) -> dict[str, Window]:
    """The windows of all `ratelimit` lines by their names in lower case, whether in several lines or joined by commas.

    Tolerates any order, blanks, missing quotes, unknown items and members; what it can't read it leaves out.
    """
    found = {}
    for name, members in _read_items(lines):
        if members.get("r", _MOST + 1) <= _MOST:
            wait = timedelta(seconds=members["t"]) if "t" in members else None
            found[name] = Window(members["r"], min(wait, _LONGEST_WAIT) if wait is not None else None)
    return found


def read_policies(lines: Iterable[str]) -> dict[str, Grant]:
    """What the windows of all `ratelimit-policy` lines grant, by their names; as tolerant as `read_windows`."""
    return {
        name: Grant(members["q"], timedelta(seconds=members["w"]))
        for name, members in _read_items(lines)
        if 0 < members.get("q", 0) <= _MOST and 0 < members.get("w", 0) <= _MOST
    }


def _read_items(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, int]]]:
    for item in ",".join(lines).split(","):
        if match := _ITEM.fullmatch(item):
            yield (
                match["name"].lower(),
                {
                    member["name"].lower(): int(member["value"])
                    for part in match["members"].split(";")
                    if (member := _MEMBER.match(part.strip()))
                },
            )


def read_retry_after(text: str, now: datetime) -> timedelta | None:
    """`Retry-After` in either form, seconds or an HTTP date; None when it is absent or unreadable; at most a day."""
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(timedelta(seconds=int(text)), _LONGEST_WAIT)
    if moment := read_http_date(text):
        return min(max(moment - now, timedelta(0)), _LONGEST_WAIT)
    return None
