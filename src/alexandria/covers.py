"""Covers: fetch one safely, judge it, keep it in three sizes, show it.

A picture's objects are written before the row that names them, and deleted after the row that withdraws them: no row ever names an
object that is not there. Killed in between, the next attempt does the same again.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec
import pyvips
import structlog

from alexandria import meters
from alexandria.backpressure import admit, put_first
from alexandria.clock import Clock
from alexandria.domain.backpressure import DEFAULT_MARKS, GateName, Marks
from alexandria.domain.covers import (
    MOST_BYTES,
    CoverOutcome,
    CoverSize,
    CoverState,
    CoverWish,
    Picture,
    Unfit,
    format_of,
    judge_other,
    judge_size,
    object_key,
)
from alexandria.domain.errors import (
    ProviderRefused,
    ProviderUnavailable,
    RecordNotFound,
    StoreUnavailable,
)
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Lane
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.covers import Cover, CoverStore
from alexandria.stores.jobs import FETCH_COVER, NewJob
from alexandria.stores.objects import ObjectStore
from alexandria.stores.postgres import Connection, Database
from alexandria.telemetry import Origin

log = structlog.get_logger()

DOWNLOAD_SECONDS = 30.0
"""For one file, connecting and redirects included: ten megabytes at a slow three megabits a second."""

WEBP_QUALITY = 85
"""The earlier system's COVER_QUALITY (predecessor.md, section 0)."""
WEBP_EFFORT = 2
"""Of 0 to 6. On a 500 x 750 JPEG it is about a fifth faster than libvips's 4 and its files are 3 % larger (bench/bench_covers.py);
0 and 1 are another tenth faster, with a sixth more bytes (tried 2026-11-23)."""

_FORBIDDEN = frozenset({401, 402, 403, 451})
"""Answers that will be the same tomorrow; every other status is a failure that may pass."""

_DAMAGED = Unfit(CoverState.REFUSED, "the file is damaged or cut off")
_SIDEWAYS = frozenset({5, 6, 7, 8})
"""Orientations that swap width and height (EXIF 2.32, tag 0x0112)."""

# Never more pictures at once than this, whatever the number of fetches: the worst that are let in take a core for a second and 370 MB
# (an interlaced PNG of 40 megapixels with 16 bits and four channels; measured 2026-11-23).
_WORKSHOP = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="pictures")

# The callers' threads share the machine's cores; libvips's own on top of them would only get in each other's way. No picture comes
# twice, so nothing is worth caching. Loaders that libvips itself calls unsafe for untrusted files stay shut.
pyvips.concurrency_set(1)
pyvips.cache_set_max(0)
pyvips.block_untrusted_set(True)

Result = TypeVar("Result")


class Downloaded(Protocol):
    """What is needed of a downloaded file."""

    @property
    def body(self) -> bytes:
        """The file."""
        ...


