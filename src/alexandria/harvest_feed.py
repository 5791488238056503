"""Harvesting the update feed: for no units it tells which ISBNs changed; those that we hold are then asked for again."""

from datetime import datetime, timedelta

import structlog

from alexandria.domain.errors import FeedNotGranted, ProviderRefused
from alexandria.domain.isbn import Isbn
from alexandria.domain.plans import consumer_of
from alexandria.domain.targets import isbn_targets
from alexandria.harvest_turns import Turn
from alexandria.planning import FEED_NOT_GRANTED
from alexandria.providers.isbndb import PROVIDER, IsbndbProvider
from alexandria.stores.harvests import HarvestStore, ItemState
from alexandria.stores.isbn_answers import IsbnAnswerStore
from alexandria.stores.postgres import Connection, in_transaction

log = structlog.get_logger()

HISTORY = timedelta(days=7)
"""How far back the feed reaches; what changed before has to be found by age (contracts/isbndb.md, section 7)."""

_OVERLAP = timedelta(days=1)
"""The feed is asked by days, and whose day begins when is not certain."""

MOST_FEED_PAGES = 2000
"""Of 1,000 rows: far more than the provider changes in a week, so that a cursor that never ends is noticed."""


async def take_feed(turn: Turn, isbndb: IsbndbProvider) -> ItemState | None:
    """Read the feed since the last run that read it; ISBNs of ours that changed since we asked become items of this run.

    Nothing of it is kept until it was read to its end: reading costs no unit. Raises what the provider raises, and FeedNotGranted
    when the key's plan lacks the feed: the key is fine then (contracts/isbndb.md, section 7).
    """
    now = turn.clock.now()
    async with turn.database.connection() as connection:
        last = await HarvestStore(connection).find_last_feed(before=turn.run.created_at)
    # A day that began before the history does may be refused, or answered with nothing at all.
    oldest = (now - HISTORY).date() + timedelta(days=1)
    since = max((last - _OVERLAP).date(), oldest) if last else oldest
    outdated: dict[Isbn, None] = {}
    cursor, number, rows = None, 1, 0
    for _ in range(MOST_FEED_PAGES):
        if turn.stopping():
            return None
        try:
            page = await isbndb.updates(
                updated_since=since,
                cursor=cursor,
                page=number,
                lane=turn.lane,
                consumer=consumer_of(turn.run.kind),
                job=turn.job,
            )
        except ProviderRefused as refusal:
            if refusal.status == 403:
                raise FeedNotGranted(FEED_NOT_GRANTED) from refusal
            raise
        rows += len(page.updates)
        changes: dict[Isbn, datetime] = {}
        for update in page.updates:
            # A change at an unknown time may have been a moment ago.
            changed_at = update.updated_at or now
            changes[update.isbn] = max(changed_at, changes.get(update.isbn, changed_at))
        async with turn.database.connection() as connection:
            outdated.update(dict.fromkeys(await IsbnAnswerStore(connection).list_outdated(PROVIDER, changes)))
        if not page.has_more:
            break
        cursor, number = page.cursor, number + 1
    most = int(turn.run.parameters.get("max_units", len(outdated)))
    targets = isbn_targets(list(outdated)[:most], editions_each=0)
    # With a reason the next run reads the same days again: what was asked by then is not outdated any more.
    cut = (
        f"{len(outdated) - most:,} more have changed than may be asked for" if len(outdated) > most else None
    )

    async def finish(connection: Connection) -> None:
        harvests = HarvestStore(connection)
        await harvests.add_items(turn.run.id, targets, now=now)
        await harvests.advance_item(
            turn.item,
            total=rows,
            editions_found=0,
            editions_new=0,
            works_new=0,
            covers_wanted=0,
            now=now,
        )
        # Ended here, so that whoever takes it again does not add the same once more.
        await harvests.leave_item(turn.item, ItemState.DONE, now=now, reason=cut)

    await in_transaction(turn.database, finish)
    log.info(
        "update_feed.read", run=turn.run.id, rows=rows, outdated=len(outdated), asked=min(most, len(outdated))
    )
    return ItemState.DONE if rows else ItemState.EMPTY
