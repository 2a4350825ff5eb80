"""Marks are found wherever the stream is cut, and nowhere that they are something else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from candide.citations.marks import Mark, MarkParser, find_marks

PIECES = [
    "[1]", "[2]", "[1, 2]", "[1][2]", "[1-3]", "[1–3]", "[9]", "【1】", "【2†source】", "［3］", "[", "]", "(", ")", "[1](", "[^1]:", "[1]:",
    "[1", "![a [1]](u)", "`", "``", "```", "~~~", "```py\n", "\n", "\n\n", "\r\n", " ", "    ", "\t", "> ", "- ", "1. ", "$", "$$", "\\", "\\[",
    "\\(", "\\]", "\\)", "\\`", "x", "é", "Il pleut.", "12 $", "# T", "†", "】", "【",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


def numbers(text: str, known: tuple[int, ...] = (1, 2, 3)) -> list[int]:
    return [mark.number for mark in find_marks(text, known)]


def cut(text: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in itertools.pairwise(edges)]


@given(texts | st.text(max_size=60), st.lists(st.integers(0, 500), max_size=30))
@example("a`[1]\n\n`[2]", [1, 2, 3, 4, 5, 6])
@example("$5 [1] $", list(range(9)))
def test_marks_do_not_depend_on_how_the_text_is_cut(text: str, places: list[int]) -> None:
    parser = MarkParser((1, 2, 3))
    found: list[Mark] = []
    for piece in cut(text, places):
        found += parser.feed(piece)
    assert found + parser.finish() == find_marks(text, (1, 2, 3))


@given(texts)
def test_one_character_at_a_time_is_no_different(text: str) -> None:
    parser = MarkParser((1, 2, 3))
    assert [mark for piece in text for mark in parser.feed(piece)] + parser.finish() == find_marks(
        text, (1, 2, 3)
    )


@given(texts)
def test_marks_are_where_they_say(text: str) -> None:
    at = 0
    for mark in find_marks(text, (1, 2, 3)):
        assert text[mark.start] in "[【［"
        assert text[mark.end - 1] in "]】］"
        assert str(mark.number) in text[mark.start : mark.end] or mark.number == 2
        assert mark.start >= at
        at = mark.start


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Il pleut [1].", [1]),
        ("Il pleut [1, 2].", [1, 2]),
        ("Il pleut [1][2].", [1, 2]),
        ("Il pleut [1] [2].", [1, 2]),
        ("It rains 【1】【2†source】.", [1, 2]),
        ("It rains [1-3] and [1–2].", [1, 2, 3, 1, 2]),
        ("It rains [ 1 ; 3 ].", [1, 3]),
        ("It rains [1, 9].", [1]),
        ("Since [2019] it rains.", []),
        ("See [1](https://example.org) and [2].", [2]),
        ("![1](a.png) [2]", [2]),
        ("![see [1]](a.png) [2]", [2]),
        ("[as in [1] and more](u) [2]", [2]),
        ("Incroyable ![1]", [1]),
        ("`a[1]` [2]", [2]),
        ("``a ` [1]`` [2]", [2]),
        ("a ` [1]", [1]),
        ("a ` [1]\n\n` [2]", [1, 2]),
        ("\\`[1]\\` [2]", [1, 2]),
        ("```\n[1]\n```\n[2]", [2]),
        ("```python\nx[1]", []),
        ("~~~\n[1]\n```\n[3]\n~~~\n[2]", [2]),
        ("- item\n\n  ```\n  [1]\n  ```\n  [2]", [2]),
        ("1. ```\n   [1]\n   ```\n\n   [2]", [2]),
        ("> ```\n> [1]\n> ```\n> [2]", [2]),
        ("```x``` [1]", [1]),
        ("text\n\n    code[1]\n\ntext [2]", [2]),
        ("- item\n\n    more [1]", [1]),
        ("text\n    lazy [1]", [1]),
        ("[1]: https://example.org\n[2]", [2]),
        ("[^1]: note [1]\n[2]", [2]),
        ("It rains[^1] [2].", [2]),
        ("$x[1]$ [2]", [2]),
        ("$$x[1]$$ [2]", [2]),
        ("\\(x[1]\\) \\[y[3]\\] [2]", [2]),
        ("It costs $5 [1] and $6 [2].", [1, 2]),
        ("Entre 5$ [1] et 6$ [2]", [1, 2]),
        ("Open [ and [1]", [1]),
        ("[[1]]", [1]),
        ("| a [1] | b [2] |", [1, 2]),
        ("**gras [1]**", [1]),
    ],
)
def test_what_is_a_mark_and_what_is_not(text: str, expected: list[int]) -> None:
    assert numbers(text) == expected


def test_the_marks_of_one_pair_of_brackets_share_its_span() -> None:
    assert find_marks("Oui [1, 2].", (1, 2)) == [Mark(1, 4, 10), Mark(2, 4, 10)]


def test_a_mark_comes_with_the_character_after_it() -> None:
    parser = MarkParser((1,))
    assert parser.feed("Oui [1") == []
    assert parser.feed("]") == []
    assert parser.feed(".") == [Mark(1, 4, 7)]


def test_the_mark_of_a_stray_backtick_waits_for_the_end_of_its_paragraph_only() -> None:
    parser = MarkParser((1,))
    assert parser.feed("a ` b [1] c") == []
    assert parser.feed("\n\n") == [Mark(1, 6, 9)]
