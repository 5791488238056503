"""What several sources say of the catalogue's authors, and when each source was last asked about each of them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from alexandria.domain.catalogue import RecordKind, SourceRecord
from alexandria.stores.postgres import Connection, Queries

queries = Queries("authors.sql")


class AskOutcome(StrEnum):
    """What a source answered about an author; a failure is no answer, and is not remembered."""

    FOUND = "found"
    ABSENT = "absent"
    MOVED = "moved"
    """The source has merged the author into another one."""


class AuthorStore:
    """Authors within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find_existing(self, keys: Sequence[str]) -> set[str]:
        """Which of these authors there are."""
        return await self._keys(queries.find_existing_authors, keys)

    async def find_identified(self, keys: Sequence[str]) -> set[str]:
        """Which of these are authors that a provider names by a key."""
        return await self._keys(queries.find_identified_authors, keys)

    async def find_with_entities(self, keys: Sequence[str]) -> set[str]:
        """Of which of these authors a stored entity of Wikidata speaks."""
        return await self._keys(queries.find_authors_with_entities, keys)

    async def find_of_entities(self, entities: Sequence[str]) -> dict[str, set[str]]:
        """Entity of Wikidata -> the authors it is an identifier of."""
        found: dict[str, set[str]] = {}
        for row in await self._fetch(queries.find_authors_of_entities, {"entities": list(entities)}):
            found.setdefault(row[0], set()).add(row[1])
        return found

    async def find_entities(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Author -> the entities of Wikidata that identify the author, sorted; without those who have none."""
        found: dict[str, list[str]] = {}
        for row in await self._fetch(queries.find_entities_of_authors, {"keys": list(keys)}) if keys else ():
            found.setdefault(row[0], []).append(row[1])
        return found

    async def link_entities(self, links: Iterable[tuple[str, str]]) -> None:
        """Say which entity of Wikidata is about an author: pairs of author key and entity."""
        rows = [{"entity": entity, "author_key": key} for key, entity in links]
        if rows:
            await self._connection.execute(queries.save_entity_links, {"rows": Jsonb(rows)})

    async def find_records(self, keys: Sequence[str]) -> dict[str, list[SourceRecord]]:
        """Everything that any provider said of these authors."""
        found: dict[str, list[SourceRecord]] = {}
        for row in await self._fetch(queries.find_records_of_authors, {"keys": list(keys)}) if keys else ():
            record = SourceRecord(row[1], RecordKind(row[2]), row[3], bytes(row[4]), row[5])
            found.setdefault(row[0], []).append(record)
        return found

    async def find_to_ask(self, keys: Sequence[str], provider: str, *, since: datetime) -> list[str]:
        """Which of these authors have a provider's key, and were not asked about at `provider` after `since`; by key."""
        rows = await self._fetch(
            queries.find_authors_to_ask, {"keys": list(keys), "provider": provider, "since": since}
        )
        return [row[0] for row in rows]

    async def list_due(self, providers: Sequence[str], *, since: datetime, limit: int) -> list[str]:
        """Identified authors about whom one of these was not asked after `since`, those with the most works first."""
        parameters = {"providers": list(providers), "since": since, "limit": limit}
        return [row[0] for row in await self._fetch(queries.list_authors_due, parameters)]

    async def save_asks(
        self, provider: str, outcomes: Mapping[str, AskOutcome], *, asked_at: datetime
    ) -> None:
        """Remember what a provider answered about these authors, and when."""
        rows = [{"author_key": key, "outcome": outcome.value} for key, outcome in outcomes.items()]
        if rows:
            await self._connection.execute(
                queries.save_author_asks, {"provider": provider, "asked_at": asked_at, "rows": Jsonb(rows)}
            )

    async def _keys(self, query: str, keys: Sequence[str]) -> set[str]:
        return {row[0] for row in await self._fetch(query, {"keys": list(keys)})} if keys else set()

    async def _fetch(self, query: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return await (await self._connection.execute(query, parameters)).fetchall()
