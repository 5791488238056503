"""The processes of a rehearsal, started, killed, replaced and ended."""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from alexandria.domain.errors import ConfigurationError
from alexandria.rehearsal.scenario import Orders

Process = asyncio.subprocess.Process

_START_SECONDS = 60.0
_END_SECONDS = 20.0


@dataclass
class Ensemble:
    """Every process that was started, its orders and its log in one folder."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    """How many workers were killed, and how many ended without being told to."""
    _running: list[Process] = field(default_factory=list)
    _numbers: Counter[str] = field(default_factory=Counter)

    async def start(self, part: str, orders: Orders) -> Process:
        """Start one part and give it its orders."""
        process = await self.prepare(part)
        await self.order(process, orders)
        return process

    async def prepare(self, part: str) -> Process:
        """Start one part as far as it comes without orders; what it logs goes to `<part>-<number>.log`."""
        self._numbers[part] += 1
        with (self.folder / f"{part}-{self._numbers[part]}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "alexandria.rehearsal.parts",
                part,
                # It ends when this pipe does, even if we are killed; and Ctrl-C is for us alone.
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                process_group=0,
            )
        self._running.append(process)
        await read_line(process)
        return process

    async def order(self, process: Process, orders: Orders) -> None:
        """Let a part that is ready begin."""
        if process.stdin is not None:
            with suppress(ConnectionError):  # it has ended; whoever waits for it sees that
                process.stdin.write(msgspec.json.encode(orders) + b"\n")
                await process.stdin.drain()

    async def end(self, process: Process) -> None:
        """Tell one to end, and make it if it does not."""
        if process in self._running:
            self._running.remove(process)
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            self.counts["did not end"] += 1
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def end_all(self) -> None:
        """The same for all that are left, at once."""
        await asyncio.gather(*(self.end(each) for each in list(self._running)))

    async def keep_workers(
        self, crew: list[Process], orders: Orders, *, kill_every: float, seed: int
    ) -> None:
        """Keep these workers at work, killing and replacing one of them in `crew` every so many seconds, until cancelled."""
        chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
        loop = asyncio.get_running_loop()
        kill_at = loop.time() + kill_every
        while True:  # ends: the task is cancelled
            ended = [asyncio.create_task(each.wait()) for each in crew]
            await asyncio.wait(
                ended, timeout=max(0.0, kill_at - loop.time()), return_when=asyncio.FIRST_COMPLETED
            )
            for task in ended:
                task.cancel()
            if loop.time() >= kill_at:
                kill_at += kill_every
                victim = chance.choice(crew)
                with suppress(ProcessLookupError):
                    victim.kill()
                    self.counts["killed"] += 1
                await victim.wait()
            for number, each in enumerate(crew):
                if each.returncode is not None:
                    self._running.remove(each)
                    if each.returncode != -signal.SIGKILL:
                        self.counts["ended by themselves"] += 1
                    crew[number] = await self.start("worker", orders)

    async def kill_all(self) -> None:
        """At once, without asking."""
        for each in self._running:
            with suppress(ProcessLookupError):
                each.kill()
        await asyncio.gather(*(each.wait() for each in self._running))


@asynccontextmanager
async def ensemble(folder: Path) -> AsyncIterator[Ensemble]:
    """Processes that end with the block; at once when it raises."""
    made = Ensemble(folder)
    try:
        yield made
        await made.end_all()
    finally:
        await made.kill_all()


async def read_line(process: Process) -> bytes:
    """The next line that a part prints. Raises ConfigurationError when it does not start."""
    line = b""
    if process.stdout is not None:
        with suppress(TimeoutError):
            line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
    if not line:
        raise ConfigurationError("a process of the rehearsal did not start: name a --folder and read its log")
    return line


async def read_addresses(process: Process) -> dict[str, str]:
    """Where the provider answers."""
    return msgspec.json.decode(await read_line(process), type=dict[str, str])
