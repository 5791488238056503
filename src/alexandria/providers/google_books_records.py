"""A volume of Google Books: kept as a source record, and read into facts (contracts/google-books.md, sections 2 and 3)."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from alexandria.domain.catalogue import Contribution, Dropped, EditionFacts, Reading, RecordKind, SourceRecord
from alexandria.domain.dates import PartialDate, is_plausible_publication, read_date
from alexandria.domain.folding import fold
from alexandria.domain.isbn import Isbn, read_isbns
from alexandria.domain.languages import read_language
from alexandria.domain.names import read_statement
from alexandria.providers.isbndb_records import is_web_address
from alexandria.providers.isbndb_texts import (
    clean_line,
    clean_paragraphs,
    is_subject,
    read_page_count,
    read_publisher,
)

PROVIDER = "google-books"

_NOT_STORED = frozenset({"accessInfo", "saleInfo", "etag"})
"""The first holds links that carry a token; prices and the tag change with every look, and no fact is read from them."""

_MOST_NAMES = 50
_MOST_SUBJECTS = 100
_MOST_SYNOPSIS_CHARACTERS = 10_000
_VOLUME_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


def read_record(volume: object, place: str, retrieved_at: datetime) -> SourceRecord | Dropped:
    """A volume as it is to be stored; dropped when it has no id or no information. Members are sorted."""
    if not isinstance(volume, dict):
        return Dropped(place, f"no object but {type(volume).__name__}")
    key = volume.get("id")
    if not isinstance(key, str) or not _VOLUME_ID.fullmatch(key):
        return Dropped(place, "a volume without an id")
    if not isinstance(volume.get("volumeInfo"), dict):
        return Dropped(place, "a volume without information")
    kept = {member: value for member, value in volume.items() if member not in _NOT_STORED}
    body = msgspec.json.encode(kept, order="deterministic")
    return SourceRecord(PROVIDER, RecordKind.EDITION, key, body, retrieved_at)


def isbns_of(record: SourceRecord) -> tuple[Isbn, ...]:
    """The ISBNs among a volume's identifiers; none for a hit that may be anything (section 2, the rule)."""
    return edition_facts(record).facts.isbns


