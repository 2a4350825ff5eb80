"""`/v1/responses`: answers that can be kept, read again and continued; in the background, durable turns.

A response in the background, or one that is searched for, is a turn of a conversation of its own: in the background
it goes on when the client has gone and when the server was killed, and its events can be read again from any number.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from candide.domain.grounding import Grounding
from candide.domain.ids import new_id
from candide.domain.sources import NumberedSource
from candide.domain.turns import (
    CitationsChecked,
    ReasoningDelta,
    SearchStarted,
    SourcesFound,
    TextDelta,
    Turn,
    TurnEvent,
    TurnFailed,
    TurnFinished,
)
from candide.errors import BadRequest, CandideError, EngineBroke
from candide.server.disconnect import UntilGone
from candide.server.failures import ERROR_REPLIES, internal_error
from candide.server.openai.hidden_turns import (
    TurnServices,
    accept_turn,
    explain_failure,
    find_known_sources,
    follow_events,
    stopped_if_left,
)
from candide.server.openai.response_events import Event, ResponseWriter, encode_event
from candide.server.openai.response_wire import ResponseRequest, to_chat_messages
from candide.server.openai.search_tools import Places, read_wishes
from candide.server.openai.streams import OpenStream, open_stream
from candide.server.requests import StrictRoute
from candide.server.routers import make_router
from candide.server.sse import EventStream
from candide.store.responses import ResponseStore, StoredResponse

CHAT_PATH = "/chat/completions"
PARAMS = {
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
}
"""Parameters of a chat request, and what they are called here."""


class ResponseServices(TurnServices, Places, Protocol):
    """What this API needs of the server's services."""

    responses: ResponseStore


class DeletedResponse(BaseModel):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


