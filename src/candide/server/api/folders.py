"""Folders of conversations."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field

from candide.errors import BadRequest
from candide.server.api.fields import Body, Label, Text
from candide.server.routers import make_router
from candide.server.services import Services
from candide.store.folders import Folder


class NewFolder(Body):
    name: Label
    instructions: Text | None = Field(
        default=None, description="What is wanted of every answer in the folder's conversations."
    )


class FolderChanges(Body):
    name: Label | None = None
    instructions: Text | None = None


class FolderView(BaseModel):
    id: str
    name: str
    instructions: str | None
    created_at: float
    conversations: int = Field(description="How many stand in it, the archived ones among them.")


class FolderPage(BaseModel):
    data: list[FolderView]


def build_router(services: Services) -> APIRouter:
    router = make_router("/api/folders", "folders")
    folders = services.folders

    @router.get("", summary="The folders, by name")
    async def list_folders() -> FolderPage:  # pyright: ignore[reportUnusedFunction]
        return FolderPage(data=[_show(folder) for folder in await folders.list()])

    @router.post("", status_code=201, summary="Make a folder")
    async def create_folder(body: NewFolder) -> FolderView:  # pyright: ignore[reportUnusedFunction]
        return _show(await folders.create(body.name, body.instructions))

    @router.patch("/{folder_id}", summary="Rename, or change the instructions")
    async def update_folder(folder_id: str, body: FolderChanges) -> FolderView:  # pyright: ignore[reportUnusedFunction]
        changes = body.model_dump(exclude_unset=True)
        if changes.get("name", "") is None:
            raise BadRequest("name: a folder needs a name", param="name")
        return _show(await folders.update(folder_id, changes))

    @router.delete("/{folder_id}", status_code=204, summary="Delete; its conversations stay, and restore undoes it")  # fmt: skip
    async def delete_folder(folder_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await folders.delete(folder_id)

    @router.post("/{folder_id}/restore", status_code=204, summary="Undo a deletion")
    async def restore_folder(folder_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await folders.restore(folder_id)

    return router


def _show(folder: Folder) -> FolderView:
    return FolderView(**msgspec.structs.asdict(folder))
