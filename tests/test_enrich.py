"""Absorbing records: what two workers do at the same moment, and what the order of records changes."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from alexandria import lookup
from alexandria.domain.catalogue import RecordKind, SourceRecord
from alexandria.enrich import absorb
from alexandria.stores.postgres import Database, in_transaction
from conftest import someone_waits

ONE, OTHER, THIRD = "9780140328721", "9780261102217", "9780306406157"


def record(isbn: str, title: str, *authors: str, **members: object) -> SourceRecord:
    said = {"isbn13": isbn, "title": title, "title_long": title, "authors": authors, **members}
    body = json.dumps(said).encode()
    return SourceRecord("isbndb", RecordKind.EDITION, isbn, body, datetime(2026, 11, 23, tzinfo=UTC))


async def works_of(database: Database) -> list[tuple[str, int]]:
    """Each work's title and how many editions it has."""
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT works.title, count(*) FROM works JOIN editions ON work_key = works.key GROUP BY works.key ORDER BY 2 DESC, 1"
        )
        return await cursor.fetchall()


async def absorb_at_once(database: Database, first: list[SourceRecord], second: list[SourceRecord]) -> None:
    """The second worker looks before the first one has committed, and has to wait for its claim."""

    async def absorb_second() -> None:
        await in_transaction(database, lambda connection: absorb(connection, second))

    async with database.transaction() as connection:
        await absorb(connection, first)
        waiting = asyncio.create_task(absorb_second())
        async with asyncio.timeout(20):
            await someone_waits(database)
    await waiting


async def test_two_workers_with_editions_of_one_new_work_make_one_work(database: Database) -> None:
    await absorb_at_once(
        database,
        [record(ONE, "Tides", "Edda Vale")],
        [record(OTHER, "Tides: A Novel", "Edda Vale"), record(THIRD, "The Tides", "Edda Vale")],
    )
    assert await works_of(database) == [("Tides", 3)]


async def test_a_coauthor_who_was_claimed_first_by_another_worker_joins_the_works(database: Database) -> None:
    await absorb_at_once(
        database,
        [record(ONE, "Tides", "Nia Osei")],
        [record(OTHER, "Tides", "Edda Vale", "Nia Osei")],
    )
    assert await works_of(database) == [("Tides", 2)]
    async with database.transaction() as connection:
        await absorb(connection, [record(THIRD, "Tides", "Edda Vale")])
    assert await works_of(database) == [("Tides", 3)]


async def test_works_that_share_a_main_title_stay_apart_also_between_two_workers(database: Database) -> None:
    await absorb_at_once(
        database,
        [record(ONE, "Lighthouse: First Watch", "Edda Vale")],
        [record(OTHER, "Lighthouse: The Fall of Skerry", "Edda Vale")],
    )
    assert sorted(await works_of(database)) == [("Lighthouse", 1), ("Lighthouse", 1)]


async def test_a_count_of_works_is_right_whatever_is_absorbed_at_once(database: Database) -> None:
    await absorb_at_once(
        database, [record(ONE, "Tides", "Edda Vale")], [record(OTHER, "Harbours", "Edda Vale")]
    )
    async with database.connection() as connection:
        cursor = await connection.execute("SELECT name, works_count FROM authors")
        assert await cursor.fetchall() == [("Edda Vale", 2)]


# Translations


def related(*isbns: str) -> list[dict[str, str]]:
    return [{"isbn": isbn, "binding": "Hardcover"} for isbn in isbns]


ORIGINAL = record(ONE, "The Salt Road", "Edda Vale", language="en", other_isbns=related(OTHER, THIRD))
TRANSLATION = record(OTHER, "Die Salzstraße", "Edda Vale", language="de", other_isbns=related(ONE, THIRD))
OTHER_TRANSLATION = record(
    THIRD, "La Route du sel", "Edda Vale", language="fr", other_isbns=related(ONE, OTHER)
)


@pytest.mark.parametrize(
    "pair", [(ORIGINAL, TRANSLATION), (TRANSLATION, ORIGINAL), (TRANSLATION, OTHER_TRANSLATION)]
)
async def test_two_workers_with_an_original_and_its_translation_make_one_work(
    database: Database, pair: tuple[SourceRecord, SourceRecord]
) -> None:
    await absorb_at_once(database, [pair[0]], [pair[1]])
    assert [editions for _, editions in await works_of(database)] == [2]


