"""Conversations in and out: imports of whole files, exports of one conversation or of all."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import ClientDisconnect

from candide.errors import BadRequest
from candide.server.api.fields import check_text
from candide.server.routers import make_router
from candide.server.services import Services
from candide.store.imports import Import
from candide.transfer.exporter import Form

FileName = Annotated[str, AfterValidator(check_text), Query(min_length=1, max_length=255)]
FormName = Annotated[Form, Query(alias="format")]

_MEDIA_TYPES = {"json": "application/json", "chatgpt": "application/json", "markdown": "text/markdown"}


class SkippedView(BaseModel):
    title: str = Field(description="Of the conversation, or the name of the document.")
    reason: str


class ImportView(BaseModel):
    id: str
    name: str
    state: Literal["running", "finished", "failed"]
    received_bytes: int
    total_bytes: int
    read_bytes: int = Field(description="How far it has come, of `total_bytes`.")
    format: Literal["chatgpt", "open-webui", "candide"] | None
    added: int
    updated: int = Field(description="Conversations that were here and have got new messages.")
    unchanged: int
    skipped: list[SkippedView] = Field(description="What was left out, and why; at most 200.")
    skipped_count: int
    error: str | None
    created_at: float
    finished_at: float | None


class ImportPage(BaseModel):
    data: list[ImportView]


def build_router(services: Services) -> APIRouter:
    router = make_router("/api", "transfer")
    exporter, imports = services.exporter, services.imports

    @router.get(
        "/conversations/{conversation_id}/export",
        summary="A conversation as a document; docs/reference/export.md describes it",
        response_class=Response,
        responses={200: {"content": {"application/json": {}, "text/markdown": {}}}},
    )
    async def export_conversation(  # pyright: ignore[reportUnusedFunction]
        conversation_id: str, form: FormName = "json"
    ) -> Response:
        data = await exporter.export_one(conversation_id, form)
        return Response(data, media_type=_MEDIA_TYPES[form])

    @router.get(
        "/export",
        summary="All conversations and their files, as a ZIP",
        response_class=StreamingResponse,
        responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def export_all(form: FormName = "json") -> StreamingResponse:  # pyright: ignore[reportUnusedFunction]
        return StreamingResponse(
            exporter.export_all(form),
            media_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="candide-{form}.zip"'},
        )

    @router.post(
        "/imports",
        status_code=202,
        summary="Import a file: ChatGPT's export, Open WebUI's, or Candide's, as ZIP or JSON",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def begin_import(name: FileName, request: Request) -> ImportView:  # pyright: ignore[reportUnusedFunction]
        length = request.headers.get("content-length")
        try:
            made = await imports.receive(name, request.stream(), int(length) if length else None)
        except ClientDisconnect:
            raise BadRequest("the file breaks off", param="body") from None
        return _view(made)

    @router.get("/imports", summary="The imports, the latest first")
    async def list_imports() -> ImportPage:  # pyright: ignore[reportUnusedFunction]
        return ImportPage(data=[_view(one) for one in await imports.list()])

    @router.get("/imports/{import_id}", summary="How far an import has come")
    async def get_import(import_id: str) -> ImportView:  # pyright: ignore[reportUnusedFunction]
        return _view(await imports.get(import_id))

    return router


def _view(one: Import) -> ImportView:
    values = msgspec.to_builtins(one)
    values["received_bytes"] = one.total_bytes
    return ImportView(**{name: values[name] for name in ImportView.model_fields})
