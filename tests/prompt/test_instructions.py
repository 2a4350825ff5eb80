"""The system prompt is what everyone asks for, a paragraph each."""

from __future__ import annotations

import pytest

from candide.domain.messages import Conversation
from candide.prompt.instructions import compose_system_prompt


@pytest.mark.parametrize(
    ("own", "instructions", "composed"),
    [
        (None, [], "Base."),
        (None, ["One.", " Two.\n"], "Base.\n\nOne.\n\nTwo."),
        ("Mine.", ["One."], "Mine.\n\nOne."),
        ("", ["One.", " "], "One."),
        ("", [], ""),
    ],
)
def test_each_has_a_paragraph(own: str | None, instructions: list[str], composed: str) -> None:
    conversation = Conversation(
        id="conv_1", title="", current_leaf_id=None, model=None, system_prompt=own, created_at=0, updated_at=0
    )
    assert compose_system_prompt("Base.", conversation, instructions) == composed
