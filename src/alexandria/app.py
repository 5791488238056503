"""The application: the one place that wires configuration, stores and providers together."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import structlog

from alexandria import harvesters
from alexandria.alerts import Watchkeeper, Wishes
from alexandria.clock import Clock, SystemClock
from alexandria.config import Config
from alexandria.domain.alert_readings import AccountReading
from alexandria.domain.alert_rules import GIBIBYTE
from alexandria.domain.alerting import AlertKind
from alexandria.domain.digests import Spent
from alexandria.domain.errors import ConfigurationError, InvalidInput, ProviderError, QuotaDenied
from alexandria.domain.plans import needs_key
from alexandria.domain.quota import Account, Lane, Policy
from alexandria.domain.quota_status import Forecast, Status
from alexandria.domain.quota_usage import By, Span
from alexandria.domain.reconciling import Reconciliation
from alexandria.foreground import Foreground, working_in_foreground
from alexandria.harvest import Harvester
from alexandria.harvest_isbns import IsbnCalls
from alexandria.metering import publishing
from alexandria.mirror import Mirror, Target
from alexandria.notifying import Sender, Webhook
from alexandria.notifying import Target as NoticeTarget
from alexandria.outlook import read_backlog
from alexandria.providers import google_books, openlibrary, wikidata
from alexandria.providers.gateway import Gateway
from alexandria.providers.google_books import GoogleBooksProvider
from alexandria.providers.isbndb import PROVIDER, IsbndbProvider
from alexandria.providers.notices import AppriseSender, AppriseTarget
from alexandria.providers.openlibrary_api import OpenLibraryProvider
from alexandria.providers.policies import POLICIES
from alexandria.providers.traces import exporting
from alexandria.providers.wikidata import WikidataProvider
from alexandria.schedule import Schedule
from alexandria.sources import FreeSources
from alexandria.stores.embedded import running_server
from alexandria.stores.locks import sole_uses
from alexandria.stores.objects import ObjectStore
from alexandria.stores.postgres import Database, migrate
from alexandria.stores.quota import COUNT_LEASE, COUNT_REST, QuotaStore
from alexandria.stores.quota_reports import QuotaReports
from alexandria.throttle import Throttle
from alexandria.tuning import Dials, tuning

log = structlog.get_logger()


@dataclass(frozen=True)
class App:
    """Everything a use case may be handed."""

    config: Config
    clock: Clock
    database: Database
    quota: QuotaStore
    quota_reports: QuotaReports
    gateway: Gateway
    isbndb: IsbndbProvider
    openlibrary: OpenLibraryProvider
    google_books: GoogleBooksProvider | None
    """None without a key."""
    wikidata: WikidataProvider
    free_sources: FreeSources
    """Those that may be asked as configured."""
    harvester: Harvester
    foreground: Foreground
    objects: ObjectStore
    dials: Dials


@contextmanager
def running_database(config: Config) -> Iterator[str]:
    """The URL of the configured server, or of an embedded one that runs while the block does."""
    if config.database_url:
        yield config.database_url
    else:
        with running_server(config.data_dir, bin_dir=config.postgres_bin) as url:
            yield url


def isbndb_policy(config: Config) -> Policy:
    """What the ISBNdb plan grants, and how it is shared out, as configured."""
    floors = {Lane.INTERACTIVE: config.interactive_percent, Lane.SCHEDULED: config.scheduled_percent}
    return replace(
        POLICIES[PROVIDER],
        hard_limit=config.hard_limit,
        safe_limit=config.safe_limit,
        requests_per_window=config.requests_per_minute,
        floors={lane: config.safe_limit * percent // 100 for lane, percent in floors.items()},
        ceilings={**config.ceilings, **_ceilings_of_programs(config)},
        **config.policy_spans,
    )


def _ceilings_of_programs(config: Config) -> dict[str, int]:
    return {each.consumer: each.ceiling for each in config.quota_tokens if each.ceiling is not None}


def isbndb_account(config: Config) -> Account:
    """The account that the configured key spends from. Raises ConfigurationError without a key."""
    if not config.isbndb_key:
        raise ConfigurationError(
            "ALEXANDRIA_ISBNDB_KEY is not set: get a key at isbndb.com, or try `alexandria sandbox`"
        )
    return Account.of(PROVIDER, config.isbndb_key)


def refuse_without_key(config: Config, kind: str) -> None:
    """Raises ConfigurationError when a run of this kind could never do anything, because no key is set."""
    if needs_key(kind):
        isbndb_account(config)


def account_of(config: Config, provider: str) -> tuple[Account, Policy]:
    """Whose units are spent at a provider, and by which policy. Raises InvalidInput for a provider that there is none of."""
    if provider not in POLICIES:
        raise InvalidInput("provider", provider, "is not one of " + ", ".join(POLICIES))
    if provider == PROVIDER:
        return isbndb_account(config), isbndb_policy(config)
    key = config.google_books_key or "" if provider == google_books.PROVIDER else ""
    return Account.of(provider, key), POLICIES[provider]


_NO_CONTACT = "ALEXANDRIA_CONTACT is not set, and it serves only callers that name one"


def _free_sources(
    config: Config, books: OpenLibraryProvider, google: GoogleBooksProvider | None, entities: WikidataProvider
) -> FreeSources:
    """The sources without paid units that may be asked as configured, and why the others may not."""
    off = dict[str, str]()
    for source in (openlibrary.PROVIDER, google_books.PROVIDER):
        if source not in config.sources:
            off[source] = "ALEXANDRIA_SOURCES does not name it"
    if not config.contact:
        off |= {openlibrary.PROVIDER: _NO_CONTACT, wikidata.PROVIDER: _NO_CONTACT}
    if google is None:
        off.setdefault(google_books.PROVIDER, "ALEXANDRIA_GOOGLE_BOOKS_KEY is not set")
    return FreeSources(
        openlibrary=books if openlibrary.PROVIDER not in off else None,
        google_books=google if google_books.PROVIDER not in off else None,
        wikidata=entities if wikidata.PROVIDER not in off else None,
        off=off,
        openlibrary_covers=config.openlibrary_covers_url,
    )


def providers_asked(app: App) -> Sequence[str]:
    """Providers that are asked as configured: ISBNdb with a key, the others where nothing is missing for them."""
    free = app.free_sources
    asked = {
        PROVIDER: bool(app.config.isbndb_key),
        openlibrary.PROVIDER: free.openlibrary is not None,
        google_books.PROVIDER: free.google_books is not None,
        wikidata.PROVIDER: free.wikidata is not None,
    }
    return [provider for provider, is_asked in asked.items() if is_asked]


async def read_forecast(app: App, status: Status) -> Forecast:
    """How the status's day goes on, and how long what open runs still need will take. Costs no unit."""
    units_queued = 0
    if status.account.provider == PROVIDER:
        async with app.database.connection() as connection:
            backlog = await read_backlog(connection)
        units_queued = math.ceil(sum(each.units for each in backlog))
    return status.forecast(await app.quota_reports.sum_recently_charged(status), units_queued=units_queued)


