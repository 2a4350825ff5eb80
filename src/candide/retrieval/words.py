"""The words of questions and passages, folded, with where they stand; which of them say something.

Folding takes case and accents away, as the index does. Scripts that are written without spaces are read character by
character. The lists of words that say nothing by themselves are short: they weigh words, they never hide one.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from candide.domain.language import SMALL_WORDS, tell_language

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+(?:[\u0300-\u036f]+[^\W_{UNSPACED}]*)*")


class Word(NamedTuple):
    """A word of a text: as it is written, folded, and the span where it stands."""

    text: str
    folded: str
    start: int
    end: int


def fold(text: str) -> str:
    """A text without case and accents; its length may change."""
    if text.isascii():
        return text.casefold()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def find_words(text: str) -> list[Word]:
    """Every word of the text, in order."""
    return [Word(match[0], fold(match[0]), match.start(), match.end()) for match in _WORD.finditer(text)]


def distinct_words(text: str) -> set[str]:
    """The words of the text as they are written, without their places: many times quicker than `find_words`."""
    return set(_WORD.findall(text))


def content_words(text: str) -> list[Word]:
    """The words that say something, each once, in order; all of them where none seems to."""
    every = list({word.folded: word for word in find_words(text)}.values())
    empty = empty_words(tell_language(text))
    return [word for word in every if word.folded not in empty] or every


def empty_words(language: str = "") -> frozenset[str]:
    """The small words of a language, folded; of all languages when it is unknown."""
    return _EMPTY_WORDS.get(language, _ALL_EMPTY_WORDS)


_EMPTY_WORDS = {language: frozenset(fold(word) for word in words) for language, words in SMALL_WORDS.items()}
_ALL_EMPTY_WORDS = frozenset[str]().union(*_EMPTY_WORDS.values())
