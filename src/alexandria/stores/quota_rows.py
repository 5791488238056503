"""Rows of the quota's tables, to and from the domain's values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from alexandria.domain.quota import (
    Account,
    Caps,
    DenialReason,
    Entry,
    Failures,
    Kind,
    Lane,
    Rate,
    Record,
    Request,
    Reservation,
    ReservationState,
    Spender,
    State,
    Stop,
    Window,
)
from alexandria.domain.quota_status import Discrepancy, Usage


def utc(time: datetime | None) -> datetime | None:
    """A time as the server gave it, in whatever zone its session has."""
    return time.astimezone(UTC) if time else None


def surely_utc(time: datetime) -> datetime:
    """The same of a column that is never null."""
    return time.astimezone(UTC)


def spender_of(spender: Spender | None) -> str | None:
    """`lane/consumer`, as a window's `used` names it."""
    return f"{spender[0].value}/{spender[1]}" if spender else None


def used_of(used: Mapping[str, int]) -> dict[Spender, int]:
    """A window's `used` by lane and consumer."""
    return {
        (Lane(lane), consumer): units
        for name, units in used.items()
        for lane, _, consumer in [name.partition("/")]
    }


def account_row(account: Account) -> dict[str, Any]:
    """The parameters that name an account."""
    return {"provider": account.provider, "key_hash": account.key_hash}


@dataclass(frozen=True, slots=True)
class StateRow:
    """What `read_state` gives."""

    now: datetime
    server_started_at: datetime
    day: date | None
    ahead_seconds: float
    clock_shift_seconds: float
    next_slot_at: datetime | None
    rate_requests: int | None
    rate_window_seconds: float | None
    stop_reason: str | None
    stop_detail: str | None
    stopped_at: datetime | None
    stopped_until: datetime | None
    failures: int
    failed_at: datetime | None
    probed_at: datetime | None
    revision: int
    reconciliations: int
    units_charged: int
    used: Mapping[str, int]
    provider_total: int | None
    units_in_flight: int
    units_unresolved: int
    units_per_day: int | None
    units_per_run: int | None

    def state(self, account: Account, *, recorded: Record | None = None, is_known: bool = True) -> State:
        """The account as the domain sees it."""
        return State(
            account=account,
            window=Window(self.day, self.units_charged, used_of(self.used), self.provider_total)
            if self.day
            else None,
            ahead=timedelta(seconds=self.ahead_seconds),
            next_slot_at=utc(self.next_slot_at),
            clock_shift=timedelta(seconds=self.clock_shift_seconds),
            rate=self._rate(),
            stop=self._stop(),
            failures=Failures(self.failures, utc(self.failed_at), utc(self.probed_at)),
            recorded=recorded,
            is_known=is_known,
            units_in_flight=self.units_in_flight,
            units_unresolved=self.units_unresolved,
            caps=Caps(self.units_per_day, self.units_per_run),
        )

    def _rate(self) -> Rate | None:
        if self.rate_requests is None or self.rate_window_seconds is None:
            return None
        return Rate(self.rate_requests, timedelta(seconds=self.rate_window_seconds))

    def _stop(self) -> Stop | None:
        if self.stop_reason is None or self.stop_detail is None or self.stopped_at is None:
            return None
        return Stop(
            DenialReason(self.stop_reason),
            self.stop_detail,
            surely_utc(self.stopped_at),
            utc(self.stopped_until),
        )


@dataclass(frozen=True, slots=True)
class ReservationRow:
    """A row of quota_reservations."""

    request_id: UUID
    provider: str
    key_hash: str
    day: date
    lane: str
    consumer: str
    job: str | None
    units: int
    requests: int
    not_before: datetime
    use_before: datetime
    state: str
    units_charged: int
    carried_to: date | None
    units_carried: int
    is_day_known: bool
    settled_at: datetime | None

    def record(self) -> Record:
        """The reservation as the domain sees it."""
        # The version before wrote `expired`; the sweep takes it up.
        state = "unresolved" if self.state == "expired" else self.state
        not_before, use_before = surely_utc(self.not_before), surely_utc(self.use_before)
        return Record(
            Request(self.request_id, Lane(self.lane), self.consumer, self.units, self.requests, self.job),
            Reservation(
                self.request_id,
                Account(self.provider, self.key_hash),
                self.day,
                self.units,
                not_before,
                use_before,
                as_of=not_before,
            ),
            ReservationState(state),
            self.units_charged,
            self.carried_to,
            self.units_carried,
            self.is_day_known,
        )


