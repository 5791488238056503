"""Sources without paid units: editions from Open Library and Google Books, authors from Open Library and Wikidata.

They are asked first where they can answer. None of them is needed: one that fails, refuses or is switched off is named in the
answer, and the caller goes on with the others (design.md, invariant 5).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypedDict

import structlog

from alexandria.domain import merging
from alexandria.domain.catalogue import Dropped, EditionFacts, RecordKind, SourceRecord
from alexandria.domain.errors import (
    AlexandriaError,
    ConfigurationError,
    ProviderError,
    ProviderUnavailable,
    QuotaDenied,
    RecordNotFound,
)
from alexandria.domain.isbn import Isbn
from alexandria.domain.merging import Claim
from alexandria.domain.names import name_key
from alexandria.domain.quota import Lane
from alexandria.enrich import EDITION_READERS, absorb
from alexandria.providers import google_books, openlibrary, wikidata
from alexandria.providers.google_books import GoogleBooksProvider
from alexandria.providers.isbn_answers import IsbnAnswers
from alexandria.providers.openlibrary_api import OpenLibraryProvider
from alexandria.providers.wikidata import ENTITIES_IN_A_REQUEST, WikidataProvider
from alexandria.stores.authors import AskOutcome, AuthorStore
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.postgres import Connection, Database, in_transaction

log = structlog.get_logger()

MOST_GOOGLE_LOOK_UPS = {Lane.INTERACTIVE: 10, Lane.SCHEDULED: 100, Lane.BULK: 100}
"""ISBNs that one call asks Google about: it answers one a second, and a key has a thousand a day (contracts/google-books.md, 4)."""


@dataclass(frozen=True)
class FreeSources:
    """The sources that may be asked; None for one that is switched off, and in `off` why (source -> reason)."""

    openlibrary: OpenLibraryProvider | None = None
    google_books: GoogleBooksProvider | None = None
    wikidata: WikidataProvider | None = None
    off: Mapping[str, str] = field(default_factory=dict[str, str])
    openlibrary_covers: str | None = None
    """Address of the host that has Open Library's covers; None: they are not wanted."""


@dataclass(frozen=True)
class FreeAnswers:
    """What the free sources said of some ISBNs. Nothing is stored yet: `enrich.absorb` takes the records."""

    records: tuple[SourceRecord, ...] = ()
    """Editions, and the works and authors that they name and the catalogue lacks."""
    found: Mapping[str, tuple[Isbn, ...]] = field(default_factory=dict[str, tuple[Isbn, ...]])
    """Source -> ISBNs of which a record came."""
    complete: frozenset[Isbn] = frozenset()
    """ISBNs that need no paid unit: title, contributors, publisher, date, language and a cover's address are there."""
    absent: Mapping[str, tuple[Isbn, ...]] = field(default_factory=dict[str, tuple[Isbn, ...]])
    """Source -> ISBNs that it definitely does not have."""
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    """Source -> why it, or a part of what it could have been asked, was not asked."""
    failed: Mapping[str, str] = field(default_factory=dict[str, str])
    """Source -> what went wrong; what was answered before that is in `records`."""
    dropped: tuple[Dropped, ...] = ()


async def ask_free(
    sources: FreeSources,
    database: Database,
    isbns: Sequence[Isbn],
    *,
    lane: Lane,
    consumer: str,
    job: str | None = None,
) -> FreeAnswers:
    """Ask Open Library about all of these ISBNs, and Google Books about those that are not complete then.

    Raises StoreUnavailable and nothing else.
    """
    asking = _Asking(sources, database, _Caller(lane=lane, consumer=consumer, job=job))
    wanted = tuple(dict.fromkeys(isbns))
    await asking.ask_openlibrary(wanted)
    await asking.ask_google([isbn for isbn in wanted if not asking.is_complete(isbn)])
    return asking.answers(wanted)


class _Caller(TypedDict):
    """Who asks, as every provider's method takes it."""

    lane: Lane
    consumer: str
    job: str | None


