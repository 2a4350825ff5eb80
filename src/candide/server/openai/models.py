"""`GET /v1/models` and `GET /v1/models/{id}`."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from candide.domain.engines import Model
from candide.engine.routes import Routes
from candide.errors import NotFound
from candide.server.failures import ERROR_REPLIES
from candide.server.requests import StrictRoute
from candide.server.routers import make_router


class ModelObject(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelObject]


def build_models_router(routes: Routes) -> APIRouter:
    router = make_router("/v1", "OpenAI API", route_class=StrictRoute)

    @router.get("/models", summary="List the models", responses={503: ERROR_REPLIES[503]})
    async def list_models() -> ModelList:  # pyright: ignore[reportUnusedFunction]
        return ModelList(data=[_describe(model) for model in await routes.models()])

    # A path: the names of models hold slashes, as in `owner/name`.
    @router.get("/models/{model:path}", summary="Retrieve a model", responses=ERROR_REPLIES)
    async def retrieve_model(model: str) -> ModelObject:  # pyright: ignore[reportUnusedFunction]
        if not model:
            raise NotFound("the name of the model is missing", param="model", code="model_not_found")
        return _describe(await routes.resolve(model))

    return router


def _describe(model: Model) -> ModelObject:
    return ModelObject(id=model.name, created=model.created_at, owned_by=model.owner)
