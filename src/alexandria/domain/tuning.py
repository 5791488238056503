"""Tuning: figures that follow what was seen, within bounds, a step at a time (docs/tuning.md).

Nothing here decides what is spent: how many units, in which lane and at which pace is the quota coordinator's alone. A dial says only how
much is in work at once, how much goes into one call, and how long an answer is waited for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from alexandria.domain.errors import InvalidInput
from alexandria.domain.latencies import Latencies

MANY_FAIL = 0.2
"""Share of failures from which on there is too much: a fifth, at which the breaker has not opened yet."""
FEW_FAIL = 0.05
"""Share of failures up to which there may be more. What lies between the two changes nothing."""
WELL_BELOW = 0.7
"""Of what counts as slow: up to there, there may be more. Again, what lies between changes nothing."""
BACK_OFF = 0.5
"""What is too much is halved, as TCP does it (RFC 5681, section 3.1): it is regained step by step."""

SEVERAL_TIMES = 3.0
"""A time-out lies that many times above what 99 of 100 answers took: one that gave up earlier would pay for answers it does not take."""
WORTH_IT = 0.2
"""A time-out is changed when it is off by more than that share of itself."""
NEARLY_ALL = 0.8
"""Of the time-out: when one of a hundred takes that long it is the time-out itself that cuts answers off, however many fail for it."""
MOST_UP, MOST_DOWN = 1.5, 0.8
"""By what a time-out is changed at most in one step: it grows faster than it shrinks."""


@dataclass(frozen=True, slots=True)
class Careful:
    """More, step by step, while nearly everything comes back and in time; half as much when it does not."""

    slow_seconds: float
    """What one of ten takes at least when there is too much."""
    step: float


@dataclass(frozen=True, slots=True)
class Following:
    """Several times what 99 of 100 take. An outage teaches nothing about that, so while many fail it does not shrink."""


@dataclass(frozen=True, slots=True)
class Dial:
    """A figure that is tuned. `least` is how many samples it takes for a step."""

    name: str
    unit: str
    low: float
    high: float
    start: float
    rule: Careful | Following
    least: int
    why: str

    def fit(self, value: float) -> float:
        """The nearest value it can have: within its bounds, and whole."""
        return min(self.high, max(self.low, float(round(value))))


@dataclass(frozen=True, slots=True)
class Sample:
    """What came of what a dial sways, since it was last decided about. `latencies` are of all, failures included."""

    count: float
    failed: float
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def failing(self) -> float:
        """The share that failed; 0 without any."""
        return self.failed / self.count if self.count > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """A step, and why it was taken, with the figures."""

    dial: str
    before: float
    after: float
    reason: str


_ITEMS = (
    "more while answers are good, to fill the provider's pace; fewer spare a provider that fails or is slow"
)

DIALS: Mapping[str, Dial] = {
    each.name: each
    for each in (
        # Two spend a day's 13,000 units even if every answer takes 13 s. Each holds connections to the database, of which a process
        # has 20 (`stores/postgres.py`).
        Dial("items_at_once", "items", 2, 8, 4, Careful(5.0, 1), 30, _ITEMS),
        Dial(
            "covers_percent",
            "percent",
            10,
            100,
            50,
            Careful(10.0, 10),
            30,
            "of the pictures that a process could have in work at once: more while hosts answer well",
        ),
        Dial(
            "isbns_at_once",
            "ISBNs",
            25,
            1000,
            500,
            Careful(20.0, 50),
            5,
            "a call that fails has cost a unit for each of its ISBNs; a call that works asks for all of them in one",
        ),
        # What is given up is paid for all the same, so of the paid source only what hangs is.
        Dial("isbndb_seconds", "seconds", 20, 60, 30, Following(), 100, "to wait for a page"),
        # Not above 60: what is in hand at a stop is waited for so long (`jobs/worker.py`, GRACE).
        Dial(
            "isbndb_bulk_seconds",
            "seconds",
            40,
            60,
            60,
            Following(),
            20,
            "to wait for an answer about many ISBNs",
        ),
        Dial("openlibrary_seconds", "seconds", 10, 60, 30, Following(), 100, "to wait for Open Library"),
        Dial("google_books_seconds", "seconds", 10, 60, 30, Following(), 100, "to wait for Google Books"),
        Dial("wikidata_seconds", "seconds", 10, 60, 30, Following(), 100, "to wait for Wikidata"),
        Dial(
            "cover_seconds",
            "seconds",
            10,
            60,
            30,
            Following(),
            100,
            "to wait for one picture, redirects included",
        ),
    )
}
"""Everything that is tuned, by name. All start where they stood before anything was tuned."""


def decide(dial: Dial, value: float, sample: Sample) -> Change | None:
    """The next step of a dial that stands at `value`, if there is one to take: never beyond its bounds."""
    if sample.count < dial.least:
        return None
    match dial.rule:
        case Careful():
            wanted, because = _with_care(dial.rule, value, sample)
        case Following():
            wanted, because = _several_times(value, sample)
    after = dial.fit(wanted)
    if after == value:
        return None
    bound = " (its bound)" if after in {dial.low, dial.high} else ""
    return Change(dial.name, value, after, f"{because}: {value:g} to {after:g} {dial.unit}{bound}")


def _with_care(rule: Careful, value: float, sample: Sample) -> tuple[float, str]:
    slowest = sample.latencies.quantile(0.9)
    seen = f"{sample.failing:.0%} of {sample.count:,.0f} failed"
    if slowest is not None:
        seen += f", 90 % took up to {slowest:.2g} s"
    if sample.failing >= MANY_FAIL:
        return math.floor(value * BACK_OFF), f"{seen}; {MANY_FAIL:.0%} are too many"
    if slowest is not None and slowest > rule.slow_seconds:
        return math.floor(value * BACK_OFF), f"{seen}; {rule.slow_seconds:g} s are slow"
    if sample.failing <= FEW_FAIL and (slowest is None or slowest <= WELL_BELOW * rule.slow_seconds):
        return value + rule.step, f"{seen}; all is well"
    return value, seen


def _several_times(value: float, sample: Sample) -> tuple[float, str]:
    slowest = sample.latencies.quantile(0.99)
    if slowest is None:
        return value, ""
    seen = f"99 % of {sample.count:,.0f} took up to {slowest:.2g} s"
    if slowest >= NEARLY_ALL * value:
        return MOST_UP * value, f"{seen}, as long as is waited"
    if sample.failing >= MANY_FAIL:
        return value, seen
    target = SEVERAL_TIMES * slowest
    because = f"{seen}, {SEVERAL_TIMES:g} times that is {target:.2g} s"
    if abs(target - value) <= WORTH_IT * value:
        return value, because
    return min(max(target, MOST_DOWN * value), MOST_UP * value), because


def get_dial(name: str) -> Dial:
    """A dial by its name, `-` for `_` allowed. Raises InvalidInput."""
    dial = DIALS.get(name.replace("-", "_"))
    if dial is None:
        raise InvalidInput("dial", name, "is not one of " + ", ".join(DIALS))
    return dial
