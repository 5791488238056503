"""How what several sources say of one author becomes the author that is shown.

Pure and independent of the order of the claims (design.md, invariant 6): names and years come from the best source that states them,
identifiers and further names from all. That two records share an identifier is evidence, but not proof: where years or VIAF
clusters contradict each other nothing is merged, and a person is asked (hard-cases.md, C9 and E19).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from alexandria.domain.catalogue import AuthorFacts
from alexandria.domain.names import name_key

PROVIDERS = ("user", "openlibrary", "wikidata")
"""Best first: Open Library's key is what identifies the author here."""

YEARS_ALIKE = 1
"""By so much years may differ and still be the same: turns of the year, and dates of baptism and burial."""


@dataclass(frozen=True, slots=True)
class AuthorClaim:
    """What one record says of the author."""

    provider: str
    facts: AuthorFacts


@dataclass(frozen=True, slots=True)
class MergedAuthor:
    """The author as shown, and which records were left out: their key and the reason."""

    facts: AuthorFacts
    conflicts: tuple[tuple[str, str], ...] = ()


def merge(key: str, claims: Sequence[AuthorClaim]) -> MergedAuthor:
    """Combine what is known of the author `key`; a claim without a name, as for what is no person, says nothing."""
    taken: list[AuthorFacts] = []
    conflicts: list[tuple[str, str]] = []
    for claim in sorted((each for each in claims if each.facts.name), key=_order):
        reason = next((found for each in taken if (found := _contradiction(each, claim.facts))), None)
        if reason:
            conflicts.append((claim.facts.key, reason))
        else:
            taken.append(claim.facts)
    name = taken[0].name if taken else ""
    others = {
        name_key(other): other
        for each in reversed(taken)
        for other in (*each.other_names, each.name)
        if other
    }
    others.pop(name_key(name), None)
    facts = AuthorFacts(
        key=key,
        name=name,
        other_names=tuple(others[each] for each in sorted(others)),
        birth_year=next((each.birth_year for each in taken if each.birth_year is not None), None),
        death_year=next((each.death_year for each in taken if each.death_year is not None), None),
        identifiers=tuple(
            sorted(
                {
                    (kind, value)
                    for each in taken
                    for kind, value in each.identifiers
                    if (kind, value) != ("openlibrary", key)
                }
            )
        ),
    )
    return MergedAuthor(facts, tuple(conflicts))


def _order(claim: AuthorClaim) -> tuple[int, str]:
    rank = PROVIDERS.index(claim.provider) if claim.provider in PROVIDERS else len(PROVIDERS)
    return rank, repr(claim.facts)


def _contradiction(known: AuthorFacts, said: AuthorFacts) -> str | None:
    """Why two claims can't be of one person; None when nothing speaks against it."""
    for word, mine, theirs in (
        ("born", known.birth_year, said.birth_year),
        ("died", known.death_year, said.death_year),
    ):
        if mine is not None and theirs is not None and abs(mine - theirs) > YEARS_ALIKE:
            return f"{word} in {mine}, or in {theirs}"
    clusters, others = _values(known, "viaf"), _values(said, "viaf")
    if clusters and others and not clusters & others:
        return f"VIAF {', '.join(sorted(clusters))}, or {', '.join(sorted(others))}"
    return None


def _values(facts: AuthorFacts, kind: str) -> set[str]:
    return {value for each, value in facts.identifiers if each == kind}
