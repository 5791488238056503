"""The catalogue in PostgreSQL: source records, and the works, editions and authors that follow from them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from psycopg import Rollback
from psycopg.errors import QueryCanceled
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from alexandria.domain.catalogue import AuthorFacts, RecordKind, SourceRecord, WorkFacts
from alexandria.domain.isbn import Isbn
from alexandria.domain.matching import Known, KnownAuthor, KnownEdition, Review, whole_title
from alexandria.domain.names import name_key
from alexandria.domain.titles import title_key
from alexandria.stores.postgres import Connection, Queries

queries = Queries("catalogue.sql")

Row = Mapping[str, Any]
Shown = TypeVar("Shown")


@dataclass(frozen=True)
class Claim:
    """A work that is to be found by a person and a title; `title` is its whole title."""

    person: str
    title_key: str
    work_key: str
    title: str


@dataclass(frozen=True)
class Author:
    """An author as listed: `works_count` is what the tiers are ordered by."""

    key: str
    name: str
    works_count: int
    birth_year: int | None
    death_year: int | None
    identity: str


@dataclass(frozen=True)
class WorkSummary:
    """A line of an author's bibliography."""

    key: str
    title: str
    subtitle: str | None
    first_published: str | None
    editions_count: int


@dataclass(frozen=True)
class Work:
    """A work as shown."""

    key: str
    title: str
    subtitle: str | None
    description: str | None
    first_published: str | None
    subjects: list[str]
    identity: str


@dataclass(frozen=True)
class Edition:
    """An edition as shown; `provenance` names for each field the provider whose record it comes from."""

    key: str
    work_key: str
    title: str | None
    subtitle: str | None
    publisher: str | None
    published: str | None
    language: str | None
    pages: int | None
    binding: str | None
    synopsis: str | None
    subjects: list[str]
    is_book: bool
    provenance: dict[str, str]
    isbns: list[str]
    statements: list[str]


@dataclass(frozen=True)
class Counts:
    """How much there is."""

    authors: int
    works: int
    editions: int
    source_records: int
    reviews: int
    """What waits for a person to decide."""


def content_hash(body: bytes) -> bytes:
    """What two answers are compared by."""
    return hashlib.sha256(body).digest()


