"""What the harvesters take and give: as in the predecessor's API where that had it (predecessor.md, sections 1.2 to 1.5), and more.

An answer is the same whether the work was done while the caller waited (200), goes on (202), or has to wait for units (429, where
it stands in `done`): `state` and `run` say which, and /api/runs/{run} how it goes on.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from alexandria import planning
from alexandria.api.shapes import QuotaStatus, Shape, one_line
from alexandria.domain.quota_status import Status
from alexandria.outlook import Outlook

MOST_BOOKS = 100
"""In one request for covers (predecessor.md, 1.9.3)."""


class Wish(BaseModel):
    """What all requests have in common: nothing is guessed, and what is not known here is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HarvestWish(Wish):
    """What may cost units."""

    dry_run: bool = Field(
        default=False, description="Only show the plan and what it is expected to cost and bring."
    )


class FailedIsbn(Shape):
    """An ISBN with which something is wrong."""

    isbn: str
    error: str


class FailedTarget(Shape):
    """Something that was asked for and did not come."""

    name: str
    error: str


class Batch(HarvestWish):
    """ISBNs to ask for."""

    isbns: list[Annotated[str, Field(max_length=200)]] = Field(
        min_length=1,
        max_length=planning.MOST_ISBNS,
        description="In any written form; invalid ones are named and the rest is done.",
        examples=[["9780140449136", "0-306-40615-2"]],
    )
    source: Annotated[str, AfterValidator(one_line)] = Field(
        default="batch-direct", description="Who asks, in a word or two; kept with the run."
    )
    refresh: bool = Field(default=False, description="Ask again for what was asked not long ago.")


class Work(Shape):
    """How the work on a request stands."""

    run: str | None = Field(description="The run that it is: /api/runs/{run}. null: there was nothing to do.")
    state: Literal["running", "paused", "done", "failed", "cancelled"]
    units_used: int
    api_calls: int = Field(description="Requests to the provider.")
    duration_ms: int
    quota: QuotaStatus


class BatchAnswer(Work):
    """What came of a batch. `requested` is the sum of found, not_found, skipped_fresh, failed and pending."""

    requested: int = Field(description="Different ISBNs that were sent, invalid ones included.")
    found: int = Field(description="Known to a provider.")
    enriched: int = Field(description="Of these, about which it said something new.")
    failed: int = Field(description="See `errors`.")
    not_found: int = Field(
        description="Definitely unknown, now or when it was last asked and it is too early to ask again."
    )
    skipped_fresh: int = Field(description="Asked for not long ago: it would bring nothing new.")
    pending: int = Field(description="Not asked for yet.")
    covers_queued: int
    errors: list[FailedIsbn]
    sources: dict[str, str] = Field(
        description="Source without paid units -> what became of asking it: answered, skipped or failed, and why."
    )


class Bibliography(HarvestWish):
    """Whose books to ask for."""

    author_name: Annotated[str, AfterValidator(one_line)] | None = Field(
        default=None, examples=["Mary Shelley"]
    )
    author_key: Annotated[str, AfterValidator(one_line)] | None = Field(
        default=None, description="As /api/authors shows it.", examples=["OL25342A"]
    )
    max_pages: int = Field(
        default=10, ge=1, le=planning.MOST_PAGES, description="Pages of 100 books to ask for at most."
    )
    skip_existing: bool = Field(
        default=True, description="Don't ask again for pages that are fresh; ask only for what is new."
    )

    @model_validator(mode="after")
    def _names_one_author(self) -> Self:
        if (self.author_name is None) == (self.author_key is None):
            raise ValueError("give either author_name or author_key")
        return self


class BibliographyAnswer(Work):
    """What came of a bibliography."""

    author: str
    books_found: int
    already_existed: int
    enriched: int = Field(description="Editions that the catalogue did not hold before.")
    covers_queued: int
    failed: int
    pages_fetched: int = Field(description="Pages read, from the provider or from our store.")
    quota_exhausted: bool
    errors: list[FailedTarget]


