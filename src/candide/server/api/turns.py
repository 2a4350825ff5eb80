"""Durable turns: asked, followed, stopped, continued."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Header
from pydantic import BaseModel, Field

from candide.domain.turns import Turn
from candide.errors import BadRequest
from candide.server.api.fields import PARAMS, Body, Name, Text, check_params
from candide.server.api.grounding import Wishes, read_wishes
from candide.server.api.models import check_model
from candide.server.routers import make_router
from candide.server.services import Services
from candide.server.sse import EventStream
from candide.store.turns import UNSET

MAX_ATTACHMENTS = 50


class NewTurn(Body):
    """A question, or `user_message_id` to have one answered again."""

    text: Text | None = None
    parent_id: Name | None = Field(default=None, description="The message that the question follows; the current leaf when absent, a new root when null.")  # fmt: skip
    user_message_id: Name | None = None
    model: Name | None = None
    params: dict[str, Any] = Field(default_factory=dict, description=PARAMS)
    search: Wishes | None = Field(default=None, description="Where this answer is looked for; as the conversation wishes when absent.")  # fmt: skip
    attachments: list[Name] = Field(default=[], max_length=MAX_ATTACHMENTS, description="Ids of files; see `POST /api/files`.")  # fmt: skip


class TurnView(BaseModel):
    id: str
    conversation_id: str
    state: Literal["queued", "running", "finished", "stopped", "failed"]
    user_message_id: str
    answer_message_id: str
    model: str
    error: dict[str, Any] | None = None
    created_at: float
    finished_at: float | None = None


def build_router(services: Services) -> APIRouter:
    router = make_router("/api", "turns")
    turns = services.turns

    @router.post("/conversations/{conversation_id}/turns", status_code=202, summary="Ask; the answer is written whether anyone listens or not")  # fmt: skip
    async def create_turn(  # pyright: ignore[reportUnusedFunction]
        conversation_id: str,
        body: NewTurn,
        idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
    ) -> TurnView:
        asked_before = body.user_message_id is not None
        if asked_before and body.attachments:
            raise BadRequest("a question that stands already takes no attachments", param="attachments")
        if asked_before == (body.text is not None or bool(body.attachments)):
            raise BadRequest("give either text or user_message_id", param="text")
        if not (asked_before or body.attachments or (body.text or "").strip()):
            raise BadRequest("text: the question is empty", param="text")
        check_params(body.params)
        await check_model(services, body.model)
        search = await read_wishes(services, body.search)
        lease = services.scheduler.make_lease()
        turn = await turns.accept(
            conversation_id,
            text=None if asked_before else (body.text or ""),
            parent_id=body.parent_id if "parent_id" in body.model_fields_set else UNSET,
            user_message_id=body.user_message_id,
            model=body.model or "",
            params=body.params,
            attachments=body.attachments,
            search=search,
            idempotency_key=idempotency_key or None,
            lease=lease,
        )
        await services.scheduler.submit(turn, lease)
        return show_turn(turn)

    @router.get("/turns/{turn_id}", summary="A turn's state")
    async def get_turn(turn_id: str) -> TurnView:  # pyright: ignore[reportUnusedFunction]
        return show_turn(await turns.get(turn_id))

    @router.get(
        "/turns/{turn_id}/events",
        summary="A turn's events, replayed after Last-Event-ID and then as they come",
        response_class=EventStream,
        status_code=200,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def follow_turn(  # pyright: ignore[reportUnusedFunction]
        turn_id: str, last_event_id: Annotated[str | None, Header()] = None
    ) -> EventStream:
        after = _sequence_number(last_event_id)
        if not services.turn_log.is_live(turn_id):
            await turns.get(turn_id)
        return EventStream(_join(services, turn_id, after))

    @router.post("/turns/{turn_id}/stop", summary="Stop; what was written is kept")
    async def stop_turn(turn_id: str) -> TurnView:  # pyright: ignore[reportUnusedFunction]
        return show_turn(await services.scheduler.stop(turn_id))

    @router.post("/turns/{turn_id}/continue", status_code=202, summary="Go on with an answer that stopped, failed or became too long")  # fmt: skip
    async def continue_turn(turn_id: str) -> TurnView:  # pyright: ignore[reportUnusedFunction]
        lease = services.scheduler.make_lease()
        turn = await turns.resume(turn_id, lease)
        await services.scheduler.submit(turn, lease, fresh=False)
        return show_turn(turn)

    return router


async def _join(services: Services, turn_id: str, after: int) -> AsyncGenerator[bytes, None]:
    async for frames in services.turn_log.follow(turn_id, after):
        yield b"".join(frames)


def _sequence_number(last_event_id: str | None) -> int:
    if not last_event_id:
        return 0
    if not last_event_id.isdecimal() or len(last_event_id) > 15:
        raise BadRequest("Last-Event-ID is not a sequence number of this stream", param="Last-Event-ID")
    return int(last_event_id)


def show_turn(turn: Turn) -> TurnView:
    values = msgspec.structs.asdict(turn)
    return TurnView(**{name: values[name] for name in TurnView.model_fields})
