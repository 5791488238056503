"""Starts a sandbox: ISBNdb, its covers host and a control page, each on a port of its own; the free sources are beside ISBNdb."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from alexandria.clock import Clock, SystemClock
from alexandria.sandbox.accounts import PREMIUM, Accounts, Key, Plan
from alexandria.sandbox.control import Control
from alexandria.sandbox.covers import CoversHost
from alexandria.sandbox.faults import Faults
from alexandria.sandbox.google_books import GoogleBooks, google_bucket
from alexandria.sandbox.isbndb import Isbndb
from alexandria.sandbox.openlibrary import OpenLibrary, openlibrary_bucket
from alexandria.sandbox.pictures import WIDTH
from alexandria.sandbox.received import ReceivedCall
from alexandria.sandbox.routes import Free
from alexandria.sandbox.signing import Signer
from alexandria.sandbox.stand_ins import StandIns
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.wikidata import Wikidata, wikidata_bucket
from alexandria.sandbox.world import World

__all__ = [
    "DEFAULT_KEYS",
    "PREMIUM",
    "Key",
    "Plan",
    "Sandbox",
    "Switches",
    "running_sandbox",
    "serve_forever",
]

DEFAULT_KEYS: Mapping[str, Plan | Key] = {"sandbox-key": PREMIUM}
"""One Premium key, the plan of contracts/isbndb.md, section 5."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Sandbox:
    """A running sandbox, and everything a test asks of it."""

    def __init__(
        self,
        world: World,
        provider: Isbndb,
        covers: CoversHost,
        accounts: Accounts,
        google: GoogleBooks,
        free: StandIns,
    ) -> None:
        self.world = world
        self.url = ""
        """Base URL of ISBNdb, without a slash at its end."""
        self.covers_url = ""
        self.control_url = ""
        self.openlibrary_url = ""
        self.openlibrary_covers_url = ""
        self.google_books_url = ""
        self.wikidata_url = ""
        self.google = google
        """To be turned: `google.daily_limit = 5`."""
        self._free = free
        self._provider = provider
        self._covers = covers
        self._accounts = accounts

    @property
    def faults(self) -> Faults:
        """What goes wrong: `faults.add(FaultKind.ERROR_500, endpoint="author", count=1)`."""
        return self._provider.faults

    @property
    def calls(self) -> list[ReceivedCall]:
        """What ISBNdb received, oldest first; the last 100,000."""
        return list(self._provider.received.calls)

    @property
    def counts(self) -> Counter[tuple[str, int]]:
        """Received calls by endpoint and status; status 0 for a connection that was dropped."""
        return Counter(self._provider.received.counts)

    @property
    def cover_calls(self) -> Counter[str]:
        """Requests that the covers host received, by path."""
        return Counter(self._covers.calls)

    @property
    def free_calls(self) -> list[ReceivedCall]:
        """What the free sources received, oldest first: `endpoint` is "openlibrary", "google-books" or "wikidata"."""
        return list(self._free.received.calls)

    def repeated(self) -> list[ReceivedCall]:
        """Calls that were charged although the same question had been answered with 200 before."""
        return self._provider.received.repeated()

    def warm_up(self) -> None:
        """Read the whole world into the search index now, rather than at the first search (40 s per million books)."""
        self._provider.shelf(self.switches.book_dirt).index.read()

    def spent(self, key: str = "sandbox-key") -> int:
        """Units charged to a key today, by the provider's clock."""
        return self._accounts.get(key).standing().key_spent

    def spent_by_subscription(self, key: str = "sandbox-key") -> int:
        """Units charged today to the subscription that owns a key, foreign ones included: what `/key` shows as spent."""
        return self._accounts.get(key).standing().spent

    def spend_elsewhere(self, units: int, key: str = "sandbox-key") -> None:
        """Let another program on the same subscription spend so many units, all at once."""
        self._accounts.get(key).spend_elsewhere(units)

    def left(self, key: str = "sandbox-key") -> int:
        """Units that a key can still use today."""
        return self._accounts.get(key).standing().left

    @property
    def switches(self) -> Switches:
        """What holds for keys without switches of their own."""
        return self._accounts.switches

    def set_switches(self, switches: Switches, key: str | None = None) -> None:
        """Other switches from now on, for all keys without their own or for one key."""
        if key is None:
            self._accounts.switches = switches
            return
        account = self._accounts.get(key)
        self._accounts.open(account.text, replace(account.key, switches=switches))

    def open_key(self, text: str, key: Plan | Key) -> None:
        """One more key, or other terms for a known one; what it spent stays."""
        self._accounts.open(text, key if isinstance(key, Key) else Key(plan=key))


