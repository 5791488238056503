"""Loading dumps: what is read, what is set aside, what is refused, and that a load that was killed resumes."""

import asyncio
import gzip
import hashlib
import json
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexandria.domain.catalogue import Dropped, Reading, RecordKind, SourceRecord
from alexandria.domain.errors import InvalidInput, StoreUnavailable
from alexandria.load import Absorbed, Checkpoint, LoadReport, load_dump
from alexandria.providers.openlibrary import author_facts, edition_facts, work_facts
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.postgres import Database
from conftest import SetClock

READERS: dict[RecordKind, Callable[[SourceRecord], Reading[Any]]] = {
    RecordKind.AUTHOR: author_facts,
    RecordKind.WORK: work_facts,
    RecordKind.EDITION: edition_facts,
}


def row(type_: str, key: str, document: dict[str, Any] | None = None, *, revision: int = 1) -> bytes:
    body = json.dumps({"type": {"key": f"/type/{type_}"}, "key": key, **(document or {})})
    return f"/type/{type_}\t{key}\t{revision}\t2024-05-0{revision}T07:08:09\t{body}\n".encode()


def author(number: int, **members: Any) -> bytes:
    return row("author", f"/authors/OL{number}A", {"name": f"Nora Tinsmith the {number}th", **members})


def work(number: int) -> bytes:
    return row(
        "work",
        f"/works/OL{number}W",
        {"title": f"Kettles {number}", "authors": [{"author": {"key": f"/authors/OL{number}A"}}]},
    )


def edition(number: int, **members: Any) -> bytes:
    return row(
        "edition",
        f"/books/OL{number}M",
        {"title": f"Kettles {number}", "works": [{"key": f"/works/OL{number}W"}], **members},
    )


def write(path: Path, rows: Iterable[bytes]) -> Path:
    body = b"".join(rows)
    path.write_bytes(gzip.compress(body, mtime=0) if path.suffix == ".gz" else body)
    return path


def noise(length: int, seed: int = 0) -> bytes:
    """Bytes that look random and are always the same."""
    return hashlib.shake_256(b"%d" % seed).digest(length)


def shuffled(rows: Iterable[bytes], seed: int = 0) -> list[bytes]:
    return sorted(rows, key=lambda each: hashlib.sha256(b"%d" % seed + each).digest())


@dataclass
class Shelf:
    """A catalogue in memory: it keeps a batch and its checkpoint together or, when it fails, neither."""

    records: dict[str, SourceRecord] = field(default_factory=dict)
    rows_done: dict[str, int] = field(default_factory=dict)
    batches: list[tuple[Checkpoint, list[str]]] = field(default_factory=list)
    fails_at: int | None = None
    reads_facts: bool = True

    async def absorb(self, records: Sequence[SourceRecord], *, checkpoint: Checkpoint) -> Absorbed:
        if len(self.batches) == self.fails_at:
            raise StoreUnavailable("the database went away")
        before = {each.key: self.records.get(each.key) for each in records}
        self.records |= {each.key: each for each in records}
        self.rows_done[checkpoint.fingerprint] = checkpoint.rows_done
        self.batches.append((checkpoint, [each.key for each in records]))
        new = sum(each is None for each in before.values())
        unchanged = sum(before[each.key] == each for each in records)
        read = records if self.reads_facts else ()
        dropped = [found for each in read for found in READERS[each.kind](each).dropped]
        return Absorbed(new, len(records) - new - unchanged, unchanged, dropped)

    async def find_rows_done(self, fingerprint: str) -> int:
        return self.rows_done.get(fingerprint, 0)

    @property
    def keys(self) -> list[str]:
        """In the order in which they were absorbed."""
        return [key for _, keys in self.batches for key in keys]

    @property
    def kinds(self) -> list[RecordKind]:
        return [checkpoint.kind for checkpoint, _ in self.batches]

    async def load(self, *paths: Path, **options: Any) -> LoadReport:
        return await load_dump(paths, absorb=self.absorb, find_rows_done=self.find_rows_done, **options)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def three_files(folder: Path, count: int = 5) -> list[Path]:
    numbers = range(1, count + 1)
    return [
        write(folder / "ol_dump_editions.txt.gz", map(edition, numbers)),
        write(folder / "ol_dump_authors.txt.gz", map(author, numbers)),
        write(folder / "ol_dump_works.txt.gz", map(work, numbers)),
    ]