async def absorb_known_work(database: Database) -> None:
    """Open Library knows the original."""
    by = [{"author": {"key": "/authors/OL1A"}}]
    await absorb_each(
        database,
        said("openlibrary", RecordKind.AUTHOR, "OL1A", name="Edda Vale"),
        said("openlibrary", RecordKind.WORK, "OL9W", title="The Salt Road", authors=by),
    )


SECOND_PRINTING = record("9781861972712", "Die Salzstraße", "Edda Vale", language="de")


async def test_a_work_made_for_a_translation_is_merged_once_the_original_is_known(database: Database) -> None:
    """The original's title leads to Open Library's work, the translation's came first and led nowhere."""
    await absorb_known_work(database)
    await absorb_each(database, TRANSLATION)
    async with database.connection() as connection:
        rows = await (await connection.execute("SELECT key FROM works WHERE key <> 'OL9W'")).fetchall()
    (own,) = (row[0] for row in rows)
    await absorb_each(database, ORIGINAL, OTHER_TRANSLATION)
    assert await works_of(database) == [("The Salt Road", 3)]
    async with database.connection() as connection:
        assert (await lookup.get_work(connection, own, offset=0, limit=9)).work.key == "OL9W"
        row = await (
            await connection.execute("SELECT works_count FROM authors WHERE key = 'OL1A'")
        ).fetchone()
    assert row == (1,)


async def test_works_with_two_titles_in_one_language_are_never_merged(database: Database) -> None:
    await absorb_known_work(database)
    known = said(
        "openlibrary",
        RecordKind.EDITION,
        "OL7M",
        title="Der Salzweg",
        languages=[{"key": "/languages/ger"}],
        works=[{"key": "/works/OL9W"}],
    )
    await absorb_each(database, known, TRANSLATION, ORIGINAL)
    assert await works_of(database) == [("The Salt Road", 2), ("Die Salzstraße", 1)]


@pytest.mark.parametrize(
    ("before", "first", "second"),
    [
        ([], TRANSLATION, ORIGINAL),
        ([], ORIGINAL, TRANSLATION),
        ([ORIGINAL], SECOND_PRINTING, TRANSLATION),
        ([ORIGINAL], TRANSLATION, SECOND_PRINTING),
        ([TRANSLATION], SECOND_PRINTING, ORIGINAL),
        ([TRANSLATION], ORIGINAL, SECOND_PRINTING),
    ],
    ids=["lead", "lead back", "title", "title back", "while it is merged", "after it was merged"],
)
async def test_two_workers_at_once_bring_all_editions_to_the_known_work(
    database: Database, before: list[SourceRecord], first: SourceRecord, second: SourceRecord
) -> None:
    await absorb_known_work(database)
    await absorb_each(database, *before)
    await absorb_at_once(database, [first], [second])
    assert await works_of(database) == [("The Salt Road", len(before) + 2)]


# What several sources say of one author or work


def said(provider: str, kind: RecordKind, key: str, **members: object) -> SourceRecord:
    """A record of 23 November; `at` is another hour of that day."""
    hour = members.pop("at", 0)
    assert isinstance(hour, int)
    body = json.dumps(members).encode()
    return SourceRecord(provider, kind, key, body, datetime(2026, 11, 23, hour, tzinfo=UTC))


def entity(**claims: object) -> SourceRecord:
    """Jane Austen at Wikidata."""
    values = {"P31": {"id": "Q5"}, "P648": "OL21594A", **claims}
    statements = {
        name: [{"rank": "normal", "mainsnak": {"snaktype": "value", "datavalue": {"value": value}}}]
        for name, value in values.items()
    }
    labels = {"en": {"value": "Jane Austen"}}
    return said("wikidata", RecordKind.AUTHOR, "Q36322", id="Q36322", labels=labels, claims=statements)


def born(year: int) -> dict[str, object]:
    return {"time": f"+{year}-12-16T00:00:00Z", "precision": 11}


async def absorb_each(database: Database, *records: SourceRecord) -> None:
    for each in records:
        async with database.transaction() as connection:
            await absorb(connection, [each])


async def author(database: Database) -> tuple[str, int | None, set[tuple[str, str]]]:
    """The one author's name, year of birth and identifiers."""
    async with database.connection() as connection:
        ((name, birth_year),) = await (
            await connection.execute("SELECT name, birth_year FROM authors")
        ).fetchall()
        identifiers = await (
            await connection.execute("SELECT kind, value FROM author_identifiers")
        ).fetchall()
    return name, birth_year, set(identifiers)


AUSTEN = ("openlibrary", RecordKind.AUTHOR, "/authors/OL21594A")