@asynccontextmanager
async def running_sandbox(
    world: World,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    covers_port: int = 0,
    control_port: int = 0,
    switches: Switches | None = None,
    keys: Mapping[str, Plan | Key] = DEFAULT_KEYS,
    clock: Clock | None = None,
    journal: Path | None = None,
    path_prefix: str = "",
    cover_width: int = WIDTH,
) -> AsyncIterator[Sandbox]:
    """A sandbox on real sockets for the time of the block; port 0 takes a free one.

    With a `journal` a later sandbox on the same file remembers what was charged. `path_prefix` ("/isbndb") serves ISBNdb below
    that path, as a proxy would. `cover_width` is that of its pictures, in pixels. Raises InvalidInput for a file that is no journal, OSError for a port that is taken.
    """
    accounts = Accounts(keys, switches=switches or Switches(), clock=clock or SystemClock(), journal=journal)
    signer = Signer(world.seed)
    provider = Isbndb(world, accounts, Faults(world.seed), signer, path_prefix)
    covers = CoversHost(world, accounts, signer, width=cover_width)
    google = GoogleBooks(world, accounts)
    free = StandIns(
        accounts,
        provider.faults,
        {
            Free.OPENLIBRARY: (OpenLibrary(world), openlibrary_bucket()),
            Free.GOOGLE_BOOKS: (google, google_bucket()),
            Free.WIKIDATA: (Wikidata(world), wikidata_bucket()),
        },
    )
    sandbox = Sandbox(world, provider, covers, accounts, google, free)
    async with AsyncExitStack() as stack:
        stack.callback(accounts.close)
        sandbox.covers_url = provider.covers_url = await stack.enter_async_context(
            _serving(covers.handle, host, covers_port)
        )
        google.pictures_url = sandbox.covers_url
        base = await stack.enter_async_context(_serving(free.before(provider.handle), host, port))
        sandbox.url = provider.url = base + path_prefix
        sandbox.openlibrary_url = f"{base}/{Free.OPENLIBRARY}"
        sandbox.openlibrary_covers_url = f"{sandbox.covers_url}/{Free.OPENLIBRARY}"
        sandbox.google_books_url = f"{base}/{Free.GOOGLE_BOOKS}"
        sandbox.wikidata_url = f"{base}/{Free.WIKIDATA}"
        sandbox.control_url = await stack.enter_async_context(
            _serving(Control(provider, covers, accounts, free).handle, "127.0.0.1", control_port)
        )
        yield sandbox


@asynccontextmanager
async def _serving(handler: Handler, host: str, port: int) -> AsyncIterator[str]:
    """A server for one handler; gives its URL."""
    runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def serve_forever(
    world: World,
    *,
    ready: Callable[[Sandbox], None],
    host: str = "127.0.0.1",
    port: int = 8780,
    covers_port: int = 8781,
    control_port: int = 8782,
    switches: Switches | None = None,
    keys: Mapping[str, Plan | Key] = DEFAULT_KEYS,
    journal: Path | None = None,
) -> None:
    """Run a sandbox until the task is cancelled; `ready` is called once, when all three ports listen."""
    async with running_sandbox(
        world,
        host=host,
        port=port,
        covers_port=covers_port,
        control_port=control_port,
        switches=switches,
        keys=keys,
        journal=journal,
    ) as sandbox:
        sandbox.warm_up()
        ready(sandbox)
        await asyncio.Event().wait()
