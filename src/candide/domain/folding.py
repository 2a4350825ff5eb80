"""Folding: what texts and queries have in common when they say the same.

Case and accents go, and scripts that are written without spaces are cut into single characters, which
a query then finds as a phrase.
"""

from __future__ import annotations

import re
import unicodedata

# Han, kana, hangul is spaced, Thai, Lao, Khmer, Myanmar: written without spaces between words.
UNSPACED = re.compile(
    r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
WORD = re.compile(r"[^\W_]+", re.UNICODE)


def fold(text: str) -> str:
    """Fold a text for indexing: no case, no accents, unspaced scripts cut into characters."""
    if text.isascii():
        return text.casefold()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    # A text has few different marks, and many characters.
    for mark in filter(unicodedata.combining, set(decomposed)):
        decomposed = decomposed.replace(mark, "")
    return UNSPACED.sub(r" \1 ", unicodedata.normalize("NFC", decomposed))


def fold_words(text: str) -> str:
    """The folded words of a short text, each between spaces; `LIKE '% word %'` finds them."""
    return f" {' '.join(WORD.findall(fold(text)))} "
