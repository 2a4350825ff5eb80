"""Texts as they are compared: what typography and encoding vary is made equal, and every place can be found again.

Compatibility forms (NFKC), quotation marks, apostrophes, dashes and white space have one form; soft hyphens and signs
without width are left out; so is the space that French typography sets inside « » and before ; : ! ? and %. Letters
stay what they are, but for their case where that is asked for.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left

_SAME = {
    **dict.fromkeys("‘’‚‛ʼ´′＇", "'"),
    **dict.fromkeys("“”„‟«»″〝〞＂", '"'),
    **dict.fromkeys("‐‑‒–—―−﹘﹣－", "-"),
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f", ""),
}
# Runs of these are as they are, in small letters too one for one: ASCII, letters of Latin, Greek and Cyrillic scripts,
# kana, ideographs. Most of a text is copied by these runs.
_PLAIN = "À-ÖØ-Þà-öø-įıĴ-ľŁ-ňŊ-žΈ-ΊΌΎΏΑ-ΡΣ-ία-ώЀ-ҁҊ-ӿぁ-ゖァ-ヺ一-鿿"
_RUN = re.compile(f'(?:[!-~{_PLAIN}]+(?: (?=["-$&-9<->@-~{_PLAIN}]))?)+')
_NARROW = ";:!?%"
"""Before these French sets a space that other typography does not."""


class Normalised:
    """A text in its compared form, with the way back."""

    def __init__(self, text: str, starts: list[int], ends: list[int]) -> None:
        self.text = text
        self._starts = starts
        self._ends = ends

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original, in characters, that became `[start, end)` of `text`; `start < end`."""
        return self._starts[start], self._ends[end - 1]

    def place(self, at: int) -> int:
        """Where in `text` that begins which comes of the original's characters from `at` on."""
        return bisect_left(self._starts, at)


def normalise(text: str, *, fold_case: bool = False) -> Normalised:
    """The compared form of a text; `fold_case` makes capitals small as well.

    Characters that become one (a letter and its accents, a run of spaces) stand for all that they came of: no span of
    the original begins or ends within them. White space at either end is left out.
    """
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    space: tuple[int, int] | None = None
    """White space that is written when something follows that it parts from what was before."""
    is_open = True
    """Whether nothing is parted: at the beginning, and after «."""
    at = 0
    while at < len(text):
        run = _RUN.match(text, at)
        end = run.end() if run else at
        if run and end < len(text) and _joins(text[end]):
            end -= 1
        if end > at:
            piece = text[at:end].casefold() if fold_case else text[at:end]
            if space and not is_open and piece[0] not in _NARROW:
                pieces.append(" ")
                starts.append(space[0])
                ends.append(space[1])
            space = (end - 1, end) if piece[-1] == " " else None
            if space:
                piece = piece[:-1]
            pieces.append(piece)
            starts.extend(range(at, at + len(piece)))
            ends.extend(range(at + 1, at + len(piece) + 1))
            is_open = False
            at = end
            continue
        end = at + 1
        while end < len(text) and _joins(text[end]):
            end += 1
        cluster = text[at:end]
        for sign in _compare_form(cluster, fold_case):
            if sign.isspace():
                space = (space[0] if space else at, end)
                continue
            if space and not is_open and sign not in _NARROW and cluster != "»":
                pieces.append(" ")
                starts.append(space[0])
                ends.append(space[1])
            space = None
            pieces.append(sign)
            starts.append(at)
            ends.append(end)
            is_open = cluster == "«"
        at = end
    return Normalised("".join(pieces), starts, ends)


def _joins(character: str) -> bool:
    """Whether it changes the character before it, so that the two are looked at together."""
    return character > "\u02ff" and (
        unicodedata.combining(character) != 0 or "\u1160" <= character <= "\u11ff"
    )


def _compare_form(cluster: str, fold_case: bool) -> str:
    same = _SAME.get(cluster)
    if same is not None:
        return same
    form = unicodedata.normalize("NFKC", cluster)
    if fold_case:
        form = unicodedata.normalize("NFKC", form.casefold())
    return "".join(_SAME.get(sign, sign) for sign in form)
