"""What this API says about how things stand: the shapes that /openapi.json shows.

Every time is UTC in ISO 8601. A field that is unknown is null, never an empty text or a stand-in.
"""

from datetime import date, datetime
from typing import Any, Literal, Self

from pydantic import Field

from alexandria import monitoring
from alexandria.api.alert_shapes import Alert
from alexandria.api.run_shapes import Run
from alexandria.api.shapes import QuotaStatus, Rate, Shape
from alexandria.domain.backpressure import Gate
from alexandria.stores.monitoring import DeadLetter as StoredLetter
from alexandria.stores.monitoring import Flow, Jobs


class HealthNow(Shape):
    """Who is at work; the database answered, or this answer would be a problem document."""

    version: str
    worker: str = Field(description="The worker in this server: `running`, `off`, `idle` or `crashed`.")
    worker_detail: str | None = Field(description="Why, when it crashed.")
    processes_alive: int = Field(
        description="Servers, workers and commands on all machines that gave a sign of life within 30 s."
    )
    workers_alive: int = Field(description="Workers in them.")


class Breaker(Shape):
    """Whether a provider is left alone: `closed`, it is asked; `open`, not for a while; `latched`, not before a person acts."""

    state: Literal["closed", "open", "latched"]
    reason: str | None = Field(
        description="Why no call can be made now, which may also be that the day's units are used up (`exhausted`)."
    )
    detail: str | None
    retry_at: datetime | None = Field(description="When that ends; null when a person has to act.")
    failures_in_a_row: int


class Pace(Shape):
    """How fast is asked."""

    units_per_hour: float = Field(description="Ours of the last hour, and the day's mean of foreign use.")
    rate: Rate = Field(description="What the provider grants.")
    next_slot_at: datetime | None = Field(description="The first time that is free for a request.")


class QueueLine(Shape):
    """Jobs of one kind: `harvest_item` or `fetch_cover`."""

    kind: str
    waiting: int = Field(description="May be taken by whoever is free.")
    snoozed: int = Field(description="Put off until their time comes.")
    in_work: int
    dead: int = Field(description="Dead letters: see /api/monitoring/dead-letters.")
    oldest_seconds: float = Field(
        description="For how long the first of those that wait could have been taken."
    )
    entered_per_minute: float
    left_per_minute: float = Field(description="Those that were done, and those that failed for good.")
    put_back_per_minute: float = Field(description="Those that were snoozed or are tried again.")
    low_water: int = Field(description="Down to so many jobs nothing more is put in once it was full.")
    high_water: int = Field(
        description="At so many, those put off included, it is full; who comes before the bulk passes by a quarter."
    )
    is_paused: bool = Field(description="Whether the bulk waits until the queue is down to `low_water`.")
    drain_per_minute: float = Field(
        description="What left within five minutes, as it was last counted; Retry-After is computed from it."
    )

    @classmethod
    def of(cls, jobs: Jobs, flow: Flow, gate: Gate, *, minutes: int) -> Self:
        """The shape of a queue over some minutes."""
        return cls(
            kind=jobs.kind,
            waiting=jobs.waiting,
            snoozed=jobs.snoozed,
            in_work=jobs.in_work,
            dead=jobs.dead,
            oldest_seconds=round(max(0.0, jobs.oldest_seconds), 3),
            entered_per_minute=round(flow.entered / minutes, 2),
            left_per_minute=round((flow.done + flow.failed) / minutes, 2),
            put_back_per_minute=round(flow.put_back / minutes, 2),
            **_of_gate(gate),
        )


def _of_gate(gate: Gate) -> dict[str, Any]:
    return {
        "low_water": gate.marks.low,
        "high_water": gate.marks.high,
        "is_paused": gate.is_closed,
        "drain_per_minute": round(gate.drain_per_minute, 2),
    }


class BacklogGate(Shape):
    """A backlog, from which a queue is filled, and whether more may be added to it."""

    name: str = Field(
        description="`items`: open items of runs that go on by themselves; `covers`: covers that are wanted and due."
    )
    depth: int = Field(description="What waits, counted every ten seconds, a million at most.")
    low_water: int = Field(description="Down to so many nothing more is taken once it was full.")
    high_water: int = Field(description="At so many it is full.")
    is_paused: bool = Field(
        description="Whether bulk that would add to it is answered 429; what comes before the bulk passes by a share."
    )
    drain_per_minute: float = Field(description="What left within five minutes, as it was last counted.")

    @classmethod
    def of(cls, gate: Gate) -> Self:
        """The shape of a backlog's gate."""
        return cls(name=gate.name.value, depth=gate.depth, **_of_gate(gate))


class Backlog(Shape):
    """What open runs still have to do, which is not in the queue yet."""

    run_kind: str
    state: Literal["pending", "running", "partial"]
    items: int


