"""The sentences of the sources that answer a question best, word for word: what is shown where a model failed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from candide.citations.support import Place, show
from candide.citations.words import find_words
from candide.domain.citations import Citation, Sentence
from candide.domain.sources import NumberedSource

LONGEST = 400
"""Characters of a sentence that is shown."""
_UNFIT = re.compile(r"[\[\]<>`|\\$*_#{}]|\n\s*\n|[“”«»„\"]")
"""Signs that Markdown would read, or that would end the quotation."""
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Extract:
    text: str
    """Each sentence in quotation marks with its source's mark, on a line of its own; empty when there is none."""
    sentences: list[Sentence]
    """With offsets of `text`, each `quoted`."""


def extract(question: str, sources: Sequence[NumberedSource], *, limit: int = 3) -> Extract:
    """The sentences of the shown passages that have most of the question's words, the rarer the better, in the order of
    their passages' rank; where none has any, the first ones of the best passages. At most `limit`."""
    places = [
        place
        for one in show(sources)
        for place in one.singles
        if place.end - place.start <= LONGEST and not _UNFIT.search(place.text)
    ]
    wanted = {word.stem for word in find_words(question) if not word.is_stop and len(word.folded) > 2}
    frequency = Counter(key for place in places for key in place.stems & wanted)
    around = {id(place): place.shown.stems & wanted for place in places}

    def score(at: int) -> float:
        place = places[at]
        own = sum(math.log(1 + len(places) / frequency[key]) for key in place.stems & wanted)
        near = sum(
            math.log(1 + len(places) / max(1, frequency[key])) for key in around[id(place)] - place.stems
        )
        length = len(place.words)
        return (own + 0.3 * near) * (1.0 if length >= 5 else 0.5) - at * 1e-3

    best = sorted(range(len(places)), key=lambda at: -score(at))
    chosen: list[int] = []
    for at in best:
        if len(chosen) == limit:
            break
        if chosen and score(at) < 0.5 * score(chosen[0]):
            break
        if all(places[at].text != places[other].text for other in chosen):
            chosen.append(at)
    return _write([places[at] for at in chosen])


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
