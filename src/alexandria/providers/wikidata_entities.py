"""An entity of Wikidata about an author: kept as a source record, and read into facts (contracts/wikidata.md, sections 1 and 2).

The JSON is that of `wbgetentities`, which gives fifty entities at once (section 3): `claims`, `mainsnak`, `datavalue`.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from alexandria.domain.catalogue import AuthorFacts, Dropped, Reading, RecordKind, SourceRecord
from alexandria.domain.names import name_key, read_statement
from alexandria.providers.isbndb_texts import clean_line
from alexandria.providers.openlibrary_members import read_key
from alexandria.providers.openlibrary_people import unfit_name

PROVIDER = "wikidata"

_HUMAN = "Q5"
_INSTANCE_OF, _BIRTH, _DEATH, _OPEN_LIBRARY = "P31", "P569", "P570", "P648"
_IDENTIFIERS = {
    _OPEN_LIBRARY: "openlibrary",
    "P214": "viaf",
    "P213": "isni",
    "P2963": "goodreads",
    "P244": "lc_naf",
    "P227": "gnd",
    "P268": "bnf",
}
"""Kinds under the names that Open Library's `remote_ids` have for them, so that equal identifiers meet."""
_NAMES = ("P1559", "P742")
"""Name in the native language, and pseudonym."""
_READ = frozenset({_INSTANCE_OF, _BIRTH, _DEATH, *_IDENTIFIERS, *_NAMES})

_YEAR_PRECISION = 9
"""Below it a date says a decade or a century: no year (section 1; hard-cases.md, E18)."""
_TIME = re.compile(r"([+-])0*(\d{1,4})-\d\d-\d\dT")
_MOST_NAMES = 100
_MOST_STATEMENTS = 50

_ENTITY = re.compile(r"Q[1-9][0-9]{0,9}")


def is_entity_id(text: str) -> bool:
    """Whether this is an entity's id: `Q42`."""
    return _ENTITY.fullmatch(text) is not None


def read_record(entity: object, asked: str, retrieved_at: datetime) -> SourceRecord | Dropped:
    """An entity as it is to be stored, under the id that was asked: an entity that was merged answers with its new one.

    Kept are names and the statements that facts are read from, without their references: all of an author who is much written
    about are half a megabyte.
    """
    if not isinstance(entity, dict) or not isinstance(entity.get("claims"), dict | list):
        return Dropped(asked, "no entity in the answer")
    claims = entity["claims"] if isinstance(entity["claims"], dict) else {}
    kept = {
        "id": entity.get("id"),
        "labels": entity.get("labels"),
        "aliases": entity.get("aliases"),
        "claims": {
            name: [
                {"rank": each.get("rank"), "mainsnak": each.get("mainsnak")}
                for each in statements[:_MOST_STATEMENTS]
                if isinstance(each, dict)
            ]
            for name, statements in claims.items()
            if name in _READ and isinstance(statements, list)
        },
    }
    body = msgspec.json.encode(kept, order="deterministic")
    return SourceRecord(PROVIDER, RecordKind.AUTHOR, asked, body, retrieved_at)