class Downloads(Protocol):
    """What is needed of the gateway."""

    async def download(
        self, url: str, *, most_bytes: int, timeout_seconds: float, allowed_hosts: frozenset[str]
    ) -> Downloaded:
        """See `Gateway.download`. Raises RecordNotFound, ProviderRefused or ProviderUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class CoverPicture:
    """A kept cover: WebP, and the hash of the original it was made from, which changes when the cover does."""

    body: bytes = field(repr=False)
    content_hash: str


@dataclass(frozen=True, slots=True)
class Hastened:
    """What became of wishes for covers: every ISBN is in exactly one of the three."""

    queued: frozenset[Isbn]
    """An address is known, and it is asked for next."""
    stored: frozenset[Isbn]
    unknown: tuple[Isbn, ...]
    """No source has named an address yet."""


class FetchCover(msgspec.Struct, frozen=True):
    """Fetch the cover of one ISBN: the arguments of a job."""

    isbn: str


def cover_jobs(isbns: Iterable[Isbn], origins: Mapping[Isbn, object]) -> Mapping[str, NewJob]:
    """The jobs that fetch the covers for these ISBNs, by their keys; `origins` are those of ISBNs for whose cover somebody asked."""
    return {
        f"{FETCH_COVER}:{isbn}": NewJob(
            msgspec.json.encode(FetchCover(str(isbn))), Origin.read(origins.get(isbn)).as_kept()
        )
        for isbn in isbns
    }


AWAITED = 1
"""The priority of covers for which somebody waits; all others have 0."""


async def hasten_covers(
    connection: Connection,
    isbns: Sequence[Isbn],
    *,
    marks: Mapping[GateName, Marks] = DEFAULT_MARKS,
    now: datetime,
) -> Hastened:
    """Have the covers for these ISBNs fetched next, whatever became of them before, within the caller's transaction.

    Somebody waits for them, so they pass a closed gate by the interactive share. Raises Backlogged when that is taken, too; what is
    stored or wanted anyway adds nothing.
    """
    store = CoverStore(connection)
    due = await store.list_due_of(isbns, now=now)
    addresses = await CatalogueStore(connection).find_cover_urls(isbns)
    await store.want([CoverWish(isbn, url, now) for isbn, url in addresses.items()])
    origin = Origin.current().as_kept()
    states = await store.hasten(isbns, now=now, origin=origin)
    stored = frozenset(isbn for isbn, state in states.items() if state is CoverState.STORED)
    unknown = tuple(isbn for isbn in isbns if isbn not in states)
    queued = frozenset(states) - stored
    await admit(connection, GateName.COVERS, len(queued - due), marks, lane=Lane.INTERACTIVE, now=now)
    if queued:
        await put_first(
            connection,
            GateName.FETCH_COVER,
            cover_jobs([isbn for isbn in isbns if isbn in queued], dict.fromkeys(isbns, origin)),
            marks=marks[GateName.FETCH_COVER],
            priority=AWAITED,
        )
    return Hastened(queued, stored, unknown)


async def fetch_cover(
    isbn: Isbn,
    *,
    database: Database,
    gateway: Downloads,
    objects: ObjectStore,
    allowed_hosts: frozenset[str],
    clock: Clock,
) -> CoverOutcome:
    """Fetch the cover that is wanted for an ISBN, unless it is stored already; returns what stands at the end.

    A failure is an outcome with the time to ask again, not an error. Raises RecordNotFound when nobody wants a cover for this
    ISBN, and StoreUnavailable, which spends no attempt.
    """
    async with database.connection() as connection:
        cover = await CoverStore(connection).get(isbn)
    if cover.state is CoverState.STORED:
        return cover.outcome
    try:
        attempt = await _attempt(cover, database, gateway, objects, allowed_hosts, clock)
    except StoreUnavailable:
        raise
    except Exception as defect:
        # A defect of ours spends an attempt like any failure, so that the cover is not asked for again in the next second.
        reason = f"a defect of ours: {type(defect).__name__}"
        failed = CoverOutcome.failed(reason, attempts=cover.attempts + 1, now=clock.now(), retry_after=None)
        async with database.connection() as connection:
            await CoverStore(connection).record(cover, failed, clock.now())
        raise
    async with database.connection() as connection:
        outcome = await CoverStore(connection).record(cover, attempt, clock.now())
    if outcome.is_placeholder and outcome.picture:
        # Each time one is met, not only when it is found out: a worker may have been killed before, or have put it back since.
        await objects.delete(object_key(outcome.picture.content_hash, size) for size in CoverSize)
    meters.COVERS.labels(outcome.state.value).inc()
    log.info(
        "cover.fetched",
        isbn=str(isbn),
        state=outcome.state.value,
        reason=outcome.reason,
        attempts=cover.attempts + 1,
        source=cover.source,
    )
    return outcome


async def get_cover(isbn: str, size: str, *, database: Database, objects: ObjectStore) -> CoverPicture:
    """The kept cover for an ISBN, in "large", "medium" or "small"; never a stand-in for one that does not exist.

    Raises InvalidInput, before anything is looked up (hard-cases.md, F12), RecordNotFound and StoreUnavailable.
    """
    wanted, box = Isbn.parse(isbn), CoverSize.parse(size)
    async with database.connection() as connection:
        cover = await CoverStore(connection).find_shown(wanted)
    if cover is None or cover.picture is None:
        raise RecordNotFound("covers", f"no cover of {wanted} is stored")
    content_hash = cover.picture.content_hash
    try:
        return CoverPicture(await objects.get(object_key(content_hash, box)), content_hash)
    except RecordNotFound:
        # The folder was emptied, or another one is configured: a person has to know, the reader only sees that there is none.
        log.warning("cover.object_missing", isbn=str(wanted), content_hash=content_hash, size=box.value)
        raise


async def _attempt(
    cover: Cover,
    database: Database,
    gateway: Downloads,
    objects: ObjectStore,
    allowed_hosts: frozenset[str],
    clock: Clock,
) -> CoverOutcome:
    try:
        with meters.DOWNLOAD_SECONDS.time():
            downloaded = await gateway.download(
                cover.url,
                most_bytes=MOST_BYTES,
                timeout_seconds=DOWNLOAD_SECONDS,
                allowed_hosts=allowed_hosts,
            )
    except RecordNotFound as error:
        return CoverOutcome.unfit(Unfit(CoverState.MISSING, error.reason), clock.now())
    except ProviderRefused as error:
        return CoverOutcome.unfit(Unfit(CoverState.REFUSED, error.reason), clock.now())
    except ProviderUnavailable as error:
        if error.status in _FORBIDDEN:
            return CoverOutcome.unfit(Unfit(CoverState.REFUSED, error.reason), clock.now())
        return CoverOutcome.failed(
            error.reason, attempts=cover.attempts + 1, now=clock.now(), retry_after=error.retry_after
        )
    with meters.COVER_SECONDS.time():
        return await _keep(downloaded.body, database, objects, clock)


async def _keep(body: bytes, database: Database, objects: ObjectStore, clock: Clock) -> CoverOutcome:
    """Judge a file and put its sizes where they belong; the row that names them is the caller's to write."""
    picture = await _in_workshop(judge, body)
    if isinstance(picture, Unfit):
        return CoverOutcome.unfit(picture, clock.now())
    async with database.connection() as connection:
        if await CoverStore(connection).is_placeholder(picture.content_hash):
            return CoverOutcome.placeholder(picture, clock.now())
    sizes = await _in_workshop(derive, body)
    if isinstance(sizes, Unfit):
        return CoverOutcome.unfit(sizes, clock.now())
    for size, webp in sizes.items():
        await objects.put(object_key(picture.content_hash, size), webp, content_type="image/webp")
    return CoverOutcome(CoverState.STORED, picture=picture)