# What is read


async def test_authors_come_first_then_works_then_editions_whatever_the_order_of_the_files(
    shelf: Shelf, tmp_path: Path
) -> None:
    report = await shelf.load(*three_files(tmp_path))
    assert shelf.kinds == [RecordKind.AUTHOR, RecordKind.WORK, RecordKind.EDITION]
    assert report.rows == len(shelf.records) == 15
    assert report.absorbed[RecordKind.WORK] == {"rows": 5, "new": 5, "changed": 0, "unchanged": 0}


async def test_a_dump_of_all_types_is_read_once_for_each_kind(shelf: Shelf, tmp_path: Path) -> None:
    rows = [make(number) for make in (author, work, edition) for number in range(1, 40)]
    rows += [
        row("redirect", "/works/OL99W", {"location": "/works/OL1W"}),
        row("delete", "/books/OL98M"),
        row("list", "/people/x/lists/OL1L"),
    ]
    rows += [b"/type/page\t/about\n", b"no row\n"]
    rows = shuffled(rows)
    report = await shelf.load(write(tmp_path / "ol_dump.txt.gz", rows), batch_rows=10)
    assert [kind for kind, after in pairwise([*shelf.kinds, None]) if kind != after] == [
        RecordKind.AUTHOR,
        RecordKind.WORK,
        RecordKind.EDITION,
    ]
    assert len(shelf.keys) == len(set(shelf.keys)) == 39 * 3
    assert report.passed_over == {"redirect": 1, "delete": 1, "other": 1}
    assert report.rows_set_aside.counts == {"not five columns": 2}
    assert report.rows == len(rows)


async def test_kinds_that_appear_late_in_a_file_are_found(shelf: Shelf, tmp_path: Path) -> None:
    rows = [*map(author, range(1, 10_100)), *map(edition, range(1, 4)), work(1)]
    shelf.reads_facts = False
    report = await shelf.load(write(tmp_path / "ol_dump.txt.gz", rows), batch_rows=5000)
    assert shelf.kinds[-2:] == [RecordKind.WORK, RecordKind.EDITION]
    assert report.rows == len(rows)


async def test_a_file_of_redirects_alone_is_read_and_counted(shelf: Shelf, tmp_path: Path) -> None:
    redirect = row("redirect", "/works/OL2W", {"location": "/works/OL1W"})
    report = await shelf.load(write(tmp_path / "ol_dump_redirects.txt", [redirect]))
    assert (report.passed_over, report.absorbed) == ({"redirect": 1}, {})


