"""The only door to the outside: every request that leaves Alexandria is sent here, and counted here when it costs anything.

A call that costs quota is reserved, sent and settled, once per attempt and retries included (design.md, invariant 1). What was
sent stays charged whatever comes back; only what provably never left the machine is given back (invariant 2).
"""

import asyncio
import random
import socket
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Literal, Self

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from alexandria import __version__, meters, tracing
from alexandria.clock import Clock
from alexandria.domain.errors import (
    AlexandriaError,
    ConfigurationError,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
    RecordNotFound,
)
from alexandria.domain.quota import Lane, Policy, Reservation
from alexandria.domain.reconciling import Reconciliation
from alexandria.domain.settling import Evidence
from alexandria.providers.addresses import is_literal, is_public
from alexandria.providers.calls import Answer, Call, Meaning, Quota, Sender, Source, Verdict
from alexandria.providers.outcomes import (
    MOST_ATTEMPTS,
    STOPS,
    Limits,
    Outcome,
    error_of,
    evidence_of,
    wait_before_retry,
)
from alexandria.providers.permits import Patience, Permit, Permits
from alexandria.providers.ratelimit import read_retry_after

__all__ = ["Answer", "Call", "Gateway", "Meaning", "Quota", "Sender", "Source", "Verdict"]

log = structlog.get_logger()

LONGEST_CALL_SECONDS = 100.0
"""A call ends before the quota takes its reservation for abandoned (`quota.EXPIRY_GRACE`, two minutes)."""
MOST_REDIRECTS = 5

