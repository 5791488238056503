"""Gauges: what `/metrics` says that is not counted within processes, read from the database when somebody asks."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from alexandria import tuning
from alexandria.api.gauge_families import OTHER
from alexandria.app import App, account_of, providers_asked
from alexandria.backpressure import read_gates
from alexandria.domain.backpressure import Gate
from alexandria.domain.errors import StoreUnavailable
from alexandria.domain.plans import Kind, consumer_of
from alexandria.domain.quota import RECONCILER, Lane
from alexandria.domain.quota_status import Status
from alexandria.domain.reserving import is_unlimited
from alexandria.stores.covers import CoverStore
from alexandria.stores.jobs import JOB_KINDS
from alexandria.stores.meters import MeterStore, Readings
from alexandria.stores.monitoring import MOST_SQL, Jobs, MonitoringStore
from alexandria.stores.postgres import Connection
from alexandria.stores.schedule import Outcome, ScheduleStore

log = structlog.get_logger()

SLOW_FRESH_SECONDS = 60.0
"""Counts that read a whole table are done no more often than that, however often somebody scrapes."""

BLOCKS = ("exhausted", "breaker", "suspended", "guard")
"""Why no call can be made (docs/quota.md); the other reasons concern one lane or one request."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric; `labels` in the order of its family's."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


@dataclass
class Gauges:
    """Reads gauges for one server, and remembers those that take long to count."""

    app: App
    _slow: Sequence[Sample] = ()
    _counted_at: float | None = None

    async def read(self) -> tuple[Sequence[Sample], Readings]:
        """Every gauge, and the sums of all processes' meters. Takes no lock. Raises StoreUnavailable."""
        found = [
            sample for status, pace in await self._statuses() for sample in _quota(status, pace, self._known)
        ]
        async with self.app.database.transaction() as connection:
            await MonitoringStore(connection).take_snapshot(most=MOST_SQL)
            found += await self._quick(connection)
            sums = await MeterStore(connection).list_sums()
        return [*found, *await self._slowly()], sums

    @property
    def _known(self) -> frozenset[str]:
        """Consumers that a label may name."""
        ours = {consumer_of(kind) for kind in Kind}
        return frozenset(ours | {RECONCILER} | {each.consumer for each in self.app.config.quota_tokens})

    async def _statuses(self) -> list[tuple[Status, int]]:
        """How each provider that may be asked stands, and what was charged to it within the last hour."""
        app, found = self.app, []
        for provider in providers_asked(app):
            status = await app.quota.status(*account_of(app.config, provider))
            found.append((status, await app.quota_reports.sum_recently_charged(status)))
        return found

    async def _quick(self, connection: Connection) -> list[Sample]:
        store = MonitoringStore(connection)
        alive = await MeterStore(connection).count_alive()
        found = [
            Sample("alexandria_processes_alive", alive.processes),
            Sample("alexandria_workers_alive", alive.workers),
        ]
        jobs = await store.count_jobs()
        for kind in JOB_KINDS:
            found += _queue(jobs.get(kind, Jobs(kind)))
        waiting = {kind: each.waiting + each.snoozed for kind, each in jobs.items()}
        for gate in (await read_gates(connection, self.app.config.marks, waiting)).values():
            found += _gate(gate)
        found += [
            Sample("alexandria_harvest_runs", count, labels)
            for labels, count in (await store.count_runs()).items()
        ]
        found += [
            Sample("alexandria_alerts_open", count, (kind,))
            for kind, count in (await store.count_alerts()).items()
        ]
        found += [
            Sample("alexandria_catalogue_rows", count, (table,))
            for table, count in (await store.estimate_rows()).items()
        ]
        found += [
            Sample("alexandria_dial_value", value, (name,))
            for name, value in (await tuning.read(connection, self.app.dials)).items()
        ]
        names = [each.name for each in self.app.config.schedule]
        for name, firing in (await ScheduleStore(connection).list_last_firings(names)).items():
            found.append(
                Sample("alexandria_schedule_fired_timestamp_seconds", _epoch(firing.fired_at), (name,))
            )
            found += [
                Sample("alexandria_schedule_outcome", float(firing.outcome is each), (name, each.value))
                for each in Outcome
            ]
        return found

    async def _slowly(self) -> Sequence[Sample]:
        """Counts of whole tables, as they were within the last minute; as they were before when that takes too long."""
        now = self.app.clock.monotonic()
        if self._counted_at is None or not 0 <= now - self._counted_at < SLOW_FRESH_SECONDS:
            self._counted_at = now
            try:
                self._slow = await self._count()
            except StoreUnavailable as error:
                log.warning("metrics.uncounted", reason=str(error))
        return self._slow

    async def _count(self) -> Sequence[Sample]:
        async with self.app.database.transaction() as connection:
            store = MonitoringStore(connection)
            await store.take_snapshot(most=MOST_SQL)
            items = await store.count_open_items()
            covers = await CoverStore(connection).counts()
        return [
            *(Sample("alexandria_harvest_items", count, labels) for labels, count in items.items()),
            *(Sample("alexandria_covers", count, (state.value,)) for state, count in covers.items()),
        ]


