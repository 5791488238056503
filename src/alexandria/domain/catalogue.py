"""The catalogue's values: source records, and the facts that are read from them.

A source record is what one provider said about one thing, unchanged. Facts are the same in our words. Everything the catalogue
shows is a function of facts (design.md, invariant 6), so nothing here is ever edited: a new answer is a new record.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from alexandria.domain.dates import PartialDate
from alexandria.domain.isbn import Isbn

Facts = TypeVar("Facts")


class RecordKind(StrEnum):
    """What a source record is about."""

    EDITION = "edition"
    WORK = "work"
    AUTHOR = "author"


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What one provider said about one thing, when.

    `key` is the provider's own name for the thing (an ISBN-13 for ISBNdb, `/books/OL1M` for Open Library). `body` is the
    provider's JSON as it came, less links that carry a signed token, which must never be stored (contracts/isbndb.md, 10).
    """

    provider: str
    kind: RecordKind
    key: str
    body: bytes
    retrieved_at: datetime


@dataclass(frozen=True, slots=True)
class Contribution:
    """One name in a record: as it was stated, the person's name in it, and the role if the statement gives one.

    `author_key` is set when the record itself identifies the author (Open Library does, ISBNdb never).
    """

    statement: str
    name: str
    role: str | None = None
    author_key: str | None = None


@dataclass(frozen=True, slots=True)
class EditionFacts:
    """What one source record says about an edition; None or empty where it is silent."""

    isbns: tuple[Isbn, ...] = ()
    title: str | None = None
    subtitle: str | None = None
    contributions: tuple[Contribution, ...] = ()
    publisher: str | None = None
    published: PartialDate | None = None
    language: str | None = None
    """ISO 639-3, lower case."""
    pages: int | None = None
    binding: str | None = None
    synopsis: str | None = None
    subjects: tuple[str, ...] = ()
    cover_url: str | None = None
    identifiers: tuple[tuple[str, str], ...] = ()
    """Pairs of kind and value besides ISBNs: openlibrary, oclc, lccn, asin, goodreads, ..."""
    work_keys: tuple[str, ...] = ()
    """Works that the record itself names, by their keys (`OL45804W`)."""
    related: tuple[Isbn, ...] = ()
    """ISBNs of other editions that the record names: leads, no proof (`leads.py`)."""
    is_book: bool = True
    """False for a DVD, a calendar, an access code that carries an ISBN (hard-cases.md, D26)."""


@dataclass(frozen=True, slots=True)
class WorkFacts:
    """What one source record says about a work."""

    key: str
    title: str | None = None
    subtitle: str | None = None
    author_keys: tuple[str, ...] = ()
    description: str | None = None
    first_published: PartialDate | None = None
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthorFacts:
    """What one source record says about an author."""

    key: str
    name: str
    other_names: tuple[str, ...] = ()
    birth_year: int | None = None
    death_year: int | None = None
    identifiers: tuple[tuple[str, str], ...] = ()
    """Pairs of kind and value: wikidata, viaf, isni, ..."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A field, row or record that could not be read: where, and why. Counted and shown, never silent."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading(Generic[Facts]):
    """The outcome of reading one record: facts, and what was dropped on the way."""

    facts: Facts
    dropped: tuple[Dropped, ...] = field(default=())
