"""Google Books: one look-up for each ISBN, with the user's own key (contracts/google-books.md).

A hit counts only when one of its own identifiers is the ISBN that was asked for: `q=isbn:` answers with other books, too.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlencode

import structlog

from alexandria.domain.catalogue import Dropped, SourceRecord
from alexandria.domain.errors import ProviderError, ProviderRefused, ProviderUnavailable, QuotaDenied
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import Account, Lane, Policy
from alexandria.providers.calls import Answer, Call, Meaning, Sender, Source, Verdict
from alexandria.providers.google_books_records import PROVIDER, edition_facts, isbns_of, read_record
from alexandria.providers.isbn_answers import IsbnAnswers
from alexandria.providers.isbndb_verdicts import decode, read_count
from alexandria.providers.ratelimit import read_retry_after

__all__ = ["PROVIDER", "GoogleBooksProvider", "edition_facts"]

log = structlog.get_logger()

_MOST_WAIT_SECONDS = {Lane.INTERACTIVE: 5.0, Lane.SCHEDULED: 90.0, Lane.BULK: 90.0}
_MOST_DETAIL_CHARACTERS = 300
_UNKNOWN_LOCATION = "unknownLocation"


class GoogleBooksProvider:
    """Asks Google Books. There is no source without a key: the pool that everybody shares is empty most of the time (section 4)."""

    def __init__(self, gateway: Sender, *, base_url: str, key: str, policy: Policy) -> None:
        self._gateway = gateway
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._country: str | None = None
        self.source = Source(Account.of(PROVIDER, key), policy, self._read_answer)

    async def editions(
        self, isbns: Iterable[Isbn], *, lane: Lane, consumer: str, job: str | None = None
    ) -> IsbnAnswers:
        """The volumes that bear these ISBNs, for one unit each. A failure is in the answers, with what was not asked because of it.

        Only StoreUnavailable is raised. A book that Google finds by full text only (hard-cases.md, E4) is not found.
        """
        wanted = tuple(dict.fromkeys(isbns))
        answers = IsbnAnswers.shared_numbers(tuple(isbn for isbn in wanted if isbn.is_reserved))
        asked = [isbn for isbn in wanted if not isbn.is_reserved]
        for place, isbn in enumerate(asked):
            try:
                answers = answers.and_then(await self._edition(isbn, lane, consumer, job))
            except ProviderUnavailable as error:
                # Ends: a source that is down is denied by the coordinator's breaker after a few of these.
                answers = answers.and_then(IsbnAnswers(unclear=(isbn,), failure=error))
            except (ProviderError, QuotaDenied) as error:
                return answers.and_then(IsbnAnswers(unasked=tuple(asked[place:]), failure=error))
        return answers

    async def _edition(self, isbn: Isbn, lane: Lane, consumer: str, job: str | None) -> IsbnAnswers:
        try:
            answer = await self._ask(isbn, lane, consumer, job)
        except ProviderRefused as error:
            if _UNKNOWN_LOCATION not in error.reason or self._country:
                raise
            # The cure of section 4, for addresses of which Google does not know the place.
            self._country = "US"
            answer = await self._ask(isbn, lane, consumer, job)
        return _read_volumes(answer, isbn)

    async def _ask(self, isbn: Isbn, lane: Lane, consumer: str, job: str | None) -> Answer:
        parameters = {"q": f"isbn:{isbn}", "maxResults": "5", "key": self._key}
        if self._country:
            parameters["country"] = self._country
        call = Call(
            "GET",
            f"{self._base_url}/books/v1/volumes?{urlencode(parameters)}",
            1,
            lane,
            consumer,
            headers=(("Accept", "application/json"),),
            job=job,
            endpoint="volumes",
            most_wait_seconds=_MOST_WAIT_SECONDS[lane],
        )
        return await self._gateway.send(call, source=self.source)

    def _read_answer(self, call: Call, answer: Answer) -> Verdict:
        verdict = read_answer(call, answer)
        # The text goes into logs and the database, and a provider may well quote the key it refuses.
        return replace(verdict, detail=verdict.detail.replace(self._key, "[key]"))


def _read_volumes(answer: Answer, isbn: Isbn) -> IsbnAnswers:
    content = decode(answer.body) or {}
    items = content.get("items")
    items = items if isinstance(items, list) else []
    if not items:
        # "totalItems" is an estimate; above 0 without any item it is no answer either way (hard-cases.md, E3).
        is_absent = read_count(content.get("totalItems")) == 0
        return IsbnAnswers(absent=(isbn,)) if is_absent else IsbnAnswers(unclear=(isbn,))
    dropped: list[Dropped] = []
    for number, item in enumerate(items):
        read = read_record(item, f"{isbn} items[{number}]", answer.received_at)
        if isinstance(read, SourceRecord):
            if isbn in isbns_of(read):
                return IsbnAnswers({isbn: read}, dropped=tuple(dropped))
            # Another book, or one that doesn't say which it is (hard-cases.md, E1 and E2).
            read = Dropped(str(isbn), f"answered with {read.key}, which does not bear this ISBN")
        dropped.append(read)
    return IsbnAnswers(unclear=(isbn,), dropped=tuple(dropped))


_DAY_WORDS = ("per day", "daily", "defaultperday")
_QUOTA_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"})
_KEY_REASONS = frozenset({"keyInvalid", "keyExpired", "API_KEY_INVALID", "accessNotConfigured", "forbidden"})


def read_answer(call: Call, answer: Answer) -> Verdict:
    """What an answer means for everybody who uses the key (contracts/google-books.md, section 4)."""
    del call
    content = decode(answer.body)
    status = answer.status
    if status == 200:
        if content is None or "totalItems" not in content:
            return Verdict(
                Meaning.FAILED, "answered with 200, but not with a list of volumes", most_retries=1
            )
        return Verdict(Meaning.DELIVERED, is_certain=True)
    reasons, said = _read_error(content)
    wait = read_retry_after(answer.line("retry-after"), answer.received_at)
    if status in {400, 403, 429} and (verdict := _read_limit(status, reasons, said)):
        return replace(verdict, wait=wait if verdict.wait is None else verdict.wait)
    if status in {401, 403} or reasons & _KEY_REASONS or "api key" in said.lower():
        # A key without the right, or one that is bound to another address: the user must look.
        return Verdict(
            Meaning.SUSPENDED,
            f"the key is refused with {status} ({said}): check the key and its restrictions, then `alexandria quota resume --provider google-books`",
        )
    if status == 400 and not reasons & {"invalidParameter", "invalid"}:
        # May be a quota in another form: the source rests, and nothing is taken for absent (section 4).
        return Verdict(Meaning.PAUSED, f"an unknown 400 ({said})", wait=timedelta(hours=1))
    if 300 <= status < 500 and status != 408:
        log.error("provider.request_refused", provider=PROVIDER, status=status, said=said)
        return Verdict(Meaning.REFUSED, f"refused the request with {status} ({said})")
    return Verdict(Meaning.FAILED, f"answered with {status} ({said})", wait=wait)


def _read_limit(status: int, reasons: frozenset[str], said: str) -> Verdict | None:
    """Which limit an error speaks of; None when it speaks of none."""
    if _UNKNOWN_LOCATION in reasons:
        return Verdict(Meaning.REFUSED, f"{_UNKNOWN_LOCATION}: {said}")
    text = said.lower()
    if "dailyLimitExceeded" in reasons or ("quota" in text and any(word in text for word in _DAY_WORDS)):
        return Verdict(Meaning.EXHAUSTED, said)
    if status == 400:
        # A used-up key was answered so (hard-cases.md, E6).
        return Verdict(Meaning.EXHAUSTED, said) if "quota" in text else None
    if "userRateLimitExceeded" in reasons or "per minute" in text:
        return Verdict(Meaning.PAUSED, said)
    if status == 429 or reasons & _QUOTA_REASONS:
        # It does not say which window is empty: the minute's first, the day's when it comes again after the wait.
        return Verdict(Meaning.LIMITED, said)
    return None


def _read_error(content: dict[str, object] | None) -> tuple[frozenset[str], str]:
    """The reasons and the text of an error body; both may be missing."""
    error = content.get("error") if content else None
    if not isinstance(error, dict):
        return frozenset(), "no reason given"
    listed = error.get("errors")
    details = error.get("details")
    items = [*(listed if isinstance(listed, list) else []), *(details if isinstance(details, list) else [])]
    reasons = {item.get("reason") for item in items if isinstance(item, dict)}
    message = error.get("message")
    said = (
        " ".join(message.split())[:_MOST_DETAIL_CHARACTERS] if isinstance(message, str) else "no reason given"
    )
    return frozenset(each for each in reasons if isinstance(each, str)), said
