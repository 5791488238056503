"""Open Library, Google Books and Wikidata against the sandbox, through the real gateway and coordinator."""

import asyncio

import pytest

from alexandria.domain.errors import (
    ConfigurationError,
    InvalidInput,
    ProviderRefused,
    ProviderUnavailable,
    QuotaDenied,
    QuotaExhausted,
    RecordNotFound,
)
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import DenialReason, Lane
from alexandria.providers import google_books, openlibrary, wikidata
from alexandria.providers.isbn_answers import IsbnAnswers
from alexandria.providers.policies import POLICIES
from alexandria.sandbox import identities
from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Database
from free_rig import (
    UNKNOWN,
    books_of,
    free_rig,
    in_openlibrary,
    isbn_of,
    not_in_openlibrary,
)

JUNK = Isbn("9780000000002")


@pytest.fixture(scope="module")
def world() -> World:
    return World.invent(seed=5, authors=30, works_per_top_author=60, duplicate_author_share=0.2)


def groups(answers: IsbnAnswers) -> list[Isbn]:
    """Every ISBN of the answers as often as it is in a group."""
    return [*answers.found, *answers.absent, *answers.unclear, *answers.unasked]


async def test_sixty_isbns_are_three_requests_and_each_is_in_one_group(
    world: World, database: Database
) -> None:
    known = [isbn_of(each) for each in in_openlibrary(world)[:50]]
    absent = [*UNKNOWN, *(isbn_of(each) for each in not_in_openlibrary(world)[:8])]
    asked = [*absent, JUNK, *known]
    async with free_rig(world, database) as rig:
        answers = await rig.openlibrary.editions(asked, lane=Lane.BULK, consumer="tests")
        assert rig.asked("openlibrary") == ["/api/books"] * 3
    assert sorted(groups(answers)) == sorted(asked)
    assert set(answers.found) == set(known)
    assert (set(answers.absent), answers.unasked) == (set(absent), (JUNK,))
    titles = {isbn_of(each): each.title for each in books_of(world)}
    for isbn, record in answers.found.items():
        facts = openlibrary.edition_facts(record).facts
        assert (isbn in facts.isbns, facts.title) == (True, titles[isbn])


async def test_an_empty_object_is_no_absence_unless_the_search_agrees(
    world: World, database: Database
) -> None:
    known = isbn_of(in_openlibrary(world)[0])
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(FaultKind.EMPTY_PAGE, endpoint="openlibrary", text="/api/books", count=1)
        answers = await rig.openlibrary.editions([known, *UNKNOWN], lane=Lane.BULK, consumer="tests")
        assert (answers.unclear, answers.absent) == ((known,), UNKNOWN)
        agreed = await rig.openlibrary.editions(UNKNOWN, lane=Lane.BULK, consumer="tests")
        assert (agreed.absent, agreed.unclear) == (UNKNOWN, ())
        assert rig.asked("openlibrary") == ["/api/books", "/search.json"] * 2


@pytest.mark.parametrize("kind", [FaultKind.HTML_BODY, FaultKind.TRUNCATED_JSON])
async def test_what_is_no_answer_makes_nothing_absent(
    kind: FaultKind, world: World, database: Database
) -> None:
    asked = [isbn_of(each) for each in in_openlibrary(world)[:30]]
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(kind, endpoint="openlibrary", skip=1)
        answers = await rig.openlibrary.editions(asked, lane=Lane.BULK, consumer="tests")
    assert (list(answers.found), answers.unasked) == (asked[:25], tuple(asked[25:]))
    assert isinstance(answers.failure, ProviderUnavailable)
    assert groups(answers) == asked


async def test_a_403_stops_the_source_until_a_person_resumes_it(world: World, database: Database) -> None:
    known = [isbn_of(in_openlibrary(world)[0])]
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(FaultKind.EMPTY_403, endpoint="openlibrary")
        first = await rig.openlibrary.editions(known, lane=Lane.BULK, consumer="tests")
        assert isinstance(first.failure, ProviderRefused)
        assert "ALEXANDRIA_CONTACT" in str(first.failure)
        second = await rig.openlibrary.editions(known, lane=Lane.BULK, consumer="tests")
        assert isinstance(second.failure, QuotaDenied)
        assert second.failure.reason == DenialReason.SUSPENDED
        assert (second.unasked, second.absent) == (tuple(known), ())
        assert len(rig.asked("openlibrary")) == 1


async def test_a_429_pauses_the_source_for_everybody(world: World, database: Database) -> None:
    known = [isbn_of(in_openlibrary(world)[0])]
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(FaultKind.RATE_429, endpoint="openlibrary")
        for _ in range(2):
            answers = await rig.openlibrary.editions(known, lane=Lane.INTERACTIVE, consumer="tests")
            assert isinstance(answers.failure, QuotaDenied)
            assert answers.unasked == tuple(known)
        assert len(rig.asked("openlibrary")) == 1


