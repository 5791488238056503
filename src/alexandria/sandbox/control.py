"""The sandbox's own page: what was asked and charged, and the switches, faults and keys to turn. Loopback only.

`GET /` for people, `GET /state` as JSON; `POST /switches`, `/faults` and `/keys` with JSON bodies (docs/sandbox.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from html import escape
from typing import Any

import msgspec
from aiohttp import web

from alexandria.domain.errors import InvalidInput
from alexandria.sandbox.accounts import PLANS, Account, Accounts, Key
from alexandria.sandbox.covers import CoversHost
from alexandria.sandbox.faults import Fault
from alexandria.sandbox.isbndb import Isbndb
from alexandria.sandbox.received import Received
from alexandria.sandbox.stand_ins import StandIns

_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Control:
    """Shows and turns what a running sandbox does."""

    def __init__(self, provider: Isbndb, covers: CoversHost, accounts: Accounts, free: StandIns) -> None:
        self._provider = provider
        self._free = free
        self._covers = covers
        self._accounts = accounts
        self._changes: dict[str, Callable[[Any], None]] = {
            "/switches": self._set_switches,
            "/faults": self._set_faults,
            "/keys": self._open_key,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. A change that is refused changes nothing."""
        # A page of the open web can make a browser send requests here, but not under this name nor with this type.
        if request.host.rpartition(":")[0] not in _LOCAL_NAMES and request.host not in _LOCAL_NAMES:
            return _problem(403, "host: the control page answers on the loopback address only")
        if request.method == "GET" and request.path == "/":
            return web.Response(text=self._page(), content_type="text/html")
        if request.method == "GET" and request.path == "/state":
            return _json(200, self.state())
        if request.method != "POST" or request.path not in self._changes:
            return _problem(404, "path: use /, /state, and POST to /switches, /faults or /keys")
        if request.content_type != "application/json":
            return _problem(415, "content-type: send application/json")
        try:
            self._changes[request.path](msgspec.json.decode(await request.read()))
        except msgspec.DecodeError as error:
            return _problem(400, f"body: {error}")
        except InvalidInput as error:
            return _problem(400, str(error))
        return _json(200, self.state())

    def state(self) -> dict[str, Any]:
        """Everything that can be seen; keys by their hash only."""
        provider, world = self._provider, self._provider.world
        return {
            "url": provider.url,
            "covers_url": provider.covers_url,
            "now": self._accounts.now(self._accounts.switches).isoformat(),
            "world": {
                "seed": world.seed,
                "authors": len(world.truth.authors),
                "works": len(world.truth.works),
                "editions": len(world.truth.editions),
                "listed": len(world.listed),
                "new": sum(each.is_new for each in world.truth.editions.values()),
                "rows_set_aside": len(world.set_aside),
            },
            "keys": [self._key(account) for account in self._accounts],
            "calls": _by_status(provider.received),
            "free_calls": _by_status(self._free.received),
            "covers": {str(status): count for status, count in sorted(self._covers.counts.items())},
            "switches": self._accounts.switches.as_json(),
            "faults": provider.faults.as_json(),
        }

    def _key(self, account: Account) -> dict[str, Any]:
        standing = account.standing()
        own = account.key.switches
        return {
            "key_hash": account.hash,
            "plan": account.key.plan.name,
            "is_active": account.key.is_active,
            "subscription": account.subscription.name,
            "spent": standing.key_spent,
            "subscription_spent": standing.spent,
            "left": standing.left,
            "total": standing.total,
            "cap": account.key.cap,
            "switches": own.as_json() if own else None,
        }

    # -- changes -----------------------------------------------------------------------------------------------------

    def _set_switches(self, body: Any) -> None:
        """{"switches": {name: value}, "key"?: key or hash}: those switches, for all keys or for one."""
        changes = _member(body, "switches", dict)
        if body.get("key") is None:
            self._accounts.switches = self._accounts.switches.changed(changes)
            return
        account = self._accounts.get(_member(body, "key", str))
        switches = account.switches.changed(changes)
        self._accounts.open(account.text, replace(account.key, switches=switches))

    def _set_faults(self, body: Any) -> None:
        """{"faults": [rule]}: these rules instead of all others."""
        self._provider.faults.set([Fault.from_json(each) for each in _member(body, "faults", list)])

    def _open_key(self, body: Any) -> None:
        """{"key", "plan", "subscription"?, "cap"?, "is_active"?}: one more key, or other terms for a known one."""
        text, plan = _member(body, "key", str), _member(body, "plan", str)
        if plan.lower() not in PLANS:
            raise InvalidInput("plan", plan, f"give one of {', '.join(PLANS)}")
        cap = _member(body, "cap", int) if body.get("cap") is not None else None
        if not text or (cap is not None and cap < 0):
            raise InvalidInput(
                "key", text[:4], "give a key that is not empty, and a cap that is not negative"
            )
        subscription = _member(body, "subscription", str) if body.get("subscription") is not None else None
        is_active = _member(body, "is_active", bool) if "is_active" in body else True
        self._accounts.open(
            text, Key(PLANS[plan.lower()], subscription=subscription, cap=cap, is_active=is_active)
        )

    # -- the page ----------------------------------------------------------------------------------------------------

    def _page(self) -> str:
        state = self.state()
        calls = {
            f"{endpoint} {status}": n
            for group in ("calls", "free_calls")
            for endpoint, by in state[group].items()
            for status, n in by.items()
        }
        parts = [
            "<!doctype html><html lang=en><head><meta charset=utf-8><meta http-equiv=refresh content=5>",
            "<title>Sandbox</title><style>body{font:15px/1.4 system-ui;margin:2em;max-width:60em}table{border-collapse:collapse;",
            "margin:0 0 2em}th,td{text-align:left;padding:.2em 1em .2em 0;border-bottom:1px solid #ddd}</style></head><body>",
            "<h1>Sandbox</h1><p>A stand-in ISBNdb. The people and books of an invented world are invented.</p>",
            _table("Addresses", {name: state[name] for name in ("url", "covers_url", "now")}),
            *(
                _table(
                    f"Key {each['key_hash']}", each | {"switches": "own" if each["switches"] else "common"}
                )
                for each in state["keys"]
            ),
            _table("Calls", calls),
            _table("Covers host, answers by status", state["covers"]),
            _table("World", state["world"]),
            _table("Faults", {str(number): each for number, each in enumerate(state["faults"], start=1)}),
            _table("Switches", state["switches"]),
            "</body></html>",
        ]
        return "".join(parts)


def _by_status(received: Received) -> dict[str, dict[str, int]]:
    calls: dict[str, dict[str, int]] = {}
    for (endpoint, status), count in sorted(received.counts.items()):
        calls.setdefault(endpoint, {})[str(status)] = count
    return calls


def _table(title: str, rows: Mapping[str, Any]) -> str:
    lines = "".join(f"<tr><th>{escape(str(name))}<td>{escape(str(value))}" for name, value in rows.items())
    return f"<h2>{escape(title)}</h2><table>{lines or '<tr><td>none'}</table>"


def _member(body: Any, name: str, kind: type) -> Any:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidInput(name, value, f"give a member {name} of type {kind.__name__}")
    return value


def _json(status: int, value: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def _problem(status: int, text: str) -> web.Response:
    return _json(status, {"error": text})
