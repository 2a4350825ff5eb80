"""One worker process: started, watched, logged, ended.

A `Worker` is one life of one process; whoever wants another makes another. Its log lies in a file
of bounded size that outlives it, and the last lines of it are part of every error about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from candide.engine.client import EngineClient
from candide.engine.llamacpp import LlamaCppEngine, LlamaCppModel
from candide.engine.worker import WorkerConfig, read_flags
from candide.errors import CandideError, EngineUnavailable, SettingsError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

T = TypeVar("T")

LARGEST_LOG_BYTES = 2 * 1024 * 1024
LOG_LINES_IN_ERRORS = 8
LONGEST_GOODBYE_S = 5.0
NEEDED_FLAGS = frozenset({"--kv-unified", "--cache-ram", "--embeddings", "--jinja", "--threads-http"})
"""By these a llama-server is new enough to be taken unasked."""

_DAMAGED = re.compile(rb"corrupted or incomplete|not within the file bounds|invalid magic|unknown model architecture"
                      rb"|failed to read|bad_alloc|wrong number of tensors|missing tensor|invalid GGUF|failed to load model")  # fmt: skip


class Worker:
    """A process that serves one model; `client` speaks OpenAI's paths, `native` llama.cpp's own."""

    def __init__(self, config: WorkerConfig, model: LlamaCppModel, log_path: Path, timeout_s: float) -> None:
        self.config = config
        self.log_path = log_path
        self._timeout_s = timeout_s
        self._model = model
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0
        self._address = ""
        self._calls = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._probe: aiohttp.ClientSession | None = None
        self.client: LlamaCppEngine
        self.native: EngineClient

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def address(self) -> str:
        """`http://127.0.0.1:PORT`, once it has started."""
        return self._address

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, longest_s: float) -> None:
        """Return when the model is loaded.

        Raises WeightsError when it cannot be, EngineUnavailable when the process ends or takes longer.
        """
        try:
            async with asyncio.timeout(longest_s):
                reply = await self._spawn()
        except TimeoutError:
            await self.kill()
            raise EngineUnavailable(
                f"model '{self.config.name}' was not loaded within {longest_s:.0f} s{self.last_words()}"
            ) from None
        except BaseException:
            await self.kill()
            raise
        if "port" not in reply:
            await self.kill()
            raise self._explain_failure(str(reply.get("error", "")))
        self._address = f"http://127.0.0.1:{reply['port']}"
        client = EngineClient(self.config.name, self._address + "/v1", self.config.api_key, self._timeout_s)
        self.client = LlamaCppEngine(client, self._model)
        self.native = EngineClient(self.config.name, self._address, self.config.api_key, self._timeout_s)

    async def _spawn(self) -> dict[str, Any]:
        with open_log(self.log_path) as log:
            self._log_start = log.tell()
            # -P: a file in the working folder must not stand in for a module. A session of its own: Ctrl-C
            # at the terminal is for the server, which lets answers end before it ends the worker.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", "candide.engine.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(ConnectionError):
            stdin.write(json.dumps(dataclasses.asdict(self.config)).encode() + b"\n")
            await stdin.drain()
        line = await stdout.readline()
        return json.loads(line) if line else {}

    async def wait(self) -> int:
        assert self._process is not None
        return await self._process.wait()

    async def count_busy_slots(self, longest_s: float) -> int:
        """Ask how many slots are at work; llama.cpp answers from the loop that writes the answers.

        Raises TimeoutError when that loop does not come round in time, OSError when nothing listens.
        """
        import aiohttp

        if self._probe is None:
            self._probe = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.config.api_key}"})
        async with asyncio.timeout(longest_s):
            async with self._probe.get(f"{self._address}/slots") as response:
                slots: Any = await response.json()
        return sum(bool(slot["is_processing"]) for slot in slots)

    async def call(self, send: Callable[[Worker], Awaitable[T]]) -> T:
        """Send a request, so that `stop` knows of it."""
        self._calls += 1
        self._calm.clear()
        try:
            return await send(self)
        finally:
            self._calls -= 1
            if not self._calls:
                self._calm.set()

    async def stop(self) -> None:
        """End the process, and return when it is gone. May be called twice."""
        if self.alive:
            assert self._process is not None
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), LONGEST_GOODBYE_S)
        await self.kill()
        # Calls under way fail now that nobody listens; a client closed under them would confuse them.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._calm.wait(), LONGEST_GOODBYE_S)
        for session in (getattr(self, "client", None), getattr(self, "native", None), self._probe):
            if session is not None:
                await session.close()

    async def kill(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def last_words(self) -> str:
        """The end of this life's log, ready to be appended to a message; empty when there is none."""
        lines = self._read_log().decode("utf-8", "replace").splitlines()[-LOG_LINES_IN_ERRORS:]
        return "; the log ends:\n  " + "\n  ".join(lines) if lines else ""

    def bound_log(self) -> None:
        """Cut the log down when it has grown too large; the worker appends, so it may go on writing."""
        with contextlib.suppress(OSError):
            if self.log_path.stat().st_size > LARGEST_LOG_BYTES:
                _keep_older(self.log_path)
                os.truncate(self.log_path, 0)
                self._log_start = 0

    def _read_log(self) -> bytes:
        try:
            with self.log_path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(min(self._log_start, size), size - 64 * 1024))
                return log.read()
        except OSError:
            return b""

    def _explain_failure(self, said: str) -> CandideError:
        name, path, log = self.config.name, self.config.model, self._read_log()
        if b"bad_alloc" in log or b"failed to allocate" in log or b"alloc" in said.encode():
            return EngineUnavailable(
                f"model '{name}' does not fit into the memory that is free now{self.last_words()}",
                hint="close other programs, choose a smaller model, or lower context_tokens",
            )
        if _DAMAGED.search(log):
            return WeightsError(
                f"model file '{path}' cannot be loaded: it is incomplete, damaged, or newer than this llama.cpp"
                f"{self.last_words()}",
                hint="remove it and pull it again: candide models remove, candide models pull",
            )
        status = self._process.returncode if self._process else None
        return EngineUnavailable(
            f"the worker of model '{name}' ended while loading ({said or f'status {status}'}){self.last_words()}",
            hint=f"its log is {self.log_path}",
        )


def find_program(setting: str) -> str:
    """The `llama-server` to run, empty for the built-in llama.cpp.

    One on the PATH is taken when it is new enough: who installed it has a build for this very
    processor or graphics card. Raises SettingsError when the named one is not there.
    """
    if setting == "off":
        return ""
    found = shutil.which(setting or "llama-server")
    if setting and not found:
        raise SettingsError(
            f"llama_server '{setting}' is not a program",
            hint="name the llama-server to run, or 'off' for the built-in llama.cpp",
        )
    if not found or (not setting and not read_flags(found) >= NEEDED_FLAGS):
        return ""
    return found


def open_log(path: Path) -> BinaryIO:
    """Open a log to append to, setting a large one aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        if path.stat().st_size > LARGEST_LOG_BYTES // 2:
            _keep_older(path)
            path.unlink()
    log = path.open("ab")
    log.seek(0, os.SEEK_END)
    return log


def _keep_older(path: Path) -> None:
    with path.open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - LARGEST_LOG_BYTES))
        path.with_suffix(".old.log").write_bytes(log.read())


def make_key() -> str:
    return secrets.token_urlsafe(24)


def log_name(model: str) -> str:
    """A file name for a model's log, whatever characters the model's name has."""
    return "engine-" + re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.")[:80] + ".log"
