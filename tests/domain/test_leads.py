"""Leads: when a related ISBN shows that two editions in two languages are one work, and when it doesn't."""

from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria.domain.catalogue import Contribution, EditionFacts, RecordKind, SourceRecord
from alexandria.domain.isbn import Isbn
from alexandria.domain.leads import are_told_apart
from alexandria.domain.matching import Known, KnownAuthor, Matcher
from alexandria.domain.names import name_key

ONE, OTHER, THIRD, FOURTH = map(Isbn, ("9780140328721", "9780261102217", "9780306406157", "9781861972712"))
VALE = "Edda Vale"


def edition(
    isbn: Isbn, title: str, language: str | None, *related: Isbn, author: str = VALE
) -> tuple[SourceRecord, EditionFacts]:
    record = SourceRecord("isbndb", RecordKind.EDITION, str(isbn), b"{}", datetime(2026, 11, 23, tzinfo=UTC))
    contributions = (Contribution(author, author),)
    return record, EditionFacts(
        isbns=(isbn,), title=title, contributions=contributions, language=language, related=related
    )


def matcher() -> Matcher:
    authors = {name: [KnownAuthor(key, True)] for name, key in ((VALE, "OL1A"), ("Ola Brandt", "OL2A"))}
    return Matcher(Known(authors_of_name={name_key(name): known for name, known in authors.items()}))


def works_of(*editions: tuple[SourceRecord, EditionFacts]) -> list[str]:
    """The works that these are placed in, one after the other."""
    placing = matcher()
    return [placing.place(*each).work_key for each in editions]


ORIGINAL = edition(ONE, "The Salt Road", "eng", OTHER)
TRANSLATION = edition(OTHER, "Die Salzstraße", "deu", ONE)


def test_a_translation_and_its_original_that_name_each_other_are_one_work() -> None:
    for pair in permutations([ORIGINAL, TRANSLATION]):
        one, other = works_of(*pair)
        assert one == other


def test_two_translations_are_one_work_before_the_original_is_known() -> None:
    one, other = works_of(
        edition(OTHER, "Die Salzstraße", "deu", ONE), edition(THIRD, "La Route du sel", "fra", ONE, OTHER)
    )
    assert one == other


@pytest.mark.parametrize(
    "translation",
    [
        edition(OTHER, "Die Salzstraße", "deu"),
        edition(OTHER, "Die Salzstraße", None, ONE),
        edition(OTHER, "Die Salzstraße", "deu", ONE, author="Ola Brandt"),
        edition(OTHER, "The Sea Road", "eng", ONE),
    ],
    ids=["one lead", "no language", "nobody in common", "the same language"],
)
def test_leads_alone_prove_nothing(translation: tuple[SourceRecord, EditionFacts]) -> None:
    original, other = works_of(ORIGINAL, translation)
    assert original != other


def test_a_mistaken_lead_joins_nothing_in_whatever_order_records_come() -> None:
    mistaken = edition(THIRD, "Die Hafenlieder", "deu", ONE)
    for order in permutations([ORIGINAL, TRANSLATION, mistaken]):
        works = dict(zip([record.key for record, _ in order], works_of(*order), strict=True))
        assert works[str(ONE)] == works[str(OTHER)] != works[str(THIRD)]


def test_a_work_that_bears_another_title_in_the_language_is_not_meant() -> None:
    box = edition(THIRD, "Die große Kassette", "deu", ONE, OTHER)
    original, translation, other = works_of(ORIGINAL, TRANSLATION, box)
    assert original == translation != other


def test_where_most_isbns_lead_the_work_is() -> None:
    stray = edition(FOURTH, "Harbours", "eng", OTHER)
    translation = edition(OTHER, "Die Salzstraße", "deu", ONE, THIRD, FOURTH)
    original, _, harbours, translated = works_of(
        ORIGINAL, edition(THIRD, "The Salt Road", "eng"), stray, translation
    )
    assert translated == original != harbours


def test_between_two_works_nothing_is_decided_and_a_person_is_told() -> None:
    placing = matcher()
    works = [
        placing.place(*each).work_key
        for each in (
            ORIGINAL,
            edition(THIRD, "Harbours", "eng", OTHER),
            edition(OTHER, "Die Salzstraße", "deu", ONE, THIRD),
        )
    ]
    assert len(set(works)) == 3
    assert [each.kind for each in placing.reviews] == ["work_twins"]


def test_an_original_found_by_its_title_shows_that_the_translations_work_is_the_same() -> None:
    placing = matcher()
    placing._known.works.add("OL9W")
    placing._known.work_of_title["OL1A", "salt road"] = "OL9W"
    placing._known.title_of_claim["OL1A", "salt road"] = "The Salt Road"
    translated = placing.place(*TRANSLATION).work_key
    assert placing.place(*ORIGINAL).work_key == "OL9W" != translated
    assert placing.twins == [("OL9W", translated)]


titles = st.dictionaries(
    st.sampled_from(["eng", "deu", "fra"]),
    st.lists(st.sampled_from(["Tides", "Harbours", "Salt"]), min_size=1),
)


@given(titles, titles)
def test_works_are_told_apart_by_titles_of_one_language_in_both_directions(
    one: dict[str, list[str]], other: dict[str, list[str]]
) -> None:
    common = [language for language in one if language in other]
    expected = any(not set(one[language]) & set(other[language]) for language in common)
    assert are_told_apart(one, other) == are_told_apart(other, one) == expected
