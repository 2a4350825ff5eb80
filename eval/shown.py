"""How many passages a question has to be shown with, for the answer to be among them.

`python eval/shown.py [--every N]`: each article of PIAF's held-out ones and of XQuAD is one source, cut as the product cuts it, and each Nth
question is searched for as a turn does. For several least scores, of which a passage below is not shown, it prints how
often what is shown holds the expected answer in the paragraph that it was taken from, and how much is shown: the model reads every word of
it before it says its first.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from answers import collapse
from articles import DATA, Question, make_source, read_articles
from candide.domain.retrieval import Filters
from candide.domain.sources import Result
from candide.index.analysis import find_stem
from candide.index.embedded import EmbeddedIndex
from candide.index.indexer import Indexer
from candide.retrieval.search import Retrieval
from candide.store.database import Database
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore
from candide.turn import PASSAGES_A_SOURCE
from vectors import KeptEmbedder

LEAST = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
LIMITS = (2, 3, 4)


def holds(question: Question, results: list[Result]) -> bool:
    """Whether a passage of the paragraph that answers is there, with an expected answer in it."""
    start, end = question.span
    return any(
        result.source.title == question.article.title
        and result.passage.start < end
        and result.passage.end > start
        and any(collapse(gold).lower() in collapse(result.passage.text).lower() for gold in question.golds)
        for result in results
    )


async def search_all(language: str, every: int) -> list[tuple[Question, list[Result]]]:
    articles, questions = read_articles(language)
    with tempfile.TemporaryDirectory(prefix="candide-eval-") as folder:
        database = await Database.open(f"sqlite:///{folder}/candide.db", Path(folder) / "backups", 1)
        embedder = KeptEmbedder()
        index = EmbeddedIndex(Path(folder) / "index")
        try:
            libraries, sources = LibraryStore(database), SourceStore(database)
            library = await libraries.create(language)
            new = [make_source(article.title, article.document(language)) for article in articles]
            await sources.keep(library.id, new)
            await Indexer(index, sources, embedder).catch_up()
            retrieval = Retrieval(index, embedder, sources, libraries, stem=find_stem)
            found: list[tuple[Question, list[Result]]] = []
            for question in questions[::every]:
                outcome = await retrieval.search(
                    question.text,
                    Filters(libraries=(library.id,)),
                    limit=max(LIMITS),
                    per_source=PASSAGES_A_SOURCE,
                )
                found.append((question, outcome.results))
            return found
        finally:
            await index.close()
            await embedder.close()
            await database.close()


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=4)
    wanted = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"skipped: there is no {DATA}")
    print("| language | at most | least score | holds the answer | passages | characters |")
    print("|---|---|---|---|---|---|")
    for language in ("fr", "en"):
        found = await search_all(language, wanted.every)
        for limit in LIMITS:
            for least in LEAST:
                shown = [(q, [r for r in results[:limit] if r.score >= least]) for q, results in found]
                rate = statistics.mean(holds(q, results) for q, results in shown)
                passages = statistics.mean(len(results) for _, results in shown)
                characters = statistics.mean(
                    sum(len(r.passage.text) for r in results) for _, results in shown
                )
                print(
                    f"| {language} ({len(shown)}) | {limit} | {least} | {rate:.3f} | {passages:.2f} | {characters:.0f} |"
                )


if __name__ == "__main__":
    asyncio.run(main())
