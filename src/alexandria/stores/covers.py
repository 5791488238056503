"""Covers in PostgreSQL: what is wanted, what became of it, and which pictures are placeholders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from psycopg.types.json import Jsonb

from alexandria.domain.covers import (
    UNRELATED_HOLDERS,
    CoverOutcome,
    CoverState,
    CoverWish,
    Picture,
    refusal_of,
    source_of,
)
from alexandria.domain.errors import RecordNotFound
from alexandria.domain.isbn import Isbn
from alexandria.stores.postgres import Connection, Queries

log = structlog.get_logger()

queries = Queries("covers.sql")


@dataclass(frozen=True, slots=True)
class Cover:
    """How things stand with one ISBN's cover. `attempts` counts failures in a row, `due_at` says when to ask next, if ever."""

    isbn: Isbn
    url: str
    found_at: datetime
    state: CoverState
    attempts: int
    due_at: datetime | None
    reason: str | None
    picture: Picture | None
    """What was measured of the original; of a placeholder too."""
    stored_at: datetime | None

    @property
    def source(self) -> str:
        """The address as it may be shown: without its query."""
        return source_of(self.url)

    @property
    def outcome(self) -> CoverOutcome:
        """What stands, as an attempt would report it."""
        return CoverOutcome(self.state, self.reason, self.picture, self.due_at)


