"""The words of a sentence: folded, stemmed lightly, and told apart into names, content and the small change of a language.

Stems only serve to compare two texts. They are those of French, English, Spanish and German together: the language of a
short sentence is not always certain, and a stem that is wrong in the same way on both sides does no harm.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from candide.citations.vocabulary import ALL_STOP, ENDINGS, NEGATIONS, OPPOSITES, SAME_NAMES, STOP

_CJK_RUN = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]+")

_CONTRACTED = re.compile(r"\w+n['’]t\b", re.IGNORECASE)
_FRENCH_ONLY = re.compile(
    r"\bne (?:\w+ )?que\b|\bn['’]\w+ (?:\w+ )?que?\b|\bpas (?:seulement|moins|que)\b|\bnot only\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=20_000)
def fold(word: str) -> str:
    """A word in small letters without accents."""
    if word.isascii():
        return word.lower()
    decomposed = unicodedata.normalize("NFKD", word.casefold().replace("œ", "oe").replace("æ", "ae"))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign)).replace("’", "'")


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """What of a folded word is the same in its other forms: without its ending, at most six letters, at least four."""
    if len(word) <= 4:
        return word
    found = _FOLDED_SUFFIX.search(word, 4)
    return (word[: found.start()] if found else word)[:6]


_FOLDED_SUFFIX = re.compile(rf"(?:{'|'.join(sorted({fold(e) for e in ENDINGS}, key=len, reverse=True))})$")


def _group(lines: Iterable[str]) -> dict[str, str]:
    """Each folded name of a line, under the first."""
    return {fold(name): fold(line.split()[0]) for line in lines for name in line.split()}


SAME_NAME = _group(SAME_NAMES)


def _oppose() -> dict[str, frozenset[str]]:
    opposite: dict[str, set[str]] = {}
    for line in OPPOSITES:
        one, other = ({stem(fold(word)) for word in side.split()} for side in line.split("|"))
        for word in one:
            opposite.setdefault(word, set()).update(other)
        for word in other:
            opposite.setdefault(word, set()).update(one)
    return {word: frozenset(others) for word, others in opposite.items()}


OPPOSITE = _oppose()


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text that is not a number; `start` and `end` in characters."""

    folded: str
    start: int
    end: int
    is_capital: bool
    is_stop: bool


_PIECE = re.compile(r"[^\W_]+")


def find_words(text: str) -> list[Word]:
    """The words of a text in its order; hyphens, apostrophes and the like part them. Of scripts that set no spaces, each
    pair of neighbouring signs."""
    words: list[Word] = []
    for found in _PIECE.finditer(text):
        piece = found[0]
        if piece.isdigit():
            continue
        if _CJK_RUN.match(piece):
            for at in range(max(1, len(piece) - 1)):
                start = found.start() + at
                words.append(Word(piece[at : at + 2], start, start + 2, is_capital=False, is_stop=False))
            continue
        folded = fold(piece)
        words.append(
            Word(
                folded,
                found.start(),
                found.end(),
                is_capital=piece[0].isupper(),
                is_stop=len(folded) == 1 or piece.lower() in ALL_STOP,
            )
        )
    return words


def tell_language(words: Iterable[Word], text: str) -> str:
    """ISO 639-1 of a text by its small words; empty when they do not tell. Scripts of their own tell by themselves."""
    sample = text[:400]
    for sign in sample:
        if "\u3040" <= sign <= "\u30ff":
            return "ja"
        if "\u0400" <= sign <= "\u04ff":
            return "ru"
        if "\u0600" <= sign <= "\u06ff":
            return "ar"
        if "\uac00" <= sign <= "\ud7af":
            return "ko"
    if any("\u4e00" <= sign <= "\u9fff" for sign in sample):
        return "zh"
    counts = dict.fromkeys(STOP, 0)
    for word in words:
        if word.is_stop:
            small = text[word.start : word.end].lower()
            for language, stops in STOP.items():
                counts[language] += small in stops
    best, second = sorted(counts.items(), key=lambda item: -item[1])[:2]
    return best[0] if best[1] > second[1] else ""


def has_negation(text: str) -> bool:
    """Whether a sentence denies what it speaks of; "ne … que" and "not only" do not."""
    plain = _FRENCH_ONLY.sub(" ", text)
    if _CONTRACTED.search(plain):
        return True
    small = {found[0].lower() for found in _PIECE.finditer(plain)}
    return not small.isdisjoint(NEGATIONS)