_ONLY_PUBLIC = (
    "files are fetched from public addresses only; list the host among the allowed ones if it is yours"
)
_CONNECT_SECONDS = 10.0
_CHUNK_BYTES = 64 * 1024
_MOST_RECEIPT_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Gateway:
    """Sends calls. An async context manager: it owns its connections and, at the end, waits for what is still to be settled."""

    def __init__(
        self,
        quota: Quota,
        clock: Clock,
        *,
        trust_environment: bool = False,
        most_connections: int = 32,
        jitter: Callable[[], float] = random.random,
        resolver: AbstractResolver | None = None,
        contact: str | None = None,
        seconds: Callable[[str, str, float], float] = lambda _provider, _endpoint, otherwise: otherwise,
    ) -> None:
        """`seconds` says how long to wait for an answer of (provider, endpoint), or of ("cover", ""), instead of so long. `contact` says who runs this, for providers that serve nobody else. `trust_environment` sends calls, but never downloads from strangers' hosts, through the proxies that it names."""
        self._clock = clock
        self._quota = quota
        self._permits = Permits(quota, clock, self._recount_surely)
        self._trust_environment = trust_environment
        self._most_connections = most_connections
        self._jitter = jitter
        self._resolver = resolver
        self._contact = contact
        self._seconds = seconds
        self._limits = Limits(clock)

    async def __aenter__(self) -> Self:
        resolver = self._resolver or aiohttp.ThreadedResolver()
        self._session = self._open(resolver, trust_environment=self._trust_environment)
        # A proxy would look names up itself, past our check, so the guarded connections never use one. They are a pool of
        # their own: a connection to an allowed host must not serve a link that merely leads there.
        self._guarded = self._open(_PublicResolver(resolver), trust_environment=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._permits.close()
        await self._session.close()
        await self._guarded.close()

    def _open(self, resolver: AbstractResolver, *, trust_environment: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._most_connections, resolver=resolver),
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "gzip"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # _read_body does it, with a bound
            trust_env=trust_environment,
            middlewares=(_send_once,),
        )

    @property
    def _user_agent(self) -> str:
        """With a contact in the form that Open Library and Wikimedia ask for (contracts/openlibrary.md, 6; wikidata.md, 5)."""
        return f"Alexandria/{__version__}" + (f" (+{self._contact})" if self._contact else "")

    async def send(self, call: Call, *, source: Source) -> Answer:
        """Send a call as often as makes sense, at most three times; each attempt is a reservation of its own.

        Raises RecordNotFound for a definite absence, ProviderRefused for a request or a key that will not be answered,
        QuotaDenied or QuotaExhausted when the coordinator or the provider says not now, ProviderUnavailable when no usable
        answer came, StoreUnavailable when the quota can't be read, ConfigurationError when the provider wants to know who asks
        and no contact is set: then nothing was sent.
        """
        if source.policy.needs_contact and not self._contact:
            raise ConfigurationError(
                f"{source.account.provider} serves only callers that name a contact: set ALEXANDRIA_CONTACT to your page or address"
            )
        patience = Patience(self._clock, call.most_wait_seconds)
        for attempt in range(1, MOST_ATTEMPTS + 1):
            about = {"alexandria.lane": call.lane.value, "alexandria.consumer": call.consumer}
            name = f"{source.account.provider} {call.endpoint}"
            with tracing.span(name, "client", {**about, "alexandria.attempt": attempt}) as span:
                outcome = await self._attempt(call, source, patience, attempt)
                _tell(span, outcome)
            if outcome.answer and outcome.verdict.meaning is Meaning.DELIVERED:
                return outcome.answer
            wait = wait_before_retry(outcome, attempt, now=self._clock.now(), jitter=self._jitter)
            if wait is None or not await patience.take(wait):
                break
        raise error_of(source.account.provider, outcome)

    async def _attempt(self, call: Call, source: Source, patience: Patience, attempt: int) -> Outcome:
        asked, provider = self._clock.monotonic(), source.account.provider
        with tracing.detail("wait for a slot"):
            permit = await self._permits.obtain(call, source, patience)
        began = self._clock.monotonic()
        meters.WAIT_SECONDS.labels(provider, call.lane.value).observe(began - asked)
        try:
            outcome = await self._dispatch(call, source, permit)
        except BaseException:
            meters.CALLS.labels(provider, call.endpoint, "interrupted").inc()
            # Stopped in flight, or a reader's defect: it may have reached the provider, so it stays charged.
            await self._permits.settle(
                permit.reservation,
                source.policy,
                units_spent=call.units,
                outcome="interrupted",
                is_certain=False,
                evidence=Evidence(),
            )
            raise
        elapsed = self._clock.monotonic() - began
        outcome = self._limits.weigh(source, outcome, began)
        meters.CALLS.labels(provider, call.endpoint, outcome.verdict.meaning.value).inc()
        meters.CALL_SECONDS.labels(provider, call.endpoint).observe(elapsed)
        evidence = evidence_of(outcome, elapsed=timedelta(seconds=elapsed))
        # As one piece: whoever is stopped meanwhile leaves neither a stop nor a settlement undone.
        concluding = self._conclude(permit.reservation, source.policy, outcome, evidence)
        await asyncio.shield(self._permits.keep(concluding))
        log.info(
            "provider.called",
            provider=provider,
            endpoint=call.endpoint,
            status=outcome.answer.status if outcome.answer else None,
            meaning=outcome.verdict.meaning.value,
            units=outcome.units,
            milliseconds=round((self._clock.monotonic() - began) * 1000),
            attempt=attempt,
            lane=call.lane.value,
            consumer=call.consumer,
        )
        return outcome

    async def _dispatch(self, call: Call, source: Source, permit: Permit) -> Outcome:
        # Connecting counts against the fence too: what has no connection by then is not sent.
        connect = min(_CONNECT_SECONDS, permit.lapses_at - self._clock.monotonic())
        seconds = self._seconds(source.account.provider, call.endpoint, call.timeout_seconds)
        limits = _time_limits(min(seconds, LONGEST_CALL_SECONDS), connect)
        url = URL(call.url, encoded=True)
        try:
            answer = await self._exchange(self._session, url, limits, most_bytes=call.most_bytes, call=call)
        except _NoAnswer as failure:
            verdict = Verdict(Meaning.FAILED, failure.reason, most_retries=None if failure.may_repeat else 0)
            return Outcome(verdict, units=call.units if failure.was_sent else 0, was_sent=failure.was_sent)
        verdict = source.read(call, answer)
        units = call.units if verdict.units is None else verdict.units
        return Outcome(verdict, replace(answer, units=units, remaining_today=verdict.remaining_today), units)

    async def _conclude(
        self, reservation: Reservation, policy: Policy, outcome: Outcome, evidence: Evidence
    ) -> None:
        """Write down what became of a reservation, and stop everybody when the answer says so."""
        verdict = outcome.verdict
        if reason := STOPS.get(verdict.meaning):
            await self._permits.stop(
                reservation.account, until=outcome.until, reason=reason, detail=verdict.detail
            )
        if outcome.was_sent:
            await self._permits.settle(
                reservation,
                policy,
                units_spent=outcome.units,
                outcome=verdict.meaning.value,
                is_certain=verdict.is_certain,
                evidence=evidence,
                requests_spent=verdict.requests_spent,
            )
        else:
            await self._permits.release(reservation, verdict.detail, is_failure=bool(evidence.is_failure))

    async def recount(self, source: Source, *, only_if_due: bool = False) -> Reconciliation | None:
        """Ask the provider for its count and compare ours with it; None when somebody else is doing that, or it is not due.

        Raises what `send` raises.
        """
        if source.count is None:
            return None
        # Everybody waits for what comes of it, so it goes on when whoever began it is stopped.
        return await asyncio.shield(self._permits.keep(self._recount(source, only_if_due=only_if_due)))

    async def _recount(self, source: Source, *, only_if_due: bool) -> Reconciliation | None:
        asked_at = await self._quota.claim_count(source.account, only_if_due=only_if_due)
        if asked_at is None or source.count is None:
            return None
        try:
            reading = await source.count(asked_at)
            compared = await self._quota.reconcile(source.account, source.policy, reading)
        except AlexandriaError:
            await self._permits.yield_count(source.account)
            raise
        if not compared.is_in_time:
            await self._permits.yield_count(source.account)
        return compared

    async def _recount_surely(self, source: Source) -> None:
        """The same for a call that waits for it. Should nobody answer, the call is denied as it would have been.

        Raises QuotaDenied when not even the free call may be sent: that says better when to come back.
        """
        try:
            await self.recount(source)
        except ProviderError as error:
            log.warning("quota.count_unknown", provider=source.account.provider, reason=str(error))

    async def download(
        self,
        url: str,
        *,
        most_bytes: int,
        timeout_seconds: float,
        allowed_hosts: frozenset[str] = frozenset(),
    ) -> Answer:
        """Fetch a file that costs no units, from public addresses only, following at most five redirects.

        `allowed_hosts` lists hosts that may have other addresses, as `host:port`, or `host` for the scheme's own port. Raises
        ProviderRefused for an address or scheme that is not allowed and for a body over `most_bytes`, RecordNotFound for a
        404 or 410, ProviderUnavailable for everything else. No error and no log line shows more of a URL than its host.
        """
        target, began = _read_url(url), self._clock.monotonic()
        timeout_seconds = self._seconds("cover", "", timeout_seconds)
        limits = _time_limits(timeout_seconds, _CONNECT_SECONDS)
        try:
            with tracing.span("download", "client", {"server.address": target.raw_host}) as span:
                async with asyncio.timeout(timeout_seconds):
                    answer = await self._follow(target, limits, most_bytes, allowed_hosts)
                span.tell({"http.response.status_code": answer.status, "alexandria.bytes": len(answer.body)})
        except TimeoutError as error:
            raise ProviderUnavailable(
                target.raw_host or "", f"the file did not arrive within {timeout_seconds:g} s"
            ) from error
        log.info(
            "file.downloaded",
            host=URL(answer.url).raw_host,
            status=answer.status,
            bytes=len(answer.body),
            milliseconds=round((self._clock.monotonic() - began) * 1000),
        )
        if answer.status == 200:
            return answer
        raise _download_error(answer, self._clock.now())

    async def publish(
        self,
        url: str,
        body: bytes,
        *,
        headers: Mapping[str, str],
        timeout_seconds: float,
        method: Literal["PUT", "POST"] = "PUT",
    ) -> Answer:
        """Send a small document to an address of the operator's own: once, for no units, following no redirect.

        The URL is sent exactly as it stands, so whoever makes it encodes it.
        Raises ProviderRefused for an address, a redirect or a status that asking again does not change, ProviderUnavailable,
        with the wait that was asked for, for everything else. No error and no log line shows more of a URL than its host.
        """
        host, began = _read_url(url).raw_host or "", self._clock.monotonic()
        call = Call(method, url, 0, Lane.SCHEDULED, "publish", headers=tuple(headers.items()), body=body)
        limits = _time_limits(timeout_seconds, timeout_seconds)
        try:
            with tracing.span("publish", "client", {"server.address": host}) as span:
                answer = await self._exchange(
                    self._session, URL(url, encoded=True), limits, most_bytes=_MOST_RECEIPT_BYTES, call=call
                )
                span.tell({"http.response.status_code": answer.status})
        except _NoAnswer as failure:
            kind = ProviderRefused if failure.is_refused else ProviderUnavailable
            raise kind(host, failure.reason) from failure
        milliseconds = round((self._clock.monotonic() - began) * 1000)
        log.info("document.published", host=host, status=answer.status, milliseconds=milliseconds)
        if 200 <= answer.status < 300:
            return answer
        raise _publish_error(answer, self._clock.now())

    async def _follow(
        self, target: URL, limits: aiohttp.ClientTimeout, most_bytes: int, allowed_hosts: frozenset[str]
    ) -> Answer:
        for _ in range(MOST_REDIRECTS + 1):
            session = self._session if _is_allowed(target, allowed_hosts) else self._guarded
            host = target.raw_host or ""
            if session is self._guarded and is_literal(host) and not is_public(host):
                # No name is looked up for a literal address, so the resolver never sees it.
                raise ProviderRefused(host, _ONLY_PUBLIC)
            try:
                answer = await self._exchange(session, target, limits, most_bytes=most_bytes)
            except _NoAnswer as failure:
                kind = ProviderRefused if failure.is_refused else ProviderUnavailable
                raise kind(host, failure.reason) from failure
            if answer.status not in _REDIRECTS or not answer.line("location"):
                return answer
            target = _read_url(answer.line("location"), target)
        raise ProviderRefused(host, f"more than {MOST_REDIRECTS} redirects")

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        url: URL,
        limits: aiohttp.ClientTimeout,
        *,
        most_bytes: int,
        call: Call | None = None,
    ) -> Answer:
        """One request, one answer, its body read to the end. Raises _NoAnswer."""
        method, body, headers = (call.method, call.body, dict(call.headers)) if call else ("GET", None, {})
        try:
            async with session.request(
                # A redirect would take the key elsewhere, and cost a request that nobody counted.
                method,
                url,
                data=body,
                headers=headers,
                timeout=limits,
                allow_redirects=False,
            ) as response:
                content = await _read_body(response, most_bytes)
        except aiohttp.ClientConnectorError as error:
            raise _read_connection_failure(error) from error
        # aiohttp puts the whole URL into the rest of its errors, so they are not chained.
        except aiohttp.ConnectionTimeoutError:
            raise _NoAnswer("no connection in time: try again later", was_sent=False) from None
        except TimeoutError:
            raise _NoAnswer("no answer in time: try again later") from None
        except aiohttp.InvalidURL:
            raise _NoAnswer(
                "the address can't be used", was_sent=False, may_repeat=False, is_refused=True
            ) from None
        except (aiohttp.ClientError, zlib.error) as error:
            raise _NoAnswer(
                f"the answer broke off or is damaged ({type(error).__name__}): try again later"
            ) from None
        lines = tuple((name.lower(), value) for name, value in response.headers.items())
        return Answer(response.status, lines, content, self._clock.now(), url=str(url))


