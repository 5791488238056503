"""The sources without paid units against the sandbox, through the real gateway and the real coordinator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from alexandria.clock import SystemClock
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Policy
from alexandria.providers.gateway import Gateway
from alexandria.providers.google_books import GoogleBooksProvider
from alexandria.providers.openlibrary_api import OpenLibraryProvider
from alexandria.providers.policies import POLICIES
from alexandria.providers.wikidata import WikidataProvider
from alexandria.sandbox import identities
from alexandria.sandbox.google_books import GOOGLE_KEY
from alexandria.sandbox.server import Sandbox, running_sandbox
from alexandria.sandbox.truth import Edition, EditionKind
from alexandria.sandbox.world import World
from alexandria.sources import FreeSources
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore

CONTACT = "https://example.org/about"
UNKNOWN = (Isbn("9791000000008"), Isbn("9791000000015"))


class Noon(SystemClock):
    """The real clock, moved to the nearest noon of Greenwich, so that no test falls into a guard around midnight."""

    def __init__(self) -> None:
        now = super().now()
        self._shift = now.replace(hour=18, minute=0, second=0, microsecond=0) - now

    def now(self) -> Any:
        return super().now() + self._shift


@dataclass(frozen=True)
class FreeRig:
    """A sandbox, and the three sources that ask it."""

    sandbox: Sandbox
    quota: QuotaStore
    gateway: Gateway
    openlibrary: OpenLibraryProvider
    google: GoogleBooksProvider
    wikidata: WikidataProvider

    @property
    def sources(self) -> FreeSources:
        return FreeSources(self.openlibrary, self.google, self.wikidata)

    def asked(self, source: str) -> list[str]:
        """The paths that a source was asked for, in order."""
        return [each.path for each in self.sandbox.free_calls if each.endpoint == source]


def unpaced(provider: str) -> Policy:
    """The provider's policy without its pace, which one test looks at and the others need not wait for."""
    return replace(POLICIES[provider], requests_per_window=10_000, window=timedelta(seconds=1))


@asynccontextmanager
async def free_rig(
    world: World,
    database: Database,
    *,
    contact: str | None = CONTACT,
    policies: Any = unpaced,
    key: str = GOOGLE_KEY,
) -> AsyncIterator[FreeRig]:
    clock = Noon()
    quota = QuotaStore(database, clock)
    async with (
        running_sandbox(world, clock=clock) as sandbox,
        Gateway(quota, clock, jitter=lambda: 0.0, contact=contact) as gateway,
    ):
        yield FreeRig(
            sandbox,
            quota,
            gateway,
            OpenLibraryProvider(gateway, base_url=sandbox.openlibrary_url, policy=policies("openlibrary")),
            GoogleBooksProvider(
                gateway, base_url=sandbox.google_books_url, key=key, policy=policies("google-books")
            ),
            WikidataProvider(gateway, base_url=sandbox.wikidata_url, policy=policies("wikidata")),
        )


def books_of(world: World) -> list[Edition]:
    """The world's editions that have an ISBN, junk left out."""
    return [each for each in world.truth.editions.values() if each.isbn and each.kind is not EditionKind.JUNK]


def isbn_of(edition: Edition) -> Isbn:
    assert edition.isbn
    return edition.isbn


def in_openlibrary(world: World) -> list[Edition]:
    return [each for each in books_of(world) if identities.is_in_openlibrary(each)]


def not_in_openlibrary(world: World) -> list[Edition]:
    return [each for each in books_of(world) if not identities.is_in_openlibrary(each)]
