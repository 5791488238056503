"""Configuration: the one place that reads the environment.

Each setting has one name, used in a TOML file (`isbndb_key = "..."`, the file named by ALEXANDRIA_CONFIG) and, in capitals with
the prefix ALEXANDRIA_, in the environment, which wins. A wrong value or an unknown name is refused at start. The file may also hold
the schedule's tables (`schedule_config.py`).
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import time, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from alexandria.domain.alerting import AlertKind, Severity
from alexandria.domain.backpressure import DEFAULT_MARKS, HIGHEST_MARK, GateName, Marks
from alexandria.domain.errors import ConfigurationError, InvalidInput
from alexandria.domain.outside import NAME_RULE, Program, is_name
from alexandria.domain.quota import Lane
from alexandria.domain.redacting import credentials_of, parts_of
from alexandria.domain.schedule import Entry
from alexandria.domain.tuning import DIALS
from alexandria.schedule_config import read_schedule

PREFIX = "ALEXANDRIA_"
FILE_VARIABLE = "ALEXANDRIA_CONFIG"


@dataclass(frozen=True)
class Config:
    """Every setting, parsed and checked."""

    data_dir: Path
    database_url: str | None
    postgres_bin: Path | None
    isbndb_key: str | None
    isbndb_url: str
    hard_limit: int
    safe_limit: int
    requests_per_minute: int
    interactive_percent: int
    scheduled_percent: int
    ceilings: Mapping[str, int]
    freshness: timedelta
    contact: str | None
    sources: tuple[str, ...]
    openlibrary_url: str
    openlibrary_covers_url: str
    google_books_key: str | None
    google_books_url: str
    wikidata_url: str
    quota_detail: timedelta
    schedule: tuple[Entry, ...]
    objects_url: str | None
    download_hosts: frozenset[str]
    api_tokens: tuple[str, ...]
    quota_tokens: tuple[Program, ...]
    host: str
    port: int
    log_level: str
    kv_account: str | None
    kv_namespace: str | None
    kv_token: str | None
    kv_key: str
    kv_url: str
    alert_urls: tuple[str, ...]
    alert_webhook: str | None
    alert_webhook_secret: str | None
    alert_level: Severity
    alerts_off: frozenset[AlertKind]
    alert_disk_gib: int
    digest_at: time | None
    pinned: Mapping[str, float]
    otlp_endpoint: str | None
    otlp_headers: Mapping[str, str]
    item_queue_marks: Marks
    cover_queue_marks: Marks
    item_backlog_marks: Marks
    cover_backlog_marks: Marks
    cover_disk_gib: int
    policy_spans: Mapping[str, Any] = field(default_factory=dict)
    """Other spans of ISBNdb's policy than its own, by their names in `quota.Policy`. No setting: a rehearsal's fast clocks need it."""

    @property
    def secrets(self) -> frozenset[str]:
        """Every text in it that nobody may be shown, in a log event, say: keys and tokens, and what addresses hold of them."""
        words = {self.isbndb_key, self.google_books_key, self.kv_token, self.alert_webhook_secret}
        words |= {*self.api_tokens, *(each.token for each in self.quota_tokens), *self.otlp_headers.values()}
        guarded = filter(None, (self.database_url, self.objects_url, self.otlp_endpoint))
        whole = filter(None, (*self.alert_urls, self.alert_webhook))
        parts = [*map(credentials_of, guarded), *map(parts_of, whole)]
        return frozenset(each for each in words if each).union(*parts)

    @property
    def marks(self) -> Mapping[GateName, Marks]:
        """Where each gate closes and opens."""
        return {
            GateName.HARVEST_ITEM: self.item_queue_marks,
            GateName.FETCH_COVER: self.cover_queue_marks,
            GateName.ITEMS: self.item_backlog_marks,
            GateName.COVERS: self.cover_backlog_marks,
        }


@dataclass(frozen=True)
class Setting:
    """One line of the configuration table."""

    name: str
    parse: Callable[[str], Any]
    default: str | None
    help: str
    secret: bool = False
    standard: str | None = None
    """A variable that other programs know it by; ours comes first."""

    @property
    def variable(self) -> str:
        """The setting's name in the environment."""
        return PREFIX + self.name.upper()