@pytest.mark.parametrize(
    "body",
    [
        author(1) + author(2),
        gzip.compress(author(1) + author(2), mtime=0),
        gzip.compress(author(1), mtime=0) + gzip.compress(author(2), mtime=0),
        b"\xef\xbb\xbf" + author(1) + author(2),
        gzip.compress(b"\xef\xbb\xbf" + author(1) + author(2), mtime=0),
        (author(1) + author(2)).replace(b"\n", b"\r\n"),
        (author(1) + author(2)).rstrip(b"\n"),
        gzip.compress((author(1) + author(2)).rstrip(b"\n"), mtime=0),
    ],
    ids=[
        "plain",
        "gzip",
        "two gzip members",
        "BOM",
        "BOM in gzip",
        "CRLF",
        "no last newline",
        "no last newline in gzip",
    ],
)
@pytest.mark.parametrize("name", ["dump.txt", "dump.gz"])
async def test_plain_and_gzip_files_are_told_apart_by_their_bytes(
    shelf: Shelf, tmp_path: Path, body: bytes, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(body)
    report = await shelf.load(path)
    assert shelf.keys == ["/authors/OL1A", "/authors/OL2A"]
    assert (report.rows, report.failed) == (2, [])


async def test_batches_hold_no_more_rows_than_asked_for(shelf: Shelf, tmp_path: Path) -> None:
    await shelf.load(write(tmp_path / "a.txt", map(author, range(1, 26))), batch_rows=10)
    assert [len(keys) for _, keys in shelf.batches] == [10, 10, 5]
    assert [checkpoint.rows_done for checkpoint, _ in shelf.batches] == [10, 20, 25]


async def test_batches_of_huge_rows_are_bounded_in_bytes(shelf: Shelf, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt.gz", (author(number, bio="x" * 9 * 1024 * 1024) for number in range(1, 6)))
    await shelf.load(path)
    assert [len(keys) for _, keys in shelf.batches] == [4, 1]


async def test_a_row_without_an_end_is_set_aside_in_bounded_memory(shelf: Shelf, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.txt.gz", "wb", compresslevel=1) as file:
        file.write(author(1))
        for _ in range(200):
            file.write(b"x" * 1024 * 1024)
        file.write(b"\n" + author(2))
    tracemalloc.start()
    try:
        report = await shelf.load(tmp_path / "a.txt.gz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert shelf.keys == ["/authors/OL1A", "/authors/OL2A"]
    assert report.rows_set_aside.counts == {"longer than 16 MiB": 1}
    assert peak < 64 * 1024 * 1024


# What is set aside


async def test_broken_rows_are_set_aside_with_their_place_and_the_good_ones_around_them_kept(
    shelf: Shelf, tmp_path: Path
) -> None:
    broken = {
        b"/type/author\t/authors/OL9A\t1\n": "not five columns",
        author(9).replace(b"/type/author", b"author", 1): "no type in the first column",
        row("author", "/books/OL9M"): "key of another family than its type",
        author(9).replace(b'"}', b'"'): "no JSON object in the fifth column",
        author(9).replace(b"the ", b"the\t"): "no JSON object in the fifth column",
        author(9).replace(b"Nora", b"N\xf6ra"): "not UTF-8",
        author(9).replace(b"\t1\t", b"\tone\t"): "revision is no number",
        author(9).replace(b"2024", b"yyyy"): "last modified is no time",
        author(9, bio="x" * 17 * 1024 * 1024): "longer than 16 MiB",
    }
    rows = [author(1)]
    for number, line in enumerate(broken, start=2):
        rows += [line, author(number)]
    path = write(tmp_path / "a.txt.gz", rows)
    report = await shelf.load(path)
    assert shelf.keys == [f"/authors/OL{number}A" for number in range(1, len(broken) + 2)]
    expected: dict[str, list[str]] = {}
    for number, why in enumerate(broken.values()):
        expected.setdefault(why, []).append(f"{path}:{2 * number + 2}")
    assert report.rows_set_aside.places == expected
    assert report.rows == len(rows)
    assert report.failed == []


async def test_only_the_first_places_of_a_reason_are_kept(shelf: Shelf, tmp_path: Path) -> None:
    report = await shelf.load(write(tmp_path / "a.txt", [author(1), *[b"short\n"] * 500]))
    assert report.as_json()["rows_set_aside"] == [
        {
            "reason": "not five columns",
            "count": 500,
            "places": [f"{tmp_path}/a.txt:{line}" for line in (2, 3, 4)],
        }
    ]


async def test_members_that_cannot_be_read_are_counted_by_name_and_reason(
    shelf: Shelf, tmp_path: Path
) -> None:
    rows = [
        edition(1, number_of_pages="many"),
        edition(2, number_of_pages="few", subtitle="\x00"),
        edition(3, publishers=["\ud800"]),
    ]
    report = await shelf.load(write(tmp_path / "e.txt", rows))
    assert report.members_dropped.places == {
        "number_of_pages: no number of pages": ["/books/OL1M", "/books/OL2M"],
        "subtitle: NUL characters, removed": ["/books/OL2M"],
        "publishers: lone surrogates, removed": ["/books/OL3M"],
    }
    assert len(shelf.records) == 3


# What is refused


@pytest.mark.parametrize(
    ("name", "body", "looks_like"),
    [
        ("page.txt.gz", b"<!DOCTYPE html><html><body>503", "an HTML page"),
        ("books.csv", b"isbn,title\n" + b"1,2\n" * 300, "a CSV file of 2 columns"),
        (
            "ratings.txt.gz",
            gzip.compress(b"/works/OL1W\t\\N\t5\t2024-01-01\n" * 300, mtime=0),
            "a dump of ratings",
        ),
        ("log.txt", b"/works/OL1W\t\\N\tWant to Read\t2024-01-01\n", "a dump of reading logs"),
        ("random.bin", noise(50_000), "a binary file"),
        ("zeros.txt.gz", gzip.compress(bytes(5_000_000), mtime=0), "a binary file"),
        ("archive.zip", b"PK\x03\x04" + bytes(100), "a ZIP archive"),
        (
            "twice.txt.gz",
            gzip.compress(gzip.compress(author(1), mtime=0), mtime=0),
            "a gzip file within a gzip file",
        ),
        ("empty.txt", b"", "it is empty"),
        ("empty.txt.gz", gzip.compress(b"", mtime=0), "it is empty"),
        ("columns.tsv", b"a\tb\tc\td\te\n" * 200, "5 columns separated by tabs"),
        (
            "latin.txt",
            author(1).replace(b"Nora", b"N\xf6ra") * 200,
            "none of its first rows can be read: not UTF-8",
        ),
        ("late.txt", b"short\n" * 100 + author(1), "plain text"),
        ("cut.txt.gz", gzip.compress(author(1), mtime=0)[:40], "the gzip stream ends early"),
        ("header.txt.gz", b"\x1f\x8b\x08\x00garbage", "the gzip stream"),
    ],
)
async def test_a_file_that_is_no_dump_is_refused_in_one_line_and_changes_nothing(
    shelf: Shelf, tmp_path: Path, name: str, body: bytes, looks_like: str
) -> None:
    good = write(tmp_path / "good.txt", [author(1)])
    (tmp_path / name).write_bytes(body)
    with pytest.raises(InvalidInput) as refusal:
        await shelf.load(good, tmp_path / name)
    message = str(refusal.value)
    assert name in message
    assert looks_like in message
    assert "\n" not in message
    assert shelf.records == {}


async def test_a_missing_file_and_a_folder_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        await shelf.load(tmp_path / "missing.txt")
    with pytest.raises(InvalidInput, match="give the files in it"):
        await shelf.load(tmp_path)


async def test_a_dump_with_a_broken_beginning_is_no_wrong_file(shelf: Shelf, tmp_path: Path) -> None:
    report = await shelf.load(write(tmp_path / "a.txt", [b"short\n"] * 99 + [author(1)]))
    assert (report.rows, shelf.keys) == (100, ["/authors/OL1A"])


# Files that end early


def incompressible(number: int) -> bytes:
    return author(number, bio=noise(200, number).hex())


async def test_the_rows_before_the_end_of_a_cut_gzip_stream_are_kept_and_its_place_is_named(
    shelf: Shelf, tmp_path: Path
) -> None:
    whole = gzip.compress(b"".join(map(incompressible, range(1, 1001))))
    path = tmp_path / "authors.txt.gz"
    path.write_bytes(whole[: len(whole) // 2])
    works = write(tmp_path / "works.txt.gz", [work(1)])
    report = await shelf.load(works, path, batch_rows=100)
    kept = len(shelf.records)
    assert 400 < kept < 600
    assert shelf.keys == [f"/authors/OL{number}A" for number in range(1, kept + 1)]
    assert report.failed == [
        Dropped(f"{path}:{kept + 1}", "the gzip stream ends early"),
        Dropped(
            str(works), "not loaded, because authors.txt.gz ends early: get it again, then load all of them"
        ),
    ]
    path.write_bytes(whole)
    report = await shelf.load(works, path)
    assert report.failed == []
    assert report.absorbed[RecordKind.AUTHOR] == {
        "rows": 1000,
        "new": 1000 - kept,
        "changed": 0,
        "unchanged": kept,
    }


async def test_a_gzip_stream_that_is_damaged_in_the_middle_is_named(shelf: Shelf, tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(b"".join(map(incompressible, range(1, 1001)))))
    whole[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)
    path = tmp_path / "a.txt.gz"
    path.write_bytes(whole)
    report = await shelf.load(path)
    assert [each.reason for each in report.failed] == ["the gzip stream is damaged"]
    assert shelf.keys
    assert shelf.keys == [f"/authors/OL{number}A" for number in range(1, len(shelf.keys) + 1)]


async def test_of_a_cut_dump_of_all_types_every_kind_is_loaded_up_to_the_cut(
    shelf: Shelf, tmp_path: Path
) -> None:
    rows = [make(number) for number in range(1, 301) for make in (author, work, edition)]
    path = tmp_path / "ol_dump.txt.gz"
    path.write_bytes(gzip.compress(b"".join(rows))[:-20])
    report = await shelf.load(path)
    assert set(shelf.kinds) == set(RecordKind)
    assert len(report.failed) == 1


async def test_a_plain_file_that_ends_in_the_middle_of_a_row_is_named(shelf: Shelf, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", [author(1), author(2)[:-20]])
    report = await shelf.load(path)
    assert shelf.keys == ["/authors/OL1A"]
    assert report.failed == [Dropped(f"{path}:2", "the file ends in the middle of a row")]


# Again, and on


async def test_the_same_dump_loaded_twice_changes_nothing_and_absorbs_nothing(
    shelf: Shelf, tmp_path: Path
) -> None:
    files = three_files(tmp_path)
    await shelf.load(*files)
    batches = len(shelf.batches)
    report = await shelf.load(*files)
    assert (report.rows, report.rows_skipped, len(shelf.batches)) == (0, 15, batches)


async def test_without_checkpoints_the_same_dump_says_the_same(shelf: Shelf, tmp_path: Path) -> None:
    files = three_files(tmp_path)
    await shelf.load(*files)
    report = await load_dump(files, absorb=shelf.absorb)
    assert all(counts["unchanged"] == counts["rows"] == 5 for counts in report.absorbed.values())


@given(fails_at=st.integers(0, 14), batch_rows=st.integers(1, 7), seed=st.integers(0, 3))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_load_that_was_killed_anywhere_resumes_without_loss(
    tmp_path: Path, fails_at: int, batch_rows: int, seed: int
) -> None:
    rows = [make(number) for number in range(1, 8) for make in (author, work, edition)] + [b"short\n"]
    rows = shuffled(rows, seed)
    path = write(tmp_path / "ol_dump.txt", rows)
    shelf = Shelf(fails_at=fails_at)
    try:
        await shelf.load(path, batch_rows=batch_rows)
    except StoreUnavailable:
        shelf.fails_at = None
        await shelf.load(path, batch_rows=batch_rows)
    assert sorted(shelf.keys) == sorted(set(shelf.keys))
    assert len(shelf.keys) == 21


async def test_a_resumed_load_skips_what_is_done(shelf: Shelf, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt.gz", map(author, range(1, 51)))
    shelf.fails_at = 3
    with pytest.raises(StoreUnavailable):
        await shelf.load(path, batch_rows=10)
    shelf.fails_at = None
    report = await shelf.load(path, batch_rows=10)
    assert (report.rows, report.rows_skipped) == (20, 30)
    assert len(shelf.keys) == len(set(shelf.keys)) == 50


async def test_a_file_that_was_replaced_under_its_name_starts_anew(shelf: Shelf, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", [author(1), author(2)])
    await shelf.load(path)
    write(path, [author(3), author(4)])
    report = await shelf.load(path)
    assert (report.rows, report.rows_skipped) == (2, 0)


async def test_a_longer_file_with_the_same_beginning_is_another_file(shelf: Shelf, tmp_path: Path) -> None:
    rows = [author(number, bio="x" * 1000) for number in range(1, 2001)]
    shelf.reads_facts = False
    await shelf.load(write(tmp_path / "a.txt", rows[:1500]))
    report = await shelf.load(write(tmp_path / "a.txt", rows))
    assert (report.rows, report.rows_skipped) == (2000, 0)


async def test_next_months_dump_in_another_order_updates_what_changed_and_deletes_nothing(
    shelf: Shelf, tmp_path: Path
) -> None:
    await shelf.load(write(tmp_path / "may.txt", map(author, range(1, 11))))
    june = [row("author", f"/authors/OL{number}A", {"name": "Nora"}, revision=2) for number in (7, 3)]
    june += [author(number) for number in (11, 5, 9, 1, 2, 4, 6, 8)]
    report = await shelf.load(write(tmp_path / "june.txt", june))
    assert report.absorbed[RecordKind.AUTHOR] == {"rows": 10, "new": 1, "changed": 2, "unchanged": 7}
    assert "/authors/OL10A" in shelf.records


async def test_a_killed_load_into_the_database_resumes_at_its_last_commit(
    database: Database, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.txt.gz", map(author, range(1, 51)))
    calls = 0

    async def absorb(records: Sequence[SourceRecord], *, checkpoint: Checkpoint) -> Absorbed:
        nonlocal calls
        calls += 1
        async with database.transaction() as connection:
            store = CatalogueStore(connection)
            changed = await store.save_records(records)
            await store.save_checkpoint(checkpoint.fingerprint, checkpoint.file_name, checkpoint.rows_done)
            if calls == 3:
                raise KeyboardInterrupt  # with everything written and nothing committed
        new = sum(changed.values())
        return Absorbed(new, len(changed) - new, len(records) - len(changed))

    async def find_rows_done(fingerprint: str) -> int:
        async with database.connection() as connection:
            return await CatalogueStore(connection).get_checkpoint(fingerprint)

    async def load() -> LoadReport:
        return await load_dump([path], absorb=absorb, find_rows_done=find_rows_done, batch_rows=10)

    with pytest.raises(KeyboardInterrupt):
        await load()
    report = await load()
    assert report.absorbed[RecordKind.AUTHOR] == {"rows": 30, "new": 30, "changed": 0, "unchanged": 0}
    assert report.rows_skipped == 20
    assert (await load()).rows == 0
    async with database.connection() as connection:
        found = await CatalogueStore(connection).find_records(
            "openlibrary", RecordKind.AUTHOR, [f"/authors/OL{number}A" for number in range(1, 51)]
        )
    assert len(found) == 50


async def test_a_load_that_is_cancelled_comes_to_rest_and_closes_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt.gz", map(author, range(1, 5000)))
    begun = asyncio.Event()

    async def absorb(records: Sequence[SourceRecord], *, checkpoint: Checkpoint) -> Absorbed:
        del checkpoint
        begun.set()
        return Absorbed(new=len(records))

    loading = asyncio.create_task(load_dump([path], absorb=absorb, batch_rows=500))
    await begun.wait()
    await asyncio.sleep(0)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading


# What is shown


async def test_the_progress_only_grows_and_ends_with_everything_read(shelf: Shelf, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    files = three_files(tmp_path, count=300)
    await shelf.load(
        *files,
        progress=lambda bytes_read, bytes_in_all: seen.append((bytes_read, bytes_in_all)),
        batch_rows=50,
    )
    in_all = sum(path.stat().st_size for path in files)
    assert all(one[0] <= other[0] for one, other in pairwise(seen))
    assert seen[-1] == (in_all, in_all)
    assert {each[1] for each in seen} == {in_all}


async def test_the_report_is_whole_and_can_be_written_as_json(
    shelf: Shelf, tmp_path: Path, clock: SetClock
) -> None:
    path = write(
        tmp_path / "a.txt",
        [author(1), b"short\n", row("delete", "/authors/OL2A"), author(3, birth_date="."), author(4)[:-9]],
    )
    report = await shelf.load(path, clock=clock)
    assert json.loads(json.dumps(report.as_json())) == {
        "rows": 4,
        "rows_skipped": 0,
        "absorbed": {"author": {"rows": 2, "new": 2, "changed": 0, "unchanged": 0}},
        "passed_over": {"delete": 1},
        "rows_set_aside": [{"reason": "not five columns", "count": 1, "places": [f"{path}:2"]}],
        "members_dropped": [
            {"reason": "birth_date: no date that can be read", "count": 1, "places": ["/authors/OL3A"]}
        ],
        "failed": [{"place": f"{path}:5", "reason": "the file ends in the middle of a row"}],
        "seconds": 0.0,
    }
    assert report.as_lines() == [
        "4 rows read in 0.0 s, 0 were done before",
        "authors: 2 new, 0 changed, 0 unchanged",
        "passed over: 1 rows of type delete",
        f"set aside: 1 x not five columns, first in {path}:2",
        "not read: 1 x birth_date: no date that can be read, first in /authors/OL3A",
        f"FAILED {path}:5: the file ends in the middle of a row",
    ]


async def test_the_real_rows_load_without_one_being_set_aside(shelf: Shelf, shared_data: Path) -> None:
    files = sorted((shared_data / "openlibrary").glob("ol_dump_*.txt"))
    report = await shelf.load(*reversed(files), batch_rows=50)
    assert {kind: counts["new"] for kind, counts in report.absorbed.items()} == {
        "author": 34,
        "work": 35,
        "edition": 68,
    }
    assert report.rows == 137
    assert report.rows_set_aside.counts == {}
