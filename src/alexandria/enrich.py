"""Absorbing source records: what providers said becomes works, editions and authors.

Everything here happens within the caller's transaction and can be done again: the same records give the same catalogue.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alexandria import meters
from alexandria.claiming import Claiming, may_lead
from alexandria.domain import matching, merging, merging_authors
from alexandria.domain.catalogue import (
    AuthorFacts,
    Dropped,
    EditionFacts,
    Reading,
    RecordKind,
    SourceRecord,
    WorkFacts,
)
from alexandria.domain.covers import CoverWish
from alexandria.domain.matching import Known, Matcher, Person, Placement, Review
from alexandria.domain.merging import Claim, Merged
from alexandria.domain.merging_authors import AuthorClaim
from alexandria.domain.names import name_key
from alexandria.domain.titles import title_key
from alexandria.providers import google_books_records, isbndb, openlibrary, wikidata_entities
from alexandria.stores.authors import AuthorStore
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.covers import CoverStore
from alexandria.stores.leads import LeadStore
from alexandria.stores.postgres import Connection

EDITION_READERS: Mapping[str, Callable[[SourceRecord], Reading[EditionFacts]]] = {
    "isbndb": isbndb.edition_facts,
    "openlibrary": openlibrary.edition_facts,
    "google-books": google_books_records.edition_facts,
}
"""How each provider's records of editions are read: a new provider is one line here."""


@dataclass
class Absorbed:
    """What a batch of records brought. Editions are counted once, however many records speak of them."""

    editions_found: int = 0
    editions_new: int = 0
    works_new: int = 0
    authors_new: int = 0
    covers_wanted: int = 0
    records_new: int = 0
    records_changed: int = 0
    set_aside: list[Dropped] = field(default_factory=list)


async def absorb(
    connection: Connection,
    records: Sequence[SourceRecord],
    *,
    bibliography_of: str | None = None,
    openlibrary_covers: str | None = None,
) -> Absorbed:
    """Store records of any kind and let the catalogue follow, authors first, then works, then editions.

    `bibliography_of` is the key of the author whose bibliography was asked for, if one was. `openlibrary_covers` is the address of
    Open Library's covers host, for editions that somebody asked for; without it, as for a dump, its covers are not wanted: it asks
    not to be used for covers in bulk (contracts/openlibrary.md, section 4).
    """
    with meters.ABSORB_SECONDS.time():
        absorbed = await _absorb(connection, records, bibliography_of, openlibrary_covers)
    meters.RECORDS.inc(len(records))
    meters.EDITIONS.inc(absorbed.editions_new)
    meters.WORKS.inc(absorbed.works_new)
    return absorbed


async def _absorb(
    connection: Connection,
    records: Sequence[SourceRecord],
    bibliography_of: str | None,
    openlibrary_covers: str | None,
) -> Absorbed:
    absorbed = Absorbed()
    store = CatalogueStore(connection)
    changed = await store.save_records(records)
    absorbed.records_new = sum(changed.values())
    absorbed.records_changed = len(changed) - absorbed.records_new
    by_kind = {kind: [each for each in records if each.kind is kind] for kind in RecordKind}
    await _absorb_authors(store, AuthorStore(connection), by_kind[RecordKind.AUTHOR], absorbed)
    await _absorb_works(store, by_kind[RecordKind.WORK], absorbed)
    for provider in EDITION_READERS:
        said = [each for each in by_kind[RecordKind.EDITION] if each.provider == provider]
        if said:
            covers, leads = CoverStore(connection), LeadStore(connection)
            editions = _Editions(store, covers, leads, absorbed, bibliography_of, openlibrary_covers)
            await editions.absorb(provider, said)
    return absorbed


async def _absorb_authors(
    store: CatalogueStore, authors: AuthorStore, records: Sequence[SourceRecord], absorbed: Absorbed
) -> None:
    """Open Library's authors as they are; merged with what Wikidata says where it says something."""
    entities = [each for each in records if each.provider == wikidata_entities.PROVIDER]
    facts: list[AuthorFacts] = []
    shown: list[AuthorFacts] = []
    for record in records:
        if record.provider != wikidata_entities.PROVIDER:
            reading = openlibrary.author_facts(record)
            absorbed.set_aside += reading.dropped
            if name_key(reading.facts.name):
                (shown if _is_of_search(record) else facts).append(reading.facts)
    # What the search shows is less than what a document said, so it only fills a gap.
    known = await authors.find_existing([each.key for each in shown])
    facts += [each for each in shown if each.key not in known]
    joint = await authors.find_with_entities([each.key for each in facts])
    new = await store.save_identified_authors([each for each in facts if each.key not in joint])
    absorbed.authors_new += len(new)
    joint |= await _link_entities(authors, entities, absorbed) if entities else set()
    await _merge_authors(store, await authors.find_records(sorted(joint)))


def _is_of_search(record: SourceRecord) -> bool:
    return record.key.startswith("/search/")


