"""The one door: what is counted, what is given back, who is stopped, and where nobody may be sent."""

import asyncio
import gzip
import json
import shutil
import socket
import ssl
import subprocess
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from structlog.testing import capture_logs

from alexandria import __version__
from alexandria.domain.errors import (
    ProviderRefused,
    ProviderUnavailable,
    QuotaDenied,
    QuotaExhausted,
    RecordNotFound,
    StoreUnavailable,
)
from alexandria.domain.quota import Account, DenialReason, Lane, Policy
from alexandria.domain.reconciling import Reading
from alexandria.providers.gateway import Answer, Call, Gateway, Meaning, Source, Verdict
from conftest import SetClock
from providers.conftest import RawServer, RecordingQuota, ScriptedServer

ACCOUNT = Account.of("example", "a-key")
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)


def read(call: Call, answer: Answer) -> Verdict:
    """A reader as plain as possible: a test's server says what its answer means."""
    wait = answer.line("x-wait")
    retries = answer.line("x-retries")
    return Verdict(
        Meaning(answer.line("x-meaning") or "delivered"),
        answer.body.decode(errors="replace")[:100],
        wait=timedelta(seconds=int(wait)) if wait else None,
        units=int(answer.line("x-units")) if answer.line("x-units") else None,
        most_retries=int(retries) if retries else None,
    )


SOURCE = Source(ACCOUNT, Policy(), read)


def reply(meaning: Meaning = Meaning.DELIVERED, text: str = "ok", **headers: object) -> web.Response:
    extra = {f"X-{name}": str(value) for name, value in headers.items()}
    return web.Response(text=text, headers={"X-Meaning": meaning.value, **extra})


def call_to(server: ScriptedServer | str, **changes: Any) -> Call:
    url = server if isinstance(server, str) else server.url
    call = Call("GET", f"{url}/thing", 1, Lane.BULK, "tests", endpoint="thing", timeout_seconds=5)
    return replace(call, **changes)


@pytest.fixture
async def gateway(recording_quota: RecordingQuota, clock: SetClock) -> AsyncIterator[Gateway]:
    async with Gateway(recording_quota, clock, jitter=lambda: 0.5) as gateway:
        yield gateway


# Counting