class _Asking:
    """One call of `ask_free`: what is known so far, and which source said what."""

    def __init__(self, sources: FreeSources, database: Database, caller: _Caller) -> None:
        self._sources, self._database, self._caller = sources, database, caller
        self._editions: dict[str, dict[Isbn, SourceRecord]] = {}
        self._related: list[SourceRecord] = []
        self._named_works: set[str] = set()
        """Works of which an author's name is known."""
        self._named_authors: set[str] = set()
        self._absent: dict[str, tuple[Isbn, ...]] = {}
        self._dropped: list[Dropped] = []
        self._skipped = {
            source: reason for source, reason in sources.off.items() if source != wikidata.PROVIDER
        }
        self._failed: dict[str, str] = {}

    async def ask_openlibrary(self, isbns: Sequence[Isbn]) -> None:
        provider = self._sources.openlibrary
        if provider is None or not isbns:
            return
        answers = await provider.editions(isbns, **self._caller)
        facts = {isbn: _facts_of(record) for isbn, record in answers.found.items()}
        works = {key for each in facts.values() for key in each.work_keys}
        async with self._database.connection() as connection:
            known = await CatalogueStore(connection).find_existing_works(sorted(works))
        known |= await self._fetch_works(provider, sorted(works - known))
        # Placed without its work, an edition would make a work of its own that nobody wrote, and stay there.
        placed = {
            isbn for isbn, each in facts.items() if not each.work_keys or not known.isdisjoint(each.work_keys)
        }
        withheld = tuple(isbn for isbn in answers.found if isbn not in placed)
        self._dropped += [Dropped(str(isbn), "its work can't be had at the moment") for isbn in withheld]
        await self._name_authors(
            provider, known, {key for isbn in placed for key in _authors_of(facts[isbn])}
        )
        self._note(
            openlibrary.PROVIDER,
            replace(answers, found={isbn: answers.found[isbn] for isbn in answers.found if isbn in placed}),
        )

    async def _fetch_works(self, provider: OpenLibraryProvider, keys: Sequence[str]) -> set[str]:
        """Works that the catalogue lacks; returns those that came."""
        try:
            works = await provider.works(keys, **self._caller)
        except (ProviderError, QuotaDenied, ConfigurationError) as error:
            self._note_failure(openlibrary.PROVIDER, error)
            return set()
        self._related += works.records
        return {record.key.rpartition("/")[2] for record in works.records}

    async def _name_authors(
        self, provider: OpenLibraryProvider, works: Collection[str], keys: Collection[str]
    ) -> None:
        """Fetch the authors that the catalogue lacks, and note which works and authors have a name then."""
        authors_of = {
            facts.key: facts.author_keys
            for facts in (
                openlibrary.work_facts(record).facts
                for record in self._related
                if record.kind is RecordKind.WORK
            )
        }
        wanted = set(keys) | {author for each in authors_of.values() for author in each}
        async with self._database.connection() as connection:
            known = await AuthorStore(connection).find_existing(sorted(wanted))
            written = await CatalogueStore(connection).list_authors_of_works(sorted(works))
        try:
            missing = sorted(wanted - known)
            authors = await provider.authors(missing, **self._caller)
        except (ProviderError, QuotaDenied, ConfigurationError) as error:
            self._note_failure(openlibrary.PROVIDER, error)
        else:
            self._related += authors.records
            said = (openlibrary.author_facts(record).facts for record in authors.records)
            known |= {each.key for each in said if name_key(each.name)}
        self._named_authors = known
        self._named_works = {key for key, people in written.items() if people}
        self._named_works |= {key for key, people in authors_of.items() if not known.isdisjoint(people)}

    async def ask_google(self, isbns: Sequence[Isbn]) -> None:
        provider = self._sources.google_books
        if provider is None:
            return
        most = MOST_GOOGLE_LOOK_UPS[self._caller["lane"]]
        asked, left = isbns[:most], len(isbns[most:])
        if not asked:
            self._skipped[google_books.PROVIDER] = "nothing was missing any more"
            return
        if left:
            self._skipped[google_books.PROVIDER] = f"{left:,} ISBNs: it is asked about {most} at a time"
        answers = await provider.editions(asked, **self._caller)
        self._note(google_books.PROVIDER, answers)

    def _note(self, source: str, answers: IsbnAnswers) -> None:
        self._editions[source] = dict(answers.found)
        self._absent[source] = answers.absent
        self._dropped += answers.dropped
        if answers.failure:
            self._note_failure(source, answers.failure)

    def _note_failure(self, source: str, error: AlexandriaError) -> None:
        # A source whose limit is reached was not asked; that is no failure.
        place = self._skipped if isinstance(error, QuotaDenied) else self._failed
        place[source] = str(error)
        log.warning(
            "source.not_answered", source=source, reason=str(error), consumer=self._caller["consumer"]
        )

    def is_complete(self, isbn: Isbn) -> bool:
        """Whether the records together say all that a paid look-up would be asked for."""
        records = [found[isbn] for found in self._editions.values() if isbn in found]
        if not records:
            return False
        claims = [Claim(each.provider, each.retrieved_at, _facts_of(each)) for each in records]
        facts = merging.merge(claims).facts
        return bool(
            facts.title
            and self._has_contributors([each.facts for each in claims])
            and facts.publisher
            and facts.published
            and facts.language
            and facts.cover_url
        )

    def _has_contributors(self, said: Iterable[EditionFacts]) -> bool:
        return any(
            (contribution.role is None and contribution.name)
            or contribution.author_key in self._named_authors
            for facts in said
            for contribution in facts.contributions
        ) or any(key in self._named_works for facts in said for key in facts.work_keys)

    def answers(self, isbns: Sequence[Isbn]) -> FreeAnswers:
        editions = (record for found in self._editions.values() for record in found.values())
        return FreeAnswers(
            records=tuple(dict.fromkeys([*self._related, *editions])),
            found={source: tuple(found) for source, found in self._editions.items()},
            complete=frozenset(isbn for isbn in isbns if self.is_complete(isbn)),
            absent=self._absent,
            skipped=self._skipped,
            failed=self._failed,
            dropped=tuple(self._dropped),
        )


