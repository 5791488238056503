"""Traces: what a request led to, over all processes, as spans of OpenTelemetry. Off, and free, unless an endpoint is configured.

Nothing here opens a connection: the door that spans leave by is `providers/traces.py` (docs/decisions/0010-a-third-door-for-traces.md).
OpenTelemetry need not be installed as long as nothing is exported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as _OtelSpan
    from opentelemetry.trace import Tracer

Kind = Literal["internal", "server", "client", "consumer"]

Attributes = Mapping[str, str | float | None]
"""By OpenTelemetry's names where it has one; never a key, an address with a query, or a text from outside."""

NOTHING: Attributes = {}

_tracer: Tracer | None = None

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
"""W3C Trace Context, level 1, section 3.2.2."""


class Span(Protocol):
    """What is told of a span while it lasts. Texts must hold no secret; errors are told by their kind alone."""

    def name(self, name: str) -> None:
        """Call it by what was only found out on the way."""
        ...

    def tell(self, attributes: Attributes) -> None:
        """Add what was found out on the way; what is None is left out."""
        ...

    def fail(self, kind: str) -> None:
        """It went wrong: an error's class, or an outcome from a closed set."""
        ...


class _Off:
    """A span that nobody will see."""

    def name(self, name: str) -> None: ...

    def tell(self, attributes: Attributes) -> None: ...

    def fail(self, kind: str) -> None: ...


_OFF: AbstractContextManager[Span] = nullcontext(_Off())


def use(tracer: Tracer | None) -> None:
    """Give spans to a tracer from now on; None: to nobody."""
    global _tracer
    _tracer = tracer


def span(
    name: str, kind: Kind = "internal", attributes: Attributes = NOTHING, *, parent: str | None = None
) -> AbstractContextManager[Span]:
    """A span around a block, within the one that lasts already, or within a `parent` of another process (a traceparent)."""
    if _tracer is None:
        return _OFF
    return _recorded(_tracer, name, kind, parent, attributes)


def detail(name: str) -> AbstractContextManager[Span]:
    """A span around a block that is worth none by itself: only within another."""
    if _tracer is None or trace_id() is None:
        return _OFF
    return _recorded(_tracer, name, "internal", None, NOTHING)


def traceparent() -> str | None:
    """The span that lasts now, for another process; None without one."""
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def trace_id() -> str | None:
    """The trace that this task is in; None without one."""
    found = traceparent()
    return found[3:35] if found else None


@contextmanager
def _recorded(
    tracer: Tracer, name: str, kind: Kind, parent: str | None, attributes: Attributes
) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind

    with tracer.start_as_current_span(
        name,
        context=_context_of(parent) if parent else None,
        kind=SpanKind[kind.upper()],
        # An exception's text may hold an address; its kind says enough, and the log has the rest.
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        span = _Recorded(started)
        span.tell(attributes)
        try:
            yield span
        except BaseException as error:
            span.fail(type(error).__name__)
            raise


class _Recorded:
    def __init__(self, span: _OtelSpan) -> None:
        self._span = span

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def tell(self, attributes: Attributes) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name, value)

    def fail(self, kind: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))


def _context_of(parent: str) -> Context | None:
    """A span of another process, as the one that new ones are in; None when the text is no traceparent."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    match = _TRACEPARENT.fullmatch(parent)
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return None
    context = SpanContext(
        int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=TraceFlags(int(match[3], 16))
    )
    return set_span_in_context(NonRecordingSpan(context), Context())