def author_facts(record: SourceRecord) -> Reading[AuthorFacts]:
    """What an entity says about an author; `key` is the entity's id. Never raises.

    The name is empty when the entity is not a human being's: a footballer's may be, so it proves nothing by itself (E19).
    """
    try:
        entity = msgspec.json.decode(record.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        entity = None
    if not isinstance(entity, dict) or not isinstance(entity.get("claims"), dict):
        return Reading(AuthorFacts(record.key, ""), (Dropped(record.key, "the stored body is no entity"),))
    return _EntityReader(record, entity).read()


class _EntityReader:
    def __init__(self, record: SourceRecord, entity: Mapping[str, Any]) -> None:
        self._record = record
        self._entity = entity
        self._dropped: list[Dropped] = []

    def read(self) -> Reading[AuthorFacts]:
        if not any(
            isinstance(each, dict) and each.get("id") == _HUMAN for each in self._values(_INSTANCE_OF)
        ):
            self._drop(_INSTANCE_OF, "not a human being")
            return Reading(AuthorFacts(self._record.key, ""), tuple(self._dropped))
        name = self._name()
        birth_year, death_year = self._year(_BIRTH), self._year(_DEATH)
        if birth_year is not None and death_year is not None and death_year < birth_year:
            self._drop(_DEATH, "a life that cannot have been")
            birth_year = death_year = None
        facts = AuthorFacts(
            key=self._record.key,
            name=name,
            other_names=self._other_names(name),
            birth_year=birth_year,
            death_year=death_year,
            identifiers=tuple(dict.fromkeys(self._identifiers())),
        )
        return Reading(facts, tuple(dict.fromkeys(self._dropped)))

    def _drop(self, member: str, reason: str) -> None:
        self._dropped.append(Dropped(f"{self._record.key} {member}", reason))

    def _values(self, name: str) -> list[Any]:
        """The values of the best rank there is; deprecated ones never, unknown and missing ones say nothing (section 1)."""
        found: dict[str, list[Any]] = {"preferred": [], "normal": []}
        statements = self._entity["claims"].get(name)
        for statement in statements if isinstance(statements, list) else ():
            snak = statement.get("mainsnak") if isinstance(statement, dict) else None
            if not isinstance(snak, dict) or snak.get("snaktype") != "value":
                continue
            value = snak.get("datavalue")
            if isinstance(value, dict) and statement.get("rank") in found:
                found[statement["rank"]].append(value.get("value"))
        return found["preferred"] or found["normal"]

    def _year(self, name: str) -> int | None:
        """The year, negative before Christ; None where the values differ in it, or are vaguer than a year."""
        years = set()
        for value in self._values(name):
            time, precision = (
                (value.get("time"), value.get("precision")) if isinstance(value, dict) else (None, 0)
            )
            match = _TIME.match(time) if isinstance(time, str) else None
            if match and type(precision) is int and precision >= _YEAR_PRECISION and int(match[2]):
                years.add(int(match[2]) * (-1 if match[1] == "-" else 1))
            else:
                self._drop(name, "no year")
        if len(years) > 1:
            self._drop(name, "several years")
        return years.pop() if len(years) == 1 else None

    def _identifiers(self) -> Iterator[tuple[str, str]]:
        yield PROVIDER, self._record.key
        own = self._entity.get("id")
        if isinstance(own, str) and is_entity_id(own):
            yield PROVIDER, own
        for name, kind in _IDENTIFIERS.items():
            for value in self._values(name):
                text = clean_line(value)[:200] if isinstance(value, str) else ""
                if kind == "isni":
                    text = text.replace(" ", "")
                elif kind == "openlibrary":
                    text = read_key(text, "A") or ""
                if text:
                    yield kind, text
                else:
                    self._drop(name, "no identifier")

    def _labels(self) -> Iterator[str]:
        """The English label, the one for all languages, then the others (there is no fallback between them: section 1)."""
        labels = self._entity.get("labels")
        labels = labels if isinstance(labels, dict) else {}
        for language in dict.fromkeys(("en", "mul", *sorted(labels))):
            if text := _text_of(labels.get(language)):
                yield text

    def _name(self) -> str:
        for text in self._labels():
            read = read_statement(text)
            if unfit_name(read, name_key(read.name), name_key(read.name)) is None:
                return read.name
        self._drop("labels", "no name")
        return ""

    def _other_names(self, name: str) -> tuple[str, ...]:
        own, found = name_key(name), dict[str, str]()
        for text in self._variants() if name else ():
            read = read_statement(text)
            key = name_key(read.name)
            if reason := unfit_name(read, key, own):
                self._drop("aliases", reason)
            elif key != own:
                found.setdefault(key, read.name)
        return tuple(found.values())[:_MOST_NAMES]

    def _variants(self) -> Iterator[str]:
        yield from self._labels()
        aliases = self._entity.get("aliases")
        for _, listed in sorted(aliases.items()) if isinstance(aliases, dict) else ():
            for each in listed if isinstance(listed, list) else ():
                if text := _text_of(each):
                    yield text
        for name in _NAMES:
            for value in self._values(name):
                # A text in a language (P1559), or a plain one (P742).
                stated = value.get("text") if isinstance(value, dict) else value
                if isinstance(stated, str) and stated.strip():
                    yield stated


def _text_of(value: object) -> str:
    text = value.get("value") if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""
