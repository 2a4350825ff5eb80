"""The models that can be asked."""

from __future__ import annotations

import contextlib

from fastapi import APIRouter
from pydantic import BaseModel

from candide.errors import EngineUnavailable
from candide.server.services import Services


class ModelView(BaseModel):
    name: str
    default: bool
    engines: list[str]


class ModelPage(BaseModel):
    data: list[ModelView]


def build_router(services: Services) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/models", summary="The models that can be asked")
    async def list_models() -> ModelPage:  # pyright: ignore[reportUnusedFunction]
        found = await services.routes.models()
        default = services.routes.default or (found[0].name if found else "")
        return ModelPage(
            data=[
                ModelView(
                    name=m.name, default=m.name == default, engines=[route.engine.name for route in m.routes]
                )
                for m in found
            ]
        )

    return router


async def check_model(services: Services, name: str | None) -> None:
    """Refuse a model that does not exist, before anything is kept of the request; raises NotFound.

    While an engine that might have it cannot be asked, the question is accepted all the same.
    """
    if name:
        with contextlib.suppress(EngineUnavailable):
            await services.routes.resolve(name)
