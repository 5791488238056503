"""The quota's status in Cloudflare KV, for edge code that reads it there: written, never read back (docs/kv-mirror.md).

KV takes one write a second for a key, so one process writes, the one that holds a lock in the database; the others wait for it.
Nothing waits for the mirror, and whatever befalls it is its own affair.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec
import structlog

from alexandria.clock import Clock
from alexandria.domain.errors import ProviderError, ProviderRefused, ProviderUnavailable, StoreUnavailable
from alexandria.domain.quota_status import Status
from alexandria.providers.calls import Answer
from alexandria.providers.gateway import Gateway
from alexandria.stores.locks import ANSWER_SECONDS, Lock, lock_session

log = structlog.get_logger()

SPACING_SECONDS = 1.0
"""Between the end of one write and the beginning of the next: KV takes one a second for a key
(https://developers.cloudflare.com/kv/platform/limits/)."""

SEND_SECONDS = 5.0
"""For one write, connecting included."""

TAKEOVER_SECONDS = ANSWER_SECONDS + SEND_SECONDS + SPACING_SECONDS
"""What a new holder of the lock waits first: by then the last write of the one before it is over, and a second more."""

FIRST_BACK_OFF_SECONDS = 2.0
LONGEST_BACK_OFF_SECONDS = 300.0

TRY_SECONDS = 2.0
"""How often a process that waits tries to take the lock, and to reach a database that is away."""

LOCK_NAME = "alexandria kv mirror"


@dataclass(frozen=True)
class Target:
    """Where the status goes: one key of one namespace."""

    base_url: str
    account: str
    namespace: str
    key: str
    token: str = field(repr=False)

    @property
    def url(self) -> str:
        """Of Cloudflare's REST call that writes a value."""
        key = quote(self.key, safe="")
        return f"{self.base_url}/accounts/{self.account}/storage/kv/namespaces/{self.namespace}/values/{key}"


@dataclass
class Mirror:
    """Keeps one key equal to the status, as often as KV allows."""

    target: Target
    read_status: Callable[[], Awaitable[Status]]
    gateway: Gateway
    clock: Clock
    _written: object = None
    """What KV holds, as far as we know; None while we don't."""
    _not_before: float = 0.0
    """Monotonic seconds: nothing is written earlier."""
    _failures: int = 0
    """In a row."""

    async def run(self, database_url: str) -> None:
        """Mirror whenever this process has its turn, until cancelled; every trouble is answered with a pause."""
        while True:
            pause = TRY_SECONDS
            try:
                async with lock_session(
                    database_url, LOCK_NAME, application_name="alexandria-mirror"
                ) as lock:
                    await self._take_turn(lock)
            except StoreUnavailable as error:
                # Everything else in this process says so louder.
                log.info("mirror.interrupted", reason=str(error))
            except Exception:
                # A defect of the mirror's must not end what it runs beside.
                log.exception("mirror.crashed")
                pause = LONGEST_BACK_OFF_SECONDS
            await self.clock.sleep(pause)

    async def _take_turn(self, lock: Lock) -> None:
        while not await lock.try_take():
            await self.clock.sleep(TRY_SECONDS)
        self.take_over()
        while True:
            await self.look(lock)
            await self.clock.sleep(SPACING_SECONDS)

    def take_over(self) -> None:
        """Begin a turn: somebody else may have written a moment ago, who knows what."""
        self._written = None
        self._not_before = max(self._not_before, self.clock.monotonic() + TAKEOVER_SECONDS)
        log.info("mirror.began")

    async def look(self, lock: Lock) -> bool:
        """Write the status if it changed and a write is due; returns whether it was written.

        Raises StoreUnavailable when the status can't be read or the lock is lost: then nothing was sent.
        """
        if self.clock.monotonic() < self._not_before:
            return False
        status = (await self.read_status()).as_json()
        content = _without_times(status)
        if content == self._written:
            return False
        await lock.check()
        # A write that fails may have arrived nevertheless.
        self._written = None
        if not await self._write({**status, "written_at": self.clock.now().isoformat()}):
            return False
        self._written = content
        return True

    async def _write(self, document: dict[str, object]) -> bool:
        try:
            answer = await self.gateway.publish(
                self.target.url,
                msgspec.json.encode(document),
                # Cloudflare stores the body of this type as it is; a multipart one it would take apart.
                headers={
                    "Authorization": f"Bearer {self.target.token}",
                    "Content-Type": "application/octet-stream",
                },
                timeout_seconds=SEND_SECONDS,
            )
            _refuse_stranger(answer)
        except ProviderError as error:
            self._back_off(error)
            return False
        self._not_before = self.clock.monotonic() + SPACING_SECONDS
        if self._failures:
            log.info("mirror.recovered", failures=self._failures)
            self._failures = 0
        return True

    def _back_off(self, error: ProviderError) -> None:
        """Wait twice as long as the last time, and as long as we are asked to; say so once per outage."""
        wait = min(LONGEST_BACK_OFF_SECONDS, FIRST_BACK_OFF_SECONDS * 2.0 ** min(self._failures, 10))
        if isinstance(error, ProviderUnavailable) and error.retry_after:
            wait = max(wait, error.retry_after.total_seconds())
        self._not_before = self.clock.monotonic() + wait
        tell = log.debug if self._failures else log.warning
        tell("mirror.failed", reason=_advice(error), next_try_in_seconds=round(wait))
        self._failures += 1


def _without_times(document: object) -> object:
    """What says something new when it differs: a time alone, such as the next free slot's, passes by itself."""
    if isinstance(document, dict):
        return {
            name: _without_times(value) for name, value in document.items() if not str(name).endswith("_at")
        }
    if isinstance(document, list):
        return [_without_times(each) for each in document]
    return document


def _refuse_stranger(answer: Answer) -> None:
    """Raises ProviderUnavailable for a 200 that is not Cloudflare's, as a proxy's log-in page is not."""
    try:
        said = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        said = None
    if not isinstance(said, dict) or said.get("success") is not True:
        raise ProviderUnavailable("kv", f"answered with {answer.status}, but not that it was written")


def _advice(error: ProviderError) -> str:
    if isinstance(error, ProviderRefused):
        return (
            f"{error}: check ALEXANDRIA_KV_TOKEN (it needs the permission to edit Workers KV storage),"
            " ALEXANDRIA_KV_ACCOUNT and ALEXANDRIA_KV_NAMESPACE"
        )
    return str(error)
