"""Texts that look like control tokens are broken on their way in and mended on their way out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candide.engine.control_text import BREAK, ControlTexts, Escape, Mender

TEXTS = ("<|im_start|>", "<|im_end|>", "|><|", "</s>", "[INST]", "<b>", "\n\n", "x")
CONTROL = ControlTexts(TEXTS)
CANDIDATES = st.lists(st.sampled_from([*TEXTS, "<", "|", BREAK, "<|im_", "start|>", "é", "[", "INST]"])).map(
    "".join
)


@given(CANDIDATES)
def test_no_control_text_survives_and_mending_gives_the_text_back(text: str) -> None:
    escaped = CONTROL.escape(text)
    assert not any(control in escaped for control in TEXTS[:5])
    assert CONTROL.mend(escaped) == text


@given(CANDIDATES, st.lists(st.integers(1, 6), min_size=1))
def test_a_text_in_pieces_is_mended_like_the_whole(text: str, lengths: list[int]) -> None:
    escaped = CONTROL.escape(text)
    mender = Mender(CONTROL)
    mended = ""
    position = number = 0
    while position < len(escaped):
        length = lengths[number % len(lengths)]
        mended += mender.feed(escaped[position : position + length])
        position += length
        number += 1
    assert mended == text


def test_plain_markup_is_left_alone_unless_the_template_uses_it() -> None:
    assert CONTROL.escape("<b>bold</b>") == "<b>bold</b>"
    assert ControlTexts(TEXTS, "{{ '<b>' }}").escape("<b>") == f"<{BREAK}b>"


def test_an_unknown_vocabulary_breaks_whatever_is_piped() -> None:
    control = ControlTexts((), any_piped=True)
    assert control.escape("<|whatever|> a < b |>") == f"<{BREAK}|whatever|> a < b |>"
    assert control.escape("<｜User｜>") == f"<{BREAK}｜User｜>"


def test_texts_without_control_text_pass_as_they_are() -> None:
    escape = Escape(CONTROL)
    assert escape.tree({"a": ["b < c", 1, None], "d": True}) == {"a": ["b < c", 1, None], "d": True}
    assert not escape.happened


def test_names_of_members_are_broken_too() -> None:
    escape = Escape(CONTROL)
    assert escape.tree({"</s>": ["</s>"]}) == {f"<{BREAK}/s>": [f"<{BREAK}/s>"]}
    assert escape.happened
