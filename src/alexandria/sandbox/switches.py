"""What is not known about ISBNdb, as switches; every default is the bold value of contracts/isbndb.md, section 12.

A switch is named there with dots (`cost.miss`) and here with low lines (`cost_miss`); text and JSON may use either.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import NoneType
from typing import Any, Literal, Self, Union, cast, get_args, get_origin, get_type_hints

from alexandria.domain.errors import InvalidInput
from alexandria.sandbox.faults import Fault

Generation = Literal["2.8.1", "2.8.0", "2.7.0", "2019", "after-2.8.1"]
ErrorBody = Literal["both", "message", "errorMessage", "error_message", "with_code", "empty", "html"]
NullFields = Literal["omitted", "null", "empty"]
IsbnField = Literal["isbn13", "isbn10"]
Dirt = Literal["low", "off", "high"]
KeyShape = Literal["2.8.0", "minimal", "with_bulk_limit"]
Cost = Literal[0, 1]

_BY_GENERATION = cast("Any", None)
"""A default that the generation decides: the bundle of section 13. An explicit value wins."""

_BUNDLES: dict[Generation, dict[str, object]] = {
    "2.8.1": {},
    "2.8.0": {"feed_mode": "page"},
    "2.7.0": {"feed_mode": "page", "errors_body": "error_message", "key_shape": "minimal"},
    "2019": {
        "feed_mode": "page",
        "errors_body": "errorMessage",
        "key_shape": "minimal",
        "paging_cap": 1000,
        "paging_over_cap": "clamp",
        "book_isbn_field": "isbn10",
        "book_null_fields": "empty",
    },
    "after-2.8.1": {"errors_body": "with_code", "key_shape": "with_bulk_limit"},
}

_BOLD: dict[str, object] = {
    "feed_mode": "cursor",
    "errors_body": "both",
    "key_shape": "2.8.0",
    "paging_cap": 100,
    "paging_over_cap": "reject",
    "book_isbn_field": "isbn13",
    "book_null_fields": "omitted",
}


@dataclass(frozen=True, kw_only=True)
class Switches:
    """One set of answers to everything that is unknown. Raises InvalidInput when a value is not one of those offered."""

    generation: Generation = "2.8.1"
    hosts_legacy: Literal["absent", "serve", "403"] = "absent"
    cost_stats: Cost = 1
    cost_miss: Cost = 1
    cost_empty_search: Cost = 1
    cost_server_error: Cost = 1
    cost_bad_request: Cost = 0
    cost_unauthorised: Cost = 0
    cost_rejected: Cost = 0
    cost_image: Cost = 0
    bulk_over_left: Literal["reject", "partial", "overdraw"] = "reject"
    bulk_rate_weight: Literal["1", "requested"] = "1"
    bulk_dedupe: Literal["normalised", "literal"] = "normalised"
    bulk_order: Literal["shuffled", "request", "index"] = "shuffled"
    bulk_size_limit: int | None = None
    """Bytes above which a bulk answer becomes a 500; None is off."""
    bulk_empty: Literal["400", "empty_200"] = "400"
    rate_q: int | None = None
    """Requests per window; None is the plan's own (Premium 180)."""
    rate_window: Literal["rolling", "fixed"] = "rolling"
    rate_counts_free_calls: bool = True
    daily_total: int | None = None
    """Units per day; None is the plan's own (Premium 15,000)."""
    daily_blocks_free_calls: bool = False
    daily_exhausted_as: Literal["429", "403_empty"] = "429"
    daily_clock_skew: float = 0.0
    """Seconds by which the provider's clock is ahead of ours."""
    daily_foreign_spend: float = 0.0
    """Units per minute that another program spends on the same subscription."""
    headers_layout: Literal["two_lines", "joined", "alternate", "absent"] = "two_lines"
    headers_t_when_left: Literal["zero", "seconds_to_reset"] = "zero"
    headers_on_errors: bool = True
    headers_retry_after_on_429: bool = False
    errors_body: ErrorBody = _BY_GENERATION
    paging_over_cap: Literal["reject", "clamp"] = _BY_GENERATION
    paging_cap: Literal[100, 1000] = _BY_GENERATION
    paging_bad_page: Literal["400", "first_page"] = "400"
    paging_short_pages: Literal["some", "none", "always"] = "some"
    names_unknown: Literal["empty_200", "404", "400"] = "empty_200"
    search_isbn_miss: Literal["empty_200", "404"] = "empty_200"
    dates_impossible_day: Literal["400", "ignored"] = "400"
    book_null_fields: NullFields = _BY_GENERATION
    book_containers: Literal["arrays", "maps"] = "arrays"
    book_isbn_field: IsbnField = _BY_GENERATION
    book_dirt: Dirt = "low"
    feed_minimum_plan: Literal["Pro", "Premium"] = "Pro"
    feed_mode: Literal["cursor", "page"] = _BY_GENERATION
    feed_too_old: Literal["clamp", "400", "empty"] = "clamp"
    feed_cursor_expired: Literal["400", "restart", "empty"] = "400"
    feed_repeats: Literal["some", "none"] = "some"
    feed_order: Literal["shuffled", "by_time"] = "shuffled"
    key_shape: KeyShape = _BY_GENERATION
    image_placeholder: Literal["same_bytes", "unique_bytes", "404"] = "same_bytes"
    image_original_expired: Literal["403", "404", "410"] = "403"
    latency: tuple[float, float] = (0.0, 0.0)
    """Seconds that every answer is held back, evenly spread between the two."""
    faults: tuple[Fault, ...] = ()
    """Faults that always apply; those set at run time come on top."""

    def __post_init__(self) -> None:
        _checked("generation", self.generation)
        bundle = _BOLD | _BUNDLES[self.generation]
        for name, value in bundle.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for each in fields(self):
            object.__setattr__(self, each.name, _checked(each.name, getattr(self, each.name)))

    def changed(self, changes: Mapping[str, object]) -> Self:
        """These switches with some of them set, by either spelling of their names.

        A new generation brings its whole bundle; what `changes` names besides wins. Raises InvalidInput for a switch or a
        value that does not exist, and then nothing is changed.
        """
        named = {_name(name): value for name, value in changes.items()}
        if "generation" in named:
            named = dict.fromkeys(_BOLD, None) | named
        return replace(self, **cast("dict[str, Any]", named))

    def as_json(self) -> dict[str, Any]:
        """Every switch and its value, under the contract's dotted names."""
        shown = {dotted(each.name): getattr(self, each.name) for each in fields(self)}
        return shown | {"faults": [each.as_json() for each in self.faults]}


