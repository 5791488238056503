"""People in Open Library's documents: the authors, and who contributed to an edition (contracts/openlibrary.md, section 2.4)."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import msgspec

from alexandria.domain.catalogue import AuthorFacts, Contribution, Dropped, Reading, SourceRecord
from alexandria.domain.dates import read_date
from alexandria.domain.folding import fold
from alexandria.domain.names import Doubt, NameStatement, name_key, read_statement
from alexandria.providers.isbndb_texts import clean_line
from alexandria.providers.openlibrary_members import NO_OBJECT, Members, decode, keys, named_values


class _Author(msgspec.Struct):
    name: Any = None
    personal_name: Any = None
    fuller_name: Any = None
    alternate_names: Any = None
    birth_date: Any = None
    death_date: Any = None
    date: Any = None
    remote_ids: Any = None
    wikipedia: Any = None
    website: Any = None
    links: Any = None


def author_facts(record: SourceRecord) -> Reading[AuthorFacts]:
    """What a document says about an author. Never raises.

    The name is empty when none may stand for somebody: "J", "Author", "Various", two people in one field (section 2.4;
    hard-cases.md, C1, C12, C24). No author is to be made of such a record.
    """
    key = record.key.rpartition("/")[2]
    document = decode(record.body, _Author)
    if document is None:
        return Reading(AuthorFacts(key, ""), (Dropped(record.key, NO_OBJECT),))
    members = Members(record, document)
    name = _name(members)
    other_names = _other_names(members, name) if name else ()
    birth_year, death_year = _life(members)
    facts = AuthorFacts(
        key=key,
        name=name,
        other_names=other_names,
        birth_year=birth_year,
        death_year=death_year,
        identifiers=(*named_values(members, "remote_ids"), *_wikipedia(members, (name, *other_names))),
    )
    return Reading(facts, tuple(members.dropped))


_MOST_STATEMENT_CHARACTERS = 1000

_AUTHORSHIP = frozenset({"author", "authors", "writer", "by"})


def read_contributions(members: Members, *, has_work: bool) -> tuple[Contribution, ...]:
    """Who an edition names. Who wrote the work, the work says: an edition's authors are read only where there is none (C18)."""
    found: dict[tuple[str, str | None], Contribution] = {}
    if not has_work:
        for key in keys(members, "authors", "A"):
            found[key, None] = Contribution(statement=key, name="", author_key=key)
    for text in members.texts("contributions"):
        read = read_statement(text)
        # Added entries of a catalogue card: co-authors, editors, bodies.
        role = read.role or "contributor"
        statement = text.strip()[:_MOST_STATEMENT_CHARACTERS]
        found.setdefault((fold(read.name), role), Contribution(statement, read.name, role))
    for item in members.items("contributors"):
        if contribution := _contributor(members, item):
            found.setdefault((fold(contribution.name), contribution.role), contribution)
    return tuple(found.values())


def _contributor(members: Members, item: object) -> Contribution | None:
    """`{role, name}`, or a plain name."""
    name, role = (item.get("name"), item.get("role")) if isinstance(item, dict) else (item, None)
    text = (members.text("contributors", name) or "").strip()
    said = clean_line(members.text("contributors", role) or "").lower()
    if not text:
        members.drop("contributors", "an item without a name")
        return None
    statement = f"{text} ({said})" if said else text
    fallback = None if said in _AUTHORSHIP else said or "contributor"
    role_read = read_statement(statement).role or fallback
    return Contribution(statement[:_MOST_STATEMENT_CHARACTERS], read_statement(text).name, role_read)


_NOBODY = frozenset({Doubt.NO_LETTERS, Doubt.GENERIC, Doubt.SEVERAL, Doubt.TOO_LONG})
"""Doubts that no key outweighs. A name of one word may be whole where a key says who is meant: Homer."""