@dataclass(frozen=True)
class Shown:
    """A setting as `alexandria config` shows it: its value as text, secrets masked, and where it came from."""

    name: str
    value: str | None
    origin: str
    help: str


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError("is not a whole number") from None
        if not least <= number <= most:
            raise ValueError(f"must lie between {least:,} and {most:,}")
        return number

    return parse


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address such as https://api.example.org")
    return text.rstrip("/")


def _database_url(text: str) -> str:
    if urlsplit(text).scheme not in {"postgresql", "postgres"}:
        raise ValueError("must be an address such as postgresql://user@host/alexandria")
    return text


def _key(text: str) -> str:
    if not text.isascii() or any(letter.isspace() for letter in text):
        raise ValueError("must be one word of plain ASCII, as the provider gave it")
    return text


def _identifier(text: str) -> str:
    # It becomes part of a path.
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError("must be the identifier that Cloudflare's dashboard shows: letters and digits")
    return text


def _kv_key(text: str) -> str:
    # KV takes at most 512 bytes and neither "." nor "..", and what follows would have to be escaped in a path.
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,511}", text):
        raise ValueError(
            "must be 1 to 512 letters, digits, _ . : or -, and not begin with one of the last three"
        )
    return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _hosts(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _words(text))


def _tokens(text: str) -> tuple[str, ...]:
    tokens = _words(text)
    if any(len(token) < 16 for token in tokens):
        raise ValueError("every token needs at least 16 characters")
    return tokens


_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")
"""What a bearer token may consist of (RFC 6750, section 2.1)."""


def _quota_tokens(text: str) -> tuple[Program, ...]:
    programs = tuple(_program(word, f"entry {n}") for n, word in enumerate(_words(text), start=1))
    for told, values in (
        ("name", {each.name for each in programs}),
        ("token", {each.token for each in programs}),
    ):
        if len(values) < len(programs):
            raise ValueError(f"has a {told} twice: every program needs its own")
    return programs


def _program(word: str, entry: str) -> Program:
    """One entry, `name:lane:ceiling:token`. What is wrong is told by its number: any part may be the token, misplaced."""
    name, lane, ceiling, token = (*word.split(":", 3), "", "", "")[:4]
    if not is_name(name):
        raise ValueError(f"must consist of name:lane:ceiling:token; {entry}: the name {NAME_RULE}")
    if lane not in set(Lane):
        raise ValueError(f"has no lane in {entry}; after the name comes one of " + ", ".join(Lane))
    if ceiling != "-" and not (ceiling.isascii() and ceiling.isdigit()):
        raise ValueError(f"has no ceiling in {entry}; after the lane come units a day, or - for none")
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"has no token in {entry}; it needs at least 16 letters, digits or any of -._~+/=")
    return Program(name, Lane(lane), None if ceiling == "-" else _whole_number(0, 10_000_000)(ceiling), token)


def _contact(text: str) -> str:
    # What Open Library takes for naming somebody (contracts/openlibrary.md, section 6); it goes into a header.
    if not text.isascii() or not text.isprintable() or not ("http" in text or "@" in text):
        raise ValueError(
            "must be an address such as https://example.org/about or me@example.org, in plain ASCII"
        )
    return text


FREE_SOURCES = ("openlibrary", "google-books")
"""What is asked for editions before a unit is paid."""


def _free_sources(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(_words(text.lower())))
    if words == ("none",):
        return ()
    if not words or not set(words) <= set(FREE_SOURCES):
        raise ValueError(f"must be some of {', '.join(FREE_SOURCES)}, or none")
    return words


def _ceilings(text: str) -> dict[str, int]:
    ceilings = {}
    for word in _words(text):
        consumer, _, units = word.partition("=")
        if not consumer or not units.isascii() or not units.isdigit():
            raise ValueError("must be pairs such as new-releases=2000,covers=500")
        ceilings[consumer] = _whole_number(0, 10_000_000)(units)
    return ceilings


