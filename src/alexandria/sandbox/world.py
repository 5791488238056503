"""A sandbox's world: what is true, what ISBNdb lists of it, and the Open Library dump that lags behind."""

import random
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from alexandria.domain.catalogue import Dropped
from alexandria.sandbox import dumps, invent
from alexandria.sandbox.books_file import read_books
from alexandria.sandbox.invent import Recipe
from alexandria.sandbox.truth import Edition, Truth

COVER_PATH = "covers/"


def _no_records() -> dict[str, dict[str, Any]]:
    return {}


@dataclass(frozen=True)
class World:
    """A seeded library of books. Nothing in it depends on the clock of the machine."""

    seed: int
    truth: Truth = field(repr=False)
    given: dict[str, dict[str, Any]] = field(default_factory=_no_records, repr=False)
    """ISBNdb objects that came with a file, by ISBN-13: served as they are instead of being made from the truth."""
    set_aside: tuple[Dropped, ...] = ()
    """Rows of the file that could not be read: place (file:row) and reason."""

    @classmethod
    def invent(
        cls,
        seed: int = 1,
        authors: int = 100,
        works_per_top_author: int = 120,
        new_share: float = 0.3,
        **shares: Any,
    ) -> Self:
        """A world of invented people and books; further shares are those of `invent.Recipe`."""
        recipe = Recipe(
            seed=seed,
            authors=authors,
            works_per_top_author=works_per_top_author,
            new_share=new_share,
            **shares,
        )
        return cls(seed=seed, truth=invent.invent(recipe))

    @classmethod
    def from_file(cls, path: Path, *, seed: int = 1, new_share: float = 0.3) -> Self:
        """A world of the rows of a CSV file or of JSON lines, gzip-compressed or not.

        Bad rows are in `set_aside`, each with its place and reason. Raises InvalidInput when the file is of another kind.
        """
        books = read_books(path, seed=seed, new_share=new_share)
        return cls(seed=seed, truth=books.truth, given=books.given, set_aside=books.set_aside)

    @cached_property
    def listed(self) -> tuple[Edition, ...]:
        """The editions that ISBNdb has, in the arbitrary order of its index."""
        listed = [each for each in self.truth.editions.values() if each.in_isbndb and each.isbn]
        random.Random(self.seed).shuffle(listed)
        return tuple(listed)

    @cached_property
    def positions(self) -> dict[str, int]:
        """ISBN-13 to place in `listed`."""
        return {each.isbn.digits: place for place, each in enumerate(self.listed) if each.isbn}

    def record(self, place: int) -> dict[str, Any]:
        """A clean ISBNdb record in the form of 2.8.1, its picture as a path on the covers host."""
        edition = self.listed[place]
        isbn = edition.isbn.digits if edition.isbn else ""
        given = self.given.get(isbn)
        if given is None:
            return _record(edition, self.others(edition))
        # No address of a real host is ever served: pictures come from the sandbox's own.
        own = {"image": image_path(isbn), "image_original": original_path(isbn)}
        return given | {name: path for name, path in own.items() if given.get(name)}

    def others(self, edition: Edition) -> list[Edition]:
        """Up to five other listed editions of the same work; for one in 25 also one of another work by its author.

        A set, a companion, a mistake: they are leads, not proof (contracts/isbndb.md, section 9).
        """
        of_work = self._by_work.get(edition.work_key or "", [])
        found = [each for each in of_work if each.key != edition.key][:5]
        if edition.isbn and crc32(edition.isbn.digits.encode()) % ERRING == 0:
            found += self._by_others_of_author(edition)[:1]
        return found

    def _by_others_of_author(self, edition: Edition) -> list[Edition]:
        """Listed editions of other works by the first author, those after this one's work first."""
        work = self.truth.works.get(edition.work_key or "")
        of_author = self._works_of_author.get(work.author_keys[0], []) if work and work.author_keys else []
        if work is None or not of_author:
            return []
        place = of_author.index(work.key)
        return [
            each
            for key in (of_author[place + 1 :] + of_author[:place])
            for each in self._by_work.get(key, ())
        ]

    @cached_property
    def _works_of_author(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for each in self.truth.works.values():
            for author in each.author_keys[:1]:
                found.setdefault(author, []).append(each.key)
        return found

    @cached_property
    def _by_work(self) -> dict[str, list[Edition]]:
        found: dict[str, list[Edition]] = {}
        for each in self.listed:
            if each.work_key:
                found.setdefault(each.work_key, []).append(each)
        return found

    def write_dumps(self, folder: Path, *, irregular_share: float = 0.02) -> dumps.DumpFiles:
        """Write ol_dump_{authors,works,editions}.txt.gz without the new books; `irregular_share` of the rows are odd ones."""
        return dumps.write_dumps(self.truth, folder, seed=self.seed, irregular_share=irregular_share)


def image_path(isbn: str) -> str:
    """Where a picture lies: mostly split by the last digits, sometimes an opaque number (contracts/isbndb.md, section 10)."""
    kind = crc32(isbn.encode()) % 10
    if kind == 0:
        return f"{COVER_PATH}{isbn}.jpg"
    if kind < 3:
        # Opaque to a client; the covers host undoes it.
        return f"{COVER_PATH}{int(isbn) + OPAQUE}.jpg"
    return f"{COVER_PATH}{isbn[-4:-2]}/{isbn[-2:]}/{isbn}.jpg"


def original_path(isbn: str) -> str:
    """Where the large picture lies."""
    return f"{COVER_PATH}original/{isbn}.jpg"


OPAQUE = 10_000_000_000_000
"""Added to an ISBN-13 to make the 14-digit number of the opaque addresses."""

ERRING = 25
"""One in so many records names an edition of another work as related."""


def _record(edition: Edition, others: list[Edition]) -> dict[str, Any]:
    isbn = edition.isbn
    if isbn is None:
        raise ValueError(f"{edition.key} has no ISBN, so ISBNdb can't list it")
    number = crc32(isbn.digits.encode())
    title = edition.title if edition.subtitle is None else f"{edition.title}: {edition.subtitle}"
    record: dict[str, Any] = {
        "title": title,
        "title_long": title,
        "isbn": isbn.digits,
        "isbn13": isbn.digits,
        "isbn10": isbn.to_10(),
        "publisher": edition.publisher,
        "language": edition.language,
        "date_published": _shown_date(edition, number),
        "edition": str(number % 4 + 1) if number % 3 == 0 else None,
        "edition_number": number % 4 + 1 if number % 3 == 0 else None,
        "pages": edition.pages,
        "binding": edition.binding,
        **_sizes(number, edition.pages),
        "image": image_path(isbn.digits),
        "image_original": original_path(isbn.digits) if number % 2 else None,
        "msrp": number % 6000 / 100,
        "list_price": {"amount": number % 6000 / 100, "currency": "USD"},
        "synopsis": edition.synopsis,
        "authors": list(edition.authors),
        "subjects": list(edition.subjects),
        "other_isbns": [{"isbn": each.isbn.digits, "binding": each.binding} for each in others if each.isbn],
    }
    return {name: value for name, value in record.items() if value not in (None, [], "")}


def _shown_date(edition: Edition, number: int) -> str | None:
    if edition.published is None:
        return None
    return str(edition.published)[: (4, 7, 10, 10)[number % 4]]


def _sizes(number: int, pages: int | None) -> dict[str, Any]:
    if pages is None or number % 5 == 0:
        return {}
    size = {
        "height": 7 + number % 40 / 10,
        "length": 4.5 + number % 30 / 10,
        "width": round(pages / 400, 2),
        "weight": round(pages / 350, 2),
    }
    text = ", ".join(
        f"{name.capitalize()}: {value:g} {_unit(name).capitalize()}" for name, value in sorted(size.items())
    )
    return {
        "dimensions": text,
        "dimensions_structured": {
            name: {"unit": _unit(name), "value": value} for name, value in size.items()
        },
    }


def _unit(name: str) -> str:
    return "pounds" if name == "weight" else "inches"
