"""Files of questions: taken in after a look at what they are, and given back without risk to the reader."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator

from candide.domain.media import find_image_type, is_text
from candide.domain.messages import StoredFile
from candide.errors import BadRequest, TooLarge
from candide.server.api.fields import check_text
from candide.server.api.messages import FileView
from candide.server.routers import make_router
from candide.server.services import Services

MAX_FILE_BYTES = 20 * 2**20

_TEXT_TYPES = frozenset({
    "application/json", "application/xml", "application/yaml", "application/toml", "application/javascript",
    "application/sql", "application/x-sh",
})  # fmt: skip

FileName = Annotated[str, AfterValidator(check_text), Query(min_length=1, max_length=255)]

DOWNLOAD = {
    200: {
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in ("image/png", "image/jpeg", "image/gif", "image/webp", "text/plain")
        }
    }
}


def build_router(services: Services) -> APIRouter:
    router = make_router("/api/files", "files")
    files = services.files

    @router.post(
        "",
        status_code=201,
        summary="Keep a PNG, JPEG, GIF or WebP image, or a text in UTF-8, to be attached to a question",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def add_file(name: FileName, request: Request) -> FileView:  # pyright: ignore[reportUnusedFunction]
        data = await _read(request, name)
        media_type = recognize(name, request.headers.get("content-type", ""), data)
        return FileView(**msgspec.structs.asdict(await files.add(name, media_type, data)))

    @router.get("/{file_id}", summary="A file as it was given", response_class=Response, responses=DOWNLOAD)  # type: ignore[arg-type]
    async def get_file(file_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return send_file(await files.get(file_id))

    return router


def send_file(stored: StoredFile) -> Response:
    """A file as a response: whatever is in it, a browser runs nothing of it."""
    file = stored.file
    where = "inline" if file.is_image else "attachment"
    return Response(
        stored.data,
        media_type=file.media_type if file.is_image else "text/plain",
        headers={
            "Content-Disposition": f"{where}; filename*=UTF-8''{quote(file.name, safe='')}",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            # Private: proxies need not keep what only this user may see.
            "Cache-Control": "private, max-age=31536000, immutable",
        },
    )


def recognize(name: str, content_type: str, data: bytes) -> str:
    """The media type by which a file is kept: an image's by its first bytes; raises BadRequest."""
    said = content_type.partition(";")[0].strip().lower()
    if media_type := find_image_type(data):
        return media_type
    if not data:
        raise BadRequest(f"the file '{name}' is empty", param="body")
    if not is_text(data):
        raise BadRequest(
            f"'{name}' is neither an image that can be read (PNG, JPEG, GIF, WebP) nor a text in UTF-8",
            param="body",
            hint="save it as text, or as one of these images",
            code="unsupported_file",
        )
    return said if said.startswith("text/") or said in _TEXT_TYPES else "text/plain"


async def _read(request: Request, name: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_FILE_BYTES:
            raise TooLarge(
                f"'{name}' is larger than {MAX_FILE_BYTES // 2**20} MiB", hint="attach a part of it"
            )
        parts.append(part)
    return b"".join(parts)
