"""The sentences of the sources that answer a question best, word for word: what is shown where a model failed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from candide.citations.numerals import find_numerals, held_keys
from candide.citations.support import Place, show
from candide.citations.words import find_words
from candide.domain.citations import Citation, Sentence
from candide.domain.sources import NumberedSource

LONGEST = 400
"""Characters of a sentence that is shown."""
_UNFIT = re.compile(r"[\[\]<>`|\\$*_#{}]|\n\s*\n|[“”«»„\"]")
"""Signs that Markdown would read, or that would end the quotation."""
LEAST_WORDS = 5
"""Of a sentence; what has fewer is a heading or says nothing by itself."""
NEAR_BEST = 0.7
"""The share of the best sentence's score that others must have."""
AROUND = 0.3
"""What a word counts that stands in the passage, not in the sentence."""
ROOT = 5
"""The first letters of a stem that are compared."""
_END = re.compile(r"[.!?…。！？।؟][)\]’'\"»”]*\s*\Z")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Extract:
    text: str
    """Each sentence in quotation marks with its source's mark, on a line of its own; empty when there is none."""
    sentences: list[Sentence]
    """With offsets of `text`, each `quoted`."""


def extract(question: str, sources: Sequence[NumberedSource], *, limit: int = 3) -> Extract:
    """The sentences of the shown passages that have most of the question's words, the rarer the better, best first; of those
    alike the earlier. Where none has any, the first one of the best passage. At most `limit`."""
    places = [place for one in show(sources) for place in one.singles if _is_fit(place)]
    wanted = {root(word.stem) for word in find_words(question) if not word.is_stop and len(word.folded) > 2}
    wanted |= held_keys(find_numerals(question))
    held = [({root(key) for key in place.stems} | place.keys) & wanted for place in places]
    near = [({root(key) for key in place.shown.stems} | place.shown.keys) & wanted for place in places]
    frequency = Counter(key for keys in held for key in keys)

    def weigh(keys: set[str]) -> float:
        return math.fsum(math.log(1 + len(places) / max(1, frequency[key])) for key in keys)

    scores = [weigh(own) + AROUND * weigh(around - own) for own, around in zip(held, near, strict=True)]
    chosen: list[int] = []
    for at in sorted(range(len(places)), key=lambda at: -scores[at]):
        if len(chosen) == limit or (chosen and (not held[at] or scores[at] < NEAR_BEST * scores[chosen[0]])):
            break
        if all(places[at].text != places[other].text for other in chosen):
            chosen.append(at)
    return _write([places[at] for at in chosen])


def root(stem: str) -> str:
    """What of a stem words of two languages have in common that are of one origin: "temperature", "Temperatur"."""
    return stem[:ROOT]


def _is_fit(place: Place) -> bool:
    """Whether it is a sentence: no heading, no fragment, and nothing that Markdown would read."""
    return (
        place.end - place.start <= LONGEST
        and len(place.words) >= LEAST_WORDS
        and _END.search(place.text) is not None
        and not _UNFIT.search(place.text)
    )


def _write(places: Sequence[Place]) -> Extract:
    lines: list[str] = []
    sentences: list[Sentence] = []
    at = 0
    for place in places:
        number, base = place.shown.number, place.shown.passage.start
        line = f"« {_SPACE.sub(' ', place.text)} » [{number}]"
        citation = Citation(
            number=number,
            start=base + place.start,
            end=base + place.end,
            quote=place.text,
            by_model=False,
        )
        sentences.append(
            Sentence(text=line, start=at, end=at + len(line), support="quoted", citations=[citation])
        )
        lines.append(line)
        at += len(line) + 2
    return Extract("\n\n".join(lines), sentences)
