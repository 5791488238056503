"""Objects: written whole, read back, missing without a fuss; a folder by default, a store by URL."""

import asyncio
import sys
from pathlib import Path

import obstore
import pytest
from obstore.store import GCSStore, S3Store, from_url

from alexandria.domain.errors import ConfigurationError, RecordNotFound, StoreUnavailable
from alexandria.stores.objects import ObjectStore

KEY = "covers/ab/abcd/large.webp"
WEBP = "image/webp"


@pytest.fixture(params=["folder", "file url", "memory url"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    addresses: dict[str, str | Path] = {
        "folder": tmp_path / "new" / "covers",
        "file url": (tmp_path / "covers").as_uri(),
        "memory url": "memory:///",
    }
    return ObjectStore.open(addresses[request.param])


async def test_what_was_put_is_there_until_it_is_deleted(objects: ObjectStore) -> None:
    await objects.put(KEY, b"a picture", content_type=WEBP)
    assert await objects.get(KEY) == b"a picture"
    assert await objects.head(KEY) == len(b"a picture")
    await objects.put(KEY, b"another", content_type=WEBP)
    assert await objects.get(KEY) == b"another"
    await objects.delete([KEY])
    assert await objects.head(KEY) is None


async def test_a_missing_object_is_not_found_and_deleting_it_again_is_no_error(objects: ObjectStore) -> None:
    with pytest.raises(RecordNotFound, match=KEY):
        await objects.get(KEY)
    await objects.put(KEY, b"a picture", content_type=WEBP)
    await objects.delete(["covers/first/is/missing", KEY, KEY])
    assert await objects.head(KEY) is None


async def test_readers_never_see_half_an_object_while_it_is_written_again(objects: ObjectStore) -> None:
    bodies = [bytes([letter]) * 200_000 for letter in b"abcdefgh"]
    await objects.put(KEY, bodies[0], content_type=WEBP)
    seen: list[bytes] = []

    async def read() -> None:
        seen.append(await objects.get(KEY))

    async with asyncio.TaskGroup() as group:
        for body in bodies:
            group.create_task(objects.put(KEY, body, content_type=WEBP))
            group.create_task(read())
    assert len(seen) == len(bodies)
    assert set(seen) <= set(bodies)


async def test_a_folder_holds_plain_files_under_their_keys(tmp_path: Path) -> None:
    objects = ObjectStore.open(str(tmp_path / "covers folder"))
    await objects.put(KEY, b"a picture", content_type=WEBP)
    files = [each for each in (tmp_path / "covers folder").rglob("*") if each.is_file()]
    assert files == [tmp_path / "covers folder" / KEY]
    assert files[0].read_bytes() == b"a picture"


async def test_a_store_that_keeps_attributes_learns_the_content_type() -> None:
    memory = from_url("memory:///")
    await ObjectStore(memory).put(KEY, b"a picture", content_type=WEBP)
    assert (await obstore.get_async(memory, KEY)).attributes == {"Content-Type": WEBP}


async def test_a_folder_that_can_not_be_written_is_unavailable_not_a_missing_object(tmp_path: Path) -> None:
    objects = ObjectStore.open(tmp_path)
    (tmp_path / "covers").write_text("a file where the folder should be")
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        await objects.put(KEY, b"a picture", content_type=WEBP)


async def test_a_store_that_does_not_answer_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = ObjectStore.open(tmp_path)
    await objects.put(KEY, b"a picture", content_type=WEBP)
    monkeypatch.setattr("alexandria.stores.objects.TIMEOUT_SECONDS", 0)
    with pytest.raises(StoreUnavailable, match="did not answer within 0 s"):
        await objects.get(KEY)


async def test_a_key_can_not_lead_out_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.\."):
        await ObjectStore.open(tmp_path / "covers").put("../outside", b"", content_type=WEBP)
    assert not (tmp_path / "outside").exists()


def test_buckets_are_opened_by_url() -> None:
    assert ObjectStore.open("s3://bucket/prefix")._store == S3Store("bucket", prefix="prefix")
    assert isinstance(ObjectStore.open("gs://bucket")._store, GCSStore)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://user:secret@example.org/covers", "https:// is not an object store"),
        ("ftp://example.org", "ftp:// is not an object store"),
        ("s3://", "can't be opened"),
        ("/proc/nowhere/covers", "No such file"),
    ],
)
def test_a_wrong_address_is_refused_at_once_without_showing_a_secret(address: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"ALEXANDRIA_OBJECTS_URL: .*{reason}") as raised:
        ObjectStore.open(address)
    assert "secret" not in str(raised.value)


async def test_a_process_that_ends_right_after_its_last_object_ends_well(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from alexandria.stores.objects import ObjectStore\n"
        "asyncio.run(ObjectStore.open(sys.argv[1]).put('k', b'', content_type='text/plain'))"
    )

    async def end() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(tmp_path))
        return await asyncio.wait_for(process.wait(), 30)

    # Without the pause at the end about one in four was aborted.
    codes = [code for _ in range(5) for code in await asyncio.gather(*(end() for _ in range(4)))]
    assert codes == [0] * 20
