"""Messages, as they are shown."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import BaseModel

from candide.domain.messages import Message


class MessageView(BaseModel):
    id: str
    parent_id: str | None
    role: str
    text: str
    state: str
    reasoning: str = ""
    parts: list[dict[str, Any]] = []
    model: str | None = None
    turn_id: str | None = None
    usage: dict[str, Any] | None = None
    created_at: float


def show_message(message: Message) -> MessageView:
    values = msgspec.structs.asdict(message)
    del values["conversation_id"]
    return MessageView(**values)
