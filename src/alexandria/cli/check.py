"""`alexandria check`: what works, what does not, and what to do about it. Spends no unit."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import uuid4

import psycopg
import typer

from alexandria import config as configuration
from alexandria import harvesters
from alexandria.app import (
    App,
    isbndb_account,
    isbndb_policy,
    objects_address,
    running_app,
    running_database,
)
from alexandria.cli import console
from alexandria.cli.running import AsJson, Exit
from alexandria.config import Config
from alexandria.domain.breaker import MOST_FAILURES
from alexandria.domain.errors import AlexandriaError, ConfigurationError, ProviderError, QuotaDenied
from alexandria.domain.quota import DenialReason, Lane
from alexandria.domain.quota_status import Status
from alexandria.providers.isbndb import KeyStatus
from alexandria.stores.objects import ObjectStore
from alexandria.stores.postgres import Database, Server, inspect, migrate
from alexandria.telemetry import configure_logs, redacted

DATABASE, PROVIDER, QUOTA, OBJECTS = "database", "provider", "quota", "object store"

_PASSING = frozenset({DenialReason.EXHAUSTED, DenialReason.PACED, DenialReason.BREAKER, DenialReason.GUARD})
"""Denials that end by themselves."""

_RESUME = "mend that, then: alexandria quota resume"
_MEND_KEY = "check ALEXANDRIA_ISBNDB_KEY and the subscription at isbndb.com, then: alexandria quota resume"


class State(StrEnum):
    """What a check came to."""

    WORKS = "works"
    ABSENT = "absent"
    """Not configured, which is allowed."""
    UNCHECKED = "not checked"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What one check found, in a sentence; `advice` is what to do next, `figures` are for programs."""

    subject: str
    state: State
    said: str
    advice: str = ""
    figures: Mapping[str, object] = field(default_factory=dict)

    def as_lines(self) -> list[str]:
        """For people."""
        lines = [f"{self.subject + ':':<15}{self.state}: {self.said}"]
        return [*lines, f"{'':<15}-> {self.advice}"] if self.advice else lines


def check(as_json: AsJson = False) -> None:
    """Check configuration, database, provider, quota and object store; spends no unit.

    The exit code is 0 when everything that is configured works, else 1.

    \b
    alexandria check
    alexandria check --json
    """
    findings = [replace(each, said=redacted(each.said)) for each in examine()]
    is_well = all(finding.state is not State.WRONG for finding in findings)
    if as_json:
        console.write_json({"is_well": is_well, "findings": [vars(each) for each in findings]})
    else:
        console.write_lines([line for each in findings for line in each.as_lines()])
    raise typer.Exit(Exit.DONE if is_well else Exit.ERROR)


def examine() -> list[Finding]:
    """Every check, whatever became of the others."""
    try:
        config = configuration.load()
        harvesters.check(config.schedule)
    except ConfigurationError as error:
        rest = unchecked("the configuration can't be read", DATABASE, PROVIDER, QUOTA, OBJECTS)
        return [Finding("configuration", State.WRONG, str(error), "mend that setting first"), *rest]
    configure_logs(config.log_level, config.secrets)
    return [
        check_configuration(config),
        *check_over_database(config),
        asyncio.run(examined(OBJECTS, lambda: check_objects(config))),
    ]


def unchecked(reason: str, *subjects: str) -> list[Finding]:
    """What could not be checked for the same reason."""
    return [Finding(subject, State.UNCHECKED, reason) for subject in subjects]


async def examined(subject: str, look: Callable[[], Awaitable[Finding]]) -> Finding:
    """One check; what it fails of is its finding."""
    try:
        return await look()
    except AlexandriaError as error:
        return Finding(subject, State.WRONG, str(error))


def check_configuration(config: Config) -> Finding:
    """Where the settings come from, and what would keep the server from starting."""
    origins = Counter(_place(each) for each in configuration.show())
    said = "settings: " + ", ".join(f"{count} from {place}" for place, count in origins.items())
    figures: dict[str, object] = {"origins": dict(origins), "kv_mirror": bool(config.kv_account)}
    if not config.api_tokens and not configuration.is_loopback(config.host):
        flaw = f"ALEXANDRIA_HOST is {config.host}, which lets other machines write: `alexandria serve` refuses that"
        advice = "set ALEXANDRIA_API_TOKENS, or serve on 127.0.0.1"
        return Finding("configuration", State.WRONG, flaw, advice, figures)
    return Finding("configuration", State.WORKS, said, figures=figures)


