"""The stand-in Wikidata: `wbgetentities`, and the search by identifiers (contracts/wikidata.md, section 3)."""

import re
from collections.abc import Mapping
from typing import Any

from alexandria.sandbox import identities
from alexandria.sandbox.stand_ins import Bucket, Given, given_json, names_a_contact
from alexandria.sandbox.truth import Author
from alexandria.sandbox.world import World

MOST_ENTITIES = 50
MOST_SEARCH_CHARACTERS = 300
_LAST_ENTITY = 999_999_999


def wikidata_bucket() -> Bucket:
    """Five a second, 30 at once: ours, the contract has no figure for this interface."""
    return Bucket(rate=5.0, burst=30)


class Wikidata:
    """The entities of a world's authors. Footballers who share a name with one are left out: nothing is found by name here."""

    def __init__(self, world: World) -> None:
        self._authors = {
            entity: author
            for author in world.truth.authors.values()
            if (entity := identities.wikidata_entity(author))
        }

    def refuse(self, user_agent: str, query: Mapping[str, str]) -> Given | None:
        """Whoever names no contact (section 5)."""
        del query
        text = b"Please set a user-agent and respect our robot policy https://w.wiki/4wJS."
        return None if names_a_contact(user_agent) else Given(403, text, "text/plain")

    def limited(self, wait_seconds: int) -> Given:
        """A page, whose body nobody should read."""
        headers = (("Retry-After", str(wait_seconds)),)
        return Given(429, b"<html><h1>Too many requests</h1></html>", "text/html", headers)

    def emptied(self, given: Given) -> Given:
        """Neither entities nor hits."""
        del given
        return given_json({"batchcomplete": "", "entities": {}, "query": {"search": []}})

    def answer(self, path: str, query: Mapping[str, str]) -> Given:
        """The answer to a GET."""
        if path != "/w/api.php":
            return Given(404, b"", "text/html")
        match query.get("action"):
            case "wbgetentities":
                return self._entities(query.get("ids", "").split("|"))
            case "query" if query.get("list") == "search":
                return self._search(query.get("srsearch", ""))
        return _error("badvalue", "Unrecognized value for parameter 'action'.")

    def _entities(self, ids: list[str]) -> Given:
        if len(ids) > MOST_ENTITIES:
            return _error("toomanyvalues", "Too many values supplied for parameter 'ids'. The limit is 50.")
        for each in ids:
            if not re.fullmatch(r"Q[1-9]\d*", each) or int(each[1:]) > _LAST_ENTITY:
                return _error("no-such-entity", f'Could not find an entity with the ID "{each}".')
        found = {
            each: _entity(each, self._authors[each]) if each in self._authors else {"id": each, "missing": ""}
            for each in ids
        }
        return given_json({"entities": found, "success": 1})

    def _search(self, text: str) -> Given:
        if len(text) > MOST_SEARCH_CHARACTERS:
            return _error(
                "cirrussearch-query-too-long", "Search request is longer than the maximum allowed length."
            )
        keys = {each.removeprefix("P648=") for each in text.removeprefix("haswbstatement:").split("|")}
        hits = [entity for entity, author in self._authors.items() if author.key in keys]
        return given_json(
            {
                "batchcomplete": "",
                "query": {
                    "searchinfo": {"totalhits": len(hits)},
                    "search": [{"ns": 0, "title": each, "pageid": int(each[1:])} for each in hits],
                },
            }
        )


def _entity(key: str, author: Author) -> dict[str, Any]:
    names = [author.name, *author.other_names]
    claims = {
        "P31": [_statement("P31", {"entity-type": "item", "numeric-id": 5, "id": "Q5"})],
        "P648": [_statement("P648", author.key)],
        "P214": [_statement("P214", identities.viaf(author))],
        "P213": [_statement("P213", _in_fours(identities.isni(author)))],
        "P106": [_statement("P106", {"entity-type": "item", "numeric-id": 36180, "id": "Q36180"})],
        "P569": _birth(author),
    }
    if author.death_year:
        claims["P570"] = [_statement("P570", _time(author.death_year, 9))]
    return {
        "type": "item",
        "id": key,
        "labels": {
            "en": {"language": "en", "value": names[-1]},
            "mul": {"language": "mul", "value": names[0]},
        },
        "aliases": {"en": [{"language": "en", "value": each} for each in names[1:]]},
        "claims": claims,
    }


def _birth(author: Author) -> list[dict[str, Any]]:
    """By its year or only its century; beside it one that was found to be wrong, and must not be read (E18)."""
    if author.birth_year is None:
        return [
            {"mainsnak": {"snaktype": "somevalue", "property": "P569"}, "type": "statement", "rank": "normal"}
        ]
    if identities.is_vague_at_wikidata(author):
        return [_statement("P569", _time(author.birth_year // 100 * 100 + 1, 7))]
    wrong = _statement("P569", _time(author.birth_year - 40, 9)) | {"rank": "deprecated"}
    return [wrong, _statement("P569", _time(author.birth_year, 9))]


def _time(year: int, precision: int) -> dict[str, Any]:
    calendar = "http://www.wikidata.org/entity/Q1985727"
    return {"time": f"+{year:04d}-00-00T00:00:00Z", "precision": precision, "calendarmodel": calendar}


def _statement(name: str, value: object) -> dict[str, Any]:
    snak = {"snaktype": "value", "property": name, "datavalue": {"value": value}}
    return {"mainsnak": snak, "type": "statement", "rank": "normal", "references": []}


def _in_fours(text: str) -> str:
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def _error(code: str, info: str) -> Given:
    """Errors of this interface come with 200."""
    return given_json({"error": {"code": code, "info": info}, "servedby": "sandbox"})
