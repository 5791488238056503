"""The switches: every row of contracts/isbndb.md, section 12, with its default, and their documentation."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from alexandria.domain.errors import InvalidInput
from alexandria.sandbox.faults import Fault, FaultKind
from alexandria.sandbox.switches import Switches, dotted, offered

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "sandbox.md").read_text("utf-8")

CONTRACT = {
    "generation": ("2.8.1", "2.8.0", "2.7.0", "2019", "after-2.8.1"),
    "hosts.legacy": ("absent", "serve", "403"),
    **{f"cost.{each}": ("1", "0") for each in ("stats", "miss", "empty_search", "server_error")},
    **{f"cost.{each}": ("0", "1") for each in ("bad_request", "unauthorised", "rejected", "image")},
    "bulk.over_left": ("reject", "partial", "overdraw"),
    "bulk.rate_weight": ("1", "requested"),
    "bulk.dedupe": ("normalised", "literal"),
    "bulk.order": ("shuffled", "request", "index"),
    "bulk.size_limit": ("none", "n"),
    "bulk.empty": ("400", "empty_200"),
    "rate.q": ("none", "n"),
    "rate.window": ("rolling", "fixed"),
    "rate.counts_free_calls": ("yes", "no"),
    "daily.total": ("none", "n"),
    "daily.blocks_free_calls": ("no", "yes"),
    "daily.exhausted_as": ("429", "403_empty"),
    "daily.clock_skew": ("0.0", "n"),
    "daily.foreign_spend": ("0.0", "n"),
    "headers.layout": ("two_lines", "joined", "alternate", "absent"),
    "headers.t_when_left": ("zero", "seconds_to_reset"),
    "headers.on_errors": ("yes", "no"),
    "headers.retry_after_on_429": ("no", "yes"),
    "errors.body": ("both", "message", "errorMessage", "error_message", "with_code", "empty", "html"),
    "paging.over_cap": ("reject", "clamp"),
    "paging.cap": ("100", "1000"),
    "paging.bad_page": ("400", "first_page"),
    "paging.short_pages": ("some", "none", "always"),
    "names.unknown": ("empty_200", "404", "400"),
    "search.isbn_miss": ("empty_200", "404"),
    "dates.impossible_day": ("400", "ignored"),
    "book.null_fields": ("omitted", "null", "empty"),
    "book.containers": ("arrays", "maps"),
    "book.isbn_field": ("isbn13", "isbn10"),
    "book.dirt": ("low", "off", "high"),
    "feed.minimum_plan": ("Pro", "Premium"),
    "feed.mode": ("cursor", "page"),
    "feed.too_old": ("clamp", "400", "empty"),
    "feed.cursor_expired": ("400", "restart", "empty"),
    "feed.repeats": ("some", "none"),
    "feed.order": ("shuffled", "by_time"),
    "key.shape": ("2.8.0", "minimal", "with_bulk_limit"),
    "image.placeholder": ("same_bytes", "unique_bytes", "404"),
    "image.original_expired": ("403", "404", "410"),
    "latency": ("0.0, 0.0",),
    "faults": ("none",),
}
"""Section 12, written down here a second time on purpose: default first."""


def test_every_switch_of_the_contract_exists_with_its_values_and_default() -> None:
    ours = {dotted(each.name): offered(each.name) for each in fields(Switches)}
    assert {name: set(values) for name, values in ours.items()} == {
        name: set(values) for name, values in CONTRACT.items()
    }
    assert {name: values[0] for name, values in ours.items()} == {
        name: values[0] for name, values in CONTRACT.items()
    }


def test_the_documentation_lists_every_switch_with_its_values_and_default() -> None:
    section = DOCUMENT.partition("\n## Switches\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([a-z0-9_.]+)` \| ([^|]+) \|", section, re.MULTILINE))
    for each in fields(Switches):
        name = dotted(each.name)
        assert name in rows, name
        shown = [value.strip("* ") for value in rows[name].split(" / ")]
        assert shown == list(offered(each.name)), name
        assert rows[name].startswith("**"), f"{name}: the default comes first, in bold"


def test_the_documentation_lists_every_fault() -> None:
    for kind in FaultKind:
        assert f"| `{kind}` |" in DOCUMENT, kind


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cost.miss", 2),
        ("cost_miss", "free"),
        ("generation", "3.0"),
        ("rate.q", "many"),
        ("rate.q", -1),
        ("rate.q", True),
        ("latency", [2, 1]),
        ("latency", [1, 2, 3]),
        ("latency", None),
        ("latency", "slow"),
        ("faults", None),
        ("faults", [{"kind": "flood"}]),
        ("book.dirt", None),
        ("no.such.switch", 1),
    ],
)
def test_a_switch_or_value_that_does_not_exist_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput):
        Switches().changed({name: value})


def test_a_misspelt_switch_is_answered_with_the_right_one() -> None:
    with pytest.raises(InvalidInput, match=r"did you mean cost\.miss"):
        Switches().changed({"cost.mis": 0})


def test_a_generation_brings_its_bundle_and_explicit_values_win() -> None:
    old = Switches(generation="2019")
    assert (old.book_isbn_field, old.errors_body, old.paging_cap, old.feed_mode) == (
        "isbn10", "errorMessage", 1000, "page",
    )  # fmt: skip
    assert Switches(generation="2019", book_isbn_field="isbn13").book_isbn_field == "isbn13"
    back = old.changed({"generation": "2.8.1"})
    assert back == Switches()
    assert old.changed({"cost.miss": 0}).errors_body == "errorMessage"


def test_switches_survive_their_json() -> None:
    switches = Switches(
        daily_total=7,
        rate_counts_free_calls=False,
        latency=(0.1, 0.2),
        faults=(Fault(kind=FaultKind.ERROR_500),),
    )
    assert Switches().changed(switches.as_json()) == switches