async def read_units_today(app: App) -> Mapping[str, int] | None:
    """What each consumer was charged on the provider's day; None without a key. Costs no unit."""
    if not app.config.isbndb_key:
        return None
    status = await app.quota.status(isbndb_account(app.config), isbndb_policy(app.config))
    window = status.state.window
    return {consumer: window.used_by(consumer) for _, consumer in window.used} if window else {}


async def recount_patiently(app: App) -> Reconciliation | None:
    """Ask for the count as soon as nobody else does: the coordinator lets one process ask, and no more often than once a second."""
    for _ in range(math.ceil(COUNT_LEASE / COUNT_REST) + 1):
        if (reconciliation := await app.gateway.recount(app.isbndb.source)) is not None:
            return reconciliation
        await app.clock.sleep(COUNT_REST.total_seconds())
    return None


async def recount_if_due(app: App) -> Reconciliation | None:
    """Compare our count with the provider's if it is time to, whichever process does it; None when nothing was done.

    Raises StoreUnavailable. A provider that does not answer is asked again when another process, or the next minute, tries.
    """
    if not app.config.isbndb_key:
        return None
    try:
        return await app.gateway.recount(app.isbndb.source, only_if_due=True)
    except (ProviderError, QuotaDenied, ConfigurationError) as error:
        log.warning("quota.count_unknown", provider=PROVIDER, reason=str(error))
        return None


