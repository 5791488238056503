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

    Who was asked about is remembered, and counted in the item's `total`. Raises ProviderUnavailable when a source fails and QuotaDenied
    when it may not be asked now, so that the rest is asked about later.
    """
    asked = [
        name
        for name, source in ((openlibrary.PROVIDER, free.openlibrary), (wikidata.PROVIDER, free.wikidata))
        if source is not None
    ]
    most = int(turn.run.parameters["people"])
    done = turn.item.total or 0
    since = turn.run.fresh_since
    # Ends: whoever was asked about is not due any more, and where nobody was, that raises.
    while asked and done < most:
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
            store = AuthorStore(connection)
            open_still = {
                key for source in asked for key in await store.find_to_ask(due, source, since=since)
            }
            remembered = len(due) - len(open_still)
            done += remembered
            goes_on = await HarvestStore(connection).advance_item(
                turn.item,
                total=done,
                editions_found=0,
                editions_new=0,
                works_new=0,
                covers_wanted=0,
                sources={
                    **dict.fromkeys((*came.found, *came.absent), "answered"),
                    **{source: f"skipped: {reason}" for source, reason in came.skipped.items()},
                    **{source: f"failed: {reason}" for source, reason in came.failed.items()},
                },
                is_progress=remembered > 0,
                now=turn.clock.now(),
            )
        if came.denied is not None:
            raise came.denied
        if came.failed or not remembered:
            source, reason = next(iter(came.failed.items()), (asked[0], "told nothing about anybody"))
            raise ProviderUnavailable(source, reason)
        if not goes_on:
            return None
    return ItemState.DONE if done else ItemState.EMPTY