def _days(least: int) -> Callable[[str], timedelta]:
    def parse(text: str) -> timedelta:
        return timedelta(days=_whole_number(least, 3650)(text))

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError("must be one of " + ", ".join(words))
        return text.lower()

    return parse


def _notice_urls(text: str) -> tuple[str, ...]:
    # Commas may be part of an address. Whether Apprise knows the service is asked when something is to be sent.
    urls = tuple(dict.fromkeys(text.split()))
    for number, url in enumerate(urls, start=1):
        if not re.match(r"[A-Za-z][A-Za-z0-9]*://.", url):
            raise ValueError(
                f"must be addresses such as mailtos://user:password@example.org, with blanks between: entry {number} is none"
            )
    return urls


def _webhook_secret(text: str) -> str:
    if len(text) < 16:
        raise ValueError("needs at least 16 characters")
    return text


def _pinned(text: str) -> dict[str, float]:
    if text.strip().lower() == "all":
        return {name: dial.start for name, dial in DIALS.items()}
    pinned = {}
    for word in _words(text):
        name, _, value = word.partition("=")
        dial = DIALS.get(name.replace("-", "_"))
        if dial is None:
            raise ValueError("must be all, or pairs of a value and one of " + ", ".join(DIALS))
        if not value.isascii() or not value.isdigit() or not dial.low <= int(value) <= dial.high:
            raise ValueError(
                f"must have a whole number for {dial.name}, from {dial.low:g} to {dial.high:g} {dial.unit}"
            )
        pinned[dial.name] = float(value)
    return pinned


def _headers(text: str) -> dict[str, str]:
    # As OpenTelemetry's own variable has them: values may be escaped as in an address.
    headers = {}
    for word in filter(None, (each.strip() for each in text.split(","))):
        name, _, value = word.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name.strip()) or not value.strip():
            raise ValueError("must be pairs such as authorization=Basic%20abc,x-team=books")
        headers[name.strip().lower()] = unquote(value.strip())
    return headers


def _alert_kinds(text: str) -> frozenset[AlertKind]:
    if text.strip().lower() == "all":
        return frozenset(AlertKind)
    try:
        return frozenset(AlertKind(word.replace("-", "_")) for word in _words(text))
    except ValueError:
        raise ValueError("must be all, or some of " + ", ".join(AlertKind)) from None


def _time_of_day(text: str) -> time:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError("must be hours and minutes by UTC, such as 07:00")
    return time.fromisoformat(text)


def _marks(most: int) -> Callable[[str], Marks]:
    def parse(text: str) -> Marks:
        try:
            marks = Marks.parse(text)
        except InvalidInput as error:
            raise ValueError(error.reason) from None
        if marks.high > most:
            raise ValueError(f"must not be higher than {most:,}")
        return marks

    return parse


