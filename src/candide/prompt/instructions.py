"""Composes the system prompt of what the server, the user, a folder and a conversation ask for.

It changes only when one of them does, so that the engine's cached prefix serves from turn to turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from candide.domain.messages import Conversation


def compose_system_prompt(default: str, conversation: Conversation, instructions: Sequence[str]) -> str:
    """A paragraph each: the conversation's system prompt or else the `default`, then the `instructions`."""
    base = default if conversation.system_prompt is None else conversation.system_prompt
    return "\n\n".join(text.strip() for text in (base, *instructions) if text.strip())


def compose_grounded_prompt(base: str, conversation: Conversation, instructions: Sequence[str]) -> str:
    """The same for answers from sources: the `base` comes first whatever else is wished, for models are trained with it."""
    return "\n\n".join(
        text.strip() for text in (base, conversation.system_prompt or "", *instructions) if text.strip()
    )
