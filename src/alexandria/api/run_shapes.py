"""What this API takes and gives about harvests, runs and harvesters: the shapes that /openapi.json shows.

Every time is UTC in ISO 8601. A field that is unknown is null, never an empty text or a stand-in.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from alexandria import planning
from alexandria.api.alert_shapes import Alert
from alexandria.api.shapes import Pagination, Shape, one_line
from alexandria.domain.rollout import MOST_UNITS
from alexandria.stores import harvests

MOST_AUTHORS = 1000
"""Names in one request; more belong in several runs or in a tier."""
MOST_LINES = 1000
"""Lines of a plan that are shown; its sums count all of them."""


class AuthorsHarvest(BaseModel):
    """Which authors' bibliographies to harvest: either those of a tier, or those of some names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tier: str | None = Field(
        default=None,
        description="A slice of the authors by number of works: " + ", ".join(planning.TIERS) + ".",
        examples=["top-100"],
    )
    authors: list[Annotated[str, AfterValidator(one_line)]] | None = Field(
        default=None, min_length=1, max_length=MOST_AUTHORS, description="Names.", examples=[["Mary Shelley"]]
    )
    max_pages: int = Field(
        default=planning.MOST_PAGES,
        ge=1,
        le=planning.MOST_PAGES,
        description="Pages of 100 editions to ask for at most, for each author.",
    )
    refresh: bool = Field(default=False, description="Ask again for pages that are still fresh.")
    dry_run: bool = Field(default=False, description="Only show the plan and what it is expected to cost.")

    @model_validator(mode="after")
    def _names_one_target(self) -> Self:
        if (self.tier is None) == (self.authors is None):
            raise ValueError("give either tier or authors")
        return self


class Resumption(BaseModel):
    """How to go on with a run."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    retry_failed: bool = Field(default=False, description="Try the items that failed again, too.")


class PlanLine(Shape):
    """One target of a plan."""

    subject: str = Field(description="What is asked for: an author's key, a month, how many ISBNs.")
    name: str = Field(description="How the provider is asked.")
    pages_fresh: int = Field(description="Pages that are stored already and fresh enough.")
    units_expected: int
    editions_expected: float = Field(description="Editions that the catalogue does not hold yet.")


class Plan(Shape):
    """What a run would do; nothing was spent or written."""

    kind: str
    targets: int = Field(description="How many things are asked for.")
    units_expected: int = Field(description="What all of them are expected to cost.")
    calls_expected: int = Field(description="Requests that this takes.")
    editions_expected: int = Field(
        description="Editions that they should bring and that the catalogue does not hold yet."
    )
    units_remaining: int | None = Field(description="What may still be spent today; null without a key.")
    finishes_at: datetime | None = Field(
        description="When it is through if nothing else is asked; null without a key, or when nothing may be spent."
    )
    max_pages: int
    lines: list[PlanLine] = Field(
        description=f"The first {MOST_LINES:,} targets, in the order of what a unit buys."
    )


class Progress(Shape):
    """A run's items by state, and what they have brought so far."""

    items: int
    done: int = Field(description="Ended well, those without any book included.")
    failed: int
    partial: int
    running: int
    units: int = Field(description="Units spent.")
    editions_found: int
    editions_new: int
    works_new: int
    covers_wanted: int


class Run(Shape):
    """One harvest: what was asked for and how far it has come."""

    id: str
    kind: str
    lane: str
    parameters: dict[str, Any]
    state: Literal["running", "paused", "done", "failed", "cancelled"]
    pause_cause: Literal["person", "quota", "ceiling", "refused", "failing"] | None = Field(
        description="Who or what paused it: a person, the quota, a cap, a refused key or setting, or too many failures."
    )
    pause_reason: str | None
    resumes_at: datetime | None = Field(description="When a paused run goes on by itself, if it does.")
    held: str | None = Field(
        description="Why it is handed no work although it runs: its harvester is disabled or paused."
    )
    created_at: datetime
    finished_at: datetime | None
    progress: Progress

    @classmethod
    def of(cls, run: harvests.Run, progress: harvests.Progress) -> Self:
        """The shape of a run."""
        return cls.model_validate({**vars(run), "progress": Progress.model_validate(progress)})


class Item(Shape):
    """One target of a run."""

    position: int
    subject: str
    name: str
    state: Literal["pending", "running", "partial", "done", "empty", "failed"]
    next_page: int
    total: int | None = Field(description="Editions that the provider says there are.")
    units: int
    editions_found: int
    editions_new: int
    works_new: int
    covers_wanted: int
    failures: int
    reason: str | None
    retry_at: datetime | None
    updated_at: datetime


