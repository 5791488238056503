"""The rules of alerts, each a threshold with its reason; how one becomes an alert is `alerting.py`'s, what a person does about it
docs/alerts.md's."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from alexandria.domain.alert_readings import AccountReading, BacklogReading, DiskReading, Reading
from alexandria.domain.alerting import About, AlertKind, Case, Rule, Severity, Sign
from alexandria.domain.breaker import MOST_FAILURES
from alexandria.domain.quota import DenialReason

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

EARLY_HOUR = 20
"""A day that is used up before 20:00 by its provider's clock leaves its evening without units (issue 5)."""
EARLY_BAND = HOUR
EARLY_HOLDS = 30 * MINUTE
"""The pace of a forecast is that of an hour: a burst of some minutes says little about the day."""
LATE_SPAN = timedelta(hours=4)
"""Units left over are told of in the last hours only, when floors melt and there is still time to spend them."""
UNUSED_SHARE, UNUSED_WELL_SHARE = 0.10, 0.05
UNUSED_HOLDS = 15 * MINUTE
BREAKER_HOLDS = 5 * MINUTE
"""The longest pause of the breaker: what is well again by then was a hiccup."""
BREAKER_WELL = 10 * MINUTE
REFUSED_WELL = 5 * MINUTE
"""A free call opens the latch to try the key; one that is still refused is latched again within seconds."""
UNCONFIRMED_HOLDS = 30 * MINUTE
"""After midnight and before the first call a day is unconfirmed for seconds, with a provider that fails for some minutes."""
QUEUE_LIMIT, QUEUE_WELL = 15 * MINUTE, 5 * MINUTE
"""The queue holds some seconds of work for a few workers; what waits for a quarter of an hour has none."""
GROWTH_SPAN = HOUR
SAMPLED_EVERY = 5 * MINUTE
GROWTH_SHARE, LEAST_GROWTH = 0.10, 100
"""A backlog that grows by less in an hour is as good as level."""
STUCK_AFTER, STUCK_WELL = HOUR, 30 * MINUTE
"""The longest wait between two attempts at an item is shorter."""
GIBIBYTE = 1024**3
DISK_BAND = 1.25
"""It is well again with a quarter more than the threshold."""
SILENCE = 5 * MINUTE
"""No query of a process succeeded for so long: longer than a restart of the server or a switch to its replica takes."""

_MARKS = (
    (AlertKind.QUOTA_50, 50),
    (AlertKind.QUOTA_80, 80),
    (AlertKind.QUOTA_95, 95),
    (AlertKind.QUOTA_100, 100),
)
"""Percent of the day's safe limit (issue 5)."""


def _rule_of_mark(kind: AlertKind, mark: int, next_mark: int | None) -> Rule[Reading]:
    """One mark of the day's use. The next one speaks in its place once that is reached: a jump over several is told once."""

    def look(reading: Reading) -> Iterator[Case]:
        for account in reading.accounts:
            if account.is_limited:
                used = 100 * account.status.used / account.status.limit
                is_passed = next_mark is not None and used >= next_mark
                holds = Sign.HOLDS if used >= mark else Sign.BETWEEN
                yield Case(account.of_day, Sign.PASSED if is_passed else holds, _used_text(account, mark))

    return Rule(
        kind,
        Severity.INFO if mark <= 80 else Severity.WARNING,
        f"{mark} % of the day's safe limit are used",
        "the day is over" if next_mark is None else "the day is over, or the next mark is reached",
        look,
        is_of_day=True,
    )


def _used_text(account: AccountReading, mark: int) -> str:
    status = account.status
    used = f"{status.used:,} of {status.limit:,} units of {status.day} are used at {account.provider}"
    if mark == 100:
        return f"{used}: nothing more is sent before {status.resets_at:%Y-%m-%d %H:%M} UTC; runs go on then by themselves"
    exhausted_at = account.forecast.exhausted_at
    pace = (
        f"at this pace the day is used up at {exhausted_at:%H:%M} UTC"
        if exhausted_at
        else "at this pace the rest lasts"
    )
    return f"{used}; {pace}. See alexandria quota status for who spends them"


