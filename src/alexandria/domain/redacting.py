"""What must never be shown, and texts without it: keys, tokens, passwords, and addresses that carry any of them.

Whatever is written of an event should hold no secret to begin with. This is the second line: it knows the configured secrets by
heart, and the places in which others usually stand.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
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
    rf"(?:.*[._-])?(?:{_SECRET_WORDS}|authorization|cookie|x-amz-.+|x-goog-.+)s?", re.IGNORECASE | re.DOTALL
)

# Whoever sends a request writes a part of its texts, so no pattern here may cost more than a text's length: what may start anywhere
# is bounded or begins with a fixed letter, and what repeats gives nothing back (`++`) or can't end in two ways.

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,31})://")
"""Where an address begins in a text."""

_NO_USER = re.compile(r"[\s\"'<>?#]")
"""What stands in no user and no password of an address."""

_REST = re.compile(
    r"(?P<host>[^\s\"'<>/?#,;)\]}]*\]?(?::\d+)?)"
    r"(?P<path>/[^\s\"'<>?#]*)?"
    r"(?P<query>\?[^\s\"'<>#]*)?"
    r"(?P<fragment>\#[^\s\"'<>]*)?"
)
"""An address after its user; matches everywhere."""

_OPEN_SCHEMES = frozenset({"http", "https", "postgres", "postgresql", "ws", "wss"})
"""Whose paths name a thing; others are Apprise's services, whose paths are tokens, and object stores."""

_HOOK = re.compile(
    r"(?P<shown>\bhooks\.slack\.com/[a-z]+/|/services/(?=T[A-Z0-9]{6,}/B)|/bot(?=\d{6,}:)"
    r"|/(?:webhooks?|webhookb2|hooks)/(?=[^\s\"'<>]{16}))[^\s\"'<>]+",
    re.IGNORECASE,
)
"""A chat's webhook, whose path is its token, with a host or without: Slack, Telegram; Discord, Teams, Mattermost and their like."""

_HEADER = re.compile(
    r"(?P<name>authorization|cookie|x[_-]api[_-]key)"
    r"(?P<between>(?:\\*[\"'])?[ \t]*[:=][ \t]*+|[\"'][ \t]*,[ \t]*(?=b?[\"']))"
    r"(?!(?:(?:basic|bearer)[ \t])?<\w)",  # `Authorization: Bearer <token>` says what to send
    re.IGNORECASE,
)
"""A header of a request or an answer, as a line, in a dictionary or in a list of pairs; without a quote it goes on to the line's end."""

_NAME = re.compile(r"(?<![\w.-])(?P<name>[\w.-]++)(?P<between>(?:\\*[\"'])?[ \t]*(?P<sign>[=:])[ \t]*)")
"""Whatever has a value: name=value, name: value, and "name": "value" as in JSON or a dictionary."""

_OPENING = re.compile(r"b?(?P<quote>\\*[\"'])")
_LINE = re.compile(r"[^\r\n]*")
_QUOTED = {
    '"': re.compile(r'(?:[^"\\]|\\.)*+(?=")', re.DOTALL),
    "'": re.compile(r"(?:[^'\\]|\\.)*+(?=')", re.DOTALL),
}
_UNQUOTED = {
    sign: re.compile(rf"(?:[^\s\"'&,;)}}\]]|[\"'](?=\w)|[&,;)}}\]]++(?!\s|\Z|[\"']|[\w.-]++{sign}))*+")
    for sign in "=:"
}
"""What stands between values may stand within one too: it ends one only before a space, a quote, the end or another name."""

SHORT = 80
"""Letters of a text that is worth remembering."""

_SCHEME = re.compile(r"\b(Bearer\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


@lru_cache(maxsize=1024)
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
        # Most of what events say is said again and again: names, states, ids of runs.
        self._short_text = lru_cache(maxsize=4096)(self._hide)

    def text(self, text: str) -> str:
        """The text without secrets: what is known, what an address carries, what stands after a secret's name."""
        return self._short_text(text) if len(text) <= SHORT else self._hide(text)

    def _hide(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MASK, text)
        if "://" in text:
            text = _hide_addresses(text)
        if "/" in text:
            text = _HOOK.sub(rf"\g<shown>{MASK}", text)
        if "=" in text or ":" in text or "," in text:
            text = _hide_values(text, _HEADER, _end_of_header)
            text = _hide_values(text, _NAME, _end_of_value)
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


def _hide_addresses(text: str) -> str:
    shown, done, no_user_from, last_at = list[str](), 0, 0, -1
    while found := _ADDRESS.search(text, done):
        if found.end() >= no_user_from:
            # The last @ counts: that takes a password with an @ or a / in it whole. Looked for once, not for every address before it.
            end = _NO_USER.search(text, found.end())
            no_user_from = end.start() if end else len(text)
            last_at = text.rfind("@", found.end(), no_user_from)
        has_user = last_at >= found.end()
        rest = next(_REST.finditer(text, last_at + 1 if has_user else found.end()))
        shown += text[done : found.start()], _shown(found["scheme"], rest, has_user=has_user)
        done = rest.end()
    return "".join((*shown, text[done:]))


def _shown(scheme: str, found: re.Match[str], *, has_user: bool) -> str:
    path = found["path"] or ""
    if scheme.lower() not in _OPEN_SCHEMES:
        host = found["host"] if _is_host(re.sub(r":\d+$", "", found["host"])) else MASK
        rest = f"/{MASK}" if len(path) > 1 or found["query"] else path
    else:
        host = found["host"]
        rest = path + (f"?{MASK}" if found["query"] else "")
    return f"{scheme}://{MASK + '@' if has_user else ''}{host}{rest}"


def _hide_values(
    text: str, names: re.Pattern[str], end_of: Callable[[str, re.Match[str], str, int], int]
) -> str:
    """Hide what stands behind names, each from its opening quote, if any, to where `end_of` says."""
    shown, done = list[str](), 0
    for found in names.finditer(text):
        if found.start() < done:
            continue  # within a value that is hidden
        opening = _OPENING.match(text, found.end())
        start = opening.end() if opening else found.end()
        end = end_of(text, found, opening["quote"] if opening else "", start)
        if end > start:
            shown += text[done:start], MASK
            done = end
    return "".join((*shown, text[done:]))


def _end_of_header(text: str, _found: re.Match[str], quote: str, start: int) -> int:
    return _end_of_quoted(text, quote, start) if quote else _end(_LINE, text, start)


def _end_of_value(text: str, found: re.Match[str], quote: str, start: int) -> int:
    """Where the value behind a name ends; where it starts if it is no secret."""
    name, sign = found["name"], found["sign"]
    if not is_secret_name(name) and name.lower() != "key":
        return start
    if quote:
        return _end_of_quoted(text, quote, start)
    end = _end(_UNQUOTED[sign], text, start)
    if sign == ":" and (name.lower() == "key" or not _is_likely(text[start:end], text[end : end + 2])):
        return start
    return end


def _end_of_quoted(text: str, quote: str, start: int) -> int:
    if quote in _QUOTED:
        found = _QUOTED[quote].match(text, start)
        end = found.end() if found else -1
    else:
        end = text.find(quote, start)
    return end if end >= 0 else _end(_LINE, text, start)


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start


def _is_likely(value: str, after: str) -> bool:
    """Whether what stands behind a secret's name and a colon is one. After a colon most texts go on: `ISBNDB_KEY: is not set`."""
    if any(each.isdigit() for each in value):
        return len(value) >= LEAST_SECRET
    goes_on = after[:1] in {" ", "\t"} and bool(after[1:].strip())
    return len(value) >= LEAST_PART and not goes_on
