"""Looking things up for readers: editions by ISBN, title or author, authors with their works, works with their editions.

Nothing here asks a provider or changes anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from alexandria.domain.errors import InvalidInput, RecordNotFound
from alexandria.domain.isbn import Isbn
from alexandria.domain.names import name_key
from alexandria.stores.catalogue import Author, CatalogueStore, Edition, Work, WorkSummary
from alexandria.stores.covers import CoverStore
from alexandria.stores.postgres import Connection

Entry = TypeVar("Entry")

AUTHORS_SEARCHED = 10
"""How many authors, the likest first, a search by name shows the editions of."""


class Criterion(StrEnum):
    """What a search may go by; a search goes by exactly one."""

    ISBN = "isbn"
    TITLE = "title"
    AUTHOR = "author"


@dataclass(frozen=True)
class Page(Generic[Entry]):
    """A part of a list. Counting the whole would cost more than showing it, so only `has_more` is known."""

    entries: Sequence[Entry]
    offset: int
    limit: int
    has_more: bool


@dataclass(frozen=True)
class ShownEdition:
    """An edition with its work's authors, as (key, name), and the ISBN under which a cover of it is stored."""

    edition: Edition
    authors: Sequence[tuple[str, str]]
    cover_isbn: Isbn | None


@dataclass(frozen=True)
class ShownAuthor:
    """An author with every name and a page of the works."""

    author: Author
    names: Sequence[str]
    works: Page[WorkSummary]


@dataclass(frozen=True)
class ShownWork:
    """A work with its authors, as (key, name), and a page of its editions, latest first."""

    work: Work
    authors: Sequence[tuple[str, str]]
    editions: Page[ShownEdition]


async def look_up_isbn(connection: Connection, isbn: Isbn) -> Sequence[ShownEdition]:
    """Every edition in which an ISBN is printed, best first; more than one is ambiguous (hard-cases.md, B1).

    Raises RecordNotFound when the catalogue knows none.
    """
    editions = await CatalogueStore(connection).list_editions_of_isbn(isbn)
    if not editions:
        raise RecordNotFound("catalogue", f"no edition with the ISBN {isbn} is known")
    return await _show(connection, editions, shared=isbn)


async def search(
    connection: Connection, criterion: Criterion, text: str, *, offset: int, limit: int
) -> Page[ShownEdition]:
    """A page of the editions that a criterion finds, the likest first; nothing found is an empty page.

    Raises InvalidInput for a text that can't find anything: not an ISBN, no letter or digit.
    """
    catalogue = CatalogueStore(connection)
    shared = None
    match criterion:
        case Criterion.ISBN:
            shared = Isbn.parse(text)
            editions = (await catalogue.list_editions_of_isbn(shared))[offset : offset + limit + 1]
        case Criterion.TITLE:
            wanted = _sought(criterion, " ".join(text.split()))
            editions = await catalogue.search_titles(wanted, offset=offset, limit=limit + 1)
        case Criterion.AUTHOR:
            _sought(criterion, name_key(text))
            authors = await catalogue.search_authors(text, limit=AUTHORS_SEARCHED)
            editions = await catalogue.list_editions_of_authors(authors, offset=offset, limit=limit + 1)
    shown = await _show(connection, editions[:limit], shared=shared, offset=offset)
    return Page(shown, offset, limit, len(editions) > limit)


def _sought(criterion: Criterion, text: str) -> str:
    """The text if anything can be found by it: one letter would be found in nearly everything."""
    if sum(each.isalnum() for each in text) < 2:
        raise InvalidInput(criterion, text, "needs at least two letters or digits")
    return text


async def list_top_authors(connection: Connection, *, offset: int, limit: int) -> Page[Author]:
    """Authors by number of works, most first: the order of the harvest's tiers."""
    authors = await CatalogueStore(connection).list_top_authors(offset=offset, limit=limit + 1)
    return Page(authors[:limit], offset, limit, len(authors) > limit)


async def get_author(connection: Connection, key: str, *, offset: int, limit: int) -> ShownAuthor:
    """An author with a page of the works, by title. Raises RecordNotFound."""
    catalogue = CatalogueStore(connection)
    author = await catalogue.find_author(key)
    if author is None:
        raise RecordNotFound("catalogue", f"no author has the key {key}")
    works = await catalogue.list_works_of_author(key, offset=offset, limit=limit + 1)
    return ShownAuthor(
        author,
        await catalogue.list_author_names(key),
        Page(works[:limit], offset, limit, len(works) > limit),
    )


async def get_work(connection: Connection, key: str, *, offset: int, limit: int) -> ShownWork:
    """A work with a page of its editions, also by a key from before it was merged. Raises RecordNotFound."""
    catalogue = CatalogueStore(connection)
    work = await catalogue.find_work(key)
    if work is None:
        raise RecordNotFound("catalogue", f"no work has the key {key}")
    authors = await catalogue.list_authors_of_works([work.key])
    editions = await catalogue.list_editions_of_work(work.key, offset=offset, limit=limit + 1)
    shown = await _show(connection, editions[:limit])
    return ShownWork(work, authors.get(work.key, ()), Page(shown, offset, limit, len(editions) > limit))


async def _show(
    connection: Connection, editions: Sequence[Edition], *, shared: Isbn | None = None, offset: int = 0
) -> Sequence[ShownEdition]:
    """Add authors and covers. What is stored under a `shared` ISBN is the best edition's (hard-cases.md, F13)."""
    authors = await CatalogueStore(connection).list_authors_of_works([each.work_key for each in editions])
    shown = []
    for place, edition in enumerate(editions, start=offset):
        own = [Isbn(each) for each in edition.isbns if place == 0 or shared is None or each != str(shared)]
        shown.append(
            ShownEdition(
                edition, authors.get(edition.work_key, ()), await _find_cover(CoverStore(connection), own)
            )
        )
    return shown


async def _find_cover(covers: CoverStore, isbns: Sequence[Isbn]) -> Isbn | None:
    """The first of these ISBNs under which a cover is stored."""
    for isbn in isbns:
        if await covers.find_shown(isbn):
            return isbn
    return None
