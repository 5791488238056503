"""The stand-in Open Library: the parts of its API that Alexandria uses, over what it knows of the world (contracts/openlibrary.md, 3)."""

import json
import re
from collections.abc import Mapping
from typing import Any

from alexandria.domain.isbn import InvalidIsbn, Isbn
from alexandria.sandbox import identities
from alexandria.sandbox.dumps import author_documents, edition_document, make_document, work_document
from alexandria.sandbox.stand_ins import Bucket, Given, given_json, names_a_contact
from alexandria.sandbox.truth import Author, Edition
from alexandria.sandbox.world import World

_FORBIDDEN = Given(
    403,
    b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body><center><h1>403 Forbidden</h1></center></body>\r\n</html>",
    "text/html",
)
_NO_PAGE = Given(404, b"<!doctype html><html><body><h1>Not Found</h1></body></html>", "text/html")
_TOO_FAST = {
    "status": 429,
    "message": "Too Many Requests. Consider using https://openlibrary.org/developers/dumps.",
}
_BY_FIELD = re.compile(r"(isbn|key):\(?([^()]*)\)?")


def openlibrary_bucket() -> Bucket:
    """180 a minute, 25 at once (section 5, zone API). What nginx delays within the burst is not delayed here."""
    return Bucket(rate=3.0, burst=25)


