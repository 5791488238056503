"""What the provider's own count proves: somebody else's use, and that units taken for spent were not.

Two bounds hold whenever a count S was read (contracts/isbndb.md, section 5): at least S was spent, and at most S and everything of
ours that the count may not hold yet. So what is charged is brought between S and S plus that, and never further.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from alexandria.domain.quota import (
    ARRIVAL_SPAN,
    UNLIMITED,
    Change,
    Entry,
    Kind,
    Policy,
    Record,
    ReservationState,
    State,
    Window,
)
from alexandria.domain.reserving import charge

COUNT_LAG = timedelta(seconds=30)
"""How far the provider's count may be behind its own answers. None was ever stated or seen; it costs nothing to allow for one."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The provider's count of one day. `asked_at` is the steady time just before it was asked."""

    day: date
    total: int
    spent: int
    asked_at: datetime

    @classmethod
    def of(
        cls,
        policy: Policy,
        *,
        day: date,
        asked_at: datetime,
        total: int,
        spent: int,
        key_total: int | None = None,
        key_spent: int | None = None,
    ) -> "Reading":
        """The subscription's figures, or the key's own where they leave less (contracts/isbndb.md, section 5)."""
        total, spent = min(total, UNLIMITED), min(spent, UNLIMITED)
        if key_total is not None and key_spent is not None:
            left, key_left = policy.limit_of(total) - spent, policy.limit_of(key_total) - key_spent
            if key_left < left:
                return cls(day, key_total, key_spent, asked_at)
        return cls(day, total, spent, asked_at)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """How a count compared with ours, in units: what it raised ours by, and what came back."""

    reading: Reading
    before: int
    after: int
    is_in_time: bool = True
    """False when the count was of a day that is over, and so changed nothing."""

    def as_json(self) -> dict[str, object]:
        """For the CLI and the API."""
        return {
            "day": self.reading.day.isoformat(),
            "provider_total": self.reading.total,
            "provider_spent": self.reading.spent,
            "charged_before": self.before,
            "charged_after": self.after,
            "is_in_time": self.is_in_time,
        }


def is_settled_by(record: Record, reading: Reading, settled_at: datetime | None) -> bool:
    """Whether the count is sure to hold a call, if it was counted at all: its answer came before, or none will any more."""
    if record.state is ReservationState.UNRESOLVED:
        return record.reservation.use_before + ARRIVAL_SPAN < reading.asked_at
    return settled_at is not None and settled_at + COUNT_LAG < reading.asked_at


def reconcile(state: State, reading: Reading, unresolved: Sequence[Record], units_uncertain: int) -> Change:
    """Bring what is charged between the provider's count and that count plus `units_uncertain`.

    `unresolved` are the reservations without a known outcome that the count decides (`is_settled_by`), oldest first;
    `units_uncertain` is what all those are charged that it may not hold yet.
    """
    window = state.window
    if window is None or window.day != reading.day:
        return Change(state)
    window = replace(window, total=reading.total)
    records, entries = _decide(window, reading, unresolved, units_uncertain)
    for entry in entries:
        window = charge(window, entry)
    difference = reading.spent - window.units_charged
    detail = f"the provider counts {reading.spent:,}"
    is_decided = len(records) == len(unresolved)
    if difference > 0:
        entries.append(Entry(window.day, Kind.FOREIGN, difference, detail=detail))
        window = charge(window, entries[-1])
    elif difference + units_uncertain < 0 and is_decided:
        entries.append(Entry(window.day, Kind.RECONCILE, difference + units_uncertain, detail=detail))
        window = charge(window, entries[-1])
    return Change(replace(state, window=window), tuple(records), tuple(entries))


def _decide(
    window: Window, reading: Reading, unresolved: Sequence[Record], units_uncertain: int
) -> tuple[list[Record], list[Entry]]:
    """Which unresolved reservations the count shows not to have been spent, and which to have been; the others wait for another."""
    excess = window.units_charged - reading.spent - units_uncertain
    stranded = set()
    for record in reversed(unresolved):
        # The last ones first: what was sent before a count stood still was more likely counted.
        if 0 < units_on(record, window.day) <= excess:
            excess -= units_on(record, window.day)
            stranded.add(record.request.request_id)
    # While something is uncertain, a count below ours may yet rise to it, or not: then the rest stays open.
    is_clear = units_uncertain == 0 or window.units_charged <= reading.spent
    records, entries = [], []
    for record in unresolved:
        is_stranded = record.request.request_id in stranded
        if is_clear or is_stranded:
            records.append(_resolved(record, window.day, is_stranded))
            entries.append(_entry(record, window.day, -units_on(record, window.day) if is_stranded else 0))
    return records, entries


def units_on(record: Record, day: date) -> int:
    """What a reservation is charged on a day."""
    return record.units_charged if record.reservation.day == day else record.units_carried


def _resolved(record: Record, day: date, is_stranded: bool) -> Record:
    if record.reservation.day != day:
        # On its own day it stays as it is: that day's count is over.
        carried = 0 if is_stranded else record.units_carried
        return replace(record, state=ReservationState.SETTLED, units_carried=carried)
    if is_stranded and not record.units_carried:
        return replace(record, state=ReservationState.RELEASED, units_charged=0)
    return replace(
        record, state=ReservationState.SETTLED, units_charged=0 if is_stranded else record.units_charged
    )


def _entry(record: Record, day: date, units: int) -> Entry:
    kind = Kind.RELEASE if units else Kind.SETTLE
    spender = (record.request.lane, record.request.consumer)
    return Entry(day, kind, units, spender, record.request.request_id, "by the provider's count")
