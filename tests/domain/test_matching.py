"""Matching: what is evidence, what is not, and that the same evidence gives the same keys."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from alexandria.domain.catalogue import Contribution, EditionFacts, RecordKind, SourceRecord
from alexandria.domain.isbn import Isbn
from alexandria.domain.matching import (
    Evidence,
    Known,
    KnownAuthor,
    KnownEdition,
    Matcher,
    Placement,
    named_author_key,
)
from alexandria.domain.names import name_key
from alexandria.domain.titles import title_key

ONE, OTHER, THIRD = Isbn("9780140328721"), Isbn("9780261102217"), Isbn("9780306406157")


def record(isbn: Isbn, provider: str = "isbndb", key: str | None = None) -> SourceRecord:
    return SourceRecord(
        provider, RecordKind.EDITION, key or str(isbn), b"{}", datetime(2026, 11, 23, tzinfo=UTC)
    )


def facts(isbn: Isbn, title: str, *authors: str) -> EditionFacts:
    return EditionFacts(
        isbns=(isbn,), title=title, contributions=tuple(Contribution(name, name) for name in authors)
    )


def knowing(*authors: tuple[str, str, bool], titles: dict[tuple[str, str], str] | None = None) -> Known:
    known = Known(
        work_of_title={(who, title_key(title)): work for (who, title), work in (titles or {}).items()},
        title_of_claim={(who, title_key(title)): title for who, title in titles or {}},
    )
    known.works.update(known.work_of_title.values())
    for name, key, is_identified in authors:
        known.authors_of_name.setdefault(name_key(name), []).append(KnownAuthor(key, is_identified))
    return known


def place(
    known: Known, isbn: Isbn, title: str, *authors: str, bibliography_of: str | None = None
) -> Placement:
    return Matcher(known, bibliography_of=bibliography_of).place(record(isbn), facts(isbn, title, *authors))


def test_the_same_author_and_title_under_two_isbns_are_one_work() -> None:
    known = knowing(("Edda Vale", "OL1A", True))
    assert (
        place(known, ONE, "The Salt Road", "Edda Vale").work_key
        == place(known, OTHER, "Salt Road", "Vale, Edda").work_key
    )


def test_the_same_title_by_two_authors_is_two_works() -> None:
    known = knowing(("Edda Vale", "OL1A", True), ("Ola Brandt", "OL2A", True))
    assert (
        place(known, ONE, "Poems", "Edda Vale").work_key
        != place(known, OTHER, "Poems", "Ola Brandt").work_key
    )


def test_a_title_without_an_author_is_never_merged() -> None:
    known = knowing()
    assert place(known, ONE, "Poems").work_key != place(known, OTHER, "Poems").work_key


def test_a_known_work_of_the_author_is_reused() -> None:
    known = knowing(("Edda Vale", "OL1A", True), titles={("OL1A", "The Salt Road"): "OL9W"})
    placed = place(known, ONE, "The Salt Road", "Edda Vale")
    assert (placed.work_key, placed.is_new_work) == ("OL9W", False)


def test_two_workers_who_find_the_same_thing_write_the_same_keys() -> None:
    placed = [
        place(knowing(("Edda Vale", "OL1A", True)), ONE, "The Salt Road", "Edda Vale", "Nia Osei")
        for _ in range(2)
    ]
    assert placed[0] == placed[1]


def test_an_isbn_with_another_title_is_another_edition_and_waits_for_a_person() -> None:
    known = knowing()
    edition = KnownEdition("isbn-" + str(ONE), "OL9W", "The Salt Road", is_first=True)
    known.editions_of_isbn[ONE] = [edition]
    known.editions[edition.key] = edition
    matcher = Matcher(known)
    placed = matcher.place(record(ONE), facts(ONE, "Practical Beekeeping", "Ola Brandt"))
    assert placed.edition_key != edition.key
    assert placed.work_key != "OL9W"
    assert placed.first_isbns == ()
    assert [review.kind for review in matcher.reviews] == ["isbn_shared"]


def test_an_isbn_with_the_same_title_is_the_same_edition() -> None:
    known = knowing()
    edition = KnownEdition("OL7M", "OL9W", "The Salt Road", is_first=True)
    known.editions_of_isbn[ONE] = [edition]
    placed = place(known, ONE, "The Salt Road", "Somebody Else")
    assert (placed.edition_key, placed.work_key, placed.is_new_edition) == ("OL7M", "OL9W", False)


def test_a_name_that_two_authors_bear_links_to_neither() -> None:
    known = knowing(("Jan Novak", "OL1A", True), ("Jan Novak", "OL2A", True))
    matcher = Matcher(known, bibliography_of="OL1A")
    placed = matcher.place(record(ONE), facts(ONE, "Bridges", "Jan Novak"))
    assert [person.author_key for person in placed.persons] == [None]
    assert [review.kind for review in matcher.reviews] == ["name_shared"]


def test_of_two_authors_of_one_name_the_title_tells_who_it_is() -> None:
    known = knowing(
        ("Jan Novak", "OL1A", True), ("Jan Novak", "OL2A", True), titles={("OL2A", "Bridges"): "OL5W"}
    )
    placed = place(known, ONE, "Bridges", "Jan Novak", bibliography_of="OL1A")
    assert [(person.author_key, person.evidence) for person in placed.persons] == [("OL2A", Evidence.TITLE)]
    assert placed.work_key == "OL5W"


def test_an_author_known_by_name_only_gives_way_to_one_with_a_key() -> None:
    known = knowing(("Edda Vale", named_author_key("Edda Vale"), False), ("Edda Vale", "OL1A", True))
    assert place(known, ONE, "Tides", "Edda Vale").persons[0].author_key == "OL1A"


def test_asking_for_a_bibliography_is_evidence_for_its_author() -> None:
    known = knowing(("Edda Vale", "OL1A", True))
    persons = place(known, ONE, "Tides", "Edda Vale", bibliography_of="OL1A").persons
    assert [person.evidence for person in persons] == [Evidence.BIBLIOGRAPHY]


@pytest.mark.parametrize("name", ["Various", "Anonymous", "J", "[name missing]"])
def test_no_author_is_made_of_a_name_that_is_none(name: str) -> None:
    assert [
        person.author_key for person in place(knowing(), ONE, "Tides", name).persons if person.author_key
    ] == []


def test_a_statement_that_names_nobody_is_kept_and_claims_nothing() -> None:
    known = knowing()
    stated = replace(facts(ONE, "Tides"), contributions=(Contribution("Salt Road Press", ""),))
    placed = Matcher(known).place(record(ONE), stated)
    assert [(person.contribution.statement, person.author_key) for person in placed.persons] == [
        ("Salt Road Press", None)
    ]
    assert known.work_of_title == {}


def test_a_batch_learns_from_its_own_records() -> None:
    matcher = Matcher(knowing())
    works = {
        matcher.place(record(isbn), facts(isbn, "Tides", "Nia Osei")).work_key for isbn in (ONE, OTHER, THIRD)
    }
    assert len(works) == 1


def test_an_edition_with_a_key_of_its_own_keeps_it() -> None:
    placed = Matcher(knowing()).place(
        record(ONE, "openlibrary", "/books/OL7M"), facts(ONE, "Tides", "Nia Osei")
    )
    assert placed.edition_key == "OL7M"


def test_volumes_of_one_set_are_different_works() -> None:
    known = knowing(("Edda Vale", "OL1A", True))
    assert (
        place(known, ONE, "A History of Salt, Vol. 1", "Edda Vale").work_key
        != place(known, OTHER, "A History of Salt, Vol. 2", "Edda Vale").work_key
    )


def test_two_works_of_one_main_title_are_told_apart_by_their_subtitles() -> None:
    known = knowing(("Edda Vale", "OL1A", True))
    first = place(known, ONE, "Lighthouse: First Watch", "Edda Vale")
    second = place(known, OTHER, "Lighthouse: The Fall of Skerry", "Edda Vale")
    assert first.work_key != second.work_key
    assert (first.claims_title, second.claims_title) == (True, False)
    assert place(known, THIRD, "Lighthouse: The Fall of Skerry", "Edda Vale").work_key == second.work_key


def test_a_work_found_before_its_author_had_a_key_is_found_again_afterwards() -> None:
    named = named_author_key("Edda Vale")
    known = knowing(
        ("Edda Vale", named, False), ("Edda Vale", "OL1A", True), titles={(named, "Tides"): "matched-1"}
    )
    assert place(known, ONE, "Tides", "Edda Vale").work_key == "matched-1"
