"""What a run's report counts, added up by the database: a run may have 100,000 items."""

from psycopg.rows import class_row

from alexandria.domain.run_reports import MOST_LISTED, ItemLine, TargetFigures
from alexandria.stores.postgres import Connection, Queries

queries = Queries("run_reports.sql")


class RunReportStore:
    """A run's figures within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def take_snapshot(self) -> None:
        """Read everything as it is now; before anything else in a transaction."""
        await self._connection.execute(queries.take_snapshot)

    async def list_target_figures(self, run_id: str) -> list[TargetFigures]:
        """The figures of the items, by what they ask for."""
        async with self._connection.cursor(row_factory=class_row(TargetFigures)) as cursor:
            await cursor.execute(queries.list_target_figures, {"run_id": run_id})
            return await cursor.fetchall()

    async def count_isbns(self, run_id: str) -> dict[str, int]:
        """How many ISBNs came to what; `pending` are those that nothing is known of yet."""
        cursor = await self._connection.execute(queries.count_isbns, {"run_id": run_id})
        return dict(await cursor.fetchall())

    async def list_items(self, run_id: str, *, only_failed: bool) -> list[ItemLine]:
        """The first items, all or those that failed, in the order of the plan."""
        parameters = {"run_id": run_id, "only_failed": only_failed, "limit": MOST_LISTED}
        async with self._connection.cursor(row_factory=class_row(ItemLine)) as cursor:
            await cursor.execute(queries.list_item_lines, parameters)
            return await cursor.fetchall()
