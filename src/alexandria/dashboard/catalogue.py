"""The page of the catalogue: what it holds, and its latest covers."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from alexandria.app import App
from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.covers import CoverState
from alexandria.stores.catalogue import CatalogueStore, Counts
from alexandria.stores.covers import Cover, CoverStore
from alexandria.stores.postgres import Connection

log = structlog.get_logger()

LATEST_COVERS = 10

COUNT_SECONDS = 3.0
"""A count that takes longer is given up: some tens of millions of rows are no affair of a page's."""


@dataclass(frozen=True)
class ShownCover:
    """A picture of the strip of covers, and the title that its alternative text says."""

    cover: Cover
    title: str

    @property
    def box(self) -> tuple[int, int]:
        """Width and height at which it is shown, so that the page does not jump while pictures arrive."""
        picture = self.cover.picture
        if picture is None:
            return 88, 132
        return max(44, min(132, round(132 * picture.width / max(1, picture.height)))), 132


async def read(dashboard: Dashboard, asked: Asked) -> Mapping[str, object]:
    """Everything that the page says."""
    counts = await _count(dashboard.app)
    async with dashboard.app.database.transaction() as connection:
        return {
            "counts": counts,
            "covers": await CoverStore(connection).counts(),
            "latest_covers": await _list_covers(connection),
            "CoverState": CoverState,
        }


async def _count(app: App) -> Counts | None:
    try:
        async with asyncio.timeout(COUNT_SECONDS), app.database.connection() as connection:
            return await CatalogueStore(connection).count()
    except TimeoutError:
        log.info("catalogue.count_abandoned", seconds=COUNT_SECONDS)
        return None


async def _list_covers(connection: Connection) -> Sequence[ShownCover]:
    shown = []
    for cover in await CoverStore(connection).list_latest(LATEST_COVERS):
        editions = await CatalogueStore(connection).list_editions_of_isbn(cover.isbn)
        title = editions[0].title if editions else None
        shown.append(ShownCover(cover, title or f"ISBN {cover.isbn}"))
    return shown


PAGE = Page("catalogue", "Catalogue", "/dashboard/catalogue", ("counts", "covers"), read, Asked)
