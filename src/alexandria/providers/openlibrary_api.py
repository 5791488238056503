"""Open Library's API: editions of many ISBNs, and the works and authors that they name, in few requests (contracts/openlibrary.md, 3).

Open Library asks for about 25 ISBNs in a request and against one request for each hit (sections 3.2 and 3.3). So works and authors
come from its search, many in one request; only what the search lacks, an author's `remote_ids`, is asked one by one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import msgspec

from alexandria.domain.catalogue import Dropped, RecordKind, SourceRecord
from alexandria.domain.errors import (
    ConfigurationError,
    InvalidInput,
    ProviderError,
    ProviderUnavailable,
    QuotaDenied,
    RecordNotFound,
)
from alexandria.domain.isbn import Isbn, read_isbns
from alexandria.domain.quota import Account, Lane, Policy
from alexandria.providers.calls import Answer, Call, Sender, Source
from alexandria.providers.isbn_answers import IsbnAnswers
from alexandria.providers.isbndb_verdicts import decode, read_count
from alexandria.providers.openlibrary import PROVIDER
from alexandria.providers.openlibrary_members import read_key
from alexandria.providers.openlibrary_records import edition_facts
from alexandria.providers.openlibrary_verdicts import Endpoint, read_answer

ISBNS_IN_A_REQUEST = 25
"""What the maintainers advise (contracts/openlibrary.md, section 3.2)."""
KEYS_IN_A_REQUEST = 50
"""Of a search by keys; the query stays below two kilobytes, which every server on the way takes."""
MOST_MOVES = 5
"""Records that were merged point to each other in chains, and sometimes in circles (hard-cases.md, D21)."""

_WORK_FIELDS = "key,title,subtitle,author_key,first_publish_year"
_AUTHOR_FIELDS = "key,name,alternate_names,birth_date,death_date,date"

_MOST_WAIT_SECONDS = {Lane.INTERACTIVE: 10.0, Lane.SCHEDULED: 120.0, Lane.BULK: 120.0}
"""Nobody in front of a page waits out a pause."""


@dataclass(frozen=True, slots=True)
class KeyAnswers:
    """What asking for works or authors by their keys came to; `missing` are not in the search, which lags behind."""

    records: tuple[SourceRecord, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthorAnswer:
    """An author's document; under another key than asked when the two were merged."""

    key: str
    record: SourceRecord


