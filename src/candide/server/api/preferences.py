"""The user's preferences."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field

from candide.server.api.fields import PARAMS, Body, Name, Text, check_params
from candide.server.api.models import check_model
from candide.server.routers import make_router
from candide.server.services import Services
from candide.store.preferences import Preferences


class PreferencesView(BaseModel):
    instructions: str = Field(description="What is wanted of every answer.")
    params: dict[str, Any] = Field(description=PARAMS)
    model: str | None = Field(description="The model of conversations that name none; null: the server's default.")  # fmt: skip


class PreferenceChanges(Body):
    instructions: Text | None = None
    params: dict[str, Any] | None = Field(default=None, description=PARAMS)
    model: Name | None = None


def build_router(services: Services) -> APIRouter:
    router = make_router("/api/preferences", "preferences")
    preferences = services.preferences

    @router.get("", summary="The user's preferences")
    async def get_preferences() -> PreferencesView:  # pyright: ignore[reportUnusedFunction]
        return _show(await preferences.get())

    @router.patch("", summary="Change preferences; null takes one back")
    async def update_preferences(body: PreferenceChanges) -> PreferencesView:  # pyright: ignore[reportUnusedFunction]
        changes = body.model_dump(exclude_unset=True)
        if "instructions" in changes:
            changes["instructions"] = changes["instructions"] or ""
        if "params" in changes:
            changes["params"] = body.params or {}
            check_params(body.params or {})
        if "model" in changes:
            changes["model"] = changes["model"] or None
        await check_model(services, body.model)
        return _show(await preferences.update(changes))

    return router


def _show(preferences: Preferences) -> PreferencesView:
    return PreferencesView(**msgspec.structs.asdict(preferences))
