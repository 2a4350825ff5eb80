"""Messages: shown, deleted, brought back, judged."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field

from candide.domain.messages import Message
from candide.server.api.fields import Body, Text
from candide.server.api.grounding import GroundingView
from candide.server.routers import make_router
from candide.server.services import Services


class Timings(BaseModel):
    first_token_ms: float | None = None
    total_ms: float | None = None
    tokens_per_second: float | None = None


class FeedbackView(BaseModel):
    rating: Literal["up", "down"]
    reason: str


class TurnErrorView(BaseModel):
    code: str
    message: str
    hint: str | None = None


class FileView(BaseModel):
    id: str
    name: str
    media_type: str
    size: int = Field(description="In bytes.")


class ImageUrl(BaseModel):
    url: str


class ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: ImageUrl
    file: FileView


class FilePart(BaseModel):
    type: Literal["file"]
    file: FileView


class MessageView(BaseModel):
    id: str
    parent_id: str | None
    role: Literal["system", "user", "assistant", "tool"]
    text: str
    state: Literal["complete", "pending", "streaming", "stopped", "failed"]
    reasoning: str = ""
    parts: list[ImagePart | FilePart | dict[str, Any]] = []
    model: str | None = None
    engine: str | None = None
    turn_id: str | None = None
    usage: dict[str, Any] | None = None
    timings: Timings | None = None
    finish_reason: str | None = None
    error: TurnErrorView | None = Field(default=None, description="Why the turn failed.")
    feedback: FeedbackView | None = None
    grounding: GroundingView | None = Field(default=None, description="What an answer rests on.")
    created_at: float


class NewFeedback(Body):
    rating: Literal["up", "down"] | None = Field(description="Null forgets it.")
    reason: Text = ""


def build_router(services: Services) -> APIRouter:
    router = make_router("/api/messages", "messages")
    messages = services.messages

    @router.delete("/{message_id}", status_code=204, summary="Delete with all that follows; restore undoes it")  # fmt: skip
    async def delete_message(message_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        for turn_id in await messages.delete(message_id):
            await services.scheduler.stop(turn_id)

    @router.post("/{message_id}/restore", status_code=204, summary="Undo a deletion")
    async def restore_message(message_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await messages.restore(message_id)

    @router.put("/{message_id}/feedback", status_code=204, summary="Say what an answer is worth")
    async def rate_message(message_id: str, body: NewFeedback) -> None:  # pyright: ignore[reportUnusedFunction]
        await messages.rate(message_id, body.model_dump() if body.rating else None)

    return router


def show_message(message: Message) -> MessageView:
    values = msgspec.structs.asdict(message)
    del values["conversation_id"]
    return MessageView(**values)
