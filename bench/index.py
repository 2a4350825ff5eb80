"""What the embedded index takes to build and to ask: words, vectors, both, beside bm25s and SQLite's FTS5.

    python bench/index.py [--sizes 10000,100000] [--million] [--queries 200] [--no-others] [--plot FILE.svg]

The passages are made: some 100 words each, drawn from a vocabulary of 200,000 by Zipf's law, with English endings;
a source has five. Vectors are made too, 384 elements in clusters, since embedding a million passages would take days here. A
question is 6 words, of which 4 stand in one passage. Every size is built and asked in a process of its own; memory is that
of a second one, which only reads. Times are in milliseconds, of one question after the other, without embedding it; beside those of the clock stand those of the
processor, which other programs on the machine change little. `--plot` draws how all of it grows with the passages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from candide.domain.retrieval import Filters, IndexChange, WordQuery
from candide.domain.sources import Passage, Source
from candide.index.embedded import EmbeddedIndex
from candide.retrieval.fusion import fuse_hits
from processes import print_table

DIMENSIONS = 384
VOCABULARY = 200_000
WORDS = 100
PER_SOURCE = 5
BATCH = 2000
DEPTH = 60
SYLLABLES = [
    "ba",
    "co",
    "di",
    "fu",
    "ge",
    "la",
    "mi",
    "no",
    "pru",
    "ra",
    "ste",
    "tri",
    "vo",
    "za",
    "qui",
    "lon",
]
ENDINGS = ["", "s", "ing", "ed", "tion", "ly", "ment", "er"]


def make_words() -> list[str]:
    words = []
    for number in range(VOCABULARY):
        rest, word = number, ""
        while rest or not word:
            rest, syllable = divmod(rest, len(SYLLABLES))
            word += SYLLABLES[syllable]
        words.append(word + ENDINGS[number % len(ENDINGS)])
    return words


class Corpus:
    """Made anew, and always the same, from the number of a batch."""

    def __init__(self) -> None:
        self.words = np.array(make_words(), dtype=object)
        weights = 1.0 / np.arange(1, VOCABULARY + 1) ** 1.05
        self._shares = np.cumsum(weights / weights.sum())
        generator = np.random.default_rng(1)
        self._centres = generator.standard_normal((2000, DIMENSIONS), dtype=np.float32)
        self._mean = 1.5 * generator.standard_normal(DIMENSIONS, dtype=np.float32)

    def draw(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return np.minimum(np.searchsorted(self._shares, generator.random(count)), VOCABULARY - 1)

    def texts(self, batch: int) -> list[str]:
        drawn = self.draw(np.random.default_rng(10_000 + batch), BATCH * WORDS).reshape(BATCH, WORDS)
        return [" ".join(self.words[row]) for row in drawn]

    def vectors(self, batch: int) -> np.ndarray[Any, Any]:
        """Shape (BATCH, DIMENSIONS), of length 1."""
        generator = np.random.default_rng(20_000 + batch)
        made = self._centres[generator.integers(0, len(self._centres), BATCH)] + self._mean
        made = made + 0.7 * generator.standard_normal((BATCH, DIMENSIONS), dtype=np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def questions(self, count: int, size: int) -> list[tuple[str, list[float]]]:
        """Of four batches, the first to the last of this size."""
        choose, generator = random.Random(3), np.random.default_rng(3)
        last = max(1, size // BATCH) - 1
        made: list[tuple[str, list[float]]] = []
        for batch in (0, last // 3, 2 * last // 3, last):
            texts, vectors = self.texts(batch), self.vectors(batch)
            for _ in range(count // 4):
                words = choose.sample(choose.choice(texts).split(), 4) + list(
                    self.words[self.draw(generator, 2)]
                )
                vector = vectors[choose.randrange(BATCH)]
                vector = vector + 0.02 * generator.standard_normal(DIMENSIONS, dtype=np.float32)
                made.append((" ".join(words), vector.tolist()))
        choose.shuffle(made)
        return made


def make_changes(corpus: Corpus, batch: int) -> list[IndexChange]:
    texts = corpus.texts(batch)
    changes: list[IndexChange] = []
    for at in range(0, BATCH, PER_SOURCE):
        number = (batch * BATCH + at) // PER_SOURCE + 1
        # One passage in a hundred is of a small library.
        source = Source(
            id=f"source_{number:026}",
            library_id="small" if number % 100 == 0 else "large",
            uri="",
            kind="page",
            media_type="text/html",
            language="en",
            site="www.example.org",
            title=" ".join(texts[at].split()[:5]),
        )
        passages = [
            Passage(id=batch * BATCH + at + n, source_id=source.id, start=0, end=len(text), text=text)
            for n, text in enumerate(texts[at : at + PER_SOURCE])
        ]
        changes.append(IndexChange(seq=number, source_id=source.id, source=source, passages=passages))
    return changes


def read_memory() -> tuple[float, float]:
    """MiB of this process: all that is resident, and what of it is not pages of files."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["RssAnon"].split()[0]) / 1024


