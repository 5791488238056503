"""What this API takes and gives: the shapes that /openapi.json shows.

Every time is UTC in ISO 8601. A field that is unknown is null, never an empty text or a stand-in.
"""

from datetime import date, datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from alexandria import lookup
from alexandria.domain.covers import CoverSize
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Lane
from alexandria.domain.quota_usage import By, LedgerKind


class Shape(BaseModel):
    """What every shape of an answer has in common: it is read from values of ours, and never changed."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


def one_line(text: str) -> str:
    """A text as one line of printable characters, blanks put right. Raises ValueError for any other, and beyond 200."""
    line = " ".join(text.split())
    if not line or not line.isprintable():
        raise ValueError("is not a line of text")
    if len(line) > 200:
        raise ValueError("is longer than 200 characters")
    return line


# Health and quota


class Health(Shape):
    """The process is alive; nothing else was looked at."""

    status: Literal["alive"]
    version: str = Field(description="Alexandria's version.")


class Readiness(Shape):
    """Everything that answers and work need is up."""

    status: Literal["ready"]
    database: Literal["migrated"]
    worker: str = Field(
        description="`running`; `off`, when the server was started without one; `idle`, until a key or a wanted cover gives it work."
    )


class Units(Shape):
    """Of what is used: calls whose cost is known, calls in flight, calls whose cost nobody knows yet, and what the provider
    counted beyond ours (less than 0: what it counted less)."""

    settled: int
    reserved: int
    unresolved: int
    foreign: int


class Usage(Shape):
    """What one consumer has used of the day in one lane, in units; `requests` is how many requests that took."""

    lane: str
    consumer: str
    requests: int
    settled: int
    reserved: int
    unresolved: int


class ProviderCount(Shape):
    """What the provider itself has counted today, whoever spent it."""

    total: int
    spent: int
    read_at: datetime


class Rate(Shape):
    """The pace: so many requests in any span so long."""

    requests: int
    window_seconds: float
    is_learnt: bool = Field(description="Whether the provider named it; else it is the configured one.")


class Stop(Shape):
    """An answer that stopped everybody."""

    reason: str
    detail: str
    stopped_at: datetime
    until: datetime | None = Field(
        description="null: until a person, or a free call, finds the cause mended."
    )


class LaneStatus(Shape):
    """What is kept for a lane, what it used, and what it may still spend without touching what is kept for others."""

    lane: str
    floor: int = Field(description="Units of the day that lower lanes leave for it.")
    floor_standing: int = Field(description="What of that is still kept: it melts before the reset.")
    used: int
    remaining: int


class Forecast(Shape):
    """How the day goes on at the pace of its last hour, and how long the work of open runs takes."""

    units_per_hour: float = Field(description="Ours of the last hour, and the day's mean of foreign use.")
    exhausted_at: datetime | None = Field(
        description="When the safety limit is reached at this pace; null: not before the reset."
    )
    units_left_at_reset: int | None = Field(
        description="Units that are not spent by then at this pace; null: there is no limit for a day."
    )
    units_queued: int = Field(description="What open runs are expected to need, paused ones included.")
    days_queued: float | None = Field(
        description="The same in whole days' units; null when nothing may be spent, or without a limit for a day."
    )
    queue_done_on: date | None = Field(
        description="The provider's day on which that is done when it gets all that is left of each day; null when it never is."
    )


class QuotaStatus(Shape):
    """How the day's quota stands. The first eight fields are named as in the predecessor's API."""

    daily_limit: int | None = Field(
        description="Units a day that the provider grants; null: it has no limit for a day."
    )
    safety_limit: int | None = Field(description="Units a day that are spent at most, by whomever.")
    used: int = Field(description="Units charged to the day: calls in flight and foreign use included.")
    remaining: int | None = Field(description="Units left of the daily limit.")
    safety_remaining: int | None = Field(
        description="Units left of the safety limit: what may still be spent."
    )
    percentage_used: float = Field(description="Of the safety limit, with two decimals.")
    reset_at: datetime = Field(description="When the provider's next day begins.")
    can_make_calls: bool = Field(description="Whether a call could be made now.")
    reason: str | None = Field(
        description="Why no call can be made: `exhausted`, `breaker` (told to slow down), `suspended` (the key is refused),"
        " `guard` (around the provider's midnight) or `no_key`."
    )
    detail: str | None = Field(description="The same in words.")
    retry_at: datetime | None = Field(description="When that ends; null when a person has to act.")
    provider: str
    day: date = Field(description="The provider's day that all this is about.")
    is_day_confirmed: bool = Field(description="Whether the provider has said that it is this day.")
    units: Units
    provider_count: ProviderCount | None = Field(
        description="The provider's own count, when it was last asked today."
    )
    rate: Rate
    next_slot_at: datetime | None = Field(description="The first time that is free for a request.")
    stop: Stop | None = Field(description="What an answer of the provider stopped everybody for.")
    failures_in_a_row: int = Field(
        description="Answers of no use in a row; after five nobody asks for a while."
    )
    lanes: list[LaneStatus]
    consumers: list[Usage]
    forecast: Forecast | None = Field(description="null without a key.")


class UsageFigures(Shape):
    """What was charged, in units, but for `requests` (requests of the provider) and `released` (reservations given back)."""

    units: int = Field(description="Everything charged: the sum of all below but `requests` and `released`.")
    requests: int
    settled: int = Field(description="Of calls whose cost is known.")
    reserved: int = Field(description="Of calls in flight.")
    unresolved: int = Field(description="Of calls whose cost nobody knows.")
    released: int
    foreign: int = Field(description="What the provider counted beyond ours, when that was noticed.")
    reconciled: int = Field(description="The correction where it counted less; mostly below 0.")


class UsageLine(UsageFigures):
    """The figures of one hour, day, lane or consumer; what the line is not about is null.

    Where lanes or consumers are told apart, the line with neither is what somebody else spent.
    """

    day: date | None = Field(description="The provider's day.")
    hour: datetime | None = Field(description="The beginning of the hour by UTC in which it was charged.")
    lane: Lane | None
    consumer: str | None


class UsageAnswer(Shape):
    """What was charged on one or several days of a provider."""

    provider: str
    first_day: date
    last_day: date
    by: By
    total: UsageFigures
    lines: list[UsageLine] = Field(description="Nothing was charged where there is none.")


class LedgerEntry(Shape):
    """One change of what is charged to a day; lane, consumer and job are those of its reservation, if it has one."""

    entry: int = Field(description="Its number; later ones are higher.")
    day: date
    recorded_at: datetime
    kind: LedgerKind
    units: int
    detail: str
    request_id: UUID | None
    lane: Lane | None
    consumer: str | None
    job: str | None


class LedgerAnswer(Shape):
    """A part of the ledger."""

    provider: str
    entries: list[LedgerEntry]
    next: int | None = Field(description="Send it as `after` for what follows; null: nothing does.")
    rolled_up_to: date | None = Field(
        description="Of days up to this one single entries are not kept any more, only their sums: see /api/quota/usage."
    )


# Catalogue


class Pagination(Shape):
    """Which part of a list this is."""

    offset: int
    limit: int
    returned: int
    has_more: bool = Field(description="Whether a further page has anything.")

    @classmethod
    def of(cls, page: lookup.Page[Any]) -> Self:
        """The part that a page is."""
        return cls(offset=page.offset, limit=page.limit, returned=len(page.entries), has_more=page.has_more)


class AuthorName(Shape):
    """An author, in short."""

    key: str
    name: str


class CoverUrls(Shape):
    """Where a stored cover is, by size; addresses are relative to this server."""

    large: str = Field(description="Fits into 512 x 768 pixels.")
    medium: str = Field(description="Fits into 256 x 384 pixels.")
    small: str = Field(description="Fits into 128 x 192 pixels.")

    @classmethod
    def of(cls, isbn: Isbn) -> Self:
        """The addresses of the cover that is stored under an ISBN."""
        return cls(**{size.value: f"/covers/{isbn}/{size.value}" for size in CoverSize})


class Edition(Shape):
    """One edition of a work."""

    key: str
    work_key: str
    isbns: list[str] = Field(description="13 digits each.")
    title: str | None
    subtitle: str | None
    authors: list[AuthorName] = Field(description="The authors of its work.")
    statements: list[str] = Field(description="Who is named in it, as the records state it.")
    publisher: str | None
    published: str | None = Field(description="`1998`, `1998-09` or `1998-09-02`: as much as is known.")
    language: str | None = Field(description="ISO 639-3.")
    pages: int | None
    binding: str | None
    synopsis: str | None
    subjects: list[str]
    is_book: bool = Field(description="False for a DVD, a calendar or an access code that bears an ISBN.")
    provenance: dict[str, str] = Field(description="Field -> the provider whose record its value comes from.")
    covers: CoverUrls | None = Field(description="Null when no cover is stored; there are no stand-ins.")

    @classmethod
    def of(cls, shown: lookup.ShownEdition) -> Self:
        """The shape of an edition that was looked up."""
        return cls(
            **vars(shown.edition),
            authors=[AuthorName(key=key, name=name) for key, name in shown.authors],
            covers=CoverUrls.of(shown.cover_isbn) if shown.cover_isbn else None,
        )


class IsbnAnswer(Shape):
    """All editions in which an ISBN is printed, best first."""

    isbn: str = Field(description="The ISBN that was asked for, as 13 digits.")
    isbn_10: str | None = Field(description="The same as 10 characters; null for 979.")
    ambiguous: bool = Field(description="Whether more than one edition bears it.")
    editions: list[Edition]


class SearchQuery(Shape):
    """What was searched for; one of them is set."""

    isbn: str | None = None
    title: str | None = None
    author: str | None = None


class SearchAnswer(Shape):
    """A page of what a search found."""

    query: SearchQuery
    results: list[Edition]
    pagination: Pagination


class Author(Shape):
    """An author, as listed."""

    key: str
    name: str
    works_count: int
    birth_year: int | None
    death_year: int | None
    identity: str = Field(
        description="`identified`: a provider names the person by a key; `named`: known by a name only."
    )


class AuthorsAnswer(Shape):
    """A page of authors by number of works."""

    authors: list[Author]
    pagination: Pagination


class WorkSummary(Shape):
    """A line of a bibliography."""

    key: str
    title: str
    subtitle: str | None
    first_published: str | None
    editions_count: int


class AuthorAnswer(Author):
    """An author with every name and a page of the works, by title."""

    names: list[str]
    works: list[WorkSummary]
    pagination: Pagination = Field(description="Of the works.")


class WorkAnswer(Shape):
    """A work with its authors and a page of its editions, latest first."""

    key: str
    title: str
    subtitle: str | None
    description: str | None
    first_published: str | None
    subjects: list[str]
    identity: str = Field(
        description="`identified`: a provider names the work by a key; `matched`: put together from editions by evidence."
    )
    authors: list[AuthorName]
    editions: list[Edition]
    pagination: Pagination = Field(description="Of the editions.")