def default_data_dir() -> Path:
    """Where data live unless ALEXANDRIA_DATA_DIR says otherwise.

    For root that is /var/lib/alexandria: its PostgreSQL runs under another account, which may not enter root's home.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/alexandria")
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "alexandria"


SETTINGS = (
    Setting("data_dir", _folder, None, "Folder of the embedded PostgreSQL and of the covers"),
    Setting(
        "database_url",
        _database_url,
        None,
        "Any PostgreSQL 15 or newer; without it an embedded one is run",
        secret=True,
    ),
    Setting("postgres_bin", _folder, None, "Folder of initdb, pg_ctl and postgres for the embedded server"),
    Setting("isbndb_key", _key, None, "Your ISBNdb key", secret=True),
    Setting("isbndb_url", _http_url, "https://api2.isbndb.com", "Address of the ISBNdb API"),
    Setting("hard_limit", _whole_number(1, 10_000_000), "15000", "Units a day that your ISBNdb plan grants"),
    Setting(
        "safe_limit", _whole_number(0, 10_000_000), "13000", "Units a day that Alexandria spends at most"
    ),
    Setting(
        "requests_per_minute",
        _whole_number(1, 100_000),
        "180",
        "Requests a minute that your ISBNdb plan grants",
    ),
    Setting(
        "interactive_percent",
        _whole_number(0, 100),
        "5",
        "Percent of the safe limit that is kept for people who wait, until the evening",
    ),
    Setting(
        "scheduled_percent",
        _whole_number(0, 100),
        "15",
        "Percent of the safe limit that is kept for scheduled harvests, until the evening",
    ),
    Setting(
        "ceilings",
        _ceilings,
        "",
        "Units a day that single consumers may spend at most, as new-releases=2000,covers=500",
    ),
    Setting(
        "contact",
        _contact,
        None,
        "Your page or mail address: Open Library and Wikidata serve only callers that name one",
    ),
    Setting(
        "sources",
        _free_sources,
        " ".join(FREE_SOURCES),
        "Sources that are asked for editions before a unit is paid; google-books only with a key; or none",
    ),
    Setting("openlibrary_url", _http_url, "https://openlibrary.org", "Address of Open Library's API"),
    Setting(
        "openlibrary_covers_url",
        _http_url,
        "https://covers.openlibrary.org",
        "Address of Open Library's covers",
    ),
    Setting("google_books_key", _key, None, "Your Google Books API key", secret=True),
    Setting("google_books_url", _http_url, "https://www.googleapis.com", "Address of the Google Books API"),
    Setting("wikidata_url", _http_url, "https://www.wikidata.org", "Address of Wikidata's API"),
    Setting("freshness_days", _days(0), "30", "Days for which a harvested page is not asked again"),
    # A month and some days, so that the last bill can be compared call by call. The last three days are never rolled up.
    Setting(
        "quota_detail_days",
        _days(3),
        "35",
        "Days for which every charge is kept one by one; older ones are kept as sums of an hour",
    ),
    Setting(
        "schedule",
        _one_of("on", "off"),
        "on",
        "Whether anything is harvested by the clock; its table is in the TOML file, docs/schedule.md",
    ),
    Setting(
        "objects_url", str, None, "Object store of the covers (s3://, gs://, az:// or a folder)", secret=True
    ),
    Setting("download_hosts", _hosts, "", "Hosts (host:port) besides public ones that covers may come from"),
    Setting(
        "api_tokens",
        _tokens,
        "",
        "Tokens that may write over HTTP; needed to serve beyond this machine",
        secret=True,
    ),
    Setting(
        "quota_tokens",
        _quota_tokens,
        "",
        "Programs outside that may reserve units, as name:lane:ceiling:token; - for no ceiling",
        secret=True,
    ),
    Setting("host", str, "127.0.0.1", "Address to serve on"),
    Setting("port", _whole_number(1, 65535), "8765", "Port to serve on"),
    Setting(
        "log_level",
        _one_of("debug", "info", "warning", "error"),
        "warning",
        "Least important log events to write",
    ),
    Setting(
        "kv_account", _identifier, None, "Cloudflare account of the KV mirror; off unless all three are set"
    ),
    Setting(
        "kv_namespace", _identifier, None, "Id of the KV namespace that the quota's status is written to"
    ),
    Setting("kv_token", _key, None, "Cloudflare API token that may edit Workers KV storage", secret=True),
    Setting("kv_key", _kv_key, "alexandria_quota", "Name under which the status is written"),
    Setting("kv_url", _http_url, "https://api.cloudflare.com/client/v4", "Address of Cloudflare's API"),
    Setting(
        "alert_urls",
        _notice_urls,
        "",
        "Where alerts are sent, as addresses of Apprise with blanks between; docs/alerts.md",
        secret=True,
    ),
    Setting(
        "alert_webhook",
        _http_url,
        None,
        "Address of your own that takes alerts as signed JSON; needs the secret",
        secret=True,
    ),
    Setting(
        "alert_webhook_secret",
        _webhook_secret,
        None,
        "Secret that webhooks are signed with, at least 16 characters",
        secret=True,
    ),
    Setting(
        "alert_level",
        _one_of(*Severity),
        "info",
        "Least severity that is sent: info, warning or critical; all are shown",
    ),
    Setting(
        "alerts_off",
        _alert_kinds,
        "",
        "Kinds of alerts that are neither raised nor sent, as quota_50, or all",
    ),
    Setting(
        "alert_disk_gib",
        _whole_number(0, 1_000_000),
        "5",
        "GiB that should be free under the data folder",
    ),
    Setting("digest_at", _time_of_day, None, "When a daily digest is sent, by UTC, as 07:00; off without"),
    Setting(
        "pinned",
        _pinned,
        "",
        "Dials that tuning leaves alone, as items_at_once=4,isbndb_seconds=30, or all; docs/tuning.md",
    ),
    Setting(
        "otlp_endpoint",
        _http_url,
        None,
        "OpenTelemetry collector that takes traces over HTTP, as http://127.0.0.1:4318; docs/logs.md",
        secret=True,
        standard="OTEL_EXPORTER_OTLP_ENDPOINT",
    ),
    Setting(
        "otlp_headers",
        _headers,
        "",
        "Headers that the collector wants, as name=value,name=value",
        secret=True,
        standard="OTEL_EXPORTER_OTLP_HEADERS",
    ),
    # The server's tables and every look at them stay small up to here.
    Setting(
        "item_queue_marks",
        _marks(10_000),
        str(DEFAULT_MARKS[GateName.HARVEST_ITEM]),
        "Jobs of runs in the queue: no more are put in at the second number until they are down to the first",
    ),
    Setting(
        "cover_queue_marks",
        _marks(10_000),
        str(DEFAULT_MARKS[GateName.FETCH_COVER]),
        "The same for jobs of covers",
    ),
    Setting(
        "item_backlog_marks",
        _marks(HIGHEST_MARK),
        str(DEFAULT_MARKS[GateName.ITEMS]),
        "Open items of runs: no large run is started from the second number on until they are down to the first",
    ),
    Setting(
        "cover_backlog_marks",
        _marks(HIGHEST_MARK),
        str(DEFAULT_MARKS[GateName.COVERS]),
        "Covers that are wanted and due: no more wishes are taken at the second number until they are down to the first",
    ),
    Setting(
        "cover_disk_gib",
        _whole_number(0, 1_000_000),
        "2",
        "GiB that covers leave free where they are stored in a folder; 0: none",
    ),
)

_MIRROR = ("kv_account", "kv_namespace", "kv_token")
"""What the mirror needs: all of it, or it is off (docs/kv-mirror.md)."""


def load(environment: Mapping[str, str] | None = None) -> Config:
    """Read every setting. Raises ConfigurationError, naming the setting and the reason."""
    return _parse(*_sources(os.environ if environment is None else environment))


def show(environment: Mapping[str, str] | None = None) -> list[Shown]:
    """Every setting's value and origin, secrets masked. Raises ConfigurationError as `load` does."""
    sources, schedule = _sources(os.environ if environment is None else environment)
    _parse(sources, schedule)
    return [
        Shown(setting.name, _mask(setting, sources[setting.name][0]), sources[setting.name][1], setting.help)
        for setting in SETTINGS
    ]