async def _link_entities(
    authors: AuthorStore, entities: Sequence[SourceRecord], absorbed: Absorbed
) -> set[str]:
    """Which authors these entities of Wikidata are about, by identifiers alone; an author has one entity only."""
    linked = await authors.find_of_entities([each.key for each in entities])
    readings = [wikidata_entities.author_facts(each) for each in entities]
    named = {key for each in readings for kind, key in each.facts.identifiers if kind == "openlibrary"}
    known = await authors.find_identified(sorted(named))
    taken = await authors.find_entities(sorted(known))
    found: set[str] = set()
    for record, reading in zip(entities, readings, strict=True):
        absorbed.set_aside += reading.dropped
        keys = {key for kind, key in reading.facts.identifiers if kind == "openlibrary" and key in known}
        fresh = {key for key in keys if not taken.get(key)}
        await authors.link_entities((key, record.key) for key in sorted(fresh))
        taken |= {key: [record.key] for key in fresh}
        meant = fresh | linked.get(record.key, set())
        if not meant:
            absorbed.set_aside.append(Dropped(record.key, "no author of the catalogue bears its identifiers"))
        found |= meant
    return found


async def _merge_authors(store: CatalogueStore, said: Mapping[str, Sequence[SourceRecord]]) -> None:
    """Authors of whom several sources speak; what contradicts Open Library is left out and waits for a person (hard-cases.md, C9)."""
    merged, reviews = [], []
    for key, records in sorted(said.items()):
        documents = [each for each in records if each.provider == openlibrary.PROVIDER]
        # The document says all that the search shows, and more.
        best = [each for each in documents if not _is_of_search(each)] or documents
        claims = [AuthorClaim(each.provider, openlibrary.author_facts(each).facts) for each in best]
        if not any(name_key(each.facts.name) for each in claims):
            continue
        entities = [each for each in records if each.provider == wikidata_entities.PROVIDER]
        claims += [
            AuthorClaim(each.provider, wikidata_entities.author_facts(each).facts) for each in entities
        ]
        author = merging_authors.merge(key, claims)
        merged.append(author.facts)
        reviews += [Review("author_conflict", key, other, reason) for other, reason in author.conflicts]
    await store.save_identified_authors(merged)
    await store.save_reviews(reviews)


async def _absorb_works(store: CatalogueStore, records: Sequence[SourceRecord], absorbed: Absorbed) -> None:
    facts: list[WorkFacts] = []
    shown = [each.key.rpartition("/")[2] for each in records if _is_of_search(each)]
    known = await store.find_existing_works(shown)
    for record in records:
        reading = openlibrary.work_facts(record)
        absorbed.set_aside += reading.dropped
        # What the search shows is less than what a document said, so it only fills a gap.
        if not (_is_of_search(record) and reading.facts.key in known):
            facts.append(reading.facts)
    absorbed.works_new += len(await store.save_identified_works(facts))


