"""What is rehearsed: which day, how fast, how large a world, who takes part, and what must come of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec

from alexandria.clock import ScaledClock
from alexandria.sandbox.faults import Fault, FaultKind
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World

KEY = "rehearsal-key"
OTHER_KEY = "another program's key"
"""Of the same subscription: who uses it asks nobody."""
PROGRAM = "nightly"
TOKEN = "a-token-for-the-rehearsal"  # noqa: S105 - opens nothing but the rehearsal's own server
API_TOKEN = "the-rehearsal-itself-writes"  # noqa: S105 - the same

FREE_ADDRESSES = ("openlibrary_url", "openlibrary_covers_url", "google_books_url", "wikidata_url")
"""Settings of the sources that cost nothing."""

COVER_WIDTH = 120
"""Pixels: a cover of this size takes a third of the computing of a full one, in the sandbox and in the workers."""

CLOCK_SKEW = 7.0
"""Seconds by which the provider's clock is ahead of everybody else's."""

REQUESTS_PER_MINUTE = 60
"""Of the provider's minutes, by our policy. The provider grants `OTHERS_PER_MINUTE` more, for who does not ask us."""
OTHERS_PER_MINUTE = 20

SPANS: Mapping[str, timedelta] = {
    "fence_span": timedelta(seconds=60),
    "guard_span": timedelta(seconds=90),
    "longest_wait": timedelta(seconds=60),
}
"""The spans of the policy that a machine's own delays must fit into, wider than usual: 0.5 s by the real clock at factor 120, where
the usual fence of 3 s would be 25 ms, less than a busy machine takes for a reservation (docs/rehearsal.md)."""

FAULTS = (
    Fault(kind=FaultKind.LATENCY, rate=0.03, seconds=0.15),
    Fault(kind=FaultKind.DROP_BEFORE, rate=0.003),
    *(
        Fault(kind=kind, rate=0.0006)
        for kind in (
            FaultKind.DROP_AFTER,
            FaultKind.CUT_BODY,
            FaultKind.TRUNCATED_JSON,
            FaultKind.GZIP_CUT,
            FaultKind.HTML_BODY,
            FaultKind.EMPTY_PAGE,
            FaultKind.ERROR_500,
        )
    ),
    Fault(kind=FaultKind.UNAVAILABLE_503, rate=0.0006, seconds=30),
)
"""All but those that make the provider say 429 or refuse the key, and `wrong_total`. Those that cost a unit and bring nothing strike
5 requests in 1,000 together: the figure for author pages leaves 20, and killed workers take their part."""


@dataclass(frozen=True)
class Targets:
    """What must be reached, issue 4's table; a small rehearsal has smaller ones."""

    authors: int = 1000
    failed_share: float = 0.01
    covers: int = 5000
    new_releases: int = 100
    units_left: int = 13
    """Of the safe limit, unused at the end of the day at most."""
    per_unit: float = 0.98
    precision: float = 0.99
    recall: float = 0.97


SCHEDULE = """\
[schedule.tiers]
cron = "*/20 23,0-5 * * *"
parameters = {tier = ["top-1000", "all"]}
[schedule.new-releases]
parameters = {months_back = 4, months_ahead = 2}
"""
"""What is changed of the schedule that is built in: the first tier begins before midnight, so that the limit of the day before stops it,
the authors behind it follow in the same night, and new releases are asked for over more months, since the invented world has few."""


