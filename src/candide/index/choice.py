"""Which index a Candide has: a folder of its own, or the PostgreSQL server that keeps its database."""

from __future__ import annotations

from pathlib import Path

from candide.domain.retrieval import PassageIndex


def choose_index(database_url: str, folder: Path) -> PassageIndex:
    """The index that belongs to the database of this URL; nothing is opened before it is used."""
    if database_url.startswith("postgresql"):
        from candide.index.postgres import PostgresIndex

        return PostgresIndex(database_url)
    from candide.index.embedded import EmbeddedIndex

    return EmbeddedIndex(folder)
