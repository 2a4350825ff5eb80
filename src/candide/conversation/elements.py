"""The elements of a JSON document's array, one at a time, however large the document is.

The text comes in pieces, and of them only what belongs to the present element is kept. An element that
is damaged, or larger than a limit, is told of and stepped over by its brackets and quotes; those after
it are read. Half of a surrogate pair and control characters within strings are passed on as they stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

MAX_ELEMENT_CHARS = 256 * 2**20

_SPACE = re.compile(r"[ \t\r\n\ufeff]*+")
# Up to the next bracket that stands in no string. What follows a quote without its other end is left.
_TO_BRACKET = re.compile(r'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL)
_PLAIN = re.compile(r'[^"{}\[\]]++')
_IN_STRING = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\s]*+")
_decode = json.JSONDecoder(strict=False).raw_decode


class Element(msgspec.Struct):
    """One element of the array, or the whole document where it is no array and holds none."""

    value: Any


class Header(msgspec.Struct):
    """The members of the document that stand before its array."""

    members: dict[str, Any]


class Damage(msgspec.Struct):
    """Where something could not be read, and what follows was, unless it is the end."""

    reason: str
    position: int
    """In characters from the beginning of the document."""
    kind: Literal["element", "end"] = "element"


def read_elements(
    pieces: Iterable[str],
    *,
    arrays: frozenset[str] = frozenset({"conversations"}),
    limit: int = MAX_ELEMENT_CHARS,
) -> Iterator[Element | Header | Damage]:
    """Read the elements of a document that is an array, or an object that holds one under a name of `arrays`.

    Never raises for what is in the document.
    """
    yield from _Reader(pieces, limit).read(arrays)


class _Incomplete(Exception):
    """The document ended where something had to follow."""


class _Reader:
    def __init__(self, pieces: Iterable[str], limit: int) -> None:
        self._pieces = iter(pieces)
        self._limit = limit
        self._text = ""
        self._at = 0
        self._before = 0
        """Characters of the document before `_text`."""

    def read(self, arrays: frozenset[str]) -> Iterator[Element | Header | Damage]:
        try:
            first = self._peek()
        except _Incomplete:
            yield Damage("the document is empty", 0, "end")
            return
        try:
            if first == "[":
                self._at += 1
                yield from self._elements()
            elif first == "{":
                yield from self._object(arrays)
            else:
                yield Damage(
                    "this is not JSON: neither a list nor an object begins here", self._position, "end"
                )
        except _Incomplete:
            yield Damage("the document ends in the middle", self._position, "end")

    @property
    def _position(self) -> int:
        return self._before + self._at

    def _more(self) -> bool:
        """Read on; what was passed is forgotten."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._before += self._at
        self._text = self._text[self._at :] + piece
        self._at = 0
        return True

    def _peek(self) -> str:
        """The next character that is no space."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                raise _Incomplete

    def _elements(self) -> Iterator[Element | Damage]:
        while True:
            following = self._peek()
            if following == "]":
                self._at += 1
                return
            if following in ",}":  # a comma too many, or what an element that was damaged left behind
                self._at += 1
                continue
            yield self._value()

    def _object(self, arrays: frozenset[str]) -> Iterator[Element | Header | Damage]:
        members: dict[str, Any] = {}
        self._at += 1
        seen = False
        while (following := self._peek()) != "}":
            if following == ",":
                self._at += 1
                continue
            if following != '"':
                yield Damage("this is not JSON: a name in quotes has to stand here", self._position, "end")
                return
            name = self._value()
            if isinstance(name, Damage) or self._peek() != ":":
                yield Damage("this is not JSON: a name without a value", self._position, "end")
                return
            self._at += 1
            if self._peek() == "[" and name.value in arrays:
                yield Header(dict(members))
                seen = True
                self._at += 1
                yield from self._elements()
                continue
            value = self._value()
            if isinstance(value, Damage):
                yield value
            else:
                members[str(name.value)] = value.value
        self._at += 1
        if not seen:
            yield Element(members)

    def _value(self) -> Element | Damage:
        """Read the value that begins here, or step over it."""
        begin = self._position
        try:
            value, end = _decode(self._text, self._at)
            # A number may go on in the next piece.
            if end < len(self._text) and self._text[end] in ",]}: \t\r\n":
                self._at = end
                return Element(value)
        except (ValueError, RecursionError):
            pass
        whole = self._cut()
        if whole is None:
            return Damage(f"larger than {self._limit // 2**20} MiB", begin)
        try:
            value, end = _decode(whole)
            if end == len(whole):
                return Element(value)
            return Damage("this is not JSON", begin + end)
        except RecursionError:
            return Damage("nested too deeply", begin)
        except json.JSONDecodeError as error:
            return Damage(f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:]}", begin + error.pos)
        except ValueError as error:  # a number with more digits than Python reads
            return Damage(f"this is not JSON: {error}", begin)

    def _cut(self) -> str | None:
        """Take the text of the value that begins here; None when it is too large."""
        kept: list[str] | None = []
        size = depth = 0
        in_string = False
        ended = False
        while not ended:
            passed, depth, in_string, ended = _step(self._text, self._at, depth, in_string)
            size += passed - self._at
            if size > self._limit:
                kept = None
            elif kept is not None:
                kept.append(self._text[self._at : passed])
            stuck = passed == self._at
            self._at = passed
            if stuck and not ended and not self._more():
                # Nothing but the end of the document ends a number there.
                if depth or in_string or not size:
                    raise _Incomplete
                ended = True
        return None if kept is None else "".join(kept)


def _step(text: str, at: int, depth: int, in_string: bool) -> tuple[int, int, bool, bool]:
    """Pass what is certain of a value: the new place, depth and whether in a string, and whether the value has ended.

    The place stays where it is as long as more of the text has to be known.
    """
    if at == len(text):
        return at, depth, in_string, False
    if in_string:
        inside = _IN_STRING.match(text, at)
        assert inside is not None
        if text.startswith('"', inside.end()):
            return inside.end() + 1, depth, False, depth == 0
        return inside.end(), depth, True, False
    if depth:
        while bracket := _TO_BRACKET.match(text, at):
            at = bracket.end()
            depth += 1 if bracket[1] in "{[" else -1
            if depth == 0:
                return at, 0, False, True
        if at == len(text):
            return at, depth, False, False
    if text[at] == '"':
        return at + 1, depth, True, False
    if text[at] in "{[":
        return at + 1, depth + 1, False, False
    if depth:
        plain = _PLAIN.match(text, at)
        assert plain is not None
        return plain.end(), depth, False, False
    scalar = _SCALAR.match(text, at)
    assert scalar is not None
    return scalar.end(), 0, False, scalar.end() < len(text)
