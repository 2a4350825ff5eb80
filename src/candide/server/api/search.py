"""Search in what was said."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from candide.server.api.fields import QueryText
from candide.server.routers import make_router
from candide.server.services import Services
from candide.store.words import Found


class FoundView(BaseModel):
    conversation_id: str
    conversation_title: str
    message_id: str | None = Field(description="Null when it is the title that was found.")
    role: Literal["system", "user", "assistant", "tool", "title"]
    snippet: str
    highlights: list[tuple[int, int]] = Field(description="Spans [start, end) of the snippet, in characters.")
    created_at: float


class FoundPage(BaseModel):
    data: list[FoundView]


def build_router(services: Services) -> APIRouter:
    router = make_router("/api", "search")

    @router.get("/search", summary="Find messages and titles by their words, in any language")
    async def search(  # pyright: ignore[reportUnusedFunction]
        q: Annotated[QueryText, Query(max_length=1000)], limit: Annotated[int, Query(ge=1, le=200)] = 20
    ) -> FoundPage:
        found = await services.conversations.search(q, limit)
        return FoundPage(data=[_show(f) for f in found])

    return router


def _show(found: Found) -> FoundView:
    values: dict[str, Any] = msgspec.structs.asdict(found)
    return FoundView(**values)