async def test_without_a_contact_nothing_is_sent(world: World, database: Database) -> None:
    async with free_rig(world, database, contact=None) as rig:
        answers = await rig.openlibrary.editions(UNKNOWN, lane=Lane.BULK, consumer="tests")
        assert isinstance(answers.failure, ConfigurationError)
        assert answers.unasked == UNKNOWN
        with pytest.raises(ConfigurationError, match="ALEXANDRIA_CONTACT"):
            await rig.wikidata.entities(["Q42"], lane=Lane.BULK, consumer="tests")
        assert rig.sandbox.free_calls == []


async def test_works_and_authors_come_many_in_a_request(world: World, database: Database) -> None:
    works = sorted({each.work_key for each in in_openlibrary(world) if each.work_key})[:60]
    async with free_rig(world, database) as rig:
        found = await rig.openlibrary.works([*works, "OL1W"], lane=Lane.BULK, consumer="tests")
        assert rig.asked("openlibrary") == ["/search.json"] * 2
        assert found.missing == ("OL1W",)
        facts = [openlibrary.work_facts(record).facts for record in found.records]
        assert [(each.key, each.title, each.author_keys) for each in facts] == [
            (key, world.truth.works[key].title, world.truth.works[key].author_keys) for key in works
        ]
        people = sorted({key for each in facts for key in each.author_keys})
        authors = await rig.openlibrary.authors(people, lane=Lane.BULK, consumer="tests")
        said = [openlibrary.author_facts(record).facts for record in authors.records]
        assert [(each.key, each.name, each.birth_year) for each in said] == [
            (key, world.truth.authors[key].name, world.truth.authors[key].birth_year) for key in people
        ]
        with pytest.raises(InvalidInput):
            await rig.openlibrary.works(["OL1W OR *"], lane=Lane.BULK, consumer="tests")


async def test_an_authors_document_is_followed_to_where_it_was_merged(
    world: World, database: Database
) -> None:
    author = next(each for each in world.truth.authors.values() if each.duplicate_keys)
    async with free_rig(world, database) as rig:
        answer = await rig.openlibrary.author(author.duplicate_keys[0], lane=Lane.BULK, consumer="tests")
        assert (answer.key, answer.record.key) == (author.key, f"/authors/{author.key}")
        with pytest.raises(RecordNotFound):
            await rig.openlibrary.author("OL1A", lane=Lane.BULK, consumer="tests")


async def test_the_pace_of_open_library_is_kept_by_two_at_once(world: World, database: Database) -> None:
    asked = [[isbn_of(each)] for each in in_openlibrary(world)[:7]]
    async with free_rig(world, database, policies=POLICIES.__getitem__) as rig:
        for one in asked[:1]:
            await rig.openlibrary.editions(one, lane=Lane.SCHEDULED, consumer="tests")
        answers = await asyncio.gather(
            *(rig.openlibrary.editions(one, lane=Lane.SCHEDULED, consumer="tests") for one in asked[1:])
        )
        assert all(each.failure is None for each in answers)
        times = [each.at for each in rig.sandbox.free_calls]
    assert len(times) == 7
    assert all(
        (later - earlier).total_seconds() > 1 for earlier, later in zip(times, times[3:], strict=False)
    )


# Google Books


def google_cases(world: World, quirks: set[int], count: int, *, is_known: bool) -> list[Isbn]:
    """ISBNs that the sandbox answers with one of these quirks (above 4: none of them)."""
    return [
        isbn_of(each)
        for each in books_of(world)
        if min(identities.google_quirk(str(isbn_of(each))), 5) in quirks
        and identities.is_in_google(each) is is_known
    ][:count]


async def test_only_a_hit_that_bears_the_isbn_is_a_hit(world: World, database: Database) -> None:
    found = google_cases(world, {5}, 5, is_known=True)
    absent = google_cases(world, {5}, 3, is_known=False)
    wrong = google_cases(world, {0, 1}, 3, is_known=True)
    anonymous = google_cases(world, {2, 3}, 2, is_known=True)
    empty = google_cases(world, {4}, 1, is_known=True)
    assert wrong
    assert anonymous
    assert empty
    asked = [*found, *absent, *wrong, *anonymous, *empty, JUNK]
    async with free_rig(world, database) as rig:
        answers = await rig.google.editions(asked, lane=Lane.BULK, consumer="tests")
        assert len(rig.asked("google-books")) == len(asked) - 1
    assert (set(answers.found), set(answers.absent)) == (set(found), set(absent))
    assert set(answers.unclear) == {*wrong, *anonymous, *empty}
    assert sorted(groups(answers)) == sorted(asked)
    told = {each.place for each in answers.dropped if "does not bear this ISBN" in each.reason}
    assert told == {str(isbn) for isbn in (*wrong, *anonymous)}
    titles = {isbn_of(each): each.title for each in books_of(world)}
    for isbn, record in answers.found.items():
        assert google_books.edition_facts(record).facts.title == titles[isbn]
        assert b"accessInfo" not in record.body