def _tell(span: tracing.Span, outcome: Outcome) -> None:
    """What became of an attempt, for the trace: never its address, which may hold a key."""
    status = outcome.answer.status if outcome.answer else None
    span.tell({"http.response.status_code": status, "alexandria.units": outcome.units})
    span.tell({"alexandria.meaning": outcome.verdict.meaning.value})
    if outcome.verdict.meaning not in {Meaning.DELIVERED, Meaning.ABSENT}:
        span.fail(outcome.verdict.meaning.value)


def _time_limits(total: float, connect: float) -> aiohttp.ClientTimeout:
    # aiohttp takes 0 for "no limit" and, unless told not to, rounds what is over five seconds up.
    return aiohttp.ClientTimeout(
        total=total, connect=max(connect, 0.001), ceil_threshold=2 * LONGEST_CALL_SECONDS
    )


class _NoAnswer(Exception):
    """Nothing came back that may be read. `was_sent` is False only when the request provably never left."""

    def __init__(
        self, reason: str, *, was_sent: bool = True, may_repeat: bool = True, is_refused: bool = False
    ) -> None:
        self.reason = reason
        self.was_sent = was_sent
        self.may_repeat = may_repeat
        self.is_refused = is_refused
        super().__init__(reason)


class _ForbiddenAddress(OSError):
    """A name leads to an address that is not public."""


