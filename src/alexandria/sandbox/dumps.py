"""Writes Open Library dump files of a world, without the books that only ISBNdb has (contracts/openlibrary.md, 1 and 2)."""

import gzip
import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from alexandria.sandbox.irregular import BROKEN_PER_IRREGULAR, NON_PERSONS, bend, broken_row
from alexandria.sandbox.truth import Author, Edition, Truth, Work

_MODIFIED = "2026-08-15T10:20:30.123456"
_BUCKETS = 256
"""The real files are that many sorted runs one after the other, not globally sorted (openlibrary.md, 1.4)."""


@dataclass(frozen=True)
class DumpFiles:
    """Where the three files lie, and what is odd in them."""

    authors: Path
    works: Path
    editions: Path
    rows: int
    """Readable rows in all three."""
    broken_rows: int
    """Rows that no reader can read; they stand between the true ones and take nothing away."""
    irregularities: Counter[str]
    """How often each irregularity was written."""

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """In the order to load them."""
        return self.authors, self.works, self.editions


def write_dumps(truth: Truth, folder: Path, *, seed: int, irregular_share: float) -> DumpFiles:
    """Write the three files; the same seed gives the same bytes. Creates the folder when it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = _Writer(seed, irregular_share)
    authors = [document for author in truth.authors.values() for document in author_documents(author)]
    if irregular_share:
        # Their keys lie above all others, so they never hide a person.
        authors += [
            make_document("author", f"/authors/OL{9_000_000 + n}A", {"name": x})
            for n, x in enumerate(NON_PERSONS)
        ]
    works = [work_document(each) for each in truth.works.values() if not each.is_new]
    editions = [edition_document(each) for each in truth.editions.values() if each.in_dump]
    written = {}
    for kind, documents in (("author", authors), ("work", works), ("edition", editions)):
        written[kind] = folder / f"ol_dump_{kind}s.txt.gz"
        writer.write(written[kind], kind, documents)
    return DumpFiles(
        written["author"],
        written["work"],
        written["edition"],
        rows=writer.rows,
        broken_rows=writer.broken,
        irregularities=writer.irregularities,
    )


class _Writer:
    def __init__(self, seed: int, irregular_share: float) -> None:
        self._seed = seed
        self._share = irregular_share
        self.rows = self.broken = 0
        self.irregularities: Counter[str] = Counter()

    def write(self, path: Path, kind: str, documents: list[dict[str, Any]]) -> None:
        """One file: rows in their buckets, some of them bent, some broken ones in between."""
        chance = random.Random(f"{self._seed} {kind}")
        documents.sort(
            key=lambda each: (crc32(f"{self._seed}{each['key']}".encode()) % _BUCKETS, each["key"])
        )
        self.rows += len(documents)
        with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
            for document in documents:
                if chance.random() < self._share:
                    self.irregularities[bend(kind, document, chance)] += 1
                row = _row(kind, document)
                packed.write(row)
                if chance.random() < self._share * BROKEN_PER_IRREGULAR:
                    packed.write(broken_row(row, chance))
                    self.broken += 1


def _row(kind: str, document: dict[str, Any]) -> bytes:
    """The five columns; Python's json.dumps with its defaults, as the real writer (openlibrary.md, 1.2)."""
    columns = (f"/type/{kind}", document["key"], str(document["revision"]), _MODIFIED, json.dumps(document))
    return ("\t".join(columns) + "\n").encode("ascii")


def make_document(kind: str, key: str, members: dict[str, Any]) -> dict[str, Any]:
    """A document of Open Library, with what every one of them has; empty members are left out."""
    revision = crc32(key.encode()) % 6 + 1
    moment = {"type": "/type/datetime", "value": _MODIFIED}
    return {
        "type": {"key": f"/type/{kind}"},
        "key": key,
        **{name: value for name, value in members.items() if value not in (None, [], "")},
        "latest_revision": revision,
        "revision": revision,
        "created": moment,
        "last_modified": moment,
    }


def author_documents(author: Author) -> list[dict[str, Any]]:
    """The person's record, and the further ones that the dump has by mistake."""
    members = {
        "name": author.name,
        "personal_name": author.name,
        "alternate_names": list(author.other_names),
        "birth_date": str(author.birth_year) if author.birth_year else None,
        "death_date": str(author.death_year) if author.death_year else None,
    }
    documents = [make_document("author", f"/authors/{author.key}", members)]
    twin = members | {"alternate_names": None}
    return documents + [make_document("author", f"/authors/{key}", twin) for key in author.duplicate_keys]


def work_document(work: Work) -> dict[str, Any]:
    """A work's document."""
    role = {"key": "/type/author_role"}
    members = {
        "title": work.title,
        "subtitle": work.subtitle,
        "authors": [{"author": {"key": f"/authors/{key}"}, "type": role} for key in work.author_keys],
        "subjects": list(work.subjects),
        "first_publish_date": str(work.first_published) if work.first_published else None,
    }
    return make_document("work", f"/works/{work.key}", members)


def edition_document(edition: Edition) -> dict[str, Any]:
    """An edition's document, without a cover: the dump's rows that were sampled had none (openlibrary.md, 2.2)."""
    number = crc32(edition.key.encode())
    ten = edition.isbn.to_10() if edition.isbn and number % 2 else None
    members = {
        "title": edition.title,
        "subtitle": edition.subtitle,
        "works": [{"key": f"/works/{edition.work_key}"}] if edition.work_key else None,
        "isbn_13": [edition.isbn.digits] if edition.isbn and (ten is None or number % 3) else None,
        "isbn_10": [ten] if ten else None,
        "languages": [{"key": f"/languages/{edition.language}"}] if edition.language else None,
        "publish_date": str(edition.published) if edition.published else None,
        "publishers": [edition.publisher] if edition.publisher else None,
        "number_of_pages": edition.pages,
        "physical_format": edition.binding,
        "by_statement": ", ".join(edition.authors) if number % 3 == 0 else None,
    }
    return make_document("edition", f"/books/{edition.key}", members)