def _place(shown: configuration.Shown) -> str:
    if shown.origin == "default":
        return "the defaults"
    return "the environment" if shown.origin.startswith(configuration.PREFIX) else shown.origin


# What needs the database


def check_over_database(config: Config) -> list[Finding]:
    """The database, and what can be asked only while it answers: nothing is sent when the quota can't be read."""
    try:
        with running_database(config) as url:
            return asyncio.run(_check_over(config, url))
    except (AlexandriaError, psycopg.Error) as error:
        said, _, _ = str(error).partition("\n")
        reason = "the database has to work first: without it the quota is unknown, and nothing is sent"
        return [
            Finding(DATABASE, State.WRONG, said, _mend_database(config, error)),
            *unchecked(reason, PROVIDER, QUOTA),
        ]


def _mend_database(config: Config, error: Exception) -> str:
    if isinstance(error, ConfigurationError):
        return ""  # it says so itself
    if config.database_url:
        return (
            "check ALEXANDRIA_DATABASE_URL: is the server running, and may this user connect and make tables?"
        )
    return f"its log, {config.data_dir / 'postgres' / 'log'}, may say why"


async def _check_over(config: Config, url: str) -> list[Finding]:
    server = await inspect(url)
    async with Database.open(url) as database:
        await migrate(database)
    found = describe_database(server, is_embedded=not config.database_url)
    try:
        # The object store is checked by itself: here a broken one would hide the rest.
        async with running_app(replace(config, objects_url="memory:///"), url) as app:
            # First the provider: its answer may stop the account.
            provider = await examined(PROVIDER, lambda: check_provider(app))
            return [found, provider, await examined(QUOTA, lambda: check_quota(app))]
    except AlexandriaError as error:
        rest = unchecked("the provider's settings have to be mended first", QUOTA)
        return [found, Finding(PROVIDER, State.WRONG, str(error)), *rest]


def describe_database(server: Server, *, is_embedded: bool) -> Finding:
    """A database that answers and, by now, is migrated: that is done by every command."""
    kind = "embedded" if is_embedded else "external"
    migrated = (
        f"{server.migrations_missing} migrations were missing and are applied now"
        if server.migrations_missing
        else "migrated"
    )
    figures = {"version": server.version, "kind": kind, "migrations_applied": server.migrations_missing}
    return Finding(DATABASE, State.WORKS, f"PostgreSQL {server.version}, {kind}, {migrated}", figures=figures)


def _mend_network(app: App) -> str:
    return f"check ALEXANDRIA_ISBNDB_URL ({app.config.isbndb_url}) and the network, then try again"


async def _has_given_up(app: App) -> bool:
    """Whether nobody asks because no usable answer came, and not because the provider asked to slow down."""
    source = app.isbndb.source
    status = await app.quota.status(source.account, source.policy)
    return status.state.failures.count >= MOST_FAILURES


async def check_provider(app: App) -> Finding:
    """What the provider says of the key, for no units."""
    if not app.config.isbndb_key:
        said = "no ISBNdb key is configured: what is loaded is served, but nothing can be harvested"
        return Finding(PROVIDER, State.ABSENT, said, "set ALEXANDRIA_ISBNDB_KEY, or try `alexandria sandbox`")
    try:
        key = await app.isbndb.key(lane=Lane.INTERACTIVE, consumer="check")
    except QuotaDenied as denied:
        if denied.reason == DenialReason.BREAKER and await _has_given_up(app):
            return Finding(PROVIDER, State.WRONG, str(denied), _mend_network(app))
        if denied.reason in _PASSING:
            return Finding(PROVIDER, State.UNCHECKED, str(denied), "try again then")
        advice = _MEND_KEY if denied.reason == DenialReason.SUSPENDED else _RESUME
        return Finding(PROVIDER, State.WRONG, f"was not asked: {denied}", advice)
    except ProviderError as error:
        # What it refuses for good has a status, and is the key's fault; without one nobody answered.
        is_refusal = error.status in {401, 403}
        return Finding(PROVIDER, State.WRONG, str(error), _MEND_KEY if is_refusal else _mend_network(app))
    # Ours is read second: it then holds all that the provider may have counted.
    return judge_key(
        key,
        await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config)),
        app.isbndb.bulk_limit,
    )


