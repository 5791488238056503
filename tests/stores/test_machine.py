"""What a machine has left is read from what its kernel says, control groups of both versions included."""

from pathlib import Path

import pytest

from alexandria.stores.machine import available_memory, free_bytes

GIB = 1024**3
MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8388608 kB\n"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    write(tmp_path / "proc", meminfo=MEMINFO)
    return tmp_path / "proc"


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def test_without_control_groups_it_is_what_the_kernel_calls_available(processes: Path, groups: Path) -> None:
    assert available_memory(processes, groups) == 8 * GIB


def test_where_there_is_no_proc_nobody_can_tell(tmp_path: Path) -> None:
    assert available_memory(tmp_path / "nowhere", tmp_path / "nowhere") is None


def test_a_group_of_version_2_leaves_its_limit_less_what_is_no_file_cache(
    processes: Path, groups: Path
) -> None:
    write(processes / "self", cgroup="0::/system.slice/alexandria.service\n")
    write(
        groups / "system.slice" / "alexandria.service",
        memory__max=f"{2 * GIB}\n",
        memory__current=f"{GIB}\n",
        memory__stat=f"anon {GIB // 2}\ninactive_file {GIB // 4}\nactive_file {GIB // 4}\n",
    )
    assert available_memory(processes, groups) == 2 * GIB - 3 * GIB // 4


def test_the_tightest_of_a_group_and_those_above_it_counts(processes: Path, groups: Path) -> None:
    write(processes / "self", cgroup="0::/above/below\n")
    write(groups / "above" / "below", memory__max="max\n", memory__current="1\n", memory__stat="")
    write(groups / "above", memory__max=f"{3 * GIB}\n", memory__current=f"{GIB}\n", memory__stat="")
    assert available_memory(processes, groups) == 2 * GIB
    write(groups / "above" / "below", memory__max=f"{GIB}\n", memory__current=f"{4 * GIB}\n")
    assert available_memory(processes, groups) == 0, "it is above its limit, and about to be ended"


@pytest.mark.parametrize("path", ["/docker/abc", "/"])
def test_a_group_of_version_1_that_may_be_seen_as_the_root(processes: Path, groups: Path, path: str) -> None:
    write(processes / "self", cgroup=f"9:name=systemd:{path}\n4:cpu,memory:{path}\n1:cpu:{path}\n")
    write(
        groups / "memory",
        memory__limit_in_bytes=f"{GIB}\n",
        memory__usage_in_bytes=f"{GIB // 2}\n",
        memory__stat=f"inactive_file 5\ntotal_inactive_file {GIB // 4}\n",
    )
    assert available_memory(processes, groups) == 3 * GIB // 4


def test_what_version_1_says_without_a_limit_is_none(processes: Path, groups: Path) -> None:
    write(processes / "self", cgroup="4:memory:/a\n")
    write(
        groups / "memory" / "a", memory__limit_in_bytes="9223372036854771712\n", memory__usage_in_bytes="5\n"
    )
    assert available_memory(processes, groups) == 8 * GIB


def test_this_machine_tells_what_it_has() -> None:
    found = available_memory()
    assert found is None or found > 0
    assert abs(free_bytes(Path("/nowhere/at/all")) - free_bytes(Path("/"))) < GIB, "others write to it, too"