def build_responses_router(services: ResponseServices) -> APIRouter:
    router = make_router("/v1", "OpenAI API", route_class=StrictRoute)

    @router.post("/responses", summary="Create a response", responses=ERROR_REPLIES)
    async def create_response(body: ResponseRequest, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        writing = await begin_writing(services, body)
        if body.background or body.searches:
            return await answer_by_turn(services, writing, body, request)
        with _params_of_responses():
            async with UntilGone(request.receive):
                if body.stream:
                    asked = {**writing.asked, "stream_options": {"include_usage": True}}
                    stream = await open_stream(lambda: services.routes.open_chat(body.model, asked))
                    return EventStream(write_events(services, writing, stream))
                reply = await services.routes.post(body.model, CHAT_PATH, writing.asked)
        try:
            choice: dict[str, Any] = reply["choices"][0]
            message: dict[str, Any] = choice["message"]
        except (KeyError, IndexError, TypeError) as error:
            raise EngineBroke("the engine's reply holds no answer") from error
        writer = ResponseWriter(writing.body)
        writer.feed(message)
        writer.finish(choice.get("finish_reason"), reply.get("usage"))
        await keep(services, writing)
        return _json(writing.body)

    @router.get("/responses/{response_id}", summary="Retrieve a response", responses=ERROR_REPLIES)
    async def retrieve_response(  # pyright: ignore[reportUnusedFunction]
        response_id: str,
        stream: bool = False,
        starting_after: Annotated[int, Query(ge=0)] | None = None,
        include: Annotated[list[str], Query()] = [],  # noqa: B006
        include_: Annotated[list[str], Query(alias="include[]", include_in_schema=False)] = [],  # noqa: B006
    ) -> Response:
        stored = await services.responses.get(response_id)
        wanted = [*include, *include_]
        if stream:
            if stored.turn_id is None:
                raise BadRequest("only a response in the background can be streamed again", param="stream")
            after = -1 if starting_after is None else starting_after
            return EventStream(follow_turn(services, stored, after, include=wanted))
        return _json((await read_turn(services, stored, include=wanted)).body)

    @router.delete("/responses/{response_id}", summary="Delete a response", responses=ERROR_REPLIES)
    async def delete_response(response_id: str) -> DeletedResponse:  # pyright: ignore[reportUnusedFunction]
        stored = await services.responses.get(response_id)
        if stored.turn_id is not None:
            await services.scheduler.stop(stored.turn_id)
        await services.responses.delete(response_id)
        return DeletedResponse(id=response_id)

    @router.post("/responses/{response_id}/cancel", summary="Cancel a response", responses=ERROR_REPLIES)
    async def cancel_response(response_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        stored = await services.responses.get(response_id)
        if stored.turn_id is None or not stored.body["background"]:
            raise BadRequest("only a response in the background can be cancelled", param="response_id")
        await services.scheduler.stop(stored.turn_id)
        # Its end is an event like any other: when it is there, so is everything that was written.
        async for _ in services.turn_log.follow(stored.turn_id, 0):
            pass
        return _json((await read_turn(services, stored)).body)

    @router.get("/responses/{response_id}/input_items", summary="List the input of a response", responses=ERROR_REPLIES)  # fmt: skip
    async def list_input_items(  # pyright: ignore[reportUnusedFunction]
        response_id: str,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
    ) -> Response:
        items = (await services.responses.get(response_id)).input_items
        if order == "desc":
            items = items[::-1]
        ids = [item["id"] for item in items]
        if after is not None:
            if after not in ids:
                raise BadRequest(f"there is no item '{after}'", param="after")
            items = items[ids.index(after) + 1 :]
        page = items[:limit]
        return _json({
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > limit,
        })  # fmt: skip

    return router


class Writing(msgspec.Struct, kw_only=True):
    """A response on its way: what the engine is asked, what is shown, what is kept."""

    stored: StoredResponse
    asked: dict[str, Any]
    keeps: bool
    groundings: dict[int, Grounding] = {}
    """What earlier answers rest on, by their place among the messages."""

    @property
    def body(self) -> dict[str, Any]:
        return self.stored.body


async def begin_writing(services: ResponseServices, body: ResponseRequest) -> Writing:
    """Put together what came before and what is asked now. Raises NotFound for an unknown earlier response."""
    response_id = new_id("resp")
    items = body.input_items()
    own = to_chat_messages(items)
    messages: list[dict[str, Any]] = []
    groundings: dict[int, Grounding] = {}
    if body.instructions:
        messages.append({"role": "system", "content": body.instructions})
    if body.previous_response_id is not None:
        param = "previous_response_id"
        for earlier in await services.responses.chain(body.previous_response_id, param=param):
            messages += earlier.messages
            if earlier.turn_id is not None:
                written = await read_turn(services, earlier)
                messages += to_chat_messages(written.body["output"])
                if written.grounding is not None:
                    groundings[len(messages) - 1] = written.grounding
    messages += own
    now = time.time()
    keeps = body.store is not False or bool(body.background)
    stored = StoredResponse(
        id=response_id,
        previous_id=body.previous_response_id,
        body=make_body(body, response_id, int(now), store=keeps),
        input_items=[_shown_item(item, response_id, number) for number, item in enumerate(items)],
        messages=own,
        created_at=now,
    )
    asked = {**body.chat_params(), "messages": messages}
    return Writing(stored=stored, asked=asked, keeps=keeps, groundings=groundings)


def make_body(body: ResponseRequest, response_id: str, created_at: int, *, store: bool) -> dict[str, Any]:
    """The response object before anything is written."""
    sent = body.model_dump(exclude_none=True, by_alias=True)
    wanted: dict[str, Any] = sent.get("text") or {}
    reasoning: dict[str, Any] = sent.get("reasoning") or {}
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "completed_at": None,
        "status": "queued" if body.background else "in_progress",
        "background": bool(body.background),
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": None,
        "model": body.model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": "default",
        "store": store,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": {"format": {"type": "text"}, **wanted},
        "tool_choice": sent.get("tool_choice", "auto"),
        "tools": [
            {"strict": None, "parameters": None, **tool} if tool["type"] == "function" else tool
            for tool in sent.get("tools", ())
        ],
        "top_logprobs": 0,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": body.truncation or "disabled",
        "usage": None,
        "user": body.user,
        "metadata": body.metadata or {},
    }


def _shown_item(item: dict[str, Any], response_id: str, number: int) -> dict[str, Any]:
    suffix = f"{response_id.partition('_')[2]}{number:02d}"
    prefixes = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs",
                "file_search_call": "fs", "web_search_call": "ws"}  # fmt: skip
    shown = {"id": f"{prefixes[item['type']]}_in{suffix}", "status": "completed", **item}
    if isinstance(item.get("content"), str):
        kind = "output_text" if item["role"] == "assistant" else "input_text"
        shown["content"] = [{"type": kind, "text": item["content"]}]
    return shown


