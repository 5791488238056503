"""What waits for a person: doubts that the catalogue would rather not settle by itself, page by page."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlencode

import msgspec
from pydantic import Field

from alexandria.dashboard.views import Asked, Dashboard, Page
from alexandria.domain.errors import InvalidInput
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.catalogue_reports import BEFORE_ALL, CatalogueReports, WaitingReview

AT_ONCE = 50

_KINDS = {
    "isbn_shared": "One ISBN, two titles",
    "name_shared": "One name, several authors",
    "work_twins": "Two works that may be one",
    "author_conflict": "Sources that differ on an author",
}


@dataclass(frozen=True)
class ReviewLine:
    """A doubt as a line of a page."""

    review: WaitingReview

    @property
    def kind(self) -> str:
        """What it is about, in words."""
        return _KINDS.get(self.review.kind, self.review.kind.replace("_", " "))

    @property
    def address(self) -> str | None:
        """Where what it is about is shown."""
        subject = self.review.subject
        match self.review.kind:
            case "isbn_shared":
                return "/dashboard/catalogue/search?" + urlencode({"q": subject, "by": "isbn"})
            case "name_shared":
                return "/dashboard/catalogue/search?" + urlencode({"q": subject, "by": "author"})
            case "work_twins":
                return f"/api/works/{quote(subject, safe='')}"
            case "author_conflict":
                return f"/api/authors/{quote(subject, safe='')}"
        return None


class Place(msgspec.Struct, frozen=True):
    """The last doubt that was seen, as an address carries it."""

    at: datetime
    kind: str
    subject: str
    other: str

    @classmethod
    def read(cls, text: str) -> "Place":
        """From an address. Raises InvalidInput."""
        try:
            padded = text + "=" * (-len(text) % 4)
            place = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=cls)
        except (ValueError, msgspec.DecodeError):
            place = None
        if place is None or place.at.tzinfo is None or "\0" in place.kind + place.subject + place.other:
            raise InvalidInput("after", text, "is no place in this list: begin anew without it")
        return place

    def write(self) -> str:
        """For an address."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


class ReviewsAsked(Asked):
    """Which part of the list."""

    after: str | None = Field(default=None, max_length=2000)


async def read(dashboard: Dashboard, asked: ReviewsAsked) -> Mapping[str, object]:
    """A part of the list. Raises InvalidInput for a place that is none."""
    last = BEFORE_ALL
    if asked.after:
        place = Place.read(asked.after)
        last = WaitingReview(place.kind, place.subject, place.other, "", place.at)
    async with dashboard.app.database.transaction() as connection:
        found = await CatalogueReports(connection).list_reviews(after=last, limit=AT_ONCE + 1)
        counts = await CatalogueStore(connection).count()
    shown, following = found[:AT_ONCE], None
    if len(found) > AT_ONCE:
        end = shown[-1]
        following = Place(end.created_at, end.kind, end.subject, end.other).write()
    return {
        "waiting": counts.reviews,
        "reviews": [ReviewLine(each) for each in shown],
        "following": following,
        "title": "What waits for a person",
    }


PAGE = Page(
    "reviews",
    "What waits for a person",
    "/dashboard/catalogue/reviews",
    ("list",),
    read,
    ReviewsAsked,
    place="catalogue",
)
