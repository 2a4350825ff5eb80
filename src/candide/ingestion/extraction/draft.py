"""A document while it is written: readers of every format say what stands in it, block by block.

The text is what a person would read, without marks of a format: blocks stand a blank line apart, the lines and rows
of one block below each other, cells are separated by ` | `, and items begin with `- ` or their number. It is in NFC,
and characters that nobody sees are left out of it. Offsets are kept here and nowhere else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from candide.domain.sources import Document, Section

MAX_CHARACTERS = 100_000_000
"""Of a document; what is longer is not one that somebody wrote."""
MAX_HEADING = 300
"""Characters of a heading; what is longer is a paragraph that looks like one."""
CELL_SEPARATOR = " | "

_SPACES = re.compile(r"[^\S\n]+")
_AROUND_BREAKS = re.compile(r" ?\n[ \n]*")
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f"
    r"\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff"
    r"\U000e0000-\U000e0fff]"
    # Joiners have a meaning in scripts beyond the Latin one, and in emoji.
    r"|(?<![\u0600-\u1fff\u2600-\u27bf\ufe0f\U0001f000-\U0001ffff])[\u200c\u200d]"
)


class TooLong(Exception):
    """The document has more text than anyone wrote."""


def clean(text: str) -> str:
    """The text without unseen characters, in NFC, its breaks as `\\n`; other white space stays."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x85", "\n").replace("\x0b", "\n")
    text = text.replace("\x0c", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    return unicodedata.normalize("NFC", _UNSEEN.sub("", text))


def join_spaces(text: str) -> str:
    """The text as one line: every run of white space is one space, none at the ends."""
    return " ".join(text.split())


class Draft:
    """Takes blocks in the order of reading."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._open_kind = ""
        self.sections: list[Section] = []
        self.pages: list[int] = []

    @property
    def is_empty(self) -> bool:
        return not self._parts

    @property
    def length(self) -> int:
        """Characters so far."""
        return self._length

    def heading(self, level: int, text: str) -> None:
        """A heading of level 1, the outermost, or deeper."""
        text = join_spaces(clean(text))
        if not text:
            return
        start = self._add("", text)
        if len(text) <= MAX_HEADING:
            self.sections.append(Section(start, max(1, min(level, 9)), text))

    def paragraph(self, text: str) -> None:
        """A paragraph; breaks in it stay, other white space is one space."""
        self._add("", _AROUND_BREAKS.sub("\n", _SPACES.sub(" ", clean(text))).strip())

    def item(self, text: str, mark: str = "-", depth: int = 0) -> None:
        """An item of a list, `depth` lists within others."""
        text = _AROUND_BREAKS.sub("\n", _SPACES.sub(" ", clean(text))).strip()
        if text:
            self._add("item", f"{'  ' * min(depth, 8)}{mark} {text}" if mark else text)

    def row(self, cells: Sequence[str]) -> int | None:
        """A row of a table, and where it begins; one whose cells are all empty is left out."""
        cells = [join_spaces(clean(cell)) for cell in cells]
        while cells and not cells[-1]:
            cells.pop()
        return self._add("row", CELL_SEPARATOR.join(cells).strip()) if any(cells) else None

    def mark_heading(self, level: int, start: int) -> None:
        """What was written last, and begins at `start`, is a heading too."""
        self.sections.append(Section(start, level, self._parts[-1].strip()))

    def end_block(self) -> None:
        """What comes next does not belong to the list or table before it."""
        self._open_kind = ""

    def verbatim(self, text: str) -> None:
        """Lines whose white space means something, like a program's."""
        lines = [line.rstrip() for line in clean(text).expandtabs(4).split("\n")]
        self._add("", "\n".join(lines).strip("\n"))

    def page(self) -> None:
        """A page begins with the next block."""
        self._open_kind = ""
        self.pages.append(-1)

    def document(self, **facts: object) -> Document:
        """What was written, with the facts that are known of it, by the names that Document has for them."""
        pages = [self._length if start < 0 else start for start in self.pages]
        return Document(text="".join(self._parts), sections=self.sections, pages=pages, **facts)  # type: ignore[arg-type]

    def _add(self, kind: str, text: str) -> int:
        if not text.strip():
            return self._length
        separator = "" if not self._parts else "\n" if kind and kind == self._open_kind else "\n\n"
        self._open_kind = kind
        # The white space before a block of items would be lost at the start of the text, and offsets with it.
        text = text if self._parts else text.lstrip()
        start = self._length + len(separator)
        self._parts.append(separator + text)
        self._length += len(separator) + len(text)
        if self._length > MAX_CHARACTERS:
            raise TooLong
        for index in range(len(self.pages) - 1, -1, -1):
            if self.pages[index] >= 0:
                break
            self.pages[index] = start
        return start
