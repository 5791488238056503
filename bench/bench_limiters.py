"""The quota side by side with other rate limiters at the same limit: what becomes of a day's units when many callers share them.

Eight callers ask for three times what the day has, one unit or twenty-five at a time. In a second run half of them are killed
between the grant and the answer. Counted are the units granted, those above the limit (overshoot), and the denials of requests that
still fitted (spurious): by the callers themselves, in memory that outlives them, so that no limiter is taken at its word.
What is not installed is named and left out; `make bench-quota` installs it.
"""

import ctypes
import os
import signal
import threading
import time
from multiprocessing.sharedctypes import RawArray
from multiprocessing.synchronize import Barrier
from statistics import median

from limiters import LIMIT, OTHERS, OURS, Limiter, Place, running_valkey
from measuring import PATIENCE_SECONDS, NoonClock, be_quiet, fresh_database, processes, server

DAYS = 3
CALLERS = 8
ATTEMPTS = 60
GRANTS_BEFORE_CRASH = 10


class Tally:
    """What the callers did, one slot for each; only its caller writes a slot."""

    def __init__(self) -> None:
        self.charged = RawArray(ctypes.c_long, CALLERS)
        """Units granted, and those asked for and not yet answered."""
        self.denied = RawArray(ctypes.c_long, CALLERS)
        self.spurious = RawArray(ctypes.c_long, CALLERS)
        self.unanswered = RawArray(ctypes.c_long, CALLERS)
        """Units granted to a caller that was killed before it had an answer."""
        self.milliseconds = RawArray(ctypes.c_double, CALLERS)
        """The median time of a grant."""
        self.is_done = RawArray(ctypes.c_long, CALLERS)
        """Whether the caller came to its end, a planned one or that of its requests."""


def call(number: int, limiter: Limiter, place: Place, crashing: int, tally: Tally, together: Barrier) -> None:
    """The body of one caller; the first `crashing` of them are killed on the way."""
    be_quiet()
    times: list[float] = []
    with limiter.connect(place) as acquire:
        together.wait(PATIENCE_SECONDS)
        for attempt in range(ATTEMPTS):
            units = 1 if (attempt + number) % 2 else 25
            tally.charged[number] += units
            asked_at = time.perf_counter()
            settle = acquire(units)
            if settle is None:
                tally.charged[number] -= units
                tally.denied[number] += 1
                # What others have asked for counts as granted, so that a race is never held against a limiter.
                tally.spurious[number] += sum(tally.charged) + units <= LIMIT
                continue
            times.append((time.perf_counter() - asked_at) * 1000)
            tally.milliseconds[number] = median(times)
            if number < crashing and len(times) == GRANTS_BEFORE_CRASH:
                tally.unanswered[number] = units
                tally.is_done[number] = 1
                os.kill(os.getpid(), signal.SIGKILL)
            settle()
    tally.is_done[number] = 1


def run_callers(limiter: Limiter, place: Place, *, crashing: int) -> Tally:
    """Let all callers ask to their end. Each is a process, or a thread if the limiter shares its count no further."""
    tally, together = Tally(), processes.Barrier(CALLERS)
    make = threading.Thread if limiter.is_within_process(place) else processes.Process
    workers = [
        make(target=call, args=(number, limiter, place, crashing, tally, together))
        for number in range(CALLERS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_SECONDS)
    if sum(tally.is_done) != CALLERS:
        raise SystemExit(f"{limiter.name()}: {CALLERS - sum(tally.is_done)} callers failed; see above")
    return tally


def compare(server_url: str, valkey_url: str | None, *, crashing: int) -> None:
    """A few days of every limiter that is here, and a line of figures for each."""
    print(
        f"limiters: {DAYS} days of {LIMIT:,} units, {CALLERS} callers with {ATTEMPTS} requests of 1 or 25 units each,"
        f" {crashing} of them killed"
    )
    print(f"    {'':36} granted  overshoot   unused  spurious denials  ms to acquire  in doubt: real, known")
    url, clock = fresh_database(server_url, f"killed_{crashing}"), NoonClock()
    absent = {each.package: None for each in OTHERS if not each.is_installed()}
    if absent:
        print(f"    not installed: {', '.join(absent)}; make bench-quota installs them")
    for place_in_list, limiter in enumerate((OURS, *OTHERS)):
        if limiter.package in absent:
            continue
        places = [
            Place(url, valkey_url, clock, f"key_{crashing}_{place_in_list}_{day}") for day in range(DAYS)
        ]
        if crashing and limiter.is_within_process(places[0]):
            print(f"    {limiter.name()}: left out, a killed process takes its count with it")
            continue
        tallies = [run_callers(limiter, place, crashing=crashing) for place in places]
        report(limiter, places, tallies)


def report(limiter: Limiter, places: list[Place], tallies: list[Tally]) -> None:
    """All days together; what is too much on one of them does not make up for what is too little on another."""
    granted = [sum(each.charged) for each in tallies]
    denied = sum(sum(each.denied) for each in tallies)
    spurious = f"{sum(sum(each.spurious) for each in tallies)} of {denied}"
    in_doubt = sum(sum(each.unanswered) for each in tallies)
    known = sum(map(limiter.in_doubt, places)) if limiter.in_doubt else "-"
    print(
        f"    {limiter.name():36} {sum(granted):7,} {sum(max(0, each - LIMIT) for each in granted):10,}"
        f" {sum(max(0, LIMIT - each) for each in granted):8,} {spurious:>17}"
        f" {median(median(each.milliseconds) for each in tallies):14.1f} {in_doubt:13}, {known}"
    )


def main() -> None:
    be_quiet()
    with server() as server_url, running_valkey() as valkey_url:
        if valkey_url is None and any(each.package == "limits" and each.is_installed() for each in OTHERS):
            print(
                "limiters: no Redis or Valkey server here, and `limits` has nothing else here to share a count between"
                " processes: it counts in the memory of one process, and its callers are threads"
            )
        for crashing in (0, CALLERS // 2):
            compare(server_url, valkey_url, crashing=crashing)


if __name__ == "__main__":
    main()
