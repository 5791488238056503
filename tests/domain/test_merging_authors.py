"""What several sources say of one author: gaps are filled, contradictions are left to a person."""

from itertools import permutations

from alexandria.domain.catalogue import AuthorFacts
from alexandria.domain.merging_authors import AuthorClaim, merge

KEY = "OL21594A"
LIBRARY = AuthorClaim(
    "openlibrary",
    AuthorFacts(KEY, "Jane Austen", ("Miss Austen",), birth_year=1775, identifiers=(("viaf", "102333412"),)),
)
WIKIDATA = AuthorClaim(
    "wikidata",
    AuthorFacts(
        "Q36322",
        "Jane Austen",
        ("Джейн Остин",),
        birth_year=1776,
        death_year=1817,
        identifiers=(("openlibrary", KEY), ("viaf", "102333412"), ("wikidata", "Q36322")),
    ),
)


def test_a_gap_is_filled_and_what_open_library_says_stays() -> None:
    merged = merge(KEY, [WIKIDATA, LIBRARY])
    assert merged.conflicts == ()
    assert (merged.facts.birth_year, merged.facts.death_year) == (1775, 1817)
    assert set(merged.facts.other_names) == {"Miss Austen", "Джейн Остин"}
    assert merged.facts.identifiers == (("viaf", "102333412"), ("wikidata", "Q36322"))


def test_no_order_of_the_claims_changes_the_author() -> None:
    other = AuthorClaim("wikidata", AuthorFacts("Q7", "Jane Austen", birth_year=1901, death_year=1980))
    assert len({repr(merge(KEY, order)) for order in permutations([LIBRARY, WIKIDATA, other])}) == 1


def test_other_years_or_another_viaf_cluster_are_a_conflict() -> None:
    for facts in (
        AuthorFacts("Q7", "Jane Austen", birth_year=1777),
        AuthorFacts("Q7", "Jane Austen", identifiers=(("viaf", "1"),)),
    ):
        merged = merge(KEY, [LIBRARY, AuthorClaim("wikidata", facts)])
        assert [key for key, _ in merged.conflicts] == ["Q7"]
        assert merged.facts.birth_year == 1775
        assert merged.facts.identifiers == (("viaf", "102333412"),)


def test_what_is_nobody_says_nothing() -> None:
    nobody = AuthorClaim("wikidata", AuthorFacts("Q7", "", birth_year=1900, identifiers=(("viaf", "1"),)))
    assert merge(KEY, [LIBRARY, nobody]) == merge(KEY, [LIBRARY])
