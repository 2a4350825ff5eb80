"""The process in which sources are read and indexed: `python -m candide.ingestion.worker`.

Its standard input is one line of JSON, the fields of `WorkerConfig`, and then a number a line whenever someone has
asked for something: it looks at the database again. Its standard output is a line of JSON, the fields of `Said`, for
everything that others should hear of. It works at a low priority, so that answers that are being written do not wait.

It reads several jobs at once, never two of one target, and brings the index up to date as it does: first words, which
is quick, then vectors, which is not. A job is finished when its passages can be found by both. One process a home does so, by a
lock. It never outlives its parent: the end of its standard input ends it, at any moment, and what it was at goes on
with the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from candide.domain.jobs import Job
from candide.domain.retrieval import (
    ChangeLog,
    Embedder,
    Filters,
    Hit,
    IndexChange,
    PassageIndex,
    Positions,
    WordQuery,
)
from candide.errors import CandideError, Conflict, EngineError
from candide.index.choice import choose_index
from candide.index.indexer import Indexer
from candide.ingestion.duplicates import Duplicates
from candide.ingestion.embedding import choose_embedder
from candide.ingestion.extraction import Extractor
from candide.ingestion.fetching import Fetcher
from candide.ingestion.keeping import Keeper
from candide.ingestion.protocol import Said, WorkerConfig
from candide.ingestion.reading import Reader
from candide.ingestion.robots import Robots
from candide.store.changes import Changes
from candide.store.database import Database
from candide.store.jobs import JobStore
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore

log = logging.getLogger(__name__)

LOOK_S = 0.4
"""How often it is looked whether a job is still wanted."""
TELL_S = 0.2
"""Between two words about what has changed."""
EMBEDDER_PAUSE_S = 60.0
"""After a failure of whatever makes vectors, until it is asked again."""
ORPHANS = 200

FIRST, LAST = "first", "last"
"""Names, among a job's positions, of the change after which its own come, and of its own last one when all is read.

