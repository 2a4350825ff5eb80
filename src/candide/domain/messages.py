"""Conversations and the messages in their trees."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]

MessageState = Literal["complete", "pending", "streaming", "stopped", "failed"]
"""A user's message is complete from the start; an answer follows its turn."""


class Message(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A node of a conversation's tree; never overwritten once it is complete."""

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    text: str
    state: MessageState = "complete"
    parts: list[dict[str, Any]] = []
    """Content parts beside the text, in the OpenAI shape (images, files)."""
    reasoning: str = ""
    model: str | None = None
    turn_id: str | None = None
    usage: dict[str, Any] | None = None
    created_at: float = 0.0
    """Seconds since 1970."""


class Conversation(msgspec.Struct, kw_only=True):
    id: str
    title: str
    """Empty until the model, or the user, has given one."""
    current_leaf_id: str | None
    model: str | None
    system_prompt: str | None
    created_at: float
    updated_at: float