class OpenLibraryProvider:
    """Asks Open Library. Methods raise what `Gateway.send` raises unless they say otherwise.

    The gateway names the operator in the User-Agent, and sends nothing while no contact is set (section 6).
    """

    def __init__(self, gateway: Sender, *, base_url: str, policy: Policy) -> None:
        self._gateway = gateway
        self._base_url = base_url.rstrip("/")
        self.source = Source(Account.of(PROVIDER, ""), policy, read_answer)

    async def editions(
        self, isbns: Iterable[Isbn], *, lane: Lane, consumer: str, job: str | None = None
    ) -> IsbnAnswers:
        """The editions that bear these ISBNs, 25 to a request. A failure is in the answers, with what was not asked because of it.

        Only StoreUnavailable is raised: without the coordinator nobody may be asked.
        """
        wanted = tuple(dict.fromkeys(isbns))
        answers = IsbnAnswers.shared_numbers(tuple(isbn for isbn in wanted if isbn.is_reserved))
        asked = [isbn for isbn in wanted if not isbn.is_reserved]
        for at in range(0, len(asked), ISBNS_IN_A_REQUEST):
            chunk = asked[at : at + ISBNS_IN_A_REQUEST]
            try:
                answers = answers.and_then(await self._editions(chunk, lane, consumer, job))
            except (ProviderError, QuotaDenied, ConfigurationError) as error:
                return answers.and_then(IsbnAnswers(unasked=tuple(asked[at:]), failure=error))
        return answers

    async def _editions(
        self, isbns: Sequence[Isbn], lane: Lane, consumer: str, job: str | None
    ) -> IsbnAnswers:
        parameters = {
            "bibkeys": ",".join(f"ISBN:{isbn}" for isbn in isbns),
            "jscmd": "details",
            "format": "json",
        }
        answer = await self._send(Endpoint.BOOKS, "/api/books", lane, consumer, job, parameters)
        content = decode(answer.body) or {}
        found: dict[Isbn, SourceRecord] = {}
        dropped: list[Dropped] = []
        missing: list[Isbn] = []
        unclear: list[Isbn] = []
        for isbn in isbns:
            item = content.get(f"ISBN:{isbn}")
            read = _read_edition(item, isbn, answer) if item is not None else None
            match read:
                case None:
                    missing.append(isbn)
                case Dropped():
                    unclear.append(isbn)
                    dropped.append(read)
                case SourceRecord():
                    found[isbn] = read
        if missing and not content:
            # An internal failure looks the same (hard-cases.md, E8): only what the search does not know either is absent.
            known = await self._search_isbns(missing, lane, consumer, job)
            unclear += [isbn for isbn in missing if isbn in known]
            missing = [isbn for isbn in missing if isbn not in known]
        return IsbnAnswers(found, tuple(missing), tuple(unclear), dropped=tuple(dropped))

    async def _search_isbns(
        self, isbns: Sequence[Isbn], lane: Lane, consumer: str, job: str | None
    ) -> set[Isbn]:
        """Which of these ISBNs the search knows. Raises ProviderUnavailable for an answer that does not say how many it found."""
        parameters = {
            "q": f"isbn:({' OR '.join(map(str, isbns))})",
            "fields": "key,isbn",
            "limit": str(4 * len(isbns)),
        }
        answer = await self._send(Endpoint.SEARCH, "/search.json", lane, consumer, job, parameters)
        content = decode(answer.body) or {}
        docs = [doc for doc in _docs(content) if isinstance(doc, dict)]
        found = read_count(content.get("numFound"))
        if found is None or found > len(docs):
            raise ProviderUnavailable(PROVIDER, "the search did not show all that it found", status=200)
        numbers = {isbn for doc in docs for isbn in _isbns_of(doc)}
        # A hit that shows none of the numbers proves that one of them is known, but not which.
        return numbers if numbers or not docs else set(isbns)

    async def works(
        self, keys: Iterable[str], *, lane: Lane, consumer: str, job: str | None = None
    ) -> KeyAnswers:
        """Works by key (`OL45804W`) with their titles and authors, as the search shows them, 50 to a request."""
        return await self._by_keys(
            Endpoint.SEARCH,
            "/search.json",
            RecordKind.WORK,
            keys,
            _WORK_FIELDS,
            lane=lane,
            consumer=consumer,
            job=job,
        )

    async def authors(
        self, keys: Iterable[str], *, lane: Lane, consumer: str, job: str | None = None
    ) -> KeyAnswers:
        """Authors by key (`OL23919A`) with their names and years, as the search shows them, 50 to a request."""
        return await self._by_keys(
            Endpoint.AUTHOR_SEARCH,
            "/search/authors.json",
            RecordKind.AUTHOR,
            keys,
            _AUTHOR_FIELDS,
            lane=lane,
            consumer=consumer,
            job=job,
        )

    async def _by_keys(
        self,
        endpoint: Endpoint,
        path: str,
        kind: RecordKind,
        keys: Iterable[str],
        fields: str,
        *,
        lane: Lane,
        consumer: str,
        job: str | None,
    ) -> KeyAnswers:
        folder, letter = ("works", "W") if kind is RecordKind.WORK else ("authors", "A")
        wanted = [_checked(key, letter) for key in dict.fromkeys(keys)]
        records: dict[str, SourceRecord] = {}
        for at in range(0, len(wanted), KEYS_IN_A_REQUEST):
            chunk = wanted[at : at + KEYS_IN_A_REQUEST]
            query = " OR ".join(f"/{folder}/{key}" for key in chunk)
            parameters = {"q": f"key:({query})", "fields": fields, "limit": str(len(chunk))}
            answer = await self._send(endpoint, path, lane, consumer, job, parameters)
            for doc in _docs(decode(answer.body) or {}):
                key = _key_of(doc, letter)
                if key in chunk:
                    # Under a name of its own: what the search shows is less than the document, which may be kept as well.
                    name = f"/search/{folder}/{key}"
                    records[key] = SourceRecord(PROVIDER, kind, name, _encode(doc), answer.received_at)
        return KeyAnswers(tuple(records.values()), tuple(key for key in wanted if key not in records))

    async def author(self, key: str, *, lane: Lane, consumer: str, job: str | None = None) -> AuthorAnswer:
        """An author's document, which alone has `remote_ids`; one request, and one more for each time the record was merged.

        Raises RecordNotFound also for an author who was deleted, ProviderUnavailable for a circle of merged records.
        """
        key, seen = _checked(key, "A"), set[str]()
        while key not in seen and len(seen) <= MOST_MOVES:
            seen.add(key)
            answer = await self._send(Endpoint.AUTHOR, f"/authors/{quote(key)}.json", lane, consumer, job)
            document = decode(answer.body) or {}
            kind = document.get("type")
            kind = kind.get("key") if isinstance(kind, dict) else kind
            if kind == "/type/author":
                record = SourceRecord(
                    PROVIDER, RecordKind.AUTHOR, f"/authors/{key}", _encode(document), answer.received_at
                )
                return AuthorAnswer(key, record)
            moved_to = read_key(str(document.get("location")), "A") if kind == "/type/redirect" else None
            if moved_to is None:
                if kind in {"/type/delete", "/type/redirect"}:
                    raise RecordNotFound(PROVIDER, f"{key} was deleted, or became no author", status=200)
                raise ProviderUnavailable(PROVIDER, f"{key} is no author but {kind!r}", status=200)
            key = moved_to
        raise ProviderUnavailable(PROVIDER, f"merged records lead in a circle, at {key}", status=200)

    async def _send(
        self,
        endpoint: Endpoint,
        path: str,
        lane: Lane,
        consumer: str,
        job: str | None,
        parameters: Mapping[str, str] | None = None,
    ) -> Answer:
        query = f"?{urlencode(parameters)}" if parameters else ""
        call = Call(
            "GET",
            f"{self._base_url}{path}{query}",
            1,
            lane,
            consumer,
            headers=(("Accept", "application/json"),),
            job=job,
            endpoint=endpoint.value,
            most_wait_seconds=_MOST_WAIT_SECONDS[lane],
        )
        return await self._gateway.send(call, source=self.source)


