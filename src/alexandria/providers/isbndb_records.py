"""One Book of ISBNdb: kept as a source record, and read into facts (contracts/isbndb.md, section 9).

The data comes from many shops and in many habits. A member of the wrong type or form costs that member, never the record; a
broken record costs that record, never the page. What was dropped is named.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from urllib.parse import urlsplit

import msgspec
import structlog

from alexandria.domain.catalogue import Contribution, Dropped, EditionFacts, Reading, RecordKind, SourceRecord
from alexandria.domain.dates import PartialDate, is_plausible_publication, read_date
from alexandria.domain.folding import decode_entities, fold
from alexandria.domain.isbn import InvalidIsbn, Isbn
from alexandria.domain.languages import read_language
from alexandria.domain.leads import MOST_LEADS
from alexandria.domain.names import is_generic, read_statement
from alexandria.providers.isbndb_texts import (
    clean_line,
    clean_paragraphs,
    is_subject,
    read_page_count,
    read_publisher,
    split_title,
)

log = structlog.get_logger()

PROVIDER = "isbndb"

_NOT_STORED = frozenset({"image_original"})
"""Its address carries a signed token and is void after two hours (contracts/isbndb.md, section 10)."""

_TEXTS = """
title title_long isbn isbn13 isbn10 binding publisher excerpt synopsis synopsys format language overview dimensions image
image_original
"""
_LISTS = "authors subjects other_isbns prices reviews thema"

_MEMBERS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(_TEXTS.split(), (str,)),
    **dict.fromkeys(_LISTS.split(), (list, dict)),
    "date_published": (str, int),
    "publish_date": (str, int),
    "edition": (str, int),
    "edition_number": (int,),
    "pages": (int, str),
    "msrp": (str, int, float),
    "list_price": (dict,),
    "dimensions_structured": (dict,),
    "related": (list, dict),
    "dewey_decimal": (str, list),
}
"""The members of a Book and the types they were seen with, over all generations. Empty values may be of any type."""

_MOST_SHAPES = 200
_MOST_NAMES = 50
_MOST_SUBJECTS = 100
_MOST_SYNOPSIS_CHARACTERS = 10_000
_MOST_URL_CHARACTERS = 2000


class Shapes:
    """Counts what answers hold that the contract does not know. The first time each is seen is an event, not an error."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def check_book(self, book: Mapping[str, object]) -> None:
        """Compare a Book's members and their types with those that are known."""
        for member, value in book.items():
            if member not in _MEMBERS:
                self.notice(member, "unknown member")
            elif not is_empty(value) and not isinstance(value, _MEMBERS[member]):
                self.notice(member, f"type {type(value).__name__}")

    def notice(self, member: str, change: str) -> None:
        """Count one deviation; at most 200 kinds of them are told apart."""
        kind = f"{member[:60]}: {change}"
        if kind not in self.counts:
            if len(self.counts) >= _MOST_SHAPES:
                kind = "others"
            else:
                log.warning("provider.shape_changed", provider=PROVIDER, member=member[:60], change=change)
        self.counts[kind] += 1


def is_empty(value: object) -> bool:
    """Missing, null, "" and empty containers all mean that nothing is known (contracts/isbndb.md, section 9)."""
    return value is None or (isinstance(value, (str, list, dict)) and len(value) == 0)


def items_of(value: object) -> list[object]:
    """A list that may have come as an object map (`{"0": ..., "1": ...}`), or as nothing at all."""
    if isinstance(value, dict):
        keys = list(value)
        return [value[key] for key in (sorted(keys, key=int) if all(map(_is_index, keys)) else keys)]
    if isinstance(value, list):
        return value
    return [] if is_empty(value) else [value]


def _is_index(key: object) -> bool:
    return isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10


def read_record(book: object, place: str, retrieved_at: datetime, shapes: Shapes) -> SourceRecord | Dropped:
    """A Book as it is to be stored, unchanged but for what must not be stored; dropped when no valid ISBN names it.

    Members are sorted, so that an answer that says the same has the same bytes.
    """
    if not isinstance(book, dict):
        return Dropped(place, f"no object but {type(book).__name__}")
    shapes.check_book(book)
    isbn = next((isbn for _, isbn in _isbns(book) if isinstance(isbn, Isbn)), None)
    if isbn is None:
        return Dropped(place, "no valid ISBN in it")
    kept = {member: value for member, value in book.items() if member not in _NOT_STORED}
    body = msgspec.json.encode(kept, order="deterministic")
    return SourceRecord(PROVIDER, RecordKind.EDITION, str(isbn), body, retrieved_at)


def _isbns(book: Mapping[str, object]) -> Iterator[tuple[str, Isbn | str]]:
    """What each of the ISBN members says, the one to trust first, or why it can't be read; `isbn` was an ISBN-10 until 2024."""
    for member in ("isbn13", "isbn10", "isbn"):
        value = book.get(member)
        if is_empty(value):
            continue
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            yield member, f"not a text but {type(value).__name__}"
            continue
        try:
            yield member, Isbn.parse(str(value))
        except InvalidIsbn as error:
            yield member, error.reason


