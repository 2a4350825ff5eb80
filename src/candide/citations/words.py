"""The words of a sentence: folded, stemmed lightly, and told apart into names, content and the small change of a language.

Stems only serve to compare two texts. They are those of French, English, Spanish and German together: the language of a
short sentence is not always certain, and a stem that is wrong in the same way on both sides does no harm.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from candide.citations.vocabulary import ALL_STOP, ENDINGS, NEGATIONS, OPPOSITES, SAME_NAMES, STOP

_CJK_RUN = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]+")

_CONTRACTED = re.compile(r"(?<=n)['’]t\b", re.IGNORECASE)
_NO_DENIAL = re.compile(
    r"\bne (?:\w+ )?que\b|\bn['’]\w+ (?:\w+ )?que?\b|\bpas (?:seulement|moins|que)\b|\bnot only\b|\bno[.°]? ?\d",
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
    kept = (word[: found.start()] if found else word)[:6]
    # French "long" and "longue", "longueur".
    return re.sub(r"gue?$", "g", kept)


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


class Word(NamedTuple):
    """A word of a text that is not a number; `start` and `end` in characters."""

    start: int
    end: int
    folded: str
    stem: str
    name: str
    """As names are compared: under one form in all languages, without the s of a plural or a genitive."""
    is_capital: bool
    is_stop: bool


_PIECE = re.compile(r"[^\W_]+")


def find_words(text: str) -> list[Word]:
    """The words of a text in its order; hyphens, apostrophes and the like part them. Of scripts that set no spaces, each
    pair of neighbouring signs."""
    words: list[Word] = []
    for found in _PIECE.finditer(text):
        piece = found[0]
        start, end = found.span()
        if piece > "\u0e00" and _CJK_RUN.match(piece):
            words += [
                Word(at, min(at + 2, end), *_describe(text[at : min(at + 2, end)]))
                for at in range(start, max(start + 1, end - 1))
            ]
        elif not piece.isdigit():
            words.append(Word(start, end, *_describe(piece)))
    return words


@lru_cache(maxsize=30_000)
def _describe(piece: str) -> tuple[str, str, str, bool, bool]:
    folded = fold(piece)
    name = SAME_NAME.get(folded) or (folded[:-1] if len(folded) > 3 and folded.endswith("s") else folded)
    return folded, stem(folded), name, piece[0].isupper(), len(piece) == 1 or piece.lower() in ALL_STOP


@lru_cache(maxsize=5_000)
def _languages_of(small: str) -> tuple[str, ...]:
    """Those whose small change a word is."""
    return tuple(language for language, stops in STOP.items() if small in stops)


_SCRIPT = re.compile(
    "(?P<ja>[\u3040-\u30ff])|(?P<ru>[\u0400-\u04ff]{3})|(?P<ar>[\u0600-\u06ff])|(?P<ko>[\uac00-\ud7af])|(?P<zh>[\u4e00-\u9fff]{3})"
)

_LETTERS_A_SIGN = 3
"""What one sign of a script without an alphabet says."""


def tell_language(words: Iterable[Word], text: str) -> str:
    """ISO 639-1 of a text by its small words; empty when they do not tell. Scripts of their own tell by themselves, where
    they are more than a name among Latin letters."""
    sample = text[:400]
    latin = sum(sign.isalpha() and sign < "\u0250" for sign in sample)
    others = sum(sign.isalpha() and sign > "\u036f" for sign in sample)
    if (script := _SCRIPT.search(sample)) and _LETTERS_A_SIGN * others > latin:
        return next(code for code, found in script.groupdict().items() if found)
    counts = dict.fromkeys(STOP, 0)
    for word in words:
        if word.is_stop:
            for language in _languages_of(text[word.start : word.end].lower()):
                counts[language] += 1
    best, second = sorted(counts.items(), key=lambda item: -item[1])[:2]
    return best[0] if best[1] > second[1] else ""


def has_negation(text: str) -> bool:
    """Whether a sentence denies what it speaks of; "ne … que" and "not only" do not."""
    plain = _NO_DENIAL.sub(" ", text)
    if _CONTRACTED.search(plain):
        return True
    small = {found[0].lower() for found in _PIECE.finditer(plain)}
    return not small.isdisjoint(NEGATIONS)
