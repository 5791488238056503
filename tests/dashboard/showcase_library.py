"""The showcase's catalogue and its last month, invented but for titles and authors of old books."""

import random
from datetime import date, datetime, timedelta
from typing import LiteralString

import pyvips
from psycopg.types.json import Jsonb

from alexandria.covers import derive, judge
from alexandria.domain.covers import CoverOutcome, CoverState, CoverWish, Picture, object_key
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Account
from alexandria.stores.covers import CoverStore
from alexandria.stores.objects import ObjectStore
from alexandria.stores.postgres import Connection

BOOKS = (
    ("Frankenstein", "Mary Shelley", 1818),
    ("The Last Man", "Mary Shelley", 1826),
    ("Emma", "Jane Austen", 1815),
    ("Persuasion", "Jane Austen", 1817),
    ("Bleak House", "Charles Dickens", 1853),
    ("Middlemarch", "George Eliot", 1871),
    ("Anna Karenina", "Leo Tolstoy", 1878),
    ("Wuthering Heights", "Emily Brontë", 1847),
    ("Moby-Dick", "Herman Melville", 1851),
    ("Barchester Towers", "Anthony Trollope", 1857),
    ("Orlando", "Virginia Woolf", 1928),
    ("The Woodlanders", "Thomas Hardy", 1887),
    ("The Idiot", "Fyodor Dostoevsky", 1869),
    ("North and South", "Elizabeth Gaskell", 1854),
    ("Les Misérables", "Victor Hugo", 1862),
    ("Around the Moon", "Jules Verne", 1870),
    ("Gösta Berling's Saga", "Selma Lagerlöf", 1891),
    ("The Seagull", "Anton Chekhov", 1896),
)
COLOURS = ((38, 70, 83), (42, 111, 94), (122, 59, 46), (88, 66, 110), (150, 104, 32), (58, 64, 72))
CONSUMERS = (
    ("bulk/bulk-authors", "bulk-authors", 5200, 11.0),
    ("bulk/author-bibliography", "author-bibliography", 3100, 14.0),
    ("scheduled/new-releases", "new-releases", 1900, 19.0),
    ("scheduled/updates", "updates", 900, 3.0),
    ("interactive/batch-direct", "batch-direct", 700, 1.2),
)
DAYS = 29

