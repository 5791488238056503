"""Who may ask for what: tokens, and what protects a server without tokens from the pages a browser has open.

With tokens (ALEXANDRIA_API_TOKENS), whoever writes shows one. Without, the server listens to this machine only, and a request
must come from this machine, name this machine as its host (else a hostile name server could make a browser's page speak to us:
DNS rebinding), and not be one that a page of another site made a browser send.

A program outside shows a token of its own (ALEXANDRIA_QUOTA_TOKENS), which opens nothing but reservations. Once there are such
tokens, one that is shown and not known is refused everywhere: a revoked one must not make its holder the person at this machine.
"""

import hmac
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from alexandria.api.problems import FORBIDDEN, NOT_JSON, TOKEN_NEEDED, Refusal
from alexandria.domain.errors import ConfigurationError
from alexandria.domain.outside import Program

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""

RESERVATIONS = "/api/quota/reservations"
"""What programs outside may write to."""

_OF_RESERVATIONS = re.compile(RESERVATIONS + r"(/[^/]+)?")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


@dataclass(frozen=True)
class Rules:
    """What the server was configured with: its tokens and the host it serves on."""

    tokens: Sequence[str]
    host: str
    programs: Sequence[Program] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a program outside with what its token allows, or, with None, somebody who may do everything here."""

    program: Program | None = None


def is_loopback(address: str) -> bool:
    """Whether an IP address or a host's name is this machine and nothing else."""
    try:
        parsed = ip_address(address.strip("[]"))
    except ValueError:
        return address.rstrip(".").lower() == "localhost"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


def refuse_exposure(rules: Rules) -> None:
    """Raises ConfigurationError when others could reach the server and nobody needs a token."""
    if not rules.tokens and not is_loopback(rules.host):
        raise ConfigurationError(
            f"ALEXANDRIA_HOST: serving on {rules.host} lets other machines write: set ALEXANDRIA_API_TOKENS"
            " (`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one), or serve on 127.0.0.1"
        )


def resolve(host: str, port: int) -> str:
    """The IP address that a host's name stands for. Raises ConfigurationError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(f"ALEXANDRIA_HOST: {host!r} is not an address: {error}") from None
    # An IPv4 address, if there is one: it is what people type.
    return str(min(found, key=lambda each: each[0] != socket.AF_INET)[4][0])


def refusal_of_request(
    rules: Rules, method: str, headers: Headers, peer: str | None, path: str = ""
) -> Refusal | None:
    """Why a request may not be answered; None when it may. `peer` is the address that it came from."""
    if not rules.tokens and not _names_this_server(rules, headers):
        return Refusal(FORBIDDEN, "the header Host names another machine than this one")
    if method in READING:
        return None
    return (
        (None if rules.tokens else _refuse_from_afar(headers, peer))
        or _refuse_stranger(rules, headers, peer, path)
        or _refuse_other_origin(headers)
        or _refuse_other_content(headers)
    )


def find_caller(rules: Rules, headers: Headers, peer: str | None) -> Caller | None:
    """Who asks; None for a stranger. Without ALEXANDRIA_API_TOKENS whoever asks from this machine is none."""
    if "authorization" in headers and (rules.tokens or rules.programs):
        return _find_holder(rules, headers["authorization"])
    return Caller() if not rules.tokens and _refuse_from_afar(headers, peer) is None else None


def _find_holder(rules: Rules, authorization: str) -> Caller | None:
    scheme, _, shown = authorization.partition(" ")
    holders = [(token, Caller()) for token in rules.tokens]
    holders += [(each.token, Caller(each)) for each in rules.programs]
    # Every token is compared, each in constant time: how long a refusal takes says nothing about a token.
    found = [
        caller for token, caller in holders if hmac.compare_digest(shown.strip().encode(), token.encode())
    ]
    return found[0] if found and scheme.lower() == "bearer" else None


def _names_this_server(rules: Rules, headers: Headers) -> bool:
    host = _host_name(headers.get("host", ""))
    return host is not None and (is_loopback(host) or host == rules.host.strip("[]").lower())


def _host_name(host_and_port: str) -> str | None:
    try:
        return urlsplit(f"//{host_and_port}").hostname
    except ValueError:
        return None


def _refuse_stranger(rules: Rules, headers: Headers, peer: str | None, path: str) -> Refusal | None:
    caller = find_caller(rules, headers, peer)
    if caller is None:
        return refusal_of_stranger(headers)
    if caller.program is None or _OF_RESERVATIONS.fullmatch(path):
        return None
    return Refusal(FORBIDDEN, f"the token of {caller.program.name} is for {RESERVATIONS} only")


def refusal_of_stranger(headers: Headers) -> Refusal:
    """Why somebody without a token, or with a wrong one, is refused."""
    if not headers.get("authorization", "").partition(" ")[2]:
        return Refusal(
            TOKEN_NEEDED,
            "send `Authorization: Bearer <token>`",
            headers={"WWW-Authenticate": 'Bearer realm="alexandria"'},
        )
    return Refusal(
        TOKEN_NEEDED,
        "the token is none of ALEXANDRIA_API_TOKENS or ALEXANDRIA_QUOTA_TOKENS",
        headers={"WWW-Authenticate": 'Bearer realm="alexandria", error="invalid_token"'},
    )


def _refuse_from_afar(headers: Headers, peer: str | None) -> Refusal | None:
    # A proxy on this machine would lend its own address to whoever comes through it.
    if peer is not None and is_loopback(peer) and not any(name in headers for name in _FORWARDED):
        return None
    return Refusal(FORBIDDEN, "without ALEXANDRIA_API_TOKENS only this machine itself may write")


def _refuse_other_origin(headers: Headers) -> Refusal | None:
    """A browser says from which site's page a request comes."""
    origin = headers.get("origin")
    if origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != "":
        return None
    return Refusal(FORBIDDEN, "the request comes from a page of another site")


def _refuse_other_content(headers: Headers) -> Refusal | None:
    """JSON is also what a page of another site can't send without asking first, which is never granted."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return (
        None
        if kind == "application/json"
        else Refusal(NOT_JSON, "send the header `Content-Type: application/json`")
    )


def describe(schema: dict[str, Any]) -> dict[str, Any]:
    """Say in an OpenAPI document that what writes takes a token; none is needed where none is configured."""
    schema.setdefault("components", {})["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "One of ALEXANDRIA_API_TOKENS, or for reservations one of ALEXANDRIA_QUOTA_TOKENS. Without the"
            " former, only this machine may write, and needs none.",
        }
    }
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            if method.upper() not in READING or path.startswith(RESERVATIONS):
                operation["security"] = [{"token": []}, {}]
    return schema
