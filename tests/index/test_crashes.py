"""Index and database agree after SIGKILL at any moment, a full disk, and damage to files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from candide.domain.retrieval import Filters, PassageIndex, Positions, WordQuery
from candide.errors import StoreError
from candide.index import dense
from candide.index.embedded import EmbeddedIndex
from candide.index.indexer import Indexer
from candide.store.database import Database
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore

from .changes import DIMENSIONS, TextEmbedder, make_change, make_vector, make_vectors
from .crashing import make_source

KILLS = 20
ALL = 10_000


@pytest.fixture
async def sources(tmp_path: Path, empty_database: Path) -> AsyncIterator[SourceStore]:
    shutil.copy(empty_database, tmp_path / "candide.db")
    database = await Database.open(f"sqlite:///{tmp_path / 'candide.db'}", tmp_path)
    yield SourceStore(database)
    await database.close()


@pytest.fixture
async def filled(tmp_path: Path, sources: SourceStore) -> Indexer:
    """An index of 30 sources of the database, closed."""
    libraries = LibraryStore(sources._database)  # pyright: ignore[reportPrivateUsage]
    library = await libraries.create("news")
    await sources.keep(library.id, [make_source(f"k{n}", f"common text {n}, " * n) for n in range(1, 31)])
    return await catch_up(tmp_path, sources)


async def catch_up(folder: Path, sources: SourceStore) -> Indexer:
    index = EmbeddedIndex(folder / "index", dimensions=DIMENSIONS)
    indexer = Indexer(index, sources, TextEmbedder())
    last = await sources.last_change()
    assert await indexer.catch_up() == Positions(last, last)
    await index.close()
    return indexer


async def check_agreement(folder: Path, sources: SourceStore) -> int:
    """Every current passage is found once by words and once by its vector, and nothing else is; how many there are."""
    current = {
        passage.id: passage for change in await sources.changes_after(0, ALL) for passage in change.passages
    }
    index = EmbeddedIndex(folder / "index", dimensions=DIMENSIONS)
    by_words = await index.find_words(WordQuery(text="common text words of"), Filters(languages=("en",)), ALL)
    by_title = await index.find_words(WordQuery(text=" ".join(f"k{n}" for n in range(41))), Filters(), ALL)
    by_vector = await index.find_vector(make_vector("anything"), Filters(languages=("en",)), ALL)
    assert Counter(hit.passage_id for hit in by_title) == Counter(current.keys())
    assert {hit.passage_id for hit in by_words} <= current.keys()
    assert Counter(hit.passage_id for hit in by_vector) == Counter(current.keys())
    # By the graphs, too, which find nearly all.
    nearest = [(await index.find_vector(make_vector(p.text), Filters(), 3))[0] for p in current.values()]
    assert sum(hit.score > 0.999 for hit in nearest) >= 0.95 * len(current)
    await index.close()
    return len(current)


async def test_index_and_database_agree_after_kills_at_any_moment(
    tmp_path: Path, sources: SourceStore
) -> None:
    moments = random.Random(4)
    program = Path(__file__).parent / "crashing.py"
    for kill in range(KILLS):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(program), str(tmp_path), str(kill)), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"at work\n"
        await asyncio.sleep(moments.uniform(0.0, 0.4))
        assert process.returncode is None
        process.send_signal(signal.SIGKILL)
        await process.wait()
        if kill % 5 == 4:
            await catch_up(tmp_path, sources)
            assert await check_agreement(tmp_path, sources) > 0


async def test_a_lost_folder_is_made_anew(tmp_path: Path, sources: SourceStore, filled: Indexer) -> None:
    shutil.rmtree(tmp_path / "index")
    await catch_up(tmp_path, sources)
    await check_agreement(tmp_path, sources)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _scribble(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(os.urandom(size))


FILES = [
    *("words/*.term", "words/*.idx", "words/*.store", "words/*.fast", "words/meta.json", "words/format.json"),
    *("vectors/vectors.db", "vectors/graph-*"),
]


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        *((harm, name) for harm in (_truncate, _scribble) for name in FILES),
        *(
            (Path.unlink, name)
            for name in ("words/*.idx", "words/meta.json", "vectors/*.db", "vectors/graph-*")
        ),
    ],
)
async def test_damage_is_mended(
    tmp_path: Path,
    sources: SourceStore,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    name: str,
    harm: Callable[[Path], None],
) -> None:
    monkeypatch.setattr(dense, "TAIL_ROWS", 20)
    library = await LibraryStore(sources._database).create("news")  # pyright: ignore[reportPrivateUsage]
    await sources.keep(library.id, [make_source(f"k{n}", f"common text {n}, " * n) for n in range(1, 31)])
    await catch_up(tmp_path, sources)
    files = list((tmp_path / "index").glob(name))
    assert files
    for file in files:
        harm(file)
    # What a reader stumbles over, the next writer mends.
    with contextlib.suppress(StoreError):
        await check_agreement_quietly(tmp_path)
    await catch_up(tmp_path, sources)
    await check_agreement(tmp_path, sources)


async def check_agreement_quietly(folder: Path) -> None:
    index = EmbeddedIndex(folder / "index", dimensions=DIMENSIONS)
    for look in (
        index.find_words(WordQuery(text="common"), Filters(), ALL),
        index.find_vector(make_vector("anything"), Filters(), ALL),
    ):
        with contextlib.suppress(StoreError):
            await look
    await index.close()


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Have no file of this process grow beyond so many bytes, as on a full disk; the kernel says so by an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


async def test_on_a_full_disk_positions_stay_and_work_goes_on_when_there_is_room(
    tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    index: PassageIndex = EmbeddedIndex(tmp_path / "index", dimensions=DIMENSIONS)
    await index.prepare(1000, "m")
    first = [make_change(1, "Le premier texte.")]
    await index.add_words(first)
    await index.add_vectors(first, make_vectors(first))
    many = [
        make_change(seq, *(f"Texte {seq} {part} {time.time()}" for part in range(9))) for seq in range(2, 400)
    ]
    small_files(20_000)
    with pytest.raises(StoreError):
        await index.add_words(many)
    with pytest.raises(StoreError):
        await index.add_vectors(many, make_vectors(many))
    small_files(resource.RLIM_INFINITY)
    assert await index.positions() == Positions(1, 1)
    assert [hit.passage_id for hit in await index.find_words(WordQuery(text="texte"), Filters(), 5)] == [10]
    await index.add_words(many)
    await index.add_vectors(many, make_vectors(many))
    assert await index.positions() == Positions(399, 399)
    assert len(await index.find_words(WordQuery(text="texte"), Filters(), ALL)) == 1 + 398 * 9
    assert len(await index.find_vector(make_vector("x"), Filters(), ALL)) == 1 + 398 * 9
    await index.close()