class NewReleases(HarvestWish):
    """Which months' books to ask for."""

    start_month: str = Field(description="`YYYY-MM`.", max_length=10, examples=["2026-10"])
    end_month: str | None = Field(default=None, max_length=10, description="Included; null: the first alone.")
    max_pages_per_month: int = Field(
        default=20,
        ge=1,
        le=planning.MOST_PAGES,
        description="Pages of 100 books to ask for at most, for each month and subject.",
    )
    subjects: list[Annotated[str, AfterValidator(one_line)]] = Field(
        default_factory=list, max_length=50, description="Only books with one of these; none: all books."
    )
    skip_existing: bool = Field(default=True, description="Don't ask again for pages that are fresh.")


class NewReleasesAnswer(Work):
    """What came of the months."""

    start_month: str
    end_month: str
    months_processed: int = Field(description="Months, or months with a subject, that are read to their end.")
    total_books_found: int
    already_existed: int
    newly_enriched: int
    covers_queued: int
    failed: int
    quota_exhausted: bool
    errors: list[FailedTarget]


class CoversHarvest(HarvestWish):
    """How many editions without a cover to ask for."""

    batch_size: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="Editions to ask for at most: a unit each, unless a free source answers.",
    )


class CoversAnswer(Work):
    """What came of asking for covers."""

    queried: int = Field(description="Editions without a known cover that are asked for.")
    found_in_isbndb: int
    editions_updated: int
    covers_queued: int = Field(description="Covers that are fetched next.")
    no_cover_url: int = Field(description="Found, but without a cover's address.")
    pending: int
    errors: list[FailedIsbn]


class CoverBook(Wish):
    """A book whose cover is wanted."""

    isbn: str = Field(max_length=200)


class CoverQueue(Wish):
    """Books whose covers are wanted."""

    books: list[CoverBook] = Field(min_length=1, max_length=MOST_BOOKS)


class CoverQueueAnswer(Work):
    """What became of the wishes. Each book is in exactly one of queued, stored, asked and failed."""

    queued: int = Field(description="Where to fetch it is known, and it is fetched next.")
    stored: int = Field(description="The cover is there already.")
    asked: int = Field(description="A provider is asked where it is, as `run`.")
    failed: int
    errors: list[FailedIsbn]


class UnitsAtMost(HarvestWish):
    """How much to spend at most."""

    max_units: int = Field(default=planning.MOST_UNITS, ge=1, le=100_000)


class PeopleHarvest(Wish):
    """About how many authors to ask."""

    most: int = Field(
        default=500, ge=1, le=planning.MOST_PEOPLE, description="Those with the most works first."
    )


class HarvestAnswer(Work):
    """What came of a harvest that chose its targets itself."""

    targets: int = Field(description="Pages of authors and calls for ISBNs, the update feed included.")
    done: int
    failed: int
    editions_found: int
    editions_new: int
    covers_queued: int
    errors: list[FailedTarget]


class OutlookLine(Shape):
    """What is still open of one run, of one kind of target."""

    run: str
    kind: str
    lane: str
    state: str
    target: str = Field(description="What is asked for: author, month, subject, isbns or feed.")
    items: int
    units: float
    calls: float
    editions_expected: float


class Accuracy(Shape):
    """What targets of one kind that ended in the last 30 days were expected to bring, and what they brought."""

    target: str
    units_expected: float
    editions_expected: float = Field(description="Before any correction.")
    editions_new: float
    correction: float = Field(description="What expectations of this kind are multiplied by now.")


class OutlookAnswer(Shape):
    """What is going to be asked."""

    units: int
    calls: int
    editions_expected: int
    units_remaining: int = Field(description="What may still be spent today.")
    finishes_at: datetime | None = Field(
        description="When it is through if nothing else is asked; null when nothing may be spent."
    )
    lines: list[OutlookLine] = Field(description="In the order of lanes, then of what a unit buys.")
    accuracy: list[Accuracy]

    @classmethod
    def of(cls, outlook: Outlook, status: Status, now: datetime) -> Self:
        """The shape of an outlook."""
        return cls(
            units=outlook.units,
            calls=outlook.calls,
            editions_expected=outlook.editions_expected,
            units_remaining=status.remaining,
            finishes_at=outlook.finishes_at(status, now),
            lines=[OutlookLine.model_validate(each) for each in outlook.lines],
            accuracy=[
                Accuracy(
                    target=each.kind,
                    units_expected=each.units_expected,
                    editions_expected=each.editions_expected,
                    editions_new=each.editions_new,
                    correction=outlook.yields.factors[each.kind],
                )
                for each in outlook.experiences
            ],
        )
