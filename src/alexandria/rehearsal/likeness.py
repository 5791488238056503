"""How well one grouping of things agrees with another: duplicates, precision and recall. Pure.

A grouping says of each thing which group it is in: editions in works, contributions in authors. None is a thing that was left
alone on purpose, so it is in a group with nobody.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Thing = TypeVar("Thing", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Likeness:
    """Pairs of things: those that the found groups unite, those that truly belong together, and those that are both."""

    united: int
    true: int
    both: int

    @property
    def precision(self) -> float:
        """The share of the united pairs that rightly are; 1 when none are."""
        return self.both / self.united if self.united else 1.0

    @property
    def recall(self) -> float:
        """The share of the true pairs that were united; 1 when there are none."""
        return self.both / self.true if self.true else 1.0


def compare(
    found: Mapping[Thing, str | None], truth: Mapping[Thing, str], new: frozenset[Thing] | None = None
) -> Likeness:
    """Compare over the things that both know. With `new`, only pairs with one of those in them count: the others were given."""
    things = [each for each in found if each in truth]
    united = _pairs(things, lambda each: found[each], new)
    true = _pairs(things, lambda each: truth[each], new)
    both = _pairs(things, lambda each: found[each] and (found[each], truth[each]), new)
    return Likeness(united, true, both)


def _pairs(things: list[Thing], group_of: Callable[[Thing], Hashable], new: frozenset[Thing] | None) -> int:
    """Pairs in one group of which at least one is new."""
    of_all: Counter[Hashable] = Counter()
    of_old: Counter[Hashable] = Counter()
    for each in things:
        group = group_of(each)
        if group is None:
            continue
        of_all[group] += 1
        if new is not None and each not in new:
            of_old[group] += 1
    return sum(n * (n - 1) // 2 - of_old[group] * (of_old[group] - 1) // 2 for group, n in of_all.items())


def count_split(found: Mapping[Thing, str | None], reference: Mapping[Thing, str | None]) -> int:
    """How many groups more there are than the reference has for the same things: each is a duplicate.

    A group of the reference whose things lie in n found groups has n - 1 duplicates. A thing that the reference leaves alone can
    have none; one that only the found grouping leaves alone is a group of its own.
    """
    parts: dict[str, set[Hashable]] = {}
    for each, group in reference.items():
        if group is not None and each in found:
            own = found[each]
            parts.setdefault(group, set()).add(("alone", each) if own is None else own)
    return sum(len(each) - 1 for each in parts.values())
