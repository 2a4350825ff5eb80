"""The index in a folder of its own: words in tantivy, vectors in SQLite and usearch.

One process writes, the others read; what a writer has committed, a reader finds with its next query. A reader makes
nothing, and finds nothing where there is no folder. Nothing is loaded before it is needed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from candide.domain.retrieval import Filters, Hit, IndexChange, Positions, WordQuery
from candide.errors import StoreError
from candide.index.dense import VectorIndex
from candide.index.lexical import WordIndex

log = logging.getLogger(__name__)


class EmbeddedIndex:
    """A `PassageIndex`; where a `model` is named, the vectors of others count as none."""

    def __init__(self, folder: Path, *, dimensions: int = 384, model: str = "") -> None:
        self._folder = folder
        self._words = WordIndex(folder / "words")
        self._vectors = VectorIndex(folder / "vectors", dimensions, model)
        self._writing_words = threading.Lock()
        self._writing_vectors = threading.Lock()
        self._holding = threading.Lock()
        self._lock: FileLock | None = None

    async def positions(self) -> Positions:
        words = await asyncio.to_thread(self._words.read_position)
        return Positions(words, await asyncio.to_thread(self._vectors.read_position))

    async def prepare(self, last_change: int, model: str | None = None) -> Positions:
        """See `PassageIndex.prepare`. Raises StoreError when another process writes here."""
        return await asyncio.to_thread(self._prepare, last_change, model)

    def _prepare(self, last_change: int, model: str | None) -> Positions:
        self._hold()
        with self._writing_words:
            if not self._words.is_whole() or self._words.read_position() > last_change:
                log.warning("the index of words in '%s' is made anew", self._folder)
                self._words.clear()
        with self._writing_vectors:
            if model is not None:
                self._vectors.prepare(model)
                if self._vectors.read_position() > last_change:
                    log.warning("the index of vectors in '%s' is made anew", self._folder)
                    self._vectors.clear()
                    self._vectors.prepare(model)
        return Positions(self._words.read_position(), self._vectors.read_position())

    async def add_words(self, changes: Sequence[IndexChange]) -> None:
        await asyncio.to_thread(self._write_words, changes)

    def _write_words(self, changes: Sequence[IndexChange]) -> None:
        self._hold()
        with self._writing_words:
            self._words.add(changes)

    async def add_vectors(
        self, changes: Sequence[IndexChange], vectors: Mapping[int, Sequence[float]]
    ) -> None:
        await asyncio.to_thread(self._write_vectors, changes, vectors)

    def _write_vectors(self, changes: Sequence[IndexChange], vectors: Mapping[int, Sequence[float]]) -> None:
        self._hold()
        with self._writing_vectors:
            self._vectors.add(changes, vectors)

    async def find_words(self, query: WordQuery, filters: Filters, limit: int) -> list[Hit]:
        return await asyncio.to_thread(self._words.find, query, filters, limit)

    async def find_vector(self, vector: Sequence[float], filters: Filters, limit: int) -> list[Hit]:
        return await asyncio.to_thread(self._vectors.find, vector, filters, limit)

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._writing_words:
            self._words.close()
        with self._writing_vectors:
            self._vectors.close()
        with self._holding:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _hold(self) -> None:
        """Take the lock of whoever writes, until `close`."""
        with self._holding:
            if self._lock is not None:
                return
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                lock = FileLock(self._folder / "writer.lock", thread_local=False)
                lock.acquire(timeout=0)
            except Timeout:
                raise StoreError(f"another process writes the index in '{self._folder}'") from None
            except OSError as error:
                raise StoreError(f"the index in '{self._folder}' cannot be written: {error}") from error
            self._lock = lock
