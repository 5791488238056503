"""Harvesting pages: an author's books, a month's, a subject's, page after page, each paid for once."""

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial

import structlog

from alexandria.domain.catalogue import RecordKind
from alexandria.domain.dates import PartialDate
from alexandria.domain.errors import ProviderUnavailable
from alexandria.domain.plans import consumer_of
from alexandria.domain.targets import Target, TargetKind
from alexandria.enrich import Absorbed, absorb
from alexandria.harvest_turns import Turn
from alexandria.providers.isbndb import MOST_RESULTS, PROVIDER, BookPage, IsbndbProvider
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.harvest_pages import Page, PageStore
from alexandria.stores.harvests import HarvestStore, ItemState
from alexandria.stores.isbn_answers import IsbnAnswerStore
from alexandria.stores.postgres import Connection, in_transaction

log = structlog.get_logger()


async def take_pages(turn: Turn, isbndb: IsbndbProvider) -> ItemState | None:
    """Take an item's pages from where it stopped; None when it was left off in between. Raises what the provider raises."""
    most = int(turn.run.parameters["max_pages"])
    page, total = turn.item.next_page, turn.item.total
    # At most as many turns as there are pages: the provider can't make this endless.
    for _ in range(page, most + 1):
        if turn.stopping():
            return None
        stored = await _get_page(turn, isbndb, page)
        total = stored.total if stored.total is not None else total
        page += 1
        if page == 2 and most * stored.page_size >= MOST_RESULTS and await _split(turn, stored):
            return ItemState.DONE
        goes_on = await _absorb_page(turn, stored, next_page=page)
        if not stored.has_more:
            break
        if not goes_on:
            return None
    is_empty = page == 2 and not total and not await _holds_anything(turn)
    return ItemState.EMPTY if is_empty else ItemState.DONE


async def _split(turn: Turn, first: Page) -> bool:
    """Ask in parts for what has more results than a query shows; returns whether there are parts.

    The first page is kept, and the parts bring the rest: but for books without a date, which no part shows.
    """
    if first.total is None or first.total < MOST_RESULTS:
        return False
    parts = turn.target.parts(today=turn.clock.now().date())
    if not parts:
        return False
    await _absorb_page(turn, first, next_page=2, parts=parts)
    return True


async def _holds_anything(turn: Turn) -> bool:
    async with turn.database.connection() as connection:
        first = await PageStore(connection).find(
            PROVIDER, turn.target.query, 1, fresh_since=turn.run.fresh_since
        )
    return first is not None and bool(first.record_keys)


async def _get_page(turn: Turn, isbndb: IsbndbProvider, number: int) -> Page:
    """The page from our store if it is fresh there, else from the provider, stored before anything else happens to it."""
    query = turn.target.query
    async with turn.database.connection() as connection:
        stored = await PageStore(connection).find(PROVIDER, query, number, fresh_since=turn.run.fresh_since)
    if stored is not None:
        return stored
    answer = await _ask(turn, isbndb, number)
    is_second_time = turn.item.failures > 0 and number == turn.item.next_page
    if breaks_its_word(answer) and not is_second_time:
        raise ProviderUnavailable(
            PROVIDER, f"announced {answer.total} results and showed none on page {number}"
        )
    fetched = Page(
        provider=PROVIDER,
        query=query,
        page=number,
        fetched_at=turn.clock.now(),
        page_size=answer.page_size,
        total=answer.total,
        has_more=goes_on(answer),
        record_keys=[record.key for record in answer.records],
        dropped=len(answer.dropped),
        absorbed_at=None,
    )

    async def store(connection: Connection) -> None:
        await CatalogueStore(connection).save_records(answer.records)
        await IsbnAnswerStore(connection).save(
            PROVIDER, found=sorted(set(fetched.record_keys)), absent=(), asked_at=fetched.fetched_at
        )
        await PageStore(connection).save(fetched)

    await in_transaction(turn.database, store)
    return fetched


def _ask(turn: Turn, isbndb: IsbndbProvider, number: int) -> Awaitable[BookPage]:
    target = turn.target
    match target.kind:
        case TargetKind.AUTHOR:
            ask = partial(isbndb.author_page, target.name)
        case TargetKind.MONTH:
            ask = partial(isbndb.books_page, target.name, column="date_published")
        case _:
            ask = partial(isbndb.books_page, target.name, column="subjects")
    return ask(
        page=number,
        published_from=_as_partial(target.span.first),
        published_to=_as_partial(target.span.last),
        lane=turn.lane,
        consumer=consumer_of(turn.run.kind),
        job=turn.job,
    )


def _as_partial(day: date | None) -> PartialDate | None:
    return PartialDate(day.year, day.month, day.day) if day else None


async def _absorb_page(turn: Turn, page: Page, *, next_page: int, parts: Sequence[Target] = ()) -> bool:
    """Bring a page's records into the catalogue and move the item past it, in one transaction; returns whether the run goes on.

    With `parts`, what the query is split into becomes further items of the run.
    """

    async def bring(connection: Connection) -> bool:
        harvests, now = HarvestStore(connection), turn.clock.now()
        gained = Absorbed()
        if page.absorbed_at is None:
            records = await CatalogueStore(connection).find_records(
                PROVIDER, RecordKind.EDITION, page.record_keys
            )
            subject = turn.item.subject if turn.target.kind is TargetKind.AUTHOR else None
            gained = await absorb(connection, records, bibliography_of=subject)
            await PageStore(connection).mark_absorbed(page, now=now)
        item = replace(turn.item, next_page=next_page)
        if parts:
            # Ended here, so that whoever takes it again never reads the whole besides its parts.
            await harvests.add_items(turn.run.id, parts, now=now)
            await harvests.leave_item(item, ItemState.DONE, now=now, reason=f"asked in {len(parts)} parts")
        return await harvests.advance_item(
            item,
            total=page.total,
            editions_found=len(set(page.record_keys)),
            editions_new=gained.editions_new,
            works_new=gained.works_new,
            covers_wanted=gained.covers_wanted,
            now=now,
        )

    goes_on = await in_transaction(turn.database, bring)
    log.info(
        "harvest_page.absorbed",
        run=turn.run.id,
        query=page.query,
        page=page.page,
        records=len(page.record_keys),
    )
    return goes_on


def breaks_its_word(answer: BookPage) -> bool:
    """Whether a page is empty although the total promises that it is not. Asked a second time, that is the end after all."""
    offset = (answer.page - 1) * answer.page_size
    return not (answer.records or answer.dropped) and answer.total is not None and answer.total > offset


def goes_on(answer: BookPage) -> bool:
    """Whether to ask for the next page: the page's own word, unless it is empty or shows more than it says there is."""
    shown = len(answer.records) + len(answer.dropped)
    if not shown:
        return False
    offset = (answer.page - 1) * answer.page_size
    return answer.has_more or (answer.total is not None and shown > max(0, answer.total - offset))
