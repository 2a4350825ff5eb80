"""Conversations and their trees: made, listed, changed, deleted and brought back."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from candide.domain.messages import Conversation
from candide.errors import BadRequest
from candide.server.api.fields import Body, Created, Name, QueryText, Text
from candide.server.api.messages import MessageView, show_message
from candide.server.api.models import check_model
from candide.server.services import Services


class NewConversation(Body):
    title: Name = ""
    model: Name | None = None
    system_prompt: Text | None = None


class ConversationChanges(Body):
    title: Name | None = None
    model: Name | None = None
    system_prompt: Text | None = None
    current_leaf_id: Name | None = None


class ConversationSummary(BaseModel):
    id: str
    title: str
    current_leaf_id: str | None
    model: str | None
    system_prompt: str | None
    created_at: float
    updated_at: float


class ConversationView(ConversationSummary):
    messages: list[MessageView]


class ConversationPage(BaseModel):
    data: list[ConversationSummary]
    next: str | None = Field(description="Pass it as `before` for the next page.")


def build_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/conversations", tags=["conversations"])
    conversations = services.conversations

    @router.post("", status_code=201, summary="Make a conversation")
    async def create_conversation(body: NewConversation | None = None) -> Created:  # pyright: ignore[reportUnusedFunction]
        body = body or NewConversation()
        await check_model(services, body.model)
        made = await conversations.create(
            title=body.title, model=body.model, system_prompt=body.system_prompt
        )
        return Created(id=made)

    @router.get("", summary="The conversations, last used first")
    async def list_conversations(  # pyright: ignore[reportUnusedFunction]
        limit: Annotated[int, Query(ge=1, le=500)] = 50, before: QueryText | None = None
    ) -> ConversationPage:
        found = await conversations.list(limit=limit + 1, before=before)
        page = found[:limit]
        following = page[-1].id if len(found) > limit else None
        return ConversationPage(data=[_summary(c) for c in page], next=following)

    @router.get("/{conversation_id}", summary="A conversation and its tree")
    async def get_conversation(conversation_id: str) -> ConversationView:  # pyright: ignore[reportUnusedFunction]
        conversation, tree = await conversations.load(conversation_id)
        return ConversationView(
            **_summary(conversation).model_dump(), messages=[show_message(message) for message in tree]
        )

    @router.patch("/{conversation_id}", summary="Rename, switch model or branch")
    async def update_conversation(  # pyright: ignore[reportUnusedFunction]
        conversation_id: str, body: ConversationChanges
    ) -> ConversationSummary:
        changes = body.model_dump(exclude_unset=True)
        if changes.get("title", "") is None:
            raise BadRequest("title: a title is text; an empty one lets the model write it", param="title")
        await check_model(services, body.model)
        return _summary(await conversations.update(conversation_id, changes))

    @router.delete("/{conversation_id}", status_code=204, summary="Delete; restore undoes it")
    async def delete_conversation(conversation_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await conversations.delete(conversation_id)

    @router.post("/{conversation_id}/restore", status_code=204, summary="Undo a deletion")
    async def restore_conversation(conversation_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await conversations.restore(conversation_id)

    return router


def _summary(conversation: Conversation) -> ConversationSummary:
    return ConversationSummary(**msgspec.structs.asdict(conversation))