def judge_key(key: KeyStatus, ours: Status, bulk_limit: int) -> Finding:
    """Whether the plan and the provider's count agree with what is configured and counted here."""
    granted = key.total if key.key_total is None else min(key.total, key.key_total)
    said = (
        f"the plan {key.plan_name or '(unnamed)'} grants {granted:,} units a day; the provider counted {key.spent:,} today, we"
        f" {ours.used:,}; {key.left:,} are left; {bulk_limit:,} ISBNs go into one request"
    )
    state, advice = _compare(key, ours, granted)
    figures = {
        "plan": key.plan_name,
        "units_granted": granted,
        "units_counted_by_provider": key.spent,
        "units_counted_here": ours.used,
        "units_left": key.left,
        "bulk_limit": bulk_limit,
    }
    return Finding(PROVIDER, state, said, advice, figures)


def _compare(key: KeyStatus, ours: Status, granted: int) -> tuple[State, str]:
    # What its answers said before is counted here as foreign; what this one says may not be yet.
    policy, foreign = ours.policy, max(key.spent - ours.used, ours.foreign)
    if granted < policy.safe_limit:
        limits = (
            f"set ALEXANDRIA_HARD_LIMIT to {granted} and ALEXANDRIA_SAFE_LIMIT ({policy.safe_limit}) below it"
        )
        return State.WRONG, limits
    if key.answered_at and key.answered_at.date() != ours.day:
        days = f"its day is {key.answered_at.date()}, ours {ours.day}"
        return State.WORKS, f"{days}: set the clock, unless it is midnight UTC"
    if foreign <= 0:
        # Less than ours is as it should be: what may have reached the provider stays charged.
        return State.WORKS, ""
    advice = f"something else spent {foreign:,} units of this subscription; lower ALEXANDRIA_SAFE_LIMIT if it goes on"
    # The units between the limits are kept for that, and for nothing more.
    return (State.WRONG if foreign > policy.hard_limit - policy.safe_limit else State.WORKS), advice


async def check_quota(app: App) -> Finding:
    """Whether the books agree, and whether anything stops calls."""
    discrepancies = await app.quota.verify()
    if discrepancies:
        said = f"the ledger, the windows and the reservations differ: {'; '.join(map(str, discrepancies))}"
        advice = "start no harvest; docs/quota.md (Proof) says what is compared: a defect, or edited tables"
        return Finding(QUOTA, State.WRONG, said, advice)
    if not app.config.isbndb_key:
        return Finding(QUOTA, State.WORKS, "the ledger agrees; without a key there is nothing to count")
    status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
    said = f"{status.used:,} of {status.policy.safe_limit:,} units used today; the ledger agrees"
    if status.stop is None:
        return Finding(QUOTA, State.WORKS, f"{said}; nothing is stopped", figures=status.as_json())
    stopped = f"{said}; calls are stopped ({status.stop.reason}): {status.stop.detail}"
    if status.stop.until is None:
        return Finding(QUOTA, State.WRONG, stopped, _RESUME, status.as_json())
    advice = f"goes on by itself at {status.stop.until:%Y-%m-%d %H:%M:%S} UTC"
    return Finding(QUOTA, State.WORKS, stopped, advice, status.as_json())


# What needs nothing else


async def check_objects(config: Config) -> Finding:
    """Write, read and delete a small object."""
    place = (
        "the store of ALEXANDRIA_OBJECTS_URL"
        if config.objects_url
        else f"the folder {objects_address(config)}"
    )
    advice = (
        "check the address, its keys and rights"
        if config.objects_url
        else "let this user write there, or choose another ALEXANDRIA_DATA_DIR or ALEXANDRIA_OBJECTS_URL"
    )
    try:
        await _probe(ObjectStore.open(objects_address(config)))
    except AlexandriaError as error:
        return Finding(OBJECTS, State.WRONG, f"{place}: {error}", advice)
    return Finding(OBJECTS, State.WORKS, f"{place} takes, gives and deletes objects")


async def _probe(objects: ObjectStore) -> None:
    # At the top, where it leaves no empty folder behind.
    key, body = f"check-{uuid4().hex}", b"alexandria check"
    await objects.put(key, body, content_type="text/plain")
    try:
        if await objects.get(key) != body:
            raise ConfigurationError("what was read is not what was written")
    finally:
        await objects.delete([key])
