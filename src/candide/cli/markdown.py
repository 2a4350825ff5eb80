"""Markdown on a terminal while it is still being written.

What is finished is printed once and stays; only the last block is painted again as it grows, line
by line and only the lines that changed, so nothing flickers and an answer taller than the screen
scrolls by like any other output. The text shown is never more than the text received: HTML is
shown as it is written, and control characters, which could command the terminal, are dropped.
"""

from __future__ import annotations

import itertools
import re
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.syntax import Syntax
from rich.text import Text

from candide.cli.output import plain_text

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class _LeftHeading(Heading):
    """A heading at the left margin: answers are read, not displayed."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = self.text.copy()
        text.justify = "left"
        yield text


class _PlainCode(CodeBlock):
    """Code in the terminal's own colours, without a background that would be copied as blanks."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip("\n")
        yield Syntax(
            code,
            self.lexer_name,
            theme="ansi_dark",
            background_color="default",
            word_wrap=True,
            padding=(0, 2),
        )


def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])


class AnswerMarkdown(Markdown):
    """Markdown as Candide shows it."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _LeftHeading,
        "fence": _PlainCode,
        "code_block": _PlainCode,
    }

    def __init__(self, markup: str) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=True)
        self.markup = markup
        self.parsed = _parser().parse(markup)


def split_finished(text: str) -> tuple[list[str], str]:
    """Cut Markdown into the blocks that no later text can change, and the rest.

    Only whole lines decide: the `2` that will become `2. second` must not end the list before it.
    """
    whole_lines = text[: text.rfind("\n") + 1]
    starts = [
        token.map[0]
        for token in _parser().parse(whole_lines)
        if token.level == 0 and token.nesting >= 0 and token.map is not None
    ]
    if len(starts) < 2:
        return [], text
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    edges = [0, *starts[1:]]
    blocks = ["".join(lines[a:b]) for a, b in itertools.pairwise(edges)]
    return blocks, "".join(lines[edges[-1] :])


class LiveLines:
    """Lines at the bottom of the terminal that can be painted again.

    The cursor rests at the start of the row below them. Lines that have scrolled out of reach stay
    as they were.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: list[str] = []
        self._width = console.size.width

    def paint(self, lines: list[str]) -> None:
        """Show these lines in place of those painted before, rewriting only what differs."""
        width, height = self._console.size
        if width != self._width:
            self._erase_after_resize(width, height)
        same = 0
        for old, new in zip(self._lines, lines, strict=False):
            if old != new:
                break
            same += 1
        if same == len(self._lines) == len(lines):
            return
        first = max(same, len(self._lines) - (height - 1))
        up = len(self._lines) - first
        out = [f"\x1b[{up}A\r" if up else "\r"]
        out += [f"{line}\x1b[K\n" for line in lines[first:]]
        out.append("\x1b[J")
        self._write("".join(out))
        self._lines = lines

    @property
    def is_in_reach(self) -> bool:
        """Whether every line can still be painted again."""
        return len(self._lines) < self._console.size.height

    def keep(self, count: int) -> None:
        """Let the first lines stand for good."""
        del self._lines[:count]

    def _erase_after_resize(self, width: int, height: int) -> None:
        rows = sum(max(1, -(-cell_len(_ESCAPE.sub("", line)) // width)) for line in self._lines)
        up = min(rows, height - 1)
        self._write(f"\x1b[{up}A\r\x1b[J" if up else "")
        self._lines = []
        self._width = width

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()


class MarkdownStream:
    """An answer on a terminal: feed it text, paint it now and then, finish it once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = LiveLines(console)
        self._rest = ""
        self._finished = ""
        self._begun = False

    def feed(self, text: str) -> None:
        self._rest += plain_text(text)

    def correct(self, text: str) -> bool:
        """Have the whole text be another from the next painting on.

        False, and nothing changes, when it differs where the screen can no longer be painted.
        """
        text = plain_text(text)
        if not text.startswith(self._finished) or not self._live.is_in_reach:
            return False
        self._rest = text[len(self._finished) :]
        return True

    def paint(self, below: RenderableType | None = None) -> None:
        """Bring the screen up to date; `below` is shown under the text until the next painting."""
        blocks, self._rest = split_finished(self._rest)
        lines: list[str] = []
        for block in blocks:
            lines += self._block_lines(block)
            self._finished += block
        finished = len(lines)
        if self._rest.strip():
            begun = self._begun
            lines += self._block_lines(self._rest)
            self._begun = begun
        if below is not None:
            lines += self._render(below)
        self._live.paint(lines)
        self._live.keep(finished)

    def finish(self) -> None:
        """Paint the last block for good."""
        self._rest += "\n"
        self.paint()
        self._live.keep(10**9)
        self._rest = ""

    def replace(self, lines: RenderableType | None) -> None:
        """Show something else where the text will stand, as long as there is none."""
        self._live.paint([] if lines is None else self._render(lines))

    def keep(self) -> None:
        """Let what `replace` showed stand for good."""
        self._live.keep(10**9)

    def _block_lines(self, block: str) -> list[str]:
        lines = self._render(AnswerMarkdown(block))
        while lines and _is_blank(lines[-1]):
            lines.pop()
        while lines and _is_blank(lines[0]):
            del lines[0]
        if not lines:
            return []
        spaced = ["", *lines] if self._begun else lines
        self._begun = True
        return spaced

    def _render(self, renderable: RenderableType) -> list[str]:
        # One column is left free: a line that fills the last one makes terminals wrap, each in its way.
        width = max(8, self._console.size.width - 1)
        with self._console.capture() as capture:
            self._console.print(renderable, width=width, soft_wrap=False, end="")
        text = capture.get()
        return [line.rstrip() for line in text.removesuffix("\n").split("\n")] if text else []


def _is_blank(line: str) -> bool:
    return not _ESCAPE.sub("", line).strip()


def dim(text: str) -> Text:
    return Text(plain_text(text), style="dim")
