"""ISBNdb: requests that are checked before they cost anything (contracts/isbndb.md).

How answers are read stands in `isbndb_answers`, how a book becomes facts in `isbndb_records`.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Literal
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import structlog

from alexandria.domain.catalogue import Dropped, SourceRecord
from alexandria.domain.dates import PartialDate
from alexandria.domain.errors import AlexandriaError, ConfigurationError, InvalidInput, ProviderUnavailable
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import RECONCILER, Account, Lane, Policy
from alexandria.domain.reconciling import Reading
from alexandria.providers.calls import MEBIBYTE, Answer, Call, Meaning, Sender, Source, Verdict
from alexandria.providers.isbndb_answers import (
    MOST_RESULTS,
    BookBatch,
    BookPage,
    KeyStatus,
    Update,
    UpdatePage,
    read_batch,
    read_book,
    read_key,
    read_page,
    read_updates,
)
from alexandria.providers.isbndb_records import PROVIDER, Shapes, edition_facts
from alexandria.providers.isbndb_verdicts import Endpoint, read_answer

__all__ = [
    "MOST_RESULTS",
    "PAGE_SIZE",
    "PROVIDER",
    "BookBatch",
    "BookPage",
    "IsbndbProvider",
    "KeyStatus",
    "Update",
    "UpdatePage",
    "edition_facts",
]

log = structlog.get_logger()

PAGE_SIZE = 100
"""The cap of every search and name page (contracts/isbndb.md, section 11): one unit buys that many books."""
BULK_LIMIT = 1000
"""ISBNs in one bulk request on Premium and above; `/key` may name another (contracts/isbndb.md, section 3.2)."""
MOST_FEED_PAGE_SIZE = 1000
MOST_NAME_CHARACTERS = 150
"""Of a name or query in a path (contracts/isbndb.md, section 3)."""

Column = Literal["title", "author", "date_published", "subjects"]
"""Where `/books/{query}` looks; None: everywhere (contracts/isbndb.md, section 3.4)."""

_MOST_WAIT_SECONDS = {Lane.INTERACTIVE: 10.0, Lane.SCHEDULED: 120.0, Lane.BULK: 120.0}
"""Nobody in front of a page waits out a rate window."""
_BULK_SECONDS = 60.0
_BULK_BYTES = 64 * MEBIBYTE


class IsbndbProvider:
    """Asks ISBNdb. Every method raises what `Gateway.send` raises, and InvalidInput before anything is spent.

    `shapes` counts what answers held that the contract does not know.
    """

    def __init__(
        self, gateway: Sender, *, base_url: str, key: str | None, policy: Policy, bulk_limit: int = BULK_LIMIT
    ) -> None:
        """`base_url` may have a path prefix. Without a key everything but asking works; asking raises ConfigurationError."""
        self._gateway = gateway
        self._base_url = _read_base_url(base_url)
        self._key = key or ""
        self.source = Source(Account.of(PROVIDER, self._key), policy, self._read_answer, self._count)
        self.bulk_limit = bulk_limit
        self.shapes = Shapes()

    async def author_page(
        self,
        name: str,
        page: int,
        *,
        page_size: int = PAGE_SIZE,
        published_from: PartialDate | None = None,
        published_to: PartialDate | None = None,
        language: str | None = None,
        lane: Lane,
        consumer: str,
        job: str | None = None,
    ) -> BookPage:
        """One page of an author's books, for one unit. An unknown name is an empty page."""
        path = f"/author/{_segment('name', name)}"
        parameters = _dates_and_language(published_from, published_to, language)
        call = self._call(Endpoint.AUTHOR, path, lane, consumer, job, parameters | _paging(page, page_size))
        return read_page(await self._send(call), page, page_size, self.shapes)

    async def books_page(
        self,
        query: str,
        page: int,
        *,
        column: Column | None = None,
        page_size: int = PAGE_SIZE,
        published_from: PartialDate | None = None,
        published_to: PartialDate | None = None,
        language: str | None = None,
        lane: Lane,
        consumer: str,
        job: str | None = None,
    ) -> BookPage:
        """One page of a search, for one unit. New releases of a month: `query` "2026-11", `column` "date_published"."""
        path = f"/books/{_segment('query', query)}"
        parameters = _dates_and_language(published_from, published_to, language)
        parameters |= {"column": column} if column else {}
        call = self._call(Endpoint.BOOKS, path, lane, consumer, job, parameters | _paging(page, page_size))
        return read_page(await self._send(call), page, page_size, self.shapes)

    async def book(self, isbn: Isbn, *, lane: Lane, consumer: str, job: str | None = None) -> SourceRecord:
        """One book, for one unit. Raises RecordNotFound, which may be remembered for at most 24 hours."""
        _refuse_reserved(isbn)
        answer = await self._send(self._call(Endpoint.BOOK, f"/book/{isbn}", lane, consumer, job))
        return read_book(answer, isbn, self.shapes)

    async def books(
        self, isbns: Iterable[Isbn], *, lane: Lane, consumer: str, job: str | None = None
    ) -> BookBatch:
        """Many books, for one unit each whether known or not, in as many requests as the plan's limit makes necessary.

        What was paid for is never lost: an error after a part was answered comes back as `failure`, with the rest in
        `unasked`. Only an error before anything was answered is raised.
        """
        wanted = dict.fromkeys(isbns)
        junk = tuple(isbn for isbn in wanted if isbn.is_reserved)
        asked = [isbn for isbn in wanted if not isbn.is_reserved]
        batch = BookBatch(
            unasked=junk,
            dropped=tuple(Dropped(str(isbn), "unrelated books share this number") for isbn in junk),
        )
        chunks = deque(
            (asked[at : at + self.bulk_limit], True) for at in range(0, len(asked), self.bulk_limit)
        )
        has_answers = False
        while chunks:  # ends: a chunk is answered, or halved once, or ends it
            chunk, may_halve = chunks.popleft()
            try:
                batch = batch.and_then(await self._bulk(chunk, lane, consumer, job))
                has_answers = True
            except AlexandriaError as error:
                if (
                    may_halve
                    and len(chunk) > 1
                    and isinstance(error, ProviderUnavailable)
                    and error.status == 500
                ):
                    # An answer over 6 MB comes as a 500 (section 3.2).
                    middle = len(chunk) // 2
                    chunks.extendleft([(chunk[middle:], False), (chunk[:middle], False)])
                    continue
                if not has_answers:
                    raise
                rest = (*chunk, *(isbn for later, _ in chunks for isbn in later))
                return replace(batch, unasked=batch.unasked + rest, failure=error)
        return batch

    async def _bulk(self, isbns: list[Isbn], lane: Lane, consumer: str, job: str | None) -> BookBatch:
        body = msgspec.json.encode({"isbns": [str(isbn) for isbn in isbns]})
        call = self._call(Endpoint.BULK, "/books", lane, consumer, job)
        call = replace(
            call,
            method="POST",
            units=len(isbns),
            headers=(*call.headers, ("Content-Type", "application/json")),
            body=body,
            timeout_seconds=_BULK_SECONDS,
            most_bytes=_BULK_BYTES,
        )
        return read_batch(await self._send(call), isbns, self.shapes)

    async def key(self, *, lane: Lane, consumer: str, job: str | None = None) -> KeyStatus:
        """What the provider has counted today, for no units. A bulk limit that it names is used from then on."""
        call = replace(self._call(Endpoint.KEY, "/key", lane, consumer, job), units=0)
        status = read_key(await self._send(call), self.shapes)
        if status.bulk_limit:
            self.bulk_limit = status.bulk_limit
        return status

    async def _count(self, asked_at: datetime) -> Reading:
        """What the provider counts today, for the coordinator. Its Date says which day it speaks of."""
        status = await self.key(lane=Lane.INTERACTIVE, consumer=RECONCILER)
        if status.answered_at is None:
            raise ProviderUnavailable(PROVIDER, "its count came without a Date, so nobody knows of which day")
        policy = self.source.policy
        return Reading.of(
            policy,
            day=policy.days.of(status.answered_at),
            asked_at=asked_at,
            total=status.total,
            spent=status.spent,
            key_total=status.key_total,
            key_spent=status.key_spent,
        )

    async def updates(
        self,
        *,
        updated_since: date | None = None,
        cursor: str | None = None,
        page: int = 1,
        page_size: int = MOST_FEED_PAGE_SIZE,
        lane: Lane,
        consumer: str,
        job: str | None = None,
    ) -> UpdatePage:
        """One page of what was added or changed in the last 7 days, for no units.

        Raises ProviderRefused with status 403 when the plan lacks the feed: remember that for a day; the key is fine.
        """
        if not 1 <= page_size <= MOST_FEED_PAGE_SIZE:
            raise InvalidInput("page_size", page_size, f"must lie between 1 and {MOST_FEED_PAGE_SIZE:,}")
        parameters = {"pageSize": str(page_size)}
        if cursor:
            parameters["cursor"] = cursor
        else:
            parameters |= {"page": str(page)} | (
                {"lastUpdated": updated_since.isoformat()} if updated_since else {}
            )
        call = self._call(Endpoint.UPDATES, "/feeds/books/updates", lane, consumer, job, parameters)
        return read_updates(await self._send(replace(call, units=0)), page, page_size, self.shapes)

    def _call(
        self,
        endpoint: Endpoint,
        path: str,
        lane: Lane,
        consumer: str,
        job: str | None,
        parameters: Mapping[str, str] | None = None,
    ) -> Call:
        query = f"?{urlencode(parameters)}" if parameters else ""
        return Call(
            "GET",
            f"{self._base_url}{path}{query}",
            1,
            lane,
            consumer,
            headers=(("Authorization", self._key), ("Accept", "application/json")),
            job=job,
            endpoint=endpoint.value,
            most_wait_seconds=_MOST_WAIT_SECONDS[lane],
        )

    async def _send(self, call: Call) -> Answer:
        if not self._key:
            raise ConfigurationError("no ISBNdb key is set: ALEXANDRIA_ISBNDB_KEY must hold one")
        if not self._key.isascii() or not self._key.isprintable() or " " in self._key:
            raise ConfigurationError(
                "ALEXANDRIA_ISBNDB_KEY holds a blank or a character that no key has: copy it anew"
            )
        return await self._gateway.send(call, source=self.source)

    def _read_answer(self, call: Call, answer: Answer) -> Verdict:
        verdict = read_answer(call, answer)
        # The text goes into logs and the database, and a provider may well quote the key it refuses.
        verdict = replace(verdict, detail=verdict.detail.replace(self._key, "[key]"))
        if verdict.meaning is Meaning.REFUSED and answer.status != 403:
            # Requests are checked before they are sent: a defect of ours, or the contract has changed.
            log.error(
                "provider.request_refused",
                provider=PROVIDER,
                endpoint=call.endpoint,
                status=answer.status,
                said=verdict.detail,
            )
        return verdict