def _name(members: Members) -> str:
    for member in ("name", "personal_name", "fuller_name"):
        for text in members.texts(member):
            read = read_statement(text)
            if read.doubtful not in _NOBODY:
                return read.name
            members.drop(member, f"nobody's name: {read.doubtful}")
            return ""
    members.drop("name", "no name")
    return ""


def _other_names(members: Members, name: str) -> tuple[str, ...]:
    """Names that find the author: roles, dates and brackets taken off; none that others are meant by (C13, C21, C22)."""
    own = name_key(name)
    found: dict[str, str] = {}
    for member in ("personal_name", "fuller_name", "alternate_names"):
        for text in members.texts(member):
            read = read_statement(text)
            key = name_key(read.name)
            if reason := unfit_name(read, key, own):
                members.drop(member, reason)
            elif key != own:
                found.setdefault(key, read.name)
    return tuple(found.values())


def unfit_name(read: NameStatement, key: str, own: str) -> str | None:
    """Why a further name, `key` its key, must not find the author whose name's key is `own`; None when it may."""
    if not key or (read.doubtful and read.doubtful != Doubt.ONE_WORD):
        return f"nobody's name: {read.doubtful or Doubt.NO_LETTERS}"
    if read.role == "attributed":
        return "an attribution, not a name"
    return "a fragment of the name" if key != own and key in own.split() else None


_DEATH_ALONE = re.compile(r"\s*(?:d\.|died\b)", re.IGNORECASE)
_SPAN = re.compile(r"(?P<birth>.*?\d.*?)[-–—](?P<death>.*\d.*)")


def _life(members: Members) -> tuple[int | None, int | None]:
    """Years of birth and death, negative before Christ; None where they are not stated (C23)."""
    birth, death = _year(members, "birth_date"), _year(members, "death_date")
    stated = members.get("birth_date")
    if isinstance(stated, str) and _DEATH_ALONE.match(stated):
        birth, death = None, death or birth  # "d. 1986" in the wrong place
    if birth is None and death is None:
        birth, death = _span(members.line("date") or "")
    if max(birth or 0, death or 0) > members.record.retrieved_at.year or (birth and death and death < birth):
        members.drop("birth_date", "a life that cannot have been")
        return None, None
    return birth, death


def _year(members: Members, member: str) -> int | None:
    value = members.get(member)
    if value is None or value == "":
        return None
    date = read_date(value)
    if date is None:
        members.drop(member, "no date that can be read")
    return date.year if date else None


def _span(text: str) -> tuple[int | None, int | None]:
    """Both years of "1835-1910", one of "b. 1950" or "d. 1986". A year alone does not say which it is."""
    if match := _SPAN.fullmatch(text):
        death = read_date(match["death"])
        # "384-322 B.C.": what stands behind the second year holds for the first as well.
        birth = read_date(text if death and death.year < 0 else match["birth"])
        return birth.year if birth else None, death.year if death else None
    date = read_date(text)
    if date and _DEATH_ALONE.match(text):
        return None, date.year
    is_birth = re.match(r"\s*(?:b\.|born\b)|.*\d\??\s*[-–—]\s*$", text, re.IGNORECASE)
    return (date.year if date and is_birth else None), None


_WIKIPEDIA = re.compile(r"https?://([a-z-]+)\.(?:m\.)?wikipedia\.org/wiki/([^\s?#]+)")


def _wikipedia(members: Members, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The articles about the author: `wikipedia`, and what `website` and `links` repeat of it (section 2.4).

    Those two may also lead to a school or a friend, so there the article must bear one of the author's names.
    """
    own = {name_key(name) for name in names}
    found: dict[str, None] = {}
    for member in ("wikipedia", "website", "links"):
        for item in members.items(member):
            url = members.text(member, item.get("url") if isinstance(item, dict) else item)
            match = _WIKIPEDIA.match(url.strip()) if url else None
            if match and (member == "wikipedia" or name_key(unquote(match[2]).replace("_", " ")) in own):
                found[f"https://{match[1]}.wikipedia.org/wiki/{match[2]}"] = None
    return (("wikipedia", url) for url in found)