def exhausted_early(reading: Reading) -> Iterator[Case]:
    """Forecasts that end before the evening. Once nothing is left it is no forecast any more."""
    for account in reading.accounts:
        status, exhausted_at = account.status, account.forecast.exhausted_at
        if not account.is_limited:
            continue
        early = status.policy.days.begins_at(status.day) + timedelta(hours=EARLY_HOUR)
        if not status.remaining or (exhausted_at and early <= exhausted_at < early + EARLY_BAND):
            sign = Sign.BETWEEN
        else:
            sign = Sign.HOLDS if exhausted_at and exhausted_at < early else Sign.WELL
        when = f"{exhausted_at:%H:%M}" if exhausted_at else "later"
        yield Case(
            account.provider,
            sign,
            f"at {account.forecast.units_per_hour:,.0f} units an hour {account.provider}'s day is used up at {when} UTC;"
            " cap who spends most (alexandria quota status, alexandria harvesters cap), or let it be",
        )


def left_unused(reading: Reading) -> Iterator[Case]:
    """Forecasts of units that expire at the reset."""
    for account in reading.accounts:
        status, left = account.status, account.forecast.units_left_at_reset or 0
        if not account.is_limited or not status.policy.has_counter:
            continue  # units that nobody paid for need not be used up
        is_late = status.resets_at - (status.read_at + status.state.ahead) <= LATE_SPAN
        is_much = left >= UNUSED_SHARE * status.limit
        cause = (
            f"open runs need {account.forecast.units_queued:,}"
            if account.forecast.units_queued
            else "no run is open"
        )
        yield Case(
            account.of_day,
            Sign.HOLDS if is_late and is_much else Sign.BETWEEN,
            f"about {left:,} of {status.limit:,} units of {status.day} will expire unused at {status.resets_at:%H:%M} UTC"
            f" ({cause}); alexandria harvest gaps or a tier of authors spends them",
        )


def breaker_open(reading: Reading) -> Iterator[Case]:
    """Providers that give no usable answers, or ask for a pause again and again."""
    for account in reading.accounts:
        status = account.status
        failures, stop = status.state.failures.count, status.stop
        is_paused = stop is not None and stop.reason is DenialReason.BREAKER
        cause = stop.detail if stop and is_paused else f"{failures} calls in a row brought no usable answer"
        yield Case(
            account.provider,
            Sign.HOLDS if is_paused or failures >= MOST_FAILURES else Sign.WELL,
            f"{account.provider} is left alone: {cause}. It is tried again by itself; if it lasts, see the provider's own"
            " status page, then alexandria check",
        )


def key_refused(reading: Reading) -> Iterator[Case]:
    """Accounts that are latched until a person acts."""
    for account in reading.accounts:
        stop = account.status.stop
        is_latched = stop is not None and stop.reason is DenialReason.SUSPENDED
        yield Case(
            account.provider,
            Sign.HOLDS if is_latched else Sign.WELL,
            f"{account.provider} refuses the key: {stop.detail if stop else ''}. Nothing is sent; mend the key or the plan, then"
            " alexandria quota resume",
        )


def foreign_use(reading: Reading) -> Iterator[Case]:
    """Units that somebody else spends of the same key."""
    for account in reading.accounts:
        status = account.status
        if account.is_limited:
            yield Case(
                account.of_day,
                Sign.HOLDS if status.foreign >= account.least_difference else Sign.BETWEEN,
                f"{status.foreign:,} units of {status.day} were spent at {account.provider} by somebody else with the same key;"
                " let that program reserve them here (docs/outside-programs.md), or get a new key",
            )


def ledger_differs(reading: Reading) -> Iterator[Case]:
    """Days on which our books differ from each other, or from what the provider counted."""
    for account in reading.accounts:
        reason = account.difference
        yield Case(
            account.of_day,
            Sign.HOLDS if reason else Sign.BETWEEN,
            f"{account.provider} {account.status.day}: {reason}; run alexandria quota verify and alexandria quota reconcile,"
            " and report it if it stays",
        )


