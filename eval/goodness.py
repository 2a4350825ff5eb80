"""How well a search knows whether what it found answers the question.

    python eval/goodness.py [--fit] [--sets piaf xquad nomiracl] [--nomiracl 40] [--every 2]

Each set has questions that the searched library answers and questions that it does not: PIAF (its held-out articles, since
the others take long to embed) and XQuAD are cut into two libraries of half the articles. Each article is a source, cut into
passages as any is, and a question is asked of the library that has its article and of the other; NoMIRACL gives each question a library of ten passages that were found for it, of which one answers or
none does. Everything runs through the product's own store, index and retrieval. `--fit` prints weights for
`retrieval/goodness.py`, fitted to half of the questions, and the table is of the other half. NoMIRACL is left out of
the fit: passages that were found for a question and do not answer it look to a search like those that do.

The sets lie in ../shared/dev-data; without them there is nothing to measure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from articles import DATA, make_source
from candide.domain.retrieval import Filters
from candide.domain.sources import Document
from candide.index.analysis import find_stem
from candide.index.embedded import EmbeddedIndex
from candide.index.indexer import Indexer
from candide.retrieval import goodness
from candide.retrieval.goodness import Evidence
from candide.retrieval.search import Retrieval
from candide.store.database import Database
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore
from candide.turn import PASSAGES_A_SOURCE, SHOWN_PASSAGES
from vectors import KeptEmbedder


@dataclass
class Case:
    kind: str
    question: str
    library: str
    is_answered: bool
    evidence: Evidence | None = None


class Bench:
    """A store and an index in a folder that is thrown away."""

    def __init__(self, database: Database, folder: Path, embedder: KeptEmbedder) -> None:
        self.libraries = LibraryStore(database)
        self.sources = SourceStore(database)
        self.embedder = embedder
        self.index = EmbeddedIndex(folder)
        self.seen: Evidence | None = None
        self.ids: dict[str, str] = {}

    async def add(self, library: str, texts: Sequence[tuple[str, str]], language: str) -> None:
        if library not in self.ids:
            self.ids[library] = (await self.libraries.create(library)).id
        new = [
            make_source(f"{library}/{n}", Document(text=text, title=title, language=language))
            for n, (title, text) in enumerate(texts)
        ]
        await self.sources.keep(self.ids[library], new)

    async def ask(self, cases: Sequence[Case], *, with_vectors: bool) -> None:
        retrieval = Retrieval(
            self.index,
            self.embedder if with_vectors else None,
            self.sources,
            self.libraries,
            stem=find_stem,
            judge=self._note,
        )
        for case in cases:
            self.seen = None
            filters = Filters(libraries=(self.ids[case.library],))
            await retrieval.search(case.question, filters, limit=SHOWN_PASSAGES, per_source=PASSAGES_A_SOURCE)
            case.evidence = self.seen

    def _note(self, evidence: Evidence) -> bool:
        self.seen = evidence
        return True


def read_data(file: str) -> list[dict[str, Any]]:
    """The articles of a file in SQuAD's format; of PIAF, those that are held out."""
    articles = json.loads((DATA / file).read_text(encoding="utf-8"))["data"]
    titles = (DATA / file).with_name("held-out-titles.txt")
    if not titles.exists():
        return articles
    kept = set(titles.read_text(encoding="utf-8").splitlines())
    return [article for article in articles if article["title"] in kept]


async def add_squad(
    bench: Bench, name: str, file: str, questions: Sequence[str], every: int, language: str
) -> list[Case]:
    """Cut a set into two libraries; the cases of `questions`, files of the same articles, each asked of both."""
    halves: list[list[tuple[str, str]]] = [[], []]
    for number, article in enumerate(read_data(file)):
        text = "\n\n".join(paragraph["context"].strip() for paragraph in article["paragraphs"])
        halves[number % 2].append((article["title"].replace("_", " "), text))
    for half, texts in enumerate(halves):
        await bench.add(f"{name}-{half}", texts, language)
    cases: list[Case] = []
    for other in questions:
        kind = name if other == file else f"{name}<-{Path(other).suffixes[0][1:]}"
        asked = [
            (number % 2, one["question"])
            for number, article in enumerate(read_data(other))
            for paragraph in article["paragraphs"]
            for one in paragraph["qas"]
        ]
        for half, question in asked[::every]:
            cases.append(Case(kind, question, f"{name}-{half}", True))
            cases.append(Case(kind, question, f"{name}-{1 - half}", False))
    return cases


async def add_nomiracl(bench: Bench, count: int) -> list[Case]:
    cases: list[Case] = []
    for is_answered, folder in ((True, "relevant"), (False, "non_relevant")):
        path = DATA / "nomiracl-en" / folder / "en.test.vanilla_prompt.jsonl"
        for n, line in enumerate(path.read_text().splitlines()[:count]):
            prompt = json.loads(line)["prompt"]
            question = prompt.split("QUESTION:\n", 1)[1].split("\n\nCONTEXTS:", 1)[0].strip()
            contexts = prompt.split("CONTEXTS:\n", 1)[1].split("\n\nOUTPUT:", 1)[0]
            texts: list[tuple[str, str]] = []
            for context in re.split(r"\n*^\[\d+\] ", contexts, flags=re.MULTILINE):
                title, _, text = context.strip().partition(": ")
                if text:
                    texts.append((title, text))
            library = f"nomiracl-{folder}-{n}"
            await bench.add(library, texts, "en")
            cases.append(Case("nomiracl", question, library, is_answered))
    return [case for pair in zip(cases[:count], cases[count:], strict=True) for case in pair]