class _PublicResolver(AbstractResolver):
    """Looks names up and hands on public addresses only.

    The connection goes to exactly what this returns, so a name can't change its mind between the check and the use.
    """

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        # One such address spoils the name: a host of covers has no reason to have one.
        if not all(is_public(each["host"]) for each in found):
            raise _ForbiddenAddress
        return found

    async def close(self) -> None:
        """Nothing to close: the inner resolver belongs to the other connections too."""


async def _send_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again by itself.

    It does so when a kept connection breaks under a GET. That attempt would reach the provider uncounted.
    """
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _NoAnswer("the connection broke before an answer came: try again later") from error


def _read_connection_failure(error: aiohttp.ClientConnectorError) -> _NoAnswer:
    if isinstance(error.os_error, _ForbiddenAddress):
        return _NoAnswer(_ONLY_PUBLIC, was_sent=False, may_repeat=False, is_refused=True)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _NoAnswer("the host's name can't be found: check the address and the network", was_sent=False)
    cause = error.os_error.strerror or type(error.os_error).__name__
    return _NoAnswer(f"no connection ({cause}): try again later", was_sent=False)


async def _read_body(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """The body, inflated, and never more of it in memory than `most_bytes` and a chunk."""
    too_long = _NoAnswer(f"the answer is longer than {most_bytes:,} bytes", may_repeat=False, is_refused=True)
    if (response.content_length or 0) > most_bytes:
        raise too_long
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise _NoAnswer("the answer is compressed in a way that was not asked for")
    # 47 takes gzip or zlib, by its header.
    inflate = None if encoding in {"", "identity"} else zlib.decompressobj(wbits=47)
    body, received = bytearray(), 0
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        received += len(chunk)
        body += inflate.decompress(chunk, most_bytes + 1 - len(body)) if inflate else chunk
        if len(body) > most_bytes or received > most_bytes:
            raise too_long
    if inflate and received and not inflate.eof:
        raise _NoAnswer("the compressed answer was cut short: try again later")
    return bytes(body)


def _read_url(text: str, base: URL | None = None) -> URL:
    """An address to download from. Raises ProviderRefused when it is none, or not http or https."""
    try:
        url = base.join(URL(text)) if base else URL(text)
        is_usable = url.scheme in {"http", "https"} and bool(url.host) and bool(url.port) and url.user is None
    except ValueError:
        is_usable = False
    if not is_usable:
        host = base.host or "" if base else "download"
        raise ProviderRefused(
            host, "only http and https addresses with a host, and without a password, are fetched"
        )
    return url


def _is_allowed(url: URL, allowed_hosts: frozenset[str]) -> bool:
    host = f"[{url.raw_host}]" if ":" in (url.raw_host or "") else url.raw_host
    return f"{host}:{url.port}" in allowed_hosts or (url.is_default_port() and host in allowed_hosts)


def _download_error(answer: Answer, now: datetime) -> ProviderError:
    host = URL(answer.url).raw_host or ""
    if answer.status in {404, 410}:
        return RecordNotFound(host, "there is no such file", status=answer.status)
    wait = read_retry_after(answer.line("retry-after"), now)
    return ProviderUnavailable(host, f"answered with {answer.status}", status=answer.status, retry_after=wait)


def _publish_error(answer: Answer, now: datetime) -> ProviderError:
    host, said = URL(answer.url).raw_host or "", f"answered with {answer.status}"
    if answer.status in {408, 425, 429} or answer.status >= 500:
        wait = read_retry_after(answer.line("retry-after"), now)
        return ProviderUnavailable(host, said, status=answer.status, retry_after=wait)
    return ProviderRefused(host, said, status=answer.status)
