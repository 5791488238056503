"""The free sources as a use case: what is complete without a paid unit, what is stored, and what a failing source costs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alexandria import config
from alexandria.app import running_app
from alexandria.domain import merging
from alexandria.domain.merging import Claim
from alexandria.domain.quota import Lane
from alexandria.enrich import EDITION_READERS, Absorbed, absorb
from alexandria.sandbox import identities
from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.truth import Author, Edition, EditionKind
from alexandria.sandbox.world import World
from alexandria.sources import FreeAnswers, FreeSources, ask_free, enrich_authors
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.covers import CoverStore
from alexandria.stores.postgres import Database
from conftest import Environment
from free_rig import (
    CONTACT,
    UNKNOWN,
    FreeRig,
    books_of,
    free_rig,
    in_openlibrary,
    isbn_of,
    not_in_openlibrary,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MONTH = timedelta(days=30)
WHO: dict[str, Any] = {"lane": Lane.BULK, "consumer": "tests"}


@pytest.fixture(scope="module")
def world() -> World:
    return World.invent(seed=5, authors=30, works_per_top_author=60, duplicate_author_share=0.2)


async def store(database: Database, rig: FreeRig, answers: FreeAnswers) -> Absorbed:
    async with database.transaction() as connection:
        return await absorb(
            connection, answers.records, openlibrary_covers=rig.sandbox.openlibrary_covers_url
        )


async def rows(database: Database, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    async with database.connection() as connection:
        return await (await connection.execute(query.encode(), parameters)).fetchall()


def is_complete_at_openlibrary(edition: Edition) -> bool:
    """What the sandbox's Open Library says of it is all that there is to say."""
    members = (edition.publisher, edition.published, edition.language, identities.openlibrary_cover(edition))
    is_book = edition.kind is EditionKind.BOOK
    return is_book and identities.is_in_openlibrary(edition) and all(members)


def has_no_quirk(edition: Edition) -> bool:
    return identities.google_quirk(str(isbn_of(edition))) > 4


# Editions


async def test_open_library_answers_first_and_google_only_what_is_missing_then(
    world: World, database: Database
) -> None:
    complete = [each for each in books_of(world) if is_complete_at_openlibrary(each)][:20]
    helped = [
        each
        for each in books_of(world)
        if each.kind is EditionKind.BOOK
        and not is_complete_at_openlibrary(each)
        and identities.is_in_google(each)
        and has_no_quirk(each)
    ][:6]
    nowhere = [
        each for each in not_in_openlibrary(world) if not identities.is_in_google(each) and has_no_quirk(each)
    ][:3]
    asked = [isbn_of(each) for each in (*complete, *helped, *nowhere)]
    async with free_rig(world, database) as rig:
        answers = await ask_free(rig.sources, database, asked, **WHO)
        assert len(rig.asked("google-books")) == 9
        stored = await store(database, rig, answers)
    assert {isbn_of(each) for each in complete} <= answers.complete
    # Google's grey picture has an address as well: what it shows is found out when it is fetched.
    assert {isbn_of(each) for each in helped} <= answers.complete
    gone = {isbn_of(each) for each in nowhere}
    assert gone.isdisjoint(answers.complete)
    assert gone <= set(answers.absent["openlibrary"]) & set(answers.absent["google-books"])
    assert (answers.skipped, answers.failed) == ({}, {})
    assert stored.editions_new == 26
    assert stored.covers_wanted == 26


async def test_what_was_found_stands_in_the_catalogue_with_its_work_authors_and_cover(
    world: World, database: Database
) -> None:
    editions = [each for each in books_of(world) if is_complete_at_openlibrary(each)][:30]
    async with free_rig(world, database) as rig:
        answers = await ask_free(rig.sources, database, [isbn_of(each) for each in editions], **WHO)
        # Two requests for the editions, one for their works, one for the authors: nothing for each by itself.
        assert sorted(rig.asked("openlibrary")) == ["/api/books"] * 2 + [
            "/search.json",
            "/search/authors.json",
        ]
        assert answers.skipped == {"google-books": "nothing was missing any more"}
        await store(database, rig, answers)
        async with database.connection() as connection:
            catalogue = CatalogueStore(connection)
            for edition in editions:
                (shown,) = await catalogue.list_editions_of_isbn(isbn_of(edition))
                assert (shown.key, shown.work_key, shown.title) == (
                    edition.key,
                    edition.work_key,
                    edition.title,
                )
                people = (await catalogue.list_authors_of_works([shown.work_key]))[shown.work_key]
                work = world.truth.works[shown.work_key]
                assert people == [(key, world.truth.authors[key].name) for key in work.author_keys]
                cover = await CoverStore(connection).get(isbn_of(edition))
                number = identities.openlibrary_cover(edition)
                assert cover.url == (
                    f"{rig.sandbox.openlibrary_covers_url}/b/id/{number}-L.jpg?default=false"
                )
                host = rig.sandbox.covers_url.partition("://")[2]
                picture = await rig.gateway.download(
                    cover.url, most_bytes=10**6, timeout_seconds=5, allowed_hosts=frozenset({host})
                )
                assert picture.body.startswith(b"\xff\xd8\xff")