def edition_facts(record: SourceRecord) -> Reading[EditionFacts]:
    """What a stored Book says about its edition, and which of its members could not be read. Never raises."""
    try:
        book = msgspec.json.decode(record.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        book = None
    if not isinstance(book, dict):
        return Reading(EditionFacts(), (Dropped(record.key, "the stored body is no JSON object"),))
    return _BookReader(record, book).read()


class _BookReader:
    """Reads one Book member by member, and notes what it drops."""

    def __init__(self, record: SourceRecord, book: Mapping[str, object]) -> None:
        self._record = record
        self._book = book
        self._dropped: list[Dropped] = []

    def read(self) -> Reading[EditionFacts]:
        publisher = read_publisher(self._line("publisher") or "")
        title, subtitle = self._titles(publisher)
        binding = self._binding()
        facts = EditionFacts(
            isbns=self._isbns(),
            title=title,
            subtitle=subtitle,
            contributions=self._contributions(publisher),
            publisher=publisher,
            published=self._published(),
            language=self._language(title),
            pages=self._pages(),
            binding=binding,
            synopsis=self._synopsis(),
            subjects=self._subjects(),
            cover_url=self._cover_url(),
            related=self._related(),
            is_book=binding is None or not _NON_BOOK.search(binding) or bool(_PRINT.search(binding)),
        )
        return Reading(facts, tuple(dict.fromkeys(self._dropped)))

    def _drop(self, member: str, reason: str) -> None:
        self._dropped.append(Dropped(f"{self._record.key} {member}", reason))

    def _text(self, *members: str) -> str | None:
        """The first of these members that holds a text that is not blank."""
        for member in members:
            value = self._book.get(member)
            if isinstance(value, str):
                if value.strip():
                    return value
            elif not is_empty(value):
                self._drop(member, f"not a text but {type(value).__name__}")
        return None

    def _line(self, *members: str) -> str | None:
        return clean_line(self._text(*members) or "") or None

    def _isbns(self) -> tuple[Isbn, ...]:
        found: dict[Isbn, None] = {}
        for member, isbn in _isbns(self._book):
            if isinstance(isbn, str):
                self._drop(member, isbn)
            elif str(isbn) != self._record.key:
                # Only isbn13 is to be trusted: the others are derived, or belong to another book.
                self._drop(member, f"another number than {self._record.key}")
            else:
                found[isbn] = None
        if any(isbn.is_reserved for isbn in found):
            self._drop("isbn13", "a number that unrelated books share: it identifies nothing")
        return tuple(found)

    def _titles(self, publisher: str | None) -> tuple[str | None, str | None]:
        short, long = self._line("title"), self._line("title_long")
        if short is None and long is None:
            return None, None
        return split_title(short or long or "", long or "", publisher)

    def _contributions(self, publisher: str | None) -> tuple[Contribution, ...]:
        statements = list(self._statements())
        if len(statements) > _MOST_NAMES:
            self._drop("authors", f"more than {_MOST_NAMES} names: only the first are read")
        found = []
        for text in statements[:_MOST_NAMES]:
            statement = read_statement(text)
            is_publisher = publisher is not None and fold(statement.name) == fold(publisher)
            if is_publisher:
                self._drop("authors", "the publisher, not an author")
            # An empty name keeps the statement and never finds or makes an author (hard-cases.md, C4, C25).
            found.append(Contribution(text, "" if is_publisher else statement.name, statement.role))
        return self._without_fragments(tuple(found))

    def _statements(self) -> Iterator[str]:
        for item in items_of(self._book.get("authors")):
            if isinstance(item, str):
                # Two people joined by a semicolon; entities end in one, so they are decoded first.
                parts = (clean_line(part) for part in decode_entities(item).split(";"))
                yield from (part for part in parts if any(each.isalpha() for each in part))
            else:
                self._drop(
                    "authors", "an empty item" if item is None else f"not a text but {type(item).__name__}"
                )

    def _without_fragments(self, found: tuple[Contribution, ...]) -> tuple[Contribution, ...]:
        """Surname and given names may stand as two items: "Moss", "Charlotte". Nothing here tells that from two people (C4)."""
        fragments = [each for each in found if _is_one_word(each.name) and each.role is None]
        if len(found) < 2 or not fragments:
            return found
        self._drop("authors", "one-word items: parts of names, or people of one name")
        if len(found) == 2 and found[0] in fragments and found[1].role is None:
            # The second would pass for a whole name: "Allen", "Charlotte Vale".
            return found[0], Contribution(found[1].statement, "")
        return found

    def _published(self) -> PartialDate | None:
        for member in ("date_published", "publish_date"):
            value = self._book.get(member)
            if is_empty(value):
                continue
            found = read_date(value)
            if found is None:
                self._drop(member, "no date that can be read")
            elif not is_plausible_publication(found, today_year=self._record.retrieved_at.year):
                self._drop(member, f"{found} can't be when a book appeared")
            else:
                return found
        return None

    def _language(self, title: str | None) -> str | None:
        text = self._line("language")
        language = read_language(text) if text else None
        if text and language is None:
            self._drop("language", "no language that is known")
        if title and (match := _LANGUAGE_IN_TITLE.search(title)):
            named = read_language(match[1])
            if named and language and named != language:
                self._drop("language", f"says {language}, the title says {named}")
            return named or language
        if language == "eng" and title and not _is_latin(title):
            # Often "en" beside a Japanese title (contracts/isbndb.md, section 9; hard-cases.md, E16).
            self._drop("language", "says English, the title is in another script")
            return None
        return language

    def _pages(self) -> int | None:
        value = self._book.get("pages")
        if is_empty(value):
            # Libraries put the number of pages there: "vii, 235 p. ; 25 cm."
            dimensions = self._book.get("dimensions")
            return read_page_count(dimensions, needs_unit=True) if isinstance(dimensions, str) else None
        pages = read_page_count(value)
        if pages is None and value != 0:
            self._drop("pages", "no number of pages")
        return pages

    def _binding(self) -> str | None:
        text = self._line("binding", "format")
        if text and fold(text) not in _NO_BINDING:
            return text
        edition = self._book.get("edition")
        return clean_line(edition) if isinstance(edition, str) and _PRINT.search(edition) else None

    def _synopsis(self) -> str | None:
        # Misspelt in the first generation, and "overview" in some of it.
        text = self._text("synopsis", "synopsys", "overview")
        return (clean_paragraphs(text, _MOST_SYNOPSIS_CHARACTERS) or None) if text else None

    def _subjects(self) -> tuple[str, ...]:
        found: dict[str, str] = {}
        for item in items_of(self._book.get("subjects")):
            if not isinstance(item, str):
                self._drop("subjects", f"not a text but {type(item).__name__}")
                continue
            subject = clean_line(item)
            if is_subject(subject):
                found.setdefault(fold(subject), subject)
            elif subject:
                self._drop("subjects", "a call number, a class or a shop's shelf")
        return tuple(found.values())[:_MOST_SUBJECTS]

    def _related(self) -> tuple[Isbn, ...]:
        found: dict[Isbn, None] = {}
        for item in items_of(self._book.get("other_isbns")):
            # Seen as objects with their binding; a bare number says as much.
            value = item.get("isbn") if isinstance(item, dict) else item
            try:
                isbn = Isbn.parse(value if isinstance(value, str) else "")
            except InvalidIsbn:
                self._drop("other_isbns", "an item without a valid ISBN")
                continue
            if str(isbn) != self._record.key and not isbn.is_reserved:
                found[isbn] = None
        return tuple(sorted(found, key=str)[:MOST_LEADS])

    def _cover_url(self) -> str | None:
        text = (self._text("image") or "").strip()
        if not text:
            return None
        scheme, separator, rest = text.partition("://")
        url = f"{scheme.lower()}{separator}{rest}"  # "Https://" in the dump of 2022
        if is_web_address(url):
            return url
        self._drop("image", "no web address")
        return None


def is_web_address(url: str) -> bool:
    """Whether a text is an http or https address with a host, as far as can be seen."""
    if len(url) > _MOST_URL_CHARACTERS or any(each.isspace() or not each.isprintable() for each in url):
        return False
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and parts.username is None
        )
    except ValueError:
        return False


