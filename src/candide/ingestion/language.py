"""Which language a text is in."""

from __future__ import annotations

import unicodedata
from typing import Any

SAMPLE_CHARACTERS = 3000
MIN_LETTERS = 12
"""Below this many letters a text is in whatever language one thought it in."""
DOUBT = 20.0
"""Nats by which the language that is said of a text may be less likely than the likeliest, and still stand: as much as a
name in another language makes out in a short text."""
DOUBT_A_LETTER = 0.25
"""The same for long texts."""


def detect(text: str, hint: str = "") -> str:
    """ISO 639-1 of the language that most of the text is in, or empty when that cannot be told.

    `hint` is what the text is said to be in, by its page or its author: it stands where the text is short or does not
    speak clearly against it. Loads a model of some 100 MB on its first call.
    """
    hint = hint.strip().lower().replace("_", "-").split("-")[0]
    hint = hint if len(hint) == 2 and hint.isascii() and hint.isalpha() else ""
    sample = _take_sample(text)
    letters = sum(character.isalpha() for character in sample)
    weight = letters + 2 * sum(unicodedata.category(character) == "Lo" for character in sample)
    if weight < MIN_LETTERS:
        return hint
    ranking = _rank(sample)
    likeliest = ranking[0][1]
    doubt = max(DOUBT, DOUBT_A_LETTER * letters)
    near = [name for name, score in ranking if likeliest - score <= doubt and len(name) == 2]
    if hint in near:
        return hint
    return near[0] if near else ""


def load() -> None:
    """Load the model now: it needs a temporary file to do so."""
    _rank("")


def _rank(text: str) -> list[tuple[str, float]]:
    """All languages that the model knows, the likeliest first, with the logarithms of their likelihoods."""
    import py3langid.langid as model  # pyright: ignore

    rank: Any = model.rank  # pyright: ignore
    return [(name, float(score)) for name, score in rank(text)]


def _take_sample(text: str) -> str:
    """The beginning, the middle and the end of a long text: the first page may be a notice in English."""
    if len(text) <= SAMPLE_CHARACTERS:
        return text
    third = SAMPLE_CHARACTERS // 3
    middle = (len(text) - third) // 2
    return " ".join((text[:third], text[middle : middle + third], text[-third:]))