async def test_the_covers_of_a_dump_are_not_wanted(world: World, database: Database) -> None:
    edition = next(each for each in books_of(world) if is_complete_at_openlibrary(each))
    async with free_rig(world, database) as rig:
        answers = await ask_free(rig.sources, database, [isbn_of(edition)], **WHO)
        async with database.transaction() as connection:
            assert (await absorb(connection, answers.records)).covers_wanted == 0


async def test_works_that_the_catalogue_has_are_not_asked_for_again(world: World, database: Database) -> None:
    by_work: dict[str | None, list[Edition]] = {}
    for each in books_of(world):
        if is_complete_at_openlibrary(each):
            by_work.setdefault(each.work_key, []).append(each)
    first, second = next(each for each in by_work.values() if len(each) > 1)[:2]
    async with free_rig(world, database) as rig:
        await store(database, rig, await ask_free(rig.sources, database, [isbn_of(first)], **WHO))
        asked = len(rig.asked("openlibrary"))
        answers = await ask_free(rig.sources, database, [isbn_of(second)], **WHO)
        assert rig.asked("openlibrary")[asked:] == ["/api/books"]
        assert answers.complete == {isbn_of(second)}
        await store(database, rig, answers)
    assert await rows(database, "SELECT count(*) FROM works") == [(1,)]


async def test_an_edition_whose_work_cant_be_had_waits_rather_than_make_a_work(
    world: World, database: Database
) -> None:
    edition = isbn_of(next(each for each in books_of(world) if is_complete_at_openlibrary(each)))
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(FaultKind.EMPTY_PAGE, endpoint="openlibrary", text="/search.json", count=1)
        sources = FreeSources(openlibrary=rig.openlibrary)
        answers = await ask_free(sources, database, [edition], **WHO)
        assert (answers.records, answers.absent["openlibrary"]) == ((), ())
        assert [each.reason for each in answers.dropped] == ["its work can't be had at the moment"]
        rig.sandbox.faults.clear()
        assert (await ask_free(sources, database, [edition], **WHO)).complete == {edition}


async def test_an_edition_without_anybodys_name_is_not_complete(world: World, database: Database) -> None:
    edition = isbn_of(next(each for each in books_of(world) if is_complete_at_openlibrary(each)))
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(FaultKind.EMPTY_PAGE, endpoint="openlibrary", text="/search/authors", count=1)
        answers = await ask_free(FreeSources(openlibrary=rig.openlibrary), database, [edition], **WHO)
        assert (answers.found, answers.complete) == ({"openlibrary": (edition,)}, frozenset())


@pytest.mark.parametrize(
    ("fault", "told"),
    [(FaultKind.EMPTY_403, "blocked by policy"), (FaultKind.HTML_BODY, "not with a whole JSON object")],
)
async def test_a_source_that_fails_is_reported_and_the_others_are_asked(
    fault: FaultKind, told: str, world: World, database: Database
) -> None:
    asked = [
        isbn_of(each) for each in books_of(world) if identities.is_in_google(each) and has_no_quirk(each)
    ][:3]
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(fault, endpoint="openlibrary")
        answers = await ask_free(rig.sources, database, asked, **WHO)
        assert told in answers.failed["openlibrary"]
        assert answers.found["google-books"] == tuple(asked)
        assert answers.absent["openlibrary"] == ()
        assert answers.complete == set(asked)


async def test_a_refused_caller_is_served_again_when_a_person_resumes_the_account(
    world: World, database: Database
) -> None:
    asked = [isbn_of(each) for each in books_of(world) if is_complete_at_openlibrary(each)][:1]
    async with free_rig(world, database) as rig:
        rig.sandbox.faults.add(FaultKind.EMPTY_403, endpoint="openlibrary", count=1)
        sources = FreeSources(openlibrary=rig.openlibrary)
        told = (await ask_free(sources, database, asked, **WHO)).failed["openlibrary"]
        assert "alexandria quota resume --provider openlibrary" in told
        assert "openlibrary" in (await ask_free(sources, database, asked, **WHO)).skipped
        assert await rig.quota.resume(rig.openlibrary.source.account)
        assert (await ask_free(sources, database, asked, **WHO)).complete == set(asked)