async def test_a_call_is_reserved_once_sent_once_and_charged_its_units(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [reply(text="hello")]
    answer = await gateway.send(call_to(server, units=3, requests=2, job="run-1"), source=SOURCE)
    assert (answer.status, answer.body, answer.units) == (200, b"hello", 3)
    [request] = recording_quota.reserved
    assert (request.units, request.requests, request.lane, request.consumer, request.job) == (
        3,
        2,
        Lane.BULK,
        "tests",
        "run-1",
    )
    assert recording_quota.settled == [(3, "delivered")]
    assert len(server.received) == 1


async def test_every_retry_is_a_reservation_of_its_own(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [reply(Meaning.FAILED), reply(Meaning.FAILED), reply()]
    await gateway.send(call_to(server), source=SOURCE)
    identities: set[UUID] = {request.request_id for request in recording_quota.reserved}
    assert len(server.received) == len(identities) == 3
    assert recording_quota.settled == [(1, "failed"), (1, "failed"), (1, "delivered")]


async def test_a_broken_kept_connection_is_not_silently_asked_again(
    gateway: Gateway, raw_server: RawServer, recording_quota: RecordingQuota
) -> None:
    received: list[bytes] = []
    fine = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
    url = await raw_server(fine, b"", fine, received=received)
    await gateway.send(call_to(url), source=SOURCE)
    await gateway.send(call_to(url), source=SOURCE)
    assert len(received) == len(recording_quota.reserved) == 3
    assert recording_quota.settled == [(1, "delivered"), (1, "failed"), (1, "delivered")]


async def test_what_the_provider_says_it_charged_is_what_is_settled(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [reply(units=7)]
    answer = await gateway.send(call_to(server, units=10), source=SOURCE)
    assert answer.units == 7
    assert recording_quota.units_charged == 7


@pytest.mark.parametrize("meaning", [Meaning.ABSENT, Meaning.REFUSED, Meaning.SUSPENDED, Meaning.EXHAUSTED])
async def test_what_was_sent_stays_charged_whatever_came_back(
    meaning: Meaning, gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [reply(meaning)]
    with pytest.raises((RecordNotFound, ProviderRefused, QuotaDenied)):
        await gateway.send(call_to(server), source=SOURCE)
    assert recording_quota.units_charged == 1
    assert len(server.received) == 1


async def test_a_refused_connection_is_given_back_and_tried_again(
    gateway: Gateway, recording_quota: RecordingQuota, clock: SetClock
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    began = clock.monotonic()
    with pytest.raises(ProviderUnavailable, match="no connection"):
        await gateway.send(call_to(url), source=SOURCE)
    assert len(recording_quota.reserved) == len(recording_quota.released) == 3
    assert recording_quota.units_charged == 0
    assert clock.monotonic() - began == 1 + 2  # back-off with the jitter in the middle


class Names(AbstractResolver):
    """A resolver that gives each name its addresses in turn; an unknown name is not found."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = {name.replace("_", "."): list(found) for name, found in addresses.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if not (found := self.addresses.get(host)):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = found.pop(0) if len(found) > 1 else found[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)]

    async def close(self) -> None:
        pass


async def test_a_name_that_is_not_found_is_given_back(
    recording_quota: RecordingQuota, clock: SetClock
) -> None:
    async with Gateway(recording_quota, clock, resolver=Names()) as gateway:
        with pytest.raises(ProviderUnavailable, match="name can't be found"):
            await gateway.send(call_to("http://nowhere.example"), source=SOURCE)
    assert recording_quota.units_charged == 0


async def test_a_time_out_stays_charged(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server.replies = [never]
    with pytest.raises(ProviderUnavailable, match="no answer in time"):
        await gateway.send(call_to(server, timeout_seconds=0.1), source=SOURCE)
    assert recording_quota.units_charged == len(server.received) == 3


async def test_what_is_tuned_says_how_long_an_answer_is_waited_for(
    server: ScriptedServer, recording_quota: RecordingQuota, clock: SetClock
) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server.replies = [never]
    asked: list[tuple[str, str, float]] = []

    def seconds(*about: object) -> float:
        asked.append(about)  # type: ignore[arg-type]  # what the gateway hands over is looked at below
        return 0.05

    async with Gateway(recording_quota, clock, jitter=lambda: 0.5, seconds=seconds) as gateway:
        with pytest.raises(ProviderUnavailable, match="no answer in time"):
            await gateway.send(call_to(server, timeout_seconds=90), source=SOURCE)
        with pytest.raises(ProviderUnavailable, match=r"within 0.05 s|no answer in time"):
            await gateway.download(
                server.url, most_bytes=1000, timeout_seconds=90, allowed_hosts=frozenset({server.host})
            )
    assert set(asked) == {(SOURCE.account.provider, "thing", 90), ("cover", "", 90)}


async def test_an_answer_that_breaks_off_stays_charged(
    gateway: Gateway, raw_server: RawServer, recording_quota: RecordingQuota
) -> None:
    url = await raw_server(*[b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"] * 3)
    with pytest.raises(ProviderUnavailable, match="broke off"):
        await gateway.send(call_to(url), source=SOURCE)
    assert recording_quota.units_charged == 3


async def test_what_is_no_http_at_all_stays_charged(
    gateway: Gateway, raw_server: RawServer, recording_quota: RecordingQuota
) -> None:
    url = await raw_server(*[b"\x16\x03\x01 not http\r\n\r\n"] * 3)
    with pytest.raises(ProviderUnavailable):
        await gateway.send(call_to(url), source=SOURCE)
    assert recording_quota.units_charged == 3


@pytest.fixture
def self_signed(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate that nobody else signed."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


@pytest.fixture
async def untrusted_server(self_signed: tuple[Path, Path]) -> AsyncIterator[str]:
    key, certificate = self_signed
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_certificate_that_can_t_be_trusted_means_that_nothing_was_sent(
    gateway: Gateway, untrusted_server: str, recording_quota: RecordingQuota
) -> None:
    with pytest.raises(ProviderUnavailable, match="no connection"):
        await gateway.send(call_to(untrusted_server), source=SOURCE)
    assert recording_quota.units_charged == 0


async def test_a_call_that_is_stopped_in_flight_stays_charged(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    arrived = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.replies = [never]
    task = asyncio.create_task(gateway.send(call_to(server), source=SOURCE))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert recording_quota.settled == [(1, "interrupted")]


async def test_a_call_that_is_stopped_while_it_waits_for_its_slot_is_given_back(
    server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    class Waiting(SetClock):
        async def sleep(self, seconds: float) -> None:
            slept.set()
            await asyncio.Event().wait()

    slept = asyncio.Event()
    recording_quota.slot_in = timedelta(seconds=5)
    async with Gateway(recording_quota, Waiting()) as gateway:
        task = asyncio.create_task(gateway.send(call_to(server), source=SOURCE))
        await slept.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (recording_quota.units_charged, server.received) == (0, [])


async def test_a_call_that_is_stopped_while_the_quota_decides_is_given_back(
    server: ScriptedServer, recording_quota: RecordingQuota, clock: SetClock
) -> None:
    granted, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        granted.set()
        await go_on.wait()

    recording_quota.before_answering = hold
    async with Gateway(recording_quota, clock) as gateway:
        task = asyncio.create_task(gateway.send(call_to(server), source=SOURCE))
        await granted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
    assert (recording_quota.units_charged, server.received) == (0, [])
    assert len(recording_quota.released) == 1


async def test_a_reader_s_defect_leaves_the_call_charged(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    def broken(call: Call, answer: Answer) -> Verdict:
        raise KeyError("a defect")

    server.replies = [reply()]
    with pytest.raises(KeyError):
        await gateway.send(call_to(server), source=Source(ACCOUNT, Policy(), broken))
    assert recording_quota.settled == [(1, "interrupted")]


async def test_an_answer_that_was_paid_for_is_handed_over_though_the_store_is_away(
    server: ScriptedServer, clock: SetClock
) -> None:
    class Away(RecordingQuota):
        async def settle(self, *_: Any, **__: Any) -> None:
            raise StoreUnavailable("the database went away")

    server.replies = [reply(text="dear")]
    quota = Away(clock)
    async with Gateway(quota, clock) as gateway:
        answer = await gateway.send(call_to(server), source=SOURCE)
    assert answer.body == b"dear"
    assert quota.units_charged == 1


async def test_nothing_is_sent_when_the_quota_can_t_be_read(server: ScriptedServer, clock: SetClock) -> None:
    class Unknown(RecordingQuota):
        async def reserve(self, *_: Any) -> Any:
            raise StoreUnavailable("no database")

    async with Gateway(Unknown(clock), clock) as gateway:
        with pytest.raises(StoreUnavailable):
            await gateway.send(call_to(server), source=SOURCE)
    assert server.received == []


# Denials, slots and the fence


async def test_the_call_is_sent_when_its_slot_comes_and_not_before(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota, clock: SetClock, noon: datetime
) -> None:
    sent_at = []

    async def note(_: web.Request) -> web.StreamResponse:
        sent_at.append(clock.now())
        return reply()

    recording_quota.slot_in = timedelta(seconds=2)
    server.replies = [note]
    await gateway.send(call_to(server), source=SOURCE)
    assert sent_at == [noon + timedelta(seconds=2)]


async def test_pacing_is_waited_out(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota, clock: SetClock, noon: datetime
) -> None:
    at = noon + timedelta(seconds=20)
    recording_quota.denials = [QuotaDenied("example", DenialReason.PACED, retry_at=at)]
    server.replies = [reply()]
    await gateway.send(call_to(server), source=SOURCE)
    assert clock.now() == at
    assert len(recording_quota.reserved) == 1


async def test_pacing_is_not_waited_out_for_ever(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota, noon: datetime
) -> None:
    at = noon + timedelta(minutes=10)
    recording_quota.denials = [QuotaDenied("example", DenialReason.PACED, retry_at=at)]
    with pytest.raises(QuotaDenied) as denial:
        await gateway.send(call_to(server), source=SOURCE)
    assert denial.value.retry_at == at


async def test_many_short_denials_use_the_patience_up(
    gateway: Gateway, recording_quota: RecordingQuota, server: ScriptedServer, clock: SetClock, noon: datetime
) -> None:
    recording_quota.denials = [QuotaDenied("example", DenialReason.PACED, retry_at=noon) for _ in range(1000)]
    with pytest.raises(QuotaDenied):
        await gateway.send(call_to(server, most_wait_seconds=5), source=SOURCE)
    assert clock.now() - noon <= timedelta(seconds=5)


@pytest.mark.parametrize("reason", [each for each in DenialReason if each is not DenialReason.PACED])
async def test_other_denials_go_to_the_caller_at_once(
    reason: DenialReason,
    gateway: Gateway,
    server: ScriptedServer,
    recording_quota: RecordingQuota,
    noon: datetime,
) -> None:
    recording_quota.denials = [QuotaDenied("example", reason, retry_at=noon + timedelta(seconds=1))]
    with pytest.raises(QuotaDenied) as denial:
        await gateway.send(call_to(server), source=SOURCE)
    assert denial.value.reason == reason
    assert server.received == []


async def test_a_reservation_that_lapsed_while_we_were_held_up_is_given_back_and_made_anew(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota, clock: SetClock
) -> None:
    held_up = [timedelta(seconds=4), timedelta(0)]

    async def hold() -> None:
        clock.advance(held_up.pop(0))

    recording_quota.before_answering = hold
    server.replies = [reply()]
    await gateway.send(call_to(server), source=SOURCE)
    assert len(recording_quota.reserved) == 2
    assert recording_quota.released == ["too late to send"]
    assert len(server.received) == recording_quota.units_charged == 1


async def test_the_fence_does_not_believe_a_clock_that_was_set_back(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota, clock: SetClock, noon: datetime
) -> None:
    steps = [True, False]

    async def hold() -> None:
        if steps.pop(0):
            clock.advance(
                timedelta(seconds=60)
            )  # the machine stood still for a minute, and then its wall clock
            clock.set(
                noon - timedelta(hours=1)
            )  # was set back: by that clock the reservation holds for an hour

    recording_quota.before_answering = hold
    server.replies = [reply()]
    await gateway.send(call_to(server), source=SOURCE)
    assert recording_quota.released == ["too late to send"]
    assert len(server.received) == 1


async def test_the_fence_sees_that_a_machine_slept(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota, clock: SetClock, noon: datetime
) -> None:
    steps = [True, False]

    async def hold() -> None:
        if steps.pop(0):
            clock.set(noon + timedelta(hours=8))  # asleep: the monotonic clock did not count it

    recording_quota.before_answering = hold
    server.replies = [reply()]
    await gateway.send(call_to(server), source=SOURCE)
    assert recording_quota.released == ["too late to send"]


async def test_a_machine_that_is_always_late_sends_nothing(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota, clock: SetClock
) -> None:
    async def hold() -> None:
        clock.advance(timedelta(seconds=10))

    recording_quota.before_answering = hold
    with pytest.raises(ProviderUnavailable, match="overloaded"):
        await gateway.send(call_to(server), source=SOURCE)
    assert (recording_quota.units_charged, server.received) == (0, [])
    assert len(recording_quota.reserved) == 5


async def test_what_gets_no_connection_before_the_fence_is_not_sent(
    recording_quota: RecordingQuota, clock: SetClock
) -> None:
    """A server whose queue of connections is full lets a client wait; so may a long resolver."""

    class Slow(Names):
        async def resolve(self, *_: Any, **__: Any) -> list[ResolveResult]:
            await asyncio.Event().wait()
            raise AssertionError

    recording_quota.fence = timedelta(seconds=0.1)
    async with Gateway(recording_quota, clock, resolver=Slow()) as gateway:
        with pytest.raises(ProviderUnavailable, match="no connection in time"):
            await gateway.send(call_to("http://slow.example"), source=SOURCE)
        assert recording_quota.units_charged == 0


# Limits


async def test_an_empty_rate_window_stops_everybody_and_the_call_is_sent_again_after_it(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota, clock: SetClock, noon: datetime
) -> None:
    server.replies = [reply(Meaning.PAUSED, "slow down", wait=12), reply(text="now")]
    answer = await gateway.send(call_to(server), source=SOURCE)
    assert answer.body == b"now"
    assert recording_quota.stops == [(DenialReason.BREAKER, noon + timedelta(seconds=13), "slow down")]
    assert clock.now() >= noon + timedelta(seconds=13)


async def test_a_pause_without_a_wait_lasts_a_rate_window(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota, noon: datetime
) -> None:
    server.replies = [reply(Meaning.PAUSED), reply()]
    await gateway.send(call_to(server), source=SOURCE)
    [(_, until, _)] = recording_quota.stops
    assert until == noon + timedelta(seconds=61)


@pytest.mark.parametrize(("wait", "patience"), [(200, 1000), (30, 10)])
async def test_a_pause_that_is_too_long_is_the_caller_s_to_wait_for(
    wait: int, patience: int, gateway: Gateway, server: ScriptedServer, noon: datetime
) -> None:
    server.replies = [reply(Meaning.PAUSED, wait=wait)]
    with pytest.raises(QuotaDenied) as denial:
        await gateway.send(call_to(server, most_wait_seconds=patience), source=SOURCE)
    assert denial.value.reason == DenialReason.BREAKER
    assert denial.value.retry_at == noon + timedelta(seconds=wait + 1)
    assert len(server.received) == 1


async def test_a_spent_day_stops_everybody_until_midnight_utc(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [reply(Meaning.EXHAUSTED, "daily quota exceeded")]
    with pytest.raises(QuotaExhausted) as denial:
        await gateway.send(call_to(server), source=SOURCE)
    assert denial.value.retry_at == MIDNIGHT
    assert recording_quota.stops == [(DenialReason.EXHAUSTED, MIDNIGHT, "daily quota exceeded")]
    with pytest.raises(QuotaExhausted):
        await gateway.send(call_to(server), source=SOURCE)
    assert len(server.received) == 1


def http_date(moment: datetime) -> str:
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    ("ours", "theirs", "until"),
    [
        # Behind ours: their day is not over, and neither is the wait; a whole day more would be lost.
        (
            datetime(2026, 11, 24, 0, 0, 10, tzinfo=UTC),
            datetime(2026, 11, 23, 23, 59, 50, tzinfo=UTC),
            "00:01:10",
        ),
        # Ahead of ours: their new day has begun.
        (
            datetime(2026, 11, 23, 23, 59, 50, tzinfo=UTC),
            datetime(2026, 11, 24, 0, 0, 10, tzinfo=UTC),
            "ahead",
        ),
        # Far off: broken, and not believed.
        (datetime(2026, 11, 24, 12, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC), "next"),
    ],
)
async def test_the_provider_s_clock_decides_which_day_is_spent(
    ours: datetime, theirs: datetime, until: str, gateway: Gateway, server: ScriptedServer, clock: SetClock
) -> None:
    clock.set(ours)
    spent = reply(Meaning.EXHAUSTED)
    spent.headers["Date"] = http_date(theirs)
    server.replies = [spent]
    with pytest.raises(QuotaExhausted) as denial:
        await gateway.send(call_to(server), source=SOURCE)
    expected = {
        "next": datetime(2026, 11, 25, tzinfo=UTC),
        # Their midnight, by our clock, which is twenty seconds behind theirs.
        "ahead": datetime(2026, 11, 24, 23, 59, 40, tzinfo=UTC),
        "00:01:10": datetime(2026, 11, 24, 0, 1, 10, tzinfo=UTC),
    }[until]
    assert denial.value.retry_at == expected


async def test_a_spent_day_ends_at_the_midnight_of_the_provider_s_zone(
    gateway: Gateway, server: ScriptedServer, clock: SetClock
) -> None:
    clock.set(datetime(2026, 11, 24, 1, tzinfo=UTC))
    server.replies = [reply(Meaning.EXHAUSTED)]
    source = replace(SOURCE, policy=Policy(reset_zone="America/Los_Angeles"))
    with pytest.raises(QuotaExhausted) as denial:
        await gateway.send(call_to(server), source=source)
    assert denial.value.retry_at == datetime(2026, 11, 24, 8, tzinfo=UTC)


async def test_a_refused_key_stops_everybody_until_a_person_resumes(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [reply(Meaning.SUSPENDED, "bad credentials")]
    with pytest.raises(ProviderRefused, match="bad credentials"):
        await gateway.send(call_to(server), source=SOURCE)
    assert recording_quota.stops == [(DenialReason.SUSPENDED, None, "bad credentials")]
    with pytest.raises(QuotaDenied):
        await gateway.send(call_to(server), source=SOURCE)


async def test_an_unclear_429_is_per_minute_once_and_daily_when_it_comes_again(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [reply(Meaning.LIMITED, wait=30)]
    with pytest.raises(QuotaExhausted):
        await gateway.send(call_to(server), source=SOURCE)
    assert [reason for reason, _, _ in recording_quota.stops] == [
        DenialReason.BREAKER,
        DenialReason.EXHAUSTED,
    ]
    assert len(server.received) == 2


async def test_an_unclear_429_after_something_was_delivered_is_per_minute_again(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [reply(Meaning.LIMITED), reply(), reply(Meaning.LIMITED), reply()]
    await gateway.send(call_to(server), source=SOURCE)
    await gateway.send(call_to(server), source=SOURCE)
    assert [reason for reason, _, _ in recording_quota.stops] == [DenialReason.BREAKER] * 2


async def test_two_calls_that_meet_one_unclear_429_together_do_not_end_the_day(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    together = asyncio.Barrier(2)

    async def limited(_: web.Request) -> web.StreamResponse:
        await together.wait()
        return reply(Meaning.LIMITED, wait=10)

    server.replies = [limited, limited, reply()]
    await asyncio.gather(*(gateway.send(call_to(server), source=SOURCE) for _ in range(2)))
    assert {reason for reason, _, _ in recording_quota.stops} == {DenialReason.BREAKER}


# Retries


async def test_the_wait_that_the_provider_asks_for_is_kept(
    gateway: Gateway, server: ScriptedServer, clock: SetClock, noon: datetime
) -> None:
    server.replies = [reply(Meaning.FAILED, wait=17), reply()]
    await gateway.send(call_to(server), source=SOURCE)
    assert clock.now() - noon == timedelta(seconds=17)


async def test_a_wait_of_hours_is_the_caller_s(gateway: Gateway, server: ScriptedServer) -> None:
    server.replies = [reply(Meaning.FAILED, wait=7200)]
    with pytest.raises(ProviderUnavailable) as failure:
        await gateway.send(call_to(server), source=SOURCE)
    assert failure.value.retry_after == timedelta(hours=2)
    assert failure.value.status == 200
    assert len(server.received) == 1


@pytest.mark.parametrize("retries", [0, 1])
async def test_the_reader_says_how_often_asking_again_makes_sense(
    retries: int, gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [reply(Meaning.FAILED, retries=retries)]
    with pytest.raises(ProviderUnavailable):
        await gateway.send(call_to(server), source=SOURCE)
    assert len(server.received) == 1 + retries


# What is sent, and what may come back


async def test_the_request_is_sent_exactly_as_it_was_written(
    gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [reply()]
    call = call_to(
        server,
        method="POST",
        url=f"{server.url}/author/A%2FB%20%C3%A9?page=1",
        headers=(("Authorization", "a-key"), ("Content-Type", "application/json")),
        body=b"{}",
    )
    await gateway.send(call, source=SOURCE)
    [request] = server.received
    assert server.paths() == ["/author/A%2FB%20%C3%A9?page=1"]
    assert request.headers["Authorization"] == "a-key"
    assert request.headers["User-Agent"] == f"Alexandria/{__version__}"
    assert server.bodies == [b"{}"]


async def test_a_header_in_several_lines_is_kept_in_several_lines(
    gateway: Gateway, raw_server: RawServer
) -> None:
    url = await raw_server(
        b"HTTP/1.1 200 OK\r\nRateLimit: one\r\nratelimit: two\r\nContent-Length: 0\r\n\r\n",
    )
    answer = await gateway.send(call_to(url), source=SOURCE)
    assert answer.lines("ratelimit") == ("one", "two")
    assert answer.line("ratelimit") == "one"
    assert answer.line("absent") == ""


async def test_a_redirect_does_not_take_the_key_elsewhere(gateway: Gateway, server: ScriptedServer) -> None:
    server.replies = [web.Response(status=302, headers={"Location": "/elsewhere"})]
    answer = await gateway.send(call_to(server), source=SOURCE)
    assert answer.status == 302
    assert len(server.received) == 1


async def test_a_proxy_of_the_environment_is_not_trusted_unless_that_is_asked_for(
    gateway: Gateway,
    server: ScriptedServer,
    recording_quota: RecordingQuota,
    clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    server.replies = [reply()]
    await gateway.send(call_to(server), source=SOURCE)
    async with Gateway(recording_quota, clock, trust_environment=True) as trusting:
        with pytest.raises(ProviderUnavailable):
            await trusting.send(call_to(server), source=SOURCE)


def compressed(content: bytes, encoding: str = "gzip", **headers: str) -> web.Response:
    return web.Response(body=content, headers={"Content-Encoding": encoding, **headers})


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_answer_is_inflated(
    encoding: str, compress: Any, gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [compressed(compress(b"x" * 100_000), encoding)]
    answer = await gateway.send(call_to(server), source=SOURCE)
    assert answer.body == b"x" * 100_000


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(gzip.compress(b"x" * 50_000_000), id="bomb"),
        pytest.param(gzip.compress(b"x" * 1_000_001), id="one byte too many"),
    ],
)
async def test_an_answer_that_inflates_beyond_its_bound_is_a_failure_and_not_asked_for_again(
    content: bytes, gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [compressed(content)]
    with pytest.raises(ProviderUnavailable, match="longer than 1,000,000 bytes"):
        await gateway.send(call_to(server, most_bytes=1_000_000), source=SOURCE)
    assert len(server.received) == 1


async def test_a_bomb_does_not_fill_the_memory_first(gateway: Gateway, server: ScriptedServer) -> None:
    server.replies = [compressed(gzip.compress(b"x" * 50_000_000))]
    tracemalloc.start()
    try:
        with pytest.raises(ProviderUnavailable, match="longer than"):
            await gateway.send(call_to(server, most_bytes=1_000_000), source=SOURCE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


async def test_a_stream_of_bytes_that_come_to_nothing_is_counted_too(
    gateway: Gateway, server: ScriptedServer
) -> None:
    async def nothing(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await response.prepare(request)
        await response.write(gzip.compress(b"")[:10])
        for _ in range(40):
            await response.write(b"\x00\x00\x00\xff\xff" * 10_000)  # empty stored blocks of deflate
        return response

    server.replies = [nothing]
    with pytest.raises(ProviderUnavailable, match="longer than"):
        await gateway.send(call_to(server, most_bytes=1_000_000), source=SOURCE)


async def test_an_answer_of_exactly_the_bound_is_fine(gateway: Gateway, server: ScriptedServer) -> None:
    server.replies = [compressed(gzip.compress(b"x" * 1_000_000))]
    answer = await gateway.send(call_to(server, most_bytes=1_000_000), source=SOURCE)
    assert len(answer.body) == 1_000_000


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(json.dumps(list(range(1000))).encode(), mtime=0)[:-200],
        b"\x1f\x8bnot gzip at all",
        b"plain text",
    ],
)
async def test_a_cut_or_damaged_compressed_answer_is_a_failure(
    content: bytes, gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [compressed(content)]
    with pytest.raises(ProviderUnavailable):
        await gateway.send(call_to(server), source=SOURCE)


async def test_a_compression_that_was_not_asked_for_is_a_failure(
    gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [compressed(b"...", "br")]
    with pytest.raises(ProviderUnavailable, match="not asked for"):
        await gateway.send(call_to(server), source=SOURCE)
    assert server.received[0].headers["Accept-Encoding"] == "gzip"


async def test_a_body_without_a_length_is_counted_as_it_comes(
    gateway: Gateway, server: ScriptedServer
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 10_000)
        except ConnectionError:
            return response

    server.replies = [endless]
    with pytest.raises(ProviderUnavailable, match="longer than"):
        await gateway.send(call_to(server, most_bytes=100_000), source=SOURCE)


async def test_no_key_reaches_a_log_line_or_a_repr(gateway: Gateway, server: ScriptedServer) -> None:
    server.replies = [reply(), reply(Meaning.REFUSED, "no")]
    url = f"{server.url}/thing?key=SECRET"
    call = call_to(server, url=url, headers=(("Authorization", "SECRET"),))
    with capture_logs() as events:
        answer = await gateway.send(call, source=SOURCE)
        with pytest.raises(ProviderRefused) as refusal:
            await gateway.send(call, source=SOURCE)
    assert "SECRET" not in repr((events, call, answer)) + str(refusal.value)
    called = [event for event in events if event["event"] == "provider.called"]
    assert [(each["provider"], each["endpoint"], each["status"], each["units"]) for each in called] == [
        ("example", "thing", 200, 1)
    ] * 2
    assert all(each["milliseconds"] >= 0 for each in called)


# Downloads


async def test_a_file_is_downloaded_from_an_allowed_host(gateway: Gateway, server: ScriptedServer) -> None:
    server.replies = [web.Response(body=b"picture", content_type="image/jpeg")]
    answer = await download(gateway, f"{server.url}/cover.jpg", server.host)
    assert (answer.body, answer.line("content-type"), answer.units) == (b"picture", "image/jpeg", 0)
    assert answer.url == f"{server.url}/cover.jpg"


async def test_a_download_costs_no_units(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [web.Response(body=b"picture")]
    await download(gateway, server.url, server.host)
    assert recording_quota.reserved == []


async def download(gateway: Gateway, url: str, *allowed: str, most_bytes: int = 1_000_000) -> Answer:
    return await gateway.download(
        url, most_bytes=most_bytes, timeout_seconds=5, allowed_hosts=frozenset(allowed)
    )


FORBIDDEN = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://localhost.:{port}/",
    "http://127.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://１２７.0.0.1:{port}/",
    "http://0.0.0.0:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
]


@pytest.mark.parametrize("url", FORBIDDEN)
async def test_addresses_of_our_own_network_are_refused(
    url: str, gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [web.Response(body=b"secret")]
    port = server.host.partition(":")[2]
    with pytest.raises((ProviderRefused, ProviderUnavailable)) as refusal:
        await download(gateway, url.format(port=port))
    # A name that this machine can't look up is not found, which is as good.
    assert isinstance(refusal.value, ProviderRefused) or "name can't be found" in str(refusal.value)
    assert server.received == []


@pytest.mark.parametrize("url", FORBIDDEN)
async def test_a_redirect_does_not_lead_into_our_own_network(
    url: str, gateway: Gateway, server: ScriptedServer
) -> None:
    # What is allowed is the first host's name, and not what it leads to.
    port = server.host.partition(":")[2]
    names = Names(covers_example=["127.0.0.1"], localhost=["127.0.0.1"])
    server.replies = [
        web.Response(status=302, headers={"Location": url.format(port=port)}),
        web.Response(body=b"secret"),
    ]
    async with Gateway(RecordingQuota(SetClock()), SetClock(), resolver=names) as gateway:
        with pytest.raises((ProviderRefused, ProviderUnavailable)):
            await download(gateway, f"http://covers.example:{port}/cover.jpg", f"covers.example:{port}")
    assert len(server.received) == 1


async def test_a_name_that_changes_its_mind_is_refused_when_it_does(
    recording_quota: RecordingQuota, clock: SetClock, server: ScriptedServer
) -> None:
    port = server.host.partition(":")[2]
    names = Names(rebinding_example=["127.0.0.1"])
    server.replies = [web.Response(body=b"secret")]
    async with Gateway(recording_quota, clock, resolver=names) as gateway:
        with pytest.raises(ProviderRefused, match="public addresses"):
            await download(gateway, f"http://rebinding.example:{port}/")
    assert server.received == []


async def test_a_connection_to_an_allowed_host_does_not_serve_a_link_that_leads_there(
    gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [web.Response(body=b"picture")]
    port = server.host.partition(":")[2]
    await download(gateway, f"http://localhost:{port}/", f"localhost:{port}")
    with pytest.raises(ProviderRefused):
        await download(gateway, f"http://localhost:{port}/")
    assert len(server.received) == 1


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.1:1", "localhost"])
async def test_only_the_listed_port_is_allowed(
    allowed: str, gateway: Gateway, server: ScriptedServer
) -> None:
    with pytest.raises(ProviderRefused):
        await download(gateway, server.url, allowed)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/cover.jpg",
        "//example.org/cover.jpg",
        "cover.jpg",
        "",
        "http:///cover.jpg",
        "http://user:password@example.org/",
        "http://example.org:99999/",
        "http://[::1",
        "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
    ],
)
async def test_only_plain_web_addresses_are_fetched(url: str, gateway: Gateway) -> None:
    with pytest.raises(ProviderRefused):
        await download(gateway, url)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://example.org/", "http://user@example.org/"])
async def test_a_redirect_to_another_scheme_is_refused(
    location: str, gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [web.Response(status=301, headers={"Location": location})]
    with pytest.raises(ProviderRefused):
        await download(gateway, server.url, server.host)


async def test_redirects_are_followed_five_times(gateway: Gateway, server: ScriptedServer) -> None:
    hops = [web.Response(status=302, headers={"Location": f"/{hop}"}) for hop in range(5)]
    server.replies = [*hops, web.Response(body=b"picture")]
    answer = await download(gateway, server.url, server.host)
    assert (answer.body, answer.url) == (b"picture", f"{server.url}/4")


async def test_a_ring_of_redirects_ends(gateway: Gateway, server: ScriptedServer) -> None:
    server.replies = [web.Response(status=307, headers={"Location": "/again"})]
    with pytest.raises(ProviderRefused, match="more than 5 redirects"):
        await download(gateway, server.url, server.host)
    assert len(server.received) == 6


@pytest.mark.parametrize("status", [404, 410])
async def test_a_missing_file_is_a_definite_answer(
    status: int, gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [web.Response(status=status)]
    with pytest.raises(RecordNotFound) as absence:
        await download(gateway, server.url, server.host)
    assert absence.value.status == status


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 429, 500, 503])
async def test_any_other_status_is_a_failure(status: int, gateway: Gateway, server: ScriptedServer) -> None:
    server.replies = [web.Response(status=status, headers={"Retry-After": "7"})]
    with pytest.raises(ProviderUnavailable) as failure:
        await download(gateway, server.url, server.host)
    assert (failure.value.status, failure.value.retry_after) == (status, timedelta(seconds=7))


async def test_a_file_that_says_it_is_too_long_is_not_read(gateway: Gateway, raw_server: RawServer) -> None:
    url = await raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\nx")
    with pytest.raises(ProviderRefused, match="longer than 1,000,000 bytes"):
        await download(gateway, url, url.removeprefix("http://"))


async def test_a_file_that_lies_about_its_length_is_counted(gateway: Gateway, server: ScriptedServer) -> None:
    async def long(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(20):
            await response.write(b"x" * 100_000)
        return response

    server.replies = [long]
    with pytest.raises(ProviderRefused, match="longer than"):
        await download(gateway, server.url, server.host)


async def test_a_file_that_trickles_has_its_time(gateway: Gateway, server: ScriptedServer) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.Event().wait()
        raise AssertionError

    server.replies = [trickle]
    with pytest.raises(ProviderUnavailable):
        await gateway.download(
            server.url, most_bytes=1000, timeout_seconds=0.2, allowed_hosts=frozenset({server.host})
        )


async def test_a_signature_reaches_neither_an_error_nor_a_log_line(
    gateway: Gateway, server: ScriptedServer
) -> None:
    server.replies = [web.Response(status=403), web.Response(body=b"x"), web.Response(status=404)]
    signed = f"{server.url}/original.jpg?key=SECRET"
    told = []
    with capture_logs() as events:
        for url, allowed in [
            (signed, server.host),
            (signed, server.host),
            (signed, server.host),
            (signed, ""),
        ]:
            try:
                told.append(repr(await download(gateway, url, allowed)))
            except (ProviderRefused, ProviderUnavailable, RecordNotFound) as error:
                told += [str(error), repr(error.__cause__)]
    assert len(told) == 7
    assert "SECRET" not in repr((told, events))


# Publishing


async def publish(gateway: Gateway, url: str, *, timeout_seconds: float = 5) -> Answer:
    return await gateway.publish(
        url, b"{}", headers={"Authorization": "Bearer a-secret"}, timeout_seconds=timeout_seconds
    )


async def test_a_document_is_put_as_it_is_once_and_for_no_units(
    gateway: Gateway, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [web.Response(text="written")]
    assert (await publish(gateway, f"{server.url}/values/a%3Akey")).body == b"written"
    [request] = server.received
    assert (request.method, request.raw_path) == ("PUT", "/values/a%3Akey")
    assert request.headers["Authorization"] == "Bearer a-secret"
    assert server.bodies == [b"{}"]
    assert (recording_quota.reserved, recording_quota.settled) == ([], [])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, ProviderRefused),
        (400, ProviderRefused),
        (401, ProviderRefused),
        (404, ProviderRefused),
        (429, ProviderUnavailable),
        (500, ProviderUnavailable),
        (503, ProviderUnavailable),
    ],
)
async def test_a_document_that_is_not_taken_is_refused_or_to_be_sent_again_later(
    gateway: Gateway, server: ScriptedServer, status: int, kind: type[Exception]
) -> None:
    headers = {"Location": f"{server.url}/elsewhere", "Retry-After": "7"}
    server.replies = [web.Response(status=status, headers=headers)]
    with pytest.raises(kind, match=f"answered with {status}") as raised:
        await publish(gateway, server.url)
    assert len(server.received) == 1, "no redirect is followed, and nothing is sent again"
    if isinstance(raised.value, ProviderUnavailable):
        assert raised.value.retry_after == timedelta(seconds=7)


async def test_publishing_gives_up_in_time_and_shows_neither_query_nor_headers(
    gateway: Gateway, server: ScriptedServer
) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server.replies = [never]
    with capture_logs() as logs, pytest.raises(ProviderUnavailable, match="no answer in time") as raised:
        await publish(gateway, f"{server.url}/values?signature=hidden", timeout_seconds=0.05)
    server.replies = [web.Response()]
    with capture_logs() as more:
        await publish(gateway, f"{server.url}/values?signature=hidden")
    assert [each["event"] for each in more] == ["document.published"]
    shown = f"{logs} {more} {raised.value!r} {raised.value.__cause__!r}"
    assert "hidden" not in shown
    assert "a-secret" not in shown


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://user:secret@127.0.0.1/", "nonsense"])
async def test_nothing_is_published_to_an_address_that_can_not_be_used(gateway: Gateway, url: str) -> None:
    with pytest.raises(ProviderRefused) as raised:
        await publish(gateway, url)
    assert "secret" not in str(raised.value)


# The provider's count


async def test_a_count_goes_on_when_whoever_began_it_is_stopped(
    recording_quota: RecordingQuota, clock: SetClock
) -> None:
    asked, answering = asyncio.Event(), asyncio.Event()

    async def count(asked_at: datetime) -> Reading:
        asked.set()
        await answering.wait()
        return Reading(asked_at.date(), 15_000, 7, asked_at)

    async with Gateway(recording_quota, clock) as gateway:
        recounting = asyncio.create_task(gateway.recount(replace(SOURCE, count=count)))
        await asked.wait()
        recounting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await recounting
        answering.set()
    assert [reading.spent for reading in recording_quota.counted] == [7]


async def test_a_count_that_could_not_be_had_is_left_to_somebody_else(
    gateway: Gateway, recording_quota: RecordingQuota
) -> None:
    async def count(asked_at: datetime) -> Reading:
        raise ProviderUnavailable("isbndb", "answered with 500")

    with pytest.raises(ProviderUnavailable):
        await gateway.recount(replace(SOURCE, count=count))
    assert (recording_quota.yielded, recording_quota.counted) == (1, [])
