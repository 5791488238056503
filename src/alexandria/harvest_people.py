"""Harvesting people: what Open Library and Wikidata know of the catalogue's authors, for no unit."""

from alexandria.domain.errors import ProviderUnavailable
from alexandria.domain.plans import consumer_of
from alexandria.harvest_turns import Turn
from alexandria.providers import openlibrary, wikidata
from alexandria.sources import FreeSources, enrich_authors
from alexandria.stores.authors import AuthorStore
from alexandria.stores.harvests import HarvestStore, ItemState

AT_ONCE = 50
"""Authors between two looks at whether to stop: a request of Wikidata's takes so many."""


async def take_people(turn: Turn, free: FreeSources) -> ItemState | None:
    """Ask about authors who are due, those with the most works first, until as many were asked about as the item wants.

    Raises ProviderUnavailable when a source fails, so that the rest is asked about later: who was asked about is remembered.
    """
    asked = [
        name
        for name, source in ((openlibrary.PROVIDER, free.openlibrary), (wikidata.PROVIDER, free.wikidata))
        if source is not None
    ]
    most = int(turn.run.parameters["people"])
    done = turn.item.editions_found
    since = turn.run.fresh_since
    while asked and done < most:  # ends: whoever was asked about is not due any more, and a failure raises
        if turn.stopping():
            return None
        async with turn.database.connection() as connection:
            due = await AuthorStore(connection).list_due(asked, since=since, limit=min(AT_ONCE, most - done))
        if not due:
            break
        came = await enrich_authors(
            free,
            turn.database,
            due,
            lane=turn.lane,
            consumer=consumer_of(turn.run.kind),
            job=turn.free_job,
            now=turn.clock.now(),
            freshness=turn.clock.now() - since,
        )
        async with turn.database.transaction() as connection:
            goes_on = await HarvestStore(connection).advance_item(
                turn.item,
                total=None,
                editions_found=len(due),
                editions_new=0,
                works_new=0,
                covers_wanted=0,
                sources={
                    **{source: f"{count:,} found" for source, count in came.found.items()},
                    **{source: f"skipped: {reason}" for source, reason in came.skipped.items()},
                },
                now=turn.clock.now(),
            )
        done += len(due)
        if came.failed:
            source, reason = next(iter(came.failed.items()))
            raise ProviderUnavailable(source, reason)
        if not goes_on:
            return None
    return ItemState.DONE if done else ItemState.EMPTY