async def test_google_is_not_asked_about_more_than_it_can_answer_somebody_who_waits(
    world: World, database: Database
) -> None:
    asked = [isbn_of(each) for each in books_of(world)[:13]]
    async with free_rig(world, database) as rig:
        answers = await ask_free(
            FreeSources(google_books=rig.google), database, asked, lane=Lane.INTERACTIVE, consumer="tests"
        )
        assert len(rig.asked("google-books")) == 10
        assert answers.skipped == {"google-books": "3 ISBNs: it is asked about 10 at a time"}


async def test_what_is_switched_off_says_why(
    environment_for: Environment, world: World, database: Database
) -> None:
    async with free_rig(world, database) as rig:
        for given, off in (
            ({}, {"openlibrary": "ALEXANDRIA_CONTACT", "google-books": "ALEXANDRIA_GOOGLE_BOOKS_KEY"}),
            ({"contact": CONTACT, "sources": "google-books"}, {"openlibrary": "ALEXANDRIA_SOURCES"}),
            ({"contact": CONTACT, "google_books_key": "k"}, {}),
        ):
            settings = config.load(environment_for(rig.sandbox, **given))
            async with running_app(settings, str(settings.database_url)) as app:
                sources = app.free_sources
                assert all(reason in sources.off[source] for source, reason in off.items())
                assert (sources.openlibrary is None) == ("openlibrary" in off)
                assert (sources.wikidata is None) == ("contact" not in given)
                if not off:
                    continue
                answers = await ask_free(sources, database, UNKNOWN, **WHO)
                assert set(off) <= set(answers.skipped)
        assert rig.sandbox.free_calls == []


async def test_the_order_of_the_sources_records_does_not_matter(world: World, database: Database) -> None:
    asked = [
        isbn_of(each)
        for each in in_openlibrary(world)
        if identities.is_in_google(each) and has_no_quirk(each)
    ][:5]
    async with free_rig(world, database) as rig:
        library = await rig.openlibrary.editions(asked, **WHO)
        google = await rig.google.editions(asked, **WHO)
    for isbn in asked:
        claims = [
            Claim(each.provider, each.retrieved_at, EDITION_READERS[each.provider](each).facts)
            for each in (library.found[isbn], google.found[isbn])
        ]
        merged = merging.merge(claims)
        assert merged == merging.merge(claims[::-1])
        assert merged.provenance["title"] == "openlibrary"
        assert merged.facts.identifiers


# Authors


def named(world: World) -> Sequence[Author]:
    """The authors of the editions at Open Library, in the order of their keys."""
    works = {each.work_key for each in in_openlibrary(world)}
    keys = {key for work in works if work for key in world.truth.works[work].author_keys}
    return [world.truth.authors[key] for key in sorted(keys)]


async def know_authors(database: Database, rig: FreeRig, people: Sequence[Author]) -> None:
    """Bring authors into the catalogue as Open Library's search shows them."""
    found = await rig.openlibrary.authors([each.key for each in people], **WHO)
    async with database.transaction() as connection:
        await absorb(connection, found.records)


def is_known_rightly(author: Author) -> bool:
    at_openlibrary = identities.is_named_at_openlibrary(author)
    return identities.wikidata_entity(author) is not None and not (
        at_openlibrary and identities.is_wrong_at_openlibrary(author)
    )


async def test_authors_get_years_and_identifiers_and_are_not_asked_again_before_their_time(
    world: World, database: Database
) -> None:
    async with free_rig(world, database) as rig:
        people = named(world)[:14]  # no more than the sandbox lets pass at once
        await know_authors(database, rig, people)
        await rows(database, "UPDATE authors SET birth_year = NULL, death_year = NULL RETURNING key")
        keys = [each.key for each in people]
        first = await enrich_authors(rig.sources, database, keys, **WHO, now=NOW, freshness=MONTH)
        assert (first.failed, first.skipped) == ({}, {})
        assert first.found["openlibrary"] == len(people)
        assert first.found["wikidata"] + first.absent["wikidata"] == len(people)
        for author in people:
            ((born, died),) = await rows(
                database, "SELECT birth_year, death_year FROM authors WHERE key = %s", author.key
            )
            assert (born, died) == (author.birth_year, author.death_year)
            ids = set(
                await rows(
                    database, "SELECT kind, value FROM author_identifiers WHERE author_key = %s", author.key
                )
            )
            if is_known_rightly(author):
                assert {
                    ("wikidata", identities.wikidata_entity(author)),
                    ("viaf", identities.viaf(author)),
                    ("isni", identities.isni(author)),
                } <= ids
        asked = len(rig.sandbox.free_calls)
        again = await enrich_authors(rig.sources, database, keys, **WHO, now=NOW + MONTH / 2, freshness=MONTH)
        assert len(rig.sandbox.free_calls) == asked
        assert again.fresh == {"openlibrary": len(people), "wikidata": len(people)}
        later = await enrich_authors(
            rig.sources, database, keys[:2], **WHO, now=NOW + 2 * MONTH, freshness=MONTH
        )
        assert later.found["openlibrary"] == 2


