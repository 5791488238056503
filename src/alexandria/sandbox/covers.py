"""The stand-in covers host: pictures, placeholders, expiring originals, and files that a careful client must refuse."""

import asyncio
import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from email.utils import format_datetime
from urllib.parse import parse_qs

from aiohttp import web

from alexandria.sandbox import identities, pictures
from alexandria.sandbox.accounts import Accounts
from alexandria.sandbox.odd_files import odd_file
from alexandria.sandbox.signing import Signer
from alexandria.sandbox.truth import CoverKind
from alexandria.sandbox.world import OPAQUE, World

_MOST_CACHED_BYTES = 64_000_000

_COVER = re.compile(r"/covers/(?:\d\d/\d\d/)?(\d{13,14})\.jpg", re.ASCII)
_OPENLIBRARY = re.compile(r"/openlibrary/b/id/(\d{1,15})(?:-[SML])?\.jpg", re.ASCII)
_TINY = re.compile(r"/covers/tiny/(\d{13})\.jpg", re.ASCII)
_ORIGINAL = re.compile(r"/covers/original/(\d{13})\.jpg", re.ASCII)


class CoversHost:
    """Answers requests for pictures. Pictures are made once and kept while there is room."""

    def __init__(
        self, world: World, accounts: Accounts, signer: Signer, *, width: int = pictures.WIDTH
    ) -> None:
        """`width` of the covers in pixels: small ones cost whoever keeps them less."""
        self._world = world
        self._accounts = accounts
        self._signer = signer
        self._width = width
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._kept_bytes = 0
        self.calls: Counter[str] = Counter()
        """Requests by path."""
        self.counts: Counter[int] = Counter()
        """Answers by status."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request for a picture."""
        self.calls[request.path] += 1
        self._charge()
        response = await self._answer(request)
        if not response.prepared:
            response.headers["Date"] = format_datetime(
                self._accounts.now(self._accounts.switches), usegmt=True
            )
        self.counts[response.status] += 1
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405)
        if match := _COVER.fullmatch(request.path):
            number = int(match[1])
            return await self._cover(str(number - OPAQUE if number > OPAQUE else number))
        if match := _TINY.fullmatch(request.path):
            return _jpeg(pictures.tiny(match[1]))
        if match := _ORIGINAL.fullmatch(request.path):
            return await self._original(match[1], request)
        if match := _OPENLIBRARY.fullmatch(request.path):
            return await self._openlibrary(int(match[1]), request)
        if request.path == "/google-books/content":
            return await self._google(parse_qs(request.query_string).get("id", [""])[0])
        if request.path.startswith("/odd/") and (response := await odd_file(request)):
            return response
        return web.Response(status=404, text="Not found")

    async def _cover(self, isbn: str) -> web.StreamResponse:
        match self.kind_of(isbn):
            case CoverKind.PICTURE:
                return _jpeg(
                    await self._picture("cover", isbn, lambda text: pictures.cover(text, self._width))
                )
            case CoverKind.PLACEHOLDER:
                return await self._placeholder(isbn)
            case CoverKind.MISSING:
                return web.Response(status=404, text="Not found")

    async def _placeholder(self, isbn: str) -> web.StreamResponse:
        match self._accounts.switches.image_placeholder:
            case "same_bytes":
                return _jpeg(await self._picture("placeholder", "", lambda _: pictures.placeholder(None)))
            case "unique_bytes":
                return _jpeg(await self._picture("placeholder", isbn, pictures.placeholder))
            case "404":
                return web.Response(status=404, text="Not found")

    async def _original(self, isbn: str, request: web.BaseRequest) -> web.StreamResponse:
        token = parse_qs(request.query_string).get("key", [""])[0]
        if not self._signer.holds(token, self._accounts.clock.now()):
            return web.Response(status=int(self._accounts.switches.image_original_expired), text="Expired")
        if self.kind_of(isbn) is not CoverKind.PICTURE:
            return web.Response(status=404, text="Not found")
        return _jpeg(await self._picture("original", isbn, pictures.original))

    async def _openlibrary(self, number: int, request: web.BaseRequest) -> web.StreamResponse:
        """A picture by its number; without `default=false` a missing one is a GIF of one pixel (contracts/openlibrary.md, 4)."""
        edition = self._world.truth.editions.get(identities.edition_of_cover(number))
        if edition and identities.openlibrary_cover(edition) == number:
            return _jpeg(await self._picture("openlibrary", edition.key, pictures.cover))
        if "default=false" in request.query_string:
            return web.Response(status=404, text="Not found")
        return web.Response(body=pictures.PIXEL, content_type="image/gif")

    async def _google(self, volume_id: str) -> web.StreamResponse:
        """A small picture, or the grey one that stands for none (contracts/google-books.md, 3)."""
        edition = self._world.truth.editions.get(identities.edition_of_volume(volume_id))
        if edition and edition.cover is CoverKind.PICTURE:
            return _jpeg(await self._picture("google", edition.key, pictures.thumbnail))
        return _jpeg(await self._picture("placeholder", "", lambda _: pictures.placeholder(None)))

    def kind_of(self, isbn: str) -> CoverKind:
        """What there is for an ISBN; nothing for one that ISBNdb does not list."""
        place = self._world.positions.get(isbn)
        return CoverKind.MISSING if place is None else self._world.listed[place].cover

    async def _picture(self, kind: str, isbn: str, make: Callable[[str], bytes]) -> bytes:
        data = self._kept.get((kind, isbn))
        if data is None:
            data = await asyncio.to_thread(make, isbn)
            if (kind, isbn) not in self._kept:
                self._kept_bytes += len(data)
            self._kept[kind, isbn] = data
            while self._kept_bytes > _MOST_CACHED_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return data

    def _charge(self) -> None:
        """`cost.image`: downloads name no key, so the first one would pay."""
        if self._accounts.switches.cost_image:
            for account in self._accounts:
                account.charge(1)
                break


def _jpeg(data: bytes) -> web.Response:
    return web.Response(body=data, content_type="image/jpeg")
