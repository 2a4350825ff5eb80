"""Imports of this server: taken in, run one after the other, each in a process of its own.

An upload is kept under the home before it is an import, so that one which was cut off leaves nothing, and
one that is whole is imported whatever dies meanwhile: the next start goes on with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import msgspec

from candide.domain.ids import new_id
from candide.errors import CandideError
from candide.store.changes import Changes
from candide.store.imports import Import, ImportStore
from candide.store.uploads import receive_file
from candide.transfer.worker import Outcome, WorkerConfig

log = logging.getLogger(__name__)

ABANDONED_AFTER_S = 3600.0
"""An upload that did not grow for so long is no upload any more."""
BUSY_PAUSE_S = 2.0
ATTEMPTS = 3
"""How often an import is begun whose process dies."""


class Imports:
    def __init__(
        self, store: ImportStore, changes: Changes, folder: Path, database_url: str, backups_dir: Path
    ) -> None:
        self._store = store
        self._changes = changes
        self._folder = folder
        self._database_url = database_url
        self._backups_dir = backups_dir
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None

    async def resume(self) -> None:
        """Go on with the imports that an earlier process could not end."""
        unfinished = [one.id for one in await self._store.unfinished()]
        await asyncio.to_thread(self._sweep, unfinished)
        for import_id in unfinished:
            if self._path(import_id).exists():
                self._begin(import_id)

    async def close(self) -> None:
        """Stop; what is not done goes on with the next start."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def receive(self, name: str, body: AsyncIterator[bytes], length: int | None = None) -> Import:
        """Keep a file, and import it when it is whole. Raises StoreError, or BadRequest when it is not."""
        import_id = new_id("import")
        partial = self._folder / f"{import_id}.part"
        size = await receive_file(body, self._path(import_id), partial, length=length)
        try:
            made = await self._store.create(import_id, name, size)
        except BaseException:
            self._path(import_id).unlink(missing_ok=True)
            raise
        self._begin(import_id)
        return made

    async def get(self, import_id: str) -> Import:
        return await self._store.get(import_id)

    async def list(self) -> list[Import]:
        return await self._store.list()

    def _path(self, import_id: str) -> Path:
        return self._folder / f"{import_id}.upload"

    def _begin(self, import_id: str) -> None:
        self._queue.put_nowait(import_id)
        if self._running is None:
            self._running = asyncio.create_task(self._run_all())

    async def _run_all(self) -> None:
        while True:
            import_id = await self._queue.get()
            try:
                await self._run(import_id)
            except CandideError as error:
                log.warning("import %s: %s", import_id, error.message)
            except Exception:
                log.exception("import %s", import_id)

    async def _run(self, import_id: str) -> None:
        path = self._path(import_id)
        error = ""
        for _ in range(ATTEMPTS):
            outcome = await self._work(import_id, path)
            while outcome is not None and outcome.busy:
                await asyncio.sleep(BUSY_PAUSE_S)
                outcome = await self._work(import_id, path)
            if outcome is not None and not outcome.error:
                self._changes.announce_conversations(*reversed(outcome.touched))
                self._changes.announce("folders")
                break
            error = outcome.error if outcome else "the process that read it died; the log says more"
            log.warning("import %s: %s", import_id, error)
        else:
            progress = await self._store.get(import_id)
            progress.state, progress.finished_at = "failed", time.time()
            progress.error = error
            await self._store.save(progress, durable=True)
        for done in (path, path.with_name(f"{path.name}.lock")):
            done.unlink(missing_ok=True)

    async def _work(self, import_id: str, path: Path) -> Outcome | None:
        """Run the import in a process; None when that died."""
        config = WorkerConfig(
            database_url=self._database_url,
            backups_dir=str(self._backups_dir),
            path=str(path),
            import_id=import_id,
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "candide.transfer.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(config) + b"\n")
            with contextlib.suppress(ConnectionError):
                await process.stdin.drain()
            said = await process.stdout.read()
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            return msgspec.json.decode(said, type=Outcome)
        except msgspec.DecodeError:
            return None

    def _sweep(self, unfinished: Collection[str]) -> None:
        """Take away what uploads that were cut off, and imports that ended with their process, have left."""
        if not self._folder.is_dir():
            return
        for left in self._folder.glob("import_*"):
            with contextlib.suppress(OSError):
                old = time.time() - left.stat().st_mtime > ABANDONED_AFTER_S
                if old and left.name.partition(".")[0] not in unfinished:
                    left.unlink()
