"""Keeping: what a job has read, brought into its library in batches, and counted.

A batch is one transaction; the addresses that the job is done with and its progress are written after it. So a kill
at any moment costs at most the reading of one batch again, which finds it unchanged and keeps nothing twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence

import msgspec

from candide.domain.ids import new_id
from candide.domain.jobs import Job
from candide.domain.sources import Cut, Document, Known, NewSource
from candide.errors import SourceError, UnreadableDocument
from candide.ingestion import passages
from candide.ingestion.duplicates import Duplicates, fingerprint
from candide.store.jobs import JobStore
from candide.store.sources import SourceStore

log = logging.getLogger(__name__)

BATCH_SOURCES = 64
BATCH_CHARS = 2_000_000
BATCH_S = 1.0
"""After so long what was read is kept, however little it is, and progress is told."""
LONG_CHARS = 50_000
"""A text of more is cut in a thread: what else goes on must not wait for it."""
REMOVED_AT_ONCE = 200

Position = tuple[str, int]
"""A name among a job's positions, and how far that is."""


class Keeper:
    """Takes in what one job reads; `flush` it at the end."""

    def __init__(
        self,
        job: Job,
        sources: SourceStore,
        jobs: JobStore,
        duplicates: Duplicates,
    ) -> None:
        self.job = job
        self._sources = sources
        self._jobs = jobs
        self._duplicates = duplicates
        self._batch: dict[str, NewSource] = {}
        self._chars = 0
        self._finished: list[str] = []
        self._positions: dict[str, int] = {}
        self._flushed_at = time.monotonic()

    async def find_known(self, keys: Sequence[str]) -> dict[str, Known]:
        """The sources that these keys have in the library."""
        return await self._sources.find_known(self.job.library_id, keys)

    async def begin(self, uri: str) -> None:
        """Say what is being read now."""
        self.job.progress.current = uri
        if time.monotonic() - self._flushed_at > BATCH_S:
            await self.flush()

    async def add(self, new: NewSource, *, item: str | None = None, reached: Position | None = None) -> None:
        """Take in what was read; its passages, fingerprint and group are found here.

        `item` is the address of the job's frontier that is done with by that, `reached` how far the job is.
        """
        if new.key in self._batch:
            # What is there twice is taken as it comes last, as one who reads it again would.
            await self.flush()
        try:
            if len(new.document.text) > LONG_CHARS:
                new.cuts, new.simhash = await asyncio.to_thread(_prepare, new.document)
            else:
                new.cuts, new.simhash = _prepare(new.document)
        except Exception:
            # A mistake of ours costs the one text that brings it to light.
            log.exception("the passages of %s", new.uri)
            error = UnreadableDocument(
                "its text could not be cut into passages", hint="logs/ingestion.log says why"
            )
            await self.fail(new.uri, error, item=item, reached=reached)
            return
        new.id = new_id("source")
        if new.simhash is not None:
            new.group_id = self._duplicates.find(new.simhash)
            if new.group_id is None:
                self._duplicates.add(new.simhash, new.id)
        self._batch[new.key] = new
        self._chars += len(new.document.text)
        await self._note(item, reached)

    async def renew(
        self, new: NewSource, *, item: str | None = None, reached: Position | None = None
    ) -> None:
        """Note where a source that was read again, and is the same, comes from now."""
        self._batch.setdefault(new.key, new)
        await self._note(item, reached)

    async def skip(self, *, item: str | None = None) -> None:
        """Count a source that need not be read again."""
        self.job.progress.unchanged += 1
        self.job.progress.done += 1
        await self._note(item)

    async def pass_by(self, *, item: str) -> None:
        """Be done with an address that turned out to be nothing to keep."""
        self.job.progress.done += 1
        await self._note(item)

    async def fail(
        self, uri: str, error: SourceError, *, item: str | None = None, reached: Position | None = None
    ) -> None:
        """Note what could not be read."""
        self.job.note_problem(uri, error.message, error.hint or "")
        self.job.progress.done += 1
        await self._note(item, reached)

    async def remove(self, source_ids: Sequence[str], *, item: str | None = None) -> None:
        """Take out of the library what is gone."""
        await self.flush()
        for start in range(0, len(source_ids), REMOVED_AT_ONCE):
            removed = await self._sources.remove(source_ids[start : start + REMOVED_AT_ONCE])
            self.job.progress.removed += removed
        if item is not None:
            self.job.progress.done += 1
            self._finished.append(item)
        await self.flush()

    def reach(self, name: str, position: int) -> None:
        """Note how far something has been read; it is on disk with what was read until there."""
        self._positions[name] = position

    async def flush(self) -> None:
        """Keep what is waiting, and write down how far the job has come: both, also when it is cancelled meanwhile."""
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise

    async def _write(self) -> None:
        batch, finished, positions = self._batch, self._finished, self._positions
        self._batch, self._finished, self._positions, self._chars = {}, [], {}, 0
        progress = self.job.progress
        if batch:
            outcomes = await self._sources.keep(self.job.library_id, list(batch.values()))
            for new, outcome in zip(batch.values(), outcomes, strict=True):
                progress.done += 1
                if outcome == "added":
                    progress.added += 1
                elif outcome == "updated":
                    progress.updated += 1
                else:
                    progress.unchanged += 1
                    continue
                progress.passages += len(new.cuts)
        progress.positions.update(positions)
        progress.found = max(progress.found, progress.done)
        if finished:
            await self._jobs.finish_items(self.job.id, finished)
        await self._jobs.save(self.job)
        self._flushed_at = time.monotonic()

    async def _note(self, item: str | None, reached: Position | None = None) -> None:
        if item is not None:
            self._finished.append(item)
        if reached is not None:
            self.reach(*reached)
        if (
            len(self._batch) >= BATCH_SOURCES
            or self._chars >= BATCH_CHARS
            or len(self._finished) >= BATCH_SOURCES
            or time.monotonic() - self._flushed_at > BATCH_S
        ):
            await self.flush()


def hash_document(document: Document) -> str:
    """What tells two readings of a page apart: what is said there, and not the bytes around it."""
    said = (document.title, document.author, document.published, document.text)
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def _prepare(document: Document) -> tuple[list[Cut], int | None]:
    return passages.split(document), fingerprint(document.text)
