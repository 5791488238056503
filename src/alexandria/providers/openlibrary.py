"""Open Library's dumps: rows in, source records out; and what a file is that is no dump (contracts/openlibrary.md, section 1).

No network here. One unreadable member never loses a row, one unreadable row never stops a file (end of section 2).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from alexandria.domain.catalogue import Dropped, RecordKind, SourceRecord
from alexandria.providers.openlibrary_members import decode, read_key
from alexandria.providers.openlibrary_people import author_facts
from alexandria.providers.openlibrary_records import COVERS_HOST, edition_facts, work_facts

__all__ = [
    "COVERS_HOST",
    "MOST_ROW_BYTES",
    "PROVIDER",
    "DumpRow",
    "RowType",
    "author_facts",
    "describe_file",
    "edition_facts",
    "read_row",
    "record_kind",
    "row_type",
    "source_record",
    "work_facts",
]

PROVIDER = "openlibrary"

MOST_ROW_BYTES = 16 * 1024 * 1024
"""Rows of 5 MB occur (hard-cases.md, H3); what is longer than three of them is no row (design.md, invariant 10)."""


class RowType(StrEnum):
    """What a row is about: the last part of its first column."""

    EDITION = "edition"
    WORK = "work"
    AUTHOR = "author"
    REDIRECT = "redirect"
    DELETE = "delete"
    OTHER = "other"
    """A list, a page, a language, a user, ...: nothing for the catalogue."""


@dataclass(frozen=True, slots=True)
class DumpRow:
    """One row of a five-column dump. The columns are trusted where the JSON says otherwise (section 1.2)."""

    type: RowType
    key: str
    """`/books/OL1M`, `/works/OL1W`, `/authors/OL1A`; of other types whatever the column says."""
    revision: int
    modified_at: datetime
    body: bytes


_KINDS = {
    RowType.EDITION: RecordKind.EDITION,
    RowType.WORK: RecordKind.WORK,
    RowType.AUTHOR: RecordKind.AUTHOR,
}
_TYPES = {f"/type/{each}".encode(): each for each in RowType if each is not RowType.OTHER}
_PATHS = {RowType.EDITION: ("books", "M"), RowType.WORK: ("works", "W"), RowType.AUTHOR: ("authors", "A")}


class _Object(msgspec.Struct):
    """Any JSON object: read to the end, and nothing of it kept."""


def row_type(line: bytes) -> RowType | None:
    """The type of a row by its first column alone; None when there is none."""
    column = line[: line.find(b"\t")]
    return _TYPES.get(column) or (RowType.OTHER if column.startswith(b"/type/") else None)


def record_kind(line: bytes) -> RecordKind | None:
    """The kind of record that a row holds, by its first column alone; None for every other row, broken ones included."""
    type_ = row_type(line)
    return _KINDS.get(type_) if type_ else None


def read_row(line: bytes) -> DumpRow | Dropped:
    """One line of a dump, with or without its line end. Never raises; a row set aside has no place yet, only a reason."""
    columns = line.rstrip(b"\r\n").split(b"\t", 4)
    type_ = row_type(line)
    if len(line) > MOST_ROW_BYTES:
        return Dropped("", "longer than 16 MiB")
    if len(columns) != 5:
        return Dropped("", "not five columns")
    if type_ is None:
        return Dropped("", "no type in the first column")
    if not line.isascii() and not _is_utf8(line):
        return Dropped("", "not UTF-8")
    key = _row_key(type_, columns[1].decode())
    modified_at = _read_time(columns[3].decode())
    if key is None:
        return Dropped("", "key of another family than its type")
    if not columns[2].isdigit() or len(columns[2]) > 9:
        return Dropped("", "revision is no number")
    if modified_at is None:
        return Dropped("", "last modified is no time")
    if decode(columns[4], _Object) is None:
        return Dropped("", "no JSON object in the fifth column")
    return DumpRow(type_, key, int(columns[2]), modified_at, columns[4])


def source_record(row: DumpRow) -> SourceRecord | None:
    """The row as what Open Library said when it was last modified; None for rows that are about no edition, work or author."""
    kind = _KINDS.get(row.type)
    return SourceRecord(PROVIDER, kind, row.key, row.body, row.modified_at) if kind else None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _row_key(type_: RowType, column: str) -> str | None:
    """The key with today's prefix; also `/works/OL1M`, under which orphaned editions were shown (section 2.1)."""
    if type_ not in _PATHS:
        return column
    path, letter = _PATHS[type_]
    key = read_key(column, letter)
    return f"/{path}/{key}" if key else None


def _read_time(column: str) -> datetime | None:
    try:
        read = datetime.fromisoformat(column)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# What a file is that is no dump


_MAGIC = {
    b"PK\x03\x04": "a ZIP archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"(\xb5/\xfd": "a Zstandard file",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "an SQLite database",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file within a gzip file",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}
_RATING = re.compile(r"/works/OL\d+W\t(?:\\N|/books/OL\d+M)\t[1-5]\t[\d-]+")
_READING_LOG = re.compile(r"/works/OL\d+W\t(?:\\N|/books/OL\d+M)\t[A-Za-z -]+\t[\d-]+")
_COVERS_METADATA = re.compile(r"\d+\t(?:\d+|\\N)\t(?:\d+|\\N)\t[\d-]+")
_WIKIDATA = re.compile(r'"?Q\d+"?\t')


def describe_file(sample: bytes) -> str:
    """What the beginning of a file looks like, for the person who gave us the wrong one (the kinds of section 1.1)."""
    for magic, name in _MAGIC.items():
        if sample.startswith(magic):
            return name
    text = sample.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    start = text.lstrip()[:200].lower()
    if "\x00" in text or sum(each < " " and each not in "\t\r\n\x1e\x1f" for each in text[:1000]) > 5:
        return "a binary file"
    if start.startswith("<"):
        return "an XML document" if start.startswith("<?xml") else "an HTML page"
    return _describe_line(text.lstrip("\r\n").partition("\n")[0].rstrip("\r"))


def _describe_line(line: str) -> str:
    for form, name in (
        (_RATING, "a dump of ratings"),
        (_READING_LOG, "a dump of reading logs"),
        (_COVERS_METADATA, "a dump of covers' metadata"),
        (_WIKIDATA, "a dump of Wikidata items"),
    ):
        if form.match(line):
            return name
    if line.startswith(("{", "[")):
        return "JSON without the columns of a dump"
    if "\t" in line:
        return f"{line.count(chr(9)) + 1} columns separated by tabs, the first of them no /type/..."
    commas = max(line.count(","), line.count(";"))
    return f"a CSV file of {commas + 1} columns" if commas else "plain text"
