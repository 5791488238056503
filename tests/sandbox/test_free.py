"""The stand-ins for sources without paid units: whom they refuse, what they limit, and what they answer to the unknown."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from alexandria.sandbox import identities
from alexandria.sandbox.faults import FaultKind
from alexandria.sandbox.google_books import GOOGLE_KEY
from alexandria.sandbox.truth import CoverKind
from alexandria.sandbox.world import World
from conftest import SetClock
from sandbox.asking import CLEAN, Asker, Got, asking, digits

NAMED = {"User-Agent": "Tests/1 (+https://example.org/about)"}


async def get(ask: Asker, url: str, **query: object) -> Got:
    return await ask.send("GET", f"{url}?{urlencode(query)}" if query else url, headers=NAMED)


def known(world: World) -> Any:
    return next(each for each in world.truth.editions.values() if identities.is_in_openlibrary(each))


async def test_who_names_no_contact_is_refused(ask: Asker) -> None:
    nameless = {"User-Agent": "Tests/1"}
    for url in (f"{ask.sandbox.openlibrary_url}/authors/OL1A.json", f"{ask.sandbox.wikidata_url}/w/api.php"):
        assert (await ask.send("GET", url, headers=nameless)).status == 403


async def test_twenty_six_at_once_are_let_in_and_three_a_second_then(world: World) -> None:
    clock = SetClock()
    async with asking(world, CLEAN, clock=clock) as ask:
        url = f"{ask.sandbox.openlibrary_url}/search.json"

        async def burst(count: int) -> list[int]:
            return [(await get(ask, url, q="key:(/works/OL1W)")).status for _ in range(count)]

        assert await burst(28) == [200] * 26 + [429] * 2
        clock.advance(timedelta(seconds=1))
        assert await burst(4) == [200] * 3 + [429]
        refused = await get(ask, url, q="key:(/works/OL1W)")
        assert "Too Many Requests" in refused.json["message"]
        assert refused.lines("retry-after") == []


async def test_open_library_knows_its_books_by_either_number_and_says_nothing_of_others(ask: Asker) -> None:
    edition, base = known(ask.world), ask.sandbox.openlibrary_url
    keys = f"ISBN:{digits(edition)},isbn:9791000000008"
    books = (await get(ask, f"{base}/api/books", bibkeys=keys, jscmd="details", format="json")).json
    assert list(books) == [f"ISBN:{digits(edition)}"]
    assert books[f"ISBN:{digits(edition)}"]["details"]["key"] == f"/books/{edition.key}"
    script = await get(ask, f"{base}/api/books", bibkeys=keys)
    assert script.body.startswith(b"var _OLBookInfo = {")
    moved = await get(ask, f"{base}/isbn/{digits(edition)}.json")
    assert (moved.status, moved.lines("location")) == (302, [f"/openlibrary/books/{edition.key}.json"])
    unknown = await get(ask, f"{base}/isbn/9791000000008.json")
    assert (unknown.status, unknown.body[:9]) == (404, b"<!doctype")
    assert (await get(ask, f"{base}/search.json", q="it")).status == 422


async def test_a_missing_cover_is_a_pixel_or_a_404(ask: Asker) -> None:
    editions = ask.world.truth.editions.values()
    with_cover = next(each for each in editions if identities.openlibrary_cover(each))
    without = next(each for each in editions if each.cover is CoverKind.MISSING)
    base = f"{ask.sandbox.openlibrary_covers_url}/b/id"
    picture = await get(ask, f"{base}/{identities.openlibrary_cover(with_cover)}-L.jpg?default=false")
    assert (picture.status, picture.body[:3]) == (200, b"\xff\xd8\xff")
    pixel = await get(ask, f"{base}/{without.key[2:-1]}-L.jpg")
    assert (pixel.status, pixel.body[:6]) == (200, b"GIF89a")
    assert (await get(ask, f"{base}/{without.key[2:-1]}-L.jpg?default=false")).status == 404


async def test_google_wants_a_key_and_counts_its_day(ask: Asker) -> None:
    url = f"{ask.sandbox.google_books_url}/books/v1/volumes"
    asked: dict[str, object] = {"q": "isbn:9791000000008"}
    shared = await get(ask, url, **asked)
    assert (shared.status, shared.json["error"]["details"][0]["metadata"]["quota_limit_value"]) == (429, "0")
    assert (await get(ask, url, key="another", **asked)).status == 400
    ask.sandbox.google.daily_limit = 1
    first = await get(ask, url, key=GOOGLE_KEY, **asked)
    assert first.json == {"kind": "books#volumes", "totalItems": 0}
    spent = await get(ask, url, key=GOOGLE_KEY, **asked)
    assert (spent.status, "per day" in spent.json["error"]["message"]) == (429, True)
    assert GOOGLE_KEY not in "".join(each.query for each in ask.sandbox.free_calls)


async def test_googles_thumbnails_are_pictures_or_one_grey_picture(ask: Asker) -> None:
    found = [each for each in ask.world.truth.editions.values() if identities.is_in_google(each)]
    assert len({identities.google_id(each) for each in found}) == len(found)
    assert all(identities.edition_of_volume(identities.google_id(each)) == each.key for each in found)
    grey = [each for each in found if each.cover is not CoverKind.PICTURE][:2]
    pictures = [
        await get(
            ask, f"{ask.sandbox.covers_url}/google-books/content?id={identities.google_id(each)}&zoom=1"
        )
        for each in (*grey, next(each for each in found if each.cover is CoverKind.PICTURE))
    ]
    assert [each.status for each in pictures] == [200] * 3
    assert pictures[0].body == pictures[1].body != pictures[2].body


async def test_errors_of_wikidata_come_with_200(ask: Asker) -> None:
    url = f"{ask.sandbox.wikidata_url}/w/api.php"
    many = "|".join(f"Q{number}" for number in range(1, 52))
    long = "haswbstatement:" + "|".join(f"P648=OL{number}A" for number in range(20_000, 20_030))
    errors: list[tuple[dict[str, object], str]] = [
        ({"action": "wbgetentities", "ids": many}, "toomanyvalues"),
        ({"action": "wbgetentities", "ids": "Q9999999999"}, "no-such-entity"),
        ({"action": "query", "list": "search", "srsearch": long}, "cirrussearch-query-too-long"),
    ]
    for query, code in errors:
        got = await get(ask, url, **query)
        assert (got.status, got.json["error"]["code"]) == (200, code)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FaultKind.ERROR_500, 500),
        (FaultKind.UNAVAILABLE_503, 503),
        (FaultKind.RATE_429, 429),
        (FaultKind.EMPTY_403, 403),
        (FaultKind.HTML_BODY, 200),
        (FaultKind.EMPTY_PAGE, 200),
    ],
)
async def test_faults_strike_one_source_by_its_name(kind: FaultKind, status: int, ask: Asker) -> None:
    ask.sandbox.faults.add(kind, endpoint="openlibrary")
    url = f"{ask.sandbox.openlibrary_url}/api/books"
    query: dict[str, object] = {"bibkeys": f"ISBN:{digits(known(ask.world))}", "format": "json"}
    got = await get(ask, url, **query)
    assert got.status == status
    if kind is FaultKind.EMPTY_PAGE:
        assert got.json == {}
    assert (
        await get(ask, f"{ask.sandbox.wikidata_url}/w/api.php", action="wbgetentities", ids="Q1")
    ).status == 200


async def test_the_control_page_counts_them(ask: Asker) -> None:
    await get(ask, f"{ask.sandbox.openlibrary_url}/authors/OL1A.json")
    state = (await ask.send("GET", f"{ask.sandbox.control_url}/state")).json
    assert state["free_calls"] == {"openlibrary": {"404": 1}}
    assert state["calls"] == {}
