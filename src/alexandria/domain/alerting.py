"""Alerts: when a rule's case begins and ends, so that a person is told of it once and not of every wobble (docs/alerts.md).

A rule (`alert_rules.py`) looks at a reading and says of each subject how it stands: it holds, it is well, or something in between
that changes nothing. `step` makes an alert of that: raised once the case has held for the rule's time, cleared once it has been well
for its time. Between the two lies a band, so that a figure that swings around one threshold raises and clears nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, auto
from typing import Generic, TypeVar

Read = TypeVar("Read")

REMINDED_AFTER = timedelta(days=1)
"""A warning that still stands then is told once more, and never again: the first notice may have come on a day off."""

OVER_KEPT = timedelta(days=3)
"""How long a case of a day is remembered after its day: no clock is set back further."""


class Severity(StrEnum):
    """How much it matters, the least first."""

    INFO = auto()
    """Good to know; nothing has to be done."""
    WARNING = auto()
    """Units or time are being lost, or will be."""
    CRITICAL = auto()
    """Work stands still, or a promise may be broken, until a person acts."""

    @property
    def rank(self) -> int:
        """Its place, the least first."""
        return list(Severity).index(self)


class AlertKind(StrEnum):
    """What a person is told of; docs/alerts.md has every rule."""

    QUOTA_50 = "quota_50"
    QUOTA_80 = "quota_80"
    QUOTA_95 = "quota_95"
    QUOTA_100 = "quota_100"
    QUOTA_EXHAUSTED_EARLY = "quota_exhausted_early"
    QUOTA_UNUSED = "quota_unused"
    BREAKER_OPEN = "breaker_open"
    KEY_REFUSED = "key_refused"
    FOREIGN_USE = "foreign_use"
    LEDGER_DIFFERS = "ledger_differs"
    DAY_UNCONFIRMED = "day_unconfirmed"
    QUEUE_OLD = "queue_old"
    DEAD_LETTERS = "dead_letters"
    BACKLOG_GROWING = "backlog_growing"
    RUN_FAILING = "run_failing"
    RUN_STUCK = "run_stuck"
    DISK_LOW = "disk_low"
    DATABASE_SILENT = "database_silent"

    @property
    def words(self) -> str:
        """The same for people."""
        return self.value.replace("_", " ")


@dataclass(frozen=True)
class Alert:
    """Something that a person should look at; `cleared_at` is None as long as it is so."""

    kind: str
    subject: str
    message: str
    raised_at: datetime
    cleared_at: datetime | None = None
    severity: str = Severity.WARNING
    silenced_until: datetime | None = None
    """Until when nobody is told of it; None when it is not silenced."""

    def as_json(self) -> dict[str, object]:
        """For the CLI and the API."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "subject": self.subject,
            "message": self.message,
            "raised_at": self.raised_at.isoformat(),
            "cleared_at": self.cleared_at and self.cleared_at.isoformat(),
            "silenced_until": self.silenced_until and self.silenced_until.isoformat(),
        }


class Sign(StrEnum):
    """How a subject stands by one reading."""

    HOLDS = auto()
    """The case is given."""
    BETWEEN = auto()
    """Neither bad enough to raise an alert nor good enough to clear one."""
    WELL = auto()
    PASSED = auto()
    """A stronger rule speaks in its place: not told any more, and not again."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule says of one subject; the message says what is the case and what to do."""

    subject: str
    sign: Sign
    message: str = ""


@dataclass(frozen=True)
class About:
    """What docs/alerts.md says of a kind."""

    kind: AlertKind
    severity: Severity
    raised: str
    """When it is raised, in words."""
    cleared: str


@dataclass(frozen=True)
class Rule(About, Generic[Read]):
    """One kind of alert: how a reading is judged, and for how long it must be so."""

    look: Callable[[Read], Iterable[Case]]
    """The cases of a reading. A subject that is not among them is well."""
    raise_after: timedelta = timedelta(0)
    clear_after: timedelta = timedelta(0)
    is_of_day: bool = False
    """Whether it is told once for a subject, which names the day, and stands until the day is over."""


