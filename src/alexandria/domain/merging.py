"""How several records of one edition become the edition that is shown.

Merging is pure and does not depend on the order of the records: a field's value comes from the best record that has one, and
"best" is a total order (design.md, invariant 6). A record that is silent never takes a value away.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alexandria.domain.catalogue import EditionFacts

PROVIDERS = ("user", "openlibrary", "isbndb", "google-books")
"""Best first. A person's correction always wins; Open Library is edited by people, ISBNdb is fed by shops. What Google answers to an
ISBN is now and then another printing of the book (contracts/google-books.md, section 2)."""

COVER_PROVIDERS = ("user", "isbndb", "openlibrary", "google-books")
"""ISBNdb's pictures are free to fetch in bulk; Open Library asks not to be used for that (contracts/openlibrary.md, 4); Google's are
128 pixels wide (contracts/google-books.md, 3)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The facts of one source record, with what decides their weight."""

    provider: str
    retrieved_at: datetime
    facts: EditionFacts


@dataclass(frozen=True, slots=True)
class Merged:
    """The edition as it is shown, and for each field the provider whose record it comes from."""

    facts: EditionFacts
    provenance: Mapping[str, str]


def merge(claims: Sequence[Claim]) -> Merged:
    """Combine all that is known of one edition; any permutation of the same claims gives the same result."""
    values: dict[str, Any] = {}
    provenance: dict[str, str] = {}
    for field, better in _RULES.items():
        speaking = [claim for claim in claims if not _is_silent(getattr(claim.facts, field))]
        if speaking:
            # Most editions have one record: comparing it with nothing would cost more than all else here.
            best = speaking[0] if len(speaking) == 1 else min(speaking, key=better)
            values[field] = getattr(best.facts, field)
            provenance[field] = best.provider
    for field in ("isbns", "subjects", "identifiers", "work_keys", "related"):
        values[field] = tuple(
            sorted(_distinct(item for claim in claims for item in getattr(claim.facts, field)))
        )
    values["is_book"] = all(claim.facts.is_book for claim in claims)
    return Merged(EditionFacts(**values), provenance)


def _is_silent(value: object) -> bool:
    return value is None or value == ()


def _distinct(items: Iterable[Any]) -> Iterable[Any]:
    return dict.fromkeys(items)


def _rank(providers: Sequence[str], provider: str) -> int:
    return providers.index(provider) if provider in providers else len(providers)


def _order(claim: Claim, providers: Sequence[str]) -> tuple[object, ...]:
    """A total order: the provider's rank, then the newer answer, then the content, so that nothing is left to chance."""
    return _rank(providers, claim.provider), -claim.retrieved_at.timestamp(), repr(claim.facts)


def _by_provider(claim: Claim) -> tuple[object, ...]:
    return _order(claim, PROVIDERS)


def _by_precision(claim: Claim) -> tuple[object, ...]:
    """A whole date beats a bare year, whoever gives it; a person's correction beats both."""
    corrected = claim.provider == "user"
    return not corrected, -len(str(claim.facts.published)), *_order(claim, PROVIDERS)


def _by_length(claim: Claim) -> tuple[object, ...]:
    return claim.provider != "user", -len(claim.facts.synopsis or ""), *_order(claim, PROVIDERS)


def _by_cover(claim: Claim) -> tuple[object, ...]:
    return _order(claim, COVER_PROVIDERS)


_RULES: Mapping[str, Callable[[Claim], tuple[object, ...]]] = {
    "title": _by_provider,
    "subtitle": _by_provider,
    "contributions": _by_provider,
    "publisher": _by_provider,
    "published": _by_precision,
    "language": _by_provider,
    "pages": _by_provider,
    "binding": _by_provider,
    "synopsis": _by_length,
    "cover_url": _by_cover,
}
