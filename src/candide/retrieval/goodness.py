"""Whether what was found is good enough to answer from.

Two signs are weighed: how near the best passage is to the question in meaning, and how many of the question's telling
words the best passages hold, the rare ones counting for more. Weights and threshold come from `eval/goodness.py`, which prints what they do on questions
that the sources answer and on questions that they do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from candide.retrieval.highlights import Stem
from candide.retrieval.words import content_words, distinct_words

TOP = 3
"""So many of the best passages are looked at."""
AROUND = 40
"""So many of those that were found tell how rare a word is; where they are few, as many more are thought of beside them."""


class Evidence(msgspec.Struct, frozen=True):
    cosine: float | None
    """Of the nearest passage; None when vectors were not searched."""
    coverage: float
    """The largest share of the question's telling words, by their rarity, that one of the best passages holds."""
    is_foreign: bool = False
    """Whether the nearest passage is of another language than the question."""


def measure_coverage(question: str, texts: Sequence[tuple[str, str]], stem: Stem) -> float:
    """The coverage of the question by the best of the texts, which are all that was found, each with its language.

    What stands in most of them is what they have in common, and says little of whether one of them answers.
    """
    words = content_words(question)
    held: list[list[bool]] = []
    for text, language in texts[:AROUND]:
        standing = {stem(word, language) for word in distinct_words(text)}
        held.append([stem(word.text, language) in standing for word in words])
    rarity = [math.log((len(held) + AROUND) / (sum(column) + 0.5)) for column in zip(*held, strict=True)]
    shares = (
        sum(weight for weight, is_held in zip(rarity, row, strict=True) if is_held) for row in held[:TOP]
    )
    return max(shares, default=0.0) / sum(rarity) if rarity else 0.0


WITH_VECTORS = (-54.17, 63.3, 4.6, 3.85)
WORDS_ALONE = (-3.78, 8.76)
THRESHOLD = 0.3
"""Below a half: who is wrongly told that the sources do not say has lost an answer, and where they are wrongly taken for
good, the model may still say so, and what it writes is checked."""


def describe(evidence: Evidence) -> list[float]:
    """The evidence as numbers that are weighed, the first of them for the bias."""
    if evidence.cosine is None:
        return [1.0, evidence.coverage]
    # The words of another language are not expected there, and its passages are further away.
    return [
        1.0,
        evidence.cosine,
        0.0 if evidence.is_foreign else evidence.coverage,
        float(evidence.is_foreign),
    ]


def estimate(evidence: Evidence) -> float:
    """How probable it is that the passages answer the question, from 0 to 1."""
    weights = WORDS_ALONE if evidence.cosine is None else WITH_VECTORS
    value = sum(weight * sign for weight, sign in zip(weights, describe(evidence), strict=True))
    return 1.0 / (1.0 + math.exp(-value))


def is_good(evidence: Evidence) -> bool:
    """Whether the best of what was found is good enough to answer from."""
    return estimate(evidence) >= THRESHOLD
