"""`POST /v1/chat/completions`: stateless; a client that goes away ends the answer.

One with `web_search_options` is searched for, see `searched_chat`.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from candide.errors import EngineBroke
from candide.server.disconnect import UntilGone
from candide.server.failures import ERROR_REPLIES
from candide.server.openai.searched_chat import ChatServices, answer_with_search
from candide.server.openai.streams import open_stream, write_frames
from candide.server.openai.wire import ChatRequest
from candide.server.requests import StrictRoute
from candide.server.routers import make_router
from candide.server.sse import EventStream

PATH = "/chat/completions"


def build_chat_router(services: ChatServices) -> APIRouter:
    routes = services.routes
    router = make_router("/v1", "OpenAI API", route_class=StrictRoute)

    @router.post(PATH, summary="Create a chat completion", responses=ERROR_REPLIES)
    async def create_chat_completion(body: ChatRequest, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        asked = prepare_chat(body)
        if body.web_search_options is not None:
            return await answer_with_search(services, body, asked, request)
        async with UntilGone(request.receive):
            if body.stream:
                stream = await open_stream(lambda: routes.open_chat(body.model, asked))
                return EventStream(write_frames(stream, body.model))
            reply = await routes.post(body.model, PATH, asked)
        return Response(msgspec.json.encode(check_reply(reply, body.model)), media_type="application/json")

    return router


def prepare_chat(body: ChatRequest) -> dict[str, Any]:
    """The request as engines get it, without what means nothing to them."""
    asked = body.body()
    for name in ("model", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key",
                 "web_search_options"):  # fmt: skip
        asked.pop(name, None)
    if not asked.get("tools"):
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            asked.pop(name, None)
    return asked


def check_reply(reply: dict[str, Any], model: str) -> dict[str, Any]:
    """A whole answer under the name that the caller knows the model by."""
    choices: Any = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise EngineBroke("the engine's reply holds no answer")
    for choice in cast("list[Any]", choices):
        if not isinstance(choice, dict):
            raise EngineBroke("the engine's reply holds no answer")
    reply["model"] = model
    return reply
