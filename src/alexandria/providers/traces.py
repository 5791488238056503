"""The third door: traces to a collector of the operator's own (docs/decisions/0010-a-third-door-for-traces.md).

OpenTelemetry's own exporter opens its own connections, from a thread of its own, and reads the rest of what it may be told from its
standard variables. Nothing but spans leaves here, and nothing comes back.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from alexandria import __version__, tracing
from alexandria.domain.errors import ConfigurationError

EXPORT_SECONDS = 5.0
"""What one delivery may take; what the collector does not take by then is lost."""

_LAST_WORD_SECONDS = 2.0


@asynccontextmanager
async def exporting(endpoint: str | None, headers: Mapping[str, str]) -> AsyncIterator[None]:
    """Send the spans of the block to the collector at `endpoint`, to its path /v1/traces (OTLP 1.x over HTTP); None: record none.

    Raises ConfigurationError when OpenTelemetry is not installed.
    """
    if endpoint is None:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigurationError(
            "ALEXANDRIA_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: pip install 'alexandria[otel]', or unset it"
        ) from error
    process = {
        "service.name": "alexandria",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
    }
    exporter = OTLPSpanExporter(
        endpoint=endpoint.rstrip("/") + "/v1/traces", headers=dict(headers) or None, timeout=EXPORT_SECONDS
    )
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes before that.
    resource = Resource.create().merge(Resource(process)).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracing.use(provider.get_tracer("alexandria", __version__))
    try:
        yield
    finally:
        tracing.use(None)
        # Threads of its own do the work: a collector that does not answer holds nobody's end up for longer than this.
        await asyncio.to_thread(provider.force_flush, round(_LAST_WORD_SECONDS * 1000))
        await asyncio.to_thread(provider.shutdown)
