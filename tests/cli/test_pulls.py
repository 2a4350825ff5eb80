"""What people see of a download: the bar on a terminal, lines elsewhere, and what Ctrl-C says."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SIZE = 60_000_000
BLOCK = 100_000
PAUSE_S = 0.02
KEPT = "stopped; what was fetched is kept, and the same command goes on with it"


class _SlowStore(BaseHTTPRequestHandler):
    """Serves what begins like a model, at 5 MB/s at most."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        start = int(re.sub(r"\D", "", self.headers.get("Range", "")) or 0)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(SIZE - start))
        self.send_header("ETag", '"one"')
        if start:
            self.send_header("Content-Range", f"bytes {start}-{SIZE - 1}/{SIZE}")
        self.end_headers()
        with contextlib.suppress(OSError):
            for at in range(start, SIZE, BLOCK):
                block = b"GGUF" + bytes(BLOCK - 4) if at == 0 else bytes(min(BLOCK, SIZE - at))
                self.wfile.write(block)
                time.sleep(PAUSE_S)


@pytest.fixture
def slow_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SlowStore)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/slow.gguf"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("columns", [60, 100])
def test_the_bar_moves_in_a_terminal_and_an_interrupt_says_what_is_kept(
    terminal: Any, candide: Any, slow_url: str, columns: int
) -> None:
    opened = terminal("models", "pull", slow_url, columns=columns)
    shown: set[str] = set()
    deadline = time.monotonic() + 30
    while len(shown) < 5 and time.monotonic() < deadline:
        text = opened.text
        assert len(text.splitlines()) <= 1, "one bar, and no lines above it"
        shown |= set(re.findall(r"(\d+\.\d)/60\.0 MB +\d+\.\d MB/s", text))
        time.sleep(0.05)
    assert len(shown) >= 5
    opened.press("ctrl-c")
    assert opened.wait() == 130
    assert " ".join(opened.text.split()) == KEPT
    assert (candide.home / "models/.partial/slow.gguf.part").stat().st_size > 1_000_000


@pytest.mark.parametrize(("command", "code"), [(("serve", "--port", "0"), 0), (("ask", "Hello"), 130)])
def test_an_interrupt_of_a_first_start_says_what_is_kept(
    candide: Any, slow_url: str, command: tuple[str, ...], code: int
) -> None:
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "candide", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=candide.environment(CANDIDE_ENGINE_URLS="", CANDIDE_MODEL=slow_url),
        )
        candide.started.append(process)
        part: Path = candide.home / "models/.partial/slow.gguf.part"
        before = part.stat().st_size if part.exists() else 0
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > before + 1_000_000):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == code
        assert err.decode().splitlines()[-1] == KEPT
        assert part.stat().st_size > before + 1_000_000, "it went on where it stopped"


def test_a_server_says_where_it_is_while_the_bar_moves(terminal: Any, slow_url: str) -> None:
    opened = terminal("serve", "--port", "0", columns=140, CANDIDE_ENGINE_URLS="", CANDIDE_MODEL=slow_url)
    opened.wait_for(r"Candide is at http://127\.0\.0\.1:\d+")
    opened.wait_for(r"\d+\.\d/60\.0 MB +\d+\.\d MB/s")
    opened.press("ctrl-c")
    assert opened.wait() == 0
    assert opened.text.splitlines()[-1] == KEPT
    assert len(opened.text.splitlines()) == 3, "two lines of the server, and one of the end"


def test_who_asks_a_server_that_fetches_its_model_is_told_to_wait(candide: Any, slow_url: str) -> None:
    candide.serve("--model", slow_url)
    process = candide.start("ask", "Hello")
    line = process.stderr.readline().decode()
    process.kill()
    process.communicate()
    assert re.fullmatch(
        r"the model slow is being fetched, \d+ %; a question is answered once it is there\n", line
    )


def test_lines_in_a_log_say_share_and_speed(candide: Any, slow_url: str) -> None:
    process = candide.start("models", "pull", slow_url)
    line = process.stderr.readline().decode()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert re.fullmatch(r"downloading slow\.gguf \d+ % \d+\.\d MB/s\n", re.sub(r"\S+/slow", "slow", line))