async def test_a_year_from_wikidata_stays_when_open_library_speaks_again_without_one(
    database: Database,
) -> None:
    first = said(*AUSTEN, name="Jane Austen")
    later = said(*AUSTEN, name="Austen, Jane", bio="A new revision.", at=5)
    await absorb_each(database, first, entity(P569=born(1775)), later)
    assert await author(database) == ("Jane Austen", 1775, {("wikidata", "Q36322")})


async def test_an_author_heard_of_again_is_not_written_again(database: Database) -> None:
    document = said(*AUSTEN, name="Jane Austen", remote_ids={"wikidata": "Q36322"})
    await absorb_each(database, document, entity(P569=born(1775)))
    changed_at = "SELECT updated_at FROM authors"
    async with database.connection() as connection:
        before = await (await connection.execute(changed_at)).fetchall()
        await absorb_each(database, document, entity(P569=born(1775)))
        assert await (await connection.execute(changed_at)).fetchall() == before


async def test_an_author_has_one_entity_only(database: Database) -> None:
    document = said(*AUSTEN, name="Jane Austen", remote_ids={"wikidata": "Q1"})
    await absorb_each(database, document, entity(P569=born(1775)))
    assert await author(database) == ("Jane Austen", None, {("wikidata", "Q1")})


async def test_authors_are_the_same_whoever_is_heard_first(database: Database) -> None:
    document = said(
        *AUSTEN, name="Jane Austen", birth_date="16 December 1775", remote_ids={"wikidata": "Q36322"}
    )
    await absorb_each(database, said(*AUSTEN, name="Jane Austen"), entity(P214="102333412"))
    await absorb_each(database, document)
    expected = ("Jane Austen", 1775, {("wikidata", "Q36322"), ("viaf", "102333412")})
    assert await author(database) == expected
    await absorb_each(database, entity(P214="102333412"))
    assert await author(database) == expected


async def test_an_entity_that_contradicts_open_library_is_left_out_and_told(database: Database) -> None:
    document = said(*AUSTEN, name="Jane Austen", birth_date="1775")
    await absorb_each(database, document, entity(P569=born(1912), P214="1"))
    assert await author(database) == ("Jane Austen", 1775, {("wikidata", "Q36322")})
    async with database.connection() as connection:
        cursor = await connection.execute("SELECT kind, subject, other, reason FROM reviews")
        assert await cursor.fetchall() == [
            ("author_conflict", "OL21594A", "Q36322", "born in 1775, or in 1912")
        ]


async def test_an_entity_of_nobody_we_know_is_set_aside(database: Database) -> None:
    async with database.transaction() as connection:
        absorbed = await absorb(connection, [entity()])
        assert [each.reason for each in absorbed.set_aside] == [
            "no author of the catalogue bears its identifiers"
        ]
    async with database.connection() as connection:
        assert await (await connection.execute("SELECT key FROM authors")).fetchall() == []


async def test_what_the_search_shows_takes_nothing_from_a_document(database: Database) -> None:
    await absorb_each(
        database,
        said(*AUSTEN, name="Jane Austen", birth_date="1775"),
        said("openlibrary", RecordKind.AUTHOR, "/search/authors/OL21594A", name="J. A."),
        said(
            "openlibrary",
            RecordKind.WORK,
            "/works/OL66554W",
            title="Pride and Prejudice",
            description="A novel of manners.",
            authors=[{"author": {"key": "/authors/OL21594A"}}],
        ),
        said(
            "openlibrary", RecordKind.WORK, "/search/works/OL66554W", title="Pride", first_publish_year=1813
        ),
    )
    assert (await author(database))[:2] == ("Jane Austen", 1775)
    async with database.connection() as connection:
        cursor = await connection.execute("SELECT title, description FROM works")
        assert await cursor.fetchall() == [("Pride and Prejudice", "A novel of manners.")]


async def test_a_work_is_known_from_what_the_search_shows(database: Database) -> None:
    await absorb_each(
        database,
        said("openlibrary", RecordKind.AUTHOR, "/search/authors/OL21594A", name="Jane Austen"),
        said(
            "openlibrary",
            RecordKind.WORK,
            "/search/works/OL66554W",
            title="Pride and Prejudice",
            author_key=["OL21594A"],
            first_publish_year=1813,
        ),
    )
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT works.key, first_published, authors.name FROM works"
            " JOIN work_authors ON work_key = works.key JOIN authors ON authors.key = author_key"
        )
        assert await cursor.fetchall() == [("OL66554W", "1813", "Jane Austen")]