class RunsAnswer(Shape):
    """The latest runs, newest first."""

    runs: list[Run]


class RunAnswer(Run):
    """A run with a page of its items, in the order of its plan."""

    items: list[Item]
    pagination: Pagination = Field(description="Of the items.")


class Pause(BaseModel):
    """Why a run is paused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reason: Annotated[str, AfterValidator(one_line)] | None = Field(
        default=None, description="Shown to others.", examples=["the plan is being changed"]
    )


class RunItems(Shape):
    """Items by state; `open` are those that have not ended."""

    items: int
    done: int
    empty: int
    failed: int
    partial: int
    running: int
    open: int


class TargetFigures(RunItems):
    """Items of a run that ask for the same kind of thing, what they cost and what they brought."""

    target: str
    units: int
    units_expected: float
    editions_found: int
    editions_new: int
    editions_expected: float
    works_new: int
    covers_wanted: int


class ReportedItem(Shape):
    """One item of a run, in short."""

    position: int
    target: str
    subject: str
    name: str
    state: Literal["pending", "running", "partial", "done", "empty", "failed"]
    units: int
    editions_found: int
    editions_new: int
    reason: str | None


class ReportedIsbn(Shape):
    """An ISBN that could not be answered."""

    isbn: str
    reason: str | None


class RunReport(Shape):
    """What a run was to do, what it did, what it cost and brought against what was expected, and what failed."""

    run: str
    what: str = Field(description="What is harvested, in words.")
    kind: str
    lane: str
    parameters: dict[str, Any]
    state: Literal["running", "paused", "done", "failed", "cancelled"]
    pause_cause: str | None
    pause_reason: str | None
    held: str | None
    resumes_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    reported_at: datetime
    items: RunItems
    units: int
    units_expected: float
    editions_found: int
    editions_new: int
    editions_expected: float
    editions_per_unit: float | None = Field(description="New ones; null when no unit was spent.")
    editions_per_unit_expected: float | None
    works_new: int
    covers_wanted: int
    targets: list[TargetFigures] = Field(description="The same by what items ask for.")
    isbns: dict[str, int] | None = Field(description="Outcome -> ISBNs; null when none was asked for.")
    failed_isbns: list[ReportedIsbn] = Field(description="The first thousand.")
    failed_isbns_left_out: int
    lists: Literal["failed", "all"]
    listed: list[ReportedItem] = Field(description="The first thousand items of those that `lists` says.")
    left_out: int = Field(description="How many more there are.")


Percentage = Annotated[int, Field(ge=0, le=100)]
Cap = Annotated[int, Field(ge=0, le=MOST_UNITS)]


class Harvester(Shape):
    """A kind of run, with what is set for it now."""

    name: str
    state: Literal["enabled", "paused", "disabled"]
    is_enabled: bool
    paused_at: datetime | None
    pause_reason: str | None
    units_per_run: int | None = Field(description="Units that each of its runs may spend at most.")
    units_per_day: int | None = Field(description="Units that it may spend at most on a provider's day.")
    units_today: int | None = Field(description="What it was charged today; null without a key.")
    most_failures_percent: int = Field(description="Of its latest items: above that a run pauses itself.")
    least_items: int = Field(description="How many items these are.")
    consumer: str = Field(description="In whose name it spends.")
    runs_open: int


class HarvestersAnswer(Shape):
    """Every harvester, and the alerts that are open, latest first."""

    harvesters: list[Harvester]
    alerts: list[Alert]


class HarvesterChange(BaseModel):
    """What to change of a harvester; what is left out stays as it is, and null takes a cap away."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    is_enabled: bool = Field(default=True, description="Whether its runs may be started and go on.")
    is_paused: bool = Field(default=False, description="Whether its runs wait until it is resumed.")
    pause_reason: Annotated[str, AfterValidator(one_line)] | None = Field(
        default=None, description="With `is_paused`: shown to others."
    )
    units_per_run: Cap | None = Field(default=None, description="Units that each of its runs may spend.")
    units_per_day: Cap | None = Field(default=None, description="Units that it may spend a day.")
    most_failures_percent: Percentage = Field(
        default=50, description="Above that share of failures a run pauses itself."
    )
    least_items: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=20, description="Of how many items that ended last."
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set - {"pause_reason"}:
            raise ValueError("say what to change")
        if self.pause_reason is not None and not self.is_paused:
            raise ValueError("pause_reason belongs to is_paused")
        return self
