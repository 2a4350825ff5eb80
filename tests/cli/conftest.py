"""The `candide` command as its users have it: a process of its own, a terminal, an engine behind it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil
import pytest

from candide.engine.scripted import Fault, Reply, Script, ScriptedEngine

if TYPE_CHECKING:
    from conftest import EngineThread

PATIENCE_S = 90.0
MARKDOWN = "# Candide\n\nA **bold** word.\n\n1. one\n2. two\n\n```python\nprint(1)\n```\n\nThe end."

SCRIPT = Script(
    replies=[
        Reply(match="^endless", tokens=5000, pace_ms=20),
        Reply(match="^slow", tokens=60, pace_ms=30),
        Reply(match="^tall", answer="\n\n".join(f"Paragraph number {n}." for n in range(1, 81))),
        Reply(match="^markdown", answer=MARKDOWN),
        Reply(match="^think", reasoning="let me see", answer="Thought through."),
        Reply(match="^refuse$", status=400, message="scripted refusal"),
        Reply(match="^unwell$", status=500, message="scripted failure"),
        Reply(match="^cut short", answer="one two three four", faults=[Fault(kind="cut", at=2, times=1)]),
        Reply(match="^again", answer="The first answer.", times=1),
        Reply(match="^again", answer="The second answer."),
    ]
)


def read_exactly(stream: IO[bytes] | None, count: int) -> bytes:
    """The next `count` bytes of a running command's output."""
    assert stream is not None
    data = b""
    while len(data) < count and (more := stream.read(count - len(data))):
        data += more
    return data


