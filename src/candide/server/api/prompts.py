"""Prompts that the user keeps."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel

from candide.errors import BadRequest
from candide.server.api.fields import Body, Label, Text
from candide.server.routers import make_router
from candide.server.services import Services
from candide.store.prompts import Prompt


class NewPrompt(Body):
    name: Label
    text: Text


class PromptChanges(Body):
    name: Label | None = None
    text: Text | None = None


class PromptView(BaseModel):
    id: str
    name: str
    text: str
    created_at: float


class PromptPage(BaseModel):
    data: list[PromptView]


def build_router(services: Services) -> APIRouter:
    router = make_router("/api/prompts", "prompts")
    prompts = services.prompts

    @router.get("", summary="The prompts, by name")
    async def list_prompts() -> PromptPage:  # pyright: ignore[reportUnusedFunction]
        return PromptPage(data=[_show(prompt) for prompt in await prompts.list()])

    @router.post("", status_code=201, summary="Keep a prompt")
    async def create_prompt(body: NewPrompt) -> PromptView:  # pyright: ignore[reportUnusedFunction]
        return _show(await prompts.create(body.name, body.text))

    @router.patch("/{prompt_id}", summary="Change a prompt")
    async def update_prompt(prompt_id: str, body: PromptChanges) -> PromptView:  # pyright: ignore[reportUnusedFunction]
        changes = body.model_dump(exclude_unset=True)
        for name, value in changes.items():
            if value is None:
                raise BadRequest(f"{name}: a prompt needs a {name}", param=name)
        return _show(await prompts.update(prompt_id, changes))

    @router.delete("/{prompt_id}", status_code=204, summary="Delete; restore undoes it")
    async def delete_prompt(prompt_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await prompts.delete(prompt_id)

    @router.post("/{prompt_id}/restore", status_code=204, summary="Undo a deletion")
    async def restore_prompt(prompt_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await prompts.restore(prompt_id)

    return router


def _show(prompt: Prompt) -> PromptView:
    return PromptView(**msgspec.structs.asdict(prompt))
