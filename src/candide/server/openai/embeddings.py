"""`POST /v1/embeddings`: vectors as numbers or in base64, shortened where that is asked for."""

from __future__ import annotations

import base64
import math
from array import array
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from candide.engine.routes import Routes
from candide.errors import BadRequest, EngineBroke
from candide.server.disconnect import UntilGone
from candide.server.failures import ERROR_REPLIES
from candide.server.openai.wire import EmbeddingRequest
from candide.server.requests import StrictRoute
from candide.server.routers import make_router

PATH = "/embeddings"


class _Entry(msgspec.Struct):
    embedding: list[float] | str
    index: int = 0


class _Reply(msgspec.Struct):
    data: list[_Entry]
    usage: dict[str, Any] = {}


def build_embeddings_router(routes: Routes) -> APIRouter:
    router = make_router("/v1", "OpenAI API", route_class=StrictRoute)

    @router.post(PATH, summary="Create embeddings", responses=ERROR_REPLIES)
    async def create_embeddings(body: EmbeddingRequest, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        # Asked for as numbers: to shorten a vector one has to see it.
        asked = {**body.body(), "encoding_format": "float"}
        async with UntilGone(request.receive):
            sent = await routes.post(body.model, PATH, asked)
        try:
            reply = msgspec.convert(sent, _Reply)
        except msgspec.ValidationError as error:
            raise EngineBroke(f"the engine's reply holds no embeddings: {error}") from error
        data: list[dict[str, Any]] = []
        for entry in sorted(reply.data, key=lambda entry: entry.index):
            vector = shorten(_read_vector(entry.embedding), body.dimensions)
            value = encode(vector) if body.encoding_format == "base64" else vector
            data.append({"object": "embedding", "index": entry.index, "embedding": value})
        usage = {"prompt_tokens": 0, "total_tokens": 0, **reply.usage}
        return Response(
            msgspec.json.encode({"object": "list", "data": data, "model": body.model, "usage": usage}),
            media_type="application/json",
        )

    return router


def _read_vector(value: list[float] | str) -> list[float]:
    return array("f", base64.b64decode(value)).tolist() if isinstance(value, str) else value


def shorten(vector: list[float], dimensions: int | None) -> list[float]:
    """The first `dimensions` numbers, made a vector of length 1 again; raises BadRequest when there are fewer."""
    if dimensions is None or dimensions == len(vector):
        return vector
    if dimensions > len(vector):
        raise BadRequest(
            f"the model's embeddings have {len(vector)} dimensions, not {dimensions}", param="dimensions"
        )
    cut = vector[:dimensions]
    length = math.sqrt(sum(number * number for number in cut)) or 1.0
    return [number / length for number in cut]


def encode(vector: list[float]) -> str:
    """Little-endian 32-bit floats in base64, as OpenAI's clients read them."""
    numbers = array("f", vector)
    return base64.b64encode(numbers.tobytes()).decode("ascii")