async def write_events(
    services: ResponseServices, writing: Writing, stream: OpenStream
) -> AsyncGenerator[bytes, None]:
    """A chat's frames as the events of a response; kept before the last one is shown."""
    writer = ResponseWriter(writing.body)
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    try:
        yield b"".join(map(encode_event, writer.begin()))
        try:
            async for batch in stream:
                events: list[Event] = []
                for payload in batch:
                    frame = _decode_frame(payload)
                    usage = frame.usage or usage
                    for choice in frame.choices[:1]:
                        events += writer.feed(choice.delta)
                        finish_reason = choice.finish_reason or finish_reason
                if events:
                    yield b"".join(map(encode_event, events))
            last = writer.finish(finish_reason, usage)
        except msgspec.DecodeError as error:
            last = writer.fail("server_error", f"engine '{stream.engine}' sent a malformed frame: {error}")
        except CandideError as error:
            last = writer.fail(_response_error_code(error.code), error.message)
        except Exception:  # noqa: BLE001 - the answer has begun: a bug ends it with an event too
            last = writer.fail("server_error", internal_error("a response")["error"]["message"])
        await keep(services, writing)
        yield b"".join(map(encode_event, last))
    finally:
        await stream.aclose()


class _Choice(msgspec.Struct):
    delta: dict[str, Any]
    finish_reason: str | None = None


class _Frame(msgspec.Struct):
    choices: list[_Choice]
    usage: dict[str, Any] | None = None


_decode_frame = msgspec.json.Decoder(_Frame).decode


async def keep(services: ResponseServices, writing: Writing) -> None:
    """Save a response that has ended, with its output as part of the chat, if the caller wants it kept."""
    if writing.keeps:
        stored = writing.stored
        stored.messages = [*stored.messages, *to_chat_messages(stored.body["output"])]
        await services.responses.save(stored)


# By a turn: its events are the response's.


async def answer_by_turn(
    services: ResponseServices, writing: Writing, body: ResponseRequest, request: Request
) -> Response:
    """Have a turn write the response. In the background it is the server's own; else it ends with its client."""
    stored, include = writing.stored, body.include or []
    turn = await submit_turn(services, writing, body)
    if body.background:
        return (
            EventStream(follow_turn(services, stored, -1, include=include))
            if body.stream
            else _json(stored.body)
        )
    if body.stream:
        return EventStream(_follow_while_wanted(services, writing, turn, include))
    async with UntilGone(request.receive):
        with stopped_if_left(services, turn, keeps=writing.keeps):
            async for _ in services.turn_log.follow(turn.id, 0):
                pass
    written = (await read_turn(services, stored, include=include)).body
    ended = (await services.turns.get(turn.id)).error
    await _let_go(services, writing, turn)
    if ended is not None:
        raise explain_failure(ended["code"], ended["message"], ended.get("hint"))
    return _json(written)


async def submit_turn(services: ResponseServices, writing: Writing, body: ResponseRequest) -> Turn:
    """Save the question, the turn that answers it, and the response that is to be kept; run the turn."""
    messages: list[dict[str, Any]] = writing.asked["messages"]
    params = {name: value for name, value in writing.asked.items() if name != "messages"}
    search = await read_wishes(services, body.tools or ()) if body.searches else None
    if "tools" in params:
        what = "in the background" if body.background else "beside those that search"
        raise BadRequest(f"functions cannot be called {what}", param="tools")
    if search is not None and "response_format" in params:
        raise BadRequest("an answer with citations is text", param="text.format")
    turn = await accept_turn(
        services, body.model, messages, params, search=search, groundings=writing.groundings
    )
    writing.stored.turn_id = turn.id
    if writing.keeps:
        await services.responses.save(writing.stored)
    await services.scheduler.submit(turn)
    return turn