def dotted(name: str) -> str:
    """The contract's spelling: the first low line is its dot."""
    return name.replace("_", ".", 1)


def offered(name: str) -> tuple[str, ...]:
    """The values a switch takes, as text, the default first: what the documentation lists."""
    default = getattr(Switches(), name)
    options = [_shown(each) for each in _options(_HINTS[name])]
    return tuple(dict.fromkeys([_shown(default), *options]))


def _name(name: str) -> str:
    wanted = name.replace(".", "_")
    if wanted not in _HINTS:
        near = difflib.get_close_matches(wanted, _HINTS, 1)
        raise InvalidInput(name, "", f"no such switch{f'; did you mean {dotted(near[0])}?' if near else ''}")
    return wanted


def _shown(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(_shown(each) for each in value) or "none"
        case _:
            return str(value)


def _options(hint: Any) -> tuple[object, ...]:
    """The values that a type stands for; the type itself where it stands for any number."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if hint is bool:
        return (True, False)
    if isinstance(hint, type(int | None)) or get_origin(hint) is Union:
        return tuple("n" if each is not NoneType else None for each in get_args(hint))
    return ("n",) if hint in (int, float) else ()


def _checked(name: str, value: Any) -> Any:
    """The value as the switch keeps it: JSON's lists become tuples, yes and no become true and false."""
    hint = _HINTS[name]
    if name == "faults":
        if not isinstance(value, list | tuple):
            raise InvalidInput(name, value, "give a list of rules")
        return tuple(each if isinstance(each, Fault) else Fault.from_json(each) for each in value)
    if name == "latency":
        return _span(value)
    if hint is bool and value in ("yes", "no"):
        return value == "yes"
    options = _options(hint)
    if "n" not in options:
        return _one_of(name, value, options)
    if value is None and None in options:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(dotted(name), value, "give a number")
    if name != "daily_clock_skew" and value < 0:
        raise InvalidInput(dotted(name), value, "give a number that is not negative")
    return value


def _one_of(name: str, value: Any, options: tuple[object, ...]) -> object:
    for each in options:
        if _shown(each) == _shown(value):
            return each
    raise InvalidInput(dotted(name), value, f"give one of {', '.join(_shown(each) for each in options)}")


def _span(value: Any) -> tuple[float, float]:
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    is_span = len(pair) == 2 and all(isinstance(each, int | float) for each in pair)
    if not is_span or not 0 <= pair[0] <= pair[1]:
        raise InvalidInput("latency", value, "give seconds, or the least and the most seconds")
    return float(pair[0]), float(pair[1])


_HINTS: dict[str, Any] = get_type_hints(Switches)