@dataclass(frozen=True)
class _Tables:
    """The schedule's tables as they stand in the file, and the file's name."""

    written: object
    place: str


def _sources(environment: Mapping[str, str]) -> tuple[dict[str, tuple[str | None, str]], _Tables]:
    """Name -> the text of its value and where that came from; and the schedule's tables."""
    _refuse_unknown(
        environment, {setting.variable for setting in SETTINGS} | {FILE_VARIABLE}, "the environment", PREFIX
    )
    file_name = environment.get(FILE_VARIABLE)
    table = _read_file(Path(file_name).expanduser()) if file_name else {}
    # One word for both: a text switches the schedule, tables fill it.
    tables = {} if isinstance(table.get("schedule"), str) else table.pop("schedule", {})
    written = {name: _text_of(value) for name, value in table.items()}
    sources: dict[str, tuple[str | None, str]] = {}
    for setting in SETTINGS:
        default = str(default_data_dir()) if setting.name == "data_dir" else setting.default
        # An empty variable means "not set": that is how shells and service files switch one off.
        if environment.get(setting.variable):
            sources[setting.name] = environment[setting.variable], setting.variable
        elif setting.name in written:
            sources[setting.name] = written[setting.name], str(file_name)
        elif setting.standard and environment.get(setting.standard):
            sources[setting.name] = environment[setting.standard], setting.standard
        else:
            sources[setting.name] = default or None, "default"
    return sources, _Tables(tables, str(file_name))


