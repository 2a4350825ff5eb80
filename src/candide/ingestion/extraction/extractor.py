"""Files are read in processes of their own; what a file does there costs that file, and the next is read all the same.

A process is started with the first file, reused for the next, replaced when a file has ended it, and ended when nobody
has given it one for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import msgspec

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion.extraction.worker import MAX_BYTES, Reply, Request

MEMORY_BYTES = 2 * 2**30
"""Of address space, which is about twice what is used of it."""
SECONDS = 90.0
"""For one file: to compute on, and, with a third more, to wait for."""
IDLE_S = 30.0
"""After which a process without work is ended: it holds a hundred megabytes."""

_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "SYSTEMROOT", "TMPDIR", "LD_LIBRARY_PATH")


class Extractor:
    """Reads files and pages in up to `processes` at a time."""

    def __init__(
        self,
        *,
        processes: int = 1,
        seconds: float = SECONDS,
        memory_bytes: int = MEMORY_BYTES,
        idle_s: float = IDLE_S,
    ) -> None:
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._idle_s = idle_s
        self._free = asyncio.Semaphore(processes)
        self._idle: list[_Process] = []
        self._ending: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def extract(
        self, content: bytes | Path, *, name: str = "", media_type: str = "", url: str = ""
    ) -> tuple[Document, str]:
        """The document that a file, or its bytes, hold, and the media type that they turned out to be of.

        `name` and `media_type` decide where the content does not; `url` is where a page was fetched from. Raises
        UnreadableDocument, which says why to a person: what is read is broken, locked, empty, of a kind that is not
        read, or takes more time or memory than a file is given.
        """
        path = content if isinstance(content, Path) else None
        if not isinstance(content, Path) and len(content) > MAX_BYTES:
            raise UnreadableDocument(f"it is larger than {MAX_BYTES // 2**20} MB", hint="split it")
        request = Request(
            name=name or (path.name if path else ""),
            media_type=media_type,
            url=url,
            path=str(path.absolute()) if path else "",
            size=0 if isinstance(content, Path) else len(content),
            seconds=self._seconds,
        )
        async with self._free:
            reply = await self._ask(request, b"" if isinstance(content, Path) else content)
        if reply.document is None:
            raise UnreadableDocument(reply.reason, hint=reply.hint or None)
        return reply.document, reply.media_type

    async def close(self) -> None:
        """End the processes; a later `extract` starts them again."""
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        idle, self._idle = self._idle, []
        for process in idle:
            await process.end()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _ask(self, request: Request, data: bytes) -> Reply:
        process = self._idle.pop() if self._idle else await _Process.start(self._memory_bytes)
        is_reusable = False
        try:
            async with asyncio.timeout(self._seconds * 4 / 3 + 5):
                reply = await process.ask(request, data)
            is_reusable = not reply.is_full
        except TimeoutError:
            return Reply(
                reason=f"reading it takes longer than {self._seconds:.0f} seconds", hint=_TRY_ANOTHER
            )
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            return Reply(reason=await process.say_end(self._seconds), hint=_TRY_ANOTHER)
        else:
            return reply
        finally:
            if is_reusable:
                self._idle.append(process)
                self._end_later()
            else:
                await process.end()

    def _end_later(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        self._ending = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle)

    def _end_idle(self) -> None:
        idle, self._idle = self._idle, []
        for process in idle:
            task = asyncio.create_task(process.end())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


_TRY_ANOTHER = "open it and save it anew, or in another format"


class _Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, memory_bytes: int) -> _Process:
        # Keys and passwords that are in this process's environment are none of a file's business.
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment |= {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
            # Threads, and memory set aside for each, that nothing here gains by.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "RAYON_NUM_THREADS": "1",
            "TOKIO_WORKER_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        }
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "candide.ingestion.extraction.worker",
                str(memory_bytes),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                limit=2**20,
            )
        )

    async def ask(self, request: Request, data: bytes) -> Reply:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        message = msgspec.msgpack.encode(request)
        stdin.write(len(message).to_bytes(4) + message)
        stdin.write(data)
        await stdin.drain()
        size = int.from_bytes(await stdout.readexactly(4))
        reply = await stdout.readexactly(size)
        # A text of a hundred million characters takes a while to decode: answers are being written meanwhile.
        decode = msgspec.msgpack.Decoder(Reply).decode
        return decode(reply) if size < 2**20 else await asyncio.to_thread(decode, reply)

    async def say_end(self, seconds: float) -> str:
        """Why the process ended on its own."""
        code = await self._process.wait()
        if code == -24:  # SIGXCPU
            return f"reading it takes longer than {seconds:.0f} seconds"
        if code == -9:
            return "reading it takes more memory than there is"
        return "it is broken in a way that ended the process that read it"

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        stdin = self._process.stdin
        if stdin is not None:
            stdin.close()
            with contextlib.suppress(ConnectionError, OSError):
                await stdin.wait_closed()
        await self._process.wait()
