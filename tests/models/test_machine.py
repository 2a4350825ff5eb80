from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from candide.models.machine import Machine, read_machine


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_this_machine_has_memory_and_cores() -> None:
    machine = read_machine()

    assert 0 < machine.memory_bytes <= psutil.virtual_memory().total
    assert 0 <= machine.available_bytes <= machine.memory_bytes
    assert 1 <= machine.cores <= (psutil.cpu_count() or 1)


def test_without_limits_the_machine_itself_counts(tmp_path: Path) -> None:
    machine = read_machine(tmp_path)

    assert machine.memory_bytes == psutil.virtual_memory().total
    assert machine.limited_by == "machine"


@pytest.mark.parametrize(
    "files",
    [
        {
            "proc/self/cgroup": "0::/user.slice/app\n",
            "sys/fs/cgroup/user.slice/app/memory.max": "max\n",
            "sys/fs/cgroup/user.slice/memory.max": "67108864\n",
            "sys/fs/cgroup/user.slice/memory.current": "16777216\n",
            "sys/fs/cgroup/user.slice/cpu.max": "100000 100000\n",
        },
        {
            "proc/self/cgroup": "0::/the/hosts/path/that/is/not/here\n",
            "sys/fs/cgroup/memory.max": "67108864\n",
            "sys/fs/cgroup/memory.current": "16777216\n",
            "sys/fs/cgroup/cpu.max": "100000 100000\n",
        },
        {
            "proc/self/cgroup": "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n",
            "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "67108864\n",
            "sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": "16777216\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "100000\n",
            "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "100000\n",
        },
    ],
    ids=["version 2", "version 2 in a container", "version 1"],
)
def test_a_containers_limits_count(tmp_path: Path, files: dict[str, str]) -> None:
    machine = read_machine(lay_out(tmp_path, files))

    assert machine.memory_bytes == 64 << 20
    assert machine.available_bytes == 48 << 20
    assert machine.limited_by == "cgroup"
    assert machine.cores == 1


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    machine = read_machine(
        lay_out(
            tmp_path,
            {
                "proc/self/cgroup": "0::/\ngarbage\n",
                "sys/fs/cgroup/memory.max": "max",
                "sys/fs/cgroup/cpu.max": "max 100000",
            },
        )
    )

    assert machine.limited_by == "machine"
    assert machine.cores == read_machine(Path("/nowhere")).cores


def test_flags_are_read(tmp_path: Path) -> None:
    machine = read_machine(
        lay_out(tmp_path, {"proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu avx avx2 fma\n"})
    )

    assert machine.flags == {"fpu", "avx", "avx2", "fma"}


def machine(cores: int, **other: object) -> Machine:
    values: dict[str, object] = {
        "memory_bytes": 24 << 30,
        "available_bytes": 20 << 30,
        "cores": cores,
        "flags": frozenset({"avx2"}),
        "system": "Linux",
        "architecture": "x86_64",
        "limited_by": "machine",
    }
    return Machine(**(values | other))  # pyright: ignore[reportArgumentType]


def test_the_estimate_meets_what_was_measured_on_two_cores() -> None:
    assert 12 < machine(2).estimate_speed(1117320768, 28) < 16
    assert 80 < machine(2).estimate_speed(98362432, 30) < 100


def test_more_cores_are_faster_until_the_memory_is_the_limit() -> None:
    speeds = [machine(cores).estimate_speed(4 << 30, 36) for cores in (1, 2, 4, 8, 64)]

    assert speeds == sorted(speeds)
    assert speeds[-1] == speeds[-2]
    assert machine(2, flags=frozenset({"sse4_2"})).bandwidth < machine(2).bandwidth
