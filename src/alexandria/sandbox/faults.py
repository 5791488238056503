"""Failures on demand: which requests go wrong, how, and in which seeded order."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from alexandria.domain.errors import InvalidInput
from alexandria.sandbox.routes import Endpoint, Free


class FaultKind(StrEnum):
    """What goes wrong."""

    LATENCY = "latency"
    """Held back for `seconds`, then answered as usual."""
    RATE_429 = "rate_429"
    """The per-minute 429 although the window is not empty."""
    DAILY_429 = "daily_429"
    """The daily 429 although units are left."""
    EMPTY_403 = "empty_403"
    ERROR_500 = "error_500"
    UNAVAILABLE_503 = "unavailable_503"
    """With Retry-After: `seconds`."""
    TRUNCATED_JSON = "truncated_json"
    """200, Content-Length agrees with the body, and the JSON stops in the middle."""
    CUT_BODY = "cut_body"
    """200, the connection is closed before Content-Length is reached."""
    DROP_BEFORE = "drop_before"
    """The connection is closed without an answer and nothing is charged."""
    DROP_AFTER = "drop_after"
    """The connection is closed without an answer after charging."""
    WRONG_TOTAL = "wrong_total"
    """`total` is ten times what it should be, or 1 when it is small."""
    EMPTY_PAGE = "empty_page"
    """200 with an empty list although the page has records."""
    HTML_BODY = "html_body"
    """200 with a gateway's HTML page."""
    GZIP_CUT = "gzip_cut"
    """Content-Encoding: gzip, and the stream ends early."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One rule. `endpoint` is a name such as author, bulk, key or `*`; `text` must occur in the decoded path."""

    kind: FaultKind
    endpoint: str = "*"
    text: str = ""
    rate: float = 1.0
    """Share of the matching requests that it hits."""
    count: int | None = None
    """How many times at most; None is for ever."""
    skip: int = 0
    """Matching requests that are let through first."""
    seconds: float = 1.0
    """For latency and Retry-After."""

    def __post_init__(self) -> None:
        if self.endpoint not in ("*", *Endpoint, *Free):
            raise InvalidInput("endpoint", self.endpoint, f"give * or one of {', '.join((*Endpoint, *Free))}")
        if not isinstance(self.text, str):
            raise InvalidInput("text", self.text, "give a part of a path")
        if not 0 <= self.rate <= 1:
            raise InvalidInput("rate", self.rate, "give a share between 0 and 1")
        if self.seconds < 0 or self.skip < 0 or (self.count is not None and self.count < 0):
            raise InvalidInput("fault", self.as_json(), "seconds, skip and count can't be negative")

    @classmethod
    def from_json(cls, value: object) -> Self:
        """A rule from its JSON form. Raises InvalidInput when a member is unknown or has a wrong value."""
        if not isinstance(value, Mapping):
            raise InvalidInput("fault", value, "give an object with a kind")
        known = {each.name for each in fields(cls)}
        if unknown := set(value) - known:
            raise InvalidInput(
                "fault", sorted(unknown), f"no such member; a fault has {', '.join(sorted(known))}"
            )
        try:
            return cls(**{**value, "kind": FaultKind(value.get("kind", ""))})
        except ValueError as error:
            kinds = ", ".join(FaultKind)
            raise InvalidInput("kind", value.get("kind"), f"give one of {kinds}") from error
        except TypeError as error:
            raise InvalidInput("fault", dict(value), "a member has a wrong type") from error

    def as_json(self) -> dict[str, Any]:
        """The form that `from_json` reads."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass
class _Progress:
    fault: Fault
    seen: int = 0
    hits: int = 0


@dataclass
class Faults:
    """The rules in force. Chance comes from a seeded generator, so the same requests in the same order fail alike."""

    seed: int = 1
    _rules: list[_Progress] = field(default_factory=list)
    _chance: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def add(self, kind: FaultKind, **members: Any) -> Fault:
        """One more rule; the members are those of `Fault`."""
        fault = Fault(kind=kind, **members)
        self._rules.append(_Progress(fault))
        return fault

    def set(self, faults: tuple[Fault, ...] | list[Fault]) -> None:
        """These rules instead of all others."""
        self._rules = [_Progress(each) for each in faults]

    def clear(self) -> None:
        """No rule any more."""
        self._rules = []

    @property
    def rules(self) -> tuple[Fault, ...]:
        """What is in force, in order."""
        return tuple(each.fault for each in self._rules)

    def as_json(self) -> list[dict[str, Any]]:
        """Every rule with how often it was met and how often it struck."""
        return [each.fault.as_json() | {"seen": each.seen, "hits": each.hits} for each in self._rules]

    def strike(self, endpoint: str, path: str) -> list[Fault]:
        """Which rules hit this request. Each rule that matches is met once per request."""
        struck = []
        for each in self._rules:
            fault = each.fault
            if fault.endpoint not in ("*", endpoint) or fault.text not in path:
                continue
            each.seen += 1
            is_spent = fault.count is not None and each.hits >= fault.count
            if (
                each.seen > fault.skip
                and not is_spent
                and (fault.rate >= 1 or self._chance.random() < fault.rate)
            ):
                each.hits += 1
                struck.append(fault)
        return struck
