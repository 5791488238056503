"""`make mutants`: break one rule of the quota coordinator after the other, and see the tests notice.

Each mutant is a copy of the source with one place changed. A mutant that the tests let live is a rule that nothing holds; one whose
place is no longer found is a list that is out of date: both end this with exit code 1.

    python tests/mutants.py                 # all of them
    python tests/mutants.py no_lock no_melt
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

HISTORIES = "tests/domain/test_quota_histories.py"
RULES = "tests/domain/test_quota_rules.py"
DECISIONS = "tests/domain/test_quota.py"
DAY = "tests/domain/test_quota_day.py"
STORE = "tests/stores/test_quota.py"
CAPS = "tests/stores/test_quota_caps.py"
GATEWAY = "tests/providers/test_gateway.py"
COUNTING = "tests/providers/test_counting.py"
TROUBLE = "tests/end_to_end/test_database_trouble.py"


@dataclass(frozen=True)
class Mutant:
    """One rule broken: in `file`, `old` becomes `new`, everywhere it stands; `tests` must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant("no_lock", "stores/quota.sql", "FOR NO KEY UPDATE OF account, quota_window", "", (STORE,)),
    Mutant(
        "no_fence",
        "providers/permits.py",
        "return self._clock.monotonic() < permit.lapses_at and self._clock.now() < permit.lapses_by_wall_at",
        "return True",
        (GATEWAY,),
    ),
    Mutant(
        "no_carry_over_midnight",
        "domain/settling.py",
        "        units = record.units_charged\n",
        "        units = 0\n",
        (HISTORIES, RULES),
    ),
    Mutant(
        "refund_on_time_out",
        "domain/settling.py",
        "spent = settlement.units_spent if settlement.is_certain else record.reservation.units",
        "spent = settlement.units_spent if settlement.is_certain else 0",
        (HISTORIES, RULES),
    ),
    Mutant(
        "released_on_time_out",
        "providers/gateway.py",
        "units=call.units if failure.was_sent else 0, was_sent=failure.was_sent)",
        "units=0, was_sent=False)",
        (GATEWAY,),
    ),
    Mutant(
        "no_unique_id",
        "domain/reserving.py",
        "        or _repeat(state, request, state.steady(now))\n",
        "",
        (HISTORIES, DECISIONS),
    ),
    Mutant(
        "no_limit",
        "domain/reserving.py",
        "if window.units_charged + request.units <= limit:",
        "if True:",
        (HISTORIES, DECISIONS),
    ),
    Mutant(
        "limit_off_by_one",
        "domain/reserving.py",
        "if window.units_charged + request.units <= limit:",
        "if window.units_charged + request.units <= limit + 1:",
        (HISTORIES, DECISIONS),
    ),
    Mutant(
        "no_floors", "domain/reserving.py", "    if kept <= left:\n", "    if True:\n", (RULES, HISTORIES)
    ),
    Mutant(
        "no_melt",
        "domain/reserving.py",
        "    return max(0.0, min(1.0, before_reset / (policy.melt_begins - policy.melt_ends)))",
        "    return 1.0",
        (RULES, DAY),
    ),
    Mutant(
        "no_ceiling",
        "domain/reserving.py",
        "    if used + request.units <= ceiling:\n",
        "    if True:\n",
        (RULES,),
    ),
    Mutant(
        "no_cap_of_a_day",
        "domain/reserving.py",
        "    ceilings = (policy.ceilings.get(request.consumer), state.caps.units_per_day)\n",
        "    ceilings = (policy.ceilings.get(request.consumer),)\n",
        (RULES, CAPS),
    ),
    Mutant(
        "no_cap_of_a_run",
        "domain/reserving.py",
        "        or _refuse_beyond_cap_of_run(state, request)\n",
        "",
        (RULES, CAPS),
    ),
    Mutant(
        "the_cap_of_a_run_is_off_by_one",
        "domain/reserving.py",
        "used + request.units <= cap:",
        "used + request.units <= cap + 1:",
        (RULES, CAPS),
    ),
    Mutant(
        "a_run_is_not_asked_what_it_spent",
        "stores/quota_books.py",
        "        return replace(state, caps=replace(state.caps, units_of_run=row[0] if row else None))\n",
        "        return state\n",
        (CAPS,),
    ),
    Mutant(
        "no_guard",
        "domain/reserving.py",
        "        or _refuse_on_an_uncertain_day(state, request, policy, now)\n",
        "",
        (DECISIONS, RULES),
    ),
    Mutant(
        "our_clock_opens_the_day",
        "domain/reserving.py",
        "    if policy.has_counter and not request.is_probe:\n",
        "    if False:\n",
        (RULES, HISTORIES),
    ),
    Mutant(
        "an_unknown_count_is_none",
        "domain/reserving.py",
        "    if not policy.has_counter or request.is_probe or state.is_known:\n",
        "    if True:\n",
        (RULES, COUNTING),
    ),
    Mutant(
        "use_hides_behind_calls_in_flight",
        "domain/reserving.py",
        "        or _refuse_a_hidden_count(state, request, policy, now)\n",
        "",
        (RULES,),
    ),
    Mutant(
        "what_may_come_back_is_not_waited_for",
        "domain/reserving.py",
        "    if policy.has_counter and window.units_charged - state.units_unresolved + request.units <= limit:\n",
        "    if False:\n",
        (HISTORIES, RULES),
    ),
    Mutant(
        "no_room_for_the_fence_in_the_pace",
        "domain/pacing.py",
        "(rate.window + fence_span) // rate.requests",
        "rate.window // rate.requests",
        (HISTORIES, DECISIONS),
    ),
    Mutant("bulk_queues_like_people", "domain/pacing.py", "Lane.BULK: 1}", "Lane.BULK: 40}", (RULES, DAY)),
    Mutant(
        "learnt_pace_ignored", "domain/pacing.py", "    return learnt\n", "    return configured\n", (RULES,)
    ),
    Mutant(
        "a_clock_that_is_set_moves_the_slots",
        "domain/pacing.py",
        "        return now - most\n",
        "        return shift\n",
        (HISTORIES, RULES),
    ),
    Mutant(
        "no_breaker", "domain/breaker.py", "    if now < ends_at:\n", "    if False:\n", (RULES, COUNTING)
    ),
    Mutant(
        "everybody_tries_again_at_once",
        "domain/breaker.py",
        "    return failures if pause_ends_at(failures, now) is None else replace(failures, probed_at=now)",
        "    return failures",
        (RULES,),
    ),
    Mutant(
        "foreign_use_ignored",
        "domain/settling.py",
        "    if spent is None or spent <= window.units_charged:\n",
        "    if True:\n",
        (RULES, COUNTING),
    ),
    Mutant(
        "stranded_units_stay_lost",
        "domain/reconciling.py",
        "        if 0 < units_on(record, window.day) <= excess:\n",
        "        if False:\n",
        (RULES, HISTORIES),
    ),
    Mutant(
        "what_is_out_is_taken_for_lost",
        "domain/reconciling.py",
        "    excess = window.units_charged - reading.spent - units_uncertain\n",
        "    excess = window.units_charged - reading.spent\n",
        (HISTORIES, RULES),
    ),
    Mutant(
        "a_call_in_flight_is_decided_too_early",
        "domain/reconciling.py",
        "        return record.reservation.use_before + ARRIVAL_SPAN < reading.asked_at\n",
        "        return True\n",
        (HISTORIES,),
    ),
    Mutant(
        "an_answer_after_midnight_counts_before",
        "domain/settling.py",
        "    if policy.days.of(moment) <= day:\n",
        "    if True:\n",
        (HISTORIES, RULES),
    ),
    Mutant(
        "a_release_after_all",
        "domain/settling.py",
        "    if record.state is not ReservationState.RESERVED:\n        return Change(state)\n    after = replace(record, state=ReservationState.RELEASED",
        "    after = replace(record, state=ReservationState.RELEASED",
        (HISTORIES, RULES),
    ),
    Mutant(
        "a_broken_date_is_believed",
        "domain/settling.py",
        "    if provider_time is None or abs(provider_time - now) > CLOCK_TOLERANCE:\n",
        "    if provider_time is None:\n",
        (RULES,),
    ),
    Mutant(
        "a_restored_database_is_believed",
        "stores/quota_books.py",
        "        return row.server_started_at == self.server_started_at and row.revision >= self.revision\n",
        "        return True\n",
        (TROUBLE,),
    ),
    Mutant(
        "a_new_process_knows_the_count",
        "stores/quota_books.py",
        "row.reconciliations, is_known=False)\n\n    def follows",
        "row.reconciliations, is_known=True)\n\n    def follows",
        (COUNTING, TROUBLE),
    ),
    Mutant(
        "what_is_read_to_be_changed_is_not_locked",
        "stores/quota.sql",
        " WHERE request_id = %(request_id)s\n   FOR NO KEY UPDATE;",
        " WHERE request_id = %(request_id)s;",
        (STORE,),
    ),
)