def day_unconfirmed(reading: Reading) -> Iterator[Case]:
    """Accounts of which nobody knows whether their day has begun: until then no unit is spent."""
    for account in reading.accounts:
        status = account.status
        yield Case(
            account.provider,
            Sign.WELL if status.is_confirmed else Sign.HOLDS,
            f"{account.provider} has not said that {status.day} has begun, so no unit is spent; is a worker running, and does"
            " alexandria check reach the provider?",
        )


def queue_old(reading: Reading) -> Iterator[Case]:
    """Jobs that nobody takes."""
    for queue in reading.queues:
        minutes = int(queue.oldest_waits / MINUTE)
        between = Sign.WELL if queue.oldest_waits < QUEUE_WELL else Sign.BETWEEN
        yield Case(
            queue.kind,
            Sign.HOLDS if queue.oldest_waits > QUEUE_LIMIT else between,
            f"the oldest {queue.kind} job waits for {minutes:,} minutes; is a worker running (alexandria worker), and does its log"
            " say what it does?",
        )


def dead_letters(reading: Reading) -> Iterator[Case]:
    """Jobs that failed for good."""
    for queue in reading.queues:
        yield Case(
            queue.kind,
            Sign.HOLDS if queue.dead_letters else Sign.WELL,
            f"{queue.dead_letters:,} {queue.kind} jobs failed for good and are kept with their errors: a defect; see the worker's"
            " log, and report it",
        )


def backlog_growing(reading: Reading) -> Iterator[Case]:
    """Backlogs that only grew for an hour."""
    for backlog in reading.backlogs:
        yield _growth(backlog, reading.at)


def _growth(backlog: BacklogReading, now: datetime) -> Case:
    samples = [each for each in backlog.samples if each.at >= now - GROWTH_SPAN - SAMPLED_EVERY]
    if not samples or now - samples[0].at < GROWTH_SPAN:
        return Case(backlog.name, Sign.BETWEEN)
    first, last = samples[0].size, samples[-1].size
    never_shrank = all(later.size >= earlier.size for earlier, later in pairwise(samples))
    is_growing = never_shrank and last - first >= max(LEAST_GROWTH, GROWTH_SHARE * first)
    return Case(
        backlog.name,
        Sign.HOLDS if is_growing else Sign.WELL if last <= first else Sign.BETWEEN,
        f"{last:,} {backlog.name} wait to be done, {last - first:,} more than an hour ago, and it never became fewer; start another"
        " worker, or see alexandria runs for what makes them",
    )


def run_stuck(reading: Reading) -> Iterator[Case]:
    """Runs of which something is due and nothing happens."""
    for run in reading.runs:
        between = Sign.WELL if run.quiet_for < STUCK_WELL else Sign.BETWEEN
        yield Case(
            run.run_id,
            Sign.HOLDS if run.quiet_for > STUCK_AFTER else between,
            f"run {run.run_id} has work that is due and made no progress for {int(run.quiet_for / MINUTE):,} minutes; is a worker"
            f" running? See alexandria runs report {run.run_id}",
        )


def disk_low(reading: DiskReading) -> Iterator[Case]:
    """The disk of one machine's data folder."""
    free = reading.free / GIBIBYTE
    held = (
        f"; below {reading.covers_least / GIBIBYTE:,.1f} GiB no covers are fetched"
        if reading.covers_least
        else ""
    )
    between = Sign.WELL if reading.free >= DISK_BAND * reading.least else Sign.BETWEEN
    yield Case(
        reading.folder,
        Sign.HOLDS if reading.free < reading.least else between,
        f"{free:,.1f} GiB are free under {reading.folder} on {reading.host}{held}; make room, or keep covers elsewhere (ALEXANDRIA_OBJECTS_URL)",
    )