def measure_disk(folder: Path) -> float:
    """MiB."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


async def build(folder: Path, size: int) -> dict[str, Any]:
    corpus = Corpus()
    index = EmbeddedIndex(folder)
    await index.prepare(size, "made")
    words_s = vectors_s = words_worked_s = vectors_worked_s = 0.0
    for batch in range(size // BATCH):
        changes = make_changes(corpus, batch)
        begun, worked = time.perf_counter(), time.process_time()
        await index.add_words(changes)
        words_s += time.perf_counter() - begun
        words_worked_s += time.process_time() - worked
    begun, worked = time.perf_counter(), time.process_time()
    await index.close()
    # Merges that were under way belong to the building.
    words_s += time.perf_counter() - begun
    words_worked_s += time.process_time() - worked
    vectors_index = EmbeddedIndex(folder)
    for batch in range(size // BATCH):
        changes = make_changes(corpus, batch)
        vectors = dict(enumerate(corpus.vectors(batch), batch * BATCH))
        begun, worked = time.perf_counter(), time.process_time()
        await vectors_index.add_vectors(changes, vectors)
        vectors_s += time.perf_counter() - begun
        vectors_worked_s += time.process_time() - worked
    await vectors_index.close()
    return {
        "words": (size / words_s, size / words_worked_s),
        "vectors": (size / vectors_s, size / vectors_worked_s),
        "words MiB": measure_disk(folder / "words"),
        "vectors MiB": measure_disk(folder / "vectors"),
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


async def ask(folder: Path, size: int, count: int) -> dict[str, Any]:
    questions = Corpus().questions(count, size)
    before, _ = read_memory()
    index = EmbeddedIndex(folder)
    everywhere, large, small = Filters(), Filters(libraries=("large",)), Filters(libraries=("small",))

    async def hybrid(text: str, vector: list[float], filters: Filters) -> int:
        words, near = await asyncio.gather(
            index.find_words(WordQuery(text=text, language="en"), filters, DEPTH),
            index.find_vector(vector, filters, DEPTH),
        )
        return len(fuse_hits(words, near))

    ways: dict[str, Callable[[str, list[float]], Awaitable[Any]]] = {
        "words": lambda text, _: index.find_words(WordQuery(text=text, language="en"), everywhere, DEPTH),
        "vectors": lambda _, vector: index.find_vector(vector, everywhere, DEPTH),
        "hybrid": lambda text, vector: hybrid(text, vector, everywhere),
        "hybrid, in a library of 99 %": lambda text, vector: hybrid(text, vector, large),
        "hybrid, in a library of 1 %": lambda text, vector: hybrid(text, vector, small),
    }
    found: dict[str, Any] = {}
    for way, look in ways.items():
        for text, vector in questions[:20]:
            await look(text, vector)
        found[way] = await time_each([lambda t=text, v=vector, f=look: f(t, v) for text, vector in questions])
    resident, own = read_memory()
    await index.close()
    return found | {"memory": [resident - before, own]}


async def time_each(calls: list[Callable[[], Awaitable[Any]]]) -> list[tuple[float, float]]:
    """Milliseconds of each, by the clock and of the processor."""
    times: list[tuple[float, float]] = []
    for call in calls:
        begun, worked = time.perf_counter(), time.process_time()
        await call()
        times.append((1000 * (time.perf_counter() - begun), 1000 * (time.process_time() - worked)))
    return times


async def ask_bm25s(size: int, count: int) -> dict[str, Any]:
    import bm25s

    corpus = Corpus()
    questions = corpus.questions(count, size)
    texts = [text for batch in range(size // BATCH) for text in corpus.texts(batch)]
    begun = time.perf_counter()
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)
    built = time.perf_counter() - begun

    async def look(text: str) -> None:
        asked = bm25s.tokenize([text], stopwords=None, show_progress=False)
        retriever.retrieve(asked, k=DEPTH, show_progress=False)

    times = await time_each([lambda t=text: look(t) for text, _ in questions])
    return {"built": size / built, "times": times, "memory": read_memory()[0], "disk": 0.0}


async def ask_fts5(size: int, count: int) -> dict[str, Any]:
    corpus = Corpus()
    questions = corpus.questions(count, size)
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "fts.db")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE VIRTUAL TABLE passages USING fts5 (text, content='', tokenize='porter unicode61')"
        )
        built = 0.0
        for batch in range(size // BATCH):
            rows = list(enumerate(corpus.texts(batch), batch * BATCH))
            begun = time.perf_counter()
            with connection:
                connection.executemany("INSERT INTO passages (rowid, text) VALUES (?, ?)", rows)
            built += time.perf_counter() - begun

        async def look(text: str) -> None:
            connection.execute(
                "SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY rank LIMIT ?",
                (" OR ".join(text.split()), DEPTH),
            ).fetchall()

        times = await time_each([lambda t=text: look(t) for text, _ in questions])
        return {
            "built": size / built,
            "times": times,
            "memory": read_memory()[0],
            "disk": measure_disk(Path(folder)),
        }


def run(*arguments: str) -> Any:
    """A part of this program in a process of its own; what it found."""
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def spell_times(times: list[tuple[float, float]]) -> list[str]:
    """The median and the 95th percentile, by the clock and of the processor."""
    return [
        f"{statistics.median(kind):.1f} / {statistics.quantiles(kind, n=20)[-1]:.1f}"
        for kind in zip(*times, strict=True)
    ]


@dataclass
class Measured:
    """One way of asking at one size. Memory and disk are MiB; speeds are passages a second."""

    size: int
    way: str
    times: list[tuple[float, float]]
    built: float | None = None
    built_by_a_core: float | None = None
    memory: float | None = None
    memory_note: str = ""
    disk: float | None = None

    def row(self) -> list[str]:
        core = f" ({self.built_by_a_core:,.0f})" if self.built_by_a_core else ""
        return [
            f"{self.size:,}",
            self.way,
            f"{self.built:,.0f}{core}" if self.built else "",
            *spell_times(self.times),
            f"{self.memory:,.0f}{self.memory_note}" if self.memory else "",
            f"{self.disk:,.0f}" if self.disk else "",
        ]


def measure(size: int, count: int, *, others: bool) -> list[Measured]:
    with tempfile.TemporaryDirectory() as folder:
        made = run("--part", "build", "--folder", folder, "--size", str(size))
        found = run("--part", "ask", "--folder", folder, "--size", str(size), "--queries", str(count))
    resident, own = found.pop("memory")
    measured = {way: Measured(size, way, times) for way, times in found.items()}
    for way in ("words", "vectors"):
        measured[way].built, measured[way].built_by_a_core = made[way]
        measured[way].disk = made[f"{way} MiB"]
    measured["hybrid"].memory = resident
    measured["hybrid"].memory_note = f", own {own:,.0f}; building {made['peak MiB']:,.0f}"
    if others:
        for way, part in (("bm25s, words", "bm25s"), ("SQLite FTS5, words", "fts5")):
            other = run("--part", part, "--size", str(size), "--queries", str(min(count, 100)))
            measured[way] = Measured(
                size, way, other["times"], other["built"], memory=other["memory"], disk=other["disk"] or None
            )
    return list(measured.values())


def draw(measured: list[Measured], file: Path) -> None:
    """Four panels over the number of passages, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "candide"  # The same picture from the same figures.
    from matplotlib import pyplot

    panels: list[tuple[str, Callable[[Measured], float | None]]] = [
        ("a question, p95, ms", lambda one: statistics.quantiles([t for t, _ in one.times], n=20)[-1]),
        ("built, passages/s", lambda one: one.built),
        ("memory, MiB", lambda one: one.memory),
        ("disk, MiB", lambda one: one.disk),
    ]
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), layout="constrained")
    ways = list(dict.fromkeys(one.way for one in measured))
    for axis, (title, value) in zip(axes.flat, panels, strict=True):
        for number, way in enumerate(ways):
            points = [(one.size, found) for one in measured if one.way == way and (found := value(one))]
            if points:
                style = "--" if way.endswith(", words") else "-"
                axis.plot(*zip(*points, strict=True), style, marker="o", label=way, color=f"C{number}")
        axis.set(title=title, xscale="log", yscale="log", xlabel="passages")
        axis.grid(alpha=0.3)
    figure.legend(
        *axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small"
    )
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--million", action="store_true", help="a million passages too")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--no-others", action="store_true", help="without bm25s and FTS5")
    parser.add_argument("--plot", type=Path, help="draw how it grows into this file, .svg or .png")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    parts: dict[str, Callable[[], Awaitable[Any]]] = {
        "build": lambda: build(chosen.folder, chosen.size),
        "ask": lambda: ask(chosen.folder, chosen.size, chosen.queries),
        "bm25s": lambda: ask_bm25s(chosen.size, chosen.queries),
        "fts5": lambda: ask_fts5(chosen.size, chosen.queries),
    }
    if chosen.part:

        async def play() -> Any:
            return await parts[chosen.part]()

        print(json.dumps(asyncio.run(play())))
        return
    sizes = [int(size) for size in chosen.sizes.split(",")] + ([1_000_000] if chosen.million else [])
    header = [
        "passages",
        "asked for",
        "built, passages/s (a core's)",
        "p50 / p95, ms",
        "of the processor",
        "memory, MiB",
        "disk, MiB",
    ]
    if chosen.plot and chosen.plot.suffix not in (".svg", ".png"):
        parser.error("--plot takes a file that ends in .svg or .png")
    measured: list[Measured] = []
    for size in sizes:
        added = measure(size, chosen.queries, others=not chosen.no_others)
        print_table(f"{size:,} passages", header, [one.row() for one in added])
        measured += added
        if chosen.plot:
            draw(measured, chosen.plot)


if __name__ == "__main__":
    main()
