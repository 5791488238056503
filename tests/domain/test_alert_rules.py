"""The rules of alerts: at which figures each holds, is well, or says nothing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from alexandria.domain.alert_readings import (
    AccountReading,
    BacklogReading,
    DiskReading,
    QueueReading,
    Reading,
    RunReading,
    Sample,
)
from alexandria.domain.alert_rules import DISK_RULES, EVERY_KIND, GIBIBYTE, RULES, SAMPLED_EVERY
from alexandria.domain.alerting import AlertKind, Case, Sign, Turn, Watch, evaluate
from alexandria.domain.quota import Account, DenialReason, Failures, Lane, Policy, State, Stop, Window
from alexandria.domain.quota_status import Status, Usage
from alexandria.providers.policies import POLICIES

DAY = date(2026, 11, 23)
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
ISBNDB = Policy(hard_limit=1_000, safe_limit=1_000, has_counter=True)
H, B, W, P = Sign.HOLDS, Sign.BETWEEN, Sign.WELL, Sign.PASSED


def an_account(
    used: int = 0,
    *,
    now: datetime = NOON,
    pace: int = 0,
    ours: int | None = None,
    stop: Stop | None = None,
    failures: int = 0,
    policy: Policy = ISBNDB,
    provider: str = "isbndb",
    books: tuple[int, int] | None = None,
    provider_spent: int | None = None,
    is_confirmed: bool = True,
) -> AccountReading:
    state = State(
        Account.of(provider, "a key"), Window(DAY, used), stop=stop, failures=Failures(failures, now)
    )
    usages = (Usage(Lane.BULK, "covers", 1, used if ours is None else ours, 0, 0),)
    status = Status(
        policy, now, state, is_confirmed=is_confirmed, provider_spent=provider_spent, usages=usages
    )
    return AccountReading(status, status.forecast(pace), *(books or (used, used)))


def a_stop(reason: DenialReason, until: datetime | None) -> Stop:
    return Stop(reason, "it said so", NOON, until)


def signs_of(kind: AlertKind, reading: Reading) -> list[Sign]:
    return [case.sign for case in cases_of(kind, reading)]


def cases_of(kind: AlertKind, reading: Reading) -> list[Case]:
    [rule] = [each for each in RULES if each.kind is kind]
    return list(rule.look(reading))


def evening(minutes_left: int) -> datetime:
    return MIDNIGHT + timedelta(days=1) - timedelta(minutes=minutes_left)


@pytest.mark.parametrize(
    ("kind", "account", "sign"),
    [
        (AlertKind.QUOTA_50, an_account(499), B),
        (AlertKind.QUOTA_50, an_account(500), H),
        (AlertKind.QUOTA_50, an_account(800), P),
        (AlertKind.QUOTA_80, an_account(799), B),
        (AlertKind.QUOTA_80, an_account(949), H),
        (AlertKind.QUOTA_80, an_account(950), P),
        (AlertKind.QUOTA_95, an_account(950), H),
        (AlertKind.QUOTA_95, an_account(1000), P),
        (AlertKind.QUOTA_100, an_account(999), B),
        (AlertKind.QUOTA_100, an_account(1003), H),
        # exhausted at 19:59, 20:00, 20:59, 21:00, and not at all
        (AlertKind.QUOTA_EXHAUSTED_EARLY, an_account(203, pace=100), H),
        (AlertKind.QUOTA_EXHAUSTED_EARLY, an_account(200, pace=100), B),
        (AlertKind.QUOTA_EXHAUSTED_EARLY, an_account(102, pace=100), B),
        (AlertKind.QUOTA_EXHAUSTED_EARLY, an_account(100, pace=100), W),
        (AlertKind.QUOTA_EXHAUSTED_EARLY, an_account(100), W),
        (AlertKind.QUOTA_EXHAUSTED_EARLY, an_account(1000, pace=100), B),
        # a tenth of the day left in its last four hours
        (AlertKind.QUOTA_UNUSED, an_account(0, now=evening(241)), B),
        (AlertKind.QUOTA_UNUSED, an_account(0, now=evening(240)), H),
        (AlertKind.QUOTA_UNUSED, an_account(900, now=evening(60)), H),
        (AlertKind.QUOTA_UNUSED, an_account(901, now=evening(60)), B),
        (AlertKind.QUOTA_UNUSED, an_account(800, now=evening(60), pace=150), B),
        (AlertKind.BREAKER_OPEN, an_account(failures=4), W),
        (AlertKind.BREAKER_OPEN, an_account(failures=5), H),
        (AlertKind.BREAKER_OPEN, an_account(stop=a_stop(DenialReason.BREAKER, NOON + timedelta(minutes=1))), H),
        (AlertKind.BREAKER_OPEN, an_account(stop=a_stop(DenialReason.BREAKER, NOON)), W),
        (AlertKind.KEY_REFUSED, an_account(), W),
        (AlertKind.KEY_REFUSED, an_account(stop=a_stop(DenialReason.SUSPENDED, None)), H),
        (AlertKind.KEY_REFUSED, an_account(stop=a_stop(DenialReason.EXHAUSTED, NOON + timedelta(hours=1))), W),
        (AlertKind.FOREIGN_USE, an_account(500, ours=451), B),
        (AlertKind.FOREIGN_USE, an_account(500, ours=450), H),
        (AlertKind.LEDGER_DIFFERS, an_account(500, books=(500, 500), provider_spent=500), B),
        (AlertKind.LEDGER_DIFFERS, an_account(500, books=(499, 500)), H),
        (AlertKind.LEDGER_DIFFERS, an_account(500, provider_spent=501), H),
        (AlertKind.LEDGER_DIFFERS, an_account(500, ours=549), B),
        (AlertKind.LEDGER_DIFFERS, an_account(500, ours=550), H),
        (AlertKind.DAY_UNCONFIRMED, an_account(), W),
        (AlertKind.DAY_UNCONFIRMED, an_account(is_confirmed=False), H),
    ],
)  # fmt: skip
def test_an_account_is_judged_by_its_figures(kind: AlertKind, account: AccountReading, sign: Sign) -> None:
    [case] = cases_of(kind, Reading(account.status.read_at, [account]))
    assert case.sign is sign
    assert case.message


@pytest.mark.parametrize("kind", [AlertKind.QUOTA_50, AlertKind.QUOTA_UNUSED, AlertKind.FOREIGN_USE])
def test_a_provider_without_a_limit_for_a_day_uses_up_none(kind: AlertKind) -> None:
    account = an_account(9_000, policy=POLICIES["openlibrary"], provider="openlibrary", now=evening(60))
    assert cases_of(kind, Reading(NOON, [account])) == []


def test_units_that_cost_nothing_need_not_be_used_up() -> None:
    account = an_account(policy=replace(ISBNDB, has_counter=False), now=evening(60))
    assert cases_of(AlertKind.QUOTA_UNUSED, Reading(NOON, [account])) == []


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


@pytest.mark.parametrize(
    ("kind", "reading", "sign"),
    [
        (AlertKind.QUEUE_OLD, Reading(NOON, queues=[QueueReading("a", minutes(4), 0)]), W),
        (AlertKind.QUEUE_OLD, Reading(NOON, queues=[QueueReading("a", minutes(5), 0)]), B),
        (AlertKind.QUEUE_OLD, Reading(NOON, queues=[QueueReading("a", minutes(15), 0)]), B),
        (AlertKind.QUEUE_OLD, Reading(NOON, queues=[QueueReading("a", minutes(15.1), 0)]), H),
        (AlertKind.DEAD_LETTERS, Reading(NOON, queues=[QueueReading("a", minutes(0), 0)]), W),
        (AlertKind.DEAD_LETTERS, Reading(NOON, queues=[QueueReading("a", minutes(0), 1)]), H),
        (AlertKind.RUN_STUCK, Reading(NOON, runs=[RunReading("a", minutes(29))]), W),
        (AlertKind.RUN_STUCK, Reading(NOON, runs=[RunReading("a", minutes(60))]), B),
        (AlertKind.RUN_STUCK, Reading(NOON, runs=[RunReading("a", minutes(61))]), H),
    ],
)  # fmt: skip
def test_queues_and_runs_are_judged_by_their_age(kind: AlertKind, reading: Reading, sign: Sign) -> None:
    assert signs_of(kind, reading) == [sign]


def backlog(sizes: Sequence[int]) -> Reading:
    """A sample every five minutes, the last one now."""
    first = NOON - (len(sizes) - 1) * SAMPLED_EVERY
    samples = [Sample(first + n * SAMPLED_EVERY, size) for n, size in enumerate(sizes)]
    return Reading(NOON, backlogs=[BacklogReading("items", samples)])


@pytest.mark.parametrize(
    ("sizes", "sign"),
    [
        ([0, *[10 * n for n in range(1, 13)]], H),
        ([0] * 12 + [100], H),
        ([0] * 12 + [99], B),
        ([10_000] * 12 + [10_999], B),
        ([10_000] * 12 + [11_000], H),
        ([0, 500, 499, *[2000] * 10], B),  # it shrank once
        ([500] * 13, W),
        ([500] * 12 + [1], W),
        ([10 * n for n in range(12)], B),  # not an hour yet
        ([], B),
    ],
)
def test_a_backlog_grows_when_it_did_for_an_hour_and_never_shrank(sizes: Sequence[int], sign: Sign) -> None:
    assert signs_of(AlertKind.BACKLOG_GROWING, backlog(sizes)) == [sign]


@pytest.mark.parametrize(("free", "sign"), [(4.9, H), (5.0, B), (6.2, B), (6.25, W)])
def test_a_disk_is_low_below_its_threshold_and_well_a_quarter_above(free: float, sign: Sign) -> None:
    [rule] = DISK_RULES
    [case] = rule.look(DiskReading("/data", "a-host", int(free * GIBIBYTE), 5 * GIBIBYTE))
    assert case.sign is sign


def test_a_jump_over_several_marks_is_told_once_and_units_that_come_back_tell_nothing() -> None:
    watches: dict[tuple[AlertKind, str], Watch] = {}
    raised = []
    for used in (100, 960, 940, 700, 500, 960, 1000):
        steps = evaluate(watches, Reading(NOON, [an_account(used)]), RULES, now=NOON)
        raised.append([each.kind for each in steps if each.turn is Turn.RAISE])
        watches = {(each.kind, each.case.subject): each.watch for each in steps if each.watch}
    assert raised == [[], [AlertKind.QUOTA_95], [], [], [], [], [AlertKind.QUOTA_100]]


def test_every_kind_has_one_rule_and_says_when() -> None:
    assert sorted(each.kind for each in EVERY_KIND) == sorted(AlertKind)
    assert all(each.raised and each.cleared for each in EVERY_KIND)


def test_what_holds_says_what_to_do() -> None:
    """Every message of a warning names a command, a setting or a page."""
    stopped = an_account(
        1000,
        ours=900,
        books=(1, 2),
        failures=9,
        stop=a_stop(DenialReason.SUSPENDED, None),
        is_confirmed=False,
    )
    reading = Reading(
        NOON, [stopped], [QueueReading("a", minutes(99), 2)], backlog([0] * 12 + [500]).backlogs, [RunReading("a", minutes(99))]
    )  # fmt: skip
    told = [case for rule in RULES for case in rule.look(reading) if case.sign is Sign.HOLDS]
    assert len(told) >= 9
    for case in told:
        assert any(word in case.message for word in ("alexandria ", "log", "by themselves", ".md")), case
