"""A rehearsal in its short form: a midnight and an hour of all processes, on fast clocks, with kills and faults."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest


async def started(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "alexandria.rehearsal",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.timeout(240)
async def test_a_short_rehearsal_keeps_every_promise() -> None:
    process = await started("--short", "--json")
    out, err = await asyncio.wait_for(process.communicate(), 200)
    told = json.loads(out)
    missed = [each for each in told["measures"] if not each["holds"]]
    assert not missed, (missed, err.decode())
    assert process.returncode == 0
    assert told["counts"]["workers killed"] >= 3
    assert "workers ended by themselves" not in told["counts"], err.decode()


def processes_of(folder: Path) -> list[int]:
    """Every process that runs in, or has an open file in, a rehearsal's folder."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit() and int(each.name) != os.getpid():
            try:
                opened = [link.readlink() for link in (each / "fd").iterdir()]
            except OSError:
                continue
            if any(name.is_relative_to(folder) for name in opened):
                found.append(int(each.name))
    return found


@pytest.mark.timeout(120)
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks for processes in /proc")
async def test_a_rehearsal_that_is_stopped_leaves_no_process(folder: Path) -> None:
    process = await started("--short", "--folder", str(folder))
    assert process.stderr is not None
    async with asyncio.timeout(60):
        async for line in process.stderr:
            if b"units" in line:
                break
    assert processes_of(folder)
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130, err.decode()
    assert err.decode().splitlines()[-1] == "stopped; nothing is left running"
    assert "Traceback" not in err.decode()
    assert processes_of(folder) == []


async def test_a_folder_that_is_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    process = await started("--short", "--folder", str(tmp_path))
    _, err = await process.communicate()
    assert process.returncode == 1
    assert "is not empty" in err.decode()
