"""The process that reads, where a server makes its vectors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from candide.domain.retrieval import Filters
from candide.index.choice import choose_index
from candide.ingestion import worker
from candide.ingestion.embedding import choose_embedder
from candide.ingestion.protocol import EmbeddingServer, Said, WorkerConfig

from .reading_places import Place

if TYPE_CHECKING:
    from conftest import EmbeddingHost


@pytest.fixture
async def config(tmp_path: Path, empty_database: Path, embedding_host: EmbeddingHost) -> WorkerConfig:
    """Of a place with two sources in it whose vectors are still to be made."""
    place = await Place.open(tmp_path / "home", empty_database)
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"_id": "1", "text": "The hound sleeps."}\n{"_id": "2", "text": "An automobile."}\n')
    await place.read(path)
    await place.close()
    return WorkerConfig(
        database_url=f"sqlite:///{place.home / 'candide.db'}",
        backups_dir=str(place.home / "backups"),
        home=str(place.home),
        index_dir=str(place.home / "index"),
        logs_dir=str(place.home / "logs"),
        embedding_server=EmbeddingServer(
            url=embedding_host.url, model="small", dimensions=embedding_host.dimensions
        ),
    )


@contextlib.asynccontextmanager
async def working(config: WorkerConfig) -> AsyncIterator[list[Said]]:
    said: list[Said] = []
    task = asyncio.create_task(worker.work(config, said.append, lambda _: None))
    try:
        yield said
    finally:
        task.cancel()
        await asyncio.wait([task])


async def is_idle(said: list[Said]) -> None:
    async with asyncio.timeout(60):
        while all(one.idle is None for one in said):
            await asyncio.sleep(0.02)


async def find(config: WorkerConfig, text: str) -> list[float]:
    """How near the passages are to a text, the nearest first."""
    embedder = choose_embedder(config.embedding_server)
    index = choose_index(config.database_url, Path(config.index_dir), embedder)
    try:
        hits = await index.find_vector(await embedder.embed_query(text), Filters(), 10)
        return [hit.score for hit in hits]
    finally:
        await index.close()
        await embedder.close()


async def test_it_asks_a_server_that_is_away_again_until_all_vectors_are_made(
    config: WorkerConfig, embedding_host: EmbeddingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "EMBEDDER_PAUSE_S", 0.2)
    embedding_host.stop()
    failed = asyncio.Event()
    monkeypatch.setattr(worker.log, "warning", lambda *_: failed.set())
    async with working(config) as said:
        await asyncio.wait_for(failed.wait(), 60)
        failed.clear()
        await asyncio.wait_for(failed.wait(), 60)
        assert all(one.idle is None for one in said)
        embedding_host.start()
        await is_idle(said)
    near, far = await find(config, "dog")
    assert near > 0.9 > far


async def test_a_text_that_is_too_long_for_the_model_is_embedded_by_its_beginning(
    config: WorkerConfig, embedding_host: EmbeddingHost
) -> None:
    embedding_host.longest = 300
    embedder = choose_embedder(config.embedding_server)
    try:
        long, short = await embedder.embed_passages(["The hound" + " sleeps" * 1000, "An automobile."])
        assert (long, short) == tuple(await embedder.embed_passages(["hound", "car"]))
    finally:
        await embedder.close()
