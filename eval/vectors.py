"""Vectors that were made once: texts are embedded by the product's own embedder, and kept for the next run.

They lie in `~/.cache/candide-eval`, or in the folder that CANDIDE_EVAL_CACHE names: some passages a second are embedded
on two cores, and the sets hold thousands.
"""

from __future__ import annotations

import array
import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from candide.index.embedder import E5Embedder

STEP = 16


class KeptEmbedder:
    """An `Embedder` that asks the product's for what it has not seen."""

    def __init__(self) -> None:
        self._embedder = E5Embedder()
        folder = Path(os.environ.get("CANDIDE_EVAL_CACHE") or Path.home() / ".cache" / "candide-eval")
        folder.mkdir(parents=True, exist_ok=True)
        self._kept = sqlite3.connect(folder / "vectors.db", isolation_level=None)
        self._kept.execute(
            "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID"
        )
        self.name = self._embedder.name
        self.dimensions = self._embedder.dimensions

    async def embed_query(self, text: str) -> list[float]:
        key = self.key(f"query: {text}")
        vector = self.find(key)
        if vector is None:
            vector = await self._embedder.embed_query(text)
            self.keep(key, vector)
        return vector

    async def embed_passages(self, texts: Sequence[str]) -> list[list[float]]:
        found: dict[bytes, list[float]] = {}
        wanted = {self.key(f"passage: {text}"): text for text in texts}
        for key in wanted:
            vector = self.find(key)
            if vector is not None:
                found[key] = vector
        missing = [key for key in wanted if key not in found]
        begun = time.monotonic()
        for at in range(0, len(missing), STEP):
            some = missing[at : at + STEP]
            made = await self._embedder.embed_passages([wanted[key] for key in some])
            for key, vector in zip(some, made, strict=True):
                self.keep(key, vector)
                found[key] = vector
            pace = (at + len(some)) / (time.monotonic() - begun)
            print(f"\rembedding: {at + len(some)} of {len(missing)}, {pace:.1f}/s ", end="", file=sys.stderr)
        return [found[self.key(f"passage: {text}")] for text in texts]

    def key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.name}\n{text}".encode()).digest()

    def find(self, key: bytes) -> list[float] | None:
        row = self._kept.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        vector = array.array("f")
        vector.frombytes(row[0])
        return vector.tolist()

    def keep(self, key: bytes, vector: Sequence[float]) -> None:
        row = (key, array.array("f", vector).tobytes())
        self._kept.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?)", row)

    async def close(self) -> None:
        await self._embedder.close()
        self._kept.close()