def _queue(jobs: Jobs) -> list[Sample]:
    states = {"waiting": jobs.waiting, "snoozed": jobs.snoozed, "in_work": jobs.in_work, "dead": jobs.dead}
    found = [Sample("alexandria_queue_jobs", count, (jobs.kind, state)) for state, count in states.items()]
    return [*found, Sample("alexandria_queue_oldest_seconds", jobs.oldest_seconds, (jobs.kind,))]


def _gate(gate: Gate) -> list[Sample]:
    of = (gate.name.value,)
    return [
        Sample("alexandria_gate_closed", float(gate.is_closed), of),
        Sample("alexandria_gate_depth", gate.depth, of),
        Sample("alexandria_gate_low_water", gate.marks.low, of),
        Sample("alexandria_gate_high_water", gate.marks.high, of),
        Sample("alexandria_gate_drain_per_minute", gate.drain_per_minute, of),
    ]


def _quota(status: Status, recently: int, known: Collection[str]) -> Iterator[Sample]:
    """What there is to say of one account."""
    of = (status.account.provider,)
    yield from _used(status, known)
    yield Sample("alexandria_quota_charged_units", status.used, of)
    yield Sample("alexandria_quota_foreign_units", status.foreign, of)
    yield Sample("alexandria_quota_day_confirmed", float(status.is_confirmed), of)
    yield Sample("alexandria_quota_reset_timestamp_seconds", _epoch(status.resets_at), of)
    if status.provider_spent is not None and status.provider_read_at is not None:
        yield Sample("alexandria_quota_counted_units", status.provider_spent, of)
        yield Sample("alexandria_quota_counted_timestamp_seconds", _epoch(status.provider_read_at), of)
    forecast = status.forecast(recently)
    yield Sample("alexandria_quota_pace_units_per_hour", forecast.units_per_hour, of)
    if not is_unlimited(status.policy):
        yield Sample("alexandria_quota_limit_units", status.limit, of)
        yield Sample("alexandria_quota_left_units", status.remaining, of)
        yield Sample("alexandria_quota_unused_units", forecast.units_left_at_reset or 0, of)
        for lane in status.lanes():
            yield Sample(
                "alexandria_quota_lane_left_units", float(str(lane["remaining"])), (*of, str(lane["lane"]))
            )
    if forecast.exhausted_at is not None:
        yield Sample("alexandria_quota_exhaustion_timestamp_seconds", _epoch(forecast.exhausted_at), of)
    yield from _provider(status)


def _used(status: Status, known: Collection[str]) -> Iterator[Sample]:
    units: dict[tuple[Lane, str, str], int] = {}
    for usage in status.usages:
        consumer = usage.consumer if usage.consumer in known else OTHER
        for state in ("settled", "reserved", "unresolved"):
            key = (usage.lane, consumer, state)
            units[key] = units.get(key, 0) + getattr(usage, state)
    for (lane, consumer, state), count in units.items():
        labels = (status.account.provider, lane.value, consumer, state)
        yield Sample("alexandria_quota_used_units", count, labels)


def _provider(status: Status) -> Iterator[Sample]:
    of, hindrance = (status.account.provider,), status.hindrance()
    for reason in BLOCKS:
        blocks = hindrance is not None and hindrance.reason == reason
        yield Sample("alexandria_provider_blocked", float(blocks), (*of, reason))
    rate = status.state.rate or status.policy.rate
    slot = status.next_slot_at
    wait = max(0.0, (slot - status.read_at).total_seconds()) if slot else 0.0
    yield Sample("alexandria_provider_failures_in_a_row", status.state.failures.count, of)
    yield Sample("alexandria_provider_rate_requests", rate.requests, of)
    yield Sample("alexandria_provider_rate_window_seconds", rate.window.total_seconds(), of)
    yield Sample("alexandria_provider_slot_wait_seconds", wait, of)


def _epoch(moment: datetime) -> float:
    return moment.timestamp()
