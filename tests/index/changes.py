"""Sources and changes for tests of indexes, and vectors that say what they stand for."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from candide.domain.retrieval import IndexChange
from candide.domain.sources import Passage, Source

DIMENSIONS = 16


def make_change(
    seq: int, *texts: str, number: int | None = None, headings: str = "", **members: Any
) -> IndexChange:
    """A change that adds source `number` with these passages, whose ids are ten times it and on; `seq` by default."""
    number = seq if number is None else number
    members = {"library_id": "library_a", "language": "fr", "site": "", "media_type": "text/html"} | members
    source = Source(id=source_id(number), uri=f"https://example.org/{number}", kind="page", **members)
    passages = [
        Passage(
            id=10 * number + at, source_id=source.id, start=0, end=len(text), text=text, headings=headings
        )
        for at, text in enumerate(texts)
    ]
    return IndexChange(seq=seq, source_id=source.id, source=source, passages=passages)


def forget(seq: int, number: int) -> IndexChange:
    return IndexChange(seq=seq, source_id=source_id(number))


def source_id(number: int) -> str:
    return f"source_{number:04}"


def make_vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Of length 1; always the same for a text, and another for another."""
    digest = b"".join(
        hashlib.sha256(f"{part}{text}".encode()).digest() for part in range(dimensions // 32 + 1)
    )
    numbers = [byte - 127.5 for byte in digest[:dimensions]]
    length = math.sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]


def make_vectors(changes: Sequence[IndexChange]) -> dict[int, list[float]]:
    return {passage.id: make_vector(passage.text) for change in changes for passage in change.passages}


class TextEmbedder:
    """An `Embedder` whose vectors are those of `make_vector`."""

    name = "texts"
    dimensions = DIMENSIONS

    async def embed_query(self, text: str) -> list[float]:
        return make_vector(text)

    async def embed_passages(self, texts: Sequence[str]) -> list[list[float]]:
        return [make_vector(text) for text in texts]
