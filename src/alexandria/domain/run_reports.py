"""What a run was to do, what it did and what it cost, as values. How that is written down: `run_report_texts.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

MOST_LISTED = 1000
"""Items or ISBNs that a report names one by one; it counts the rest."""


@dataclass(frozen=True)
class TargetFigures:
    """Items of a run that ask for the same kind of thing."""

    target: str
    items: int
    done: int
    empty: int
    failed: int
    open: int
    """Waiting, in work or left off between two pages."""
    partial: int
    running: int
    units: int
    units_expected: float
    editions_found: int
    editions_new: int
    editions_expected: float
    works_new: int
    covers_wanted: int


@dataclass(frozen=True)
class ItemLine:
    """One item, as a report lists it."""

    position: int
    target: str
    subject: str
    name: str
    state: str
    units: int
    editions_found: int
    editions_new: int
    reason: str | None


@dataclass(frozen=True)
class FailedIsbn:
    """An ISBN that could not be answered."""

    isbn: str
    reason: str | None


@dataclass(frozen=True)
class RunReport:
    """Everything about one run, as of `reported_at`."""

    run: str
    what: str
    kind: str
    lane: str
    parameters: Mapping[str, Any]
    state: str
    pause_cause: str | None
    pause_reason: str | None
    held: str | None
    resumes_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    reported_at: datetime
    targets: Sequence[TargetFigures]
    isbns: Mapping[str, int]
    """Outcome -> ISBNs, of items that ask for ISBNs; empty when there are none."""
    failed_isbns: Sequence[FailedIsbn]
    lists: str
    """Which items are listed: `failed` or `all`."""
    items: Sequence[ItemLine]
    items_in_all: int
    """How many there are of those that are listed."""

    def sum(self, figure: str) -> int:
        """A figure over all kinds of targets."""
        return sum(getattr(each, figure) for each in self.targets)

    @property
    def units(self) -> int:
        """Units spent."""
        return self.sum("units")

    @property
    def units_expected(self) -> float:
        """What the plan expected; of what was only found on the way (an update feed's ISBNs), what its items did."""
        planned = self.parameters.get("units_expected")
        return planned or sum(each.units_expected for each in self.targets)

    @property
    def editions_expected(self) -> float:
        """New editions that the plan expected, or its items."""
        planned = self.parameters.get("editions_expected")
        return planned or sum(each.editions_expected for each in self.targets)

    @property
    def editions_per_unit(self) -> float | None:
        """New editions that a unit bought; None when none was spent."""
        return round(self.sum("editions_new") / self.units, 2) if self.units else None

    @property
    def editions_per_unit_expected(self) -> float | None:
        """What a unit was expected to buy; None when none was to be spent."""
        return round(self.editions_expected / self.units_expected, 2) if self.units_expected else None

    @property
    def items_left_out(self) -> int:
        """Items that are not listed for their number."""
        return self.items_in_all - len(self.items)

    @property
    def failed_isbns_left_out(self) -> int:
        """Failed ISBNs that are not listed for their number."""
        return self.isbns.get("failed", 0) - len(self.failed_isbns)

    def as_json(self) -> dict[str, Any]:
        """For the CLI and the API: times in ISO 8601."""
        states = ("items", "done", "empty", "failed", "partial", "running", "open")
        return {
            "run": self.run,
            "what": self.what,
            "kind": self.kind,
            "lane": self.lane,
            "parameters": dict(self.parameters),
            "state": self.state,
            "pause_cause": self.pause_cause,
            "pause_reason": self.pause_reason,
            "held": self.held,
            "resumes_at": self.resumes_at and self.resumes_at.isoformat(),
            "created_at": self.created_at.isoformat(),
            "finished_at": self.finished_at and self.finished_at.isoformat(),
            "reported_at": self.reported_at.isoformat(),
            "items": {state: self.sum(state) for state in states},
            "units": self.units,
            "units_expected": round(self.units_expected, 1),
            "editions_found": self.sum("editions_found"),
            "editions_new": self.sum("editions_new"),
            "editions_expected": round(self.editions_expected, 1),
            "editions_per_unit": self.editions_per_unit,
            "editions_per_unit_expected": self.editions_per_unit_expected,
            "works_new": self.sum("works_new"),
            "covers_wanted": self.sum("covers_wanted"),
            "targets": [asdict(each) for each in self.targets],
            "isbns": dict(self.isbns) or None,
            "failed_isbns": [asdict(each) for each in self.failed_isbns],
            "failed_isbns_left_out": self.failed_isbns_left_out,
            "lists": self.lists,
            "listed": [asdict(each) for each in self.items],
            "left_out": self.items_left_out,
        }
