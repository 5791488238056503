"""Programs outside and Alexandria share one key: the examples of docs/outside-programs.md, and a day that nobody overspends."""

import asyncio
import math
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from alexandria import client as client_module
from alexandria import config
from alexandria.app import App, running_app
from alexandria.client import QuotaClient, QuotaRefused
from alexandria.config import Config
from alexandria.domain.errors import QuotaDenied
from alexandria.domain.quota import Lane
from alexandria.domain.quota_status import Status
from alexandria.sandbox.server import Sandbox, Switches, running_sandbox
from alexandria.sandbox.world import World
from alexandria.server import serving
from conftest import Environment

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "outside-programs.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"^```(sh|python)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))
NIGHTLY, SHOP = "nightly-token-0123", "shop-token-01234567"
LIMIT = 40


@dataclass(frozen=True)
class Site:
    """A server, its sandbox, and the same application as a worker of another process has it."""

    address: str
    sandbox: Sandbox
    app: App
    config: Config

    async def status(self) -> Status:
        """How the day stands."""
        source = self.app.isbndb.source
        return await self.app.quota.status(source.account, source.policy)


@pytest.fixture
async def site(environment_for: Environment, database_url: str, unused_tcp_port: int) -> AsyncIterator[Site]:
    world = World.invent(seed=3, authors=2)
    async with running_sandbox(world, switches=Switches(rate_q=100_000)) as sandbox:
        settings = config.load(
            environment_for(
                sandbox,
                port=unused_tcp_port,
                safe_limit=LIMIT,
                interactive_percent=0,
                scheduled_percent=0,
                quota_tokens=f"nightly:bulk:-:{NIGHTLY} shop:interactive:-:{SHOP}",
            )
        )
        async with (
            serving(settings, database_url, with_worker=False) as server,
            running_app(settings, database_url) as app,
        ):
            yield Site(server.address, sandbox, app, settings)


def author_of(site: Site) -> urllib.request.Request:
    """A call of a program's own, for one unit."""
    return urllib.request.Request(  # noqa: S310 - the sandbox
        f"{site.sandbox.url}/author/Nobody", headers={"Authorization": "sandbox-key"}
    )


# The examples


def test_each_example_is_there() -> None:
    assert EXAMPLES.keys() == {"sh", "python"}


async def run(site: Site, tmp_path: Path, *command: str) -> str:
    """What a program prints that knows nothing but its four settings."""
    environment = {
        "PATH": os.environ["PATH"],
        "ALEXANDRIA": site.address,
        "QUOTA_TOKEN": NIGHTLY,
        "ISBNDB_URL": site.sandbox.url,
        "ISBNDB_KEY": "sandbox-key",
    }
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl: apt-get install curl")
async def test_the_curl_example_does_as_it_says(site: Site, tmp_path: Path) -> None:
    printed = await run(site, tmp_path, "sh", "-c", EXAMPLES["sh"])
    assert '"state":"settled"' in printed
    assert (tmp_path / "books.json").read_text().startswith("{")
    status = await site.status()
    assert (status.used, status.settled, site.sandbox.spent()) == (1, 1, 1)


async def test_the_python_example_does_as_it_says_with_a_copy_of_the_one_file(
    site: Site, tmp_path: Path
) -> None:
    assert client_module.__file__
    shutil.copy(client_module.__file__, tmp_path / "client.py")
    program = EXAMPLES["python"].replace("from alexandria.client import", "from client import")
    (tmp_path / "program.py").write_text(program)
    # -S: without this environment's packages, ours included.
    await run(site, tmp_path, sys.executable, "-S", "program.py")
    status = await site.status()
    assert (status.used, status.settled, site.sandbox.spent()) == (1, 1, 1)
    assert [each.consumer for each in status.usages if each.settled] == ["external-nightly"]


# The client


async def test_a_block_that_breaks_off_leaves_its_units_charged(site: Site) -> None:
    quota = QuotaClient(site.address, NIGHTLY)

    def break_off() -> None:
        with quota.call(units=3) as call:
            assert time.monotonic() < call.lapses_at
            raise RuntimeError("the connection was lost")

    def forget() -> None:
        with quota.call(units=4):
            pass

    def give_back() -> None:
        with quota.call(units=5) as call:
            call.release()

    with pytest.raises(RuntimeError):
        await asyncio.to_thread(break_off)
    await asyncio.to_thread(forget)
    await asyncio.to_thread(give_back)
    status = await site.status()
    assert (status.used, status.unresolved) == (7, 7)


class BusyMachine:
    """A machine's clock; the first sleep takes `late` seconds, the others none."""

    def __init__(self, late: float = 60) -> None:
        self.slept: list[float] = []
        self.late = late

    def monotonic(self) -> float:
        return time.monotonic() + (self.late if self.slept else 0)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_what_is_too_late_for_its_fence_is_given_back_and_reserved_again(site: Site) -> None:
    machine = BusyMachine()
    quota = QuotaClient(site.address, SHOP, clock=machine)
    reservation = await asyncio.to_thread(quota.reserve, 2)
    assert machine.monotonic() < reservation.lapses_at
    assert len(machine.slept) == 2
    status = await site.status()
    assert (status.used, status.reserved) == (2, 2)


async def test_what_is_always_too_late_is_given_back_and_given_up(site: Site) -> None:
    quota = QuotaClient(site.address, SHOP, clock=BusyMachine())
    with pytest.raises(TimeoutError, match="overloaded"):
        await asyncio.to_thread(quota.reserve, 2, most_wait_seconds=30)
    assert (await site.status()).used == 0


async def test_who_does_not_want_to_wait_is_told_at_once(site: Site) -> None:
    quota = QuotaClient(site.address, SHOP, clock=BusyMachine(0))
    all_there_is = await asyncio.to_thread(quota.reserve, LIMIT, most_wait_seconds=0)
    await asyncio.to_thread(all_there_is.settle)
    with pytest.raises(QuotaRefused, match="429") as refused:
        await asyncio.to_thread(quota.reserve, most_wait_seconds=0)
    assert refused.value.problem["reason"] == "exhausted"
    assert 0 < refused.value.retry_after_seconds < math.inf


async def test_an_answer_that_is_lost_on_its_way_is_charged_once(site: Site) -> None:
    host, port = site.address.removeprefix("http://").split(":")
    received: list[bytes] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        received.append(await reader.readexactly(int(length[1]) if length else 0))
        ours, theirs = await asyncio.open_connection(host, int(port))
        theirs.write(head + received[-1])
        answer = await ours.read()
        # The first answer gets no further than here, of the second only a part does.
        writer.write({1: b"", 2: answer[:-20]}.get(len(received), answer))
        writer.close()
        theirs.close()

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as broken:
        address = f"http://127.0.0.1:{broken.sockets[0].getsockname()[1]}"
        await asyncio.to_thread(QuotaClient(address, SHOP, clock=BusyMachine(0)).reserve, 2)
    assert len(received) == 3
    status = await site.status()
    assert (status.used, status.reserved) == (2, 2)


async def test_a_server_that_is_away_means_that_nothing_is_sent(site: Site) -> None:
    quota = QuotaClient("http://127.0.0.1:9", NIGHTLY, timeout_seconds=1)
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(quota.reserve)
    with pytest.raises(QuotaRefused) as refused:
        await asyncio.to_thread(QuotaClient(site.address, "not-a-token-of-theirs").reserve)
    assert (refused.value.status, refused.value.retry_after_seconds) == (401, math.inf)


# One day for all


async def test_two_programs_and_the_gateway_spend_one_day_to_its_end_and_no_further(site: Site) -> None:
    async def spend_outside(token: str) -> int:
        return await asyncio.to_thread(_spend_outside, site, token)

    async def spend_inside() -> int:
        spent = 0
        while spent <= LIMIT:
            try:
                await site.app.isbndb.author_page(
                    "Nobody", 1 + spent, lane=Lane.SCHEDULED, consumer="author-bibliography"
                )
            except QuotaDenied as denial:
                if denial.reason != "exhausted":
                    raise
                break
            spent += 1
        return spent

    spent = await asyncio.gather(spend_outside(NIGHTLY), spend_outside(SHOP), spend_inside())
    assert sum(spent) == LIMIT
    assert all(spent)
    assert site.sandbox.spent() == LIMIT
    assert (await site.status()).used == LIMIT
    assert await site.app.quota.verify() == []


def _spend_outside(site: Site, token: str) -> int:
    """Call until the day is used up; how often that was."""
    quota = QuotaClient(site.address, token)
    spent = 0
    while spent <= LIMIT:
        try:
            with (
                quota.call(most_wait_seconds=30) as call,
                urllib.request.urlopen(author_of(site), timeout=10) as answer,  # noqa: S310 - the sandbox
            ):
                call.settle(1, headers=answer.headers)
        except QuotaRefused as refused:
            if refused.problem["reason"] != "exhausted":
                raise
            break
        spent += 1
    return spent
