"""What must never be shown, and texts without it: keys, tokens, passwords, and addresses that carry any of them.

Whatever is written of an event should hold no secret to begin with. This is the second line: it knows the configured secrets by
heart, and the places in which others usually stand.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, unquote, urlsplit

MASK = "***"

LEAST_SECRET = 4
"""Letters. What is shorter is hidden where it usually stands, in an address or after a name, but is not looked for everywhere: words
would be torn apart."""

LEAST_PART = 8
"""Letters that a part of an address must have to be looked for everywhere. Tokens of services are longer, and most words that stand
in paths are shorter."""

_SECRET_WORDS = r"[a-z]*password|passwd|pwd|secret|token|signature|sig|api[_-]?key|access[_-]?key(?:[_-]id)?|isbndb_key|google_books_key|credential"  # noqa: S105 - names, no secret
_SECRET_NAME = re.compile(
    rf"(?:.*[._-])?(?:{_SECRET_WORDS}|authorization|x-amz-.+|x-goog-.+)s?", re.IGNORECASE
)

_ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<user>[^\s\"'<>?#]*@)?"
    r"(?P<host>[^\s\"'<>/?#,;)\]}]*\]?(?::\d+)?)"
    r"(?P<path>/[^\s\"'<>?#]*)?"
    r"(?P<query>\?[^\s\"'<>#]*)?"
    r"(?P<fragment>\#[^\s\"'<>]*)?"
)
"""An address as it stands in a text. The greedy user takes a password with an @ or a / in it whole."""

_OPEN_SCHEMES = frozenset({"http", "https", "postgres", "postgresql", "ws", "wss"})
"""Whose paths name a thing; others are Apprise's services, whose paths are tokens, and object stores."""

_PAIR = re.compile(
    rf"(?P<name>(?<![\w-])(?:[\w.-]*[._-])?(?:{_SECRET_WORDS}|x-amz-[\w-]+|x-goog-[\w-]+)s?|(?<![\w-])key)"
    r"(?P<between>[\"']?\s*=\s*[\"']?|[\"']\s*:\s*b?[\"'])(?P<value>[^\s\"'&,;)}\]]+)",
    re.IGNORECASE,
)
"""name=value, and "name": "value" as in JSON or a dictionary."""

_HEADER = re.compile(
    r"(?P<name>(?:proxy-)?authorization|x-api-key)(?P<between>[\"']?\s*[:=,]\s*(?:b?[\"'])?)(?:(?:basic|bearer)\s+)?[^\s\"',;]+",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(Bearer\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether what a field of this name holds is not shown, whatever it is."""
    return _SECRET_NAME.fullmatch(name) is not None


def credentials_of(address: str) -> frozenset[str]:
    """Secrets of an address whose host, user and path may be shown: its password, and what its query says of keys."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return frozenset()
    query = {value for name, value in parse_qsl(parts.query) if is_secret_name(name)}
    return _both_forms([parts.password or "", *query], least=LEAST_SECRET)


def parts_of(address: str) -> frozenset[str]:
    """Secrets of an address that is one as a whole, such as a chat's webhook: itself, and every long part but a host's name."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return frozenset({address})
    pieces = [
        piece for piece in re.split(r"[/:@?&=#,\s]+", f"{parts.path}?{parts.query}#{parts.fragment}") if piece
    ]
    if not _is_host(host):
        # A service's token may stand where a host would, and urlsplit makes it lower case.
        pieces += re.split(r"[:@]", parts.netloc)
    named = [*pieces, *(parts.username or "").split(":")]
    return (
        frozenset({address})
        | _both_forms(named, least=LEAST_PART)
        | _both_forms([parts.password or ""], least=LEAST_SECRET)
    )


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return "." in text or text == "localhost"
    return True


def _both_forms(pieces: Iterable[str], *, least: int) -> frozenset[str]:
    return frozenset(form for piece in pieces for form in (piece, unquote(piece)) if len(form) >= least)


class Redactor:
    """Knows secrets by heart. Costs microseconds a text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {
            form
            for each in secrets
            if len(each) >= LEAST_SECRET
            # As it is, as a part of an address, as JSON and Python write it.
            for form in (
                each,
                quote(each, safe=""),
                quote(each),
                each.replace("\\", "\\\\").replace('"', '\\"'),
            )
        }
        longest_first = sorted(forms, key=lambda each: (-len(each), each))
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def text(self, text: str) -> str:
        """The text without secrets: what is known, what an address carries, what stands after a secret's name."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        if "://" in text:
            text = _ADDRESS.sub(_shown, text)
        if "=" in text or ":" in text or "," in text:
            text = _HEADER.sub(rf"\g<name>\g<between>{MASK}", text)
            text = _PAIR.sub(rf"\g<name>\g<between>{MASK}", text)
        return _SCHEME.sub(rf"\g<1>{MASK}", text)

    def value(self, value: object, name: str = "") -> object:
        """The same of a field of an event, lists and tables included; what is no text, number or time is shown as its text."""
        match value:
            case None | bool():
                return value
            case _ if name and is_secret_name(name):
                return MASK
            case int() | float():
                return value
            case str():
                return self.text(value)
            case Mapping():
                return {self.text(str(key)): self.value(each, str(key)) for key, each in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.value(each) for each in value]
            case _:
                return self.text(str(value))


def _shown(found: re.Match[str]) -> str:
    scheme, path = found["scheme"], found["path"] or ""
    if scheme.lower() not in _OPEN_SCHEMES:
        host = found["host"] if _is_host(re.sub(r":\d+$", "", found["host"])) else MASK
        rest = f"/{MASK}" if len(path) > 1 or found["query"] else path
    else:
        host = found["host"]
        rest = path + (f"?{MASK}" if found["query"] else "")
    return f"{scheme}://{MASK + '@' if found['user'] else ''}{host}{rest}"