class Standing(StrEnum):
    """Where a rule stands with a subject."""

    CALM = auto()
    OPEN = auto()
    OVER = auto()
    """Told, or passed over, and never to be told again for this subject."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered of a rule and a subject between two readings."""

    standing: Standing = Standing.CALM
    since: datetime | None = None
    """Calm: since when the case holds. Open: since when it is well. Over: since when it is. None: it is not."""


class Turn(StrEnum):
    """What a reading changes."""

    NOTHING = auto()
    RAISE = auto()
    CLEAR = auto()


Key = tuple[AlertKind, str]
"""A kind and a subject."""


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one rule and subject with a reading; a `watch` of None has nothing to remember."""

    kind: AlertKind
    severity: Severity
    case: Case
    watch: Watch | None
    turn: Turn
    is_of_day: bool

    @property
    def is_open(self) -> bool:
        """Whether its alert stands."""
        return self.watch is not None and self.watch.standing is Standing.OPEN


def evaluate(
    watches: Mapping[Key, Watch], reading: Read, rules: Iterable[Rule[Read]], *, now: datetime
) -> list[Step]:
    """What a reading changes, for every subject that is in it or that is remembered of these rules."""
    steps = []
    for rule in rules:
        cases = {case.subject: case for case in rule.look(reading)}
        gone = {subject for kind, subject in watches if kind is rule.kind} - cases.keys()
        for case in [*cases.values(), *(Case(subject, Sign.WELL) for subject in sorted(gone))]:
            watch, turn = step(
                watches.get((rule.kind, case.subject), Watch()),
                case.sign,
                rule,
                now=now,
                is_gone=case.subject in gone,
            )
            kept = None if watch == Watch() else watch
            steps.append(Step(rule.kind, rule.severity, case, kept, turn, rule.is_of_day))
    return steps


def step(
    watch: Watch, sign: Sign, rule: Rule[Read], *, now: datetime, is_gone: bool = False
) -> tuple[Watch, Turn]:
    """What becomes of a watch with one more sign. `is_gone` says that the subject is no longer there: its day or its run is over."""
    match watch.standing:
        case Standing.CALM:
            return _step_calm(watch, sign, rule, now)
        case Standing.OPEN if rule.is_of_day:
            ends = is_gone or sign is Sign.PASSED
            return (Watch(Standing.OVER, now), Turn.CLEAR) if ends else (watch, Turn.NOTHING)
        case Standing.OPEN:
            return _step_open(watch, sign, rule, now)
        case Standing.OVER:
            is_forgotten = is_gone and watch.since is not None and now - watch.since > OVER_KEPT
            return (Watch() if is_forgotten else watch), Turn.NOTHING


def _step_calm(watch: Watch, sign: Sign, rule: Rule[Read], now: datetime) -> tuple[Watch, Turn]:
    if sign is Sign.PASSED and rule.is_of_day:
        return Watch(Standing.OVER, now), Turn.NOTHING
    if sign is not Sign.HOLDS:
        return Watch(), Turn.NOTHING
    since = _since(watch, now)
    if now - since < rule.raise_after:
        return Watch(Standing.CALM, since), Turn.NOTHING
    return Watch(Standing.OPEN), Turn.RAISE


def _step_open(watch: Watch, sign: Sign, rule: Rule[Read], now: datetime) -> tuple[Watch, Turn]:
    if sign is not Sign.WELL:
        return Watch(Standing.OPEN), Turn.NOTHING
    since = _since(watch, now)
    if now - since < rule.clear_after:
        return Watch(Standing.OPEN, since), Turn.NOTHING
    return Watch(), Turn.CLEAR


def _since(watch: Watch, now: datetime) -> datetime:
    """Since when it is so. A clock that was set back must not make it wait for the time in between once more."""
    return min(watch.since, now) if watch.since is not None else now