def edition_facts(record: SourceRecord) -> Reading[EditionFacts]:
    """What a stored volume says about its edition, and which of its members could not be read. Never raises."""
    try:
        volume = msgspec.json.decode(record.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        volume = None
    information = volume.get("volumeInfo") if isinstance(volume, dict) else None
    if not isinstance(information, dict):
        return Reading(EditionFacts(), (Dropped(record.key, "the stored body holds no volumeInfo"),))
    return _VolumeReader(record, information).read()


class _VolumeReader:
    """Reads one volume member by member, and notes what it drops."""

    def __init__(self, record: SourceRecord, information: dict[str, Any]) -> None:
        self._record = record
        self._information = information
        self._dropped: list[Dropped] = []

    def read(self) -> Reading[EditionFacts]:
        publisher = self._publisher()
        isbns, identifiers = self._identifiers()
        facts = EditionFacts(
            isbns=isbns,
            title=self._line("title"),
            subtitle=self._line("subtitle"),
            contributions=tuple(self._contributions(publisher)),
            publisher=publisher,
            published=self._published(),
            language=self._language(),
            pages=self._pages(),
            synopsis=self._synopsis(),
            subjects=self._subjects(),
            cover_url=self._cover_url(),
            identifiers=identifiers,
            is_book=self._information.get("printType") != "MAGAZINE",
        )
        return Reading(facts, tuple(dict.fromkeys(self._dropped)))

    def _drop(self, member: str, reason: str) -> None:
        self._dropped.append(Dropped(f"{self._record.key} {member}", reason))

    def _text(self, member: str) -> str:
        value = self._information.get(member)
        if isinstance(value, str):
            return value
        if value is not None:
            self._drop(member, f"not a text but {type(value).__name__}")
        return ""

    def _line(self, member: str) -> str | None:
        return clean_line(self._text(member)) or None

    def _items(self, member: str) -> list[Any]:
        value = self._information.get(member)
        if isinstance(value, list):
            return value
        if value is not None:
            self._drop(member, f"not a list but {type(value).__name__}")
        return []

    def _identifiers(self) -> tuple[tuple[Isbn, ...], tuple[tuple[str, str], ...]]:
        """ISBNs, and other numbers: `OTHER` looks like `OCLC:123`. Ours is the volume's id."""
        numbers: list[object] = []
        others: dict[tuple[str, str], None] = {("google", self._record.key): None}
        for item in self._items("industryIdentifiers"):
            kind, value = (
                (item.get("type"), item.get("identifier")) if isinstance(item, dict) else (None, None)
            )
            if kind in {"ISBN_10", "ISBN_13"}:
                numbers.append(value)
            elif kind == "OTHER" and isinstance(value, str) and value.upper().startswith("OCLC:"):
                others["oclc", clean_line(value[5:])[:50]] = None
        isbns, refused = read_isbns(numbers)
        for _, fault in refused:
            self._drop("industryIdentifiers", f"no ISBN: {fault}")
        return isbns, tuple(others)

    def _publisher(self) -> str | None:
        # Sometimes wrapped in quotes (section 2).
        return read_publisher(clean_line(self._text("publisher").strip("\"' \u201c\u201d")))

    def _contributions(self, publisher: str | None) -> Iterator[Contribution]:
        names = self._items("authors")
        if len(names) > _MOST_NAMES:
            self._drop("authors", f"more than {_MOST_NAMES} names: only the first are read")
        for name in names[:_MOST_NAMES]:
            text = clean_line(name) if isinstance(name, str) else ""
            if not any(each.isalpha() for each in text):
                self._drop("authors", "no name")
                continue
            statement = read_statement(text)
            is_publisher = publisher is not None and fold(statement.name) == fold(publisher)
            # An empty name keeps the statement and never finds or makes an author (hard-cases.md, C25).
            yield Contribution(text, "" if is_publisher else statement.name, statement.role)

    def _published(self) -> PartialDate | None:
        text = self._text("publishedDate")
        if not text:
            return None
        found = read_date(text)
        if found is None:
            self._drop("publishedDate", "no date that can be read")
        elif not is_plausible_publication(found, today_year=self._record.retrieved_at.year):
            self._drop("publishedDate", f"{found} can't be when a book appeared")
        else:
            return found
        return None

    def _language(self) -> str | None:
        code = self._text("language")
        language = read_language(code) if code and code != "un" else None
        if code and code != "un" and language is None:
            self._drop("language", "no language that is known")
        return language

    def _pages(self) -> int | None:
        value = self._information.get("pageCount")
        pages = read_page_count(value)
        if pages is None and value not in (None, 0):
            self._drop("pageCount", "no number of pages")
        return pages

    def _synopsis(self) -> str | None:
        return clean_paragraphs(self._text("description"), _MOST_SYNOPSIS_CHARACTERS) or None

    def _subjects(self) -> tuple[str, ...]:
        found: dict[str, str] = {}
        for item in self._items("categories"):
            subject = clean_line(item) if isinstance(item, str) else ""
            if is_subject(subject):
                found.setdefault(fold(subject), subject)
            else:
                self._drop("categories", "no subject")
        return tuple(found.values())[:_MOST_SUBJECTS]

    def _cover_url(self) -> str | None:
        links = self._information.get("imageLinks")
        if not isinstance(links, dict):
            return None
        # As given: another `zoom` shows other pictures or none, and large ones may be an inner page (section 3).
        for member in ("thumbnail", "smallThumbnail"):
            link = links.get(member)
            url = picture_url(link) if isinstance(link, str) else None
            if url:
                return url
            if link is not None:
                self._drop(f"imageLinks.{member}", "no address that may be kept")
        return None


def picture_url(link: str) -> str | None:
    """A picture's address by https and without the folded corner; None for one with a token, and for what is no address."""
    if not is_web_address(link.strip()):
        return None
    parts = urlsplit(link.strip())
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(name == "imgtk" for name, _ in query):
        return None
    is_google = (parts.hostname or "").endswith((".google.com", ".googleusercontent.com"))
    scheme = "https" if is_google else parts.scheme
    kept = urlencode([(name, value) for name, value in query if name != "edge"])
    return urlunsplit((scheme, parts.netloc, parts.path, kept, ""))
