"""Composes the system prompt of what the server, the user, a folder and a conversation ask for.

It changes only when one of them does, so that the engine's cached prefix serves from turn to turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from candide.domain.messages import Conversation


def compose_system_prompt(
    default: str, conversation: Conversation, instructions: Sequence[str], *, before: str = ""
) -> str:
    """A paragraph each: the conversation's system prompt or else the `default`, then the `instructions`.

    What stands `before` them comes first whatever is wished: models are trained with it.
    """
    base = default if conversation.system_prompt is None else conversation.system_prompt
    return "\n\n".join(text.strip() for text in (before, base, *instructions) if text.strip())