def _read_base_url(text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment or parts.username is not None:
        raise ConfigurationError("ALEXANDRIA_ISBNDB_URL must be an address such as https://api2.isbndb.com")
    return text.strip().rstrip("/")


def _segment(field: str, text: str) -> str:
    """A name or query as a path segment. Raises InvalidInput for what the provider would refuse, or misread, for a unit."""
    name = " ".join(text.split())
    if len(name) > MOST_NAME_CHARACTERS:
        raise InvalidInput(
            field, text, f"longer than {MOST_NAME_CHARACTERS} characters, which ISBNdb refuses"
        )
    if not any(each.isalnum() for each in name):
        raise InvalidInput(field, text, "holds no letter and no digit")
    try:
        return quote(name, safe="")
    except UnicodeEncodeError as error:
        raise InvalidInput(field, text, "holds half a character") from error


def _paging(page: int, page_size: int) -> dict[str, str]:
    if not 1 <= page_size <= PAGE_SIZE:
        raise InvalidInput("page_size", page_size, f"must lie between 1 and {PAGE_SIZE}")
    if page < 1 or (page - 1) * page_size >= MOST_RESULTS:
        raise InvalidInput(
            "page", page, f"must begin at 1 and before result {MOST_RESULTS:,}: split the query by date"
        )
    return {"page": str(page), "pageSize": str(page_size)}


def _dates_and_language(
    published_from: PartialDate | None, published_to: PartialDate | None, language: str | None
) -> dict[str, str]:
    given = {"publishedFrom": published_from, "publishedTo": published_to, "language": language}
    return {name: str(value) for name, value in given.items() if value is not None}


def _refuse_reserved(isbn: Isbn) -> None:
    if isbn.is_reserved:
        raise InvalidInput(
            "isbn", str(isbn), "unrelated books share this number: nothing found under it would be right"
        )
