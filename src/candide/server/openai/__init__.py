"""OpenAI's API under `/v1`: requests checked at the door, engines behind it, errors in its shape."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from candide.errors import NotFound
from candide.server.openai.chat import build_chat_router
from candide.server.openai.completions import build_completions_router
from candide.server.openai.embeddings import build_embeddings_router
from candide.server.openai.models import build_models_router
from candide.server.openai.responses import build_responses_router
from candide.server.openai.vector_stores import build_vector_stores_router
from candide.server.routers import make_router
from candide.server.services import Services


def build_routers(services: Services) -> list[APIRouter]:
    """Everything under `/v1`, what is not there included."""
    rest = make_router("/v1", "OpenAI API")

    @rest.api_route(
        "/{path:path}",
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        include_in_schema=False,
    )
    async def refuse_unknown_path(path: str, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        raise NotFound(f"unknown request URL: {request.method} /v1/{path}", code="unknown_url")

    return [
        build_chat_router(services),
        build_completions_router(services.routes),
        build_embeddings_router(services.routes),
        build_responses_router(services),
        build_models_router(services.routes),
        build_vector_stores_router(services),
        rest,
    ]
