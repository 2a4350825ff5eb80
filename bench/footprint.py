"""What Candide weighs: its start, its memory, its size on the disk.

    python bench/footprint.py [--rounds 5]

Seconds from `candide serve` to the first 200 on /health (on a home that exists already), the time of
`candide --help`, resident memory of the idle server without an engine, and the size of what is installed
for the package and its dependencies, without the developers' tools, and apart from it the weights among them (the
embedder's and the adapter for answers from sources; those of chat models are fetched later). The bytecode is compiled
first, as every installation does.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.metadata
import importlib.util
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from processes import print_table, spawn_candide, workplace

IDLE_S = 2.0
WEIGHTS = {".gguf", ".bin"}


def time_help() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "candide", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def time_start(home: Path) -> tuple[float, float]:
    """Seconds to /health, MiB of the idle server."""
    begun = time.perf_counter()
    # An engine that is never asked: the server alone is measured.
    server = spawn_candide(home, "--engine-url", "http://127.0.0.1:9/v1")
    server.wait("/health")
    taken = time.perf_counter() - begun
    time.sleep(IDLE_S)
    memory = server.rss_mib()
    server.stop()
    return taken, memory


def runtime_packages() -> set[str]:
    """The package and everything that it needs, extras aside."""
    found: set[str] = set()
    waiting = ["candide"]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        found.add(name)
        waiting.extend(
            re.split(r"[^A-Za-z0-9._-]", text)[0] for text in requirements if "extra ==" not in text
        )
        if any("[asyncio]" in text for text in requirements):
            waiting.append("greenlet")
    return found


def installed_files(packages: set[str]) -> list[Path]:
    own = Path(str(importlib.util.find_spec("candide").origin)).parent  # type: ignore[union-attr]
    found = [path for path in own.rglob("*") if path.is_file()]
    for name in packages - {"candide"}:
        distribution = importlib.metadata.distribution(name)
        found.extend(Path(str(distribution.locate_file(file))) for file in distribution.files or [])
    return [path for path in found if path.suffix != ".pyc" and path.is_file()]


def installed_bytes(files: list[Path]) -> int:
    compiled = [Path(importlib.util.cache_from_source(str(path))) for path in files if path.suffix == ".py"]
    return sum(path.stat().st_size for path in [*files, *compiled] if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    packages = runtime_packages()
    files = installed_files(packages)
    for path in files:
        if path.suffix == ".py":
            compileall.compile_file(path, quiet=2)
    weights = sum(path.stat().st_size for path in files if path.suffix in WEIGHTS)
    with workplace() as folder:
        time_start(folder)  # makes the database
        starts = [time_start(folder) for _ in range(rounds)]
    helps = [time_help() for _ in range(rounds + 1)][1:]
    rows = [
        ["`candide serve` to /health, s", f"{statistics.median(s for s, _ in starts):.2f}", "1.00"],
        ["`candide --help`, ms", f"{1000 * statistics.median(helps):.0f}", "200"],
        ["idle server without engine, MiB", f"{statistics.median(m for _, m in starts):.0f}", "120"],
        ["installed, MB", f"{(installed_bytes(files) - weights) / 1e6:.0f}", "450"],
        ["weights beside it, MB", f"{weights / 1e6:.0f}", ""],
        ["packages", str(len(packages)), ""],
    ]
    print_table(f"Footprint, medians of {rounds} rounds", ["what", "measured", "target"], rows)


if __name__ == "__main__":
    main()