def record_columns(records: Sequence[Record], steady: datetime) -> dict[str, Any]:
    """The parameters of `save_records`: a list for each column."""
    return {
        "request_id": [each.request.request_id for each in records],
        "state": [each.state.value for each in records],
        "units_charged": [each.units_charged for each in records],
        "carried_to": [each.carried_to for each in records],
        "units_carried": [each.units_carried for each in records],
        "is_day_known": [each.is_day_known for each in records],
        "steady": steady,
    }


def entry_columns(account: Account, entries: Sequence[Entry], now: datetime) -> dict[str, Any]:
    """The parameters of `record_entries`: a list for each column."""
    return {
        **account_row(account),
        "day": [each.day for each in entries],
        "request_id": [each.request_id for each in entries],
        "kind": [each.kind.value for each in entries],
        "units": [each.units for each in entries],
        "detail": [each.detail for each in entries],
        "now": now,
    }


def charges_of(account: Account, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The parameters of `charge_window`, once for each day and spender: a count may decide thousands of reservations."""
    sums: dict[tuple[date, str | None, bool], int] = {}
    for entry in entries:
        may_be_in_flight = entry.kind in {Kind.CARRY, Kind.UNRESOLVE}
        place = entry.day, spender_of(entry.spender), may_be_in_flight
        sums[place] = sums.get(place, 0) + entry.units
    return [
        {
            **account_row(account),
            "day": day,
            "spender": spender,
            "may_be_in_flight": may_be_in_flight,
            "units": units,
        }
        for (day, spender, may_be_in_flight), units in sums.items()
        if units
    ]


def state_row(state: State, *, is_count_due: bool, now: datetime) -> dict[str, Any]:
    """The parameters of `save_account`."""
    return {
        **account_row(state.account),
        "account_day": state.day,
        "ahead_seconds": state.ahead.total_seconds(),
        "rate_requests": state.rate.requests if state.rate else None,
        "rate_window_seconds": state.rate.window.total_seconds() if state.rate else None,
        "failures": state.failures.count,
        "failed_at": state.failures.last_at,
        "probed_at": state.failures.probed_at,
        "next_slot_at": state.next_slot_at,
        "clock_shift_seconds": state.clock_shift.total_seconds(),
        "is_count_due": is_count_due,
        "now": now,
    }


@dataclass(frozen=True, slots=True)
class WindowRow:
    """A row of quota_windows."""

    units_charged: int = 0
    used: Mapping[str, int] | None = None
    provider_total: int | None = None
    provider_spent: int | None = None
    provider_read_at: datetime | None = None

    def window(self, day: date) -> Window:
        """The day's count as the domain sees it."""
        return Window(day, self.units_charged, used_of(self.used or {}), self.provider_total)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What `list_usages` gives."""

    lane: str
    consumer: str
    requests: int
    settled: int
    reserved: int
    unresolved: int

    def usage(self) -> Usage:
        """The same as the domain sees it."""
        return Usage(
            Lane(self.lane), self.consumer, self.requests, self.settled, self.reserved, self.unresolved
        )


@dataclass(frozen=True, slots=True)
class DiscrepancyRow:
    """What `list_discrepancies` gives."""

    provider: str
    key_hash: str
    day: date
    window_units: int
    ledger_units: int
    reservation_units: int

    def discrepancy(self) -> Discrepancy:
        """The same as the domain sees it."""
        account = Account(self.provider, self.key_hash)
        return Discrepancy(account, self.day, self.window_units, self.ledger_units, self.reservation_units)
