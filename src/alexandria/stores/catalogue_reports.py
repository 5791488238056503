"""What the catalogue is like, read for whoever looks: how complete its editions are, its latest covers, what waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from psycopg.rows import class_row

from alexandria.domain.isbn import Isbn
from alexandria.stores.postgres import Connection, Queries

queries = Queries("catalogue_reports.sql")
Row = TypeVar("Row")

SAMPLED = 2000
"""Editions that a large catalogue's completeness is told from: a share is right to two or three points. They are read by the block, so
what came together is looked at together."""

READ_WHOLE = 5 * SAMPLED
"""A catalogue of so many editions is not sampled."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """Of how many editions each field is known, out of those that were looked at."""

    editions: int
    title: int
    authors: int
    publisher: int
    published: int
    language: int
    pages: int
    subjects: int
    synopsis: int
    isbn: int
    cover_known: int
    """Where an address for it is known."""
    cover_stored: int
    is_sampled: bool = False

    def share(self, field_name: str) -> float:
        """Percent of the editions, 0 of none."""
        known: int = getattr(self, field_name)
        return 100 * known / self.editions if self.editions else 0.0


@dataclass(frozen=True, slots=True)
class LatestCover:
    """A stored cover: the original's width and height in pixels, and the title of the edition that it belongs to."""

    isbn13: str
    width: int
    height: int
    stored_at: datetime
    title: str | None

    @property
    def isbn(self) -> Isbn:
        """The ISBN under which it is stored."""
        return Isbn(self.isbn13)


@dataclass(frozen=True, slots=True)
class WaitingReview:
    """What a person should decide, since when."""

    kind: str
    subject: str
    other: str
    reason: str
    created_at: datetime


BEFORE_ALL = WaitingReview("", "", "", "", datetime(9999, 12, 31, tzinfo=UTC))
"""A place in the list of reviews that every one comes after."""


class CatalogueReports:
    """Readings within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def measure(self, editions: int) -> Completeness:
        """How complete editions are: all of them, or a sample of about `SAMPLED` when there are more than `READ_WHOLE`."""
        is_sampled = editions > READ_WHOLE
        percent = 100 * SAMPLED / editions if is_sampled else 100.0
        (found,) = await self._all(Completeness, queries.measure_editions, percent=percent)
        return replace(found, is_sampled=is_sampled)

    async def list_latest_covers(self, limit: int) -> Sequence[LatestCover]:
        """Stored covers, the newest first."""
        return await self._all(LatestCover, queries.list_latest_covers, limit=limit)

    async def list_reviews(self, *, after: WaitingReview = BEFORE_ALL, limit: int) -> Sequence[WaitingReview]:
        """What waits for a person, the latest first; `after` is the last one that was seen."""
        place = {
            "before": after.created_at,
            "kind": after.kind,
            "subject": after.subject,
            "other": after.other,
        }
        return await self._all(WaitingReview, queries.list_reviews, limit=limit, **place)

    async def _all(self, row: type[Row], query: str, **parameters: object) -> list[Row]:
        async with self._connection.cursor(row_factory=class_row(row)) as cursor:
            await cursor.execute(query, parameters)
            return await cursor.fetchall()