class _Editions:
    """The steps from one provider's records of editions to the catalogue, in order."""

    def __init__(
        self,
        store: CatalogueStore,
        covers: CoverStore,
        leads: LeadStore,
        absorbed: Absorbed,
        bibliography_of: str | None,
        openlibrary_covers: str | None,
    ) -> None:
        self._store = store
        self._covers = covers
        self._leads = leads
        self._absorbed = absorbed
        self._openlibrary_covers = openlibrary_covers
        self._known = Known()
        self._matcher = Matcher(self._known, bibliography_of=bibliography_of)
        self._claiming = Claiming(store, leads, self._matcher)
        self._readings: dict[SourceRecord, Reading[EditionFacts]] = {}

    async def absorb(self, provider: str, records: Sequence[SourceRecord]) -> None:
        readings = self._read(provider, records)
        await self._learn(provider, readings)
        placements = {record.key: self._matcher.place(record, facts) for record, facts in readings}
        await self._store.link_records((provider, key, each.edition_key) for key, each in placements.items())
        merged = await self._merge({each.edition_key for each in placements.values()})
        persons = await self._resolve(merged)
        works = await self._claiming.save(placements.values(), merged, persons)
        await self._save_editions(placements.values(), merged, persons, works)
        await self._claiming.merge_twins()
        self._absorbed.works_new += self._claiming.works_new
        await self._store.save_reviews(self._matcher.reviews)
        await self._want_covers(merged, max(record.retrieved_at for record in records))

    def _read(
        self, provider: str, records: Sequence[SourceRecord]
    ) -> list[tuple[SourceRecord, EditionFacts]]:
        readings = []
        for record in records:
            reading = self._readings[record] = EDITION_READERS[provider](record)
            self._absorbed.set_aside += reading.dropped
            if not reading.facts.title:
                self._absorbed.set_aside.append(Dropped(record.key, "no title"))
            elif provider != "openlibrary" and not matching.identities(reading.facts):
                self._absorbed.set_aside.append(Dropped(record.key, "no ISBN that may identify an edition"))
            else:
                readings.append((record, reading.facts))
        return readings

    async def _learn(self, provider: str, readings: Sequence[tuple[SourceRecord, EditionFacts]]) -> None:
        known, store = self._known, self._store
        isbns = sorted({isbn for _, facts in readings for isbn in matching.identities(facts)})
        await store.learn_editions(known, provider, [record.key for record, _ in readings], isbns)
        names = {each.name for _, facts in readings for each in facts.contributions}
        await store.learn_authors(known, names)
        handles = sorted(
            {handle for name in names for handle in matching.handles_of(name, known)}
            | {each.author_key for _, facts in readings for each in facts.contributions if each.author_key}
            | {matching.named_author_key(name) for name in names}
        )
        titles = sorted({title_key(facts.title, facts.subtitle) for _, facts in readings if facts.title})
        await store.learn_works(
            known, handles, titles, sorted({key for _, facts in readings for key in facts.work_keys})
        )
        leading = [each for _, each in readings if may_lead(each)]
        await self._leads.learn(
            known.leads,
            handles,
            own={isbn for each in leading for isbn in matching.identities(each)},
            related={isbn for each in leading for isbn in each.related},
            languages={each.language for each in leading if each.language},
        )

    async def _merge(self, edition_keys: Iterable[str]) -> dict[str, Merged]:
        records = await self._store.find_records_of_editions(sorted(edition_keys))
        return {key: merging.merge([self._claim(each) for each in said]) for key, said in records.items()}

    def _claim(self, record: SourceRecord) -> Claim:
        """A record's facts; those of the batch were read before."""
        reading = self._readings.get(record) or EDITION_READERS[record.provider](record)
        return Claim(record.provider, record.retrieved_at, reading.facts)

    async def _resolve(self, merged: Mapping[str, Merged]) -> dict[str, tuple[Person, ...]]:
        """Who the people of each merged edition are; authors known by a name only are written down."""
        await self._store.learn_authors(
            self._known, {c.name for each in merged.values() for c in each.facts.contributions}
        )
        persons = {key: self._matcher.resolve(each.facts) for key, each in merged.items()}
        named = {
            person.author_key: person.contribution.name
            for people in persons.values()
            for person in people
            if person.author_key and person.author_key.startswith("named-")
        }
        self._absorbed.authors_new += len(await self._store.save_named_authors(named))
        return persons

    async def _save_editions(
        self,
        placements: Iterable[Placement],
        merged: Mapping[str, Merged],
        persons: Mapping[str, tuple[Person, ...]],
        works: Mapping[str, str],
    ) -> None:
        saved = await self._store.save_editions(
            _edition_row(key, works[key], each) for key, each in merged.items()
        )
        self._absorbed.editions_found += len(merged)
        self._absorbed.editions_new += sum(saved.values())
        first = {(isbn, each.edition_key) for each in placements for isbn in each.first_isbns}
        every = {(isbn, key) for key, each in merged.items() for isbn in matching.identities(each.facts)}
        await self._store.save_isbns(sorted(first), sorted(every - first))
        await self._store.save_edition_identifiers(
            {"kind": kind, "value": value, "edition_key": key}
            for key, each in merged.items()
            for kind, value in each.facts.identifiers
        )
        await self._store.save_contributions(
            sorted(merged),
            (
                {
                    "edition_key": key,
                    "position": position,
                    "statement": person.contribution.statement,
                    "name": person.contribution.name,
                    "role": person.contribution.role,
                    "author_key": person.author_key,
                    "evidence": person.evidence,
                }
                for key, people in persons.items()
                for position, person in enumerate(people, start=1)
            ),
        )

    async def _want_covers(self, merged: Mapping[str, Merged], found_at: datetime) -> None:
        wishes = {
            isbns[0]: CoverWish(isbns[0], url, found_at)
            for each in merged.values()
            if each.facts.is_book and (url := self._cover_url(each))
            if (isbns := matching.identities(each.facts))
        }
        self._absorbed.covers_wanted += await self._covers.want([wishes[isbn] for isbn in sorted(wishes)])

    def _cover_url(self, merged: Merged) -> str | None:
        url = merged.facts.cover_url
        if not url or merged.provenance["cover_url"] != openlibrary.PROVIDER:
            return url
        if self._openlibrary_covers is None:
            return None
        return self._openlibrary_covers.rstrip("/") + url.removeprefix(openlibrary.COVERS_HOST)


def _edition_row(key: str, work_key: str, merged: Merged) -> dict[str, object]:
    facts = merged.facts
    return {
        "key": key,
        "work_key": work_key,
        "title": facts.title,
        "subtitle": facts.subtitle,
        "publisher": facts.publisher,
        "published": str(facts.published) if facts.published else None,
        "language": facts.language,
        "pages": facts.pages,
        "binding": facts.binding,
        "synopsis": facts.synopsis,
        "subjects": list(facts.subjects),
        "cover_url": facts.cover_url,
        "is_book": facts.is_book,
        "provenance": dict(merged.provenance),
    }
