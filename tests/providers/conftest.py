"""What tests of providers share: a quota that writes down what it is asked, and servers that answer from a script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from alexandria.clock import Clock
from alexandria.domain.errors import QuotaDenied, QuotaExhausted
from alexandria.domain.quota import Account, DenialReason, Policy, Request, Reservation
from alexandria.domain.reconciling import Reading, Reconciliation
from alexandria.domain.settling import Evidence

Reply = web.StreamResponse | Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class RecordingQuota:
    """A quota in memory with the meaning of the real one: it grants, charges, stops, and remembers what it was asked."""

    clock: Clock
    units_left: int = 1000
    fence: timedelta = timedelta(seconds=3)
    reserved: list[Request] = field(default_factory=list)
    settled: list[tuple[int, str]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    counted: list[Reading] = field(default_factory=list)
    may_count: bool = True
    """Whether whoever asks is the one to ask the provider for its count."""
    yielded: int = 0
    """How often somebody who was to ask for it did not get it."""
    stops: list[tuple[DenialReason, datetime | None, str]] = field(default_factory=list)
    denials: list[QuotaDenied] = field(default_factory=list)
    """Raised one after the other before anything is granted."""
    before_answering: Callable[[], Awaitable[None]] | None = None
    slot_in: timedelta = timedelta(0)

    async def reserve(self, account: Account, policy: Policy, request: Request) -> Reservation:
        if self.denials:
            raise self.denials.pop(0)
        now = self.clock.now()
        for reason, until, detail in self.stops:
            if until is None or now < until:
                kind = QuotaExhausted if reason is DenialReason.EXHAUSTED else QuotaDenied
                raise kind(account.provider, reason, detail=detail, retry_at=until)
        if request.units > self.units_left:
            raise QuotaExhausted(account.provider, DenialReason.EXHAUSTED, retry_at=now + timedelta(hours=12))
        self.units_left -= request.units
        self.reserved.append(request)
        opens = now + self.slot_in
        reservation = Reservation(
            request.request_id, account, now.date(), request.units, opens, opens + self.fence, as_of=now
        )
        if self.before_answering:
            await self.before_answering()
        return reservation

    async def settle(
        self,
        reservation: Reservation,
        *,
        units_spent: int,
        outcome: str,
        is_certain: bool,
        evidence: Evidence,
        policy: Policy,
        requests_spent: int | None = None,
    ) -> None:
        self.units_left += reservation.units - units_spent
        self.settled.append((units_spent, outcome))
        self.evidence.append(evidence)

    async def claim_count(self, account: Account, *, only_if_due: bool = False) -> datetime | None:
        return self.clock.now() if self.may_count else None

    async def yield_count(self, account: Account) -> None:
        self.yielded += 1

    async def reconcile(self, account: Account, policy: Policy, reading: Reading) -> Reconciliation:
        self.counted.append(reading)
        return Reconciliation(reading, 0, reading.spent)

    async def release(self, reservation: Reservation, *, reason: str, is_failure: bool = False) -> None:
        self.units_left += reservation.units
        self.released.append(reason)

    async def stop(
        self,
        account: Account,
        *,
        until: datetime | None,
        reason: DenialReason,
        detail: str,
        as_of: datetime | None = None,
    ) -> None:
        self.stops.append((reason, until, detail))

    @property
    def units_charged(self) -> int:
        return 1000 - self.units_left


@pytest.fixture
def recording_quota(clock: Clock) -> RecordingQuota:
    return RecordingQuota(clock)


@dataclass
class ScriptedServer:
    """A real HTTP server that gives its replies in order; the last one again and again."""

    url: str = ""
    host: str = ""
    replies: list[Reply] = field(default_factory=list)
    received: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.received.append(request)
        self.bodies.append(await request.read())
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, web.Response):
            # A response object can be sent once only.
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers.copy())
        assert not isinstance(reply, web.StreamResponse)
        return await reply(request)

    def paths(self) -> list[str]:
        """What was asked for, as it was on the wire."""
        return [request.raw_path for request in self.received]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", scripted.handle)
    # What is still being answered at the end of a test has nobody waiting for it.
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    scripted.url, scripted.host = f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"
    yield scripted
    await runner.cleanup()


RawServer = Callable[..., Awaitable[str]]


@pytest.fixture
async def raw_server() -> AsyncIterator[RawServer]:
    """A factory of servers that send given bytes for each request read, and then hang up; returns the URL."""
    async with AsyncExitStack() as stack:

        async def start(*answers: bytes, received: list[bytes] | None = None) -> str:
            remaining = list(answers)

            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                while remaining:
                    try:
                        request = await reader.readuntil(b"\r\n\r\n")
                    except (asyncio.IncompleteReadError, ConnectionError):
                        break
                    if received is not None:
                        received.append(request)
                    answer = remaining.pop(0)
                    writer.write(answer)
                    await writer.drain()
                    if b"keep-alive" not in answer:
                        break
                writer.close()

            listening = await asyncio.start_server(handle, "127.0.0.1", 0)
            await stack.enter_async_context(listening)
            return f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

        yield start


@pytest.fixture
def noon() -> datetime:
    return datetime(2026, 11, 23, 12, tzinfo=UTC)
