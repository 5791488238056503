"""The second door: notices through Apprise, to a person's mail, chat or phone (docs/decisions/0008-a-second-door-for-notices.md).

Apprise knows more than a hundred services and opens its own connections, so what it sends does not pass the gateway. Nothing here
costs quota, nothing that it is told comes from outside, and what it answers is a yes or a no. Nothing but a notice leaves here.
"""

import asyncio
import hashlib
import logging
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import unquote, urlsplit

from alexandria.domain.alerting import Severity
from alexandria.domain.errors import ConfigurationError, ProviderUnavailable
from alexandria.domain.notices import Event, Notice, shortened

if TYPE_CHECKING:
    import apprise

STEP_SECONDS = 20.0
"""What Apprise may take for one request of a service."""
SEND_SECONDS = 45.0
"""After that a notice counts as not sent: some services take two requests."""
MOST_THREADS = 4
LEAST_SECRET = 3
"""Parts of an address shorter than that are left in what Apprise says: they hide nothing, and words would be torn apart."""

Result = TypeVar("Result")

_SAID_BY_APPRISE = logging.getLogger("apprise")
_MOST_SAID = 200


@dataclass(frozen=True)
class AppriseTarget:
    """One address of ALEXANDRIA_ALERT_URLS; the address is a secret, its `name` is shown."""

    url: str = field(repr=False)
    number: int

    @property
    def key(self) -> str:
        """What the database knows it by: it tells nobody the address."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """Its service and its place in the list."""
        return f"{urlsplit(self.url).scheme} ({self.number})"


class AppriseSender:
    """Sends notices in threads of its own: Apprise waits for its connections, and must hold nobody else up."""

    def __init__(self, *, timeout_seconds: float = SEND_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="notices")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # What hangs in a connection ends with its own time-out; nobody waits for it.
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def check(self, targets: Sequence[AppriseTarget]) -> None:
        """Raises ConfigurationError for an address that Apprise can't use, telling its place and not the address."""
        for target in targets:
            if not await self._run(_is_usable, target.url):
                raise ConfigurationError(
                    f"ALEXANDRIA_ALERT_URLS: entry {target.number} is no address that Apprise understands; its wiki has one for each"
                    " service, such as mailtos://user:password@example.org or ntfy://topic"
                )

    async def send(self, target: AppriseTarget, notice: Notice) -> None:
        """Send once. Raises ProviderUnavailable with what is known of the reason; no secret is in it."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                failure = await self._run(_send, target, notice)
        except TimeoutError:
            raise ProviderUnavailable(
                target.name, f"did not take it within {self._timeout_seconds:g} s"
            ) from None
        if failure is not None:
            raise ProviderUnavailable(target.name, failure)

    async def _run(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments))


def _is_usable(url: str) -> bool:
    with _Listening():
        return _service(url) is not None


def _service(url: str) -> "apprise.NotifyBase | None":
    # It takes half a second to import, and a second more for its services: only who sends waits for that.
    import apprise

    asset = apprise.AppriseAsset(
        app_id="Alexandria", app_desc="Alexandria", app_url="", service_timeout=STEP_SECONDS
    )
    service = apprise.Apprise.instantiate(url, asset=asset)
    return service if isinstance(service, apprise.NotifyBase) else None


_TYPES = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}


def _send(target: AppriseTarget, notice: Notice) -> str | None:
    """None when it was taken, else why not. Runs in a thread."""
    with _Listening() as heard:
        try:
            service = _service(target.url)
            kind = "success" if notice.event is Event.CLEARED else _TYPES[notice.severity]
            if service is not None and service.notify(
                title=notice.title, body=shortened(notice.body), notify_type=kind
            ):
                return None
        except Exception as error:  # noqa: BLE001 - a hundred services' code: whatever it stumbles over, it was not sent
            return f"Apprise failed: {type(error).__name__}"
    said = without_secrets("; ".join(heard.lines), target.url)
    return f"it was not taken: {said}" if said else "it was not taken"


class _Listening(logging.Handler):
    """Hears what Apprise says of this thread's work. Nothing of it reaches the log: addresses with tokens may be in it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())

    def __enter__(self) -> Self:
        _SAID_BY_APPRISE.propagate = False
        # What it connects with names the addresses too, at lower levels than errors.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)
        _SAID_BY_APPRISE.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _SAID_BY_APPRISE.removeHandler(self)


def without_secrets(text: str, url: str) -> str:
    """A text on one line without anything of an address but its scheme and host, and without other addresses and long tokens."""
    parts = urlsplit(url)
    shown = {parts.scheme, parts.hostname or ""}
    pieces = {piece for form in (url, unquote(url)) for piece in re.split(r"[/:@?&=#,\s]+", form)}
    for piece in sorted(pieces - shown, key=len, reverse=True):
        if len(piece) >= LEAST_SECRET:
            text = text.replace(piece, "***")
    text = re.sub(r"\w+://\S+", "***", text)
    text = re.sub(r"[\w+/-]{20,}", "***", text)
    return " ".join(text.split())[:_MOST_SAID]
