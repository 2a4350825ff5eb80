"""Conversations and the messages in their trees."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]

MessageState = Literal["complete", "pending", "streaming", "stopped", "failed"]
"""A user's message is complete from the start; an answer follows its turn."""


class File(msgspec.Struct, kw_only=True, frozen=True):
    """An image, a text or a document that belongs to a question."""

    id: str
    name: str
    media_type: str
    size: int
    """In bytes."""

    @property
    def is_image(self) -> bool:
        return self.media_type.startswith("image/")

    def as_part(self) -> dict[str, Any]:
        """The part of a message that stands for the file."""
        described = msgspec.structs.asdict(self)
        if self.is_image:
            address = {"url": f"/api/files/{self.id}"}
            return {"type": "image_url", "image_url": address, "file": described}
        return {"type": "file", "file": described}


class StoredFile(msgspec.Struct, frozen=True):
    file: File
    data: bytes
    text: str | None = None
    """What a document was read as; empty where nothing can be read in it, None where nobody has tried, or need not."""


class Message(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A node of a conversation's tree; never overwritten once it is complete."""

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    text: str
    state: MessageState = "complete"
    parts: list[dict[str, Any]] = []
    """Content parts beside the text, in the OpenAI shape; those with a member `file` stand for stored files."""
    reasoning: str = ""
    model: str | None = None
    turn_id: str | None = None
    usage: dict[str, Any] | None = None
    created_at: float = 0.0
    """Seconds since 1970."""
    engine: str | None = None
    """The engine that wrote the last of an answer."""
    timings: dict[str, Any] | None = None
    """Those of the last event of its turn."""
    finish_reason: str | None = None
    error: dict[str, Any] | None = None
    """Of an answer whose turn failed: `code`, `message`, `hint`."""
    feedback: dict[str, Any] | None = None
    """What the user thinks of an answer: `rating`, `up` or `down`, and `reason`."""
    grounding: dict[str, Any] | None = None
    """What an answer rests on, as `candide.domain.grounding.Grounding` in JSON."""


class Conversation(msgspec.Struct, kw_only=True):
    id: str
    title: str
    """Empty until the model, or the user, has given one."""
    current_leaf_id: str | None
    model: str | None
    system_prompt: str | None
    created_at: float
    updated_at: float
    pinned: bool = False
    archived: bool = False
    unread: bool = False
    """Whether an answer has come that nobody has seen."""
    folder_id: str | None = None
    instructions: str | None = None
    """What the user wants of every answer in it, beside their wishes for all answers."""
    params: dict[str, Any] = {}
    """Sampling parameters of every turn in it, unless the turn has its own."""
    search: dict[str, Any] | None = None
    """Where its answers are looked for, as `candide.domain.grounding.SearchWishes` in JSON."""
    hidden: bool = False
    """Made for a response in the background: it stands in no list, and the user's preferences are not for it."""
    deleted_at: float | None = None
