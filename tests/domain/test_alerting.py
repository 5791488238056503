"""Alerts: a case that comes and goes is told once, and a figure that swings within its band changes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria.domain.alerting import (
    OVER_KEPT,
    AlertKind,
    Case,
    Key,
    Rule,
    Severity,
    Sign,
    Standing,
    Step,
    Turn,
    Watch,
    evaluate,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
H, B, W, P = Sign.HOLDS, Sign.BETWEEN, Sign.WELL, Sign.PASSED
R, C, N = Turn.RAISE, Turn.CLEAR, Turn.NOTHING


@dataclass(frozen=True)
class Figures:
    """A reading of one figure of some subjects, or of signs."""

    signs: dict[str, Sign]


def look(reading: Figures) -> Iterator[Case]:
    for subject, sign in reading.signs.items():
        yield Case(subject, sign, f"{subject} is so")


def rule(*, raise_after: int = 0, clear_after: int = 0, is_of_day: bool = False) -> Rule[Figures]:
    return Rule(
        AlertKind.QUEUE_OLD,
        Severity.WARNING,
        "",
        "",
        look,
        raise_after * MINUTE,
        clear_after * MINUTE,
        is_of_day,
    )


class Memory:
    """What the store does with the steps."""

    def __init__(self, of: Rule[Figures]) -> None:
        self.rule = of
        self.watches: dict[Key, Watch] = {}

    def read(self, now: datetime, **signs: Sign) -> list[Step]:
        steps = evaluate(self.watches, Figures(signs), [self.rule], now=now)
        for step in steps:
            key = (step.kind, step.case.subject)
            self.watches.pop(key, None)
            if step.watch is not None:
                self.watches[key] = step.watch
        return steps

    def turns(self, signs: Sequence[Sign | None]) -> list[Turn]:
        """A sign a minute; None leaves the subject out."""
        turns = []
        for minute, sign in enumerate(signs):
            steps = self.read(NOON + minute * MINUTE, **({"a": sign} if sign else {}))
            turns.append(steps[0].turn if steps else N)
        return turns


@pytest.mark.parametrize(
    ("of", "signs", "turns"),
    [
        # at once, and once
        (rule(), [W, H, H, H, W, W], [N, R, N, N, C, N]),
        # the band changes nothing, on either side
        (rule(), [B, B, H, B, B, W, B], [N, N, R, N, N, C, N]),
        # a subject that is no longer there is well
        (rule(), [H, None, None, H], [R, C, N, R]),
        # only what holds for its time; an interruption begins anew
        (rule(raise_after=2), [H, H, H, H], [N, N, R, N]),
        (rule(raise_after=2), [H, H, B, H, H, H], [N, N, N, N, N, R]),
        # only what is well for its time
        (rule(clear_after=2), [H, W, W, W, W], [R, N, N, C, N]),
        (rule(clear_after=2), [H, W, W, B, W, W, W], [R, N, N, N, N, N, C]),
        (rule(clear_after=2), [H, W, H, W, H, W, H], [R, N, N, N, N, N, N]),
        # of a day: once, until the day is over, whatever the figure does
        (rule(is_of_day=True), [B, H, B, W, H, None, None], [N, R, N, N, N, C, N]),
        (rule(is_of_day=True), [H, None, H, H], [R, C, N, N]),
        # passed over by a stronger rule: not told any more, and not when the figure falls back either
        (rule(is_of_day=True), [P, H, H], [N, N, N]),
        (rule(is_of_day=True), [H, P, H], [R, C, N]),
    ],
)  # fmt: skip
def test_a_rule_raises_and_clears_in_its_time(
    of: Rule[Figures], signs: list[Sign | None], turns: list[Turn]
) -> None:
    assert Memory(of).turns(signs) == turns


def test_subjects_stand_each_for_itself() -> None:
    memory = Memory(rule())
    memory.read(NOON, a=H, b=W)
    assert {each.case.subject: each.turn for each in memory.read(NOON, a=W, b=H)} == {"a": C, "b": R}


def test_what_is_well_and_was_is_not_remembered() -> None:
    memory = Memory(rule())
    memory.turns([W, B, H, W])
    assert memory.watches == {}


def test_a_day_that_is_over_is_forgotten_after_some_days() -> None:
    memory = Memory(rule(is_of_day=True))
    memory.turns([H, None])
    assert [each.standing for each in memory.watches.values()] == [Standing.OVER]
    memory.read(NOON + OVER_KEPT)
    assert memory.watches
    memory.read(NOON + OVER_KEPT + 2 * MINUTE)
    assert memory.watches == {}


def test_a_clock_that_was_set_back_raises_nothing_early_and_nothing_never() -> None:
    memory = Memory(rule(raise_after=10))
    memory.read(NOON + timedelta(days=1), a=H)
    assert memory.read(NOON, a=H)[0].turn is N
    assert memory.read(NOON + 9 * MINUTE, a=H)[0].turn is N
    assert memory.read(NOON + 20 * MINUTE, a=H)[0].turn is R


RULES = st.builds(
    rule,
    raise_after=st.integers(0, 5),
    clear_after=st.integers(0, 5),
    is_of_day=st.booleans(),
)
SIGNS = st.lists(st.sampled_from([H, B, W, None]), max_size=60)


@given(RULES, SIGNS)
def test_an_alert_is_raised_and_cleared_in_turns(of: Rule[Figures], signs: list[Sign | None]) -> None:
    changes = [turn for turn in Memory(of).turns(signs) if turn is not N]
    assert changes == [R, C] * (len(changes) // 2) + [R] * (len(changes) % 2)


@given(RULES, SIGNS, st.lists(st.sampled_from([B, H]), min_size=1, max_size=40))
def test_while_it_is_not_well_nothing_is_cleared_or_repeated(
    of: Rule[Figures], before: list[Sign | None], swinging: list[Sign]
) -> None:
    """A figure that alternates within the band, or above it, after it was raised."""
    memory = Memory(of)
    memory.turns([*before, *[H] * 6])
    start = NOON + timedelta(days=1)
    turns = [
        each.turn
        for minute, sign in enumerate(swinging)
        for each in memory.read(start + minute * MINUTE, a=sign)
    ]
    assert set(turns) == {N}


@given(RULES, SIGNS)
def test_for_one_day_there_is_at_most_one_notice(of: Rule[Figures], signs: list[Sign | None]) -> None:
    if of.is_of_day:
        assert Memory(of).turns(signs).count(R) <= 1


@given(RULES, SIGNS)
def test_between_two_notices_it_was_well_for_the_rules_time(
    of: Rule[Figures], signs: list[Sign | None]
) -> None:
    turns = Memory(of).turns(signs)
    raised = [minute for minute, turn in enumerate(turns) if turn is R]
    least = int((of.clear_after + of.raise_after) / MINUTE) + 2
    assert all(later - earlier >= least for earlier, later in pairwise(raised))