class CoverStore:
    """Covers within one connection; `record` brings a transaction of its own, inside the caller's if there is one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def want(self, wishes: Sequence[CoverWish]) -> int:
        """Ask for covers; returns how many were not wanted before.

        New are ISBNs never wished for, and those without a stored cover for which a later record names another address. An
        address that may not be kept (`domain.covers.refusal_of`) is left out, and said so in the log.
        """
        # One statement can't touch a row twice: the latest wish for an ISBN stands.
        usable = {
            each.isbn: each for each in sorted(wishes, key=lambda each: each.found_at) if _is_usable(each)
        }
        if not usable:
            return 0
        row = await self._fetch_one(
            queries.want_covers,
            {
                "isbns": [str(isbn) for isbn in usable],
                "urls": [each.url for each in usable.values()],
                "found": [each.found_at for each in usable.values()],
            },
        )
        return int(row[0]) if row else 0

    async def hasten(
        self, isbns: Sequence[Isbn], *, now: datetime, origin: Mapping[str, str] | None = None
    ) -> dict[Isbn, CoverState]:
        """Ask for these next, whatever became of them before, on the word of `origin`, within the caller's transaction; returns the
        state of each for which an address is known."""
        await self._fetch(queries.lock_hastened, {"isbns": [str(each) for each in isbns]})
        kept = Jsonb(dict(origin)) if origin else None
        parameters = {"isbns": [str(each) for each in isbns], "now": now, "origin": kept}
        return {
            Isbn(row[0]): CoverState(row[1]) for row in await self._fetch(queries.hasten_covers, parameters)
        }

    async def list_due(self, limit: int, now: datetime) -> list[Isbn]:
        """ISBNs to ask for by now, the longest waiting first; one stays in the list until its outcome is recorded."""
        return [
            Isbn(row[0]) for row in await self._fetch(queries.list_due_covers, {"limit": limit, "now": now})
        ]

    async def find_origins(self, isbns: Sequence[Isbn]) -> dict[Isbn, dict[str, str]]:
        """Who asked last for these to be fetched next, of those that somebody asked for."""
        parameters = {"isbns": [str(each) for each in isbns]}
        return {Isbn(row[0]): row[1] for row in await self._fetch(queries.find_cover_origins, parameters)}

    async def list_due_of(self, isbns: Sequence[Isbn], *, now: datetime) -> frozenset[Isbn]:
        """Those of some ISBNs that are to be asked for by now."""
        parameters = {"isbns": [str(each) for each in isbns], "now": now}
        return frozenset(Isbn(row[0]) for row in await self._fetch(queries.list_due_of, parameters))

    async def find(self, isbn: Isbn) -> Cover | None:
        """How things stand with an ISBN's cover, None when nobody ever named an address for it."""
        row = await self._fetch_one(queries.find_cover, {"isbn": str(isbn)})
        return _cover(row) if row else None

    async def get(self, isbn: Isbn) -> Cover:
        """As `find`. Raises RecordNotFound."""
        cover = await self.find(isbn)
        if cover is None:
            raise RecordNotFound("covers", f"no source named an address for the cover of {isbn}")
        return cover

    async def find_shown(self, isbn: Isbn) -> Cover | None:
        """The stored cover to show for an ISBN: its own, or that of another ISBN of the same edition."""
        row = await self._fetch_one(queries.find_shown_cover, {"isbn": str(isbn)})
        return _cover(row) if row else None

    async def list_latest(self, limit: int) -> list[Cover]:
        """Stored covers, the newest first."""
        return [_cover(row) for row in await self._fetch(queries.list_latest_covers, {"limit": limit})]

    async def try_given_up_again(self, *, asked_before: datetime, now: datetime, limit: int) -> int:
        """Ask once more for covers that were given up and last asked for so long ago; returns how many, `limit` at most.

        One that fails again is given up again: it has had its attempts.
        """
        parameters = {"asked_before": asked_before, "now": now, "limit": limit}
        return len(await self._fetch(queries.try_given_up_again, parameters))

    async def counts(self) -> dict[CoverState, int]:
        """How many ISBNs are in each state; every state is there."""
        found = {CoverState(row[0]): int(row[1]) for row in await self._fetch(queries.count_covers, {})}
        return {state: found.get(state, 0) for state in CoverState}

    async def count_reasons(self, *, limit: int = 5) -> list[tuple[CoverState, str, int]]:
        """Why covers did not come, the most frequent reasons first."""
        rows = await self._fetch(queries.count_reasons, {"limit": limit})
        return [(CoverState(row[0]), row[1], int(row[2])) for row in rows]

    async def is_placeholder(self, content_hash: str) -> bool:
        """Whether these bytes are known to stand in for covers that do not exist."""
        row = await self._fetch_one(queries.is_placeholder, {"hash": bytes.fromhex(content_hash)})
        return bool(row and row[0])

    async def record(self, cover: Cover, outcome: CoverOutcome, now: datetime) -> CoverOutcome:
        """Write down what became of an attempt at `cover`, as it was read before the attempt; returns what stands now.

        That is another outcome when somebody else stored the cover or named another address meanwhile, and when this picture
        proves to be a placeholder: then every cover with the same bytes is withdrawn, and its objects are to be deleted.
        """
        async with self._connection.transaction():
            if outcome.picture and await self._see(outcome.picture, now):
                outcome = CoverOutcome.placeholder(outcome.picture, now)
            await self._lock(cover.isbn, outcome.picture)
            if not await self._save(cover, outcome, now):
                return (await self.get(cover.isbn)).outcome
            if outcome.state is CoverState.STORED and outcome.picture:
                return await self._withdraw_repeated(outcome.picture, now) or outcome
            return outcome

    async def _see(self, picture: Picture, now: datetime) -> bool:
        row = await self._fetch_one(
            queries.see_content, {"hash": bytes.fromhex(picture.content_hash), "now": now}
        )
        return bool(row and row[0])

    async def _lock(self, isbn: Isbn, picture: Picture | None) -> None:
        content_hash = bytes.fromhex(picture.content_hash) if picture else None
        await self._fetch(queries.lock_covers, {"isbn": str(isbn), "hash": content_hash})

    async def _save(self, cover: Cover, outcome: CoverOutcome, now: datetime) -> bool:
        picture = outcome.picture
        row = await self._fetch_one(
            queries.save_outcome,
            {
                "isbn": str(cover.isbn),
                "url": cover.url,
                "state": outcome.state,
                # Set, not raised by one: two workers who failed at the same time count as one failure.
                "attempts": cover.attempts + 1 if outcome.state is CoverState.FAILED else 0,
                "due_at": outcome.due_at,
                "reason": outcome.reason,
                "hash": bytes.fromhex(picture.content_hash) if picture else None,
                "width": picture.width if picture else None,
                "height": picture.height if picture else None,
                "bytes": picture.bytes if picture else None,
                "now": now,
            },
        )
        return row is not None

    async def _withdraw_repeated(self, picture: Picture, now: datetime) -> CoverOutcome | None:
        content_hash = bytes.fromhex(picture.content_hash)
        if not await self._fetch(
            queries.mark_placeholder, {"hash": content_hash, "now": now, "holders": UNRELATED_HOLDERS}
        ):
            return None
        outcome = CoverOutcome.placeholder(picture, now)
        withdrawn = await self._fetch(
            queries.withdraw_covers,
            {"hash": content_hash, "due_at": outcome.due_at, "reason": outcome.reason},
        )
        log.info(
            "cover.placeholder_found", content_hash=picture.content_hash, covers_withdrawn=len(withdrawn)
        )
        return outcome

    async def _fetch(self, statement: Any, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return await (await self._connection.execute(statement, parameters)).fetchall()

    async def _fetch_one(self, statement: Any, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        return await (await self._connection.execute(statement, parameters)).fetchone()


def _is_usable(wish: CoverWish) -> bool:
    if reason := refusal_of(wish.url):
        # Without the address: what makes it unusable may be a secret in it.
        log.warning("cover.wish_refused", isbn=str(wish.isbn), reason=reason)
    return reason is None


def _cover(row: Sequence[Any]) -> Cover:
    isbn, url, found_at, state, attempts, due_at, reason, content_hash, width, height, length, stored_at = row
    picture = None if content_hash is None else Picture(content_hash.hex(), width, height, length)
    return Cover(Isbn(isbn), url, found_at, CoverState(state), attempts, due_at, reason, picture, stored_at)