def _read_file(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{FILE_VARIABLE}: {path}: {error}") from error
    _refuse_unknown(table, {setting.name for setting in SETTINGS}, str(path), "")
    return table


def _text_of(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _refuse_unknown(given: Mapping[str, object], known: set[str], place: str, prefix: str) -> None:
    for name in given:
        if name.startswith(prefix) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigurationError(
                f"{name} in {place} is not a setting" + (f"; did you mean {near[0]}?" if near else "")
            )


def _parse(sources: Mapping[str, tuple[str | None, str]], schedule: _Tables) -> Config:
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text, origin = sources[setting.name]
        try:
            values[setting.name] = setting.parse(text) if text is not None else None
        except ValueError as error:
            shown = "this value" if setting.secret else repr(text)
            raise ConfigurationError(f"{setting.variable} (from {origin}): {shown} {error}") from None
    if values["safe_limit"] > values["hard_limit"]:
        raise ConfigurationError(
            f"ALEXANDRIA_SAFE_LIMIT: {values['safe_limit']:,} is more than ALEXANDRIA_HARD_LIMIT, {values['hard_limit']:,}"
        )
    if values["interactive_percent"] + values["scheduled_percent"] > 100:
        raise ConfigurationError(
            "ALEXANDRIA_INTERACTIVE_PERCENT and ALEXANDRIA_SCHEDULED_PERCENT are more than 100 together"
        )
    _refuse_half_a_mirror(values)
    _refuse_a_token_for_both(values)
    if bool(values["alert_webhook"]) != bool(values["alert_webhook_secret"]):
        raise ConfigurationError(
            "ALEXANDRIA_ALERT_WEBHOOK, ALEXANDRIA_ALERT_WEBHOOK_SECRET: set both, or neither; webhooks are always signed"
        )
    return Config(
        ceilings=values.pop("ceilings") or {},
        freshness=values.pop("freshness_days"),
        quota_detail=values.pop("quota_detail_days"),
        schedule=read_schedule(schedule.written, schedule.place, is_on=values.pop("schedule") == "on"),
        download_hosts=values.pop("download_hosts") or frozenset(),
        api_tokens=values.pop("api_tokens") or (),
        quota_tokens=values.pop("quota_tokens") or (),
        alert_urls=values.pop("alert_urls") or (),
        alert_level=Severity(values.pop("alert_level")),
        alerts_off=values.pop("alerts_off") or frozenset(),
        pinned=values.pop("pinned") or {},
        otlp_headers=values.pop("otlp_headers") or {},
        **values,
    )


def _refuse_a_token_for_both(values: Mapping[str, Any]) -> None:
    if {each.token for each in values["quota_tokens"] or ()} & set(values["api_tokens"] or ()):
        raise ConfigurationError(
            "ALEXANDRIA_QUOTA_TOKENS: a token is also one of ALEXANDRIA_API_TOKENS, which may do everything"
        )


def _refuse_half_a_mirror(values: Mapping[str, Any]) -> None:
    missing = [f"{PREFIX}{name.upper()}" for name in _MIRROR if not values[name]]
    if 0 < len(missing) < len(_MIRROR):
        raise ConfigurationError(
            f"{', '.join(missing)}: not set; the KV mirror needs its account, namespace and token, or none of them"
        )


def _mask(setting: Setting, text: str | None) -> str | None:
    if text is None or not setting.secret:
        return text
    if setting.name.endswith("_url") and "://" in text:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, ("***@" if "@" in parts.netloc else "") + host, parts.path, "", ""))
    return "***"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
