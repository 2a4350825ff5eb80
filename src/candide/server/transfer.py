"""Conversations in and out as documents: export and import."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from candide.conversation.export import read_json, write_json, write_markdown
from candide.conversation.tree import find_branch
from candide.server.services import Services


class Imported(BaseModel):
    imported: list[str]
    """Ids of the conversations that were added."""
    skipped: list[str]
    """Ids of those that were there already."""


def build_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["transfer"])
    conversations = services.conversations

    @router.get(
        "/conversations/{conversation_id}/export",
        summary="A conversation as a document; docs/reference/export.md describes it",
        response_class=Response,
        responses={200: {"content": {"application/json": {}, "text/markdown": {}}}},
    )
    async def export_conversation(  # pyright: ignore[reportUnusedFunction]
        conversation_id: str, form: Annotated[Literal["json", "markdown"], Query(alias="format")] = "json"
    ) -> Response:
        conversation, tree = await conversations.load(conversation_id)
        if form == "json":
            return Response(write_json([(conversation, tree)]), media_type="application/json")
        branch = find_branch(tree, conversation.current_leaf_id)
        return Response(write_markdown(conversation, branch), media_type="text/markdown")

    @router.post(
        "/import",
        summary="Add the conversations of an export document that are not there yet",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        },
    )
    async def import_document(request: Request) -> Imported:  # pyright: ignore[reportUnusedFunction]
        done = Imported(imported=[], skipped=[])
        for conversation, tree in read_json(await request.body()):
            if await conversations.exists(conversation.id):
                done.skipped.append(conversation.id)
            else:
                await conversations.add_all(conversation, tree)
                done.imported.append(conversation.id)
        return done

    return router
