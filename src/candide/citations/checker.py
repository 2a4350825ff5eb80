"""Checks answers off the event loop, with an embedder for what is said in another language than its source."""

from __future__ import annotations

import array
import asyncio
import logging
from collections.abc import Sequence

from candide.citations.check import Checked, check
from candide.domain.retrieval import Embedder
from candide.domain.sources import NumberedSource

log = logging.getLogger(__name__)

PATIENCE_S = 20.0
"""For the embedder; the check goes on without it."""
REMEMBERED = 5_000
"""Words whose vectors are kept for the next answer."""


class Checker:
    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder
        self._words: dict[str, Sequence[float]] = {}

    async def check(self, answer: str, sources: Sequence[NumberedSource], question: str) -> Checked:
        """See `candide.citations.check.check`; where the embedder fails, words and numbers alone decide."""
        loop = asyncio.get_running_loop()
        embedder = self._embedder

        def embed(texts: Sequence[str]) -> Sequence[Sequence[float]]:
            assert embedder is not None
            known = {text: self._words[text] for text in texts if text in self._words}
            new = [text for text in texts if text not in known]
            made = asyncio.run_coroutine_threadsafe(embedder.embed_passages(new), loop).result(PATIENCE_S)
            known.update((text, array.array("f", vector)) for text, vector in zip(new, made, strict=True))
            words = {text: vector for text, vector in known.items() if " " not in text}
            # A new dictionary each time: answers are checked in several threads.
            kept = [*({**self._words, **words}).items()][-REMEMBERED:]
            self._words = dict(kept)
            return [known[text] for text in texts]

        try:
            return await asyncio.to_thread(
                check, answer, sources, question=question, embed=embed if embedder is not None else None
            )
        except Exception as error:
            if embedder is None:
                raise
            log.warning("citations are checked without the embedder: %s", error)
            return await asyncio.to_thread(check, answer, sources, question=question, embed=None)
