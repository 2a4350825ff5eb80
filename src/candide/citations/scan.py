"""Tells the prose of an answer from what is code, a formula or a link, and finds the numbers in brackets.

The text may come in pieces, cut anywhere: what is found does not depend on where. It is read as the page reads
Markdown, so that a mark is a mark in both. What has begun and may still become code, a formula or a link is waited for,
to the end of its paragraph at most.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

LONGEST = 1_000
"""Characters that a code span or a formula may have."""
LONGEST_BRACKET = 300
"""Characters that may stand in brackets, the text of a link above all."""
DEEPEST = 8
"""How many lists within each other a line may begin."""
LARGEST_RANGE = 20
"""How many numbers `[1-9]` may stand for."""

_NUMBERS = r"[ \t\u00a0]*\d{1,4}(?:[ \t\u00a0]*[,;–—-][ \t\u00a0]*\d{1,4})*[ \t\u00a0]*"
_BRACKET = re.compile(rf"\[({_NUMBERS})\]|［({_NUMBERS})］|【({_NUMBERS})(?:†[^】\n]*)?】")
_PART = re.compile(r"(\d+)(?:\s*[–—-]\s*(\d+))?")
_NEXT = re.compile(r"[\n`$\\\[【［]")
_OPENERS = {"[": "]", "［": "］", "【": "】"}
_LINE_START = re.compile(r"[ \t>]*")
_LIST_MARKER = re.compile(r"(?:[-*+]|\d{1,9}[.)])[ \t]+")
_MAYBE_LIST_MARKER = re.compile(r"(?:[-*+]|\d{1,9}[.)]?)[ \t]*")
_PARAGRAPH_END = re.compile(r"\n[ \t\r>]*\n")
_MAYBE_PARAGRAPH_END = re.compile(r"\n[ \t\r>]*\Z")
_RUN = re.compile(r"`+|~+")
_DOLLAR = re.compile(r"\\.?|\$", re.DOTALL)
_PRICE = re.compile(r"[\d.,]")
_FORMULA = re.compile(r"[\\^_={}<>]|\s[-+*/]\s")

TokenKind = Literal["block", "inline", "bracket", "definition"]


@dataclass(frozen=True, slots=True)
class Token:
    """What is no prose: a block of code or a formula (`block`), a code span, formula or link (`inline`), the line that
    a footnote or a link is defined in (`definition`), or numbers in brackets (`bracket`)."""

    kind: TokenKind
    start: int
    """In characters of the whole text, `[start, end)`."""
    end: int
    numbers: tuple[int, ...] = ()
    """Of a bracket, in their order."""


class _More(Exception):
    """What the text goes on with decides."""


class Scanner:
    """Finds the tokens of a text that grows."""

    def __init__(self) -> None:
        self._text = ""
        """What is not settled, from `_base` of the whole text on."""
        self._base: int = 0
        self._at: int = 0
        self._is_last = False
        self._starts_line = True
        self._after_blank = True
        self._in_list = False
        self._fence = ""
        self._fence_start: int = 0
        self._found: list[Token] = []

    def feed(self, text: str) -> list[Token]:
        """What has become certain by this piece, in the order of the text."""
        self._text = self._text[self._at :] if self._at else self._text
        self._base += self._at
        self._at = 0
        self._text += text
        try:
            while self._at < len(self._text):
                self._step()
        except _More:
            pass
        found, self._found = self._found, []
        return found

    def finish(self) -> list[Token]:
        """The rest, when nothing comes any more."""
        self._is_last = True
        found = self.feed("")
        if self._fence:
            found.append(Token("block", self._fence_start, self._base + len(self._text)))
            self._fence = ""
        return found

    def _step(self) -> None:
        if self._fence:
            self._skip_fenced_line()
        elif self._starts_line:
            self._start_line()
        else:
            self._read_inline()

    def _need(self) -> None:
        """Wait for more text, unless this was all."""
        if not self._is_last:
            raise _More

    def _emit(self, kind: TokenKind, start: int, end: int, numbers: tuple[int, ...] = ()) -> None:
        self._found.append(Token(kind, self._base + start, self._base + end, numbers))

    def _line_end(self, at: int) -> int:
        """After the line's break."""
        end = self._text.find("\n", at)
        if end < 0:
            self._need()
            return len(self._text)
        return end + 1

    def _skip_fenced_line(self) -> None:
        end = self._line_end(self._at)
        line = self._text[self._at : end].strip(" \t>\n\r")
        self._at = end
        mark = self._fence[0]
        if len(line) >= len(self._fence) and not line.strip(mark):
            self._found.append(Token("block", self._fence_start, self._base + end))
            self._fence = ""
            self._starts_line, self._after_blank = True, False

    def _start_line(self) -> None:
        text = self._text
        start = at = self._at
        for _ in range(DEEPEST):
            at = _end_of(_LINE_START, text, at)
            if at == len(text):
                self._need()
                break
            maybe = _MAYBE_LIST_MARKER.match(text, at)
            if maybe and maybe.end() == len(text):
                self._need()
            marker = _LIST_MARKER.match(text, at)
            if not marker:
                break
            self._in_list = True
            self._after_blank = False
            at = marker.end()
        if at >= len(text) or text[at] in "\r\n":
            self._after_blank = True
            self._at = self._line_end(at)
            return
        indent = len(text[start:at].expandtabs(4))
        if indent >= 4 and self._after_blank and not self._in_list and ">" not in text[start:at]:
            end = self._line_end(at)
            self._emit("block", start, end)
            self._at = end
            return
        if indent == 0:
            self._in_list = False
        if text[at] in "`~" and self._opens_fence(at):
            return
        if text[at] == "[" and self._is_definition(at):
            end = self._line_end(at)
            self._emit("definition", at, end)
            self._at = end
            return
        self._starts_line = self._after_blank = False
        self._at = at

    def _opens_fence(self, at: int) -> bool:
        mark = self._text[at]
        end = self._run_end(at)
        if end - at < 3:
            return False
        # An info string with backticks makes a code span of it (CommonMark 4.5).
        line_end = self._text.find("\n", end)
        tick = self._text.find("`", end, line_end if line_end >= 0 else len(self._text))
        if mark == "`" and tick >= 0:
            return False
        self._at = self._line_end(end)
        self._fence = mark * (end - at)
        self._fence_start = self._base + at
        return True

    def _is_definition(self, at: int) -> bool:
        """Whether `[1]:` or `[^1]:` stands here."""
        close = self._close_of(at)
        if close < 0:
            return False
        if close + 1 == len(self._text):
            self._need()
        return self._text.startswith(":", close + 1)

    def _run_end(self, at: int) -> int:
        """The end of the run of one character that begins here."""
        end = _end_of(_RUN, self._text, at)
        if end == len(self._text):
            self._need()
        return end

    def _limit(self, at: int, longest: int = LONGEST) -> int:
        """How far what begins here may go: the end of its paragraph, or the longest it may be.

        Whether it is the true limit, or merely what has come so far, `_closes_before` asks.
        """
        end = min(len(self._text), at + longest)
        found = _PARAGRAPH_END.search(self._text, at, end)
        return found.start() if found else end

    def _wait_for_close(self, limit: int) -> None:
        """No close stands before `limit`: one may still come where the text itself ends there."""
        if limit == len(self._text) or _MAYBE_PARAGRAPH_END.match(self._text, limit):
            self._need()

    def _read_inline(self) -> None:
        text = self._text
        found = _NEXT.search(text, self._at)
        if not found:
            # One character is kept: what follows may need to know what it came after.
            self._at = max(self._at, len(text) - 1)
            self._need()
            self._at = len(text)
            return
        at = found.start()
        self._at = max(self._at, at - 1)
        match text[at]:
            case "\n":
                self._at = at + 1
                self._starts_line = True
            case "`":
                self._read_code(at)
            case "$":
                self._read_dollars(at)
            case "\\":
                self._read_backslash(at)
            case _:
                self._read_bracket(at)

    def _read_code(self, at: int) -> None:
        end = self._run_end(at)
        limit = self._limit(end)
        position = end
        while (position := self._text.find("`", position, limit)) >= 0:
            run_end = self._run_end(position)
            if run_end - position == end - at:
                self._emit("inline", at, run_end)
                self._at = run_end
                return
            position = run_end
        self._wait_for_close(limit)
        self._at = end

    def _read_dollars(self, at: int) -> None:
        text = self._text
        if at + 1 == len(text):
            self._need()
        if text.startswith("$$", at):
            self._read_formula(at, "$$")
            return
        after = text[at + 1 : at + 2]
        before = text[at - 1 : at]
        if not after or after.isspace() or before.isalnum() or before == "$":
            self._at = at + 1
            return
        limit = self._limit(at + 1)
        for sign in _DOLLAR.finditer(text, at + 1, limit):
            position = sign.start()
            if sign[0] != "$":
                continue
            if position + 1 == len(text):
                self._need()
            following = text[position + 1 : position + 2]
            if following == "$":
                self._at = at + 1
                return
            if position > at + 1 and not text[position - 1].isspace() and not following.isalnum():
                inner = text[at + 1 : position]
                if _PRICE.match(inner) and " " in inner and not _FORMULA.search(inner):
                    self._at = at + 1
                else:
                    self._emit("inline", at, position + 1)
                    self._at = position + 1
                return
        self._wait_for_close(limit)
        self._at = at + 1

    def _read_backslash(self, at: int) -> None:
        if at + 1 == len(self._text):
            self._need()
        second = self._text[at + 1 : at + 2]
        if second in ("(", "["):
            self._read_formula(at, "\\)" if second == "(" else "\\]")
        else:
            # An escaped sign of Markdown is itself; a line's break keeps its meaning.
            self._at = at + (1 if second.isspace() or second.isalnum() or second in "【［" else 2)

    def _read_formula(self, at: int, close: str) -> None:
        limit = self._limit(at + 2)
        end = self._text.find(close, at + 2, limit)
        if end >= 0:
            starts = not self._text[self._text.rfind("\n", 0, at) + 1 : at].strip(" \t>")
            is_block = "\n" in self._text[at:end] and starts
            self._emit("block" if is_block else "inline", at, end + 2)
            self._at = end + 2
            return
        self._wait_for_close(limit)
        self._at = at + 2

    def _close_of(self, at: int) -> int:
        """Where the bracket that opens here closes; -1 when it does not."""
        opener = self._text[at]
        closer = _OPENERS[opener]
        limit = self._limit(at + 1, LONGEST_BRACKET)
        depth = 0
        for found in re.finditer(r"\\.|[\[\]【】［］]", self._text[at:limit]):
            if found[0] == opener:
                depth += 1
            elif found[0] == closer:
                depth -= 1
                if depth == 0:
                    return at + found.start()
        self._wait_for_close(limit)
        return -1

    def _read_bracket(self, at: int) -> None:
        close = self._close_of(at)
        if close < 0:
            self._at = at + 1
            return
        if self._text[at] == "[":
            if close + 1 == len(self._text):
                self._need()
            if self._text.startswith("(", close + 1):
                self._emit("inline", at, close + 1)
                self._at = close + 1
                return
        bracket = _BRACKET.fullmatch(self._text, at, close + 1)
        if not bracket:
            self._at = at + 1
            return
        self._emit("bracket", at, close + 1, _numbers(bracket[1] or bracket[2] or bracket[3]))
        self._at = close + 1


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where what matches here ends; `at` where nothing does."""
    found = pattern.match(text, at)
    return found.end() if found else at


def _numbers(text: str) -> tuple[int, ...]:
    numbers: dict[int, None] = {}
    for part in _PART.finditer(text):
        first = int(part[1])
        last = int(part[2] or first)
        if not first <= last < first + LARGEST_RANGE:
            last = first
        numbers.update(dict.fromkeys(range(first, last + 1)))
    return tuple(numbers)


def scan(text: str) -> list[Token]:
    """The tokens of a whole text, in its order, which do not overlap."""
    scanner = Scanner()
    return scanner.feed(text) + scanner.finish()