RULES: Sequence[Rule[Reading]] = (
    *(_rule_of_mark(*each, following) for each, following in zip(_MARKS, [80, 95, 100, None], strict=True)),
    Rule(
        AlertKind.QUOTA_EXHAUSTED_EARLY,
        Severity.INFO,
        "for 30 minutes the forecast says that the day is used up before 20:00 by its provider's clock",
        "the forecast says 21:00 or later for 30 minutes",
        exhausted_early,
        raise_after=EARLY_HOLDS,
        clear_after=EARLY_HOLDS,
    ),
    Rule(
        AlertKind.QUOTA_UNUSED,
        Severity.INFO,
        "in the last 4 hours of a day the forecast leaves 10 % of it unused, for 15 minutes",
        "the day is over",
        left_unused,
        raise_after=UNUSED_HOLDS,
        is_of_day=True,
    ),
    Rule(
        AlertKind.BREAKER_OPEN,
        Severity.WARNING,
        "5 calls in a row brought no usable answer, or the provider asks for a pause, for 5 minutes",
        "it answers for 10 minutes",
        breaker_open,
        raise_after=BREAKER_HOLDS,
        clear_after=BREAKER_WELL,
    ),
    Rule(
        AlertKind.KEY_REFUSED,
        Severity.CRITICAL,
        "the provider refused the key: all calls are stopped until a person acts, or a free call proves it well",
        "calls may be made for 5 minutes",
        key_refused,
        clear_after=REFUSED_WELL,
    ),
    Rule(
        AlertKind.FOREIGN_USE,
        Severity.WARNING,
        "the provider counted 1 % of the day, and 50 units, more than ours",
        "the day is over",
        foreign_use,
        is_of_day=True,
    ),
    Rule(
        AlertKind.LEDGER_DIFFERS,
        Severity.CRITICAL,
        "a day's ledger and its count differ, or the provider counted 1 % of the day, and 50 units, fewer than were charged, or more"
        " than is charged now",
        "the day is over",
        ledger_differs,
        raise_after=2 * MINUTE,  # two readings: what is being reconciled at this moment is none
        is_of_day=True,
    ),
    Rule(
        AlertKind.DAY_UNCONFIRMED,
        Severity.WARNING,
        "the provider has not said for 30 minutes which day it is",
        "it has",
        day_unconfirmed,
        raise_after=UNCONFIRMED_HOLDS,
    ),
    Rule(
        AlertKind.QUEUE_OLD,
        Severity.WARNING,
        "a job that could run waits for more than 15 minutes",
        "none waits for 5 minutes",
        queue_old,
        clear_after=QUEUE_WELL,
    ),
    Rule(
        AlertKind.DEAD_LETTERS,
        Severity.WARNING,
        "a job failed for good",
        "there is none any more",
        dead_letters,
    ),
    Rule(
        AlertKind.BACKLOG_GROWING,
        Severity.WARNING,
        "for an hour items or covers that wait became more, by 10 % and 100, and never fewer",
        "no more wait than an hour ago",
        backlog_growing,
    ),
    Rule(
        AlertKind.RUN_STUCK,
        Severity.WARNING,
        "a running run has work that is due, and no item was touched for an hour",
        "one was touched within 30 minutes, or the run is not running any more",
        run_stuck,
    ),
)
"""What one process looks at for all of them."""

DISK_RULES: Sequence[Rule[DiskReading]] = (
    Rule(
        AlertKind.DISK_LOW,
        Severity.CRITICAL,
        "less than ALEXANDRIA_ALERT_DISK_GIB are free under a machine's data folder, or where it keeps covers",
        "a quarter more than that is free for 5 minutes",
        disk_low,
        clear_after=5 * MINUTE,
    ),
)
"""What each machine looks at for itself."""

ELSEWHERE = (
    About(
        AlertKind.RUN_FAILING,
        Severity.WARNING,
        "a run pauses itself because too many of its latest items failed (docs/harvesting.md)",
        "a person resumes, retries or cancels it",
    ),
    About(
        AlertKind.DATABASE_SILENT,
        Severity.CRITICAL,
        "no query of a process succeeded for 5 minutes",
        "one does",
    ),
)
"""What is raised where it happens."""

EVERY_KIND: Sequence[About] = (*RULES, *DISK_RULES, *ELSEWHERE)


def severity_of(kind: AlertKind) -> Severity:
    """How much a kind matters."""
    return next(each.severity for each in EVERY_KIND if each.kind is kind)
