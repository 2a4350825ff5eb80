"""`/api`: conversations, their messages, durable turns and their events, search, models."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal, cast

import msgspec
from fastapi import APIRouter, Header, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from candide.domain.messages import Conversation, Message
from candide.domain.turns import Turn
from candide.errors import BadRequest, EngineUnavailable
from candide.server.services import Services
from candide.server.sse import EventStream
from candide.store.turns import UNSET

MAX_TEXT_CHARS = 4_000_000


def check_text(text: str) -> str:
    """Refuse what cannot be stored or shown: a NUL character, half of a surrogate pair."""
    if "\0" in text:
        raise ValueError("the text contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text is not Unicode: a lone surrogate stands at character {error.start}"
        ) from None
    return text


Text = Annotated[str, AfterValidator(check_text), Field(max_length=MAX_TEXT_CHARS)]
Name = Annotated[str, AfterValidator(check_text), Field(max_length=300)]
QueryText = Annotated[str, AfterValidator(check_text)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewConversation(_Body):
    title: Name = ""
    model: Name | None = None
    system_prompt: Text | None = None


class ConversationChanges(_Body):
    title: Name | None = None
    model: Name | None = None
    system_prompt: Text | None = None
    current_leaf_id: Name | None = None


class NewTurn(_Body):
    """A question, or `user_message_id` to have one answered again."""

    text: Text | None = None
    parent_id: Name | None = Field(default=None, description="The message that the question follows; the current leaf when absent, a new root when null.")  # fmt: skip
    user_message_id: Name | None = None
    model: Name | None = None
    params: dict[str, Any] = Field(
        default_factory=dict, description="Sampling parameters in the OpenAI shape."
    )


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


class Created(BaseModel):
    id: str


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


class FoundView(BaseModel):
    conversation_id: str
    conversation_title: str
    message_id: str
    role: str
    snippet: str
    highlights: list[tuple[int, int]] = Field(description="Spans [start, end) of the snippet, in characters.")
    created_at: float


class FoundPage(BaseModel):
    data: list[FoundView]


class ModelView(BaseModel):
    name: str
    default: bool
    engines: list[str]


class ModelPage(BaseModel):
    data: list[ModelView]


SAMPLING_PARAMS = frozenset({
    "temperature", "top_p", "top_k", "min_p", "seed", "stop", "max_tokens", "max_completion_tokens",
    "presence_penalty", "frequency_penalty", "repeat_penalty", "logit_bias", "chat_template_kwargs", "reasoning_effort",
})  # fmt: skip


def build_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/api")
    conversations, turns = services.conversations, services.turns

    @router.post("/conversations", status_code=201, tags=["conversations"], summary="Make a conversation")
    async def create_conversation(body: NewConversation | None = None) -> Created:  # pyright: ignore[reportUnusedFunction]
        body = body or NewConversation()
        await _check_model(services, body.model)
        made = await conversations.create(
            title=body.title, model=body.model, system_prompt=body.system_prompt
        )
        return Created(id=made)

    @router.get("/conversations", tags=["conversations"], summary="The conversations, last used first")
    async def list_conversations(  # pyright: ignore[reportUnusedFunction]
        limit: Annotated[int, Query(ge=1, le=500)] = 50, before: QueryText | None = None
    ) -> ConversationPage:
        found = await conversations.list(limit=limit + 1, before=before)
        page = found[:limit]
        following = page[-1].id if len(found) > limit else None
        return ConversationPage(data=[_summary(c) for c in page], next=following)

    @router.get(
        "/conversations/{conversation_id}", tags=["conversations"], summary="A conversation and its tree"
    )
    async def get_conversation(conversation_id: str) -> ConversationView:  # pyright: ignore[reportUnusedFunction]
        conversation, tree = await conversations.load(conversation_id)
        return ConversationView(
            **_summary(conversation).model_dump(), messages=[_message(message) for message in tree]
        )

    @router.patch(
        "/conversations/{conversation_id}", tags=["conversations"], summary="Rename, switch model or branch"
    )
    async def update_conversation(  # pyright: ignore[reportUnusedFunction]
        conversation_id: str, body: ConversationChanges
    ) -> ConversationSummary:
        changes = body.model_dump(exclude_unset=True)
        if changes.get("title", "") is None:
            raise BadRequest("title: a title is text; an empty one lets the model write it", param="title")
        await _check_model(services, body.model)
        return _summary(await conversations.update(conversation_id, changes))

    @router.delete("/conversations/{conversation_id}", status_code=204, tags=["conversations"], summary="Delete; restore undoes it")  # fmt: skip
    async def delete_conversation(conversation_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await conversations.delete(conversation_id)

    @router.post("/conversations/{conversation_id}/restore", status_code=204, tags=["conversations"], summary="Undo a deletion")  # fmt: skip
    async def restore_conversation(conversation_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await conversations.restore(conversation_id)

    @router.post("/conversations/{conversation_id}/turns", status_code=202, tags=["turns"], summary="Ask; the answer is written whether anyone listens or not")  # fmt: skip
    async def create_turn(  # pyright: ignore[reportUnusedFunction]
        conversation_id: str,
        body: NewTurn,
        idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
    ) -> TurnView:
        if (body.text is None) == (body.user_message_id is None):
            raise BadRequest("give either text or user_message_id", param="text")
        if body.text is not None and not body.text.strip():
            raise BadRequest("text: the question is empty", param="text")
        for name, value in body.params.items():
            if name not in SAMPLING_PARAMS:
                raise BadRequest(f"params.{name} is not a sampling parameter", param=f"params.{name}")
            try:
                _check_value(value)
            except ValueError as error:
                raise BadRequest(f"params.{name}: {error}", param=f"params.{name}") from None
        await _check_model(services, body.model)
        lease = services.scheduler.make_lease()
        turn = await turns.accept(
            conversation_id,
            text=body.text,
            parent_id=body.parent_id if "parent_id" in body.model_fields_set else UNSET,
            user_message_id=body.user_message_id,
            model=body.model or "",
            params=body.params,
            idempotency_key=idempotency_key or None,
            lease=lease,
        )
        await services.scheduler.submit(turn, lease)
        return _turn(turn)

    @router.get("/turns/{turn_id}", tags=["turns"], summary="A turn's state")
    async def get_turn(turn_id: str) -> TurnView:  # pyright: ignore[reportUnusedFunction]
        return _turn(await turns.get(turn_id))

    @router.get(
        "/turns/{turn_id}/events",
        tags=["turns"],
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

    @router.post("/turns/{turn_id}/stop", tags=["turns"], summary="Stop; what was written is kept")
    async def stop_turn(turn_id: str) -> TurnView:  # pyright: ignore[reportUnusedFunction]
        return _turn(await services.scheduler.stop(turn_id))

    @router.get("/search", tags=["search"], summary="Find messages by their words, in any language")
    async def search(  # pyright: ignore[reportUnusedFunction]
        q: Annotated[QueryText, Query(max_length=1000)], limit: Annotated[int, Query(ge=1, le=200)] = 20
    ) -> FoundPage:
        found = await conversations.search(q, limit)
        return FoundPage(data=[FoundView(**msgspec.structs.asdict(f)) for f in found])

    @router.get("/models", tags=["models"], summary="The models that can be asked")
    async def list_models() -> ModelPage:  # pyright: ignore[reportUnusedFunction]
        found = await services.routes.models()
        default = services.routes.default or (found[0].name if found else "")
        return ModelPage(
            data=[
                ModelView(
                    name=m.name, default=m.name == default, engines=[route.engine.name for route in m.routes]
                )
                for m in found
            ]
        )

    return router


async def _check_model(services: Services, name: str | None) -> None:
    """Refuse a model that does not exist, before anything is kept of the request; raises NotFound.

    While an engine that might have it cannot be asked, the question is accepted all the same.
    """
    if name:
        with contextlib.suppress(EngineUnavailable):
            await services.routes.resolve(name)


async def _join(services: Services, turn_id: str, after: int) -> AsyncGenerator[bytes, None]:
    async for frames in services.turn_log.follow(turn_id, after):
        yield b"".join(frames)


def _check_value(value: Any) -> None:
    """Refuse in JSON of any shape what the engine could not be sent; raises ValueError."""
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("the number is not finite")
    elif isinstance(value, list):
        for member in cast("list[Any]", value):
            _check_value(member)
    elif isinstance(value, dict):
        for name, member in cast("dict[str, Any]", value).items():
            check_text(name)
            _check_value(member)


def _sequence_number(last_event_id: str | None) -> int:
    if not last_event_id:
        return 0
    if not last_event_id.isdecimal() or len(last_event_id) > 15:
        raise BadRequest("Last-Event-ID is not a sequence number of this stream", param="Last-Event-ID")
    return int(last_event_id)


def _summary(conversation: Conversation) -> ConversationSummary:
    return ConversationSummary(**msgspec.structs.asdict(conversation))


def _message(message: Message) -> MessageView:
    values = msgspec.structs.asdict(message)
    del values["conversation_id"]
    return MessageView(**values)


def _turn(turn: Turn) -> TurnView:
    values = msgspec.structs.asdict(turn)
    return TurnView(**{name: values[name] for name in TurnView.model_fields})
