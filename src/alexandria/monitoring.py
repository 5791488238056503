"""Monitoring: what a person who watches wants to know of queues, providers and usage, put together from what the stores tell."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import msgspec
import structlog

from alexandria.domain import breaker
from alexandria.domain.errors import RecordNotFound
from alexandria.domain.latencies import Latencies
from alexandria.domain.quota import Account, DenialReason
from alexandria.domain.quota_status import Status
from alexandria.domain.quota_usage import Span
from alexandria.stores.counts import CountStore
from alexandria.stores.meters import MeterStore, Readings
from alexandria.stores.monitoring import DeadLetter, MonitoringStore
from alexandria.stores.postgres import Connection

log = structlog.get_logger()


# The breaker


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether a provider is left alone: `closed` (it is asked), `open` (not for a while) or `latched` (not before a person acts)."""

    state: str
    reason: str | None
    """Why no call can be made now, which may also be that the day's units are used up."""
    detail: str | None
    retry_at: datetime | None
    failures_in_a_row: int


def breaker_of(status: Status) -> Breaker:
    """How an account's breaker is."""
    stop, hindrance = status.stop, status.hindrance()
    if stop is not None and stop.reason == DenialReason.SUSPENDED:
        state = "latched"
    elif (stop is not None and stop.reason == DenialReason.BREAKER) or breaker.refuse(
        status.state.failures, status.read_at
    ):
        state = "open"
    else:
        state = "closed"
    return Breaker(
        state,
        hindrance.reason.value if hindrance else None,
        hindrance.detail if hindrance else None,
        hindrance.retry_at if hindrance else None,
        status.state.failures.count,
    )


# Dead letters


def arguments_of(letter: DeadLetter) -> object:
    """What the job was to do: JSON, as it was queued."""
    try:
        return msgspec.json.decode(letter.payload or b"null")
    except msgspec.DecodeError:
        return None


async def get_dead_letter(connection: Connection, number: int) -> DeadLetter:
    """A dead letter. Raises RecordNotFound."""
    letter = await MonitoringStore(connection).find_dead_letter(number)
    if letter is None:
        raise RecordNotFound("queue", f"there is no dead letter {number}, or not any more")
    return letter


async def retry_dead_letter(connection: Connection, number: int) -> DeadLetter:
    """Queue a dead letter's job again, within the caller's transaction; returns it as it was. Raises RecordNotFound and Conflict."""
    letter = await get_dead_letter(connection, number)
    if not await MonitoringStore(connection).retry_dead_letter(number):
        raise RecordNotFound("queue", f"dead letter {number} was dealt with by somebody else")
    log.info("dead_letter.retried", job=number, kind=letter.kind)
    return letter


async def discard_dead_letter(connection: Connection, number: int) -> DeadLetter:
    """Forget a dead letter, within the caller's transaction; returns it as it was. Raises RecordNotFound.

    What it was to do is queued again when it is still wanted: an open item of a run, a cover that is due.
    """
    letter = await get_dead_letter(connection, number)
    if not await MonitoringStore(connection).discard_dead_letter(number):
        raise RecordNotFound("queue", f"dead letter {number} was dealt with by somebody else")
    log.info("dead_letter.discarded", job=number, kind=letter.kind)
    return letter


# Calls


