"""How well answers are checked: precision and recall of `supported` and `quoted`, on sets in ../shared/dev-data.

`python eval/citations.py [--limit N] [--without-embedder] [SET…]` prints a table. What is positive and negative in each
set:

- `wice`: English claims and the web page that they cite. Positive are those that are supported in full.
- `quotesum`: answers woven from spans of several sources, each cited. Negative are the same with a number or name that
  no source has, and the same under the sources of another question.
- `piaf`, `xquad`: sentences of paragraphs (French, English), and short answers to their questions, among four
  paragraphs. Negative are sentences with a number or name exchanged, denied ones, and answers of other paragraphs.
- `across`: Spanish and German sentences over the English paragraph that they translate, and over another of its article.
- `news`: English answers to questions about a French article, true ones and ones with another name, number or deed.
- `shroom`: answers of models over paragraphs that speak of something else: all negative.

A quotation counts as verbatim when letters are the source's own after NFKC and with white space collapsed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from candide.citations.check import Checked, check
from candide.citations.quotations import SHORT, count_words, find_quotations
from candide.citations.sentences import split_prose
from candide.citations.words import find_words
from candide.domain.sources import Document, NumberedSource, Passage
from candide.ingestion.passages import split

DATA = Path(__file__).resolve().parents[2] / "shared" / "dev-data"
Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]


@dataclass
class Case:
    """An answer of one sentence, what it may rest on, and whether that bears it out."""

    kind: str
    answer: str
    sources: list[NumberedSource]
    is_true: bool
    question: str = ""
    right: int | None = None
    """The number of the source that bears it out, where one alone does."""
    quotes: bool = False
    """Whether it quotes, so that true is that it comes out as `quoted`."""


@dataclass
class Tally:
    true: int = 0
    false: int = 0
    hit: int = 0
    wrong: int = 0
    cited: int = 0
    rightly: int = 0
    checked: list[float] = field(default_factory=list)


def number(texts: Sequence[str], titles: Sequence[str] = (), language: str = "") -> list[NumberedSource]:
    """Sources of one passage each, which begins somewhere in its source."""
    return [
        NumberedSource(
            number=at,
            id=f"s{at}",
            uri=f"s{at}",
            title=titles[at - 1] if titles else "",
            language=language,
            passages=[Passage(id=at, source_id=f"s{at}", start=at * 7, end=at * 7 + len(text), text=text)],
        )
        for at, text in enumerate(texts, start=1)
    ]


# --- The sets ---------------------------------------------------------------------------------------------------------


def read_wice() -> Iterator[Case]:
    for line in (DATA / "wice-dev" / "dev.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        chunks = [" ".join(row["evidence"][at : at + 6]) for at in range(0, len(row["evidence"]), 6)]
        claim = {word.stem for word in find_words(row["claim"]) if not word.is_stop}
        ranked = sorted(chunks, key=lambda text: -len(claim & {word.stem for word in find_words(text)}))
        answer = f"{row['claim'].rstrip('.')} [1]."
        shown = "\n".join(ranked[:4])
        yield Case(row["label"], answer, number([shown]), row["label"] == "supported")


_SPAN = re.compile(r"\[ (\d) (.*?) \]", re.DOTALL)


def read_quotesum(rng: random.Random) -> Iterator[Case]:
    rows = [
        json.loads(line) for line in (DATA / "quotesum-dev" / "dev.jsonl").read_text("utf-8").splitlines()
    ]
    for row, other in zip(rows, rows[7:] + rows[:7], strict=True):
        sources = _quotesum_sources(row)
        for piece in re.split(r"(?<=[.?!]) (?=[A-Z\[])", row["summary"]):
            spans = _SPAN.findall(piece)
            if not spans or any(int(n) > len(sources) for n, _ in spans):
                continue
            plain = re.sub(r"\s+([.,])", r"\1", _SPAN.sub(lambda found: found[2].rstrip(". "), piece)).strip(
                " ."
            )
            is_joined = any(span.rstrip().endswith(".") for _, span in spans[:-1]) or "[ " in plain
            if len(plain.split()) < 5 or is_joined or not _is_one(plain):
                continue
            marks = "".join(f"[{n}]" for n in dict.fromkeys(n for n, _ in spans))
            yield Case("woven", f"{plain} {marks}.", sources, True, row["question"])
            yield Case("elsewhere", f"{plain} [1].", _quotesum_sources(other), False, row["question"])
            if changed := exchange(plain, sources, rng):
                yield Case("exchanged", f"{changed} {marks}.", sources, False, row["question"])
            n, span = max(spans, key=lambda item: len(item[1]))
            span = span.strip(" .")
            if count_words(span) > SHORT and not re.search(r"[\"“”«»\[\]]", span):
                yield Case(
                    "quoted", f"One source says “{span}” [{n}].", sources, True, row["question"], quotes=True
                )
                made_up = " ".join(rng.sample(span.split(), len(span.split())))
                yield Case(
                    "made up",
                    f"One source says “{made_up}” [{n}].",
                    sources,
                    made_up == span,
                    row["question"],
                    quotes=True,
                )


def _quotesum_sources(row: dict[str, str]) -> list[NumberedSource]:
    texts = [row[f"source{at}"] for at in range(1, 9) if row[f"source{at}"]]
    titles = [row[f"title{at}"] for at in range(1, 9) if row[f"source{at}"]]
    return number(texts, titles, "en")


def _is_one(text: str) -> bool:
    return len(split_prose(text)) == 1


def read_squad(path: Path) -> list[tuple[str, str, list[dict[str, object]]]]:
    """Paragraphs with their title and questions."""
    data = json.loads(path.read_text(encoding="utf-8"))["data"]
    return [
        (article.get("title", ""), paragraph["context"].replace("\ufeff", ""), paragraph["qas"])
        for article in data
        for paragraph in article["paragraphs"]
    ]


def read_paragraphs(path: Path, language: str, rng: random.Random) -> Iterator[Case]:
    paragraphs = read_squad(path)
    order = list(range(len(paragraphs)))
    rng.shuffle(order)
    for at in order:
        title, context, questions = paragraphs[at]
        distractors = [paragraphs[other] for other in rng.sample(order, 3) if other != at]
        sources = number(
            [context, *(p[1] for p in distractors)], [title, *(p[0] for p in distractors)], language
        )
        spans = [context[a:b] for a, b in split_prose(context) if 8 <= len(context[a:b].split()) <= 40]
        spans = [text for text in spans if not re.search(r"[\"“”«»\[\]]", text)]
        if spans:
            sentence = rng.choice(spans).rstrip(". ")
            yield Case("copied", f"{sentence} [1].", sources, True, right=1)
            yield Case("wrong mark", f"{sentence} [2].", sources, True, right=1)
            yield Case("unmarked", f"{sentence}.", sources, True, right=1)
            if changed := exchange(sentence, sources, rng):
                yield Case("exchanged", f"{changed} [1].", sources, False)
            if denied := deny(sentence, language):
                yield Case("denied", f"{denied} [1].", sources, False)
            words = sentence.split()
            first = rng.randrange(0, max(1, len(words) - 8))
            inner = " ".join(words[first : first + 8]).strip(" ,;:-()")
            if count_words(inner) > SHORT:
                opening, closing = ("« ", " »") if language == "fr" else ("“", "”")
                yield Case("quoted", f"{opening}{inner}{closing} [1].", sources, True, quotes=True, right=1)
                nearly = inner.replace("'", "’").replace(" ", "\u00a0", 1)
                yield Case(
                    "typography", f"{opening}{nearly}{closing} [1].", sources, True, quotes=True, right=1
                )
                swapped = inner.split()
                swapped[len(swapped) // 2] = "véritablement" if language == "fr" else "truly"
                yield Case(
                    "nearly",
                    f"{opening}{' '.join(swapped)}{closing} [1].",
                    sources,
                    True,
                    quotes=True,
                    right=1,
                )
                made_up = " ".join(rng.sample(inner.split(), len(inner.split())))
                yield Case("made up", f"{opening}{made_up}{closing} [1].", sources, False, quotes=True)
        if questions:
            asked = rng.choice(questions)
            answer = str(asked["answers"][0]["text"]).strip(" .")  # type: ignore[index]
            if answer and not re.search(r"[\"“”«»\[\]]", answer) and _is_one(answer):
                answer = answer[0].upper() + answer[1:]
                yield Case("answer", f"{answer} [1].", sources, True, str(asked["question"]), right=1)
                others = {str(q["answers"][0]["text"]).strip(" .") for q in questions}  # type: ignore[index]
                others = {
                    o
                    for o in others
                    if o.lower() not in answer.lower() and answer.lower() not in o.lower() and _is_one(o)
                }
                if others and not re.search(r"[\"“”«»\[\]]", wrong := rng.choice(sorted(others))):
                    yield Case(
                        "same paragraph's",
                        f"{wrong[0].upper()}{wrong[1:]} [1].",
                        sources,
                        False,
                        str(asked["question"]),
                    )
                foreign = rng.choice(paragraphs)
                if foreign[2] and foreign[1] != context:
                    other = str(rng.choice(foreign[2])["answers"][0]["text"]).strip(" .")  # type: ignore[index]
                    shown = " ".join(p.text for s in sources for p in s.passages).lower()
                    if (
                        other
                        and other.lower() not in shown
                        and _is_one(other)
                        and not re.search(r"[\"“”«»\[\]]", other)
                    ):
                        yield Case(
                            "other's answer",
                            f"{other[0].upper()}{other[1:]} [1].",
                            sources,
                            False,
                            str(asked["question"]),
                        )


def read_across(rng: random.Random) -> Iterator[Case]:
    english = read_squad(DATA / "xquad" / "xquad.en.json")
    translated = {
        language: read_squad(DATA / "xquad" / f"xquad.{language}.json") for language in ("es", "de")
    }
    for at, (_, context, _) in enumerate(english):
        for language, paragraphs in translated.items():
            ours = paragraphs[at][1]
            there, here = split_prose(context), split_prose(ours)
            if len(there) != len(here) or len(here) < 2:
                continue
            sentence = ours[slice(*rng.choice(here))].rstrip(". ")
            if re.search(r"[\"“”«»„\[\]]", sentence) or len(sentence.split()) < 6:
                continue
            neighbour = english[at + 1 if at % 5 < 4 else at - 1][1]
            sources = number([context], language="en")
            yield Case(language, f"{sentence} [1].", sources, True, right=1)
            yield Case(f"{language}, other", f"{sentence} [1].", number([neighbour], language="en"), False)
            if changed := exchange(sentence, sources, rng):
                yield Case(f"{language}, exchanged", f"{changed} [1].", sources, False)


NEWS: dict[str, tuple[list[str], list[str]]] = {
    "Who is the interim CEO of OpenAI?": (
        [
            "Mira Murati became interim CEO.",
            "Mira Murati is the interim CEO of OpenAI.",
            "Mira Murati, the director of technology, takes the post of interim CEO with immediate effect.",
        ],
        [
            "Greg Brockman is the interim CEO of OpenAI.",
            "Greg Brockman, the director of technology, takes the post of interim CEO with immediate effect.",
            "Satya Nadella is the interim CEO of OpenAI.",
        ],
    ),
    "Why was Sam Altman fired?": (
        [
            "The board of directors concluded that he was not consistently candid in his communications with the board.",
            "The board said that he had not always been honest in his communications.",
            "The board no longer has confidence in his ability to lead OpenAI.",
        ],
        [
            "The board of directors concluded that he was always honest in his communications with the board.",
            "He was fired because he stole money from the company.",
            "The board of directors has full confidence in his capacity to lead OpenAI.",
            "The employees no longer have confidence in the board of directors.",
        ],
    ),
    "Who is Greg Brockman?": (
        [
            "Greg Brockman is the president and co-founder of OpenAI.",
            "Greg Brockman founded the company with Altman in an apartment eight years ago.",
        ],
        [
            "Greg Brockman founded the company with Altman in a garage eight years ago.",
            "Greg Brockman founded the company with Altman in an apartment ten years ago.",
        ],
    ),
    "Who resigned after the dismissal?": (
        [
            "Several leading employees resigned after the dismissal.",
            "Several employees, among them the president and co-founder Greg Brockman, resigned.",
            "A number of senior researchers have also resigned from their positions.",
        ],
        [
            "Several leading employees were promoted after the dismissal.",
            "A number of senior researchers have asked for higher salaries.",
        ],
    ),
    "How old is Sam Altman?": (["Sam Altman is 38 years old."], ["Sam Altman is 42 years old."]),
    "How was he dismissed?": (
        ["He was dismissed by videoconference last Friday."],
        ["He was dismissed by telephone last Monday.", "He was dismissed by videoconference last Monday."],
    ),
    "What does Microsoft say?": (
        [
            "Microsoft remains committed to its partnership with OpenAI.",
            "Microsoft said in a statement that it remains committed to its partnership with OpenAI.",
        ],
        [
            "Microsoft ended its partnership with OpenAI.",
            "Google remains committed to its partnership with OpenAI.",
        ],
    ),
    "What did Microsoft know?": (
        ["Microsoft and the other investors received no prior warning of the board's decision."],
        ["Microsoft and the other investors received a prior warning of the board's decision."],
    ),
    "What did Microsoft do?": (
        ["Microsoft has integrated OpenAI's technology into Bing."],
        ["Microsoft has removed OpenAI's technology from Bing."],
    ),
    "What do investors want?": (
        [
            "They want Sam Altman to become CEO again.",
            "According to the Financial Times, investors are pressing for Sam Altman to become CEO again and for the current directors to leave.",
        ],
        [
            "According to the New York Times, investors are pressing for Sam Altman to become CEO again.",
            "Investors want Sam Altman to leave the company.",
        ],
    ),
    "Will he return?": (
        [
            "The board is in talks with Sam Altman about returning to the company as executive director.",
            "He is ambivalent about returning and would want significant changes in the governance of the company.",
            "According to The Verge, the board is negotiating with Altman.",
        ],
        [
            "He is enthusiastic about returning and wants no changes in the governance.",
            "Altman has refused to speak with the board of directors.",
        ],
    ),
    "What did Altman say?": (
        [
            "Altman said that he loved his time at OpenAI.",
            "He loved working with such talented people.",
            "He described the situation as a strange experience in many ways.",
            "He compared it to reading his own eulogy while still alive.",
        ],
        [
            "Altman said that he hated his time at OpenAI.",
            "He described the situation as a pleasant holiday with his family.",
        ],
    ),
}
"""Questions, with what is true of the article and what is not."""


def read_news() -> Iterator[Case]:
    text = (DATA / "news-fr" / "altman-openai.txt").read_text(encoding="utf-8")
    document = Document(text=text, title="Sam Altman", language="fr")
    sources = number([text[piece.start : piece.end] for piece in split(document)], language="fr")
    for question, (true, false) in NEWS.items():
        for is_true, claims in ((True, true), (False, false)):
            for claim in claims:
                yield Case(
                    "true" if is_true else "false", f"{claim.rstrip('.')} [1].", sources, is_true, question
                )


def read_shroom(rng: random.Random) -> Iterator[Case]:
    pools = {
        "fr": read_squad(DATA / "piaf" / "piaf-v1.1.json"),
        "en": read_squad(DATA / "xquad" / "xquad.en.json"),
    }
    for language, pool in pools.items():
        path = DATA / "mu-shroom-val" / f"mushroom.{language}-val.v2.extra.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            text = row["model_output_text"]
            for start, end in split_prose(text)[:3]:
                sentence = text[start:end].rstrip(". ")
                if len(sentence.split()) >= 5:
                    shown = [p[1] for p in rng.sample(pool, 4)]
                    yield Case(
                        language,
                        f"{sentence} [1].",
                        number(shown, language=language),
                        False,
                        row["model_input"],
                    )


def exchange(sentence: str, sources: list[NumberedSource], rng: random.Random) -> str | None:
    """The sentence with a number or a name that no source has in the place of one of its own."""
    shown = " ".join(p.text for s in sources for p in s.passages)
    figures = list(re.finditer(r"(?<![\w.,-])\d[\d.,]*\d(?![\w%])|(?<![\w.,-])\d(?![\w.,%])", sentence))
    if figures and rng.random() < 0.6:
        found = rng.choice(figures)
        digits = found[0]
        for _ in range(20):
            changed = "".join(
                str((int(d) + rng.randrange(1, 9)) % 10) if d.isdigit() and i == len(digits) - 1 else d
                for i, d in enumerate(digits)
            )
            if changed not in shown and changed != digits:
                return sentence[: found.start()] + changed + sentence[found.end() :]
    names = list(re.finditer(r"(?<=[a-zà-ÿ] )[A-ZÀ-Þ][a-zà-ÿ]{3,}\b", sentence))
    if not names:
        return None
    found = rng.choice(names)
    other = rng.choice(
        [n for n in ("Marlowe", "Kandinsky", "Bergamote", "Tolstrup", "Quimper", "Vasquez") if n not in shown]
    )
    return sentence[: found.start()] + other + sentence[found.end() :]


def deny(sentence: str, language: str) -> str | None:
    """The sentence denied, where it has a plain verb for it."""
    if language == "fr":
        found = re.search(
            r"(?<![\w'’])(est|sont|était|a|ont|avait|fut|peut|doit|permet|devient) (?!pas|jamais|plus|été)",
            sentence,
        )
        if not found or re.search(r"\b(?:ne|n['’]|pas)\b", sentence):
            return None
        verb = found[1]
        return (
            sentence[: found.start()]
            + ("n'" if verb[0] in "aeéio" else "ne ")
            + f"{verb} pas "
            + sentence[found.end() :]
        )
    found = re.search(r"\b(is|are|was|were|has|have|had|can|could|will|would|may|must) (?!not\b)", sentence)
    if not found or re.search(r"\bnot\b|n't|\bno\b|\bnever\b", sentence):
        return None
    return f"{sentence[: found.start()]}{found[1]} not {sentence[found.end() :]}"


# --- Measuring --------------------------------------------------------------------------------------------------------


def collapse(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()


def not_verbatim(answer: str, checked: Checked, sources: Sequence[NumberedSource]) -> list[str]:
    """The quotations of sentences marked `quoted` that no source has letter by letter, and citations whose span does not
    hold their quote."""
    text = checked.text or answer
    wrong: list[str] = []
    for sentence in checked.sentences:
        if text[sentence.start : sentence.end] != sentence.text:
            wrong.append(sentence.text)
        for citation in sentence.citations:
            passages = [p for s in sources if s.number == citation.number for p in s.passages]
            if not any(
                p.start <= citation.start < citation.end <= p.end
                and p.text[citation.start - p.start : citation.end - p.start] == citation.quote
                for p in passages
            ):
                wrong.append(citation.quote)
        if sentence.support != "quoted":
            continue
        held = [
            collapse(p.text)
            for s in sources
            for p in s.passages
            if s.number in {c.number for c in sentence.citations}
        ]
        for quotation in find_quotations(sentence.text):
            inner = sentence.text[quotation.inner_start : quotation.inner_end]
            if count_words(inner) > SHORT and not any(
                all(collapse(part) in text for part in re.split(r"\[(?:…|\.\.\.)\]", inner)) for text in held
            ):
                wrong.append(inner)
    return wrong


def measure(name: str, cases: Iterable[Case], embed: Embed | None, verbose: bool) -> int:
    tallies: dict[str, Tally] = {}
    broken = 0
    total = {False: Tally(), True: Tally()}
    for case in cases:
        begun = time.perf_counter()
        checked = check(case.answer, case.sources, question=case.question, embed=embed)
        spent = time.perf_counter() - begun
        sentence = checked.sentences[0]
        said = sentence.support == "quoted" if case.quotes else sentence.support in ("quoted", "supported")
        wrong = not_verbatim(case.answer, checked, case.sources)
        broken += len(wrong)
        if wrong:
            print("NOT VERBATIM:", case.answer, wrong, file=sys.stderr)
        if verbose and said != case.is_true:
            print(f"{name}/{case.kind}: {sentence.support} {case.answer}", file=sys.stderr)
        for tally in (tallies.setdefault(case.kind, Tally()), total[case.quotes]):
            tally.checked.append(spent)
            tally.true += case.is_true
            tally.false += not case.is_true
            tally.hit += case.is_true and said
            tally.wrong += not case.is_true and said
            if case.right is not None and said:
                tally.cited += len(sentence.citations)
                tally.rightly += sum(citation.number == case.right for citation in sentence.citations)
    for kind, tally in tallies.items():
        rate = (
            f"{tally.hit / tally.true:.0%} found"
            if tally.true
            else f"{tally.wrong / tally.false:.0%} taken for it"
        )
        if tally.true and tally.false:
            rate = f"{tally.hit / tally.true:.0%} found, {tally.wrong / tally.false:.0%} taken for it"
        cites = f", citations right {tally.rightly / tally.cited:.0%}" if tally.cited else ""
        print(f"  {name:9} {kind:16} {tally.true + tally.false:5} {rate}{cites}")
    for quotes, tally in total.items():
        if tally.checked:
            level = "quoted" if quotes else "supported"
            precision = tally.hit / max(1, tally.hit + tally.wrong)
            recall = tally.hit / max(1, tally.true)
            middle = sorted(tally.checked)[len(tally.checked) // 2] * 1000
            print(
                f"{name:9} {level:10} precision {precision:.3f}  recall {recall:.3f}  ({tally.true} true, {tally.false} false)  {middle:.1f} ms"
            )
    return broken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sets", nargs="*", default=["wice", "quotesum", "piaf", "xquad", "across", "news", "shroom"]
    )
    parser.add_argument("--limit", type=int, default=2000, help="cases of a set at most")
    parser.add_argument("--without-embedder", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="print what came out wrong")
    arguments = parser.parse_args()
    embed: Embed | None = None
    if not arguments.without_embedder and not {"across", "news"}.isdisjoint(arguments.sets):
        from vectors import KeptEmbedder

        embedder = KeptEmbedder()
        runner = asyncio.Runner()

        def embed_now(texts: Sequence[str]) -> Sequence[Sequence[float]]:
            return runner.run(embedder.embed_passages(texts))

        embed = embed_now
    broken = 0
    for name in arguments.sets:
        rng = random.Random(7)
        cases = {
            "wice": read_wice,
            "quotesum": lambda rng=rng: read_quotesum(rng),
            "piaf": lambda rng=rng: read_paragraphs(DATA / "piaf" / "piaf-v1.1.json", "fr", rng),
            "xquad": lambda rng=rng: read_paragraphs(DATA / "xquad" / "xquad.en.json", "en", rng),
            "across": lambda rng=rng: read_across(rng),
            "news": read_news,
            "shroom": lambda rng=rng: read_shroom(rng),
        }[name]
        broken += measure(
            name,
            itertools.islice(cases(), arguments.limit),
            embed if name in ("across", "news") else None,
            arguments.verbose,
        )
    print(f"quoted and not verbatim, or spans that do not hold their quote: {broken}")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