_AUTHORS: LiteralString = """
INSERT INTO authors (key, name, identity, works_count)
SELECT 'OL' || n || 'A', name, 'identified', 2 FROM unnest(%(names)s::text[]) WITH ORDINALITY AS author (name, n)
"""
_WORKS: LiteralString = """
INSERT INTO works (key, title, identity, created_at)
SELECT 'OL' || n || 'W', title, 'identified', %(now)s - interval '40 days'
  FROM unnest(%(titles)s::text[]) WITH ORDINALITY AS work (title, n)
 UNION ALL
SELECT 'volume' || n, 'Collected papers, volume ' || n, 'matched', %(now)s - (1 - sqrt(n::float8 / 2900)) * (29 + 2 * sin(n)) * interval '1 day'
  FROM generate_series(1, 2900) AS n
"""
_WORK_AUTHORS: LiteralString = """
INSERT INTO work_authors (work_key, author_key, position, evidence)
SELECT 'OL' || n || 'W', 'OL' || array_position(%(names)s::text[], name) || 'A', 1, 'identifier'
  FROM unnest(%(authors)s::text[]) WITH ORDINALITY AS author (name, n)
"""
_EDITIONS: LiteralString = """
INSERT INTO editions (key, work_key, title, publisher, published, language, pages, synopsis, subjects, cover_url, created_at)
SELECT 'e' || n, CASE WHEN n <= 90 THEN 'OL' || 1 + (n - 1) %% 18 || 'W' ELSE 'volume' || 1 + n %% 2900 END,
       CASE WHEN n <= 90 THEN (%(titles)s::text[])[1 + (n - 1) %% 18] ELSE 'Collected papers, volume ' || 1 + n %% 2900 END,
       CASE WHEN n %% 12 > 0 THEN (ARRAY['Lamp & Sons', 'The Harbour Press', 'Northgate', 'Quill House'])[1 + n %% 4] END,
       CASE WHEN n %% 9 > 0 THEN 1950 + n * 7 %% 76 || '' END, CASE WHEN n %% 6 > 0 THEN 'en' END,
       CASE WHEN n %% 5 > 1 THEN 180 + n %% 500 END, CASE WHEN n %% 10 < 3 THEN 'A tale.' END,
       CASE WHEN n %% 20 < 9 THEN ARRAY['Fiction'] ELSE '{}' END, CASE WHEN n %% 10 < 8 THEN 'https://covers.example/' || n END,
       %(now)s - (1 - sqrt(n::float8 / 9400)) * (29 + 2 * sin(n)) * interval '1 day'
  FROM generate_series(1, 9400) AS n
"""
_CONTRIBUTIONS: LiteralString = """
INSERT INTO contributions (edition_key, position, statement, name)
SELECT 'e' || n, 0, 'Somebody', 'Somebody' FROM generate_series(1, 9400) AS n WHERE n %% 25 > 0
"""
_ISBNS: LiteralString = """
INSERT INTO edition_isbns (isbn, edition_key, is_first)
SELECT isbn, 'e' || n, true FROM unnest(%(isbns)s::text[]) WITH ORDINALITY AS known (isbn, n)
"""
_COVERS: LiteralString = """
INSERT INTO covers_wanted (isbn13, url, found_at, state, due_at, content_hash, width, height, bytes, stored_at)
SELECT isbn, 'https://covers.example/' || n, %(now)s - interval '40 days', CASE WHEN n %% 10 < 7 THEN 'stored' ELSE 'wanted' END,
       CASE WHEN n %% 10 >= 7 THEN %(now)s END, CASE WHEN n %% 10 < 7 THEN sha256(n::text::bytea) END,
       CASE WHEN n %% 10 < 7 THEN 400 END, CASE WHEN n %% 10 < 7 THEN 600 END, CASE WHEN n %% 10 < 7 THEN 1 END,
       CASE WHEN n %% 10 < 7 THEN %(now)s - interval '12 hours' - (1 - sqrt(n / 7000.0)) * (28 + 2 * sin(n)) * interval '1 day' END
  FROM unnest(%(isbns)s::text[]) WITH ORDINALITY AS known (isbn, n)
 WHERE n > 90 AND n <= 7000
"""
_RECORDS: LiteralString = """
INSERT INTO source_records (provider, kind, key, body, content_hash, retrieved_at)
SELECT 'isbndb', 'edition', 'of' || n, '', decode(md5(n::text), 'hex'), %(now)s FROM generate_series(1, 12650) AS n
"""
_REVIEWS: LiteralString = """
INSERT INTO reviews (kind, subject, other, reason, created_at) VALUES
    ('isbn_shared', '9781402800023', 'e77', 'isbndb gives it to ''Emma: A Play''', %(now)s - interval '20 minutes'),
    ('name_shared', 'george eliot', '', '2 authors are called ''George Eliot''', %(now)s - interval '3 hours'),
    ('work_twins', 'OL4W', 'volume118', 'both are ''Persuasion'' by people of e4', %(now)s - interval '9 hours'),
    ('author_conflict', 'OL8A', 'Q49064', 'wikidata says born 1818, openlibrary 1848', %(now)s - interval '2 days')
"""


