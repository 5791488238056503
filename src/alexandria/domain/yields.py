"""What a call is expected to buy: new editions for a unit, learnt from what calls of its kind have bought (design.md, section 7)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from alexandria.domain.targets import Target, TargetKind

PAGE = 100
"""Books on a full page (contracts/isbndb.md, section 11)."""

PRIOR_WEIGHT = 20
"""How many expected units of experience the guess below counts for: a handful of calls does not overturn it, a day's work does."""

_PRIOR = {
    TargetKind.AUTHOR: 0.5,
    TargetKind.MONTH: 0.5,
    TargetKind.SUBJECT: 0.3,
    TargetKind.ISBNS: 0.5,
    TargetKind.FEED: 0.0,
    TargetKind.PEOPLE: 0.0,
}
"""New editions for each that is shown, before anything is known: half of a page is in the dumps already; a subject's page shares
books with its month's."""


@dataclass(frozen=True, slots=True)
class Experience:
    """What ended targets of one kind were expected to bring before any correction, in new editions, and what they brought."""

    kind: TargetKind
    units_expected: float
    editions_expected: float
    editions_new: float


@dataclass(frozen=True, slots=True)
class Yields:
    """How expectations are corrected by experience, for each kind of target."""

    factors: dict[TargetKind, float]

    @classmethod
    def learnt(cls, experiences: Iterable[Experience]) -> "Yields":
        """New against expected, the more so the more units it was seen in; between a tenth and ten times the guess."""
        factors = dict.fromkeys(TargetKind, 1.0)
        for each in experiences:
            if each.editions_expected > 0:
                weight = each.units_expected / (each.units_expected + PRIOR_WEIGHT)
                seen = each.editions_new / each.editions_expected
                factors[each.kind] = min(10.0, max(0.1, 1 - weight + weight * seen))
        return cls(factors)

    def expected(self, target: Target) -> float:
        """New editions that a target is expected to bring, corrected."""
        return target.editions_expected * self.factors[target.kind]

    def in_order(self, targets: Iterable[Target]) -> list[Target]:
        """What buys most for a unit comes first, and what costs nothing before it; equals stay as they are."""

        def rank(target: Target) -> float:
            return -self.expected(target) / target.units_expected if target.units_expected > 0 else -math.inf

        return sorted(targets, key=rank)


def guess_pages(
    kind: TargetKind, *, total: int | None, held: int, pages: int, pages_fresh: int = 0
) -> tuple[float, float]:
    """Units and new editions of a query's first `pages` pages, of which `pages_fresh` need not be asked.

    `total` is what the provider last said there are, None if it was never asked; `held` is how many of them we have.
    """
    shown = total if total is not None else max(held, 1)
    wanted = min(pages, max(1, math.ceil(shown / PAGE)))
    units = max(0, wanted - pages_fresh)
    # What lies on the pages that are asked for, less what we hold of it already.
    listed = max(0, min(shown, wanted * PAGE) - pages_fresh * PAGE)
    new = max(0, total - held) if total is not None else listed * _PRIOR[kind]
    return units, min(float(listed), new) if units else 0.0


def guess_new_pages(kind: TargetKind, *, pages: int) -> tuple[float, float]:
    """The same for a query about which nothing is known and that is likely to fill its pages, such as a month's books."""
    return pages, pages * PAGE * _PRIOR[kind]


def guess_isbn(*, is_held: bool) -> float:
    """New editions for one ISBN: none when the catalogue has it and only wants it completed."""
    return 0.0 if is_held else _PRIOR[TargetKind.ISBNS]
