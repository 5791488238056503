"""An edition or a work of Open Library, read into facts (contracts/openlibrary.md, sections 2.2 and 2.3).

Every irregularity of that section is read here or in the members' shapes. The key of a record is the dump's column or the
address asked for; what the JSON says of its own key is not believed (section 1.2).
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from alexandria.domain.catalogue import (
    Dropped,
    EditionFacts,
    Reading,
    SourceRecord,
    WorkFacts,
)
from alexandria.domain.dates import PartialDate, is_plausible_publication, read_date
from alexandria.domain.folding import fold
from alexandria.domain.isbn import Isbn, IsbnFault, read_isbns
from alexandria.domain.languages import read_language
from alexandria.providers.isbndb_texts import clean_line, clean_paragraphs, is_subject, read_page_count
from alexandria.providers.openlibrary_members import (
    NO_OBJECT,
    Members,
    decode,
    keys,
    named_values,
    read_key,
    values,
)
from alexandria.providers.openlibrary_people import read_contributions

COVERS_HOST = "https://covers.openlibrary.org"
"""Where a fact says a cover lies; who has a mirror of it asks there (`enrich.absorb`)."""

_MOST_SUBJECTS = 100
_MOST_DESCRIPTION_CHARACTERS = 10_000


# Documents: only the members that facts come from, and nothing assumed about their types.


class _Edition(msgspec.Struct):
    title: Any = None
    full_title: Any = None
    subtitle: Any = None
    works: Any = None
    authors: Any = None
    contributions: Any = None
    contributors: Any = None
    publishers: Any = None
    publish_date: Any = None
    languages: Any = None
    number_of_pages: Any = None
    pagination: Any = None
    physical_format: Any = None
    description: Any = None
    subjects: Any = None
    covers: Any = None
    isbn_10: Any = None
    isbn_13: Any = None
    identifiers: Any = None
    oclc_numbers: Any = None
    oclc_number: Any = None
    lccn: Any = None
    ocaid: Any = None


class _Work(msgspec.Struct):
    title: Any = None
    subtitle: Any = None
    authors: Any = None
    description: Any = None
    first_publish_date: Any = None
    subjects: Any = None
    # Where the search shows the work instead (section 3.2):
    author_key: Any = None
    first_publish_year: Any = None


# Facts


def edition_facts(record: SourceRecord) -> Reading[EditionFacts]:
    """What a document says about an edition. Never raises.

    The authors of the work outrank those of the edition, which are known to be wrong after old merges (section 2.2): they
    are read only where no work is named, and then by key, with an empty name.
    """
    document = decode(record.body, _Edition)
    if document is None:
        return Reading(EditionFacts(), (Dropped(record.key, NO_OBJECT),))
    members = Members(record, document)
    isbns, printed = _isbns(members)
    works = keys(members, "works", "W")
    binding = members.line("physical_format")
    facts = EditionFacts(
        isbns=isbns,
        title=members.line("title") or members.line("full_title"),
        subtitle=members.line("subtitle"),
        contributions=read_contributions(members, has_work=bool(works)),
        publisher=_publisher(members),
        published=_published(members, "publish_date"),
        language=_language(members),
        pages=_pages(members),
        binding=binding,
        synopsis=_description(members),
        subjects=_subjects(members),
        cover_url=_cover_url(members),
        identifiers=(*_identifiers(members), *(("printed_number", number) for number in printed)),
        work_keys=works,
        is_book=binding is None or not _NON_BOOK.search(binding) or bool(_PRINT.search(binding)),
    )
    return Reading(facts, tuple(members.dropped))


def work_facts(record: SourceRecord) -> Reading[WorkFacts]:
    """What a document, or what the search shows of it, says about a work. Never raises."""
    key = record.key.rpartition("/")[2]
    document = decode(record.body, _Work)
    if document is None:
        return Reading(WorkFacts(key), (Dropped(record.key, NO_OBJECT),))
    members = Members(record, document)
    facts = WorkFacts(
        key=key,
        title=members.line("title"),
        subtitle=members.line("subtitle"),
        author_keys=keys(members, "authors", "A") or keys(members, "author_key", "A"),
        description=_description(members),
        first_published=_published(members, "first_publish_date")
        or _published(members, "first_publish_year"),
        subjects=_subjects(members),
    )
    return Reading(facts, tuple(members.dropped))


# Texts and lists


def _description(members: Members) -> str | None:
    text = members.text("description", members.get("description"))
    return (clean_paragraphs(text, _MOST_DESCRIPTION_CHARACTERS) or None) if text else None


def _subjects(members: Members) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for item in members.items("subjects"):
        value = item
        if isinstance(item, dict) and "value" not in item and isinstance(item.get("key"), str):
            value = item["key"].rpartition("/")[2].replace("_", " ")
        subject = clean_line(members.text("subjects", value) or "")
        if is_subject(subject):
            found.setdefault(fold(subject), subject)
        elif subject:
            members.drop("subjects", "a call number, a class or a shop's shelf")
    return tuple(found.values())[:_MOST_SUBJECTS]


_NO_PUBLISHER = frozenset({"sn", "sinenomine", "publishernotidentified", "unknown", "na", ""})
"""Sine nomine and what later rules write for it (section 2.2)."""


def _publisher(members: Members) -> str | None:
    for text in members.texts("publishers"):
        if fold(name := clean_line(text)).replace(" ", "") not in _NO_PUBLISHER:
            return name
    return None


def _published(members: Members, member: str) -> PartialDate | None:
    value = members.get(member)
    if value is None or value == "":
        return None
    date = read_date(value)
    if date is None:
        members.drop(member, "no date that can be read")
    elif not is_plausible_publication(date, today_year=members.record.retrieved_at.year):
        members.drop(member, "a date when no book can have appeared")
    else:
        return date
    return None


_NO_LANGUAGE = frozenset({"und", "zxx", "mul", "mis"})
"""MARC's undetermined, no linguistic content, multiple, uncoded: an answer, but no language."""