async def _follow_while_wanted(
    services: ResponseServices, writing: Writing, turn: Turn, include: Sequence[str]
) -> AsyncGenerator[bytes, None]:
    with stopped_if_left(services, turn, keeps=writing.keeps):
        async for data in follow_turn(services, writing.stored, -1, include=include):
            yield data
    await _let_go(services, writing, turn)


async def _let_go(services: ResponseServices, writing: Writing, turn: Turn) -> None:
    """Remove the conversation of a response that its caller did not want kept."""
    if not writing.keeps:
        await services.conversations.erase(turn.conversation_id)


async def read_turn(
    services: ResponseServices, stored: StoredResponse, *, include: Sequence[str] = ()
) -> ResponseWriter:
    """The writer of a response as it is now; its body is the response object."""
    if stored.turn_id is None:
        return ResponseWriter(stored.body)
    turn = await services.turns.get(stored.turn_id)
    writer = await _make_writer(services, stored, {"output": []}, include)
    for logged in await services.turn_log.read(stored.turn_id, 0):
        _feed_turn_event(writer, logged.event)
    if writer.body["status"] == "queued" and turn.state == "running":
        writer.body["status"] = "in_progress"
    return writer


async def follow_turn(
    services: ResponseServices, stored: StoredResponse, after: int, *, include: Sequence[str] = ()
) -> AsyncGenerator[bytes, None]:
    """The events of a response that a turn writes, those numbered above `after`, to its end."""
    assert stored.turn_id is not None
    writer = await _make_writer(services, stored, {"status": "in_progress", "output": []}, include)
    events = writer.begin()
    yield b"".join(encode_event(event) for event in events if event["sequence_number"] > after)
    async for happened in follow_events(services.turn_log, stored.turn_id):
        events = [event for one in happened for event in _feed_turn_event(writer, one)]
        shown = [encode_event(event) for event in events if event["sequence_number"] > after]
        if shown:
            yield b"".join(shown)


async def _make_writer(
    services: ResponseServices, stored: StoredResponse, now: dict[str, Any], include: Sequence[str]
) -> ResponseWriter:
    assert stored.turn_id is not None
    known: dict[int, NumberedSource] = {}
    if stored.previous_id is not None and stored.body["tools"]:
        known = await find_known_sources(services, stored.turn_id)
    ended_at = (await services.turns.get(stored.turn_id)).finished_at
    return ResponseWriter({**stored.body, **now}, known=known, include=include, completed_at=ended_at)


def _feed_turn_event(writer: ResponseWriter, event: TurnEvent) -> list[Event]:
    match event:
        case TextDelta():
            return writer.feed({"content": event.text})
        case ReasoningDelta():
            return writer.feed({"reasoning_content": event.text})
        case SearchStarted():
            return writer.begin_search(event)
        case SourcesFound():
            return writer.end_search(event)
        case CitationsChecked():
            return writer.check(event)
        case TurnFinished(state="stopped"):
            return [writer.end("cancelled")]
        case TurnFinished():
            return writer.finish(event.finish_reason, event.usage)
        case TurnFailed():
            return writer.fail(_response_error_code(event.code), event.message)
        case _:
            return []


def _response_error_code(code: str) -> str:
    """The codes that OpenAI's clients know; the message says the rest."""
    return "rate_limit_exceeded" if code == "engine_overloaded" else "server_error"


@contextlib.contextmanager
def _params_of_responses() -> Generator[None]:
    """Says what is wrong with a chat request in the words of this API."""
    try:
        yield
    except BadRequest as error:
        if error.param is not None:
            for theirs, ours in PARAMS.items():
                error.param = error.param.replace(theirs, ours)
        raise


def _json(body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