async def fill_library(connection: Connection, objects: ObjectStore, now: datetime) -> None:
    """Books, some of them with covers, and what waits for a person."""
    titles, authors = [each[0] for each in BOOKS], [each[1] for each in BOOKS]
    values = {
        "titles": titles,
        "authors": authors,
        "names": list(dict.fromkeys(authors)),
        "isbns": [str(_isbn(n)) for n in range(8800)],
        "now": now,
    }
    for statement in (
        _AUTHORS,
        _WORKS,
        _WORK_AUTHORS,
        _EDITIONS,
        _CONTRIBUTIONS,
        _ISBNS,
        _COVERS,
        _RECORDS,
        _REVIEWS,
    ):
        await connection.execute(statement, values)
    covers = CoverStore(connection)
    for n in range(90):
        isbn = _isbn(n)
        await covers.want([CoverWish(isbn, f"https://covers.example/{n}.png", now - timedelta(days=30))])
        if n % 9 < 6:
            await _store(covers, objects, isbn, n, now - timedelta(minutes=19 * n))


def _isbn(number: int) -> Isbn:
    digits = f"97814028{number:04}"
    return Isbn(digits + str(-sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10))


async def _store(covers: CoverStore, objects: ObjectStore, isbn: Isbn, n: int, at: datetime) -> None:
    body = draw_cover(*BOOKS[n % len(BOOKS)], number=n)
    picture, sizes = judge(body), derive(body)
    assert isinstance(picture, Picture)
    assert isinstance(sizes, dict)
    for size, webp in sizes.items():
        await objects.put(object_key(picture.content_hash, size), webp, content_type="image/webp")
    await covers.record(await covers.get(isbn), CoverOutcome(CoverState.STORED, picture=picture), at)


def draw_cover(title: str, author: str, year: int, *, number: int) -> bytes:
    """A plain cover in one of some colours, as PNG."""
    width, height = 400, 560 + 20 * (number % 4)
    colour = [min(255, shade + 9 * (number // len(BOOKS))) for shade in COLOURS[number % len(COLOURS)]]
    ground = pyvips.Image.black(width, height).new_from_image(colour).copy(interpretation="srgb")
    ground = ground.draw_rect([232, 222, 200], 24, 24, width - 48, height - 48, fill=False)
    for text, size, top in (
        (title, 330, 90),
        (author, 190, height - 165),
        (f"{year} · {number}", 130, height - 90),
    ):
        ink = pyvips.Image.text(text, width=width - 90, dpi=size, align="centre", font="serif")
        paper = ground.new_from_image([240, 232, 214])
        mask = ink.embed((width - ink.width) // 2, top, width, height)
        ground = mask.ifthenelse(paper, ground, blend=True)
    body: bytes = ground.pngsave_buffer()
    return body


async def fill_month(connection: Connection, account: Account, today: date) -> None:
    """What was spent and brought on the days before today, and what became of their calls."""
    dice = random.Random(7)  # noqa: S311 - invented figures, the same each time
    for ago in range(1, DAYS + 1):
        day = today - timedelta(days=ago)
        spent = {}
        for spender, consumer, mean, editions in CONSUMERS:
            units = round(mean * dice.uniform(0.75, 1.15) * (0.35 if ago in {9, 10} else 1))
            spent[spender] = units
            new = round(units * editions * dice.uniform(0.8, 1.2) * (1 + ago / 60))
            await connection.execute(
                "INSERT INTO harvest_gains VALUES (%s, %s, %s, %s, %s, %s)",
                [day, consumer, 4 * new, new, new // 3, round(new * 1.6)],
            )
        await connection.execute(
            "INSERT INTO quota_windows (provider, key_hash, day, units_charged, used) VALUES (%s, %s, %s, %s, %s)",
            [account.provider, account.key_hash, day, sum(spent.values()) + 40 * (ago == 4), Jsonb(spent)],
        )
    # Calls are told by the database's days.
    await connection.execute(
        "INSERT INTO meter_days (day, sample, labels, value)"
        " SELECT day - ago, sample, labels, value * (20 + ago %% 7) FROM meter_days, generate_series(1, 29) AS ago",
        [],
    )
