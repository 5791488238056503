"""Counting what a rehearsal came to: from the database, the provider's own journal, and the world's truth."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from alexandria.domain.catalogue import RecordKind, SourceRecord
from alexandria.domain.targets import Target, TargetKind
from alexandria.enrich import absorb
from alexandria.rehearsal.likeness import compare, count_split
from alexandria.rehearsal.measures import AuthorPages, Day, Figures
from alexandria.rehearsal.scenario import Scenario
from alexandria.sandbox.index import Index
from alexandria.sandbox.truth import EditionKind
from alexandria.sandbox.world import World
from alexandria.stores.postgres import Connection, Database, Queries, in_transaction
from alexandria.stores.quota import QuotaStore

queries = Queries("counting.sql", package="alexandria.rehearsal")

Place = tuple[str, int]
"""A contribution: the ISBN of its edition, and its position there."""


@dataclass(frozen=True)
class Catalogue:
    """How a catalogue groups what it holds."""

    works: Mapping[str, str]
    """ISBN to work."""
    authors: Mapping[Place, str | None]


class _Entry(msgspec.Struct):
    """A line of the sandbox's journal."""

    at: datetime
    units: int


async def count(
    database: Database,
    reference: Database,
    scenario: Scenario,
    *,
    refused_429: int,
    journal: Path,
) -> Figures:
    """Everything. `reference` is as the catalogue was before the rehearsal; the same records are absorbed into it, one after the
    other in one process."""
    world = scenario.invent_world()
    spent = read_journal(journal)
    async with database.connection() as connection:
        items = await _one(connection, queries.count_tier, tier=scenario.tier)
        since = scenario.midnight
        span = {"since": since, "until": since + timedelta(days=1)}
        covers = await _one(connection, queries.count_covers_stored, **span)
        releases = await _one(connection, queries.count_new_releases, **span)
        days = [
            await _day(connection, scenario, day, spent)
            for day in (scenario.day, scenario.day - timedelta(days=1))
        ]
        pages = await _author_pages(connection, Index(world, "low"))
        found = await read_catalogue(connection)
    await absorb_in_order(database, reference)
    async with reference.connection() as connection:
        alone = await read_catalogue(connection)
    truth = _Truth.of(world)
    return Figures(
        refused_429=refused_429,
        authors_ended=items["ended"],
        authors_failed=items["failed"],
        authors_lost=items["lost"],
        covers=covers["covers"],
        new_releases=releases["editions"],
        day=days[0],
        day_before=days[1],
        discrepancies=len(await QuotaStore(database).verify()),
        pages=pages,
        duplicate_works=count_split(found.works, alone.works),
        duplicate_authors=count_split(found.authors, alone.authors),
        works=compare(found.works, truth.works, truth.new),
        works_in_language=compare(found.works, truth.works_in_language, truth.new),
        authors=compare(
            found.authors, truth.authors, frozenset(p for p in truth.authors if p[0] in truth.new)
        ),
    )


def read_journal(file: Path) -> Counter[date]:
    """Units by provider day, whoever spent them."""
    spent: Counter[date] = Counter()
    for line in file.read_bytes().splitlines():
        entry = msgspec.json.decode(line, type=_Entry)
        spent[entry.at.astimezone(UTC).date()] += entry.units
    return spent


async def _day(connection: Connection, scenario: Scenario, day: date, spent: Counter[date]) -> Day:
    row = await _one(connection, queries.read_day, day=day)
    return Day(scenario.safe_limit, spent[day], row["ledger"], row["outside"], row["foreign"])