_NO_BINDING = frozenset({"", "binding", "print", "unknown", "unknown binding", "none"})
"""Column names and stopgaps seen in place of a binding."""

_NON_BOOK = re.compile(
    r"\b(?:dvd|cd|vhs|blu[- ]?ray|(?:\w*-)?audio\w*|\w*cassettes?|sheet music|calendar|access (?:code|card))\b",
    re.IGNORECASE,
)
"""What Open Library's importer drops (contracts/isbndb.md, section 9, non-books), and hard-cases.md, D26."""

_PRINT = re.compile(
    r"\b(?:hard(?:cover|back|bound)|paper(?:back|bound)|softcover|library binding|spiral|board book|mass market)\b",
    re.IGNORECASE,
)
"""A book with a disc in it is a book."""

_LANGUAGE_IN_TITLE = re.compile(
    r"[(\[](afrikaans|arabic|basque|bengali|catalan|chinese|croatian|czech|danish|dutch|english|finnish|french|german|greek|hebrew"
    r"|hindi|hungarian|indonesian|italian|japanese|korean|norwegian|persian|polish|portuguese|romanian|russian|spanish|swedish"
    r"|tamil|telugu|thai|turkish|ukrainian|urdu|vietnamese|welsh) edition[)\]]",
    re.IGNORECASE,
)


def _is_one_word(name: str) -> bool:
    """A single word of an alphabet whose names have several; Chinese or Japanese names have no blank."""
    return (
        bool(name) and " " not in name and all(ord(each) < 0x0590 for each in name) and not is_generic(name)
    )


def _is_latin(text: str) -> bool:
    letters = [each for each in text if each.isalpha()]
    latin = sum(unicodedata.name(each, "").startswith("LATIN") for each in letters)
    return 2 * latin >= len(letters)
