"""A chat completion that is searched for on the web: `web_search_options` in the request, annotations in the answer.

A turn writes it, in a conversation that is removed when the answer is there: a chat keeps nothing. Its text is checked
before it is shown, in a stream as well, because a chat's frames cannot take anything back and annotations count
characters of the whole answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any, Protocol

import msgspec
from fastapi import Request
from starlette.responses import Response

from candide.domain.grounding import SearchWishes
from candide.domain.ids import new_id
from candide.domain.turns import (
    CitationsChecked,
    SourcesFound,
    Turn,
    TurnEvent,
    TurnFailed,
    TurnFinished,
    join_text,
)
from candide.errors import BadRequest, EngineBroke
from candide.server.disconnect import UntilGone
from candide.server.openai.citations import annotate
from candide.server.openai.hidden_turns import (
    TurnServices,
    accept_turn,
    explain_failure,
    follow_events,
    stopped_if_left,
)
from candide.server.openai.response_events import describe_check
from candide.server.openai.search_tools import Places, check_web
from candide.server.openai.streams import DONE, describe_failure
from candide.server.openai.wire import ChatRequest
from candide.server.sse import EventStream

NOT_TOGETHER = ("tools", "functions", "logprobs", "top_logprobs", "response_format", "grammar")
"""Of a request, what an answer with citations cannot be made with."""


class ChatServices(TurnServices, Places, Protocol):
    """What chats need of the server's services."""


async def answer_with_search(
    services: ChatServices, body: ChatRequest, asked: dict[str, Any], request: Request
) -> Response:
    """The chat completion, or its stream. Raises BadRequest for what does not go with a search."""
    check_web(services, "web_search_options")
    for name in NOT_TOGETHER:
        if asked.get(name) and asked[name] != {"type": "text"}:
            raise BadRequest(f"'{name}' does not go with 'web_search_options'", param=name)
    if (body.n or 1) > 1:
        raise BadRequest("one answer at a time is searched for", param="n")
    params = {
        name: value
        for name, value in asked.items()
        if name not in ("messages", "stream", "stream_options", "n")
    }
    turn = await accept_turn(
        services, body.model, asked["messages"], params, search=SearchWishes(web=True), param="messages"
    )
    await services.scheduler.submit(turn)
    if body.stream:
        return EventStream(_stream(services, body, turn))
    async with UntilGone(request.receive):
        with stopped_if_left(services, turn, keeps=False):
            events = await _read(services, turn)
    message, finish_reason, usage, said = _finish(events)
    choice = {
        "index": 0,
        "message": {**message, "refusal": None},
        "logprobs": None,
        "finish_reason": finish_reason,
    }
    reply = _head(body.model, "chat.completion") | {"choices": [choice], "usage": usage, **said}
    return Response(msgspec.json.encode(reply), media_type="application/json")


async def _stream(services: ChatServices, body: ChatRequest, turn: Turn) -> AsyncGenerator[bytes, None]:
    head = _head(body.model, "chat.completion.chunk")

    def frame(choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + msgspec.json.encode({**head, "choices": choices, **more}) + b"\n\n"

    def delta(**written: Any) -> bytes:
        return frame([{"index": 0, "delta": written, "logprobs": None, "finish_reason": None}])

    try:
        yield delta(role="assistant", content="")
        with stopped_if_left(services, turn, keeps=False):
            events = await _read(services, turn)
        message, finish_reason, usage, said = _finish(events)
        end = {
            "delta": {"annotations": message["annotations"]},
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        yield delta(content=message["content"]) + frame([{"index": 0, **end}], **said)
        if body.includes_usage:
            yield frame([], usage=usage)
        yield DONE
    except Exception as error:  # noqa: BLE001 - the answer has begun: a bug ends it with a frame too
        yield b"data: " + msgspec.json.encode(describe_failure(error)) + b"\n\n"


async def _read(services: ChatServices, turn: Turn) -> list[TurnEvent]:
    """All events of the turn, whose conversation is removed then. Raises EngineBroke when the server ends before it."""
    events = [event async for batch in follow_events(services.turn_log, turn.id) for event in batch]
    if not events or not isinstance(events[-1], TurnFinished | TurnFailed):
        raise EngineBroke("the server was stopped")
    await services.conversations.erase(turn.conversation_id)
    return events


def _finish(events: list[TurnEvent]) -> tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]:
    """The message, how it ended, its usage, and what the check says of it. Raises what ended the turn."""
    end = events[-1]
    if isinstance(end, TurnFailed):
        raise explain_failure(end.code, end.message, end.hint)
    assert isinstance(end, TurnFinished)
    text = join_text(events)
    annotations: list[dict[str, Any]] = []
    found = next((one for one in events if isinstance(one, SourcesFound)), None)
    checked = next((one for one in reversed(events) if isinstance(one, CitationsChecked)), None)
    if found is not None and checked is not None:
        sources = {source.number: source for source in found.sources}
        sentences = [*checked.sentences, *checked.extract]
        annotations = [
            {"type": one.pop("type"), "url_citation": one}
            for one in annotate(text, sentences, sources, files=False)
            if one["type"] == "url_citation"
        ]
    finish_reason = end.finish_reason if end.finish_reason in ("length", "content_filter") else "stop"
    message = {"role": "assistant", "content": text, "annotations": annotations}
    # Where OpenAI has a completion's own metadata, which its clients keep.
    metadata = {} if checked is None else describe_check(checked)
    return message, finish_reason, end.usage, {"metadata": metadata} if metadata else {}


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": new_id("chatcmpl"), "object": kind, "created": int(time.time()), "model": model}
