"""The embedded model of meanings, multilingual-e5-small in 4 bits, in a process of its own.

The process is started with the first text, ends when there was none for a while, and with this one; a crash in
native code ends it and not the server, and the next text starts another. Questions go before passages, and one request
is at work at a time, so that what waits is never more than what callers wait for.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import struct
import sys
from collections.abc import AsyncGenerator, Sequence

import msgspec

from candide.errors import EngineUnavailable
from candide.index.embedding_worker import THREADS_VARIABLE, Request

REQUEST_TEXTS = 8
"""Passages that are embedded at a time: a question waits for so many at most."""
LONGEST_TEXT = 8000
"""Characters; the model reads 512 tokens at a time, and longer texts in parts."""
LONGEST_START_S = 60.0
LONGEST_WORK_S = 120.0
GOODBYE_S = 1.0
ATTEMPTS = 2


class E5Embedder:
    """An `Embedder`; `threads` is how many cores it may use, all when 0, `idle_s` when its process ends."""

    name = "multilingual-e5-small-q4"
    dimensions = 384

    def __init__(self, *, threads: int = 0, idle_s: float = 300.0) -> None:
        self._threads = threads
        self._idle_s = idle_s
        self._process: asyncio.subprocess.Process | None = None
        self._turns = _Turns()
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process that is at work."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def embed_query(self, text: str) -> list[float]:
        """The vector of a question, of length 1. Raises EngineUnavailable when the process cannot be had."""
        return (await self._embed([text], is_query=True))[0]

    async def embed_passages(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of passages, each of length 1. Raises EngineUnavailable when the process cannot be had."""
        made: list[list[float]] = []
        for at in range(0, len(texts), REQUEST_TEXTS):
            made += await self._embed(texts[at : at + REQUEST_TEXTS], is_query=False)
        return made

    async def close(self) -> None:
        self._closed = True
        async with self._turns.take(first=True):
            await self._end()

    async def _embed(self, texts: Sequence[str], *, is_query: bool) -> list[list[float]]:
        frame = msgspec.msgpack.encode(Request(is_query, [text[:LONGEST_TEXT] for text in texts]))
        async with self._turns.take(first=is_query):
            for attempt in range(ATTEMPTS):
                try:
                    return self._unpack(await self._ask(frame), len(texts))
                except (OSError, EOFError, TimeoutError) as error:
                    await self._end()
                    if attempt + 1 == ATTEMPTS:
                        raise EngineUnavailable(
                            f"the process that embeds texts ended: {error or type(error).__name__}"
                        ) from error
                except BaseException:
                    # A caller that went away has left a reply behind that would be taken for the next one's.
                    await self._end()
                    raise
        raise AssertionError

    async def _ask(self, frame: bytes) -> bytes:
        if self._closed:
            raise EngineUnavailable("the embedder is closed")
        if self._idle is not None:
            self._idle.cancel()
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(LONGEST_START_S + LONGEST_WORK_S):
            process.stdin.write(struct.pack("<I", len(frame)) + frame)
            await process.stdin.drain()
            (length,) = struct.unpack("<I", await process.stdout.readexactly(4))
            reply = await process.stdout.readexactly(length)
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._rest)
        return reply

    async def _start(self) -> asyncio.subprocess.Process:
        environ = dict(os.environ)
        if self._threads:
            environ[THREADS_VARIABLE] = str(self._threads)
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "candide.index.embedding_worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environ,
            start_new_session=True,
        )

    def _unpack(self, reply: bytes, count: int) -> list[list[float]]:
        numbers = array.array("f")
        numbers.frombytes(reply)
        if len(numbers) != count * self.dimensions:
            raise EOFError("its reply is not whole")
        size = self.dimensions
        return [numbers[at : at + size].tolist() for at in range(0, len(numbers), size)]

    def _rest(self) -> None:
        # The end of its input ends it; the next text starts another.
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()

    async def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        # One that has crashed is waited for: killing what has just ended confuses asyncio.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await process.wait()
                return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class _Turns:
    """One at a time; those that come first go before all that wait."""

    def __init__(self) -> None:
        self._is_taken = False
        self._first: list[asyncio.Future[None]] = []
        self._rest: list[asyncio.Future[None]] = []

    @contextlib.asynccontextmanager
    async def take(self, *, first: bool) -> AsyncGenerator[None]:
        await self._wait(first=first)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, *, first: bool) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._first if first else self._rest
        line.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine in line:
                line.remove(mine)
            elif not mine.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        for line in (self._first, self._rest):
            if line:
                line.pop(0).set_result(None)
                return
        self._is_taken = False
