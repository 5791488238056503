"""Comparing groupings: small cases counted by hand."""

import pytest

from alexandria.rehearsal.likeness import Likeness, compare, count_split

TRUTH = {"a": "one", "b": "one", "c": "one", "d": "two", "e": "two"}
"""Four true pairs: ab, ac, bc, de."""


def test_equal_groupings_agree_whatever_their_names() -> None:
    found = {"a": "x", "b": "x", "c": "x", "d": "y", "e": "y"}
    assert compare(found, TRUTH) == Likeness(united=4, true=4, both=4)


def test_a_group_in_two_parts_costs_recall_and_no_precision() -> None:
    likeness = compare({"a": "x", "b": "x", "c": "z", "d": "y", "e": "y"}, TRUTH)
    assert likeness == Likeness(united=2, true=4, both=2)
    assert (likeness.precision, likeness.recall) == (1.0, 0.5)


def test_two_groups_in_one_cost_precision_and_no_recall() -> None:
    likeness = compare(dict.fromkeys(TRUTH, "x"), TRUTH)
    assert likeness == Likeness(united=10, true=4, both=4)
    assert (likeness.precision, likeness.recall) == (0.4, 1.0)


def test_what_was_left_alone_is_with_nobody() -> None:
    assert compare({"a": None, "b": None, "c": "x", "d": "x", "e": None}, TRUTH) == Likeness(1, 4, 0)


def test_only_what_both_know_is_compared() -> None:
    assert compare({"a": "x", "b": "x", "unknown": "x"}, TRUTH) == Likeness(1, 1, 1)


def test_pairs_that_were_given_do_not_count() -> None:
    # Of the pairs of {a, b, c} only ac and bc hold the new c; d and e were both given.
    found = {"a": "x", "b": "x", "c": "x", "d": "y", "e": "y"}
    assert compare(found, TRUTH, frozenset("c")) == Likeness(united=2, true=2, both=2)
    assert compare(found | {"c": "y"}, TRUTH, frozenset("c")) == Likeness(united=2, true=2, both=0)


def test_without_any_pair_both_are_perfect() -> None:
    likeness = compare({}, TRUTH)
    assert (likeness.precision, likeness.recall) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("found", "duplicates"),
    [
        ({"a": "x", "b": "x", "c": "x"}, 0),
        ({"a": "x", "b": "x", "c": "y"}, 1),
        ({"a": "x", "b": "y", "c": "z"}, 2),
        ({"a": "x", "b": "x", "c": None}, 1),
        ({"a": None, "b": None, "c": "x"}, 2),
        ({"a": "x"}, 0),
    ],
)
def test_each_further_group_of_what_belongs_together_is_a_duplicate(
    found: dict[str, str | None], duplicates: int
) -> None:
    assert count_split(found, {"a": "one", "b": "one", "c": "one"}) == duplicates


def test_what_the_reference_leaves_alone_has_no_duplicate() -> None:
    assert count_split({"a": "x", "b": "y"}, {"a": None, "b": None}) == 0
