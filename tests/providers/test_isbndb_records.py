"""A Book as ISBNdb writes it, with every quirk of contracts/isbndb.md, section 9, read into facts."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from alexandria.domain.catalogue import Dropped, EditionFacts, Reading, RecordKind, SourceRecord
from alexandria.domain.isbn import Isbn
from alexandria.domain.leads import MOST_LEADS
from alexandria.providers.isbndb_records import Shapes, edition_facts, read_record

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ISBN = "9781000000016"


def record_of(book: object) -> SourceRecord:
    record = read_record(book, "books[0]", NOW, Shapes())
    assert isinstance(record, SourceRecord), record
    return record


def read(**members: Any) -> Reading[EditionFacts]:
    return edition_facts(record_of({"isbn13": ISBN, "title": "The Lantern Keeper", **members}))


def facts(**members: Any) -> EditionFacts:
    return read(**members).facts


def dropped(**members: Any) -> list[str]:
    """The members that were dropped."""
    return [each.place.removeprefix(f"{ISBN} ") for each in read(**members).dropped]


# Records


def test_a_record_is_the_book_as_it_came_less_the_link_that_carries_a_token() -> None:
    book = {
        "isbn13": ISBN,
        "title": "Ä",
        "never_seen": {"deep": [1, None]},
        "image_original": "https://x/?key=SECRET",
    }
    record = record_of(book)
    del book["image_original"]
    assert json.loads(record.body) == book
    assert (record.provider, record.kind, record.key, record.retrieved_at) == (
        "isbndb",
        RecordKind.EDITION,
        ISBN,
        NOW,
    )


def test_an_answer_that_says_the_same_has_the_same_bytes() -> None:
    assert record_of({"isbn13": ISBN, "title": "A"}).body == record_of({"title": "A", "isbn13": ISBN}).body


@pytest.mark.parametrize(
    "book",
    [
        {"isbn13": ISBN},
        {"isbn13": "978-1-00-000001-6"},
        {"isbn13": int(ISBN)},
        {"isbn13": "", "isbn10": "100000001X"},
        {"isbn13": None, "isbn": "1-00-000001-X"},
        {"isbn13": "9781000000017", "isbn": ISBN},
        {"isbn13": ["no text"], "isbn": ISBN},
    ],
)
def test_a_record_is_filed_under_its_isbn_13_wherever_that_comes_from(book: dict[str, Any]) -> None:
    assert record_of(book).key == ISBN


@pytest.mark.parametrize(
    "book",
    [
        None,
        "text",
        7,
        [],
        {},
        {"title": "No number"},
        {"isbn13": "9781000000017"},
        {"isbn13": 9.78e12},
        {"isbn13": True},
    ],
)
def test_what_has_no_valid_isbn_is_dropped_with_its_place_and_a_reason(book: object) -> None:
    result = read_record(book, "books[7]", NOW, Shapes())
    assert isinstance(result, Dropped)
    assert result.place == "books[7]"
    assert result.reason


def test_unknown_members_and_types_are_counted_and_reported_once() -> None:
    shapes = Shapes()
    with capture_logs() as events:
        for _ in range(3):
            read_record({"isbn13": ISBN, "aroma": "sea", "title": ["A"], "pages": []}, "book", NOW, shapes)
    assert shapes.counts == {"aroma: unknown member": 3, "title: type list": 3}
    assert [(event["event"], event["member"]) for event in events] == [
        ("provider.shape_changed", "aroma"),
        ("provider.shape_changed", "title"),
    ]


def test_the_memory_of_unknown_members_is_bounded() -> None:
    shapes = Shapes()
    for number in range(1000):
        shapes.check_book({f"member {number}": 1})
    assert len(shapes.counts) <= 201
    assert sum(shapes.counts.values()) == 1000


def test_a_stored_body_that_is_no_object_costs_only_itself() -> None:
    for body in (b"", b"[]", b"{", b"\xff", b"[" * 100_000):
        reading = edition_facts(SourceRecord("isbndb", RecordKind.EDITION, ISBN, body, NOW))
        assert reading.facts == EditionFacts()
        assert [each.place for each in reading.dropped] == [ISBN]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = (
    "title title_long isbn isbn10 binding publisher synopsis synopsys language dimensions image date_published publish_date edition"
    " pages authors subjects other_isbns format msrp thema"
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
@given(st.sampled_from(MEMBERS.split()), ANYTHING)
def test_no_value_of_any_member_breaks_a_record(member: str, value: object) -> None:
    reading = read(**{member: value})
    assert reading.facts.isbns[0] == Isbn(ISBN)
    if member != "title":
        assert reading.facts.title == "The Lantern Keeper"


@pytest.mark.parametrize("empty", [None, "", [], {}, "   "])
def test_missing_null_and_empty_values_say_nothing_and_are_no_fault(empty: object) -> None:
    every = dict.fromkeys(MEMBERS.split(), empty)
    reading = edition_facts(record_of({"isbn13": ISBN, **every}))
    assert reading.facts == EditionFacts(isbns=(Isbn(ISBN),))
    if empty != "   ":
        assert reading.dropped == ()


# ISBNs


def test_the_isbn_member_may_be_an_isbn_10_of_the_same_book() -> None:
    assert facts(isbn="100000001X", isbn10="100000001X").isbns == (Isbn(ISBN),)


def test_an_isbn_of_another_book_in_the_record_is_dropped() -> None:
    reading = read(isbn="9781000000023")
    assert reading.facts.isbns == (Isbn(ISBN),)
    assert [each.place for each in reading.dropped] == [f"{ISBN} isbn"]


def test_an_isbn_that_is_none_is_dropped() -> None:
    assert dropped(isbn10="1000000010", isbn=["x"]) == ["isbn10", "isbn"]


def test_a_junk_number_is_flagged_and_the_record_kept() -> None:
    reading = edition_facts(record_of({"isbn13": "9780000001566", "title": "Something"}))
    assert all(isbn.is_reserved for isbn in reading.facts.isbns)
    assert "identifies nothing" in reading.dropped[0].reason


def test_related_isbns_are_leads_and_never_the_books_own() -> None:
    related = [{"isbn": "9781000000023", "binding": "Hardcover"}, "9781000000030", {"isbn13": "?"}, 7, None]
    reading = read(other_isbns=[*related, {"isbn": ISBN}, {"isbn": "9780000001566"}])
    assert reading.facts.isbns == (Isbn(ISBN),)
    assert reading.facts.related == (Isbn("9781000000023"), Isbn("9781000000030"))
    assert [each.reason for each in reading.dropped] == ["an item without a valid ISBN"]


def test_of_hundreds_of_related_isbns_some_are_enough() -> None:
    bodies = [f"9781{number:08d}" for number in range(3, 60)]
    weights = [sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(body)) for body in bodies]
    isbns = [f"{body}{-weight % 10}" for body, weight in zip(bodies, weights, strict=True)]
    assert len(facts(other_isbns=[{"isbn": each} for each in isbns]).related) == MOST_LEADS


# Titles


@pytest.mark.parametrize(
    ("title", "title_long", "expected"),
    [
        ("Harbour Songs", "Harbour Songs", ("Harbour Songs", None)),
        ("Harbour Songs", "harbour-songs", ("Harbour Songs", None)),
        ("Harbour Songs", "Harbour  Songs", ("Harbour Songs", None)),
        (None, "Harbour Songs", ("Harbour Songs", None)),
        (7, "Harbour Songs", ("Harbour Songs", None)),
        ("Harbour Songs: A Tide Book", "Harbour Songs: A Tide Book", ("Harbour Songs", "A Tide Book")),
        ("Harbour Songs", "Harbour Songs: A Tide Book", ("Harbour Songs", "A Tide Book")),
        ("Harbour Songs", "Harbour Songs And Others", ("Harbour Songs", None)),
        ("2001: A Tide Book", None, ("2001: A Tide Book", None)),
        ("Ships &amp; Shores", None, ("Ships & Shores", None)),
        ("Salt\u0000 and\u200b\n Light", None, ("Salt and Light", None)),
        ("x" * 5000, None, ("x" * 1000, None)),
    ],
)
def test_title_and_subtitle(title: object, title_long: object, expected: tuple[str, str | None]) -> None:
    read_facts = facts(title=title, title_long=title_long)
    assert (read_facts.title, read_facts.subtitle) == expected


@pytest.mark.parametrize(
    ("title", "publisher", "expected"),
    [
        (
            "Low Water: Tidewater Lamp Publishers (a Harbour Mystery)",
            "Tidewater Lamp Publishers",
            "Low Water (a Harbour Mystery)",
        ),
        ("Low Water: Tidewater Lamp", "Tidewater Lamp", "Low Water"),
        ("Low Water (tidewater Lamp Large Print)", "Tidewater Lamp", "Low Water"),
        ("Tidewater Lamp", "Tidewater Lamp", "Tidewater Lamp"),
        ("Low Water", None, "Low Water"),
    ],
)
def test_a_publisher_that_is_glued_into_the_title_is_left_out(
    title: str, publisher: str, expected: str
) -> None:
    read_facts = facts(title=title, publisher=publisher)
    assert (read_facts.title, read_facts.subtitle) == (expected, None)


def test_a_subtitle_that_is_about_a_publisher_stays() -> None:
    assert (
        facts(title="Lamps: The Tidewater Years", publisher="Tidewater Lamp").subtitle
        == "The Tidewater Years"
    )


# Authors


def people(*authors: object) -> list[tuple[str, str | None]]:
    return [(each.name, each.role) for each in facts(authors=list(authors)).contributions]


@pytest.mark.parametrize(
    "author",
    [
        "Ilse Quandry",
        "Quandry, Ilse",
        "Ilse Quandry ~autofilled~",
        "Quandry, Ilse, Ph.D.",
        "Quandry, Ilse , 1926-2007",
        "  Ilse   Quandry ",
    ],
)
def test_one_name_however_it_is_written(author: str) -> None:
    assert people(author) == [("Ilse Quandry", None)]


def test_the_statement_is_kept_as_it_was_made() -> None:
    [contribution] = facts(authors=["Quandry, Ilse (editor)"]).contributions
    assert contribution.statement == "Quandry, Ilse (editor)"
    assert (contribution.name, contribution.role, contribution.author_key) == ("Ilse Quandry", "editor", None)


def test_two_people_joined_by_a_semicolon() -> None:
    assert people("Quandry, Ilse; Vane, Tom (translator)") == [
        ("Ilse Quandry", None),
        ("Tom Vane", "translator"),
    ]


def test_an_entity_s_semicolon_joins_nobody() -> None:
    assert people("Andr&eacute; Quandry") == [("André Quandry", None)]


def test_dates_after_a_semicolon_are_no_author() -> None:
    assert people("Ilse Quandry; 1861-") == [("Ilse Quandry", None)]


def test_null_items_are_skipped_and_counted() -> None:
    reading = read(authors=[None, "Ilse Quandry", 7])
    assert [each.name for each in reading.facts.contributions] == ["Ilse Quandry"]
    assert {each.reason for each in reading.dropped} == {"an empty item", "not a text but int"}


def test_authors_may_come_as_an_object_map_or_as_one_text() -> None:
    assert people(*["Ilse Quandry", "Tom Vane"]) == [
        (each.name, each.role) for each in facts(authors={"1": "Tom Vane", "0": "Ilse Quandry"}).contributions
    ]
    assert facts(authors="Ilse Quandry").contributions == facts(authors=["Ilse Quandry"]).contributions


def test_surname_and_given_names_as_two_items_make_no_person() -> None:
    reading = read(authors=["Quandry", "Ilse Maria"])
    first, second = reading.facts.contributions
    assert (first.name, first.statement) == ("Quandry", "Quandry")
    assert (second.name, second.statement) == ("", "Ilse Maria")
    assert [each.place for each in reading.dropped] == [f"{ISBN} authors"]


def test_an_author_of_one_name_keeps_it_beside_a_translator() -> None:
    assert people("Orvo", "Ilse Quandry (translator)") == [("Orvo", None), ("Ilse Quandry", "translator")]


def test_names_of_scripts_without_blanks_are_whole() -> None:
    assert "authors" not in dropped(authors=["灯台守子", "港歌太郎"])
    assert people("灯台守子", "港歌太郎") == [("灯台守子", None), ("港歌太郎", None)]


def test_a_publisher_in_the_author_field_is_no_author() -> None:
    reading = read(authors=["Tidewater Lamp"], publisher="Tidewater Lamp")
    assert [each.name for each in reading.facts.contributions] == [""]
    assert [each.reason for each in reading.dropped] == ["the publisher, not an author"]


def test_a_list_of_names_without_end_is_cut() -> None:
    assert len(people(*(f"Ilse Quandry{number}" for number in range(200)))) == 50


# Publisher


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Tidewater Lamp @", "Tidewater Lamp"),
        ("Brand: Tidewater Lamp", "Tidewater Lamp"),
        ("Port Quill : Tidewater Lamp", "Tidewater Lamp"),
        ("Tidewater &amp; Lamp", "Tidewater & Lamp"),
        ("Unknown", None),
        ("-", None),
        (["Tidewater"], None),
    ],
)
def test_publisher(written: object, expected: str | None) -> None:
    assert facts(publisher=written).publisher == expected


# Dates


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1992", "1992"),
        ("1998-09", "1998-09"),
        ("2017-01-05", "2017-01-05"),
        ("January 2014", "2014-01"),
        ("December 2000", "2000-12"),
        (2015, "2015"),
        ("2022-05-01t00:00:00z", "2022-05-01"),
        ("2022-05-01T00:00:00Z", "2022-05-01"),
    ],
)
def test_published(written: object, expected: str) -> None:
    assert str(facts(date_published=written).published) == expected


@pytest.mark.parametrize(
    "written", ["-", "soon", "0000", "1234", "2099", "9999", 0, True, [1], {"year": 1}, "1900-01-01"]
)
def test_a_date_that_is_none_or_can_t_be_is_dropped(written: object) -> None:
    assert facts(date_published=written).published is None
    assert dropped(date_published=written) == ["date_published"]


def test_the_older_key_of_the_date_helps_out() -> None:
    assert str(facts(date_published="-", publish_date="1993").published) == "1993"


# Language


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("en", "eng"),
        ("eng", "eng"),
        ("pt", "por"),
        ("en_US", "eng"),
        ("English", "eng"),
        ("ger German", "deu"),
        ("Eng", "eng"),
    ],
)
def test_language(written: str, expected: str) -> None:
    assert facts(language=written).language == expected


def test_a_language_that_is_none_is_dropped() -> None:
    assert facts(language="Klingonese?").language is None
    assert dropped(language="Klingonese?") == ["language"]


def test_english_beside_a_japanese_title_is_not_believed() -> None:
    assert facts(language="en", title="灯台守の歌").language is None
    assert dropped(language="en", title="灯台守の歌") == ["language"]


def test_the_title_names_the_language_of_a_translation() -> None:
    assert facts(language="en", title="Harbour Songs (spanish Edition)").language == "spa"
    assert dropped(language="en", title="Harbour Songs (spanish Edition)") == ["language"]
    assert facts(title="Harbour Songs (French Edition)").language == "fra"
    assert facts(language="en", title="Harbour Songs (Revised Edition)").language == "eng"


# Pages


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (309, 309),
        ("309", 309),
        ("97 p.", 97),
        (309.0, 309),
        ("vii, 235 p. ; 25 cm.", 235),
        ([], None),
        (0, None),
        ("", None),
    ],
)
def test_pages(written: object, expected: int | None) -> None:
    assert facts(pages=written).pages == expected
    assert dropped(pages=written) == []


@pytest.mark.parametrize("written", [-5, True, "many", 9781000000016, [309], 12.5])
def test_pages_that_are_none_are_dropped(written: object) -> None:
    assert facts(pages=written).pages is None
    assert dropped(pages=written) == ["pages"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("97 p.", 97),
        ("84 p. : chiefly ill. (some col.) ; 24 cm.", 84),
        ("vii, 235 p. ; 25 cm.", 235),
        ("Height: 7.75 Inches, Length: 5.25 Inches, Weight: 0.5 Pounds, Width: 0.75 Inches", None),
        ("5.74 (w) x 8.74 (h) x 0.91 (d)", None),
        ({}, None),
    ],
)
def test_libraries_put_the_pages_into_the_dimensions(written: object, expected: int | None) -> None:
    assert facts(dimensions=written, dimensions_structured=[]).pages == expected


# Binding


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"binding": "Hardcover"}, "Hardcover"),
        ({"binding": "", "format": "Paperbound"}, "Paperbound"),
        ({"format": "Binding"}, None),
        ({"edition": "Mass Market Paperback"}, "Mass Market Paperback"),
        ({"edition": "1st"}, None),
        ({"edition": 1}, None),
        ({"binding": 7}, None),
    ],
)
def test_binding(members: dict[str, Any], expected: str | None) -> None:
    assert facts(**members).binding == expected


@pytest.mark.parametrize(
    "binding",
    [
        "DVD",
        "DVD-ROM",
        "CD",
        "Audio CD",
        "CD-ROM",
        "Audio Cassette",
        "Cassette",
        "Audiocassette",
        "Sheet music",
        "Audio",
        "MP3 CD",
        "Audible Audio Edition",
        "Calendar",
        "Printed Access Code",
        "VHS Tape",
        "Blu-ray",
    ],
)
def test_what_is_no_book_is_marked(binding: str) -> None:
    assert not facts(binding=binding).is_book


@pytest.mark.parametrize(
    "binding",
    ["Hardcover", "Paperback with CD", "Kindle Edition", "Board Book", "Perfect Paperback", "", None],
)
def test_a_book_with_a_disc_in_it_is_a_book(binding: str | None) -> None:
    assert facts(binding=binding).is_book


# Synopsis


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("<p>One.</p><p>Two.</p>", "One.\nTwo."),
        ("One.<br/><br />Two.<BR>Three.", "One.\nTwo.\nThree."),
        ('<h3 class="x">Head</h3>Body &amp; soul', "Head\nBody & soul"),
        ("<script>alert(1)</script>Text<style>p{}</style>", "Text"),
        ("&lt;p&gt;One.&lt;/p&gt;", "One."),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("caf&amp;eacute;", "caf&eacute;"),
        ("<p></p>", None),
        ("<p>Cut <b>off", "Cut off"),
        (["not", "text"], None),
    ],
)
def test_synopsis_is_text(written: object, expected: str | None) -> None:
    assert facts(synopsis=written).synopsis == expected


def test_a_long_synopsis_is_cut_at_a_word() -> None:
    text = facts(synopsis="<p>" + "word " * 100_000).synopsis or ""
    assert len(text) <= 10_000
    assert text.endswith("word…")


def test_older_keys_of_the_synopsis() -> None:
    assert facts(synopsys="Old.").synopsis == "Old."
    assert facts(synopsis="New.", synopsys="Old.").synopsis == "New."


# Subjects


def test_subjects_lose_noise_and_repeats() -> None:
    written = [
        "FICTION / Thrillers",
        "Livestock--Fiction--Fiction",
        "Fiction / thrillers",
        "Custom Stores",
        "Self Service",
    ]
    written += [
        "N6888.P67 A4 1990",
        "PR6073.H569 V45 2004",
        "PQ",
        "878",
        "823.914",
        "823/.8",
        "[Fic]",
        "Arts &amp; Crafts",
        "",
    ]
    reading = read(subjects=[*written, None])
    assert reading.facts.subjects == ("FICTION / Thrillers", "Livestock--Fiction--Fiction", "Arts & Crafts")
    assert len(reading.dropped) == 2


def test_subjects_may_be_absent_or_an_object_map() -> None:
    assert facts(thema=[{"code": "FB", "name": "Fiction", "type": "subject", "main": True}]).subjects == ()
    assert facts(subjects={"0": "Harbours"}).subjects == ("Harbours",)


def test_an_essay_is_no_subject() -> None:
    assert facts(subjects=["x " * 6000]).subjects == ()


# Cover


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("https://images.isbndb.com/covers/1.jpg", "https://images.isbndb.com/covers/1.jpg"),
        ("Https://images.isbndb.com/covers/1.jpg", "https://images.isbndb.com/covers/1.jpg"),
        (" http://images.isbndb.com/covers/1.jpg ", "http://images.isbndb.com/covers/1.jpg"),
    ],
)
def test_cover(written: str, expected: str) -> None:
    assert facts(image=written).cover_url == expected


@pytest.mark.parametrize(
    "written",
    [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "no address",
        "https://",
        "http://[::1",
        "https://u:p@x.org/",
        "https://x.org/ a",
    ],
)
def test_a_cover_that_is_no_web_address_is_dropped(written: str) -> None:
    assert facts(image=written).cover_url is None
    assert dropped(image=written) == ["image"]


def test_the_signed_link_is_never_a_cover() -> None:
    assert (
        facts(image_original="https://images.isbndb.com/covers/original/1.jpg?key=SECRET").cover_url is None
    )


# Real rows


def real_books(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.rglob("*.json")):
        content = json.loads(file.read_text("utf-8"))
        listed = content.get("books") or content.get("data") or [content.get("book")]
        yield from (book for book in (listed if isinstance(listed, list) else []) if isinstance(book, dict))
    for line in (folder / "isbndb_dump_2022_lines.jsonl").read_text("utf-8").splitlines():
        yield json.loads(line)


def test_every_real_book_is_read(shared_data: Path) -> None:
    shapes = Shapes()
    books = list(real_books(shared_data / "isbndb-samples"))
    records = [read_record(book, "book", NOW, shapes) for book in books]
    assert len(books) > 60
    assert all(isinstance(record, SourceRecord) for record in records)
    assert not shapes.counts
    for book, record in zip(books, records, strict=True):
        assert isinstance(record, SourceRecord)
        reading = edition_facts(record)
        assert reading.facts.title
        assert str(reading.facts.isbns[0]) == book["isbn13"]
        assert bool(reading.facts.published) == bool(str(book.get("date_published") or "").strip(" -"))
        assert len(reading.facts.contributions) == len(book.get("authors") or [])
