"""Shares: made and ended by the user, read by whoever has the token.

`/api/shared` is open to all. It shows the branch's messages and the files in them, and nothing of the
server: no engines, no turns, no errors, nothing that the user thinks of an answer.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel

from candide.conversation.tree import find_branch
from candide.domain.messages import Message
from candide.server.api.fields import Body, Name
from candide.server.api.files import DOWNLOAD, send_file
from candide.server.api.grounding import GroundingView
from candide.server.api.messages import MessageView, show_message
from candide.server.routers import make_router
from candide.server.services import Services
from candide.store.shares import Share, no_share


class NewShare(Body):
    leaf_id: Name | None = None


class ShareView(BaseModel):
    token: str
    conversation_id: str
    leaf_id: str
    title: str
    created_at: float
    path: str


class SharePage(BaseModel):
    data: list[ShareView]


class SharedView(BaseModel):
    title: str
    messages: list[MessageView]
    created_at: float


def build_router(services: Services) -> APIRouter:
    router = make_router("/api", "shares")
    shares = services.shares

    @router.post("/conversations/{conversation_id}/shares", status_code=201, summary="Let whoever has the link read a branch")  # fmt: skip
    async def create_share(conversation_id: str, body: NewShare | None = None) -> ShareView:  # pyright: ignore[reportUnusedFunction]
        return _show(await shares.create(conversation_id, body.leaf_id if body else None))

    @router.get("/shares", summary="What is shared, the newest first")
    async def list_shares() -> SharePage:  # pyright: ignore[reportUnusedFunction]
        return SharePage(data=[_show(share) for share in await shares.list()])

    @router.delete("/shares/{token}", status_code=204, summary="End a share at once")
    async def delete_share(token: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await shares.delete(token)

    @router.get("/shared/{token}", summary="What is shared under a token; needs no key")
    async def get_shared(token: str, response: Response) -> SharedView:  # pyright: ignore[reportUnusedFunction]
        share = await shares.get(token)
        branch = await _load_branch(services, share)
        response.headers["Cache-Control"] = "no-store"
        return SharedView(
            title=share.title,
            messages=[_show_to_all(message, token) for message in branch],
            created_at=share.created_at,
        )

    @router.get("/shared/{token}/files/{file_id}", summary="A file of what is shared; needs no key", response_class=Response, responses=DOWNLOAD)  # type: ignore[arg-type] # fmt: skip
    async def get_shared_file(token: str, file_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        branch = await _load_branch(services, await shares.get(token))
        if all(part.get("file", {}).get("id") != file_id for message in branch for part in message.parts):
            raise no_share()
        response = send_file(await services.files.get(file_id))
        # A share that is ended shows nothing more.
        response.headers["Cache-Control"] = "no-store"
        return response

    return router


async def _load_branch(services: Services, share: Share) -> list[Message]:
    _, tree = await services.conversations.load(share.conversation_id)
    branch = find_branch(tree, share.leaf_id)
    if not branch:
        raise no_share()
    return branch


def _show_to_all(message: Message, token: str) -> MessageView:
    shown = show_message(message)
    return shown.model_copy(
        update={
            "parts": [_move(part, token) for part in message.parts],
            "engine": None,
            "turn_id": None,
            "usage": None,
            "timings": None,
            "error": None,
            "feedback": None,
            "grounding": _hide_places(shown.grounding),
        }
    )


def _hide_places(grounding: GroundingView | None) -> GroundingView | None:
    """What an answer rests on without what is only this machine's: folders, ids, what could not be read."""
    if grounding is None:
        return None
    sources = [
        source.model_copy(
            update={
                "uri": source.uri
                if source.uri.startswith(("http://", "https://"))
                else PurePath(source.uri).name,
                "external_id": None,
            }
        )
        for source in grounding.sources
    ]
    return grounding.model_copy(update={"sources": sources, "unread": [], "missing": []})


def _move(part: dict[str, Any], token: str) -> dict[str, Any]:
    """A part whose file is read under the share."""
    if "file" not in part or "image_url" not in part:
        return part
    return {**part, "image_url": {"url": f"/api/shared/{token}/files/{part['file']['id']}"}}


def _show(share: Share) -> ShareView:
    return ShareView(**msgspec.structs.asdict(share), path=f"/share/{share.token}")
