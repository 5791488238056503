"""A world of real rows: what is read, what is set aside, what is refused."""

import gzip
import json
from pathlib import Path

import pytest

from alexandria.domain.errors import InvalidInput
from alexandria.sandbox.accounts import PREMIUM
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from sandbox.asking import asking

HEADER = "isbn13,isbn10,title,subtitle,authors,categories,thumbnail,description,published_year,average_rating,num_pages,ratings_count"

# Numbers in the ranges of invented publishers; titles and people of the tests' own.
GOOD = '9.78E+12,780070000,Salt and Rain,A Novel,Ada Quill;Bo Wexley,Fiction,http://pictures.invalid/1,"Two lines,\nand a ""quote"".",2004,3.9,247,361'


def row(isbn10: str = "", isbn13: str = "", title: str = "A Title", authors: str = "Ada Quill") -> str:
    return f"{isbn13},{isbn10},{title},,{authors},,,,1999,,,"


def csv_file(folder: Path, *rows: str, name: str = "books.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([HEADER, *rows, ""]), "utf-8")
    return path


def ten(body: str) -> str:
    """The ISBN-10 with these nine digits."""
    check = sum(int(digit) * weight for digit, weight in zip(body, range(10, 1, -1), strict=True)) * -1 % 11
    return body + ("X" if check == 10 else str(check))


def test_lost_zeros_come_back_and_rounded_numbers_are_ignored(tmp_path: Path) -> None:
    lost = ten("078007000").lstrip("0")
    world = World.from_file(csv_file(tmp_path, GOOD.replace("780070000", lost)))
    assert world.set_aside == ()
    record = world.record(0)
    assert record["isbn13"].startswith("978078007000")
    assert record["title"] == "Salt and Rain: A Novel"
    assert record["authors"] == ["Ada Quill", "Bo Wexley"]
    assert (record["date_published"], record["pages"], record["subjects"]) == ("2004", 247, ["Fiction"])
    assert record["synopsis"] == 'Two lines,\nand a "quote".'
    assert "msrp" not in record, "what the row does not say is not invented"
    assert {each.name for each in world.truth.authors.values()} == {"Ada Quill", "Bo Wexley"}


def test_up_to_three_lost_zeros_come_back_when_the_check_digit_fits(tmp_path: Path) -> None:
    whole = [ten(body) for body in ("078007000", "007800701", "000780072")]
    world = World.from_file(csv_file(tmp_path, *(row(isbn10=each.lstrip("0")) for each in whole)))
    assert {world.record(place)["isbn10"] for place in range(len(world.listed))} == set(whole)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(), "no ISBN"),
        (row(isbn13="9.78E+12"), "isbn13: rounded number"),
        (row(isbn10="1234567890"), "check digit"),
        (row(isbn10=ten("078007001"), title=""), "no title"),
        (row(isbn10=ten("078007001")) + ",,,", "15 columns instead of 12"),
        ("only,three,columns", "3 columns instead of 12"),
        (row(isbn10=ten("078007001"), title="Nul\x00title"), "NUL"),
        (row(isbn10=ten("078007000")), "the same ISBN as row 2"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_place_and_reason(tmp_path: Path, bad: str, reason: str) -> None:
    good = [row(isbn10=ten("078007000")), row(isbn10=ten("078007002"))]
    world = World.from_file(csv_file(tmp_path, good[0], bad, good[1]))
    assert len(world.listed) == 2
    [dropped] = world.set_aside
    assert dropped.place == "books.csv:3"
    assert reason in dropped.reason


def test_one_good_isbn_beside_a_bad_one_is_enough(tmp_path: Path) -> None:
    world = World.from_file(csv_file(tmp_path, row(isbn10=ten("078007001"), isbn13="9780780070005")))
    assert [world.record(0)["isbn13"]] == ["9780780070011"]


def test_two_isbns_of_different_books_in_one_row_are_set_aside(tmp_path: Path) -> None:
    both = row(isbn10=ten("078007001"), isbn13="9780780070028")
    world = World.from_file(csv_file(tmp_path, row(isbn10=ten("078007009")), both))
    assert [each.reason for each in world.set_aside] == ["its ISBN columns name different books"]


def test_bytes_that_are_not_utf8_cost_their_row_only(tmp_path: Path) -> None:
    path = tmp_path / "books.csv"
    rows = [
        HEADER,
        row(isbn10=ten("078007000")),
        row(isbn10=ten("078007001"), title="Caf\xe9"),
        row(isbn10=ten("078007002"), title="Café"),
    ]
    path.write_bytes(
        b"\xef\xbb\xbf"
        + b"\r\n".join([rows[0].encode(), rows[1].encode(), rows[2].encode("latin-1"), rows[3].encode()])
    )
    world = World.from_file(path)
    assert sorted(each.title for each in world.listed) == ["A Title", "Café"]
    assert [(each.place, each.reason) for each in world.set_aside] == [
        ("books.csv:3", "bytes that are not UTF-8")
    ]


def test_excel_guards_are_unwrapped_and_gzip_is_read(tmp_path: Path) -> None:
    guarded = csv_file(tmp_path, row(isbn13='"=""9780780070004"""'))
    packed = tmp_path / "books.csv.gz"
    packed.write_bytes(gzip.compress(guarded.read_bytes()))
    for path in (guarded, packed):
        world = World.from_file(path)
        assert [world.record(0)["isbn13"]] == ["9780780070004"]


def test_json_lines_are_served_as_they_are(tmp_path: Path) -> None:
    books = [
        {"isbn13": "9780780070011", "title": "One", "authors": ["Ada Quill", None], "odd": [1], "pages": [], "date_published": "January 2014"},
        {"book": {"isbn13": "9780780070028", "title": "Two", "image": "https://elsewhere.invalid/x.jpg", "image_original": "https://elsewhere.invalid/y.jpg?key=z"}},
    ]  # fmt: skip
    path = tmp_path / "books.jsonl"
    lines = [
        *(json.dumps(each) for each in books),
        "{",
        "[1]",
        '{"title": "no number"}',
        '{"isbn13": "9780780070035"}',
    ]
    path.write_text("\n".join(lines), "utf-8")
    world = World.from_file(path)
    records = {record["isbn13"]: record for record in map(world.record, range(len(world.listed)))}
    assert records["9780780070011"] == books[0]
    for name in ("image", "image_original"):
        assert records["9780780070028"][name].startswith("covers/"), "pictures come from the sandbox"
    assert [(each.place, each.reason) for each in world.set_aside] == [
        ("books.jsonl:3", "not JSON"),
        ("books.jsonl:4", "not a JSON object"),
        ("books.jsonl:5", "isbn13: blank"),
        ("books.jsonl:6", "no title"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("ratings.csv", b"work_key,edition_key,rating,day\n/works/OL1W,,5,2026-01-01\n", "neither CSV"),
        ("binary.bin", bytes(range(256)) * 40, "neither CSV"),
        ("binary.txt.gz", bytes(range(256)), "no gzip"),
        ("cut.csv.gz", gzip.compress(HEADER.encode() * 500, mtime=0)[:-30], "ends early"),
        ("empty.csv", b"", "neither CSV"),
        ("header.csv", HEADER.encode(), "no row in it"),
        ("list.json", b'["9780780070011"]', "neither CSV"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=reason) as caught:
        World.from_file(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InvalidInput, match="can't be read"):
            World.from_file(path)


async def test_real_rows_are_found_by_author_and_not_soiled_by_default(tmp_path: Path) -> None:
    rows = [row(isbn10=ten(f"0780070{number:02d}"), title=f"Title {number}") for number in range(60)]
    world = World.from_file(csv_file(tmp_path, *rows))
    async with asking(world, Switches(), keys={"sandbox-key": PREMIUM}) as ask:
        got = await ask.get("author", "Ada Quill", pageSize=100)
        assert len(got.isbns) == 60
        assert all(book["authors"] == ["Ada Quill"] for book in got.json["books"])
    dump = world.write_dumps(tmp_path / "dumps", irregular_share=0)
    assert 1 < dump.rows < 122
    assert any(each.is_new for each in world.listed)


def test_the_7k_books_are_all_read(shared_data: Path) -> None:
    world = World.from_file(shared_data / "goodreads-11k" / "categories_books.csv.gz")
    assert len(world.listed) == 6810
    assert world.set_aside == ()


def test_the_10k_books_keep_those_whose_number_can_be_rebuilt(shared_data: Path) -> None:
    world = World.from_file(shared_data / "goodbooks-10k" / "books.csv.gz")
    assert len(world.listed) == 9277
    assert len(world.listed) + len(world.set_aside) == 10_000


def test_the_partner_dump_is_served_as_it_is(shared_data: Path) -> None:
    path = shared_data / "isbndb-samples" / "isbndb_dump_2022_lines.jsonl"
    world = World.from_file(path)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert {
        world.record(place)["date_published"] for place in range(3) if "date_published" in world.record(place)
    } == {each["date_published"] for each in rows if "date_published" in each}