def _facts_of(record: SourceRecord) -> EditionFacts:
    return EDITION_READERS[record.provider](record).facts


def _authors_of(facts: EditionFacts) -> set[str]:
    return {each.author_key for each in facts.contributions if each.author_key}


# Authors


@dataclass
class EnrichedAuthors:
    """What asking about authors came to; the numbers are by source."""

    found: dict[str, int] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)
    fresh: dict[str, int] = field(default_factory=dict)
    """Not asked: asked within the freshness, or known by a name only."""
    moved: dict[str, str] = field(default_factory=dict)
    """Authors that Open Library has merged into others: key -> key. The catalogue keeps both for a person to decide."""
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    denied: QuotaDenied | None = None
    """Why one of the sources may not be asked now, if that is so."""
    set_aside: list[Dropped] = field(default_factory=list)

    def count(self, source: str, outcomes: Iterable[AskOutcome]) -> None:
        """Add some outcomes of a source."""
        for outcome in outcomes:
            numbers = self.absent if outcome is AskOutcome.ABSENT else self.found
            numbers[source] = numbers.get(source, 0) + 1


async def enrich_authors(
    sources: FreeSources,
    database: Database,
    author_keys: Sequence[str],
    *,
    lane: Lane,
    consumer: str,
    job: str | None = None,
    now: datetime,
    freshness: timedelta,
) -> EnrichedAuthors:
    """Bring what Open Library and then Wikidata know of authors with an Open Library key: names, years, identifiers.

    Each answer is stored, with the time, before the next is asked for; nobody is asked again within `freshness`. Raises
    StoreUnavailable and nothing else.
    """
    enriching = _EnrichingAuthors(sources, database, _Caller(lane=lane, consumer=consumer, job=job), now)
    await enriching.ask_openlibrary(author_keys, since=now - freshness)
    # Its `remote_ids` are the surest way to an entity, so Wikidata comes second (contracts/wikidata.md, section 2).
    await enriching.ask_wikidata(author_keys, since=now - freshness)
    return enriching.result