async def test_the_days_end_at_google_is_no_miss_and_is_not_asked_again(
    world: World, database: Database
) -> None:
    asked = google_cases(world, {5}, 4, is_known=True)
    async with free_rig(world, database) as rig:
        rig.sandbox.google.daily_limit = 2
        answers = await rig.google.editions(asked, lane=Lane.BULK, consumer="tests")
        assert isinstance(answers.failure, QuotaExhausted)
        assert (list(answers.found), answers.unasked) == (asked[:2], tuple(asked[2:]))
        again = await rig.google.editions(asked[2:], lane=Lane.INTERACTIVE, consumer="tests")
        assert isinstance(again.failure, QuotaDenied)
        assert len(rig.asked("google-books")) == 3


async def test_a_refused_key_is_named_and_never_shown(world: World, database: Database) -> None:
    async with free_rig(world, database, key="a-wrong-key") as rig:
        answers = await rig.google.editions(UNKNOWN, lane=Lane.BULK, consumer="tests")
    assert isinstance(answers.failure, ProviderRefused)
    assert "check the key" in str(answers.failure)
    assert "a-wrong-key" not in str(answers.failure)
    assert answers.unasked == UNKNOWN


async def test_a_google_that_is_down_is_soon_left_alone(world: World, database: Database) -> None:
    asked = google_cases(world, {5}, 9, is_known=True)
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(FaultKind.HTML_BODY, endpoint="google-books", skip=1)
        answers = await rig.google.editions(asked, lane=Lane.BULK, consumer="tests")
        assert len(rig.asked("google-books")) == 6
    assert isinstance(answers.failure, ProviderUnavailable)
    assert (list(answers.found), answers.absent) == (asked[:1], ())
    assert (answers.unclear, answers.unasked) == (tuple(asked[1:3]), tuple(asked[3:]))


async def test_one_bad_answer_of_google_costs_its_own_isbn(world: World, database: Database) -> None:
    asked = google_cases(world, {5}, 3, is_known=True)
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(FaultKind.TRUNCATED_JSON, endpoint="google-books", skip=1, count=2)
        answers = await rig.google.editions(asked, lane=Lane.BULK, consumer="tests")
    assert (list(answers.found), answers.unclear) == ([asked[0], asked[2]], (asked[1],))
    assert isinstance(answers.failure, ProviderUnavailable)


# Wikidata


async def test_sixty_entities_are_two_requests(world: World, database: Database) -> None:
    entities = [
        entity for each in world.truth.authors.values() if (entity := identities.wikidata_entity(each))
    ]
    asked = [*entities, *(f"Q{number}" for number in range(1, 61 - len(entities)))]
    async with free_rig(world, database) as rig:
        answers = await rig.wikidata.entities(asked, lane=Lane.BULK, consumer="tests")
        assert len(rig.asked("wikidata")) == 2
    assert [record.key for record in answers.records] == entities
    assert set(answers.absent) == set(asked) - set(entities)
    people = {identities.wikidata_entity(each): each for each in world.truth.authors.values()}
    for record in answers.records:
        facts, author = wikidata.author_facts(record).facts, people[record.key]
        vague = identities.is_vague_at_wikidata(author)
        assert facts.birth_year == (None if vague else author.birth_year)
        assert {("openlibrary", author.key), ("isni", identities.isni(author))} <= set(facts.identifiers)


async def test_an_id_beyond_all_items_costs_itself_alone(world: World, database: Database) -> None:
    entity = next(
        entity for each in world.truth.authors.values() if (entity := identities.wikidata_entity(each))
    )
    async with free_rig(world, database) as rig:
        answers = await rig.wikidata.entities(["Q9999999999", entity], lane=Lane.BULK, consumer="tests")
        assert ([record.key for record in answers.records], answers.absent) == ([entity], ("Q9999999999",))
        with pytest.raises(InvalidInput):
            await rig.wikidata.entities(["Q42|Q43"], lane=Lane.BULK, consumer="tests")


async def test_entities_are_found_by_open_librarys_keys(world: World, database: Database) -> None:
    people = list(world.truth.authors.values())[:20]
    async with free_rig(world, database) as rig:
        found = await rig.wikidata.find_entities(
            [each.key for each in people], lane=Lane.BULK, consumer="tests"
        )
        assert len(rig.asked("wikidata")) == 2
    assert set(found) == {entity for each in people if (entity := identities.wikidata_entity(each))}


async def test_a_throttled_wikidata_pauses_and_is_no_absence(world: World, database: Database) -> None:
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(FaultKind.RATE_429, endpoint="wikidata", seconds=30)
        with pytest.raises(QuotaDenied):
            await rig.wikidata.entities(["Q1"], lane=Lane.INTERACTIVE, consumer="tests")