The last is 0 where it has changed nothing: the changes of others are not its to wait for.
"""


class Worker:
    """All that one process does, over an open database and index; `run` it."""

    def __init__(
        self,
        config: WorkerConfig,
        database: Database,
        index: PassageIndex,
        embedder: Embedder | None,
        say: Callable[[Said], None],
    ) -> None:
        self._config = config
        self._say = say
        self._changes = Changes()
        self._jobs = JobStore(database, self._changes)
        self._libraries = LibraryStore(database, self._changes)
        self._sources = SourceStore(database, self._changes)
        self._extractor = Extractor()
        self._fetcher = Fetcher(allowed=config.fetch_allowed)
        self._robots = Robots(self._fetcher)
        self._duplicates: dict[str, Duplicates] = {}
        self._reading: dict[str, tuple[Job, asyncio.Task[None]]] = {}
        self._current: dict[str, str] = {}
        self._asked = 0
        self._woken = asyncio.Event()

        self._embedder = embedder
        self._words = Indexer(index, self._sources, None)
        self._indexing = asyncio.Lock()
        self._vectors = Indexer(_VectorsOnly(index, self._sources, self._indexing), self._sources, embedder)
        self._at = Positions(0, 0)
        self._indexing_words: asyncio.Task[Positions] | None = None
        self._indexing_vectors: asyncio.Task[Positions] | None = None
        self._embeds_again_at = 0.0
        self._trimmed = 0
        self._index = index

    def wake(self, number: int) -> None:
        """Look again: someone has asked for something, the number-th time."""
        self._asked = number
        self._woken.set()

    async def run(self) -> None:
        """Read and index for ever. Raises what nothing can be done about here, like StoreError."""
        telling = asyncio.create_task(self._tell())
        try:
            self._at = await self._catch_up_words()
            while True:
                asked = self._asked
                self._woken.clear()
                pause = await self._look()
                if pause is None:
                    self._say(Said(idle=asked))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._woken.wait()
        finally:
            tasks = [telling, *(task for _, task in self._reading.values())]
            tasks += [task for task in (self._indexing_words, self._indexing_vectors) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._extractor.close()
            await self._fetcher.close()

    async def _look(self) -> float | None:
        """Begin and end what is to be; in how many seconds to look again, None where nothing is left to do."""
        unended = {job.id: job for job in await self._jobs.list(limit=10_000, unended=True)}
        wanted = {job.id: job for job in reversed(unended.values()) if job.state in ("queued", "running")}
        self._end_readings(wanted)
        unread = [job for job in wanted.values() if LAST not in job.progress.positions]
        self._begin_readings(unread)
        if not self._reading:
            await self._remove_orphans()
        await self._tell_progress()
        last = await self._sources.last_change()
        indexes = await self._index_words(last)
        is_held = not wanted and any(LAST in job.progress.positions for job in unended.values())
        indexes |= await self._index_vectors(last, is_held=is_held)
        for job in wanted.values():
            if LAST in job.progress.positions:
                await self._finish(job)
        if not indexes and not unread and not is_held and last > self._trimmed:
            at = await self._index.positions()
            await self._sources.trim_changes(min(at.words, at.vectors))
            self._trimmed = last
        if unread or self._reading or indexes:
            return LOOK_S
        if self._embedder is not None and last > self._at.vectors and not is_held:
            # Whatever makes vectors is away; it is asked again without anyone's asking.
            return max(LOOK_S, self._embeds_again_at - time.monotonic())
        return None

    # Reading

    def _end_readings(self, wanted: Mapping[str, Job]) -> None:
        """Let go of what is done; stop what is not wanted any more."""
        for job_id, (_, task) in list(self._reading.items()):
            if task.done():
                if not task.cancelled():
                    # While others know that it is this one that is read.
                    task.result()
                del self._reading[job_id]
                self._tell_reading()
            elif job_id not in wanted and not task.cancelling():
                task.cancel()

    def _begin_readings(self, unread: Sequence[Job]) -> None:
        taken = {target_id for job, _ in self._reading.values() for target_id in job.target_ids}
        for job in unread:
            if len(self._reading) >= self._config.jobs_at_once:
                return
            if job.id not in self._reading and not taken & set(job.target_ids):
                self._reading[job.id] = job, asyncio.create_task(self._read(job))
                self._tell_reading()
            taken |= set(job.target_ids)

    async def _tell_progress(self) -> None:
        """Write down at what readings are that take their time."""
        for job, task in self._reading.values():
            if not task.done() and job.progress.current != self._current.get(job.id, ""):
                self._current[job.id] = job.progress.current
                await self._jobs.save(job)

    def _tell_reading(self) -> None:
        self._say(Said(running=list(self._reading)))

    async def _read(self, job: Job) -> None:
        try:
            await self._jobs.move(job.id, "running")
        except Conflict:
            return
        keeper = Keeper(job, self._sources, self._jobs, await self._find_duplicates(job.library_id))
        if FIRST not in job.progress.positions:
            job.progress.positions[FIRST] = await self._sources.last_change()
        reader = Reader(
            keeper, self._libraries, self._sources, self._jobs,
            self._extractor, self._fetcher, self._robots, Path(self._config.home),
        )  # fmt: skip
        try:
            await reader.read_all()
        except asyncio.CancelledError:
            # What was read need not be read again.
            await keeper.flush()
            raise
        job.progress.current = ""
        first = job.progress.positions[FIRST]
        keeper.reach(LAST, await self._sources.last_change_of(job.target_ids, after=first))
        await keeper.flush()
        self._woken.set()

    async def _find_duplicates(self, library_id: str) -> Duplicates:
        if library_id not in self._duplicates:
            found = Duplicates()
            for fingerprint, group_id in await self._sources.read_fingerprints(library_id):
                found.add(fingerprint, group_id)
            self._duplicates.setdefault(library_id, found)
        return self._duplicates[library_id]

    async def _remove_orphans(self) -> None:
        """Take out what a job kept for a target that was removed meanwhile."""
        while orphans := await self._sources.find_orphans(ORPHANS):
            await self._sources.remove(orphans)

    # The index

    async def _index_words(self, last: int) -> bool:
        """Have what was kept found by its words; whether that goes on."""
        task = self._indexing_words
        if task is not None and task.done():
            self._at = Positions(task.result().words, self._at.vectors)
            task = None
        if task is None and last > self._at.words:
            task = asyncio.create_task(self._catch_up_words())
            task.add_done_callback(lambda _: self._woken.set())
        self._indexing_words = task
        return task is not None

    async def _catch_up_words(self) -> Positions:
        async with self._indexing:
            return await self._words.catch_up(self._note_words)

    async def _index_vectors(self, last: int, *, is_held: bool) -> bool:
        """Have it found by its meaning, unless a job that waits for that is paused; whether that goes on."""
        task = self._indexing_vectors
        if task is not None and task.done():
            self._indexing_vectors = None
            try:
                self._at = Positions(self._at.words, task.result().vectors)
            except asyncio.CancelledError:
                pass
            except EngineError as error:
                log.warning("passages cannot be found by their meaning yet: %s", error.message)
                self._embeds_again_at = time.monotonic() + EMBEDDER_PAUSE_S
            task = None
        if task is not None and is_held:
            task.cancel()
            return True
        is_due = self._can_embed() and last > self._at.vectors and not is_held
        if task is None and is_due:
            task = asyncio.create_task(self._vectors.catch_up(self._note_vectors))
            task.add_done_callback(lambda _: self._woken.set())
        self._indexing_vectors = task
        return task is not None

    def _can_embed(self) -> bool:
        return self._embedder is not None and time.monotonic() >= self._embeds_again_at

    def _note_words(self, at: Positions) -> None:
        self._at = Positions(at.words, self._at.vectors)

    def _note_vectors(self, at: Positions) -> None:
        self._at = Positions(self._at.words, at.vectors)

    async def _finish(self, job: Job) -> None:
        """End a job whose passages can be found; else note how many can."""
        if job.id in self._reading:
            return
        progress = job.progress
        first, last = progress.positions.get(FIRST, 0), progress.positions[LAST]
        has_vectors = self._at.vectors >= last
        share = 1.0 if last <= first else min(1.0, max(0.0, (self._at.vectors - first) / (last - first)))
        embedded = progress.passages if has_vectors else int(progress.passages * share)
        if embedded != progress.embedded:
            progress.embedded = embedded
            await self._jobs.save(job)
        if self._at.words >= last and (has_vectors or not self._can_embed()):
            with contextlib.suppress(Conflict):
                await self._jobs.move(job.id, "finished")

    async def _tell(self) -> None:
        with self._changes.listen() as listener:
            while batch := await listener.next():
                self._say(Said(changed=list({change.kind for change in batch})))
                await asyncio.sleep(TELL_S)


class _VectorsOnly:
    """An index as it is for whoever adds vectors while another adds words.

    A write that was begun is ended before the next, also when its caller was cancelled.
    """

    def __init__(self, index: PassageIndex, log: ChangeLog, indexing: asyncio.Lock) -> None:
        self._index = index
        self._log = log
        self._indexing = indexing
        self._writing = asyncio.Lock()

    async def prepare(self, last_change: int, model: str | None = None) -> Positions:
        async with self._indexing, self._writing:
            # Words may have come further than the last change was when it was asked for.
            return await self._index.prepare(await self._log.last_change(), model)

    async def positions(self) -> Positions:
        return await self._index.positions()

    async def add_words(self, changes: Sequence[IndexChange]) -> None:
        pass

    async def add_vectors(
        self, changes: Sequence[IndexChange], vectors: Mapping[int, Sequence[float]]
    ) -> None:
        await asyncio.shield(self._write(changes, vectors))

    async def _write(self, changes: Sequence[IndexChange], vectors: Mapping[int, Sequence[float]]) -> None:
        async with self._writing:
            await self._index.add_vectors(changes, vectors)

    async def find_words(self, query: WordQuery, filters: Filters, limit: int) -> list[Hit]:
        return await self._index.find_words(query, filters, limit)

    async def find_vector(self, vector: Sequence[float], filters: Filters, limit: int) -> list[Hit]:
        return await self._index.find_vector(vector, filters, limit)

    async def close(self) -> None:
        await self._index.close()


async def work(config: WorkerConfig, say: Callable[[Said], None], begin: Callable[[Worker], None]) -> None:
    """Run a worker; `begin` is given it before it begins. Raises CandideError."""
    lock = FileLock(Path(config.home) / "run" / "ingestion.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        say(Said(busy=True))
        return
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(lock.release)
        database = await Database.open(config.database_url, Path(config.backups_dir))
        stack.push_async_callback(database.close)
        embedder = choose_embedder(config.embedding_server)
        stack.push_async_callback(embedder.close)
        index = choose_index(config.database_url, Path(config.index_dir), embedder)
        stack.push_async_callback(index.close)
        worker = Worker(config, database, index, embedder if config.embeds else None, say)
        begin(worker)
        await worker.run()


def main() -> None:
    line, heard = _read_line()
    config = msgspec.json.decode(line, type=WorkerConfig)
    with contextlib.suppress(OSError):
        os.nice(config.niceness)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    def say(said: Said) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()

    def listen(worker: Worker) -> None:
        loop = asyncio.get_running_loop()

        def read_numbers(heard: bytes) -> None:
            more = b""
            while True:
                *lines, heard = (heard + more).split(b"\n")
                if lines:
                    loop.call_soon_threadsafe(worker.wake, int(lines[-1]))
                more = os.read(0, 4096)
                if not more:
                    os._exit(0)

        threading.Thread(target=read_numbers, args=(heard,), daemon=True).start()

    try:
        asyncio.run(work(config, say, listen))
    except CandideError as error:
        log.exception("ended")
        say(Said(error=str(error)))
        sys.exit(1)


def _read_line() -> tuple[bytes, bytes]:
    """The first line of standard input, and what has come after it.

    Not by Python's own reader: that would keep what comes after, and its lock would outlive the interpreter.
    """
    heard = b""
    while b"\n" not in heard:
        more = os.read(0, 65_536)
        if not more:
            sys.exit(0)
        heard += more
    line, _, rest = heard.partition(b"\n")
    return line, rest


if __name__ == "__main__":
    main()