class CatalogueStore:
    """The catalogue within one connection; what belongs together is called within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # What providers said

    async def save_records(self, records: Iterable[SourceRecord]) -> dict[str, bool]:
        """Store answers; returns the keys that are new (True) or have changed (False), the unchanged ones left out."""
        # One provider may list the same thing twice on a page: the last one stands.
        ordered = sorted({(each.provider, each.kind, each.key): each for each in records}.items())
        rows = await self._fetch(
            queries.save_records,
            {
                "providers": [each.provider for _, each in ordered],
                "kinds": [each.kind for _, each in ordered],
                "keys": [each.key for _, each in ordered],
                "bodies": [each.body for _, each in ordered],
                "hashes": [content_hash(each.body) for _, each in ordered],
                "retrieved": [each.retrieved_at for _, each in ordered],
            },
        )
        return {row[0]: row[1] for row in rows}

    async def list_placed_records(self, provider: str, keys: Sequence[str]) -> set[str]:
        """Which of a provider's records of editions are in the catalogue."""
        return set(await self._keys(queries.list_placed_records, {"provider": provider, "keys": list(keys)}))

    async def find_records(self, provider: str, kind: RecordKind, keys: Sequence[str]) -> list[SourceRecord]:
        """The stored answers of one provider about these things."""
        rows = await self._fetch(
            queries.find_records, {"provider": provider, "kind": kind, "keys": list(keys)}
        )
        return [SourceRecord(row[0], RecordKind(row[1]), row[2], bytes(row[3]), row[4]) for row in rows]

    async def find_records_of_editions(self, edition_keys: Sequence[str]) -> dict[str, list[SourceRecord]]:
        """Everything that any provider said of these editions."""
        found: dict[str, list[SourceRecord]] = {}
        for row in await self._fetch(queries.find_records_of_editions, {"edition_keys": list(edition_keys)}):
            found.setdefault(row[0], []).append(
                SourceRecord(row[1], RecordKind(row[2]), row[3], bytes(row[4]), row[5])
            )
        return found

    async def link_records(self, links: Iterable[tuple[str, str, str]]) -> None:
        """Say of which edition records speak: triples of provider, record key and edition key."""
        await self._save(
            queries.link_records, ({"provider": p, "key": k, "edition_key": e} for p, k, e in links)
        )

    # What matching needs to know

    async def learn_editions(
        self, known: Known, provider: str, record_keys: Sequence[str], isbns: Sequence[Isbn]
    ) -> None:
        """Add the editions that these records or ISBNs are known to belong to."""
        for row in await self._fetch(
            queries.find_editions_of_records, {"provider": provider, "keys": list(record_keys)}
        ):
            known.edition_of_record[row[0]] = row[1]
            known.editions[row[1]] = KnownEdition(*row[1:])
        for row in await self._fetch(
            queries.find_editions_of_isbns, {"isbns": [str(isbn) for isbn in isbns]}
        ):
            edition = known.editions.setdefault(row[1], KnownEdition(*row[1:]))
            known.editions_of_isbn.setdefault(Isbn(row[0]), []).append(edition)
        known.works.update(edition.work_key for edition in known.editions.values())

    async def learn_authors(self, known: Known, names: Iterable[str]) -> None:
        """Add the authors who bear these names; a name that nobody bears is remembered as such."""
        wanted = {key for name in names if (key := name_key(name)) and key not in known.authors_of_name}
        for key in wanted:
            known.authors_of_name[key] = []
        for row in await self._fetch(queries.find_authors_of_names, {"name_keys": sorted(wanted)}):
            known.authors_of_name[row[0]].append(KnownAuthor(row[1], row[2]))

    async def learn_works(
        self, known: Known, handles: Sequence[str], title_keys: Sequence[str], work_keys: Sequence[str]
    ) -> None:
        """Add the works claimed under these people and titles, and which of these keys exist."""
        for claim in await self.find_claims(handles, title_keys):
            known.work_of_title[claim.person, claim.title_key] = claim.work_key
            known.title_of_claim[claim.person, claim.title_key] = claim.title
            known.works.add(claim.work_key)
        known.works.update(await self.find_existing_works(work_keys))

    async def find_claims(self, handles: Sequence[str], title_keys: Sequence[str]) -> list[Claim]:
        """Which works these people's handles and titles lead to."""
        return await self._list(
            Claim, queries.find_claims, persons=list(handles), title_keys=list(title_keys)
        )

    async def find_existing_works(self, keys: Sequence[str]) -> set[str]:
        """Which of these works there are."""
        return set(await self._keys(queries.find_existing_works, {"keys": list(keys)})) if keys else set()

    # What follows

    async def save_named_authors(self, names: Mapping[str, str]) -> set[str]:
        """Authors known by a name only, key -> name; returns the new ones."""
        rows = await self._save(
            queries.save_named_authors, ({"key": key, "name": name} for key, name in names.items())
        )
        await self._save_names((key, name) for key, name in names.items())
        return {row[0] for row in rows}

    async def save_identified_authors(self, facts: Sequence[AuthorFacts]) -> set[str]:
        """Authors that a provider names by a key; returns those that are new or have changed."""
        rows = await self._save(
            queries.save_identified_authors,
            (
                {"key": a.key, "name": a.name, "birth_year": a.birth_year, "death_year": a.death_year}
                for a in facts
            ),
        )
        await self._save_names((each.key, name) for each in facts for name in (each.name, *each.other_names))
        await self._save(
            queries.save_author_identifiers,
            (
                {"kind": kind, "value": value, "author_key": each.key}
                for each in facts
                for kind, value in each.identifiers
            ),
        )
        return {row[0] for row in rows}

    async def _save_names(self, names: Iterable[tuple[str, str]]) -> None:
        rows = {(key, author): name for author, name in names if (key := name_key(name))}
        await self._save(
            queries.save_author_names,
            ({"name_key": k, "author_key": a, "name": name} for (k, a), name in rows.items()),
        )

    async def save_matched_works(self, rows: Iterable[Row]) -> set[str]:
        """Works put together by evidence (key, title, subtitle); returns the new ones."""
        return {row[0] for row in await self._save(queries.save_matched_works, rows)}

    async def save_identified_works(self, facts: Sequence[WorkFacts]) -> set[str]:
        """Works that a provider names by a key, with their authors and the claims on their titles; returns new and changed."""
        titled = [each for each in facts if each.title]
        rows = await self._save(
            queries.save_identified_works,
            (
                {
                    "key": each.key,
                    "title": each.title,
                    "subtitle": each.subtitle,
                    "description": each.description,
                    "first_published": str(each.first_published) if each.first_published else None,
                    "subjects": list(each.subjects),
                }
                for each in titled
            ),
        )
        claims = [
            Claim(author, key, each.key, whole_title(each))
            for each in titled
            for author in each.author_keys
            if (key := title_key(each.title or "", each.subtitle))
        ]
        await self.save_work_titles(claims)
        await self.save_work_authors(
            {"work_key": each.key, "author_key": author, "position": position, "evidence": "identifier"}
            for each in titled
            for position, author in enumerate(each.author_keys, start=1)
        )
        return {row[0] for row in rows}

    async def save_work_titles(self, claims: Iterable[Claim]) -> None:
        """Claim titles. A claim that stands already stays."""
        await self._save(queries.save_work_titles, map(asdict, claims))

    async def save_work_authors(self, rows: Iterable[Row]) -> None:
        """Link works and authors (work_key, author_key, position, evidence) and count each author's works."""
        await self._save(queries.save_work_authors, rows)

    async def delete_works_without_editions(self, keys: Sequence[str]) -> set[str]:
        """Take back works that turned out to be known under another key; returns those taken back."""
        rows = await self._fetch(queries.delete_works_without_editions, {"keys": list(keys)})
        return {row[0] for row in rows}

    async def save_editions(self, rows: Iterable[Row]) -> dict[str, bool]:
        """Store merged editions; returns the keys that are new (True) or have changed (False)."""
        return {row[0]: row[1] for row in await self._save(queries.save_editions, rows)}

    async def save_isbns(self, first: Iterable[tuple[Isbn, str]], others: Iterable[tuple[Isbn, str]]) -> None:
        """Pairs of ISBN and edition key; where another edition was first after all, this one comes beside it."""
        firsts = [{"isbn": str(isbn), "edition_key": key} for isbn, key in first]
        await self._save(queries.save_first_isbns, firsts)
        await self._save(
            queries.save_other_isbns,
            [*firsts, *({"isbn": str(isbn), "edition_key": key} for isbn, key in others)],
        )

    async def save_edition_identifiers(self, rows: Iterable[Row]) -> None:
        """Identifiers besides ISBNs (kind, value, edition_key)."""
        await self._save(queries.save_edition_identifiers, rows)

    async def save_contributions(self, edition_keys: Sequence[str], rows: Iterable[Row]) -> None:
        """Replace who is named in these editions."""
        await self._connection.execute(queries.delete_contributions, {"edition_keys": list(edition_keys)})
        await self._save(queries.save_contributions, rows)

    async def save_reviews(self, reviews: Iterable[Review]) -> None:
        """Keep doubts for a person to decide; one that waits already is not repeated."""
        await self._save(
            queries.save_reviews,
            (
                {"kind": each.kind, "subject": each.subject, "other": each.other, "reason": each.reason}
                for each in reviews
            ),
        )

    # Loading

    async def get_checkpoint(self, fingerprint: str) -> int:
        """How many rows of this file are done; 0 when it was never loaded."""
        rows = await self._fetch(queries.get_checkpoint, {"fingerprint": fingerprint})
        return int(rows[0][0]) if rows else 0

    async def save_checkpoint(self, fingerprint: str, file_name: str, rows_done: int) -> None:
        """Remember how far a file has come, in the transaction that stores its rows."""
        parameters = {"fingerprint": fingerprint, "file_name": file_name, "rows_done": rows_done}
        await self._connection.execute(queries.save_checkpoint, parameters)

    # Looking things up

    async def list_top_authors(self, *, offset: int = 0, limit: int = 100) -> list[Author]:
        """Authors by number of works, most first; ties by key, so that everybody gets the same order."""
        return await self._list(Author, queries.list_top_authors, offset=offset, limit=limit)

    async def find_author(self, key: str) -> Author | None:
        """One author by key."""
        return next(iter(await self._list(Author, queries.find_author, key=key)), None)

    async def list_author_names(self, key: str) -> list[str]:
        """Every name the author is known by."""
        return [row[0] for row in await self._fetch(queries.list_author_names, {"key": key})]

    async def list_authors_called(self, name: str) -> list[Author]:
        """Authors who bear a name, identified ones first."""
        return await self._list(Author, queries.list_authors_called, name_key=name_key(name))

    async def list_works_of_author(self, key: str, *, offset: int = 0, limit: int = 100) -> list[WorkSummary]:
        """An author's bibliography by title."""
        return await self._list(
            WorkSummary, queries.list_works_of_author, key=key, offset=offset, limit=limit
        )

    async def find_work(self, key: str) -> Work | None:
        """One work by key."""
        return next(iter(await self._list(Work, queries.find_work, key=key)), None)

    async def list_authors_of_works(self, work_keys: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
        """Work key -> its authors as (key, name), in order."""
        found: dict[str, list[tuple[str, str]]] = {}
        for row in await self._fetch(queries.list_authors_of_works, {"work_keys": list(work_keys)}):
            found.setdefault(row[0], []).append((row[1], row[2]))
        return found

    async def list_editions(self, keys: Sequence[str]) -> list[Edition]:
        """Editions in the order of `keys`."""
        order = {key: place for place, key in enumerate(keys)}
        found = await self._list(Edition, queries.list_editions, keys=list(keys))
        return sorted(found, key=lambda each: order[each.key])

    async def list_editions_of_work(
        self, work_key: str, *, offset: int = 0, limit: int = 100
    ) -> list[Edition]:
        """A work's editions, latest first."""
        parameters = {"work_key": work_key, "offset": offset, "limit": limit}
        return await self.list_editions(await self._keys(queries.list_edition_keys_of_work, parameters))

    async def list_editions_of_isbn(self, isbn: Isbn) -> list[Edition]:
        """The editions in which an ISBN is printed, best first; more than one is ambiguous."""
        return await self.list_editions(
            await self._keys(queries.list_edition_keys_of_isbn, {"isbn": str(isbn)})
        )

    async def search_titles(self, text: str, *, offset: int = 0, limit: int = 10) -> list[Edition]:
        """Editions whose title contains a text, the likest first."""
        wanted = text.lower()
        parameters = {"pattern": _pattern(wanted), "text": wanted, "offset": offset, "limit": limit}
        return await self.list_editions(await self._keys(queries.search_titles, parameters))

    async def search_authors(self, name: str, *, offset: int = 0, limit: int = 10) -> list[str]:
        """Keys of authors one of whose names contains a text, the likest first."""
        wanted = name_key(name)
        parameters = {"pattern": _pattern(wanted), "text": wanted, "offset": offset, "limit": limit}
        return await self._keys(queries.search_authors, parameters)

    async def list_editions_of_authors(
        self, author_keys: Sequence[str], *, offset: int = 0, limit: int = 10
    ) -> list[Edition]:
        """Editions of the works of these authors."""
        parameters = {"author_keys": list(author_keys), "offset": offset, "limit": limit}
        return await self.list_editions(await self._keys(queries.list_edition_keys_of_authors, parameters))

    async def find_cover_urls(self, isbns: Sequence[Isbn]) -> dict[Isbn, str]:
        """Where the covers of these editions are to be had, as far as their records say."""
        rows = await self._fetch(queries.find_cover_urls, {"isbns": [str(each) for each in isbns]})
        return {Isbn(row[0]): row[1] for row in rows}

    async def list_complete(self, isbns: Sequence[Isbn], *, only_covers: bool) -> list[Isbn]:
        """Which of these are of editions with title, contributors, publisher, date, language and a cover's address, or with the last."""
        parameters = {"isbns": [str(each) for each in isbns], "only_covers": only_covers}
        return [Isbn(key) for key in await self._keys(queries.list_complete, parameters)]

    async def has_subject(self, subject: str) -> bool:
        """Whether some edition has this subject, upper and lower case alike; also when that could not be found out in time.

        Within a transaction. There is no index on subjects: in a large catalogue a common one is met at once, and for a rare one
        every edition would be looked at.
        """
        is_there = True
        try:
            async with self._connection.transaction() as search:
                await self._connection.execute(queries.limit_search)
                is_there = bool((await self._fetch(queries.has_subject, {"subject": subject}))[0][0])
                # Nothing was changed but the time-out, which others need not keep to.
                raise Rollback(search)
        except QueryCanceled:
            pass
        return is_there

    async def count(self) -> Counts:
        """How much there is, exactly: the counts are kept, so that asking costs the same however much it is."""
        return (await self._list(Counts, queries.count_catalogue))[0]

    async def _keys(self, query: str, parameters: Row) -> list[str]:
        return [row[0] for row in await self._fetch(query, parameters)]

    async def _list(self, kind: type[Shown], query: str, **parameters: object) -> list[Shown]:
        async with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(query, parameters)
            return await cursor.fetchall()

    async def _fetch(self, query: str, parameters: Row) -> list[tuple[Any, ...]]:
        return await (await self._connection.execute(query, parameters)).fetchall()

    async def _save(self, query: str, rows: Iterable[Row]) -> list[tuple[Any, ...]]:
        """Write many rows in one statement; returns what it returns."""
        rows = list(rows)
        if not rows:
            return []
        cursor = await self._connection.execute(query, {"rows": Jsonb(rows)})
        return await cursor.fetchall() if cursor.description else []


def _pattern(text: str) -> str:
    """A LIKE pattern that finds the text anywhere, its own wildcards taken literally."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"
