"""Follow-ups are made self-contained, and questions that are so already stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.domain.messages import Message
from candide.retrieval.followup import MAX_CHARS, make_self_contained
from candide.retrieval.words import fold

from .followups import CASES


def make_branch(texts: list[str]) -> list[Message]:
    """Questions and answers in turn."""
    return [
        Message(
            id=f"msg_{n}",
            conversation_id="conv_1",
            parent_id=f"msg_{n - 1}" if n else None,
            role="assistant" if n % 2 else "user",
            text=text,
        )
        for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize(("before", "question", "wanted", "unwanted"), CASES, ids=[case[1] for case in CASES])
def test_a_follow_up_gets_what_it_leaves_unsaid(
    before: list[str], question: str, wanted: str | None, unwanted: str
) -> None:
    made = make_self_contained(question, make_branch(before))
    if wanted is None:
        assert made == question
        return
    assert all(fold(word) in fold(made) for word in wanted.split()), made
    assert not any(fold(word) in fold(made) for word in unwanted.split()), made


def test_the_question_itself_may_stand_at_the_end_of_the_branch() -> None:
    branch = make_branch(["Quand est né Voltaire ?", "En 1694.", "Où est-il mort ?"])
    assert make_self_contained("Où est-il mort ?", branch) == make_self_contained(
        "Où est-il mort ?", branch[:2]
    )


def test_an_answer_that_is_empty_or_failed_is_no_hindrance() -> None:
    branch = make_branch(["Who wrote Candide?", "", "When did he die?", ""])
    assert "Candide" in make_self_contained("Why?", branch)


@given(st.lists(st.text(max_size=60), max_size=6), st.text(max_size=80))
def test_whatever_was_said_the_question_stays_within(before: list[str], question: str) -> None:
    made = make_self_contained(question, make_branch(before))
    assert make_self_contained(question, []) == question
    assert len(made) <= len(question) + 2 * MAX_CHARS + 400
    if not before or not question.strip():
        assert made == question
