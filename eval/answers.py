"""How good cited answers are, from the question to the checked answer, on articles that the adapter never saw.

`python eval/answers.py [--questions N] [--model NAME_OR_FILE] [--base] [--show]` asks N questions a language, three quarters of
which an article in the library answers; the others are of articles that are not in it. Each article of PIAF's held-out
ones (French) and of XQuAD (English) is one source. It prints

- `finds`: a source that was found holds the paragraph that answers;
- `F1`: of the answer's words, without its marks, against the expected span (SQuAD's measure), and `holds`: the span stands
  in the answer;
- `precision` and `recall` of citations: those that lie in the paragraph that answers, of all; answers that have one;
- `abstains`: of questions that nothing answers, and `wrongly` of those that the library answers;
- `quoted, not verbatim`: sentences marked `quoted` of which no word after word is in their source. It must be 0;
- seconds to the first word, cold, and of a second question on the same sources, two seconds after the answer's end.

With `--base` the adapter is left out, to compare; with `--show` each question is printed with its answer and what it came from.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import statistics
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from articles import DATA, Article, Question, make_source, read_articles
from candide.compose import compose
from candide.domain.citations import Sentence
from candide.domain.grounding import Grounding, SearchWishes, read_grounding
from candide.index.embedder import E5Embedder
from candide.index.indexer import Indexer
from candide.models.adapters import Adapters
from candide.server.services import Services
from candide.settings import load_settings

QUOTATION = re.compile(r"«\s*(.+?)\s*»|“(.+?)”|\"(.+?)\"", re.DOTALL)
MARK = re.compile(r"[\[【][\d\s,]+[\]】]")
READING_S = 2.0


@dataclass
class Tally:
    finds: list[bool] = field(default_factory=list)
    f1: list[float] = field(default_factory=list)
    holds: list[bool] = field(default_factory=list)
    citations: list[bool] = field(default_factory=list)
    cites: list[bool] = field(default_factory=list)
    abstains: list[bool] = field(default_factory=list)
    wrongly: list[bool] = field(default_factory=list)
    not_verbatim: int = 0
    quoted: int = 0
    supports: Counter[str] = field(default_factory=Counter[str])
    extracts: int = 0
    cold_s: list[float] = field(default_factory=list)
    again_s: list[float] = field(default_factory=list)


def words_of(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", MARK.sub(" ", text)).lower()
    return [
        word for word in re.findall(r"\w+", plain) if word not in ("the", "a", "an", "le", "la", "les", "l")
    ]


def score_f1(answer: str, gold: str) -> float:
    """SQuAD's measure: harmonic mean of precision and recall of words."""
    said, expected = words_of(answer), words_of(gold)
    shared = sum((Counter(said) & Counter(expected)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(said), shared / len(expected)
    return 2 * precision * recall / (precision + recall)


def collapse(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def is_verbatim(sentence: Sentence, texts: Sequence[str]) -> bool:
    """Whether what a sentence has in quotation marks stands in one of the texts, letter by letter."""
    said = [next(part for part in found if part) for found in QUOTATION.findall(sentence.text)]
    parts = [
        part.strip(" .,;:!?") for quotation in said for part in re.split(r"\[?(?:…|\.\.\.)\]?", quotation)
    ]
    return bool(parts) and all(any(collapse(part) in collapse(text) for text in texts) for part in parts)


class Examiner:
    def __init__(
        self, services: Services, articles: Sequence[Article], library_id: str, *, shows: bool
    ) -> None:
        self._services = services
        self._shows = shows
        self._texts = {article.title: article.text for article in articles}
        self._wishes = SearchWishes(libraries=(library_id,))

    async def ask(self, question: str, conversation_id: str) -> tuple[str, Grounding, float]:
        """The answer, what it rests on, and the seconds until its first word."""
        services = self._services
        lease = services.scheduler.make_lease()
        turn = await services.turns.accept(conversation_id, text=question, search=self._wishes, lease=lease)
        began = time.monotonic()
        await services.scheduler.submit(turn, lease)
        first = 0.0
        async for frames in services.turn_log.follow(turn.id, 0):
            if not first and any(b"event: TextDelta" in frame for frame in frames):
                first = time.monotonic() - began
        _, messages = await services.conversations.load(conversation_id)
        answer = next(message for message in messages if message.id == turn.answer_message_id)
        if answer.state != "complete":
            sys.exit(f"'{question}' was not answered: {answer.error}")
        return answer.text, read_grounding(answer) or Grounding(), first

    async def examine(self, question: Question, answerable: bool, tally: Tally) -> None:
        conversation = await self._services.conversations.create(title="examined")
        text, grounding, first = await self.ask(question.text, conversation)
        if self._shows:
            show(question, answerable, text, grounding)
        tally.extracts += bool(grounding.extract)
        for sentence in grounding.sentences:
            tally.supports[sentence.support or "states nothing"] += 1
            if sentence.support == "quoted":
                tally.quoted += 1
                cited = [self._texts[s.title] for s in grounding.sources if s.title in self._texts]
                tally.not_verbatim += not is_verbatim(sentence, cited)
        if not answerable:
            tally.abstains.append(grounding.abstained)
            return
        start, end = question.span
        tally.finds.append(
            any(
                source.title == question.article.title and passage.start < end and passage.end > start
                for source in grounding.sources
                for passage in source.passages
            )
        )
        tally.wrongly.append(grounding.abstained)
        tally.f1.append(max(score_f1(text, gold) for gold in question.golds))
        tally.holds.append(any(collapse(gold).lower() in collapse(text).lower() for gold in question.golds))
        titles = {source.number: source.title for source in grounding.sources}
        right = [
            titles.get(citation.number) == question.article.title
            and citation.start < end
            and citation.end > start
            for sentence in (*grounding.sentences, *grounding.extract)
            for citation in sentence.citations
        ]
        tally.citations += right
        tally.cites.append(any(right))
        if grounding.is_good:
            tally.cold_s.append(first)
            if len(tally.again_s) < 8:
                # Nobody asks before having read.
                await asyncio.sleep(READING_S)
                _, again, first = await self.ask(question.text, conversation)
                if again.sources == grounding.sources:
                    tally.again_s.append(first)


def show(question: Question, answerable: bool, text: str, grounding: Grounding) -> None:
    print(f"\nQ  {question.text}\n   expected: {' | '.join(question.golds) if answerable else 'no answer'}")
    print(f"A  {text}")
    supports = ", ".join(sentence.support or "states nothing" for sentence in grounding.sentences)
    print(f"   {supports}; good: {grounding.is_good}; abstained: {grounding.abstained}")
    for source in grounding.sources:
        for passage in source.passages:
            print(
                f"   [{source.number}] {source.title} {passage.start}-{passage.end}: {collapse(passage.text)}"
            )


async def examine_language(services: Services, language: str, amount: int, *, shows: bool) -> Tally:
    articles, questions = read_articles(language)
    random.Random(1).shuffle(articles)
    kept = articles[: len(articles) * 3 // 4]
    there = {article.title for article in kept}
    library = await services.libraries.create(f"examined {language}")
    new = [make_source(article.title, article.document(language)) for article in kept]
    await services.sources.keep(library.id, new)
    embedder = E5Embedder()
    await Indexer(services.index, services.sources, embedder).catch_up()
    await embedder.close()
    chosen = random.Random(2).sample(questions, len(questions))
    inside = [question for question in chosen if question.article.title in there][: amount * 3 // 4]
    outside = [question for question in chosen if question.article.title not in there][: amount - len(inside)]
    tally = Tally()
    examiner = Examiner(services, kept, library.id, shows=shows)
    for number, (question, answerable) in enumerate(
        [*((q, True) for q in inside), *((q, False) for q in outside)]
    ):
        await examiner.examine(question, answerable, tally)
        sys.stderr.write(f"\r{language}: {number + 1} of {amount}")
    sys.stderr.write("\n")
    return tally


def percent(values: Sequence[bool]) -> str:
    return f"{100 * sum(values) / len(values):.0f} % of {len(values)}" if values else "-"


def middle(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} (worst {max(values):.1f})" if values else "-"


def report(tallies: dict[str, Tally]) -> None:
    rows: list[tuple[str, list[str]]] = []
    for name, tell in (
        ("finds the paragraph", lambda t: percent(t.finds)),
        ("token F1", lambda t: f"{100 * statistics.mean(t.f1):.0f} %" if t.f1 else "-"),
        ("holds the expected span", lambda t: percent(t.holds)),
        ("citations that are right (precision)", lambda t: percent(t.citations)),
        ("answers with a right citation (recall)", lambda t: percent(t.cites)),
        ("abstains, nothing answers", lambda t: percent(t.abstains)),
        ("abstains wrongly", lambda t: percent(t.wrongly)),
        ("sentences", lambda t: ", ".join(f"{n} {name}" for name, n in t.supports.most_common())),
        ("`quoted`, not verbatim", lambda t: f"{t.not_verbatim} of {t.quoted}"),
        ("answers with an extract", lambda t: str(t.extracts)),
        ("seconds to the first word, cold", lambda t: middle(t.cold_s)),
        ("the same, asked again on these sources", lambda t: middle(t.again_s)),
    ):  # type: ignore[misc]
        rows.append((name, [tell(tally) for tally in tallies.values()]))
    print("| | " + " | ".join(tallies) + " |")
    print("|---|" + "---|" * len(tallies))
    for name, cells in rows:
        print(f"| {name} | " + " | ".join(cells) + " |")


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=80, help="a language")
    parser.add_argument("--languages", default="fr,en")
    parser.add_argument("--model", default="qwen2.5-coder-1.5b", help="an installed model, or a GGUF file")
    parser.add_argument("--base", action="store_true", help="without the adapter")
    parser.add_argument("--show", action="store_true", help="each question and its answer")
    wanted = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"skipped: there is no {DATA}")
    with tempfile.TemporaryDirectory(prefix="candide-eval-") as home:
        settings = load_settings(
            {"home": home, "model": wanted.model, "slots": 1, "context_tokens": 4096, "titles": False}
        )
        if wanted.base:
            Adapters.find = lambda self, model: None
        services = await compose(settings)
        try:
            tallies = {
                language: await examine_language(services, language, wanted.questions, shows=wanted.show)
                for language in wanted.languages.split(",")
            }
        finally:
            await services.close()
    report(tallies)


if __name__ == "__main__":
    asyncio.run(main())