def main(names: list[str]) -> int:
    """Try the named mutants, or all; returns the exit code. First of all the tests must pass as things are."""
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        print("there is no mutant", *sorted(unknown))
        return 2
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    for tests in sorted({tests for mutant in chosen for tests in mutant.tests}):
        if reason := failure_of(tests, ROOT / "src"):
            print(f"{tests} fails without any mutant: {reason}")
            return 1
    alive = [mutant.name for mutant in chosen if not is_caught(mutant)]
    print(
        f"{len(chosen) - len(alive)} of {len(chosen)} mutants were caught"
        + "".join(f"; alive: {each}" for each in alive)
    )
    return 1 if alive else 0


def is_caught(mutant: Mutant) -> bool:
    """Whether one of the mutant's tests fails, each tried alone until then."""
    with tempfile.TemporaryDirectory(prefix="alexandria-mutant-") as name:
        source = Path(name) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        Path(name).chmod(0o755)
        place = source / "alexandria" / mutant.file
        text = place.read_text("utf-8")
        if mutant.old not in text:
            print(f"{mutant.name:40} OUT OF DATE: its place in {mutant.file} is not there any more")
            return False
        place.write_text(text.replace(mutant.old, mutant.new), "utf-8")
        began_at = time.monotonic()
        for tests in mutant.tests:
            if reason := failure_of(tests, source):
                seconds = time.monotonic() - began_at
                print(f"{mutant.name:40} caught by {tests} in {seconds:.0f} s: {reason}", flush=True)
                return True
        print(f"{mutant.name:40} ALIVE: {' and '.join(mutant.tests)} did not notice", flush=True)
        return False


def failure_of(tests: str, source: Path) -> str | None:
    """Why a test file fails with this source in front of the installed one; None when it passes.

    A run that never ends has noticed, too. One that can't begin has not: that ends the program.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", tests]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        return "it did not end"
    said = done.stdout.decode()
    if done.returncode not in {0, 1}:
        sys.exit(f"the tests could not be run:\n{said}{done.stderr.decode()}")
    reasons = re.findall(
        r"^(?:E|    \|) +(.*(?:Error|assert|Failed|Denied|Exhausted|Unavailable).*)$", said, re.MULTILINE
    )
    return (reasons or ["see the test"])[0][:100] if done.returncode else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
