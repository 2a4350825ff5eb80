"""The machine as this process may use it: memory, cores and instruction sets.

A container's limits count before the machine's own: cgroups of version 1 and 2 are read from the
process's group up to the root, as the kernel applies them. Nothing is measured by running code, so
reading the machine takes a few milliseconds and gives the same answer every time.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    memory_bytes: int
    """What the process may use at most."""
    available_bytes: int
    """What of it is free now."""
    cores: int
    """Threads worth starting: by affinity, cgroup quota and physical cores, the smallest."""
    flags: frozenset[str]
    """Instruction sets, as Linux spells them (`avx2`, `avx512f`, `asimd`); empty where unknown."""
    system: str
    """`Linux`, `Darwin`, `Windows`."""
    architecture: str
    """`x86_64`, `arm64`, ..."""
    limited_by: str
    """`machine`, or `cgroup` where a container's limit on memory is the smaller."""

    @property
    def bandwidth(self) -> float:
        """Bytes of four-bit weights that the cores together work through in a second; an estimate.

        Calibrated on two x86-64 cores with AVX2, which read 17 GB/s of Qwen2.5-1.5B in Q4_K_M. A few
        cores are bound by their arithmetic and many by the memory, of which laptops and
        desktops with two channels give about 36 GB/s to llama.cpp, and Apple's chips more.
        """
        if self.architecture == "arm64" and self.system == "Darwin":
            return min(self.cores * 15e9, 70e9)
        if self.architecture == "x86_64":
            per_core = 8.5e9 if not self.flags or "avx2" in self.flags else 2.5e9
        else:
            per_core = 6e9 if not self.flags or "asimddp" in self.flags else 3e9
        return min(self.cores * per_core, 36e9)

    def estimate_speed(self, bytes_read_per_token: int, layers: int) -> float:
        """Tokens per second of one answer, from what each token makes the cores read."""
        # Threads meet a few times in every layer; measured as the gap between a tiny model's
        # speed and what its size alone would allow.
        return 1 / (bytes_read_per_token / self.bandwidth + layers * 1.8e-4)


def read_machine(root: Path = Path("/")) -> Machine:
    """Look at the machine; `root` is where `/proc` and `/sys` are looked for."""
    import psutil

    memory = psutil.virtual_memory()
    limit, used = _read_memory_limit(root)
    total = min(memory.total, limit)
    architecture = platform.machine().lower()
    return Machine(
        memory_bytes=total,
        available_bytes=max(0, min(memory.available, limit - used))
        if limit < memory.total
        else memory.available,
        cores=_count_cores(root),
        flags=_read_flags(root),
        system=platform.system(),
        architecture={"amd64": "x86_64", "aarch64": "arm64"}.get(architecture, architecture),
        limited_by="cgroup" if limit < memory.total else "machine",
    )


def _count_cores(root: Path) -> int:
    import psutil

    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        allowed = os.cpu_count() or 1
    # Two threads of one core share its arithmetic units and would wait for each other.
    physical = psutil.cpu_count(logical=False) or allowed
    quota = min(_read_quotas(root), default=math.inf)
    return max(1, math.floor(min(allowed, physical, quota + 0.5)))


def _read_quotas(root: Path) -> Iterator[float]:
    """Cores that each group in the way up allows."""
    for directory in _groups(root, "cpu"):
        quota, _, period = _read_text(directory / "cpu.max").partition(" ")
        if not quota:
            quota = _read_text(directory / "cpu.cfs_quota_us")
            period = _read_text(directory / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):
            yield int(quota) / int(period)


def _read_memory_limit(root: Path) -> tuple[int, int]:
    """The tightest limit in bytes, and what its group uses now."""
    tightest, used = sys.maxsize, 0
    for directory in _groups(root, "memory"):
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.high", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            text = _read_text(directory / limit_name)
            if text.isdigit() and 0 < int(text) < tightest:
                current = _read_text(directory / used_name)
                tightest, used = int(text), int(current) if current.isdigit() else 0
    return tightest, used


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control groups, from its own up to the root."""
    for line in _read_text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            mount = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controller
        else:
            continue
        # Inside a container the path may be the host's and not exist; the mount itself always does.
        directory = mount / path.strip().lstrip("/")
        while True:
            if directory.is_dir():
                yield directory
            if directory == mount or mount not in directory.parents:
                break
            directory = directory.parent


def _read_flags(root: Path) -> frozenset[str]:
    for line in _read_text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("flags", "features"):
            return frozenset(value.split())
    if platform.system() == "Darwin" and platform.machine() == "x86_64":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.features", "machdep.cpu.leaf7_features"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
        except OSError:
            return frozenset()
        return frozenset(found.stdout.lower().split())
    return frozenset()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
