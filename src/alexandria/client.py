"""Share Alexandria's provider key: reserve units before each call of your own, and say afterwards what it cost.

Standard library only: import it as `alexandria.client`, or copy this one file into your program (docs/outside-programs.md).
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4


class QuotaRefused(Exception):
    """No unit now. `problem` is the server's problem document, `retry_after_seconds` None when asking again is of no use."""

    def __init__(self, status: int, problem: dict[str, Any], retry_after: str | None) -> None:
        super().__init__(f"{status}: {problem.get('detail', 'no reason given')}")
        self.status, self.problem = status, problem
        wait = problem.get("retry_after_seconds", retry_after)
        self.retry_after_seconds = None if wait is None else float(wait)


class Reservation:
    """Leave to send one request, now: its slot has come. End it with `settle` or `release`."""

    def __init__(self, client: "QuotaClient", body: dict[str, Any], lapses_at: float) -> None:
        self.client, self.body, self.lapses_at = client, body, lapses_at
        self.id: str = body["id"]
        self.is_ended = False

    def is_in_time(self) -> bool:
        """Whether it may still be sent; look again if you did anything else in between."""
        return bool(self.client.clock.monotonic() < self.lapses_at)

    def settle(self, units_spent: int | None = None, *, headers: Any = None, is_certain: bool = True) -> None:
        """It was sent and cost that much; without `units_spent`, what was reserved. `headers` are those of the answer."""
        ending: dict[str, Any] = {"state": "settled", "units_spent": units_spent, "is_certain": is_certain}
        if headers is not None:
            found = [(name.lower().replace("-", "_"), value) for name, value in headers.items()]
            wanted = ("date", "ratelimit", "ratelimit_policy")
            ending["provider_headers"] = {
                each: [text for name, text in found if name == each] for each in wanted
            }
        self._end(ending)

    def release(self) -> None:
        """It certainly was not sent: the units come back."""
        self._end({"state": "released"})

    def _end(self, ending: dict[str, Any]) -> None:
        self.client.ask("PUT", f"/{self.id}", ending)
        self.is_ended = True


class QuotaClient:
    """Reserves at the server at `url`; `token` is one of ALEXANDRIA_QUOTA_TOKENS."""

    def __init__(self, url: str, token: str, *, timeout_seconds: float = 20.0, clock: Any = time) -> None:
        """`timeout_seconds` is for one answer of the server; `clock` has `monotonic` and `sleep`."""
        self.url, self.token, self.timeout_seconds, self.clock = (
            url.rstrip("/"),
            token,
            timeout_seconds,
            clock,
        )

    def reserve(self, units: int = 1, *, most_wait_seconds: float = 120.0, **members: Any) -> Reservation:
        """Reserve and wait for the slot. Raises QuotaRefused when that would take longer than `most_wait_seconds`.

        `members` are the others of POST /api/quota/reservations in docs/api.md: requests, lane, job, ...
        """
        gives_up_at = self.clock.monotonic() + most_wait_seconds
        while True:
            # Its fence counts from before it was asked and its slot from after: so it is never sent too early or too late.
            asked_at, request_id = self.clock.monotonic(), str(uuid4())
            try:
                body = self.ask("POST", "", {"units": units, "request_id": request_id, **members})
            except QuotaRefused as refused:
                wait = refused.retry_after_seconds
                if wait is None or self.clock.monotonic() + wait > gives_up_at:
                    raise
                self.clock.sleep(max(wait, 0.05))
                continue
            reservation = Reservation(self, body, asked_at + body["use_within_seconds"])
            self.clock.sleep(body["wait_seconds"])
            if reservation.is_in_time():
                return reservation
            reservation.release()
            if self.clock.monotonic() > gives_up_at:
                raise TimeoutError(
                    "every reservation lapsed before it could be used: this machine is overloaded"
                )

    @contextmanager
    def call(self, units: int = 1, **options: Any) -> Iterator[Reservation]:
        """Reserve for a block that sends one request and then calls `settle`, or `release` when it did not send.

        A block that ends without either, above all by an exception, may have sent it: nobody knows, so it stays charged until
        the provider's own count proves otherwise.
        """
        reservation = self.reserve(units, **options)
        try:
            yield reservation
        finally:
            if not reservation.is_ended:
                # Should the server be away, it comes to the same: what nobody ends stays charged.
                with suppress(QuotaRefused, OSError, http.client.HTTPException):
                    reservation.settle(is_certain=False)

    def ask(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request to the server, tried again when no answer came: all of them may be repeated. Raises QuotaRefused."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        url = f"{self.url}/api/quota/reservations{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)  # noqa: S310 - the user's own server
        for attempt in range(3):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:  # noqa: S310
                    return dict(json.load(answer))
            except urllib.error.HTTPError as error:
                with error:
                    text = error.read()
                is_json = "json" in error.headers.get("Content-Type", "")
                problem = json.loads(text) if is_json else {}
                raise QuotaRefused(error.code, problem, error.headers.get("Retry-After")) from None
            except (OSError, http.client.HTTPException):
                if attempt == 2:
                    raise
                self.clock.sleep(attempt + 0.5)
        raise AssertionError
