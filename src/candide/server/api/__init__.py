"""`/api`: one module a noun; `fields` is what their bodies share."""

from __future__ import annotations

from fastapi import APIRouter

from candide.server.api import (
    changes,
    conversations,
    files,
    folders,
    messages,
    models,
    preferences,
    prompts,
    search,
    shares,
    turns,
)
from candide.server.services import Services


def build_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/api")
    router.include_router(conversations.build_router(services))
    router.include_router(turns.build_router(services))
    router.include_router(messages.build_router(services))
    router.include_router(folders.build_router(services))
    router.include_router(files.build_router(services))
    router.include_router(preferences.build_router(services))
    router.include_router(prompts.build_router(services))
    router.include_router(shares.build_router(services))
    router.include_router(changes.build_router(services))
    router.include_router(search.build_router(services))
    router.include_router(models.build_router(services))
    return router