class OpenLibrary:
    """Its editions, works and authors; the people whom the dump has twice are merged here meanwhile."""

    def __init__(self, world: World) -> None:
        self._truth = world.truth
        known = [each for each in self._truth.editions.values() if identities.is_in_openlibrary(each)]
        self._by_isbn = {each.isbn.digits: each for each in known if each.isbn}
        self._by_work: dict[str, list[Edition]] = {}
        for each in known:
            if each.work_key:
                self._by_work.setdefault(each.work_key, []).append(each)
        self._merged = {
            twin: author.key for author in self._truth.authors.values() for twin in author.duplicate_keys
        }

    def refuse(self, user_agent: str, query: Mapping[str, str]) -> Given | None:
        """Whoever names no contact (section 6)."""
        del query
        return None if names_a_contact(user_agent) else _FORBIDDEN

    def limited(self, wait_seconds: int) -> Given:
        """No Retry-After is configured there."""
        del wait_seconds
        return given_json(_TOO_FAST, 429)

    def emptied(self, given: Given) -> Given:
        """What an internal failure looks like (section 3.1)."""
        return given_json({"numFound": 0, "docs": []} if b'"numFound"' in given.body else {})

    def answer(self, path: str, query: Mapping[str, str]) -> Given:
        """The answer to a GET."""
        if path in {"/api/books", "/api/books.json"}:
            return self._books(path, query)
        if path == "/search.json":
            return self._search(query)
        if path == "/search/authors.json":
            return self._search_authors(query)
        if match := re.fullmatch(r"/isbn/([^/]+?)(?:\.json)?", path):
            found = self._find(match[1])
            if found is None:
                return _NO_PAGE
            return Given(302, b"", "text/html", (("Location", f"/openlibrary/books/{found.key}.json"),))
        if match := re.fullmatch(r"/(?:books|works|authors)/(OL\d+[MWA])\.json", path):
            return self._document(match[1])
        return _NO_PAGE

    def _find(self, text: str) -> Edition | None:
        try:
            return self._by_isbn.get(Isbn.parse(text).digits)
        except InvalidIsbn:
            return None

    def _books(self, path: str, query: Mapping[str, str]) -> Given:
        found: dict[str, Any] = {}
        for key in query.get("bibkeys", "").split(","):
            name, _, number = key.strip().rpartition(":")
            edition = self._find(number) if name.upper() in {"", "ISBN"} else None
            if edition:
                found[key] = self._shown(key, edition, with_details=query.get("jscmd") == "details")
        if path.endswith(".json") or query.get("format") == "json":
            return given_json(found)
        return Given(200, f"var _OLBookInfo = {json.dumps(found)};".encode(), "text/javascript")

    def _shown(self, bibkey: str, edition: Edition, *, with_details: bool) -> dict[str, Any]:
        url = f"https://openlibrary.org/books/{edition.key}"
        shown: dict[str, Any] = {
            "bib_key": bibkey,
            "info_url": url,
            "preview": "noview",
            "preview_url": url,
        }
        if cover := identities.openlibrary_cover(edition):
            shown["thumbnail_url"] = f"https://covers.openlibrary.org/b/id/{cover}-S.jpg"
        return shown | ({"details": self._edition(edition)} if with_details else {})

    def _edition(self, edition: Edition) -> dict[str, Any]:
        cover = identities.openlibrary_cover(edition)
        # A removed picture leaves its place behind (hard-cases.md, F2).
        return edition_document(edition) | {"covers": [-1] if cover is None else [cover]}

    def _document(self, key: str) -> Given:
        if target := self._merged.get(key):
            kind, folder = "redirect", "authors"
            return given_json(make_document(kind, f"/{folder}/{key}", {"location": f"/{folder}/{target}"}))
        edition, author = self._truth.editions.get(key), self._truth.authors.get(key)
        if edition and edition.isbn and edition.isbn.digits in self._by_isbn:
            return given_json(self._edition(edition))
        if author:
            return given_json(self._author(author))
        if key in self._by_work:
            return given_json(work_document(self._truth.works[key]))
        return _NO_PAGE

    def _author(self, author: Author) -> dict[str, Any]:
        shown = author_documents(author)[0]
        if not identities.is_named_at_openlibrary(author):
            return shown
        ids = {"viaf": identities.viaf(author), "isni": identities.isni(author)}
        person = author
        if identities.is_wrong_at_openlibrary(author):
            others = [each for each in self._truth.authors.values() if identities.wikidata_entity(each)]
            person = max(others, key=lambda each: abs((each.birth_year or 0) - (author.birth_year or 0)))
        if entity := identities.wikidata_entity(person):
            ids["wikidata"] = entity
        return shown | {"remote_ids": ids}

    def _search(self, query: Mapping[str, str]) -> Given:
        text = query.get("q", "")
        if len(text) < 3:
            return given_json({"error": "q is too short"}, 422)
        match = _BY_FIELD.fullmatch(text)
        terms = [each.strip() for each in match[2].split(" OR ")] if match else [text]
        if match and match[1] == "key":
            keys = [each.removeprefix("/works/") for each in terms]
        else:
            keys = [each.work_key or "" for each in map(self._find, terms) if each]
        found = [key for key in dict.fromkeys(keys) if key in self._by_work]
        return _page(found, [self._work_doc(key) for key in found], query)

    def _work_doc(self, key: str) -> dict[str, Any]:
        work = self._truth.works[key]
        authors = [self._truth.authors[each] for each in work.author_keys]
        editions = self._by_work[key]
        return {
            "key": f"/works/{key}",
            "title": work.title,
            "subtitle": work.subtitle,
            "author_key": [each.key for each in authors],
            "author_name": [each.name for each in authors],
            "first_publish_year": work.first_published.year if work.first_published else None,
            "edition_count": len(editions),
            "isbn": [each.isbn.digits for each in editions if each.isbn],
        }

    def _search_authors(self, query: Mapping[str, str]) -> Given:
        match = _BY_FIELD.fullmatch(query.get("q", ""))
        keys = [each.strip().removeprefix("/authors/") for each in match[2].split(" OR ")] if match else []
        authors = [self._truth.authors[key] for key in dict.fromkeys(keys) if key in self._truth.authors]
        docs = [
            {
                "key": each.key,
                "name": each.name,
                "alternate_names": list(each.other_names),
                "birth_date": str(each.birth_year) if each.birth_year else None,
                "death_date": str(each.death_year) if each.death_year else None,
                "work_count": len(self._truth.bibliographies[each.key]),
            }
            for each in authors
        ]
        return _page([each.key for each in authors], docs, query)


def _page(keys: list[str], docs: list[dict[str, Any]], query: Mapping[str, str]) -> Given:
    fields = query.get("fields", "*").split(",")
    limit = int(query.get("limit", "100"))
    shown = [
        {
            name: value
            for name, value in doc.items()
            if value not in (None, []) and ("*" in fields or name in fields)
        }
        for doc in docs[:limit]
    ]
    return given_json(
        {
            "numFound": len(keys),
            "start": 0,
            "numFoundExact": True,
            "num_found": len(keys),
            "q": query.get("q"),
            "docs": shown,
        }
    )