@dataclass(frozen=True)
class Scenario:
    """One rehearsal. It begins `lead` before the midnight at which `day` begins, and goes on for `length` after it."""

    seconds: float = 690.0
    """Of real time, for all of `lead` and `length`."""
    day: date = date(2026, 11, 24)
    """The day after the invented world's own present (`invent.Recipe.today`)."""
    lead: timedelta = timedelta(minutes=30)
    length: timedelta = timedelta(hours=24, minutes=6)
    seed: int = 5
    authors: int = 4000
    works: int = 150
    """Of the most productive author."""
    tier: str = "top-1000"
    """Whose run is judged; `schedule` starts it."""
    schedule: str = SCHEDULE
    """Tables of a configuration file (docs/schedule.md)."""
    workers: int = 4
    seconds_between_kills: float = 20.0
    safe_limit: int = 13_000
    units_left_before: int = 60
    """What is left of the day before when the rehearsal begins: few enough that it is used up before midnight."""
    share_percents: tuple[int, int] = (5, 15)
    """Kept for people and for schedules until the evening."""
    isbns: int = 1000
    """That somebody has a list of, asked for by ISBN, a thousand at a time."""
    single_units: int = 400
    """What the outside program spends on single pages, spread over the time before its lists."""
    lists_from: float = 0.7
    """When it begins to ask for lists of ISBNs instead, until the day is spent (`at`)."""
    foreign_units: int = 400
    """What the other program spends without asking."""
    foreign_hours: tuple[float, float] = (0.02, 0.85)
    """When it does (`at`): not once the day's units are used up, since nobody could make up for what it takes then."""
    list_units: int = 50
    fault_factor: float = 1.0
    """How many times as often as `FAULTS` say something goes wrong."""
    targets: Targets = field(default_factory=Targets)

    @property
    def midnight(self) -> datetime:
        """When the day begins, by everybody's clock but the provider's."""
        return datetime.combine(self.day, time(), UTC)

    @property
    def begins_at(self) -> datetime:
        """What the clocks show at first."""
        return self.midnight - self.lead

    @property
    def ends_at(self) -> datetime:
        """What they show at last."""
        return self.midnight + self.length

    @property
    def factor(self) -> float:
        """Seconds of the rehearsal's clocks in one of the machine's."""
        return (self.lead + self.length).total_seconds() / self.seconds

    def at(self, share: float) -> datetime:
        """A time, as a share of the time after midnight; a negative one of the time before."""
        return self.midnight + share * (self.length if share >= 0 else self.lead)

    def invent_world(self) -> World:
        """The world: the same one in every process."""
        return World.invent(seed=self.seed, authors=self.authors, works_per_top_author=self.works)

    def switches(self) -> Switches:
        """How the provider behaves."""
        return Switches(
            rate_q=REQUESTS_PER_MINUTE + OTHERS_PER_MINUTE,
            daily_clock_skew=CLOCK_SKEW,
            faults=tuple(replace(each, rate=each.rate * self.fault_factor) for each in FAULTS),
            # Premium's plan may not read it, as far as is known; here everything is to be rehearsed.
            feed_minimum_plan="Premium",
        )

    def environment(self, **settings: object) -> dict[str, str]:
        """The settings of every process of ours."""
        interactive, scheduled = self.share_percents
        given: dict[str, object] = {
            "isbndb_key": KEY,
            "safe_limit": self.safe_limit,
            "requests_per_minute": REQUESTS_PER_MINUTE,
            "interactive_percent": interactive,
            "scheduled_percent": scheduled,
            "api_tokens": API_TOKEN,
            "quota_tokens": f"{PROGRAM}:bulk:-:{TOKEN}",
            # A reading a minute would be two in a real second, and nobody is there to be told.
            "alerts_off": "all",
            # By these clocks every answer is slow, while a time-out is real seconds.
            "pinned": "all",
            "log_level": "warning",
        }
        return {f"ALEXANDRIA_{name.upper()}": str(value) for name, value in (given | settings).items()}


SHORT_SCHEDULE = """\
[schedule.tiers]
cron = "*/10 23,0 * * *"
parameters = {tier = ["top-100", "all"]}
[schedule.new-releases]
cron = "5 0 * * *"
parameters = {months_back = 4, months_ahead = 2}
[schedule.gaps]
cron = "40 0 * * *"
parameters = {max_units = 50}
"""
"""The same within an hour; the update feed is read at ten past, as it is built in."""


def short() -> Scenario:
    """The midnight and a little more than the first hour of the day, in 40 s and on the same clocks: for `make test`.

    So short a day has no evening in which the floors melt, so there are none; the limit is as much lower as the day is shorter. There
    are more faults, so that each of them occurs, and the world is so small that a page lost to one weighs thirty times as much.
    """
    return Scenario(
        seconds=40.0,
        lead=timedelta(minutes=14),
        length=timedelta(minutes=66),
        authors=110,
        works=40,
        tier="top-100",
        schedule=SHORT_SCHEDULE,
        seconds_between_kills=10.0,
        safe_limit=400,
        units_left_before=20,
        share_percents=(0, 0),
        isbns=60,
        single_units=15,
        lists_from=0.5,
        foreign_units=15,
        foreign_hours=(0.02, 0.45),
        list_units=30,
        fault_factor=4.0,
        targets=replace(Targets(), authors=80, covers=150, new_releases=3, per_unit=0.85),
    )


class Orders(msgspec.Struct, frozen=True):
    """What a process of the rehearsal is handed, as one line of JSON: its scenario's figures, its clock and its settings."""

    scenario: dict[str, Any]
    started_real: float
    """The machine's monotonic clock, which all its processes share, when the rehearsal's clocks showed `begins_at`."""
    environment: dict[str, str]
    sandbox_url: str = ""
    server_url: str = ""
    journal: str = ""

    def read_scenario(self) -> Scenario:
        """The scenario."""
        return msgspec.convert(self.scenario, Scenario)

    def clock(self) -> ScaledClock:
        """The rehearsal's clock."""
        scenario = self.read_scenario()
        return ScaledClock(self.started_real, scenario.begins_at, scenario.factor)


def order(scenario: Scenario, **members: Any) -> Orders:
    """Orders for a process; `members` are those of `Orders`."""
    return Orders(scenario=msgspec.to_builtins(scenario), **members)
