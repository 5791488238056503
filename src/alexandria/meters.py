"""Meters: what this process counts and times, for `/metrics`.

Recording costs a microsecond and never waits. Every few seconds a process adds what is new to sums that all processes share
(`metering.py`, docs/decisions/0009-meters-are-summed-in-the-database.md). What the database knows anyway is no meter: it is read
when somebody asks (`api/gauges.py`). Labels come from closed sets only: never an ISBN, a name, a host or a path with a key in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

Reading = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and its labels."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as docs/metrics.md has it; `name` is what a query says, a counter's `_total` included."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The name without `_total`."""
        return self.name.removesuffix("_total")


_registry = CollectorRegistry()
_families: list[Family] = []

_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
"""Up to the time after which a request is given up (`api/edge.py`)."""
_CALL_BUCKETS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
"""Around what ISBNdb takes as a rule, up to the longest call (`providers/gateway.py`)."""
_WAIT_BUCKETS = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 120.0)
_WORK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)


def _counter(name: str, unit: str, documentation: str, *labels: str) -> Counter:
    _families.append(Family(name, "counter", unit, documentation, labels))
    return Counter(name.removesuffix("_total"), documentation, labels, registry=_registry)


def _histogram(name: str, documentation: str, *labels: str, buckets: Sequence[float]) -> Histogram:
    _families.append(Family(name, "histogram", "seconds", documentation, labels))
    return Histogram(name, documentation, labels, buckets=buckets, registry=_registry)


HTTP_REQUESTS = _counter(
    "alexandria_http_requests_total",
    "requests",
    "Requests answered, by the route's template (`none`: an address that leads nowhere) and the status.",
    "method",
    "route",
    "status",
)
HTTP_SECONDS = _histogram(
    "alexandria_http_request_seconds",
    "From a request's header to the end of its answer.",
    "route",
    buckets=_REQUEST_BUCKETS,
)
CALLS = _counter(
    "alexandria_provider_calls_total",
    "calls",
    "Attempts at calls to providers, retries included, by what came of them (`interrupted`: stopped on its way).",
    "provider",
    "endpoint",
    "outcome",
)
CALL_SECONDS = _histogram(
    "alexandria_provider_call_seconds",
    "From sending an attempt to having read its answer.",
    "provider",
    "endpoint",
    buckets=_CALL_BUCKETS,
)
WAIT_SECONDS = _histogram(
    "alexandria_provider_wait_seconds",
    "What an attempt waited for its reservation and its slot.",
    "provider",
    "lane",
    buckets=_WAIT_BUCKETS,
)
DOWNLOAD_SECONDS = _histogram(
    "alexandria_cover_download_seconds",
    "Asking for one picture, redirects included, whatever came of it.",
    buckets=_CALL_BUCKETS,
)
COVERS = _counter(
    "alexandria_covers_fetched_total", "covers", "Attempts at covers, by the state that they led to.", "state"
)
COVER_SECONDS = _histogram(
    "alexandria_cover_processing_seconds",
    "Judging, deriving and storing one picture, the wait for a processor included.",
    buckets=_WORK_BUCKETS,
)
HELD_PICTURES = _counter(
    "alexandria_pictures_held_total",
    "pictures",
    "Pictures that had to wait before they were fetched: for `memory`, or for room on the `disk`.",
    "cause",
)
ABSORB_SECONDS = _histogram(
    "alexandria_absorb_seconds", "Bringing one batch of records into the catalogue.", buckets=_WORK_BUCKETS
)
RECORDS = _counter(
    "alexandria_absorbed_records_total", "records", "Source records brought into the catalogue."
)
EDITIONS = _counter(
    "alexandria_added_editions_total", "editions", "Editions that the catalogue did not hold before."
)
WORKS = _counter("alexandria_added_works_total", "works", "Works that the catalogue did not hold before.")
JOBS = _counter(
    "alexandria_jobs_ended_total",
    "jobs",
    "Times a job was taken off the queue, by how that ended (`again`: put back for later).",
    "kind",
    "outcome",
)
JOB_SECONDS = _histogram(
    "alexandria_job_seconds", "Work on one job, waits for its slots included.", "kind", buckets=_WAIT_BUCKETS
)

FAMILIES: tuple[Family, ...] = tuple(_families)
"""Every meter, in the order of docs/metrics.md."""

SPANNED = ("alexandria_provider_call_seconds", "alexandria_provider_calls_total")
"""What samples are called that are also kept by spans of time, so that the last hour and the last day can be told."""


def read() -> Mapping[Reading, float]:
    """What this process has counted since it began, by sample."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in _registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


_workers = 0


@contextmanager
def worker_at_work() -> Iterator[None]:
    """Count a worker of this process as alive while the block runs."""
    global _workers
    _workers += 1
    try:
        yield
    finally:
        _workers -= 1


def workers_at_work() -> int:
    """Workers of this process that are alive."""
    return _workers
