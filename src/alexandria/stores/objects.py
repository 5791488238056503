"""Where covers lie: a local folder by default, S3, R2, Google Cloud Storage or Azure by URL (design.md, section 2)."""

import asyncio
import atexit
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from alexandria.domain.errors import ConfigurationError, RecordNotFound, StoreUnavailable

TIMEOUT_SECONDS = 30.0
"""For one object, which is at most a few hundred kilobytes; a store that takes longer counts as unreachable."""

_EXIT_SECONDS = 0.1

_SCHEMES = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "file", "memory"})
_SETTING = "ALEXANDRIA_OBJECTS_URL"


class ObjectStore:
    """Named bytes. A name is written whole or not at all, so nobody ever reads half an object."""

    def __init__(self, store: obstore.store.ObjectStore) -> None:
        self._store = store

    @classmethod
    def open(cls, address: str | Path) -> Self:
        """A folder, made if it is missing, or a URL such as `s3://bucket/prefix`. Raises ConfigurationError.

        What a provider's store needs besides (keys, region, end point) it reads from that provider's usual environment variables.
        """
        scheme = urlsplit(address).scheme if isinstance(address, str) else ""
        try:
            if not scheme:
                return cls(LocalStore(Path(address).expanduser().absolute(), mkdir=True))
            if scheme not in _SCHEMES:
                raise ConfigurationError(
                    f"{_SETTING}: {scheme}:// is not an object store; use a folder, s3://, gs:// or az://"
                )
            return cls(
                LocalStore.from_url(str(address), mkdir=True) if scheme == "file" else from_url(str(address))
            )
        except (BaseError, OSError, ValueError) as error:
            # The address itself is left out: it may carry a key.
            raise ConfigurationError(
                f"{_SETTING}: the object store can't be opened: {_reason(error)}"
            ) from error

    async def put(self, key: str, body: bytes, *, content_type: str) -> None:
        """Write an object, over an older one of this name if there is one. Raises StoreUnavailable."""
        # A folder has no place for attributes; elsewhere they let the store, or a cache before it, serve the object itself.
        attributes: Any = None if isinstance(self._store, LocalStore) else {"Content-Type": content_type}
        async with _reaching(key):
            await obstore.put_async(self._store, key, body, attributes=attributes)

    async def get(self, key: str) -> bytes:
        """The whole object. Raises RecordNotFound or StoreUnavailable."""
        async with _reaching(key):
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())

    async def head(self, key: str) -> int | None:
        """An object's length in bytes, None when there is none. Raises StoreUnavailable."""
        try:
            async with _reaching(key):
                return (await obstore.head_async(self._store, key))["size"]
        except RecordNotFound:
            return None

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is not there is no error. Raises StoreUnavailable."""
        for key in keys:
            # One at a time: some stores report a missing object and stop there, others don't.
            try:
                async with _reaching(key):
                    await obstore.delete_async(self._store, key)
            except RecordNotFound:
                continue


@asynccontextmanager
async def _reaching(key: str) -> AsyncIterator[None]:
    _end_gently()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            yield
    except FileNotFoundError as error:
        raise RecordNotFound("objects", f"there is no object {key}") from error
    except TimeoutError as error:
        raise StoreUnavailable(f"the object store did not answer within {TIMEOUT_SECONDS:g} s") from error
    except (BaseError, OSError) as error:
        raise StoreUnavailable(f"the object store did not take or give {key}: {_reason(error)}") from error


@cache
def _end_gently() -> None:
    """Before the interpreter ends, leave the store's own threads time to let go of it.

    They do a little more after they have given their answer; when Python is gone by then, they abort the process, one time in four
    where it ends right after (https://github.com/PyO3/pyo3-async-runtimes/issues/40, open). They can't be waited for.
    """
    atexit.register(time.sleep, _EXIT_SECONDS)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
