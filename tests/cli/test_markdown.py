"""Markdown that is painted while it is written ends as if it had been painted at once."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from candide.cli.markdown import MarkdownStream, split_finished
from candide.cli.output import plain_text

ANSWER = """\
# Title

A paragraph with **bold**, *italics* and `code` that is long enough to be wrapped on a terminal of forty columns.

1. first

2. second
   - nested
3. third

```python
def f(x):

    return "```" + x  # <div>
```

| a | b |
|---|---|
| 1 | a long cell that wraps |

> a quote
> with <b>HTML</b>

<div>raw HTML</div>

Setext
======

2. a list that begins at two

End: é 漢字 🎉
"""


class Screen(io.StringIO):
    """A terminal that remembers what scrolled off it."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self.screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self._stream.feed(text)
        return len(text)

    def isatty(self) -> bool:
        return True

    def console(self) -> Console:
        return Console(
            file=self, force_terminal=True, width=self.screen.columns, height=self.screen.lines,
            highlight=False, color_system="truecolor", legacy_windows=False,
        )  # fmt: skip

    def text(self) -> str:
        gone = ["".join(line[x].data for x in range(self.screen.columns)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*gone, *self.screen.display]).rstrip()


def paint(pieces: Iterable[str], *, rows: int = 200, columns: int = 40) -> str:
    screen = Screen(rows, columns)
    stream = MarkdownStream(screen.console())
    for piece in pieces:
        stream.feed(piece)
        stream.paint()
    stream.finish()
    return screen.text()


def cut(text: str, random_numbers: random.Random) -> list[str]:
    pieces: list[str] = []
    while text:
        length = random_numbers.randint(1, 12)
        pieces.append(text[:length])
        text = text[length:]
    return pieces


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_painting_in_pieces_ends_as_painting_at_once(random_numbers: random.Random) -> None:
    assert paint(cut(ANSWER, random_numbers)) == paint([ANSWER])


def test_everything_that_was_written_is_shown() -> None:
    shown = paint([ANSWER])
    for text in ("Title", "wrapped", " 1 first", " • nested", 'return "```" + x  # <div>', "with <b>HTML</b>",
                 "<div>raw HTML</div>", "Setext", " 2 a list that begins at two", "漢字"):  # fmt: skip
        assert text in shown
    assert "**" not in shown


def test_answer_taller_than_the_screen_scrolls_by_whole() -> None:
    answer = "\n\n".join(f"Paragraph number {n} with some words." for n in range(60))
    shown = paint(cut(answer, random.Random(1)), rows=8)
    assert [line for line in shown.splitlines() if line] == answer.split("\n\n")


def test_block_taller_than_the_screen_scrolls_by_whole() -> None:
    code = "```text\n" + "".join(f"line {n}\n" for n in range(60)) + "```\n\nDone.\n"
    shown = paint(cut(code, random.Random(2)), rows=8)
    assert [line.strip() for line in shown.splitlines() if line] == [
        *(f"line {n}" for n in range(60)),
        "Done.",
    ]


@pytest.mark.parametrize(
    ("text", "blocks", "rest"),
    [
        ("one paragraph that goes on", [], "one paragraph that goes on"),
        ("one\n\ntwo", [], "one\n\ntwo"),
        ("one\n\ntwo\n", ["one\n\n"], "two\n"),
        ("1. one\n\n2", [], "1. one\n\n2"),
        ("1. one\n\n2. two\n", [], "1. one\n\n2. two\n"),
        ("```\na\n\nb\n", [], "```\na\n\nb\n"),
        ("```\na\n```\nb\n", ["```\na\n```\n"], "b\n"),
        ("line\u2028separator\n\nb\n", ["line\u2028separator\n\n"], "b\n"),
        ("a\n\n\n\nb\n\nc\n", ["a\n\n\n\n", "b\n\n"], "c\n"),
    ],
)
def test_only_blocks_that_no_later_text_can_change_are_finished(
    text: str, blocks: list[str], rest: str
) -> None:
    assert split_finished(text) == (blocks, rest)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_splitting_loses_nothing(text: str) -> None:
    blocks, rest = split_finished(text)
    assert "".join(blocks) + rest == text


def test_text_cannot_command_the_terminal() -> None:
    hostile = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x9b1mbold\r\x08 \u202egnp.exe"
    assert plain_text(hostile) == "]0;title[2J[31mred1mbold gnp.exe"
    assert "title" in paint([hostile]), "it is shown, not obeyed"


def test_painting_again_after_the_width_changed_keeps_the_end_right() -> None:
    screen = Screen(30, 60)
    console = screen.console()
    stream = MarkdownStream(console)
    stream.feed("A first paragraph that was finished.\n\nA second one that is still ")
    stream.paint()
    screen.screen.resize(30, 30)
    console.width = 30
    stream.feed("being written when the window becomes narrower.\n")
    stream.paint()
    stream.finish()
    assert "being written when the window\nbecomes narrower." in screen.text()
