"""Share Alexandria's provider key: reserve units before each call of your own, and say afterwards what it cost.

Standard library only: import it as `alexandria.client`, or copy this one file into your program (docs/outside-programs.md).
"""

import json
import time
from contextlib import suppress
from http.client import HTTPException
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4


class QuotaRefused(Exception):
    """No unit now: `problem` is the server's problem document, `retry_after_seconds` infinite if asking again is of no use."""

    def __init__(self, error: HTTPError) -> None:
        with error:
            self.problem = json.load(error) if "json" in error.headers.get("Content-Type", "") else {}
        self.status, wait = error.code, error.headers.get("Retry-After", "inf")
        self.retry_after_seconds = float(self.problem.get("retry_after_seconds", wait))
        super().__init__(f"{error.code}: {self.problem.get('detail', 'no reason given')}")


class Reservation:
    """Leave to send one request, from now until `lapses_at` by the monotonic clock; then `settle` it. `body` is how it stands."""

    def __init__(self, client: "QuotaClient", body: dict[str, Any], lapses_at: float) -> None:
        self.client, self.body, self.lapses_at = client, body, lapses_at

    def settle(self, units_spent: int | None = None, *, headers: Any = None, is_certain: bool = True) -> None:
        """It was sent and cost that much; without `units_spent`, what was reserved. `headers` are those of the answer."""
        lines: dict[str, list[str]] = {"date": [], "ratelimit": [], "ratelimit_policy": []}
        for name, line in (headers or {}).items():
            lines.get(name.lower().replace("-", "_"), []).append(line)
        self.end(state="settled", units_spent=units_spent, is_certain=is_certain, provider_headers=lines)

    def release(self) -> None:
        """It certainly was not sent: the units come back."""
        self.end(state="released")

    def end(self, **ending: Any) -> None:
        self.body = self.client.ask("PUT", f"/{self.body['id']}", ending)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.body["state"] == "reserved":  # it may have been sent, nobody knows: so it stays charged
            with suppress(QuotaRefused, OSError, HTTPException):  # as it does when nobody says so
                self.settle(is_certain=False)


class QuotaClient:
    """Reserves at the server at `url`; `token` is one of ALEXANDRIA_QUOTA_TOKENS. `timeout_seconds` is for one answer."""

    def __init__(self, url: str, token: str, *, timeout_seconds: float = 20.0, clock: Any = time) -> None:
        self.url, self.token, self.timeout, self.clock = url.rstrip("/"), token, timeout_seconds, clock

    def reserve(self, units: int = 1, *, most_wait_seconds: float = 120.0, **members: Any) -> Reservation:
        """Reserve, and wait for the slot. Raises QuotaRefused if no unit is to be had within `most_wait_seconds`.

        `members` are the others of POST /api/quota/reservations in docs/api.md: requests, lane, job, ...
        """
        gives_up_at = self.clock.monotonic() + most_wait_seconds
        # It asks at least once, and once more after a sleep that took a little longer than it should.
        while (asked_at := self.clock.monotonic()) < gives_up_at + 1:
            try:
                body = self.ask("POST", "", {"units": units, "request_id": str(uuid4()), **members})
                # Counted from before it was asked, and the slot from after: so it is never sent too early or too late.
                reservation = Reservation(self, body, asked_at + body["use_within_seconds"])
                self.clock.sleep(body["wait_seconds"])
                if self.clock.monotonic() < reservation.lapses_at:
                    return reservation
                reservation.release()
            except QuotaRefused as refused:
                if self.clock.monotonic() + refused.retry_after_seconds > gives_up_at:
                    raise
                self.clock.sleep(max(refused.retry_after_seconds, 0.05))
        raise TimeoutError("it lapsed before it could be used: this machine is overloaded")

    call = reserve  # for a block that sends one request: `with quota.call(units=1) as call:`

    def ask(self, method: str, path: str, body: dict[str, Any], repeats: int = 2) -> dict[str, Any]:
        """One request to the server; without an answer it is repeated with the same id, which charges nothing twice."""
        url, data = f"{self.url}/api/quota/reservations{path}", json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        try:
            with urlopen(Request(url, data, headers, method=method), timeout=self.timeout) as answer:  # noqa: S310
                return dict(json.load(answer))
        except HTTPError as error:
            raise QuotaRefused(error) from None
        except (OSError, HTTPException):
            if not repeats:
                raise
        self.clock.sleep(1)
        return self.ask(method, path, body, repeats - 1)