@dataclass(frozen=True)
class Calls:
    """Attempts at calls to one provider, or to one of its endpoints, within a time."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    latencies: Latencies = field(default_factory=Latencies)
    endpoints: Mapping[str, "Calls"] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """All attempts."""
        return sum(self.outcomes.values())


async def read_calls(connection: Connection, since: timedelta) -> Mapping[str, Calls]:
    """Calls of all processes within a time, by provider."""
    return _by_provider(await MeterStore(connection).sum_since(since))


async def read_calls_of_days(connection: Connection, days: int) -> Mapping[str, Calls]:
    """Calls of all processes on the last so many days of UTC, today included, by provider."""
    return _by_provider(await MeterStore(connection).sum_days(days))


def _by_provider(readings: Readings) -> Mapping[str, Calls]:
    return {
        provider: _calls(
            _only(readings, provider=provider),
            {
                endpoint: _calls(_only(readings, provider=provider, endpoint=endpoint))
                for endpoint in sorted(_values(_only(readings, provider=provider), "endpoint"))
            },
        )
        for provider in sorted(_values(readings, "provider"))
    }


def _calls(readings: Readings, endpoints: Mapping[str, Calls] | None = None) -> Calls:
    outcomes = Counter[str]()
    at_most: dict[float, float] = {}
    count, total = 0.0, 0.0
    for (sample, labels), value in readings.items():
        match sample.rpartition("_")[2]:
            case "total":
                outcomes[dict(labels)["outcome"]] += round(value)
            case "bucket":
                bound = float(dict(labels)["le"])
                at_most[bound] = at_most.get(bound, 0.0) + value
            case "count":
                count += value
            case "sum":
                total += value
    return Calls(dict(sorted(outcomes.items())), Latencies(round(count), total, at_most), endpoints or {})


def _only(readings: Readings, **wanted: str) -> Readings:
    return {each: value for each, value in readings.items() if wanted.items() <= dict(each[1]).items()}


def _values(readings: Readings, label: str) -> set[str]:
    return {dict(labels)[label] for _, labels in readings}


# Usage


@dataclass
class Gained:
    """What units were spent and what they brought."""

    units: int = 0
    editions_found: int = 0
    editions_new: int = 0
    works_new: int = 0
    covers_wanted: int = 0
    covers_stored: int | None = None
    """None where nobody knows whose they are."""

    @property
    def editions_per_unit(self) -> float | None:
        """New ones; None when no unit was spent."""
        return round(self.editions_new / self.units, 2) if self.units else None

    @property
    def covers_per_unit(self) -> float | None:
        """Covers that an address was found for; None when no unit was spent."""
        return round(self.covers_wanted / self.units, 2) if self.units else None


@dataclass(frozen=True)
class UsageReport:
    """Units and what they bought, over some days."""

    span: Span
    total: Gained
    foreign: int
    """Units that the provider counted beyond ours; below 0 where it counted less."""
    consumers: Mapping[str, Gained]
    days: Mapping[date, Gained]
    units: Mapping[date, Counter[str]]
    """What each consumer spent on each of the days; those that spent nothing are left out."""


async def read_usage(connection: Connection, account: Account | None, span: Span) -> UsageReport:
    """What was spent and what it brought; without an account only what was brought. Days are the provider's for units, UTC's else."""
    store, kept = MonitoringStore(connection), CountStore(connection)
    total, foreign = Gained(covers_stored=0), 0
    consumers: dict[str, Gained] = {}
    days = {span.first_day + timedelta(days=n): Gained(covers_stored=0) for n in range(_length(span))}
    units: dict[date, Counter[str]] = {day: Counter() for day in days}
    for day in await store.list_days(account, span) if account else []:
        foreign += day.units_charged - sum(day.used.values())
        for spender, spent in day.used.items():
            name = spender.partition("/")[2]
            units[day.day][name] += spent
            for each in (total, consumers.setdefault(name, Gained()), days[day.day]):
                each.units += spent
    for gain in await kept.list_gains(span):
        for each in (total, consumers.setdefault(gain.consumer, Gained()), days[gain.day]):
            each.editions_found += gain.editions_found
            each.editions_new += gain.editions_new
            each.works_new += gain.works_new
            each.covers_wanted += gain.covers_wanted
    for stored_on, covers in (await kept.list_growth(span, ["covers_stored"]))["covers_stored"].items():
        for each in (total, days[stored_on]):
            each.covers_stored = (each.covers_stored or 0) + covers
    ranked: Sequence[tuple[str, Gained]] = sorted(
        consumers.items(), key=lambda each: (-each[1].units, each[0])
    )
    return UsageReport(span, total, foreign, dict(ranked), days, units)


def _length(span: Span) -> int:
    return (span.last_day - span.first_day).days + 1
