"""Pages that were paid for, in PostgreSQL: none is fetched twice within its freshness, whatever fails later."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from alexandria.stores.postgres import Connection, Queries

queries = Queries("harvest_pages.sql")


@dataclass(frozen=True)
class Page:
    """A page that was paid for; `absorbed_at` is None while its records are not in the catalogue yet."""

    provider: str
    query: str
    page: int
    fetched_at: datetime
    page_size: int
    total: int | None
    has_more: bool
    record_keys: list[str]
    dropped: int
    absorbed_at: datetime | None


class PageStore:
    """Pages within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def save(self, page: Page) -> None:
        """Write down a page that was paid for, in the transaction that stores its records."""
        values = {name: getattr(page, name) for name in Page.__dataclass_fields__ if name != "absorbed_at"}
        await self._connection.execute(queries.save_page, values)

    async def find(self, provider: str, query: str, page: int, *, fresh_since: datetime) -> Page | None:
        """A page that need not be asked again."""
        parameters = {"provider": provider, "query": query, "page": page, "fresh_since": fresh_since}
        async with self._connection.cursor(row_factory=class_row(Page)) as cursor:
            await cursor.execute(queries.find_page, parameters)
            return await cursor.fetchone()

    async def mark_absorbed(self, page: Page, *, now: datetime) -> None:
        """The page's records are in the catalogue."""
        values = {"provider": page.provider, "query": page.query, "page": page.page, "now": now}
        await self._connection.execute(queries.mark_page_absorbed, values)

    async def count_fresh(
        self, provider: str, wanted: Sequence[str], *, fresh_since: datetime
    ) -> dict[str, tuple[int, bool]]:
        """Query -> how many of its pages are fresh, and whether they are all there is."""
        parameters = {"provider": provider, "queries": list(wanted), "fresh_since": fresh_since}
        rows = await (await self._connection.execute(queries.count_fresh_pages, parameters)).fetchall()
        return {row[0]: (row[1], row[2]) for row in rows}

    async def list_whole_queries(
        self, provider: str, wanted: Sequence[str], *, since: datetime
    ) -> dict[str, datetime]:
        """Of these queries, those of which every page was fetched since then, and when the first of these pages was."""
        parameters = {"provider": provider, "queries": list(wanted), "since": since}
        rows = await (await self._connection.execute(queries.list_whole_queries, parameters)).fetchall()
        return {row[0]: row[1] for row in rows}

    async def list_totals(self, provider: str, wanted: Sequence[str]) -> dict[str, int]:
        """How many results the provider last said that each query has; queries that were never asked are left out."""
        parameters = {"provider": provider, "queries": list(wanted)}
        rows = await (await self._connection.execute(queries.list_totals, parameters)).fetchall()
        return {row[0]: row[1] for row in rows}
