"""What the machine has left: memory for what is worked on, room on a disk."""

import shutil
from collections.abc import Iterator
from pathlib import Path

_NO_LIMIT = 1 << 60
"""What version 1 of control groups says where there is no limit is about 2^63, rounded to pages."""


def free_bytes(folder: Path) -> int:
    """Room on the disk under a folder that may not have been made yet. Raises OSError."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def available_memory(processes: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that can be had without swapping: the kernel's own estimate, or less if a control group of this process leaves less.

    None where that can't be read: on macOS and Windows.
    """
    found = [each for each in (_of_machine(processes), *_of_groups(processes, groups)) if each is not None]
    return min(found, default=None)


def _of_machine(processes: Path) -> int | None:
    for line in _read(processes / "meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return None


def _of_groups(processes: Path, groups: Path) -> Iterator[int | None]:
    """What each control group leaves that this process is in; a container may see its own as the root."""
    for line in _read(processes / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = groups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = groups / "memory"
        else:
            continue
        folder = root / path.lstrip("/")
        for each in (folder, *folder.parents):
            if each.is_relative_to(root):
                yield _left_in(each, *names)


def _left_in(folder: Path, limit_name: str, used_name: str, cache_name: str) -> int | None:
    """Limit less use, but for the file cache that would be given back first; None without a limit."""
    limit, used = _read(folder / limit_name).strip(), _read(folder / used_name).strip()
    if not limit.isdigit() or not used.isdigit() or int(limit) >= _NO_LIMIT:
        return None
    lines = (line.split() for line in _read(folder / "memory.stat").splitlines())
    cache = next((int(words[1]) for words in lines if words[:1] == [cache_name]), 0)
    return max(0, int(limit) - max(0, int(used) - cache))


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except OSError:
        # Not there: not this kernel, not this version of control groups, or not for us to see. Then it limits nothing that we know of.
        return ""
