"""`/api`: one module a noun; `fields` is what their bodies share."""

from __future__ import annotations

from fastapi import APIRouter

from candide.server.api import (
    changes,
    conversations,
    files,
    folders,
    jobs,
    libraries,
    messages,
    models,
    passages,
    preferences,
    prompts,
    search,
    shares,
    sources,
    turns,
)
from candide.server.services import Services


def build_routers(services: Services) -> list[APIRouter]:
    return [
        module.build_router(services)
        for module in (
            turns, conversations, messages, folders, files, preferences, prompts, shares, changes, search, passages,
            libraries, sources, jobs, models,
        )
    ]  # fmt: skip
