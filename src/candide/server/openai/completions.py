"""`POST /v1/completions`, the protocol before chat: a prompt as it is, without a template."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from candide.engine.routes import Routes
from candide.errors import BadRequest, EngineBroke
from candide.server.disconnect import UntilGone
from candide.server.failures import ERROR_REPLIES
from candide.server.openai.streams import (
    decode_text_frame,
    open_stream,
    write_frames,
)
from candide.server.openai.wire import CompletionRequest
from candide.server.requests import StrictRoute
from candide.server.routers import make_router
from candide.server.sse import EventStream

PATH = "/completions"


def build_completions_router(routes: Routes) -> APIRouter:
    router = make_router("/v1", "OpenAI API", route_class=StrictRoute)

    @router.post(PATH, summary="Create a completion", responses=ERROR_REPLIES)
    async def create_completion(body: CompletionRequest, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        asked, echoed = prepare_completion(body)
        async with UntilGone(request.receive):
            if body.stream:
                stream = await open_stream(lambda: routes.open_stream(body.model, PATH, asked))
                return EventStream(write_frames(stream, body.model, decode_text_frame))
            reply = await routes.post(body.model, PATH, asked)
        choices: Any = reply.get("choices")
        if not isinstance(choices, list):
            raise EngineBroke("the engine's reply holds no text")
        for choice in cast("list[dict[str, Any]]", choices):
            if echoed:
                prompt = echoed[int(choice.get("index", 0)) // (body.n or 1) % len(echoed)]
                choice["text"] = prompt + choice["text"]
        reply["model"] = body.model
        return Response(msgspec.json.encode(reply), media_type="application/json")

    return router


def prepare_completion(body: CompletionRequest) -> tuple[dict[str, Any], list[str]]:
    """The request as engines get it, and the prompts to repeat before the answers. Raises BadRequest."""
    asked = body.body()
    asked.pop("model", None)
    if asked.pop("best_of", body.n or 1) != (body.n or 1):
        raise BadRequest("'best_of' other than 'n' is not supported", param="best_of")
    if not asked.pop("echo", False):
        return asked, []
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    if body.stream or body.logprobs is not None or not all(isinstance(prompt, str) for prompt in prompts):
        raise BadRequest(
            "'echo' is only supported for prompts of text, without 'stream' and 'logprobs'", param="echo"
        )
    return asked, cast("list[str]", prompts)
