"""Searching the catalogue, with a form that needs no script: editions with their covers, the likest first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from psycopg.errors import QueryCanceled
from pydantic import Field

from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.errors import InvalidInput
from alexandria.domain.isbn import Isbn
from alexandria.lookup import Criterion, ShownEdition, search
from alexandria.stores.monitoring import MonitoringStore

AT_ONCE = 20
MOST_SEEN = 1000
"""Whoever has not found it by then looks for something more precise; each further page costs more than the one before."""

MOST_SECONDS = timedelta(seconds=3)
"""For one statement: `the` is a part of so many titles that to find the likest takes longer in a large catalogue."""


class SearchAsked(Asked):
    """What is looked for."""

    q: str = Field(default="", max_length=200)
    by: Criterion = Criterion.TITLE
    after: int = Field(default=0, ge=0, le=MOST_SEEN)
    """How many were shown before."""

    @property
    def criterion(self) -> Criterion:
        """What is searched by: a whole ISBN is one, whatever was chosen."""
        return Criterion.ISBN if _is_isbn(self.q) else self.by


def _is_isbn(text: str) -> bool:
    try:
        Isbn.parse(text)
    except InvalidInput:
        return False
    return True


@dataclass(frozen=True)
class Hit:
    """An edition that was found."""

    shown: ShownEdition

    @property
    def title(self) -> str:
        """Its whole title."""
        edition = self.shown.edition
        return ": ".join(each for each in (edition.title, edition.subtitle) if each) or "Without a title"

    @property
    def authors(self) -> str:
        """Of its work; where none is known, as the edition states it."""
        known = [name for _, name in self.shown.authors]
        return ", ".join(known or self.shown.edition.statements)

    @property
    def facts(self) -> str:
        """Year, publisher and language, as far as they are known."""
        edition = self.shown.edition
        return " · ".join(each for each in (edition.published, edition.publisher, edition.language) if each)

    @property
    def isbns(self) -> list[str]:
        """Every ISBN that is printed in it."""
        return list(self.shown.edition.isbns)


async def read(dashboard: Dashboard, asked: SearchAsked) -> Mapping[str, object]:
    """What was found. Raises InvalidInput for what can't find anything, or would find too much to be put in order."""
    text = " ".join(asked.q.split())
    if not text:
        return {"title": "Search the catalogue", "hits": None, "following": None}
    criterion = asked.criterion
    async with dashboard.app.database.transaction() as connection:
        await MonitoringStore(connection).take_snapshot(most=MOST_SECONDS)
        try:
            page = await search(connection, criterion, text, offset=asked.after, limit=AT_ONCE)
        except QueryCanceled:
            reason = "is a part of too many titles or names to be put in order in time: give more of it"
            raise InvalidInput("q", asked.q, reason) from None
        except InvalidInput as error:
            raise InvalidInput("q", asked.q, error.reason) from None
    seen = asked.after + len(page.entries)
    following = None
    if page.has_more and seen <= MOST_SEEN:
        following = "?" + urlencode({"q": text, "by": criterion.value, "after": seen})
    return {
        "title": f"Search: {text}",
        "hits": [Hit(each) for each in page.entries],
        "following": following,
    }


PAGE = Page(
    "search",
    "Search the catalogue",
    "/dashboard/catalogue/search",
    ("hits",),
    read,
    SearchAsked,
    template="search/page.html",
    place="catalogue",
    is_live=False,
)
