"""Processes that the benchmarks start, watch and stop: servers of Candide, scripted engines."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil

START_TIMEOUT_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    """A running server: its address, its process, what it has used."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log
        self.started_s = 0.0

    def wait(self, path: str = "/health", timeout_s: float = START_TIMEOUT_S) -> float:
        """Seconds until `path` answers 200."""
        begun = time.perf_counter()
        while time.perf_counter() - begun < timeout_s:
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"the server ended with {self.process.returncode}:\n{self.log.read_text()}"
                )
            with (
                contextlib.suppress(OSError, urllib.error.URLError),
                urllib.request.urlopen(self.url + path, timeout=1) as reply,
            ):
                if reply.status == 200:
                    return time.perf_counter() - begun
            time.sleep(0.002)
        raise TimeoutError(f"{self.url}{path} does not answer:\n{self.log.read_text()}")

    def cpu_s(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def rss_mib(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


def spawn(command: list[str], url: str, log: Path, environ: dict[str, str] | None = None) -> Served:
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environ or {})},
        )
    return Served(process, url, log)


def spawn_candide(home: Path, *arguments: str, port: int = 0) -> Served:
    """`candide serve` on a home; it may not answer yet."""
    port = port or free_port()
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "candide", "serve", "--port", str(port), *arguments]
    return spawn(command, f"http://127.0.0.1:{port}", home / "server.log", {"CANDIDE_HOME": str(home)})


def spawn_scripted(script: dict[str, Any], folder: Path, port: int = 0) -> Served:
    port = port or free_port()
    path = folder / f"script-{port}.json"
    path.write_text(json.dumps(script))
    command = [
        sys.executable,
        "-m",
        "candide",
        "engine",
        "scripted",
        "--port",
        str(port),
        "--script",
        str(path),
    ]
    return spawn(command, f"http://127.0.0.1:{port}", folder / f"scripted-{port}.log")


@contextlib.contextmanager
def workplace() -> Generator[Path]:
    """A folder for one run; what was started in it has to be stopped by whoever did."""
    with tempfile.TemporaryDirectory(prefix="candide-bench-") as folder:
        yield Path(folder)


def print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    print(f"\n{title}")
    for row in [header, ["-" * width for width in widths], *rows]:
        print(
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        )
