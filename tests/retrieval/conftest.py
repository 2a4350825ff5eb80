"""A library in a real store with a real index, filled with whatever a test brings."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from candide.domain.retrieval import Embedder
from candide.domain.sources import Cut, Document, Library, NewSource
from candide.index.analysis import PLAIN, clean_text, find_stem_field, get_analyzer
from candide.index.embedded import EmbeddedIndex
from candide.index.embedder import E5Embedder
from candide.index.indexer import Indexer
from candide.retrieval.search import Retrieval
from candide.store.database import Database
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore


def stem(word: str, language: str) -> str:
    analyzer = get_analyzer(find_stem_field(language) or PLAIN)
    return next(iter(analyzer.analyze(clean_text(word))), word)


class Collection:
    """Stores and index of one folder."""

    def __init__(self, database: Database, folder: Path, embedder: Embedder) -> None:
        self.libraries = LibraryStore(database)
        self.sources = SourceStore(database)
        self.embedder = embedder
        self.index = EmbeddedIndex(folder)
        self.writer = EmbeddedIndex(folder)

    async def add(
        self,
        library: Library,
        documents: Sequence[Document],
        *,
        uris: Sequence[str] = (),
        group_id: str | None = None,
        with_vectors: bool = False,
        media_type: str = "text/plain",
    ) -> None:
        """Keep documents as sources, each paragraph a passage, and bring the index up to date."""
        new = [
            NewSource(
                key=uris[n] if uris else document.title,
                uri=uris[n] if uris else f"doc:{document.title}",
                kind="document",
                media_type=media_type,
                document=document,
                cuts=cut_paragraphs(document.text),
                content_hash=str(hash(document.text)),
                group_id=group_id,
            )
            for n, document in enumerate(documents)
        ]
        await self.sources.keep(library.id, new)
        await self.catch_up(with_vectors=with_vectors)

    async def catch_up(self, *, with_vectors: bool = False) -> None:
        await Indexer(self.writer, self.sources, self.embedder if with_vectors else None).catch_up()

    def retrieval(self, embedder: Embedder | None = None, **more: object) -> Retrieval:
        return Retrieval(self.index, embedder, self.sources, self.libraries, stem=stem, **more)  # type: ignore[arg-type]


def cut_paragraphs(text: str) -> list[Cut]:
    cuts: list[Cut] = []
    at = 0
    for paragraph in text.split("\n\n"):
        cuts.append(Cut(at, at + len(paragraph)))
        at += len(paragraph) + 2
    return cuts


@pytest.fixture
async def collection(tmp_path: Path, empty_database: Path) -> AsyncIterator[Collection]:
    shutil.copy(empty_database, tmp_path)
    database = await Database.open(f"sqlite:///{tmp_path / empty_database.name}", tmp_path / "backups", 1)
    embedder = E5Embedder(threads=2)
    made = Collection(database, tmp_path / "index", embedder)
    yield made
    await made.writer.close()
    await made.index.close()
    await embedder.close()
    await database.close()