def fit(cases: Sequence[Case]) -> list[float]:
    """Logistic regression by Newton's method; every set, and each of its two kinds of questions, weighs the same."""
    cases = [case for case in cases if case.kind != "nomiracl"]
    lengths = [len(goodness.describe(case.evidence)) for case in cases if case.evidence]
    if max(lengths) == 2:  # words alone, which questions of another language are not told by
        cases = [case for case in cases if "<-" not in case.kind]
    known = [
        case for case in cases if case.evidence and len(goodness.describe(case.evidence)) == max(lengths)
    ]
    kinds = [(case.kind, case.is_answered) for case in known]
    weights = np.array([1 / kinds.count(kind) for kind in kinds])
    signs = np.array([goodness.describe(case.evidence) for case in known if case.evidence])
    wanted = np.array([float(case.is_answered) for case in known])
    found = np.zeros(signs.shape[1])
    for _ in range(50):
        guess = 1 / (1 + np.exp(-signs @ found))
        slope = signs.T @ (weights * (wanted - guess)) - 1e-4 * found
        curve = (signs * (weights * guess * (1 - guess))[:, None]).T @ signs + 1e-4 * np.eye(len(found))
        found += np.linalg.solve(curve, slope)
    return [float(value) for value in found]


def estimate(evidence: Evidence | None, weights: Sequence[float] | None) -> float:
    """How probable it is that the passages answer; 0 where nothing was found."""
    if evidence is None:
        return 0.0
    if weights is None or len(weights) != len(goodness.describe(evidence)):
        return goodness.estimate(evidence)
    return 1 / (1 + math.exp(-sum(a * b for a, b in zip(weights, goodness.describe(evidence), strict=True))))


def report(cases: Sequence[Case], weights: Sequence[float] | None) -> None:
    print(
        f"{'set':14} {'answered':>9} {'good':>6} {'not':>6} {'good':>6} {'precision':>10} {'recall':>7} {'AUC':>6}"
    )
    kinds = list(dict.fromkeys(case.kind for case in cases))
    for kind in [*kinds, "all"]:
        mine = [case for case in cases if kind in (case.kind, "all")]
        guesses = [estimate(case.evidence, weights) for case in mine]
        yes = [guess for case, guess in zip(mine, guesses, strict=True) if case.is_answered]
        no = [guess for case, guess in zip(mine, guesses, strict=True) if not case.is_answered]
        good_yes = sum(guess >= goodness.THRESHOLD for guess in yes)
        good_no = sum(guess >= goodness.THRESHOLD for guess in no)
        above = sum((a > b) + 0.5 * (a == b) for a in yes for b in no) / (len(yes) * len(no))
        precision = good_yes / max(1, good_yes + good_no)
        print(
            f"{kind:14} {len(yes):9} {good_yes / len(yes):6.1%} {len(no):6} {good_no / len(no):6.1%} "
            f"{precision:10.1%} {good_yes / len(yes):7.1%} {above:6.3f}"
        )


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--fit", action="store_true", help="fit the weights to half of the questions, and print them"
    )
    parser.add_argument("--sets", nargs="+", default=["piaf", "xquad", "nomiracl"])
    parser.add_argument("--nomiracl", type=int, default=40, help="questions of each kind from NoMIRACL")
    parser.add_argument("--every", type=int, default=2, help="of PIAF's questions, each so-many-th")
    parser.add_argument("--dump", type=Path, help="write the evidence of every case, a line of JSON each")
    args = parser.parse_args()
    if not DATA.is_dir():
        print(f"nothing to measure: there is no {DATA}")
        return
    embedder = KeptEmbedder()
    with tempfile.TemporaryDirectory(prefix="candide-eval-") as folder:
        database = await Database.open(f"sqlite:///{folder}/candide.db", Path(folder) / "backups")
        bench = Bench(database, Path(folder) / "index", embedder)
        cases: list[Case] = []
        if "piaf" in args.sets:
            piaf = "piaf/piaf-v1.1.json"
            cases += await add_squad(bench, "piaf", piaf, [piaf], args.every, "fr")
        if "xquad" in args.sets:
            files = [f"xquad/xquad.{language}.json" for language in ("en", "de", "es")]
            cases += await add_squad(bench, "xquad", files[0], files, 4 * args.every, "en")
        if "nomiracl" in args.sets:
            cases += await add_nomiracl(bench, args.nomiracl)
        writer = EmbeddedIndex(Path(folder) / "index")
        await Indexer(writer, bench.sources, embedder).catch_up()
        for with_vectors in (True, False):
            await bench.ask(cases, with_vectors=with_vectors)
            print(f"\n{'words and vectors' if with_vectors else 'words alone'}")
            # The cases stand in pairs, of which one is answered and one is not.
            halves = [[case for n, case in enumerate(cases) if n // 2 % 2 == half] for half in (0, 1)]
            if args.dump and with_vectors:
                args.dump.write_bytes(b"\n".join(msgspec.json.encode(case) for case in cases))
            weights = fit(halves[0]) if args.fit else None
            if weights is not None:
                print("weights:", ", ".join(f"{weight:.2f}" for weight in weights))
            report(halves[1] if args.fit else cases, weights)
        await writer.close()
        await bench.index.close()
        await database.close()
    await embedder.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