def schedule_of(app: App) -> Schedule:
    """The configured schedule, to be kept to or shown."""
    return Schedule(app.database, app.config.schedule, app.clock, partial(harvesters.start, app.config))


def objects_address(config: Config) -> str:
    """Where covers lie: an object store's URL, or a folder. May hold a secret."""
    return config.objects_url or str(config.data_dir / "covers")


def covers_folder(config: Config) -> Path | None:
    """The folder in which covers are kept; None for an object store elsewhere."""
    if config.objects_url is None:
        return config.data_dir / "covers"
    parts = urlsplit(config.objects_url)
    if parts.scheme not in {"", "file"}:
        return None
    return Path(unquote(parts.path) if parts.scheme else config.objects_url).expanduser().absolute()


def throttle(app: App, *, most: int) -> Throttle:
    """What keeps one process from working on more pictures than its machine has room for."""
    return Throttle(app.clock, most, covers_folder(app.config), app.config.cover_disk_gib * GIBIBYTE)


@asynccontextmanager
async def running_app(config: Config, database_url: str, *, clock: Clock | None = None) -> AsyncIterator[App]:
    """Connect to everything, migrate the database, and close at the end.

    Without a `clock` this machine's is used, but for the quota: there the database's, which all machines share. Raises
    ConfigurationError when the schedule names what there is not.
    """
    harvesters.check(config.schedule)
    quota_clock, clock = clock, clock or SystemClock()
    async with exporting(config.otlp_endpoint, config.otlp_headers), Database.open(database_url) as database:
        await migrate(database)
        quota = QuotaStore(database, quota_clock)
        # Around everything that counts, so that what it counts at its end is still added.
        dials = Dials(config.pinned)
        async with (
            publishing(database),
            tuning(database, dials),
            Gateway(quota, clock, contact=config.contact, seconds=dials.seconds) as gateway,
        ):
            isbndb = IsbndbProvider(
                gateway, base_url=config.isbndb_url, key=config.isbndb_key, policy=isbndb_policy(config)
            )
            books = OpenLibraryProvider(
                gateway, base_url=config.openlibrary_url, policy=POLICIES[openlibrary.PROVIDER]
            )
            google = _google_books(gateway, config)
            entities = WikidataProvider(
                gateway, base_url=config.wikidata_url, policy=POLICIES[wikidata.PROVIDER]
            )
            free = _free_sources(config, books, google, entities)
            calls = IsbnCalls(isbndb, database, clock, most=lambda: dials.whole("isbns_at_once"))
            async with sole_uses(database_url) as uses:
                harvester = Harvester(database, uses, isbndb, calls, free, clock)
                async with working_in_foreground(harvester) as foreground:
                    yield App(
                        config=config,
                        clock=clock,
                        database=database,
                        quota=quota,
                        quota_reports=QuotaReports(database, quota_clock),
                        gateway=gateway,
                        isbndb=isbndb,
                        openlibrary=books,
                        google_books=google,
                        wikidata=entities,
                        free_sources=free,
                        harvester=harvester,
                        foreground=foreground,
                        objects=ObjectStore.open(objects_address(config)),
                        dials=dials,
                    )


