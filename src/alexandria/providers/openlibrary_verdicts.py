"""What the statuses of Open Library's answers mean for the caller and for everybody behind our address (contracts/openlibrary.md, 3, 5, 6)."""

from enum import StrEnum

from alexandria.providers.calls import Answer, Call, Meaning, Verdict
from alexandria.providers.isbndb_verdicts import decode
from alexandria.providers.ratelimit import read_retry_after


class Endpoint(StrEnum):
    """The kinds of request that we make."""

    BOOKS = "books"
    SEARCH = "search"
    AUTHOR_SEARCH = "author_search"
    AUTHOR = "author"


_MEMBERS = {Endpoint.SEARCH: "docs", Endpoint.AUTHOR_SEARCH: "docs", Endpoint.AUTHOR: "type"}
"""What must be in a 200. `/api/books` may be empty: `{}` is also what an internal failure looks like (section 3.1)."""


def read_answer(call: Call, answer: Answer) -> Verdict:
    """What an answer means. Every answer costs nothing but its slot."""
    status = answer.status
    wait = read_retry_after(answer.line("retry-after"), answer.received_at)
    if status == 200:
        return _read_content(Endpoint(call.endpoint), answer)
    if status == 404 and call.endpoint == Endpoint.AUTHOR:
        return _verdict(Meaning.ABSENT, "there is no such author")
    if status == 403:
        # Never a miss: it is the caller that is refused (section 6; hard-cases.md, E7).
        return _verdict(
            Meaning.SUSPENDED,
            "blocked by policy (403): see that ALEXANDRIA_CONTACT names a page or address of yours, then `alexandria quota resume --provider openlibrary`",
        )
    if status == 429:
        # No Retry-After is configured there; the gateway's minute is then what the contract asks for (section 5).
        return Verdict(Meaning.PAUSED, "too many requests from this address", wait=wait, is_certain=True)
    if 300 <= status < 500 and status != 408:
        return _verdict(Meaning.REFUSED, f"refused the request with {status}")
    return Verdict(Meaning.FAILED, f"answered with {status}", wait=wait, is_certain=True)


def _read_content(endpoint: Endpoint, answer: Answer) -> Verdict:
    content = decode(answer.body)
    if content is None:
        # An internal failure was answered 200 with the text of an exception (section 3).
        return Verdict(Meaning.FAILED, "answered with 200, but not with a whole JSON object", most_retries=1)
    member = _MEMBERS.get(endpoint)
    if member and member not in content:
        return Verdict(Meaning.FAILED, f"answered with 200, but without {member!r}", most_retries=1)
    return _verdict(Meaning.DELIVERED, "")


def _verdict(meaning: Meaning, detail: str) -> Verdict:
    return Verdict(meaning, detail, is_certain=True)