async def test_an_identifier_that_leads_to_somebody_else_changes_nothing_and_waits_for_a_person(
    database: Database,
) -> None:
    world, author = next(
        (world, author)
        for world in (World.invent(seed=seed, authors=40, works_per_top_author=9) for seed in range(1, 9))
        for author in named(world)
        if identities.is_named_at_openlibrary(author) and identities.is_wrong_at_openlibrary(author)
    )
    async with free_rig(world, database) as rig:
        await know_authors(database, rig, [author])
        result = await enrich_authors(rig.sources, database, [author.key], **WHO, now=NOW, freshness=MONTH)
    assert result.found == {"openlibrary": 1, "wikidata": 1}
    assert await rows(database, "SELECT birth_year, name FROM authors WHERE key = %s", author.key) == [
        (author.birth_year, author.name)
    ]
    ((kind, reason),) = await rows(
        database, "SELECT kind, reason FROM reviews WHERE subject = %s", author.key
    )
    assert kind == "author_conflict"
    assert reason.startswith(("born in", "died in"))


async def test_an_author_who_was_merged_is_told_and_not_merged_by_us(
    world: World, database: Database
) -> None:
    author = next(each for each in world.truth.authors.values() if each.duplicate_keys)
    twin = author.duplicate_keys[0]
    async with free_rig(world, database) as rig:
        await rows(
            database,
            "INSERT INTO authors (key, name, identity) VALUES (%s, %s, 'identified') RETURNING key",
            twin,
            author.name,
        )
        result = await enrich_authors(rig.sources, database, [twin], **WHO, now=NOW, freshness=MONTH)
    assert result.moved == {twin: author.key}
    assert await rows(database, "SELECT key FROM authors") == [(twin,)]


async def test_a_failure_is_not_remembered_as_an_answer(world: World, database: Database) -> None:
    async with free_rig(world, database) as rig:
        keys = [each.key for each in named(world)[:2]]
        await know_authors(database, rig, named(world)[:2])
        rig.sandbox.faults.add(FaultKind.HTML_BODY, endpoint="openlibrary", count=2)
        rig.sandbox.faults.add(FaultKind.HTML_BODY, endpoint="wikidata", count=2)
        first = await enrich_authors(rig.sources, database, keys, **WHO, now=NOW, freshness=MONTH)
        assert set(first.failed) == {"openlibrary", "wikidata"}
        assert first.found == {"openlibrary": 1}
        second = await enrich_authors(rig.sources, database, keys, **WHO, now=NOW, freshness=MONTH)
        assert second.fresh == {"openlibrary": 1, "wikidata": 0}
        assert second.failed == {}


async def test_an_entity_that_was_answered_badly_is_asked_again(world: World, database: Database) -> None:
    author = next(
        each for each in named(world) if identities.is_named_at_openlibrary(each) and is_known_rightly(each)
    )
    async with free_rig(world, database) as rig:
        await know_authors(database, rig, [author])
        rig.sandbox.faults.add(FaultKind.EMPTY_PAGE, endpoint="wikidata", count=1)
        first = await enrich_authors(rig.sources, database, [author.key], **WHO, now=NOW, freshness=MONTH)
        assert (first.found, first.absent) == ({"openlibrary": 1}, {})
        second = await enrich_authors(rig.sources, database, [author.key], **WHO, now=NOW, freshness=MONTH)
        assert second.found == {"wikidata": 1}


async def test_authors_known_by_a_name_only_are_not_asked_about(world: World, database: Database) -> None:
    async with free_rig(world, database) as rig:
        await rows(
            database,
            "INSERT INTO authors (key, name, identity) VALUES ('named-1', 'Edda Vale', 'named') RETURNING key",
        )
        result = await enrich_authors(rig.sources, database, ["named-1"], **WHO, now=NOW, freshness=MONTH)
        assert rig.sandbox.free_calls == []
    assert result.fresh == {"openlibrary": 1, "wikidata": 1}
