"""A PostgreSQL that a test may crash, and a folder for one of a command's own."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from alexandria.stores.embedded import running_server
from alexandria.stores.embedded_cluster import Cluster


class FragileServer:
    """A PostgreSQL of the test's own that can be crashed."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._cluster = Cluster(folder / "postgres" / "data")
        self.url = stack.enter_context(running_server(folder))

    def crash(self) -> None:
        """What `pg_ctl restart -m immediate` does: every process of the server ends at once, and the next one recovers."""
        postmaster = self._cluster.postmaster()
        assert postmaster is not None
        os.kill(postmaster, signal.SIGQUIT)
        give_up_at = time.monotonic() + 30
        while self._cluster.postmaster() is not None:
            assert time.monotonic() < give_up_at, "the server does not end"
            time.sleep(0.01)
        self._stack.enter_context(running_server(self._folder))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that root's PostgreSQL, which runs under another account, may enter; pytest's own is closed to it."""
    with tempfile.TemporaryDirectory(prefix="alexandria-command-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def fragile_server() -> Iterator[FragileServer]:
    with (
        tempfile.TemporaryDirectory(prefix="alexandria-fire-", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        server = FragileServer(folder, stack)
        with psycopg.connect(server.url, autocommit=True) as connection:
            # The machine itself goes on, so what the server wrote is not lost with it.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server
