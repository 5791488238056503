"""Asking sources without paid units for an item's ISBNs, before a unit is paid."""

from collections.abc import Collection, Sequence

from alexandria.domain.catalogue import RecordKind
from alexandria.domain.isbn import Isbn
from alexandria.domain.isbn_outcomes import IsbnOutcome, Outcomes
from alexandria.domain.plans import Kind, consumer_of
from alexandria.enrich import EDITION_READERS, absorb
from alexandria.harvest_turns import Turn
from alexandria.providers import google_books, openlibrary
from alexandria.sources import FreeAnswers, FreeSources, ask_free
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.isbn_answers import IsbnAnswerStore
from alexandria.stores.postgres import Connection, in_transaction

_SOURCES = (openlibrary.PROVIDER, google_books.PROVIDER)


async def ask_free_sources(turn: Turn, free: FreeSources, isbns: Sequence[Isbn]) -> Outcomes:
    """Ask about those that no free source was asked about not long ago; returns outcomes of those that need no paid unit.

    That is an edition that a free source knows and of which the catalogue then has title, contributors, publisher, date, language and
    a cover's address; for a run over covers, the latter. Raises StoreUnavailable and nothing else.
    """
    freshness, now = turn.run.created_at - turn.run.fresh_since, turn.clock.now()
    # The one that is asked about all of them decides: the other is asked about what it leaves open.
    first = openlibrary.PROVIDER if free.openlibrary is not None else google_books.PROVIDER
    async with turn.database.connection() as connection:
        standing = {
            isbn: answer
            for isbn, answer in (await IsbnAnswerStore(connection).find(first, isbns)).items()
            if answer.asks_again_at(freshness) > now
            and (not turn.asks_anew or answer.asked_at > turn.run.created_at)
        }
    asked = await ask_free(
        free,
        turn.database,
        [each for each in isbns if each not in standing],
        lane=turn.lane,
        consumer=consumer_of(turn.run.kind),
        job=turn.free_job,
    )
    changed = await _store(turn, asked)
    found = {isbn for known in asked.found.values() for isbn in known}
    found |= {isbn for isbn, answer in standing.items() if not answer.misses}
    return await _absorb(turn, free, asked, found, changed)


async def list_known_elsewhere(connection: Connection, isbns: Collection[Isbn]) -> set[Isbn]:
    """Which of these a free source knew when it was last asked: whatever the paid one says, they are not unknown."""
    store = IsbnAnswerStore(connection)
    return {
        isbn
        for source in _SOURCES
        for isbn, answer in (await store.find(source, isbns)).items()
        if not answer.misses
    }


async def _store(turn: Turn, asked: FreeAnswers) -> set[str]:
    """Keep what came, and what was asked, before anything else happens to it; returns ISBNs about which something new was said."""

    async def store(connection: Connection) -> set[str]:
        changed = await CatalogueStore(connection).save_records(asked.records)
        for source in _SOURCES:
            await IsbnAnswerStore(connection).save(
                source,
                found=sorted(map(str, asked.found.get(source, ()))),
                absent=sorted(map(str, asked.absent.get(source, ()))),
                asked_at=turn.clock.now(),
            )
        return set(changed)

    keys = await in_transaction(turn.database, store)
    return {
        str(isbn)
        for record in asked.records
        if record.kind is RecordKind.EDITION and record.key in keys
        for isbn in EDITION_READERS[record.provider](record).facts.isbns
    }


async def _absorb(
    turn: Turn, free: FreeSources, asked: FreeAnswers, found: set[Isbn], changed: set[str]
) -> Outcomes:
    """Bring records into the catalogue and write down what came of the ISBNs that need no more, in one transaction."""
    sources = dict.fromkeys((*asked.found, *asked.absent), "answered")
    sources |= {source: f"skipped: {reason}" for source, reason in asked.skipped.items()}
    sources |= {source: f"failed: {reason}" for source, reason in asked.failed.items()}

    async def bring(connection: Connection) -> Outcomes:
        gained = await absorb(connection, asked.records, openlibrary_covers=free.openlibrary_covers)
        complete = await CatalogueStore(connection).list_complete(
            sorted(found), only_covers=turn.run.kind == Kind.COVERS
        )
        outcomes: Outcomes = {
            str(isbn): (
                IsbnOutcome.ENRICHED if str(isbn) in changed else IsbnOutcome.FOUND,
                "known by a source that costs no unit",
            )
            for isbn in complete
        }
        await HarvestStore(connection).advance_item(
            turn.item,
            total=None,
            editions_found=gained.editions_found,
            editions_new=gained.editions_new,
            works_new=gained.works_new,
            covers_wanted=gained.covers_wanted,
            outcomes=outcomes,
            sources=sources,
            is_progress=bool(outcomes),
            now=turn.clock.now(),
        )
        return outcomes

    return await in_transaction(turn.database, bring)