class _EnrichingAuthors:
    def __init__(self, sources: FreeSources, database: Database, caller: _Caller, now: datetime) -> None:
        self._sources, self._database, self._caller, self._now = sources, database, caller, now
        self.result = EnrichedAuthors(
            skipped={
                source: reason
                for source, reason in sources.off.items()
                if source in {openlibrary.PROVIDER, wikidata.PROVIDER}
            }
        )

    async def ask_openlibrary(self, keys: Sequence[str], *, since: datetime) -> None:
        """One document for each author: only it has the identifiers elsewhere."""
        provider = self._sources.openlibrary
        if provider is None:
            return
        for key in await self._due(keys, openlibrary.PROVIDER, since):
            records: list[SourceRecord] = []
            try:
                answer = await provider.author(key, **self._caller)
            except RecordNotFound:
                outcome = AskOutcome.ABSENT
            except (ProviderError, QuotaDenied, ConfigurationError) as error:
                self._note_failure(openlibrary.PROVIDER, error)
                if isinstance(error, ProviderUnavailable):
                    continue  # ends: a source that is down is denied by the coordinator's breaker after a few of these
                return
            else:
                outcome = AskOutcome.FOUND if answer.key == key else AskOutcome.MOVED
                if outcome is AskOutcome.FOUND:
                    records.append(answer.record)
                else:
                    self.result.moved[key] = answer.key
            await self._store(openlibrary.PROVIDER, records, {key: outcome})

    async def ask_wikidata(self, keys: Sequence[str], *, since: datetime) -> None:
        """Entities by the ids that Open Library gives; who has none is searched by Open Library's key."""
        provider = self._sources.wikidata
        if provider is None:
            return
        due = await self._due(keys, wikidata.PROVIDER, since)
        for at in range(0, len(due), ENTITIES_IN_A_REQUEST):
            try:
                await self._ask_entities(provider, due[at : at + ENTITIES_IN_A_REQUEST])
            except (ProviderError, QuotaDenied, ConfigurationError) as error:
                self._note_failure(wikidata.PROVIDER, error)
                return

    async def _ask_entities(self, provider: WikidataProvider, keys: Sequence[str]) -> None:
        async with self._database.connection() as connection:
            known = await AuthorStore(connection).find_entities(keys)
        # Remote ids are typed in by people: what is no entity's id leads nowhere.
        entities = {key: [each for each in known.get(key, []) if wikidata.is_entity_id(each)] for key in keys}
        searched = [key for key in keys if not entities[key]]
        found = await provider.find_entities(searched, **self._caller)
        wanted = [*found, *(each for key in keys for each in entities[key])]
        answers = await provider.entities(wanted, **self._caller)
        self.result.set_aside += answers.dropped
        unclear = set(answers.unclear)
        came = {record.key for record in answers.records}
        named = {
            value
            for record in answers.records
            for kind, value in wikidata.author_facts(record).facts.identifiers
            if kind == openlibrary.PROVIDER
        }
        outcomes = {
            key: AskOutcome.FOUND if came.intersection(entities[key]) or key in named else AskOutcome.ABSENT
            for key in keys
            # What was answered badly is asked again.
            if unclear.isdisjoint(entities[key]) and (entities[key] or unclear.isdisjoint(found))
        }
        await self._store(wikidata.PROVIDER, answers.records, outcomes)

    async def _due(self, keys: Sequence[str], source: str, since: datetime) -> list[str]:
        wanted = sorted(set(keys))
        async with self._database.connection() as connection:
            due = await AuthorStore(connection).find_to_ask(wanted, source, since=since)
        self.result.fresh[source] = len(wanted) - len(due)
        return due

    async def _store(
        self, source: str, records: Sequence[SourceRecord], outcomes: Mapping[str, AskOutcome]
    ) -> None:
        set_aside: list[Dropped] = []

        async def bring(connection: Connection) -> None:
            nonlocal set_aside
            set_aside = (await absorb(connection, records)).set_aside
            await AuthorStore(connection).save_asks(source, outcomes, asked_at=self._now)

        await in_transaction(self._database, bring)
        self.result.set_aside += set_aside
        self.result.count(source, outcomes.values())

    def _note_failure(self, source: str, error: AlexandriaError) -> None:
        place = self.result.skipped if isinstance(error, QuotaDenied) else self.result.failed
        place[source] = str(error)
        if isinstance(error, QuotaDenied):
            self.result.denied = error
        log.warning(
            "source.not_answered", source=source, reason=str(error), consumer=self._caller["consumer"]
        )
