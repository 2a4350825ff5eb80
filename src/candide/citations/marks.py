"""The marks by which an answer cites: `[1]`, `[1, 2]`, `[1][2]`, `[1-3]`, `【1】`, `【1†source】`.

None is found in code, formulae, links or definitions of footnotes, and none of a number that no source has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from candide.citations.scan import Scanner, Token


@dataclass(frozen=True, slots=True)
class Mark:
    """A number in brackets. Those of one pair of brackets share its span, in characters of the whole answer."""

    number: int
    start: int
    end: int


class MarkParser:
    """Finds marks while the answer streams: how it is cut into pieces makes no difference to what is found."""

    def __init__(self, numbers: Collection[int]) -> None:
        """`numbers` are those of the sources."""
        self._numbers = frozenset(numbers)
        self._scanner = Scanner()

    def feed(self, text: str) -> list[Mark]:
        """The marks that have become certain by this piece, in the order of the text."""
        return list(_marks(self._scanner.feed(text), self._numbers))

    def finish(self) -> list[Mark]:
        """Those at the end, which waited for what might still have followed."""
        return list(_marks(self._scanner.finish(), self._numbers))


def _marks(tokens: Iterable[Token], numbers: frozenset[int]) -> Iterable[Mark]:
    for token in tokens:
        for number in token.numbers:
            if number in numbers:
                yield Mark(number, token.start, token.end)


def find_marks(text: str, numbers: Collection[int]) -> list[Mark]:
    """The marks of a whole text."""
    parser = MarkParser(numbers)
    return parser.feed(text) + parser.finish()
