"""What has changed, live: for pages that show more than one thing, or the same thing twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from fastapi import APIRouter

from candide import __version__
from candide.domain.ids import new_id
from candide.server.api.conversations import summarize
from candide.server.routers import make_router
from candide.server.services import Services
from candide.server.sse import EventStream

BATCH = 500
PAUSE_S = 0.03
"""Between two batches: what changes twice meanwhile is told once."""


def build_router(services: Services) -> APIRouter:
    router = make_router("/api", "changes")
    server_id = new_id("server")

    @router.get(
        "/changes",
        summary="What changes, as it does; nothing is replayed",
        description="Events: `hello` once, `conversation` with its summary after anything about it has changed; `folders`, `prompts`, `preferences`, `shares`, `libraries`, `jobs`, `status` with nothing. After a new connection, read afresh what you show.",
        response_class=EventStream,
        status_code=200,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def follow_changes() -> EventStream:  # pyright: ignore[reportUnusedFunction]
        return EventStream(_tell(services, {"version": __version__, "server": server_id}))

    return router


async def _tell(services: Services, hello: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    # Whoever has heard hello misses nothing that happens from then on.
    with services.changes.listen() as listener:
        yield _frame("hello", json.dumps(hello))
        while batch := await listener.next():
            kinds = [change.kind for change in batch if change.kind != "conversation"]
            frames = [_frame(kind, "{}") for kind in kinds]
            ids = [change.conversation_id for change in batch if change.kind == "conversation"]
            for start in range(0, len(ids), BATCH):
                frames += await _describe(services, ids[start : start + BATCH])
            if frames:
                yield b"".join(frames)
            await asyncio.sleep(PAUSE_S)


async def _describe(services: Services, ids: Sequence[str]) -> list[bytes]:
    found = {c.id: c for c in await services.conversations.find(ids)}
    summaries = await summarize(services, [found[i] for i in ids if i in found])
    return [_frame("conversation", summary.model_dump_json()) for summary in summaries]


def _frame(event: str, data: str) -> bytes:
    return f"event: {event}\ndata: {data}\n\n".encode()
