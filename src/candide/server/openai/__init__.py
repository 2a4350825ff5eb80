"""OpenAI's API under `/v1`: requests checked at the door, engines behind it, errors in its shape."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from candide.errors import NotFound
from candide.server.openai.chat import build_chat_router
from candide.server.openai.completions import build_completions_router
from candide.server.openai.embeddings import build_embeddings_router
from candide.server.openai.models import build_models_router
from candide.server.openai.responses import ResponseServices, build_responses_router
from candide.server.requests import StrictRoute


def build_router(services: ResponseServices) -> APIRouter:
    """Everything under `/v1`, what is not there included."""
    router = APIRouter(prefix="/v1", tags=["OpenAI API"], route_class=StrictRoute)
    router.include_router(build_chat_router(services.routes))
    router.include_router(build_completions_router(services.routes))
    router.include_router(build_embeddings_router(services.routes))
    router.include_router(build_responses_router(services))
    router.include_router(build_models_router(services.routes))

    @router.api_route(
        "/{path:path}",
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        include_in_schema=False,
    )
    async def refuse_unknown_path(path: str, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        raise NotFound(f"unknown request URL: {request.method} /v1/{path}", code="unknown_url")

    return router
