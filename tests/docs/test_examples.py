"""The examples in the documents work: sessions and programs are run, the rest is compared with the help.

They run against a server of Candide's own over the scripted engine, under a home of their own. What an
example prints is not compared, since a model would answer otherwise every time.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .snippets import Block, find_blocks

BIN = Path(sys.executable).parent
CANDIDE = str(BIN / "candide")


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.05)


class Place:
    """A folder with a running server, in which examples run."""

    def __init__(self, folder: Path, port: int, environment: dict[str, str]) -> None:
        self.folder = folder
        self._port = port
        self._environment = environment

    def run(self, command: list[str], *, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self._environment, input=text, text=True, capture_output=True, timeout=60
        )  # fmt: skip

    def adapt(self, text: str) -> str:
        """The example for the port that the server has here."""
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self._port}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("examples")
    engine_port, port = free_port(), free_port()
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "CANDIDE_HOME": str(folder / "home"),
        "NO_COLOR": "1",
    }
    log = folder / "log"
    with log.open("wb") as output:
        engine = subprocess.Popen(
            [CANDIDE, "engine", "scripted", "--port", str(engine_port)],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
        server = subprocess.Popen(
            [CANDIDE, "serve", "--port", str(port), "--engine-url", f"http://127.0.0.1:{engine_port}"],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            _wait_for(f"http://127.0.0.1:{engine_port}/v1/models", engine, log)
            _wait_for(f"http://127.0.0.1:{port}/ready", server, log)
            place = Place(folder, port, environment)
            # Several examples speak of the last conversation.
            assert place.run([CANDIDE, "ask", "Who are you?"]).returncode == 0
            yield place
        finally:
            server.terminate()
            engine.terminate()
            server.wait()
            engine.wait()


@pytest.mark.parametrize("block", find_blocks("console"), ids=str)
def test_a_session_in_the_documents_can_be_repeated(block: Block, place: Place) -> None:
    if "curl" in block.text and not shutil.which("curl"):
        pytest.skip("there is no curl here")
    assert block.commands, "a session without a command"
    for command in block.commands:
        done = place.run(["bash", "-e", "-o", "pipefail", "-c", place.adapt(command)])
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("block", find_blocks("python"), ids=str)
def test_a_program_in_the_documents_runs(block: Block, place: Place) -> None:
    done = place.run([sys.executable, "-"], text=place.adapt(block.text))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", find_blocks("sh"), ids=str)
def test_commands_that_are_only_shown_exist_with_their_flags(block: Block, place: Place) -> None:
    for command in block.commands:
        words = shlex.split(command, comments=True)
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", Path("Makefile").read_text(), re.MULTILINE), command
        if words[:1] != ["candide"]:
            continue
        name = _command_name(words[1:])
        shown = place.run([CANDIDE, *name, "--help"])
        assert shown.returncode == 0, f"{command}\n{shown.stderr}"
        for flag in re.findall(r"(?<!\S)--?[a-z][a-z-]*", command):
            assert re.search(rf"(?<!\S){flag}(?![a-z-])", shown.stdout), f"{command}: no flag {flag}"


def _command_name(words: list[str]) -> list[str]:
    """The words that name the command: one, or two for a command of a group."""
    name = [word for word in words[:2] if not word.startswith("-")]
    return name if name[:1] and name[0] in ("models", "conversations", "engine") else name[:1]
