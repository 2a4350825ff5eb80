"""The models that can be asked."""

from __future__ import annotations

import contextlib

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field

from candide.domain.engines import Model
from candide.errors import EngineUnavailable
from candide.server.routers import make_router
from candide.server.services import Services


class ModelView(BaseModel):
    """A model at the first engine that has it; null and "" stand for what nobody tells."""

    name: str
    default: bool
    engines: list[str]
    description: str = ""
    size_bytes: int | None = None
    context_tokens: int | None = None
    location: str = Field(description="`this machine`, or the engine's host.")
    cost: str = Field("", description="For people; `free` on one's own machine.")
    vision: bool | None = Field(None, description="Whether it takes images.")
    loaded: bool | None = Field(None, description="Whether it answers without being loaded first.")


class ModelPage(BaseModel):
    data: list[ModelView]


def build_router(services: Services) -> APIRouter:
    router = make_router("/api", "models")

    @router.get("/models", summary="The models that can be asked")
    async def list_models() -> ModelPage:  # pyright: ignore[reportUnusedFunction]
        found = await services.routes.models()
        is_fetching = services.fetcher is not None and services.fetcher.fetching is not None
        default = services.routes.default or (found[0].name if found and not is_fetching else "")
        return ModelPage(data=[await _view(model, default) for model in found])

    return router


async def _view(model: Model, default: str) -> ModelView:
    first = model.routes[0]
    return ModelView(
        name=model.name,
        default=model.name == default,
        engines=[route.engine.name for route in model.routes],
        location=first.engine.location,
        **msgspec.structs.asdict(await first.engine.describe(first.model)),
    )


async def check_model(services: Services, name: str | None) -> None:
    """Refuse a model that does not exist, before anything is kept of the request; raises NotFound.

    While an engine that might have it cannot be asked, the question is accepted all the same.
    """
    if name:
        with contextlib.suppress(EngineUnavailable):
            await services.routes.resolve(name)
