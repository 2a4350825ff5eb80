"""Ingestion as the server has it: targets become jobs, and a process of low priority reads them.

What is asked for is in the database before anyone is told so: a job goes on with the next start whatever dies
meanwhile. The process runs only while there is something to read or to index. One that dies is started again; a job
that it dies of several times, without getting on, fails with a reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from candide.domain.jobs import ENDED, Job, JobState
from candide.domain.sources import Target
from candide.errors import BadRequest, CandideError, Conflict, NotFound
from candide.ingestion import targets as targets_of_users
from candide.ingestion.protocol import Said, WorkerConfig
from candide.ingestion.watching import Watching
from candide.store.changes import Changes
from candide.store.jobs import JobStore
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore
from candide.store.uploads import receive_file

log = logging.getLogger(__name__)

IDLE_S = 20.0
"""A process that has had nothing to do for so long is ended: it holds memory."""
BUSY_PAUSE_S = 3.0
CRASH_PAUSE_S = 1.0
LONGEST_SLEEP_S = 30.0
"""After so long it is looked whether another process of this home has left something to do."""
ATTEMPTS = 3
"""How often a job is begun whose process dies."""
KEPT_JOBS = 200
REMOVED_AT_ONCE = 200
MAX_NAME_BYTES = 200
MAX_LOG_BYTES = 4 * 2**20


class Ingestion:
    def __init__(
        self,
        jobs: JobStore,
        libraries: LibraryStore,
        sources: SourceStore,
        changes: Changes,
        config: WorkerConfig,
    ) -> None:
        self._jobs = jobs
        self._libraries = libraries
        self._sources = sources
        self._changes = changes
        self._config = config
        self._watching = Watching(sources, self._refresh_watched)
        self._watches = False
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._asked = 0
        self._running: list[str] = []
        self._deaths: Counter[str] = Counter()
        self._done_at_death: dict[str, int] = {}

    async def start(self) -> None:
        """Go on with what an earlier process could not end, and look after what is due or watched.

        Without it only what is asked for from now on is begun, and then what else there is.
        """
        self._watches = True
        await self._watch()
        if await self._sources.last_change():
            # Whether the index is behind, the process finds out.
            self._wake()
        self._begin_running()

    async def close(self) -> None:
        """Stop; what is not done goes on with the next start."""
        await self._watching.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def process_id(self) -> int | None:
        """Of the process that reads, while there is one."""
        return self._process.pid if self._process is not None else None

    # What users ask for

    async def add(self, library_id: str, new: Sequence[Target]) -> Job:
        """Add targets to a library, or give those that are there new wishes, and read them. Raises NotFound."""
        await self._libraries.get(library_id)
        now = time.time()
        wanted = [
            msgspec.structs.replace(
                one, refresh_s=refresh_s, next_check_at=now + refresh_s if refresh_s else None
            )
            for one in new
            for refresh_s in [_choose_refresh(one)]
        ]
        kept = await self._libraries.add_targets(library_id, wanted)
        await self._watch()
        return await self._begin(library_id, [target.id for target in kept])

    async def receive(
        self, library_id: str, name: str, body: AsyncIterator[bytes], length: int | None = None
    ) -> Job:
        """Keep a file under the home and read it; one of the same name in the library makes way for it.

        Raises BadRequest for a name that is none and a body that breaks off, StoreError where it cannot be kept.
        """
        await self._libraries.get(library_id)
        _check_file_name(name)
        folder = Path(self._config.home) / "uploads" / library_id
        partial = folder / f".{os.urandom(8).hex()}.part"
        path = folder / name
        await receive_file(body, path, partial, length=length, durable=True)
        return await self.add(library_id, [targets_of_users.parse(str(path))])

    async def refresh(self, library_id: str, target_ids: Sequence[str] | None = None) -> Job:
        """Look at targets of a library again, at all of them by default. Raises NotFound, BadRequest without any."""
        await self._libraries.get(library_id)
        there = [target.id for target in await self._libraries.list_targets(library_id)]
        for target_id in target_ids or ():
            if target_id not in there:
                raise NotFound(f"there is no target '{target_id}' in this library", param="target_ids")
        wanted = list(target_ids) if target_ids is not None else there
        if not wanted:
            raise BadRequest(
                "there is nothing to look at again",
                hint="candide add TARGET --library NAME adds something",
            )
        return await self._begin(library_id, wanted)

    async def remove_target(self, target_id: str) -> int:
        """Forget a target and take out what came from it; how many sources that were. Raises NotFound."""
        target = await self._libraries.get_target(target_id)
        # First the target: what a job reads of it meanwhile is found to be nobody's.
        await self._libraries.remove_target(target_id)
        await self._watch()
        removed = 0
        while found := await self._sources.find_stale(target_id, math.inf, REMOVED_AT_ONCE):
            removed += await self._sources.remove(found)
            await asyncio.sleep(0)
        path = Path(target.uri)
        is_ours = path.is_relative_to(Path(self._config.home) / "uploads") and target.kind in (
            "file",
            "jsonl",
        )
        if is_ours and all(one.uri != target.uri for one in await self._libraries.list_targets()):
            await asyncio.to_thread(path.unlink, missing_ok=True)
        self._wake()
        return removed

    async def remove_source(self, source_id: str) -> None:
        """Take one source out of its library; a target that still has it brings it back when it is refreshed.

        A file that was given by itself goes with its target. Raises NotFound.
        """
        source = await self._sources.get(source_id)
        if source.target_id is not None:
            with contextlib.suppress(NotFound):
                target = await self._libraries.get_target(source.target_id)
                if target.kind in ("file", "page") and target.uri == source.uri:
                    await self.remove_target(target.id)
        await self._sources.remove([source_id])
        self._wake()

    async def delete_library(self, library_id: str) -> None:
        """Put a library out of sight, and end what is being read into it. Raises NotFound."""
        await self._libraries.delete(library_id)
        for job in await self._jobs.list(library_id, unended=True):
            with contextlib.suppress(Conflict):
                await self._jobs.move(job.id, "cancelled")
        await self._watch()
        self._wake()

    async def restore_library(self, library_id: str) -> None:
        """Bring a deleted library back. Raises NotFound, and Conflict when another one has its name by now."""
        await self._libraries.restore(library_id)
        await self._watch()
        self._wake()

    async def pause(self, job_id: str) -> Job:
        return await self._move(job_id, "paused")

    async def resume(self, job_id: str) -> Job:
        """Go on with a job that was paused. Raises NotFound, and Conflict when it has ended."""
        job = await self._jobs.get(job_id)
        if job.state in ("queued", "running"):
            return job
        self._deaths.pop(job_id, None)
        return await self._move(job_id, "queued")

    async def cancel(self, job_id: str) -> Job:
        """End a job; what it has read stays. Raises NotFound, and Conflict when it has ended otherwise."""
        return await self._move(job_id, "cancelled")

    async def _move(self, job_id: str, state: JobState) -> Job:
        job = await self._jobs.move(job_id, state)
        self._wake()
        return job

    async def _begin(self, library_id: str, target_ids: Sequence[str]) -> Job:
        job = await self._jobs.create(library_id, target_ids)
        await self._jobs.trim(KEPT_JOBS)
        self._wake()
        return job

    async def _refresh_watched(self, target: Target) -> None:
        """Read a target again of which something has changed, unless that is about to be done anyway."""
        for job in await self._jobs.list(target.library_id, unended=True):
            if target.id in job.target_ids and job.state != "running":
                return
        await self._begin(target.library_id, [target.id])

    # What runs by itself

    def _wake(self) -> None:
        """Have it looked, here and in the process, whether there is something to do."""
        self._asked += 1
        self._woken.set()
        self._begin_running()
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            with contextlib.suppress(ConnectionError):
                process.stdin.write(f"{self._asked}\n".encode())

    def _begin_running(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _watch(self) -> None:
        if self._watches:
            self._watching.set(await self._libraries.list_targets())

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except CandideError as error:
                log.warning("%s", error.message)
                await asyncio.sleep(BUSY_PAUSE_S)
            except Exception:
                log.exception("ingestion")
                await asyncio.sleep(BUSY_PAUSE_S)

    async def _look(self) -> None:
        """Begin what is due, have everything read that is to be, and wait for more."""
        await self._begin_due()
        asked = self._woken.is_set()
        self._woken.clear()
        if asked or await self._jobs.list_unfinished():
            await self._work()
            return
        now = time.time()
        due = await self._libraries.next_due()
        pause = LONGEST_SLEEP_S if due is None else min(LONGEST_SLEEP_S, max(0.05, due - now))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._woken.wait()

    async def _begin_due(self) -> None:
        due = await self._libraries.take_due(time.time())
        if not due:
            return
        busy = {one for job in await self._jobs.list(unended=True) for one in job.target_ids}
        for target in due:
            if target.id not in busy:
                await self._begin(target.library_id, [target.id])

    async def _work(self) -> None:
        """Run the process until it has nothing left to do."""
        config = msgspec.structs.replace(
            self._config,
            # Of several jobs at once nobody could tell of which a process died.
            jobs_at_once=1 if self._deaths else self._config.jobs_at_once,
        )
        last: Said | None = None
        due = asyncio.create_task(self._keep_beginning())
        try:
            async for said in self._listen(config):
                last = said
                for kind in said.changed:
                    self._changes.announce(kind)
                if said.running is not None:
                    self._running = said.running
        finally:
            due.cancel()
            running, self._running = self._running, []
        if last is not None and last.busy:
            # Another server of this home reads; it may need to be followed later.
            self._woken.set()
            await asyncio.sleep(BUSY_PAUSE_S)
        elif last is None or not last.is_last:
            await self._note_death(running, last.error if last else "")
            self._woken.set()
            await asyncio.sleep(CRASH_PAUSE_S)
        else:
            self._deaths.clear()

    async def _keep_beginning(self) -> None:
        """While the process runs, begin what is due; it finds the jobs by itself."""
        while True:
            await asyncio.sleep(1.0)
            with contextlib.suppress(CandideError):
                await self._begin_due()

    async def _listen(self, config: WorkerConfig) -> AsyncIterator[Said]:
        """Start the process and tell what it says, to its end; it is ended after it has been idle for a while."""
        logs = await asyncio.to_thread(_open_log, Path(config.logs_dir) / "ingestion.log")
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "candide.ingestion.worker",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=logs,
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(logs)
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        idle_since: float | None = None
        try:
            process.stdin.write(msgspec.json.encode(config) + b"\n")
            # Whoever asked while it was being started asked this one too.
            process.stdin.write(f"{self._asked}\n".encode())
            while True:
                try:
                    async with asyncio.timeout(IDLE_S if idle_since else None):
                        line = await process.stdout.readline()
                except TimeoutError:
                    yield Said(is_last=True)
                    return
                if not line:
                    return
                said = msgspec.json.decode(line, type=Said)
                if said.idle is not None:
                    idle_since = time.monotonic() if said.idle >= self._asked else None
                elif said.running:
                    idle_since = None
                yield said
        finally:
            self._process = None
            if process.returncode is None:
                process.stdin.close()
                try:
                    async with asyncio.timeout(5):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()

    async def _note_death(self, running: Sequence[str], error: str) -> None:
        """Count a death of the process against the job that it worked on, and give that up at last."""
        log.warning("the process that reads sources died: %s", error or "logs/ingestion.log may say why")
        for job_id in running:
            job = await self._jobs.get(job_id)
            if job.state in ENDED:
                continue
            if job.progress.done > self._done_at_death.get(job_id, -1):
                self._deaths[job_id] = 0
            self._done_at_death[job_id] = job.progress.done
            self._deaths[job_id] += 1
            if self._deaths[job_id] >= ATTEMPTS and len(running) == 1:
                del self._deaths[job_id]
                at = f" at '{job.progress.current}'" if job.progress.current else ""
                reason = error or f"the process that read it died several times{at}; the log says more"
                with contextlib.suppress(Conflict):
                    await self._jobs.move(job_id, "failed", error=reason)
        if not running:
            self._deaths[""] += 1
            await asyncio.sleep(min(60.0, CRASH_PAUSE_S * 2 ** self._deaths[""]))


def _choose_refresh(target: Target) -> float | None:
    """How often a target is looked at again: a feed by default, the others when asked; 0 is never."""
    if target.refresh_s is None and target.kind == "feed":
        return targets_of_users.FEED_REFRESH_S
    return target.refresh_s or None


def _check_file_name(name: str) -> None:
    if name in ("", ".", "..") or name.startswith(".") or any(c in name for c in "/\\\0"):
        raise BadRequest(
            f"'{name}' is no name of a file", param="name", hint="give it without folders, like report.pdf"
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise BadRequest(f"the file's name is longer than {MAX_NAME_BYTES} bytes", param="name")


def _open_log(path: Path) -> int:
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