class Overview(Shape):
    """How everything stands now."""

    read_at: datetime
    health: HealthNow
    quota: QuotaStatus = Field(
        description="As /api/quota/status has it: lanes, consumers and forecast included."
    )
    breaker: Breaker
    pace: Pace
    queues: list[QueueLine] = Field(description="Rates are those of the last five minutes.")
    runs: list[Run] = Field(description="Those that have not ended, 20 at most; those that run come first.")
    alerts: list[Alert] = Field(description="Those that are open, latest first.")


class QueuesAnswer(Shape):
    """The queues, and what is still to come into them."""

    minutes: int = Field(description="What the rates are the mean of.")
    queues: list[QueueLine]
    backlogs: list[BacklogGate]
    backlog: list[Backlog]


class DeadLetter(Shape):
    """A job that failed for good."""

    id: int
    kind: str
    arguments: Any = Field(description="What it was to do, as it was queued.")
    error: str | None = Field(description="What it failed of; null when that is no longer known.")
    attempts: int
    queued_at: datetime
    failed_at: datetime

    @classmethod
    def of(cls, letter: StoredLetter) -> Self:
        """The shape of a dead letter."""
        return cls(
            id=letter.id,
            kind=letter.kind,
            arguments=monitoring.arguments_of(letter),
            error=letter.error,
            attempts=letter.attempts,
            queued_at=letter.queued_at,
            failed_at=letter.failed_at,
        )


class DeadLettersAnswer(Shape):
    """A part of the dead letters, latest first."""

    dead_letters: list[DeadLetter]
    next: int | None = Field(description="Send it as `after` for what follows; null: nothing does.")


class Latency(Shape):
    """How long answers took, in seconds; null when there was none. Shares are read off buckets, so they are approximate."""

    mean: float | None
    half: float | None = Field(description="The median: half of them took no longer.")
    most: float | None = Field(description="95 of 100 took no longer.")
    nearly_all: float | None = Field(description="99 of 100 took no longer.")


class EndpointCalls(Shape):
    """Attempts at calls to one endpoint, retries included."""

    calls: int
    outcomes: dict[str, int]
    latency_seconds: Latency

    @classmethod
    def of(cls, calls: monitoring.Calls) -> Self:
        """The shape of calls to an endpoint."""
        return cls(calls=calls.calls, outcomes=dict(calls.outcomes), latency_seconds=latency_of(calls))


class ProviderCalls(EndpointCalls):
    """Attempts at calls to a provider within a time, and the same by endpoint."""

    endpoints: dict[str, EndpointCalls]

    @classmethod
    def of(cls, calls: monitoring.Calls) -> Self:
        """The shape of calls to a provider."""
        return cls(
            calls=calls.calls,
            outcomes=dict(calls.outcomes),
            latency_seconds=latency_of(calls),
            endpoints={name: EndpointCalls.of(each) for name, each in calls.endpoints.items()},
        )


def latency_of(calls: monitoring.Calls) -> Latency:
    """How long answers took."""
    latencies = calls.latencies
    figures = [latencies.mean, *(latencies.quantile(share) for share in (0.5, 0.95, 0.99))]
    mean, half, most, nearly_all = (None if each is None else round(each, 4) for each in figures)
    return Latency(mean=mean, half=half, most=most, nearly_all=nearly_all)


class ProviderLine(Shape):
    """How one provider fares."""

    provider: str
    is_asked: bool = Field(description="Whether it is asked as configured.")
    breaker: Breaker | None = Field(description="null when it is not asked.")
    pace: Pace | None
    hour: ProviderCalls = Field(description="The last hour, to ten minutes.")
    day: ProviderCalls = Field(description="The last 24 hours, to ten minutes.")


class ProvidersAnswer(Shape):
    """How every provider fares, whichever process asks it."""

    read_at: datetime
    providers: list[ProviderLine]


class Gained(Shape):
    """Units and what they brought."""

    units: int
    editions_found: int
    editions_new: int = Field(description="Editions that the catalogue did not hold before.")
    works_new: int
    covers_wanted: int = Field(description="Covers that an address was found for.")
    editions_per_unit: float | None = Field(description="New ones; null when no unit was spent.")
    covers_per_unit: float | None = Field(description="Of `covers_wanted`; null when no unit was spent.")


class GainedInAll(Gained):
    """The same, and the covers that were stored, which belong to no consumer."""

    covers_stored: int


class ConsumerUsage(Gained):
    """What one consumer spent and brought."""

    consumer: str


class DayUsage(GainedInAll):
    """What was spent and brought on one day: the provider's for units, UTC's for the rest."""

    day: date


class MonitoredUsage(Shape):
    """Units and what they brought, over some days."""

    first_day: date
    last_day: date
    total: GainedInAll
    foreign: int = Field(description="Units that the provider counted beyond ours; below 0: it counted less.")
    consumers: list[ConsumerUsage] = Field(description="Those that spent most come first.")
    days: list[DayUsage]
    providers: dict[str, EndpointCalls] = Field(
        description="Calls of the last so many days of UTC, today included."
    )