@dataclass
class Done:
    code: int
    out_bytes: bytes
    err: str

    @property
    def out(self) -> str:
        return self.out_bytes.decode()

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Candide:
    """Runs `candide` on a home of its own, with `engine` behind it."""

    home: Path
    engine: ScriptedEngine
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("CANDIDE_")
            # Without its bytecode every command would be compiled anew, hundreds of times.
            and name not in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "PYTHONDONTWRITEBYTECODE")
        }
        return kept | {
            "CANDIDE_HOME": str(self.home),
            "CANDIDE_ENGINE_URLS": self.engine.url,
            "CANDIDE_TITLES": "no",
            "CANDIDE_OPEN_BROWSER": "no",
            "TERM": "xterm-256color",
            "PYTHONWARNINGS": "error",
            **more,
        }

    def run(self, *arguments: str, stdin: str | bytes = b"", **environment: str) -> Done:
        """Run a command to its end; neither end is a terminal."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [sys.executable, "-m", "candide", *arguments],
            input=data,
            capture_output=True,
            env=self.environment(**environment),
            timeout=PATIENCE_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "candide", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Unbuffered: what a test reads is all that it takes from the pipe.
            bufsize=0,
            env=self.environment(),
        )
        self.started.append(process)
        return process

    def begin(self, *arguments: str, until: int) -> tuple[subprocess.Popen[bytes], bytes]:
        """Start a command and return with the first bytes of its output."""
        process = self.start(*arguments)
        return process, read_exactly(process.stdout, until)

    def end_all(self) -> None:
        for process in self.started:
            process.kill()
            with process:
                pass

    def addresses(self) -> list[dict[str, Any]]:
        """What servers left under the home."""
        return [json.loads(path.read_bytes()) for path in (self.home / "run" / "servers").glob("*.json")]

    def serve(self, *arguments: str) -> Server:
        """Start `candide serve` and return once it accepts requests."""
        process = self.start("serve", "--port", "0", *arguments)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                for told in self.addresses():
                    if told["pid"] == process.pid and _answers(told["url"]):
                        return Server(told["url"], process)
            except (OSError, ValueError):
                pass
            if process.poll() is not None:
                assert process.stderr is not None
                raise AssertionError(process.stderr.read().decode())
            time.sleep(0.02)
        raise AssertionError("the server does not answer")


@dataclass
class Server:
    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self._end()

    def _end(self) -> None:
        self.process.communicate(timeout=PATIENCE_S)


def _answers(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
        return response.status == 200


@pytest.fixture
def engine(engine_thread: EngineThread) -> ScriptedEngine:
    """A scripted engine beside the test."""
    return engine_thread.start(SCRIPT)


@pytest.fixture
def candide(tmp_path: Path, engine: ScriptedEngine) -> Iterator[Candide]:
    candide = Candide(tmp_path / "home", engine)
    yield candide
    candide.end_all()


class Terminal:
    """A terminal with a program in it; what it shows is read as a person would read it."""

    def __init__(
        self, arguments: list[str], environment: dict[str, str], *, rows: int = 24, columns: int = 80
    ) -> None:
        import ptyprocess
        import pyte

        self._screen = pyte.HistoryScreen(columns, rows, history=5000, ratio=0.5)
        # The program asks where the cursor is, as it asks real terminals, which answer.
        self._screen.write_process_input = lambda data: self._process.write(data.encode())  # type: ignore[method-assign]
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.bytes = b""
        self._process = ptyprocess.PtyProcess.spawn(arguments, dimensions=(rows, columns), env=environment)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = self._process.read(65536)
            except (EOFError, OSError):
                return
            with self._lock:
                self.bytes += data
                self._stream.feed(data)

    @property
    def text(self) -> str:
        """Everything that is on the screen or was scrolled off it, without trailing blanks."""
        with self._lock:
            width = self._screen.columns
            gone = [
                "".join(line[column].data for column in range(width)) for line in self._screen.history.top
            ]
            lines = [line.rstrip() for line in [*gone, *self._screen.display]]
        return "\n".join(lines).rstrip()

    def type(self, text: str) -> None:
        self._process.write(text.encode())

    def press(self, key: str) -> None:
        self.type(
            {"enter": "\r", "ctrl-c": "\x03", "ctrl-d": "\x04", "ctrl-j": "\n", "alt-enter": "\x1b\r",
             "tab": "\t", "up": "\x1b[A", "ctrl-u": "\x15"}[key]
        )  # fmt: skip

    def send(self, text: str) -> None:
        """Type a line and send it, once the prompt has taken it."""
        self.type(text)
        if text:
            self.wait_for(re.escape(text.splitlines()[-1][-40:]))
        self.press("enter")

    def wait_for(self, pattern: str, *, count: int = 1) -> str:
        """Wait until the pattern (a regular expression over lines) is shown so many times."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            text = self.text
            if len(re.findall(pattern, text, re.MULTILINE)) >= count:
                return text
            if not self._reader.is_alive():
                break
            time.sleep(0.02)
        text = self.text
        if len(re.findall(pattern, text, re.MULTILINE)) >= count:
            return text
        raise AssertionError(f"{pattern!r} does not appear {count} times in:\n{text}")

    def wait_for_prompt(self) -> None:
        self.wait_for(r"^>\Z")

    def resize(self, rows: int, columns: int) -> None:
        with self._lock:
            self._screen.resize(rows, columns)
        self._process.setwinsize(rows, columns)

    def wait(self) -> int:
        """Wait for the program's end; its exit code."""
        self._reader.join(PATIENCE_S)
        code = self._process.wait()
        return code if code is not None else -1

    def close(self) -> None:
        if self._process.isalive():
            # A shell's jobs too, one by one: where SIGHUP is ignored, they would live on and hold the terminal.
            leader = psutil.Process(self._process.pid)
            for process in (*leader.children(recursive=True), leader):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._reader.join(PATIENCE_S)
        self._process.close()


@pytest.fixture
def terminal(candide: Candide) -> Iterator[Callable[..., Terminal]]:
    """Run `candide` in a terminal: `terminal("chat", rows=24, columns=80)`."""
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, rows: int = 24, columns: int = 80, **environment: str) -> Terminal:
        command = [sys.executable, "-m", "candide", *arguments]
        opened.append(Terminal(command, candide.environment(**environment), rows=rows, columns=columns))
        return opened[-1]

    yield open_terminal
    for terminal in opened:
        terminal.close()
