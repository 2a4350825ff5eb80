"""`/api`: one module a noun; `fields` is what their bodies share."""

from __future__ import annotations

from fastapi import APIRouter

from candide.server.api import conversations, models, search, turns
from candide.server.services import Services


def build_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/api")
    for noun in (conversations, turns, search, models):
        router.include_router(noun.build_router(services))
    return router