def _google_books(gateway: Gateway, config: Config) -> GoogleBooksProvider | None:
    if not config.google_books_key:
        return None
    return GoogleBooksProvider(
        gateway,
        base_url=config.google_books_url,
        key=config.google_books_key,
        policy=POLICIES[google_books.PROVIDER],
    )


def kv_mirror(app: App) -> Mirror | None:
    """What mirrors the quota's status to Cloudflare KV; None when that is not configured, or there is no key to tell of."""
    config = app.config
    if not (config.kv_account and config.kv_namespace and config.kv_token):
        return None
    if not config.isbndb_key:
        log.warning("mirror.off", reason="ALEXANDRIA_ISBNDB_KEY is not set, so there is no status to mirror")
        return None
    account, policy = isbndb_account(config), isbndb_policy(config)
    target = Target(config.kv_url, config.kv_account, config.kv_namespace, config.kv_key, config.kv_token)
    return Mirror(target, lambda: app.quota.status(account, policy), app.gateway, app.clock)


@asynccontextmanager
async def mirroring(app: App) -> AsyncIterator[None]:
    """Mirror the quota's status beside the block, if that is configured."""
    mirror = kv_mirror(app)
    if mirror is None:
        yield
        return
    task = asyncio.create_task(mirror.run(app.database.url))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# Alerts


@asynccontextmanager
async def notice_sender(app: App) -> AsyncIterator[Sender]:
    """What sends notices to the configured targets. Raises ConfigurationError for an address that can't be used."""
    config = app.config
    targets: list[NoticeTarget] = [AppriseTarget(url, n) for n, url in enumerate(config.alert_urls, start=1)]
    if config.alert_webhook and config.alert_webhook_secret:
        targets.append(Webhook(config.alert_webhook, config.alert_webhook_secret))
    async with AppriseSender() as apprise:
        sender = Sender(targets, app.gateway, apprise, app.clock)
        await sender.check()
        yield sender


def watchkeeper(app: App, sender: Sender) -> Watchkeeper:
    """This process's part in watching and telling."""
    config = app.config
    wishes = Wishes(
        least=config.alert_level,
        off=config.alerts_off,
        data_dir=config.data_dir,
        disk_least=config.alert_disk_gib * GIBIBYTE,
        covers_dir=covers_folder(config),
        covers_least=config.cover_disk_gib * GIBIBYTE,
        digest_at=config.digest_at,
    )
    return Watchkeeper(
        app.database, app.clock, sender, wishes, partial(read_accounts, app), partial(_read_spent, app)
    )


async def read_accounts(app: App) -> list[AccountReading]:
    """How every account stands that is spent from as configured. Costs no unit."""
    readings = []
    for provider in POLICIES:
        if (provider == PROVIDER and not app.config.isbndb_key) or (
            provider == google_books.PROVIDER and not app.config.google_books_key
        ):
            continue
        status = await app.quota.status(*account_of(app.config, provider))
        readings.append(AccountReading(status, await read_forecast(app, status)))
    return readings


async def _read_spent(app: App, day: date) -> Spent | None:
    if not app.config.isbndb_key:
        return None
    account, policy = isbndb_account(app.config), isbndb_policy(app.config)
    status = await app.quota.status(account, policy)
    lines = await app.quota_reports.list_usage(account, Span(day, day), By.CONSUMER)
    return Spent(PROVIDER, day, lines, status, await read_forecast(app, status))


@asynccontextmanager
async def alerting(app: App) -> AsyncIterator[None]:
    """Watch, and tell people, beside the block, unless every alert is off and no digest is wanted.

    Raises ConfigurationError for a target that can't be used.
    """
    if app.config.alerts_off == set(AlertKind) and app.config.digest_at is None:
        yield
        return
    async with notice_sender(app) as sender:
        task = asyncio.create_task(watchkeeper(app, sender).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
