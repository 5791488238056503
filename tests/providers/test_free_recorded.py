"""Answers of Open Library, Google Books and Wikidata as they were recorded, or as the contracts give them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alexandria.domain.catalogue import RecordKind, SourceRecord
from alexandria.domain.dates import PartialDate
from alexandria.domain.errors import ProviderRefused, QuotaDenied, QuotaExhausted, RecordNotFound
from alexandria.domain.isbn import Isbn
from alexandria.domain.quota import DenialReason, Lane
from alexandria.providers import google_books_records, openlibrary, wikidata_entities
from alexandria.providers.gateway import Gateway
from alexandria.providers.google_books import GoogleBooksProvider
from alexandria.providers.google_books_records import picture_url
from alexandria.providers.openlibrary_api import OpenLibraryProvider
from alexandria.providers.policies import POLICIES
from alexandria.providers.wikidata import WikidataProvider
from conftest import SetClock
from providers.conftest import RecordingQuota, ScriptedServer

RECORDED = Path(__file__).parents[1] / "recorded"
WHO: dict[str, Any] = {"lane": Lane.BULK, "consumer": "tests"}
PRIDE = Isbn("9780141439518")


def recorded(name: str, status: int = 200) -> web.Response:
    body = (RECORDED / f"{name}.json").read_bytes()
    return web.Response(status=status, body=body, content_type="application/json")


@pytest.fixture
async def gateway(recording_quota: RecordingQuota, clock: SetClock) -> AsyncIterator[Gateway]:
    async with Gateway(recording_quota, clock, contact="https://example.org/about") as gateway:
        yield gateway


@pytest.fixture
def library(gateway: Gateway, server: ScriptedServer) -> OpenLibraryProvider:
    return OpenLibraryProvider(gateway, base_url=server.url, policy=POLICIES["openlibrary"])


@pytest.fixture
def google(gateway: Gateway, server: ScriptedServer) -> GoogleBooksProvider:
    return GoogleBooksProvider(gateway, base_url=server.url, key="own-key", policy=POLICIES["google-books"])


@pytest.fixture
def wikidata(gateway: Gateway, server: ScriptedServer) -> WikidataProvider:
    return WikidataProvider(gateway, base_url=server.url, policy=POLICIES["wikidata"])


async def test_a_malformed_edition_costs_itself_and_a_wrong_one_is_refused(
    library: OpenLibraryProvider, server: ScriptedServer
) -> None:
    server.replies = [recorded("openlibrary/api_books_details")]
    malformed, wrong, deleted = Isbn("9780141439471"), Isbn("9780199535569"), Isbn("9780140430721")
    absent = Isbn("9780306406157")
    answers = await library.editions([PRIDE, malformed, wrong, deleted, absent], **WHO)
    assert (answers.unclear, answers.absent) == ((malformed, wrong, deleted), (absent,))
    assert [each.reason for each in answers.dropped] == [
        "no edition in the answer",
        "answered with OL9M, which does not bear this ISBN",
        "answered with OL10M, which does not bear this ISBN",
    ]
    record = answers.found[PRIDE]
    assert (record.key, record.provider) == ("/books/OL7352494M", "openlibrary")
    facts = openlibrary.edition_facts(record).facts
    assert (facts.title, facts.work_keys, facts.pages) == ("Pride and Prejudice", ("OL66554W",), 480)
    assert (facts.published, facts.language) == (PartialDate(2002, 12, 31), "eng")
    assert facts.cover_url == "https://covers.openlibrary.org/b/id/8231856-L.jpg?default=false"
    (asked,) = server.received
    assert asked.query["bibkeys"].startswith("ISBN:9780141439518,ISBN:9780141439471,")
    assert (asked.query["jscmd"], asked.query["format"]) == ("details", "json")
    assert "(+https://example.org/about)" in asked.headers["User-Agent"]
    assert "high_priority" not in asked.query  # a miss would start an import


async def test_an_author_that_was_deleted_is_absent_and_a_circle_ends(
    library: OpenLibraryProvider, server: ScriptedServer
) -> None:
    server.replies = [web.json_response({"key": "/authors/OL1A", "type": {"key": "/type/delete"}})]
    with pytest.raises(RecordNotFound):
        await library.author("OL1A", **WHO)
    redirect = {"type": {"key": "/type/redirect"}, "key": "/authors/OL1A", "location": "/authors/OL1A"}
    server.replies = [web.json_response(redirect)]
    with pytest.raises(Exception, match="circle"):
        await library.author("OL1A", **WHO)
    assert len(server.received) == 2


async def test_a_volume_of_google_is_read(google: GoogleBooksProvider, server: ScriptedServer) -> None:
    server.replies = [recorded("google_books/volumes")]
    answers = await google.editions([PRIDE], **WHO)
    record = answers.found[PRIDE]
    assert record.key == "KQZCPgAACAAJ"
    assert b"token" not in record.body
    reading = google_books_records.edition_facts(record)
    facts = reading.facts
    assert reading.dropped == ()
    assert facts.isbns == (PRIDE,)
    assert (facts.title, facts.publisher, facts.pages) == ("Pride and Prejudice", "Penguin UK", None)
    assert (facts.published, facts.language) == (PartialDate(2004, 11), "eng")
    assert [(each.name, each.role) for each in facts.contributions] == [("Jane Austen", None)]
    assert facts.synopsis == "A novel of manners."
    assert set(facts.identifiers) == {("google", "KQZCPgAACAAJ"), ("oclc", "49902116")}
    assert facts.cover_url == (
        "https://books.google.com/books/content?id=KQZCPgAACAAJ&printsec=frontcover&img=1&zoom=1&source=gbs_api"
    )
    (asked,) = server.received
    assert dict(asked.query) == {"q": "isbn:9780141439518", "maxResults": "5", "key": "own-key"}


async def test_another_book_under_the_number_is_refused(
    google: GoogleBooksProvider, server: ScriptedServer
) -> None:
    server.replies = [recorded("google_books/another_book")]
    asked = Isbn("9780521614030")
    answers = await google.editions([asked], **WHO)
    assert (dict(answers.found), answers.unclear, answers.absent) == ({}, (asked,), ())


@pytest.mark.parametrize(
    ("status", "error", "kind", "reason"),
    [
        (
            403,
            {"errors": [{"reason": "dailyLimitExceeded"}], "message": "Daily Limit"},
            QuotaExhausted,
            "exhausted",
        ),
        (400, {"message": "Quota exceeded for this project"}, QuotaExhausted, "exhausted"),
        (429, {"errors": [{"reason": "rateLimitExceeded"}], "message": "Slow down"}, QuotaDenied, "breaker"),
        (403, {"errors": [{"reason": "userRateLimitExceeded"}], "message": "Slow"}, QuotaDenied, "breaker"),
        (400, {"message": "Something new"}, QuotaDenied, "breaker"),
        (400, {"message": "API key not valid. own-key"}, ProviderRefused, None),
        (403, {"errors": [{"reason": "forbidden"}], "message": "Not yours"}, ProviderRefused, None),
        (400, {"errors": [{"reason": "invalidParameter"}], "message": "Bad"}, ProviderRefused, None),
    ],
)
async def test_no_error_of_google_is_a_miss(
    status: int,
    error: dict[str, Any],
    kind: type[Exception],
    reason: str | None,
    google: GoogleBooksProvider,
    server: ScriptedServer,
) -> None:
    server.replies = [web.json_response({"error": error | {"code": status}}, status=status)]
    answers = await google.editions([PRIDE], lane=Lane.INTERACTIVE, consumer="tests")
    assert type(answers.failure) is kind
    assert getattr(answers.failure, "reason", None) == reason or reason is None
    assert (answers.unasked, answers.absent) == ((PRIDE,), ())
    assert "own-key" not in str(answers.failure)


async def test_the_quota_of_the_day_as_captured(
    google: GoogleBooksProvider, server: ScriptedServer, recording_quota: RecordingQuota
) -> None:
    server.replies = [recorded("google_books/quota_of_the_day", 429)]
    answers = await google.editions([PRIDE], **WHO)
    assert isinstance(answers.failure, QuotaExhausted)
    assert [each[0] for each in recording_quota.stops] == [DenialReason.EXHAUSTED]


async def test_an_address_of_unknown_place_names_a_country(
    google: GoogleBooksProvider, server: ScriptedServer
) -> None:
    unknown = {
        "error": {
            "code": 403,
            "message": "Cannot determine user location",
            "errors": [{"reason": "unknownLocation"}],
        }
    }
    server.replies = [web.json_response(unknown, status=403), recorded("google_books/volumes")]
    answers = await google.editions([PRIDE], **WHO)
    assert list(answers.found) == [PRIDE]
    assert [each.query.get("country") for each in server.received] == [None, "US"]


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        (
            "http://books.google.com/books/content?id=x&zoom=1&edge=curl",
            "https://books.google.com/books/content?id=x&zoom=1",
        ),
        ("https://books.google.com/books/content?id=x&imgtk=AFLRE7", None),
        ("ftp://books.google.com/x", None),
        (
            "http://127.0.0.1:8781/google-books/content?id=x",
            "http://127.0.0.1:8781/google-books/content?id=x",
        ),
    ],
)
def test_a_pictures_address_is_upright_and_without_tokens(link: str, kept: str | None) -> None:
    assert picture_url(link) == kept


@pytest.mark.parametrize(
    ("information", "dropped"),
    [
        ({"publishedDate": "19??"}, "publishedDate"),
        ({"publishedDate": 1999}, "publishedDate"),
        ({"authors": "Jane Austen"}, "authors"),
        ({"authors": [None, "1861-"]}, "authors"),
        (
            {"industryIdentifiers": [{"type": "ISBN_13", "identifier": "9780141439519"}]},
            "industryIdentifiers",
        ),
        ({"pageCount": "many"}, "pageCount"),
        ({"language": "klingon tongue"}, "language"),
        ({"imageLinks": {"thumbnail": "javascript:alert(1)"}}, "imageLinks.thumbnail"),
    ],
)
def test_a_bad_member_of_a_volume_costs_itself(
    information: dict[str, Any], dropped: str, clock: SetClock
) -> None:
    volume = {"id": "x", "volumeInfo": {"title": "Emma"} | information}
    record = google_books_records.read_record(volume, "items[0]", clock.now())
    assert isinstance(record, SourceRecord)
    reading = google_books_records.edition_facts(record)
    assert reading.facts.title == "Emma"
    assert {each.place for each in reading.dropped} == {f"x {dropped}"}


async def test_entities_of_wikidata_are_read(wikidata: WikidataProvider, server: ScriptedServer) -> None:
    server.replies = [recorded("wikidata/entities")]
    answers = await wikidata.entities(["Q36322", "Q2", "Q3"], **WHO)
    assert (answers.absent, answers.unclear) == (("Q2",), ("Q3",))
    (record,) = answers.records
    assert (record.kind, record.key) == (RecordKind.AUTHOR, "Q36322")
    assert b"P2002" not in record.body
    facts = wikidata_entities.author_facts(record).facts
    assert (facts.name, facts.birth_year, facts.death_year) == ("Jane Austen", 1775, None)
    # Neither the name itself in another order, nor a fragment that others are meant by as well.
    assert set(facts.other_names) == {"Джейн Остин", "J. Austen"}
    assert set(facts.identifiers) == {
        ("wikidata", "Q36322"),
        ("openlibrary", "OL21594A"),
        ("isni", "0000000122832703"),
    }


@pytest.mark.parametrize(
    "claims",
    [
        {"P31": []},
        {
            "P31": [
                {"rank": "normal", "mainsnak": {"snaktype": "value", "datavalue": {"value": {"id": "Q3918"}}}}
            ]
        },
        {"P31": "Q5"},
        {"P31": [None, {"mainsnak": None}, {"rank": "normal", "mainsnak": {"snaktype": "value"}}]},
    ],
)
def test_what_is_no_human_being_is_nobody(claims: dict[str, Any], clock: SetClock) -> None:
    entity = {"id": "Q1", "labels": {"en": {"value": "Jane Austen"}}, "claims": claims}
    record = wikidata_entities.read_record(entity, "Q1", clock.now())
    assert isinstance(record, SourceRecord)
    assert wikidata_entities.author_facts(record).facts.name == ""


@pytest.mark.parametrize("code", ["maxlag", "ratelimited"])
async def test_an_error_with_status_200_is_no_answer(
    code: str, wikidata: WikidataProvider, server: ScriptedServer
) -> None:
    server.replies = [web.json_response({"error": {"code": code, "info": "..."}})]
    with pytest.raises(QuotaDenied):
        await wikidata.entities(["Q1"], lane=Lane.INTERACTIVE, consumer="tests")