def _read_edition(item: object, isbn: Isbn, answer: Answer) -> SourceRecord | Dropped:
    """The edition in one member of `/api/books`; dropped when it is none, or another one than was asked for."""
    details = item.get("details") if isinstance(item, dict) else None
    if not isinstance(details, dict):
        return Dropped(str(isbn), "no edition in the answer")
    key = _key_of(details, "M")
    if key is None:
        return Dropped(str(isbn), "an edition without a key")
    record = SourceRecord(PROVIDER, RecordKind.EDITION, f"/books/{key}", _encode(details), answer.received_at)
    if isbn not in edition_facts(record).facts.isbns:
        return Dropped(str(isbn), f"answered with {key}, which does not bear this ISBN")
    return record


def _docs(content: Mapping[str, object]) -> list[object]:
    docs = content.get("docs")
    return docs if isinstance(docs, list) else []


def _key_of(document: object, letter: str) -> str | None:
    key = document.get("key") if isinstance(document, dict) else None
    return read_key(key, letter) if isinstance(key, str) else None


def _isbns_of(doc: Mapping[str, object]) -> Iterable[Isbn]:
    numbers = doc.get("isbn")
    return read_isbns(numbers if isinstance(numbers, list) else ())[0]


def _checked(key: str, letter: str) -> str:
    """A key fit to be a part of a path or query. Raises InvalidInput."""
    read = read_key(key, letter)
    if read is None:
        raise InvalidInput("key", key, f"must have the form OL1{letter}")
    return read


def _encode(document: object) -> bytes:
    """Members sorted, so that an answer that says the same has the same bytes."""
    return msgspec.json.encode(document, order="deterministic")
