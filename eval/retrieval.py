"""How well the index finds what answers a question: words alone, vectors alone, and both fused, side by side.

    python eval/retrieval.py [--data ../shared/dev-data] [--every 4]

Questions of PIAF (French) and XQuAD (English; German and Spanish questions over the English paragraphs), each answered
by one of the set's paragraphs, through the product's own index, embedder and fusion. A paragraph is a passage. Printed are
recall at 1, 5 and 10, the mean reciprocal rank and nDCG at 10. Embedding takes some ten minutes, once: `vectors.py` keeps what
was made. --every takes each n-th question of PIAF.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from candide.domain.retrieval import Filters, Hit, IndexChange, WordQuery
from candide.domain.sources import Passage, Source
from candide.index.embedded import EmbeddedIndex
from candide.retrieval.fusion import fuse_hits, fuse_ranks
from vectors import KeptEmbedder

ROOT = Path(__file__).resolve().parent.parent
DEPTH = 60
"""So many hits of each list are fused."""


class Question(NamedTuple):
    text: str
    answered_by: int
    """The id of a passage."""


class EvaluationSet(NamedTuple):
    name: str
    passages: Path
    questions: Path
    passages_language: str
    questions_language: str
    every: int = 1


def read_passages(path: Path, language: str) -> list[IndexChange]:
    changes: list[IndexChange] = []
    for article in json.loads(path.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            number = len(changes) + 1
            source = Source(
                id=f"source_{number}",
                library_id="library",
                uri="",
                kind="document",
                media_type="text/plain",
                title=article.get("title", "").replace("_", " "),
                language=language,
            )
            text = paragraph["context"]
            passage = Passage(id=number, source_id=source.id, start=0, end=len(text), text=text)
            changes.append(IndexChange(seq=number, source_id=source.id, source=source, passages=[passage]))
    return changes


def read_questions(path: Path, every: int) -> list[Question]:
    paragraphs = [p for article in json.loads(path.read_text())["data"] for p in article["paragraphs"]]
    questions = [
        Question(asked["question"], number)
        for number, paragraph in enumerate(paragraphs, 1)
        for asked in paragraph["qas"]
    ]
    return questions[::every]


def measure(lists: Sequence[Sequence[Hit]], questions: Sequence[Question]) -> list[float]:
    """Recall at 1, 5 and 10, mean reciprocal rank at 10, nDCG at 10."""
    ranks = [
        next((rank for rank, hit in enumerate(hits[:10]) if hit.passage_id == question.answered_by), 10)
        for hits, question in zip(lists, questions, strict=True)
    ]
    count = len(ranks)
    recalls = [sum(rank < depth for rank in ranks) / count for depth in (1, 5, 10)]
    reciprocal = sum(1 / (rank + 1) for rank in ranks if rank < 10) / count
    gain = sum(1 / math.log2(rank + 2) for rank in ranks if rank < 10) / count
    return [*recalls, reciprocal, gain]


async def evaluate(one: EvaluationSet, embedder: KeptEmbedder) -> list[dict[str, Any]]:
    changes = read_passages(one.passages, one.passages_language)
    questions = read_questions(one.questions, one.every)
    texts = [passage.text for change in changes for passage in change.passages]
    vectors = await embedder.embed_passages(texts)
    asked = [await embedder.embed_query(question.text) for question in questions]
    with tempfile.TemporaryDirectory() as folder:
        index = EmbeddedIndex(Path(folder) / "index")
        await index.prepare(len(changes), "evaluation")
        await index.add_words(changes)
        await index.add_vectors(changes, dict(enumerate(vectors, 1)))
        by_words: list[list[Hit]] = []
        by_vectors: list[list[Hit]] = []
        for question, vector in zip(questions, asked, strict=True):
            query = WordQuery(text=question.text, language=one.questions_language)
            by_words.append(await index.find_words(query, Filters(), DEPTH))
            by_vectors.append(await index.find_vector(vector, Filters(), DEPTH))
        await index.close()
    pairs = list(zip(by_words, by_vectors, strict=True))
    ways = {
        "words (BM25)": by_words,
        "vectors": by_vectors,
        "fused by ranks": [fuse_ranks(*pair) for pair in pairs],
        "fused": [fuse_hits(*pair) for pair in pairs],
    }
    return [
        {"set": one.name, "way": way, "figures": measure(lists, questions)} for way, lists in ways.items()
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "dev-data")
    parser.add_argument("--every", type=int, default=4)
    chosen = parser.parse_args()
    if not chosen.data.is_dir():
        print(f"skipped: the sets to measure on are not in '{chosen.data}' (--data names another folder)")
        return
    piaf, xquad = chosen.data / "piaf" / "piaf-v1.1.json", chosen.data / "xquad"
    english = xquad / "xquad.en.json"
    sets = [
        EvaluationSet("PIAF, French", piaf, piaf, "fr", "fr", chosen.every),
        EvaluationSet("XQuAD, English", english, english, "en", "en"),
        EvaluationSet("XQuAD, German to English", english, xquad / "xquad.de.json", "en", "de"),
        EvaluationSet("XQuAD, Spanish to English", english, xquad / "xquad.es.json", "en", "es"),
    ]
    embedder = KeptEmbedder()
    begun = time.perf_counter()
    print(
        "| set | found by | recall@1 | recall@5 | recall@10 | MRR@10 | nDCG@10 |\n|---|---|---|---|---|---|---|"
    )
    try:
        for one in sets:
            for row in await evaluate(one, embedder):
                figures = " | ".join(f"{figure:.3f}" for figure in row["figures"])
                print(f"| {row['set']} | {row['way']} | {figures} |", flush=True)
    finally:
        await embedder.close()
    print(f"{time.perf_counter() - begun:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main())