async def _author_pages(connection: Connection, index: Index) -> dict[str, AuthorPages]:
    """What each name cost and showed; spellings that the provider answers alike are one, and so are the parts of a bibliography."""
    asked = await (await connection.execute(queries.list_authors_asked)).fetchall()
    pages = await (await connection.execute(queries.list_pages_absorbed)).fetchall()
    shown: dict[str, set[str]] = {}
    set_aside: Counter[str] = Counter()
    for query, keys, dropped, _ in pages:
        shown.setdefault(_without_span(query), set()).update(keys)
        set_aside[_without_span(query)] += dropped
    names = {_query_of(name): name for name, _, _ in asked}
    units: Counter[str] = Counter()
    for name, _, cost in asked:
        units[_query_of(name)] += cost
    return {
        query: AuthorPages(
            books=len(index.authors.named(name, whole=True)),
            shown=len(shown.get(query, ())) + set_aside[query],
            units=units[query],
        )
        for query, name in names.items()
    }


def _query_of(name: str) -> str:
    return Target(TargetKind.AUTHOR, "", name).query


def _without_span(query: str) -> str:
    return query.partition("@")[0]


async def read_catalogue(connection: Connection) -> Catalogue:
    """How it groups editions and contributions."""
    editions = await (await connection.execute(queries.list_editions)).fetchall()
    isbns = {edition: isbn for isbn, edition, _ in editions}
    contributions = await (await connection.execute(queries.list_contributions)).fetchall()
    return Catalogue(
        works={isbn: work for isbn, _, work in editions},
        authors={(isbns[key], place): author for key, place, author in contributions if key in isbns},
    )


async def absorb_in_order(database: Database, reference: Database) -> None:
    """Absorb what was harvested once more, answer by answer in the order in which they were, in this one process."""
    async with database.connection() as connection:
        rows = await (await connection.execute(queries.list_records)).fetchall()
        pages = await (await connection.execute(queries.list_pages_absorbed)).fetchall()
        asked = await (await connection.execute(queries.list_authors_asked)).fetchall()
    records = {
        key: SourceRecord("isbndb", RecordKind.EDITION, key, body, retrieved_at)
        for key, body, retrieved_at in rows
    }
    subjects = {_query_of(name): subject for name, subject, _ in reversed(asked)}
    answers: list[tuple[datetime, list[str], str | None]] = [
        (absorbed_at, keys, subjects.get(_without_span(query))) for query, keys, _, absorbed_at in pages
    ]
    shown = {key for _, keys, _ in answers for key in keys}
    lists: dict[datetime, list[str]] = {}
    for key, record in records.items():
        if key not in shown:
            lists.setdefault(record.retrieved_at, []).append(key)
    answers += [(retrieved_at, keys, None) for retrieved_at, keys in lists.items()]
    for _, keys, subject in sorted(answers, key=lambda each: each[0]):
        batch = [records[key] for key in keys if key in records]

        async def bring(
            connection: Connection, batch: list[SourceRecord] = batch, of: str | None = subject
        ) -> None:
            await absorb(connection, batch, bibliography_of=of)

        await in_transaction(reference, bring)


@dataclass(frozen=True)
class _Truth:
    works: Mapping[str, str]
    works_in_language: Mapping[str, str]
    authors: Mapping[Place, str]
    new: frozenset[str]
    """ISBNs that the dump lacks: only a harvest can have brought them."""

    @classmethod
    def of(cls, world: World) -> "_Truth":
        editions = [
            (each.isbn.digits, each, world.truth.works[each.work_key])
            for each in world.truth.editions.values()
            if each.isbn and each.work_key and each.kind is EditionKind.BOOK
        ]
        return cls(
            works={isbn: work.key for isbn, _, work in editions},
            works_in_language={isbn: f"{work.key} {each.language}" for isbn, each, work in editions},
            authors={
                (isbn, place): key
                for isbn, _, work in editions
                for place, key in enumerate(work.author_keys, start=1)
            },
            new=frozenset(isbn for isbn, each, _ in editions if each.is_new),
        )


async def _one(connection: Connection, query: str, **parameters: object) -> dict[str, Any]:
    """The one row of a query, by column."""
    cursor = await connection.execute(query, parameters)
    row = await cursor.fetchone()
    return dict(zip((each.name for each in cursor.description or ()), row or (), strict=True))
