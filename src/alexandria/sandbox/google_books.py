"""The stand-in Google Books: `volumes?q=isbn:...` with its wrong hits, its missing members and its quotas (contracts/google-books.md)."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from alexandria.domain.isbn import InvalidIsbn, Isbn
from alexandria.sandbox import identities
from alexandria.sandbox.accounts import Accounts
from alexandria.sandbox.stand_ins import Bucket, Given, given_json
from alexandria.sandbox.truth import Edition
from alexandria.sandbox.vocabulary import LANGUAGES
from alexandria.sandbox.world import World

GOOGLE_KEY = "sandbox-google-key"
"""The one key that is known."""
DAILY_LIMIT = 1_000
"""Requests a day of an own key (section 4)."""

_NOTHING = {"kind": "books#volumes", "totalItems": 0}
_DAY = "Quota exceeded for quota metric 'Queries' and limit 'Queries per day' of service 'books.googleapis.com' for consumer 'project_number:000000000000'."
_MINUTE = _DAY.replace("per day", "per minute")


def google_bucket() -> Bucket:
    """100 a minute with a key, ours: the contract has no figure."""
    return Bucket(rate=100 / 60, burst=20)


class GoogleBooks:
    """Its volumes, and what its key has used today, Pacific time."""

    def __init__(self, world: World, accounts: Accounts) -> None:
        self.daily_limit = DAILY_LIMIT
        self.pictures_url = ""
        """Where thumbnails lie: set when the covers host listens."""
        self._accounts = accounts
        self._editions = {
            each.isbn.digits: each
            for each in world.truth.editions.values()
            if each.isbn and identities.is_in_google(each)
        }
        self._order = sorted(self._editions)
        self._used: Counter[date] = Counter()

    def refuse(self, user_agent: str, query: Mapping[str, str]) -> Given | None:
        """A key that is not known, and the pool of those without one, which is always empty."""
        del user_agent
        key = query.get("key")
        if key is None:
            return _error(429, _DAY, "rateLimitExceeded", "RESOURCE_EXHAUSTED", limit_value="0")
        if key != GOOGLE_KEY:
            text = "API key not valid. Please pass a valid API key."
            return _error(400, text, "badRequest", "INVALID_ARGUMENT")
        today = self._accounts.now(self._accounts.switches).astimezone(ZoneInfo("America/Los_Angeles")).date()
        if self._used[today] >= self.daily_limit:
            return _error(429, _DAY, "rateLimitExceeded", "RESOURCE_EXHAUSTED")
        self._used[today] += 1
        return None

    def limited(self, wait_seconds: int) -> Given:
        """Too many in a minute."""
        del wait_seconds
        return _error(429, _MINUTE, "rateLimitExceeded", "RESOURCE_EXHAUSTED")

    def emptied(self, given: Given) -> Given:
        """Hits that are counted and not shown (hard-cases.md, E3)."""
        del given
        return given_json(_NOTHING | {"totalItems": 3}, units=1)

    def answer(self, path: str, query: Mapping[str, str]) -> Given:
        """The answer to a GET."""
        if path != "/books/v1/volumes":
            return _error(404, "The volume ID could not be found.", "notFound", "NOT_FOUND")
        text = query.get("q", "")
        if not text:
            return _error(400, "Missing query.", "queryRequired", "INVALID_ARGUMENT")
        try:
            isbn = Isbn.parse(text.removeprefix("isbn:")).digits
        except InvalidIsbn:
            return given_json(_NOTHING, units=1)
        match identities.google_quirk(isbn):
            case 0 | 1 if self._order:
                # Another book under this number (E1).
                other = self._order[int(isbn[-6:-1]) % len(self._order)]
                return self._hit(other) if other != isbn else given_json(_NOTHING, units=1)
            case 2 | 3 if isbn in self._editions:
                return self._hit(isbn, with_identifiers=False)
            case 4:
                return given_json(_NOTHING | {"totalItems": 1}, units=1)
        return self._hit(isbn) if isbn in self._editions else given_json(_NOTHING, units=1)

    def _hit(self, isbn: str, *, with_identifiers: bool = True) -> Given:
        volume = self._volume(self._editions[isbn])
        if not with_identifiers:
            del volume["volumeInfo"]["industryIdentifiers"]
        return given_json({"kind": "books#volumes", "totalItems": 1, "items": [volume]}, units=1)

    def _volume(self, edition: Edition) -> dict[str, Any]:
        key, isbn = identities.google_id(edition), edition.isbn
        ten = isbn.to_10() if isbn else None
        picture = f"{self.pictures_url}/google-books/content?id={key}&printsec=frontcover&img=1"
        members: dict[str, Any] = {
            "title": edition.title,
            "subtitle": edition.subtitle,
            "authors": list(edition.authors),
            "publisher": f'"{edition.publisher}"' if len(key) % 7 == 0 else edition.publisher,
            "publishedDate": str(edition.published) if edition.published else "19??",
            "description": edition.synopsis,
            "industryIdentifiers": [
                {"type": "ISBN_13", "identifier": isbn.digits if isbn else ""},
                *([{"type": "ISBN_10", "identifier": ten}] if ten else []),
            ],
            "pageCount": edition.pages or 0,
            "printType": "BOOK",
            "categories": list(edition.subjects[:1]),
            "maturityRating": "NOT_MATURE",
            "language": _short(edition.language),
            "imageLinks": {
                "smallThumbnail": f"{picture}&zoom=5&edge=curl&source=gbs_api",
                "thumbnail": f"{picture}&zoom=1&edge=curl&source=gbs_api",
            },
        }
        return {
            "kind": "books#volume",
            "id": key,
            "etag": f"{len(edition.title)}/{key}",
            "selfLink": f"https://www.googleapis.com/books/v1/volumes/{key}",
            "volumeInfo": {name: value for name, value in members.items() if value not in (None, [], "")},
            "saleInfo": {"country": "US", "saleability": "NOT_FOR_SALE", "isEbook": False},
            "accessInfo": {"country": "US", "viewability": "NO_PAGES"},
        }


def _short(language: str | None) -> str:
    """The two letters that Google writes; "un" where it does not know."""
    known = LANGUAGES.get(language or "")
    return known.short if known else "un"


def _error(status: int, message: str, reason: str, name: str, *, limit_value: str = "1000") -> Given:
    metadata = {"service": "books.googleapis.com", "quota_limit_value": limit_value}
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "metadata": metadata}]
    error = {
        "code": status,
        "message": message,
        "errors": [{"message": message, "domain": "global", "reason": reason}],
        "status": name,
    }
    return given_json({"error": error | ({"details": details} if status == 429 else {})}, status)
