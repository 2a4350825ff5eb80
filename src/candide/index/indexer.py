"""Brings an index and the database together: what was committed is taken in, words first, then vectors.

It can be cut off anywhere: the index knows how far it has come, and goes on from there. An index that is lost, damaged
or of another model's vectors is made anew from the first change on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from candide.domain.retrieval import ChangeLog, Embedder, PassageIndex, Positions

log = logging.getLogger(__name__)

WORDS_BATCH = 512
"""Sources in one commit."""
VECTORS_BATCH = 32
LARGEST_REQUEST = 32
"""Passages that are embedded at a time."""


class Indexer:
    def __init__(self, index: PassageIndex, log: ChangeLog, embedder: Embedder | None) -> None:
        self._index = index
        self._log = log
        self._embedder = embedder

    async def catch_up(self, on_progress: Callable[[Positions], None] | None = None) -> Positions:
        """Take in all changes there are; how far that has come. Calling it when there are none costs little.

        Raises StoreError when the index cannot be written, EngineError when the embedder fails: words are
        taken in by then, and the next call goes on.
        """
        embedder = self._embedder
        at = await self._index.prepare(
            await self._log.last_change(), None if embedder is None else embedder.name
        )
        while changes := await self._log.changes_after(at.words, WORDS_BATCH):
            await self._index.add_words(changes)
            at = Positions(changes[-1].seq, at.vectors)
            if on_progress is not None:
                on_progress(at)
        if embedder is None:
            return at
        while changes := await self._log.changes_after(at.vectors, VECTORS_BATCH):
            passages = [passage for change in changes for passage in change.passages]
            vectors: dict[int, list[float]] = {}
            for start in range(0, len(passages), LARGEST_REQUEST):
                some = passages[start : start + LARGEST_REQUEST]
                made = await embedder.embed_passages([passage.text for passage in some])
                vectors.update(zip((passage.id for passage in some), made, strict=True))
            await self._index.add_vectors(changes, vectors)
            at = Positions(at.words, changes[-1].seq)
            if on_progress is not None:
                on_progress(at)
        return at