def _language(members: Members) -> str | None:
    for item in members.items("languages"):
        text = members.text("languages", item.get("key") if isinstance(item, dict) else item)
        code = (text or "").strip().rpartition("/")[2]
        language = read_language(code) if code else None
        if language and language not in _NO_LANGUAGE:
            return language
        if code and code not in _NO_LANGUAGE:
            members.drop("languages", "no language that is known")
    return None


_VOLUMES = re.compile(r"\d\s*v(?:ol)?s?\b")


def _pages(members: Members) -> int | None:
    value, pagination = members.get("number_of_pages"), members.line("pagination") or ""
    paged = read_page_count(re.sub(r"[\[\]]", "", pagination), needs_unit=True)
    if value is None or value == "":
        return paged
    if paged is None and _VOLUMES.search(pagination):
        members.drop("number_of_pages", "counts volumes")
        return None
    pages = read_page_count(value)
    if pages is None:
        members.drop("number_of_pages", "no number of pages")
    return pages or paged


_NON_BOOK = re.compile(
    r"\b(?:dvd|cd|vhs|blu ?ray|(?:\w*-)?audio\w*|\w*cassettes?|sheet music|calendar|access (?:code|card))\b",
    re.IGNORECASE,
)
"""What Open Library's own importer drops (contracts/isbndb.md, section 9, non-books), and hard-cases.md, D26."""

_PRINT = re.compile(
    r"\b(?:hard(?:cover|back|bound)|paper(?:back|bound)|softcover|board book)\b", re.IGNORECASE
)
"""A book with a disc in it is a book."""


def _cover_url(members: Members) -> str | None:
    """The first real picture: `[null]` and `[-1]` stand for none (hard-cases.md, F2). By id there is no limit (section 4)."""
    for item in members.items("covers"):
        number = int(item) if isinstance(item, str) and re.fullmatch("[0-9]{1,15}", item) else item
        if isinstance(number, bool) or not isinstance(number, int):
            members.drop("covers", "no number of a cover")
        elif 0 < number < 10**15:
            return f"{COVERS_HOST}/b/id/{number}-L.jpg?default=false"
    return None


# Identifiers


_KINDS = {"amazon": "asin", "oclc_numbers": "oclc", "oclc_number": "oclc"}
"""Open Library's names of identifiers that we call otherwise: Amazon's are ASINs (hard-cases.md, B11)."""

_ISBN_NAMES = frozenset({"isbn", "isbn_10", "isbn_13", "isbn10", "isbn13"})


def _isbns(members: Members) -> tuple[tuple[Isbn, ...], tuple[str, ...]]:
    """The ISBNs, whichever member they stand in, and the printed numbers with a wrong check digit (A14 to A16).

    `original_isbn` is another edition's and is not read.
    """
    found: dict[Isbn, None] = {}
    printed: dict[str, None] = {}
    named = members.get("identifiers")
    strays = (
        {name: value for name, value in named.items() if name in _ISBN_NAMES}
        if isinstance(named, dict)
        else {}
    )
    for member, value in (("isbn_13", None), ("isbn_10", None), *strays.items()):
        source = member if value is None else "identifiers"
        texts = [str(each) if type(each) is int else each for each in members.items(source, value)]
        valid, refused = read_isbns(members.text(source, each) for each in texts)
        found.update(dict.fromkeys(valid))
        for text, fault in refused:
            members.drop(source, f"no ISBN: {fault}")
            if fault == IsbnFault.CHECK_DIGIT:
                printed[re.sub(r"[^0-9X]", "", text.upper())] = None
    return tuple(found), tuple(printed)


def _identifiers(members: Members) -> Iterator[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    if key := read_key(members.record.key, "M"):
        found["openlibrary", key] = None
    for member in ("oclc_numbers", "oclc_number", "lccn", "ocaid"):
        for value in values(members, member, members.get(member)):
            found[_KINDS.get(member, member), value] = None
    for kind, value in named_values(members, "identifiers"):
        if kind not in _ISBN_NAMES:
            found[_KINDS.get(kind, kind), value] = None
    return iter(found)
