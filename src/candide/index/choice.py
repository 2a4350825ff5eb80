"""Which index a Candide has: a folder of its own, or the PostgreSQL server that keeps its database.

It is of the vectors of one embedder: those of another are not found, and are made anew by whoever writes.
"""

from __future__ import annotations

from pathlib import Path

from candide.domain.retrieval import Embedder, PassageIndex


def choose_index(database_url: str, folder: Path, embedder: Embedder) -> PassageIndex:
    """The index that belongs to the database of this URL; nothing is opened before it is used."""
    model, dimensions = embedder.name, embedder.dimensions
    if database_url.startswith("postgresql"):
        from candide.index.postgres import PostgresIndex

        return PostgresIndex(database_url, dimensions, model)
    from candide.index.embedded import EmbeddedIndex

    return EmbeddedIndex(folder, dimensions=dimensions, model=model)
