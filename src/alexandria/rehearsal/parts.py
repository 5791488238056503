"""The processes of a rehearsal: `python -m alexandria.rehearsal.parts worker`.

Each says `ready` once everything is imported, waits for its orders on its standard input, one line of JSON, and ends when it is told
to, or when that input does: so none outlives the rehearsal, however that ends.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from alexandria import config as configuration
from alexandria.app import running_app
from alexandria.cli import console
from alexandria.config import Config
from alexandria.domain.errors import ConfigurationError
from alexandria.jobs.worker import Worker
from alexandria.rehearsal.others import ask_before_spending, spend_without_asking
from alexandria.rehearsal.scenario import COVER_WIDTH, FREE_ADDRESSES, KEY, OTHER_KEY, SPANS, Orders
from alexandria.sandbox.accounts import Key
from alexandria.sandbox.server import running_sandbox
from alexandria.server import serving
from alexandria.telemetry import configure_logs


def configured(orders: Orders) -> Config:
    """The configuration of a process of ours."""
    return replace(configuration.load(orders.environment), policy_spans=SPANS)


async def work(orders: Orders) -> None:
    """A worker."""
    settings = configured(orders)
    async with running_app(settings, _database_url(settings), clock=orders.clock()) as app:
        worker = Worker(app)
        _when_told_to_end(worker.stop)
        await worker.run()


async def serve(orders: Orders) -> None:
    """The server, without a worker of its own: the four are told apart, so that each can be killed."""
    settings = configured(orders)
    async with serving(settings, _database_url(settings), with_worker=False, clock=orders.clock()) as server:
        stop = asyncio.Event()
        _when_told_to_end(stop.set)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({stopped, server.ended}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()


async def provide(orders: Orders) -> None:
    """The provider and its covers host. Of the day before, so much was spent that little is left."""
    scenario = orders.read_scenario()
    world = scenario.invent_world()
    async with running_sandbox(
        world,
        switches=scenario.switches(),
        keys={each: Key(subscription="shared") for each in (KEY, OTHER_KEY)},
        clock=orders.clock(),
        journal=Path(orders.journal),
        cover_width=COVER_WIDTH,
    ) as sandbox:
        sandbox.warm_up()
        sandbox.spend_elsewhere(scenario.safe_limit - scenario.units_left_before, KEY)
        console.write_json(
            {name: getattr(sandbox, name) for name in ("url", "covers_url", "control_url", *FREE_ADDRESSES)}
        )
        stop = asyncio.Event()
        _when_told_to_end(stop.set)
        await stop.wait()


async def share(orders: Orders) -> None:
    """The outside program that reserves over HTTP before it spends."""
    _when_told_to_end(_end)
    await asyncio.to_thread(ask_before_spending, orders)


async def trespass(orders: Orders) -> None:
    """The other program, which spends the key without asking."""
    _when_told_to_end(_end)
    await asyncio.to_thread(spend_without_asking, orders)


PARTS: Mapping[str, Callable[[Orders], Awaitable[None]]] = {
    "worker": work,
    "server": serve,
    "provider": provide,
    "sharer": share,
    "trespasser": trespass,
}
"""What a process may be told to be."""


def _database_url(settings: Config) -> str:
    if settings.database_url is None:
        raise ConfigurationError("ALEXANDRIA_DATABASE_URL: the orders name no database")
    return settings.database_url


def _end() -> None:
    """A program outside ends in the middle of whatever it does, as programs do."""
    os._exit(0)


def _when_told_to_end(stop: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop)

    # A daemon: it must not keep the process alive.
    threading.Thread(target=watch, name="parent", daemon=True).start()


def main() -> None:
    """Be one part."""
    (part,) = sys.argv[1:]
    configure_logs("warning")
    os.write(1, b"ready\n")
    # Not through sys.stdin: the thread that watches for its end must not find it locked.
    line = bytearray()
    while not line.endswith(b"\n"):
        if not (byte := os.read(0, 1)):
            return
        line += byte
    asyncio.run(_play(part, msgspec.json.decode(bytes(line), type=Orders)))


async def _play(part: str, orders: Orders) -> None:
    await PARTS[part](orders)


if __name__ == "__main__":
    main()
