"""Turns that answer a request of the OpenAI API: durable as any other, in a conversation that no list shows.

The messages so far become the conversation, with what earlier answers rest on, so that a source keeps its number.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Any, Protocol

import msgspec

from candide.domain.grounding import Grounding, SearchWishes, read_grounding
from candide.domain.ids import new_id
from candide.domain.messages import Conversation, Message
from candide.domain.sources import NumberedSource
from candide.domain.turns import Turn, TurnEvent, decode_event
from candide.engine.routes import Routes
from candide.errors import BadRequest, CandideError, EngineError
from candide.scheduler import TurnScheduler
from candide.store.conversations import ConversationStore
from candide.store.turn_log import TurnLog
from candide.store.turns import TurnStore

TITLE_CHARS = 60


class TurnServices(Protocol):
    """What running a turn needs of the server's services."""

    routes: Routes
    conversations: ConversationStore
    turns: TurnStore
    turn_log: TurnLog
    scheduler: TurnScheduler


async def accept_turn(
    services: TurnServices,
    model: str,
    messages: list[dict[str, Any]],
    params: dict[str, Any],
    *,
    search: SearchWishes | None = None,
    groundings: Mapping[int, Grounding] | None = None,
    param: str = "input",
) -> Turn:
    """Make a conversation of a chat's messages and a turn for the last one; both are on disk then.

    `groundings` are those of earlier answers, by their place among the messages. The caller submits the turn. Raises
    NotFound for a model that is not there, and BadRequest when the last message is not the user's.
    """
    await services.routes.resolve(model)
    *earlier, question = messages
    if question["role"] != "user":
        raise BadRequest("the last message of an answer that is searched for, or written in the background, must be the user's", param=param)  # fmt: skip
    system = "\n\n".join(text_of(m) for m in earlier if m["role"] in ("system", "developer"))
    now = time.time()
    conversation = Conversation(
        id=new_id("conv"),
        title=text_of(question)[:TITLE_CHARS] or "Response",
        current_leaf_id=None,
        model=model,
        system_prompt=system,
        created_at=now,
        updated_at=now,
    )
    tree: list[Message] = []
    for place, message in enumerate(earlier):
        if message["role"] in ("user", "assistant"):
            grounding = (groundings or {}).get(place)
            tree.append(
                Message(
                    id=new_id("msg"),
                    conversation_id=conversation.id,
                    parent_id=tree[-1].id if tree else None,
                    role=message["role"],
                    text=text_of(message),
                    created_at=now,
                    grounding=None if grounding is None else msgspec.to_builtins(grounding),
                )
            )
    conversation.current_leaf_id = tree[-1].id if tree else None
    await services.conversations.add_all(conversation, tree, hidden=True)
    content: str | list[dict[str, Any]] = question["content"]
    parts = content if isinstance(content, list) else []
    return await services.turns.accept(
        conversation.id,
        text=text_of(question),
        parts=[part for part in parts if part["type"] != "text"],
        model=model,
        params=params,
        search=search,
    )


async def follow_events(turn_log: TurnLog, turn_id: str) -> AsyncGenerator[list[TurnEvent]]:
    """The events of a turn from its first to its end, as they come; ends early when the server does."""
    async for frames in turn_log.follow(turn_id, 0):
        yield [decode_event(frame.partition(b"\ndata: ")[2].strip()) for frame in frames]


async def find_known_sources(services: TurnServices, turn_id: str) -> dict[int, NumberedSource]:
    """The sources of earlier answers in a turn's conversation, by number."""
    turn = await services.turns.get(turn_id)
    known: dict[int, NumberedSource] = {}
    for message in (await services.conversations.load(turn.conversation_id))[1]:
        grounding = read_grounding(message)
        if grounding is not None and message.id != turn.answer_message_id:
            known |= {source.number: source for source in grounding.sources}
    return known


CALLER_CODES = frozenset({"invalid_request", "not_found", "context_length_exceeded", "unsupported_content"})
"""Ends of a turn that asking otherwise would mend."""


def explain_failure(code: str, message: str, hint: str | None) -> CandideError:
    """What ended a turn, as the failure of the request that waited for it."""
    if code in CALLER_CODES:
        return BadRequest(message, hint=hint, code=code)
    return EngineError(message, hint=hint, code=code)


_stops: set[asyncio.Task[Any]] = set()


@contextlib.contextmanager
def stopped_if_left(services: TurnServices, turn: Turn, *, keeps: bool) -> Generator[None]:
    """Stop the turn when the block is broken off: whoever asked has gone, and nobody else reads it.

    Its conversation is removed then, unless it is kept.
    """
    try:
        yield
    except (GeneratorExit, asyncio.CancelledError):
        stop = asyncio.create_task(_abandon(services, turn, keeps=keeps))
        _stops.add(stop)
        stop.add_done_callback(_stops.discard)
        raise


async def _abandon(services: TurnServices, turn: Turn, *, keeps: bool) -> None:
    await services.scheduler.stop(turn.id)
    if not keeps:
        async for _ in services.turn_log.follow(turn.id, 0):
            pass
        await services.conversations.erase(turn.conversation_id)


def text_of(message: dict[str, Any]) -> str:
    """The text of a chat's message, that of its parts where it has several."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "\n".join(p["text"] for p in content if "text" in p)
