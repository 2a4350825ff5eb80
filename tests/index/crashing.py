"""Changes sources and brings an index up to date, over and over, until it is killed: `python crashing.py FOLDER SEED`.

It prints a line when it is at work.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
from pathlib import Path

from candide.domain.sources import Cut, Document, NewSource
from candide.index import dense
from candide.index.embedded import EmbeddedIndex
from candide.index.indexer import Indexer
from candide.store.database import Database
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore

sys.path.insert(0, str(Path(__file__).parent))
from changes import DIMENSIONS, TextEmbedder

# Small, so that graphs are made and merged all the time.
dense.TAIL_ROWS = 20


def make_source(key: str, text: str) -> NewSource:
    cuts = [Cut(start, min(start + 30, len(text))) for start in range(0, len(text), 30)]
    digest = hashlib.sha256(text.encode()).hexdigest()
    return NewSource(
        key=key,
        uri=f"https://example.org/{key}",
        kind="page",
        media_type="text/html",
        document=Document(text=text, title=key, language="en"),
        cuts=cuts,
        content_hash=digest,
    )


async def main(folder: Path, seed: int) -> None:
    choose = random.Random(seed)
    database = await Database.open(f"sqlite:///{folder / 'candide.db'}", folder)
    libraries, sources = LibraryStore(database), SourceStore(database)
    library = await libraries.find_or_create("news")
    index = EmbeddedIndex(folder / "index", dimensions=DIMENSIONS)
    indexer = Indexer(index, sources, TextEmbedder())
    print("at work", flush=True)
    while True:
        keys = choose.sample(range(40), choose.randint(1, 6))
        texts = [f"common words of {key} {choose.random()} " * choose.randint(1, 4) for key in keys]
        await sources.keep(
            library.id, [make_source(f"k{k}", text) for k, text in zip(keys, texts, strict=True)]
        )
        there = await sources.list(library.id, limit=100)
        if len(there) > 20:
            await sources.remove([one.id for one in choose.sample(there, 5)])
        await indexer.catch_up()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
