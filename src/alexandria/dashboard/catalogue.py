"""The page of the catalogue: what it holds and how it grows, how complete it is, its latest covers, and what waits for a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from psycopg.errors import QueryCanceled

from alexandria.dashboard.catalogue_reviews import ReviewLine
from alexandria.dashboard.charts import Chart, Series
from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.covers import CoverState
from alexandria.domain.quota_usage import Span
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.catalogue_reports import CatalogueReports, Completeness, LatestCover
from alexandria.stores.counts import CountStore
from alexandria.stores.covers import CoverStore
from alexandria.stores.monitoring import MonitoringStore
from alexandria.stores.postgres import Database

LATEST_COVERS = 15
LATEST_REVIEWS = 8
GROWTH_DAYS = 30

COMPLETENESS_KEPT = timedelta(minutes=10)
"""It takes a hundred milliseconds where the disk has to be asked, and does not change quickly."""
MOST_SECONDS = timedelta(seconds=2)
"""For measuring it; what takes longer is given up until the next time."""

FIELDS = (
    ("title", "Title"),
    ("authors", "Authors"),
    ("isbn", "ISBN"),
    ("publisher", "Publisher"),
    ("published", "Date"),
    ("language", "Language"),
    ("pages", "Pages"),
    ("subjects", "Subjects"),
    ("synopsis", "Synopsis"),
    ("cover_known", "Cover's address"),
    ("cover_stored", "Cover stored"),
)
"""What completeness is told of: the field as the store names it, and as people do."""

_GROWING = (("editions", "Editions"), ("works", "Works"), ("authors", "Authors"), ("covers_stored", "Covers"))


@dataclass(frozen=True)
class SheetCover:
    """A picture of the contact sheet."""

    cover: LatestCover

    @property
    def title(self) -> str:
        """What the picture's alternative text says."""
        return self.cover.title or f"ISBN {self.cover.isbn}"

    @property
    def box(self) -> tuple[int, int]:
        """Width and height at which it is shown, so that the page does not jump while pictures arrive."""
        return max(44, min(132, round(132 * self.cover.width / max(1, self.cover.height)))), 132


async def read(dashboard: Dashboard, asked: Asked) -> Mapping[str, object]:
    """Everything that the page says."""
    today = dashboard.app.clock.now().date()
    span = Span(today - timedelta(days=GROWTH_DAYS - 1), today)
    completeness = await dashboard.remember(
        "completeness", COMPLETENESS_KEPT, lambda: _measure(dashboard.app.database)
    )
    async with dashboard.app.database.transaction() as connection:
        counts = await CatalogueStore(connection).count()
        growth = await CountStore(connection).list_growth(span)
        reports = CatalogueReports(connection)
        return {
            "counts": counts,
            "days": GROWTH_DAYS,
            "gained": {name: sum(days.values()) for name, days in growth.items()},
            "growth": _draw_growth(span, growth),
            "completeness": completeness,
            "fields": FIELDS,
            "covers": await CoverStore(connection).counts(),
            "latest_covers": [SheetCover(each) for each in await reports.list_latest_covers(LATEST_COVERS)],
            "reviews": [ReviewLine(each) for each in await reports.list_reviews(limit=LATEST_REVIEWS)],
            "CoverState": CoverState,
        }


async def _measure(database: Database) -> Completeness | None:
    """How complete editions are; None when that could not be found out in time."""
    async with database.transaction() as connection:
        await MonitoringStore(connection).take_snapshot(most=MOST_SECONDS)
        counts = await CatalogueStore(connection).count()
        try:
            async with connection.transaction():
                return await CatalogueReports(connection).measure(counts.editions)
        except QueryCanceled:
            return None


def _draw_growth(span: Span, growth: Mapping[str, Mapping[date, int]]) -> Chart:
    days = [span.first_day + timedelta(days=n) for n in range(GROWTH_DAYS)]
    return Chart(
        "growth",
        f"What came on each of the last {GROWTH_DAYS} days",
        "Day of UTC",
        [f"{day:%-d %b}" for day in days],
        "new ones",
        [
            Series(title, [growth[name].get(day, 0) for day in days], colour)
            for colour, (name, title) in enumerate(_GROWING, start=1)
        ],
    )


PAGE = Page(
    "catalogue",
    "Catalogue",
    "/dashboard/catalogue",
    ("counts", "growth", "completeness", "covers", "reviews"),
    read,
    Asked,
    template="catalogue/page.html",
)
