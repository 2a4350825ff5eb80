"""Conversations and their trees: made, listed, changed, deleted and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from candide.domain.messages import Conversation
from candide.errors import BadRequest
from candide.server.api.fields import PARAMS, Body, Created, Name, QueryText, Text, check_params
from candide.server.api.grounding import Wishes, keep_wishes
from candide.server.api.messages import MessageView, show_message
from candide.server.api.models import check_model
from candide.server.routers import make_router
from candide.server.services import Services

ID_PATTERN = "^conv_[0-7][0-9a-hjkmnp-tv-z]{25}$"


class NewConversation(Body):
    id: str | None = Field(default=None, pattern=ID_PATTERN, description="One that the client made, so that a repeated request makes one conversation.")  # fmt: skip
    title: Name = ""
    model: Name | None = None
    system_prompt: Text | None = None
    folder_id: Name | None = None
    instructions: Text | None = None
    params: dict[str, Any] = Field(default_factory=dict, description=PARAMS)
    search: Wishes | None = None


class ConversationChanges(Body):
    title: Name | None = None
    model: Name | None = None
    system_prompt: Text | None = None
    current_leaf_id: Name | None = None
    pinned: bool | None = None
    archived: bool | None = None
    unread: bool | None = None
    folder_id: Name | None = None
    instructions: Text | None = None
    params: dict[str, Any] | None = Field(default=None, description=PARAMS)
    search: Wishes | None = Field(default=None, description="Null searches nothing.")


class ConversationSummary(BaseModel):
    id: str
    title: str
    current_leaf_id: str | None
    model: str | None
    system_prompt: str | None
    created_at: float
    updated_at: float
    pinned: bool
    archived: bool
    unread: bool
    folder_id: str | None
    instructions: str | None
    params: dict[str, Any]
    search: Wishes | None = Field(description="Where its answers are looked for.")
    running: list[str] = Field(description="Turns that have not ended.")
    deleted: bool


class ConversationView(ConversationSummary):
    messages: list[MessageView]


class ConversationPage(BaseModel):
    data: list[ConversationSummary]
    next: str | None = Field(description="Pass it as `before` for the next page.")


def build_router(services: Services) -> APIRouter:
    router = make_router("/api/conversations", "conversations")
    conversations = services.conversations

    @router.post("", status_code=201, summary="Make a conversation")
    async def create_conversation(body: NewConversation | None = None) -> Created:  # pyright: ignore[reportUnusedFunction]
        body = body or NewConversation()
        await check_model(services, body.model)
        check_params(body.params)
        made = await conversations.create(
            id=body.id,
            title=body.title,
            model=body.model,
            system_prompt=body.system_prompt,
            folder_id=body.folder_id,
            instructions=body.instructions,
            params=body.params,
            search=await keep_wishes(services, body.search),
        )
        return Created(id=made)

    @router.get("", summary="The conversations, last used first")
    async def list_conversations(  # pyright: ignore[reportUnusedFunction]
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: QueryText | None = None,
        archived: Annotated[bool | None, Query(description="False when absent; of the deleted, all.")] = None,
        pinned: bool | None = None,
        folder_id: Annotated[QueryText | None, Query(description="Empty: those in no folder.")] = None,
        deleted: bool = False,
    ) -> ConversationPage:
        if archived is None and not deleted:
            archived = False
        found = await conversations.list(
            limit=limit + 1,
            before=before,
            archived=archived,
            pinned=pinned,
            folder_id=folder_id,
            deleted=deleted,
        )
        page = found[:limit]
        following = page[-1].id if len(found) > limit else None
        return ConversationPage(data=await summarize(services, page), next=following)

    @router.get("/{conversation_id}", summary="A conversation and its tree")
    async def get_conversation(conversation_id: str) -> ConversationView:  # pyright: ignore[reportUnusedFunction]
        conversation, tree = await conversations.load(conversation_id)
        [summary] = await summarize(services, [conversation])
        return ConversationView(**dict(summary), messages=[show_message(message) for message in tree])

    @router.patch("/{conversation_id}", summary="Change what is said of a conversation, or switch the branch")
    async def update_conversation(  # pyright: ignore[reportUnusedFunction]
        conversation_id: str, body: ConversationChanges
    ) -> ConversationSummary:
        changes = body.model_dump(exclude_unset=True)
        if changes.get("title", "") is None:
            raise BadRequest("title: a title is text; an empty one lets the model write it", param="title")
        for flag in ("pinned", "archived", "unread"):
            if changes.get(flag, False) is None:
                raise BadRequest(f"{flag}: it is true or false, not null", param=flag)
        if "params" in changes:
            changes["params"] = body.params or {}
            check_params(body.params or {})
        if "search" in changes:
            changes["search"] = await keep_wishes(services, body.search)
        await check_model(services, body.model)
        [summary] = await summarize(services, [await conversations.update(conversation_id, changes)])
        return summary

    @router.delete("/{conversation_id}", status_code=204, summary="Delete; restore undoes it")
    async def delete_conversation(conversation_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await conversations.delete(conversation_id)

    @router.post("/{conversation_id}/restore", status_code=204, summary="Undo a deletion")
    async def restore_conversation(conversation_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await conversations.restore(conversation_id)

    return router


async def summarize(services: Services, conversations: Sequence[Conversation]) -> list[ConversationSummary]:
    running = await services.conversations.find_running([c.id for c in conversations])
    return [_summarize(c, running.get(c.id, [])) for c in conversations]


def _summarize(conversation: Conversation, running: list[str]) -> ConversationSummary:
    values = msgspec.structs.asdict(conversation)
    del values["hidden"], values["deleted_at"]
    return ConversationSummary(**values, running=running, deleted=conversation.deleted_at is not None)
