"""Log events: a name, `noun.past_participle`, and fields; who made the work that they tell of (`Origin`).

Keys and signed addresses never enter one; whatever slips in is taken out again before it is written (`domain/redacting.py`). What
libraries log goes the same way, as `library.logged`.
"""

import logging
import re
import secrets
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from alexandria import tracing
from alexandria.domain.redacting import Redactor

LIBRARY_LOGGED = "library.logged"
"""The event that a line of a library's own log becomes."""

_redactor = Redactor()
"""What every process hides; `configure_logs` tells it the configured secrets."""


def redacted(text: str) -> str:
    """A text without secrets, for whatever is kept or shown of an error that may not be ours: reasons, alerts, dead letters."""
    return _redactor.text(text)


def configure_logs(level: str, secrets: Iterable[str] = ()) -> None:
    """Write events of `level` and above to stderr, one a line: for people on a terminal, as JSON elsewhere.

    Whatever ends a thread or the process is an event too. `secrets` are texts that are never shown (`Config.secrets`).
    """
    global _redactor
    _redactor = Redactor(secrets)
    number = logging.getLevelNamesMapping()[level.upper()]
    on_terminal = sys.stderr.isatty()
    last: list[Processor] = [
        structlog.processors.format_exc_info,
        _redact,
        structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer(default=str),
    ]
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
    ]
    structlog.configure(
        processors=[*first, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*first, structlog.stdlib.add_logger_name, _name_library_event],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    # The queue logs what a handler has already told; its own failures are errors.
    logging.getLogger("pgqueuer").setLevel(max(number, logging.ERROR))
    sys.excepthook = _log_crash
    threading.excepthook = _log_thread_crash


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: _redactor.value(value, name) for name, value in event.items()}


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """By which a trace and its events find each other, where traces are exported."""
    if trace_id := tracing.trace_id():
        event["trace_id"] = trace_id
    return event


def _name_library_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A library's line is free text, and no name of an event."""
    event["message"] = event.pop("event")
    event["event"] = LIBRARY_LOGGED
    return event


def _log_crash(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    structlog.get_logger().critical("process.crashed", exc_info=(kind, error, traceback))


def _log_thread_crash(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is not None:
        structlog.get_logger().error(
            "thread.crashed",
            thread=crash.thread and crash.thread.name,
            exc_info=(crash.exc_type, crash.exc_value, crash.exc_traceback),
        )


# Who made the work


@dataclass(frozen=True, slots=True)
class Origin:
    """The request, command or slot of the schedule that work was made for, and its place in a trace."""

    request_id: str | None = None
    traceparent: str | None = None
    """W3C Trace Context, level 1, section 3.2; None where nothing is traced."""

    @classmethod
    def current(cls) -> Self:
        """Of what this task works for just now."""
        bound = structlog.contextvars.get_contextvars().get("request_id")
        return cls(bound if isinstance(bound, str) else None, tracing.traceparent())

    @classmethod
    def read(cls, kept: object) -> Self:
        """As a row or a job keeps it. It may have been written by another version, so what is not understood is left out."""
        if not isinstance(kept, Mapping):
            return cls()
        texts = {name: value for name, value in kept.items() if isinstance(value, str)}
        request_id = texts.get("request_id", "")
        return cls(request_id if _REQUEST_ID.fullmatch(request_id) else None, texts.get("traceparent"))

    def as_kept(self) -> dict[str, str]:
        """What a row or a job keeps of it."""
        kept = {"request_id": self.request_id, "traceparent": self.traceparent}
        return {name: value for name, value in kept.items() if value is not None}


_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_request_id(text: str) -> bool:
    """Whether it may be used as the id of a request: a client may send its own."""
    return _REQUEST_ID.fullmatch(text) is not None


def new_request_id(prefix: str = "") -> str:
    """An id for a request, or, with a prefix, for what begins work without one: a command, a slot of the schedule."""
    return prefix + secrets.token_hex(8)


@contextmanager
def working_for(origin: Origin, **fields: Any) -> Iterator[None]:
    """Let every event of the block, in tasks that it starts too, bear the origin's id and these fields.

    Without an id of its own the block keeps the one around it.
    """
    own = {"request_id": origin.request_id} if origin.request_id else {}
    with structlog.contextvars.bound_contextvars(**own, **fields):
        yield
