"""Whatever a model answers becomes one short line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.prompt.titles import (
    TITLE_CHARS,
    TITLE_INSTRUCTION,
    build_title_prompt,
    clean_title,
)


@given(st.text(max_size=300), st.text(min_size=1, max_size=300))
def test_a_title_is_one_short_line(written: str, question: str) -> None:
    title = clean_title(written, question)
    assert len(title) <= TITLE_CHARS
    assert len(title.splitlines()) <= 1
    assert title == title.strip()
    assert title or not question.strip()


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ('"A walk in Paris."', "A walk in Paris"),
        ("**Title: A walk in Paris**", "A walk in Paris"),
        ("Titre : « Une promenade »\n\nVoici pourquoi", "Une promenade"),
        ("\n\n# 巴黎漫步\n", "巴黎漫步"),
        ("", "What is a garden?"),
        ("...", "What is a garden?"),
        ("I would be glad to help you with a title for this conversation, " * 3, "What is a garden?"),
    ],
)
def test_what_surrounds_a_title_goes(written: str, title: str) -> None:
    assert clean_title(written, "What is\na garden?") == title


@pytest.mark.parametrize(
    "said", ["At most six words, no quotation marks, no full stop.", "N'écris que le titre."]
)
def test_what_repeats_the_request_is_no_title(said: str) -> None:
    assert clean_title(said, "What is\na garden?") == "What is a garden?"


def test_the_request_for_a_title_grows_the_prompt_at_its_end() -> None:
    prompt = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    asked = build_title_prompt(prompt, "q", "a")
    assert asked[:3] == [*prompt, {"role": "assistant", "content": "a"}]
    assert [m["role"] for m in asked[3:]] == ["user"]


def test_a_title_is_asked_for_in_the_language_of_the_question() -> None:
    assert "en français" in build_title_prompt([], "Qui est le roi de la Bulgarie ?", "")[-1]["content"]
    assert build_title_prompt([], "巴黎在哪里？", "")[-1]["content"] == TITLE_INSTRUCTION
