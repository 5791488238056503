"""What the catalogue is like, on a real PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from alexandria.stores import catalogue_reports
from alexandria.stores.catalogue_reports import BEFORE_ALL, CatalogueReports
from alexandria.stores.postgres import Connection, Database

FILL = """
INSERT INTO works (key, title, identity) VALUES ('w', 'A title', 'matched'), ('of', 'Another', 'matched');
INSERT INTO work_authors (work_key, author_key, position, evidence) VALUES ('of', 'OL1A', 1, 'identifier');
INSERT INTO editions (key, work_key, title, publisher, subjects, cover_url)
SELECT 'e' || n, CASE WHEN n % 2 = 0 THEN 'of' ELSE 'w' END, 'A title', CASE WHEN n % 4 = 0 THEN 'A publisher' END,
       CASE WHEN n % 10 = 0 THEN ARRAY['Sea'] ELSE '{}' END, CASE WHEN n % 5 = 0 THEN 'x' END
  FROM generate_series(1, 3000) AS n;
INSERT INTO contributions (edition_key, position, statement, name) VALUES ('e1', 1, 'By A', 'A');
INSERT INTO edition_isbns (isbn, edition_key, is_first) VALUES ('9780306406157', 'e1', true), ('9781861972712', 'e2', true);
INSERT INTO covers_wanted (isbn13, url, found_at, state, content_hash, width, height, bytes, stored_at)
VALUES ('9780306406157', 'x', now(), 'stored', decode(repeat('ab', 32), 'hex'), 400, 600, 1, now());
INSERT INTO covers_wanted (isbn13, url, found_at, due_at) VALUES ('9781861972712', 'x', now(), now());
"""


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    async with database.connection() as connection:
        await connection.execute(FILL.encode())
        yield connection


async def test_completeness_is_told_of_all_editions(connection: Connection) -> None:
    told = await CatalogueReports(connection).measure(3000)
    assert not told.is_sampled
    assert (told.editions, told.title, told.publisher, told.subjects) == (3000, 3000, 750, 300)
    assert (told.authors, told.isbn, told.cover_known, told.cover_stored) == (1501, 2, 600, 1)
    assert (told.language, told.share("language"), told.share("publisher")) == (0, 0.0, 25.0)


async def test_completeness_of_many_editions_is_told_from_a_sample(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_reports, "SAMPLED", 1500)
    monkeypatch.setattr(catalogue_reports, "READ_WHOLE", 2000)
    told = await CatalogueReports(connection).measure(3000)
    assert told.is_sampled
    assert 500 < told.editions < 2500
    assert told.share("publisher") == pytest.approx(25, abs=2)
    # The same blocks each time: what is shown does not flicker.
    assert await CatalogueReports(connection).measure(3000) == told


async def test_an_empty_catalogue_is_not_complete(database: Database) -> None:
    async with database.connection() as connection:
        told = await CatalogueReports(connection).measure(0)
    assert (told.editions, told.share("title")) == (0, 0.0)


async def test_a_cover_bears_the_title_of_its_edition(connection: Connection) -> None:
    (cover,) = await CatalogueReports(connection).list_latest_covers(5)
    assert (str(cover.isbn), cover.title, cover.width, cover.height) == ("9780306406157", "A title", 400, 600)


async def test_doubts_come_in_parts_without_a_gap(connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO reviews (kind, subject, reason, created_at)"
        " SELECT 'name_shared', n, 'r', timestamptz '2026-11-23 12:00Z' - n / 4 * interval '1 hour'"
        " FROM generate_series(1, 10) AS n"
    )
    reports, last = CatalogueReports(connection), BEFORE_ALL
    seen: list[str] = []
    while (part := await reports.list_reviews(after=last, limit=3)) and len(seen) < 20:
        seen += [each.subject for each in part]
        last = part[-1]
    assert seen == ["1", "2", "3", "4", "5", "6", "7", "10", "8", "9"]