async def _in_workshop(work: Callable[[bytes], Result], body: bytes) -> Result:
    return await asyncio.get_running_loop().run_in_executor(_WORKSHOP, work, body)


def judge(body: bytes) -> Picture | Unfit:
    """Measure a file by its first bytes and its header, without decoding it (hard-cases.md, F9 and F11)."""
    picture_format = format_of(body)
    if picture_format is None:
        return judge_other(body)
    try:
        header = pyvips.Image.new_from_buffer(body, "", access="sequential")
    except pyvips.Error:
        return _DAMAGED
    if not str(header.get("vips-loader")).startswith(picture_format):
        return _DAMAGED  # two formats in one file: the decoder would read another one than was judged
    width, height = int(header.width), int(header.height)
    if unfit := judge_size(width, height):
        return unfit
    if header.get_typeof("orientation") and header.get("orientation") in _SIDEWAYS:
        width, height = height, width
    return Picture(hashlib.sha256(body).hexdigest(), width, height, len(body))


def derive(body: bytes) -> Mapping[CoverSize, bytes] | Unfit:
    """Every size of a file that `judge` accepted: upright, 8-bit sRGB, no metadata, never enlarged, an animation's first frame.

    A file that breaks off is unfit, not half a picture (hard-cases.md, F8).
    """
    try:
        # Decoded once: a JPEG is shrunk while it loads, and the smaller sizes are made from the large one in memory.
        large = _load(body).copy_memory()
        return {
            size: _encode(large if size is CoverSize.LARGE else _shrink(large, size)) for size in CoverSize
        }
    except pyvips.Error:
        return _DAMAGED


def _load(body: bytes) -> Any:
    width, height = CoverSize.LARGE.box
    return pyvips.Image.thumbnail_buffer(
        body,
        width,
        height=height,
        size="down",
        output_profile="srgb",
        # Its own argument fail_on is accepted and ignored (libvips issue 5195, in 8.18): the loader must be told.
        option_string="[fail_on=truncated]",
    )


def _shrink(image: Any, size: CoverSize) -> Any:
    width, height = size.box
    return image.thumbnail_image(width, height=height, size="down")


def _encode(image: Any) -> bytes:
    return bytes(image.webpsave_buffer(Q=WEBP_QUALITY, effort=WEBP_EFFORT, keep="none"))
