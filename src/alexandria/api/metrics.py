"""`/metrics` for Prometheus: what is counted in all processes, and what the database knows. docs/metrics.md has every name."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from alexandria import __version__, meters
from alexandria.api.gauge_families import GAUGES
from alexandria.api.gauges import Gauges, Sample
from alexandria.domain.errors import StoreUnavailable
from alexandria.stores.meters import Readings

log = structlog.get_logger()

router = APIRouter(include_in_schema=False)

READ_SECONDS = 4.0
"""Less than the ten seconds that Prometheus waits: better an answer without a database than none."""

FAMILIES = (*GAUGES, *meters.FAMILIES)
"""Every metric there is."""


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Every metric, in the format that the client prefers; a database that does not answer is `alexandria_up 0`."""
    gauges: Gauges = request.app.state.gauges
    began = time.monotonic()
    try:
        async with asyncio.timeout(READ_SECONDS):
            samples, sums = await gauges.read()
        samples = [Sample("alexandria_up", 1), *samples]
    except (StoreUnavailable, TimeoutError) as error:
        log.warning("metrics.unread", reason=str(error) or f"no answer within {READ_SECONDS:g} s")
        samples, sums = [Sample("alexandria_up", 0)], {}
    samples = [
        *samples,
        Sample("alexandria_build_info", 1, (__version__,)),
        Sample("alexandria_scrape_seconds", time.monotonic() - began),
    ]
    registry = CollectorRegistry()
    registry.register(_Read(samples, sums))
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=content_type)


class _Read(Collector):
    """What was read, as prometheus-client writes it."""

    def __init__(self, samples: Sequence[Sample], sums: Readings) -> None:
        self._samples = samples
        self._sums = sums

    def describe(self) -> Iterable[Metric]:
        """Nothing is looked up to know the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            # prometheus-client adds `_total` to the name of a counter itself.
            metric = Metric(family.stem, family.help, family.kind)
            for sample in self._samples:
                if sample.name == family.name:
                    metric.add_sample(
                        family.name, dict(zip(family.labels, sample.labels, strict=True)), sample.value
                    )
            for name, labels, value in _of(family, self._sums):
                metric.add_sample(name, labels, value)
            yield metric


def _of(family: meters.Family, sums: Readings) -> Iterator[tuple[str, dict[str, str], float]]:
    """The sums of one meter; the buckets of a histogram one after the other, before its count and its sum."""
    if family.kind == "gauge":
        return
    names = (
        (f"{family.stem}_bucket", f"{family.stem}_count", f"{family.stem}_sum")
        if family.kind == "histogram"
        else (family.name,)
    )
    found = [(name, dict(labels), value) for (name, labels), value in sums.items() if name in names]
    yield from sorted(
        found,
        key=lambda each: (
            [each[1].get(label, "") for label in family.labels],
            names.index(each[0]),
            float(each[1].get("le", "0")),
        ),
    )
