"""How this Candide stands: what answers here, and what is in its way."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from candide import __version__
from candide.domain.addresses import THIS_MACHINE
from candide.domain.engines import Model
from candide.errors import CandideError, Conflict
from candide.server.routers import make_router
from candide.server.services import Services

PATIENCE_S = 3.0
"""With an engine that is asked whether it answers."""


class EngineState(BaseModel):
    state: Literal["ready", "loading", "downloading", "missing", "unreachable"]
    message: str = ""
    hint: str = ""


class Download(BaseModel):
    model: str
    file: str
    received_bytes: int
    total_bytes: int | None
    bytes_per_s: float
    error: str | None = Field(description="Why it ended; `engine.hint` is the next step.")


class StatusView(BaseModel):
    version: str
    ready: bool = Field(description="Whether a question would be answered now.")
    home: str
    model: str = Field(description="The one that answers when none is named.")
    where: str = Field(description="Where that is: `this machine`, or the engine's host.")
    engine: EngineState
    searches_web: bool = Field(description="Whether answers can be looked for on the live web.")
    download: Download | None


def build_router(services: Services) -> APIRouter:
    router = make_router("/api/status", "state")

    @router.get("", summary="What answers here, and what is in its way")
    async def get_status() -> StatusView:  # pyright: ignore[reportUnusedFunction]
        return await _look(services)

    @router.post("/download", status_code=202, summary="Fetch the model that is missing, or try again")
    async def start_download() -> StatusView:  # pyright: ignore[reportUnusedFunction]
        if services.fetcher is None:
            raise Conflict("no model is to be fetched here", hint="candide models pull NAME gets others")
        services.fetcher.start()
        return await _look(services)

    return router


async def _look(services: Services) -> StatusView:
    routes = services.routes
    fetching = services.fetcher.fetching if services.fetcher else None
    model: Model | None = None
    if fetching is None:
        try:
            model = await asyncio.wait_for(routes.resolve(""), PATIENCE_S)
            engine = await _look_at_engine(services, model)
        except TimeoutError:
            engine = _unwell("unreachable", None)
        except CandideError as error:
            engine = _unwell("unreachable" if routes.unreachable else "missing", error)
    elif fetching.error is not None:
        engine = _unwell("missing", fetching.error)
    else:
        engine = EngineState(state="downloading", message=fetching.note)
    places = [routes_engine.location for routes_engine in routes.engines]
    return StatusView(
        version=__version__,
        ready=engine.state == "ready",
        home=services.home,
        model=model.name if model else routes.default or (fetching.model if fetching else ""),
        where=model.routes[0].engine.location
        if model
        else THIS_MACHINE
        if fetching
        else next(iter(places), ""),
        engine=engine,
        searches_web=services.searches_web,
        download=None
        if fetching is None
        else Download(
            model=fetching.model,
            file=fetching.file,
            received_bytes=fetching.received_bytes,
            total_bytes=fetching.total_bytes,
            bytes_per_s=fetching.bytes_per_s,
            error=fetching.error.message if fetching.error else None,
        ),
    )


async def _look_at_engine(services: Services, model: Model) -> EngineState:
    """How the first engine of a model stands. Raises CandideError or TimeoutError."""
    route = model.routes[0]
    embedded = services.embedded
    if embedded is None or route.engine is not embedded:
        await asyncio.wait_for(route.engine.models(), PATIENCE_S)
        return EngineState(state="ready")
    if embedded.is_loading(route.model):
        return EngineState(state="loading")
    if (failure := embedded.failure(route.model)) is not None:
        return _unwell("missing", failure)
    # One that was let go of while nobody asked is loaded by the next question, in a moment.
    return EngineState(state="ready")


def _unwell(state: Literal["missing", "unreachable"], error: CandideError | None) -> EngineState:
    if error is None:
        return EngineState(state=state, message="the engine does not answer", hint="candide doctor")
    return EngineState(state=state, message=error.message, hint=error.hint or "")
