"""Files of questions: taken in after a look at what they are, and given back without risk to the reader."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator

from candide.domain.messages import StoredFile
from candide.errors import TooLarge
from candide.server.api.fields import check_text
from candide.server.api.messages import FileView
from candide.server.routers import make_router
from candide.server.services import Services

MAX_FILE_BYTES = 20 * 2**20

FileName = Annotated[str, AfterValidator(check_text), Query(min_length=1, max_length=255)]

DOWNLOAD = {
    200: {
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in (
                "image/png",
                "image/jpeg",
                "image/gif",
                "image/webp",
                "text/plain",
                "application/octet-stream",
            )
        }
    }
}


def build_router(services: Services) -> APIRouter:
    router = make_router("/api/files", "files")

    @router.post(
        "",
        status_code=201,
        summary="Keep an image, a text or a document, to be attached to a question",
        description="Images are PNG, JPEG, GIF and WebP. Of a document (PDF, Word, PowerPoint, Excel, OpenDocument, EPUB, "
        "HTML, e-mail) the model is given the text; one without text that can be read is refused.",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def add_file(name: FileName, request: Request) -> FileView:  # pyright: ignore[reportUnusedFunction]
        data = await _read(request, name)
        file = await services.attachments.add(name, request.headers.get("content-type", ""), data)
        return FileView(**msgspec.structs.asdict(file))

    @router.get("/{file_id}", summary="A file as it was given", response_class=Response, responses=DOWNLOAD)  # type: ignore[arg-type]
    async def get_file(file_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return send_file(await services.files.get(file_id))

    return router


def send_file(stored: StoredFile) -> Response:
    """A file as a response: whatever is in it, a browser runs nothing of it."""
    file = stored.file
    where = "inline" if file.is_image else "attachment"
    plain = "text/plain" if stored.text is None else "application/octet-stream"
    return Response(
        stored.data,
        media_type=file.media_type if file.is_image else plain,
        headers={
            "Content-Disposition": f"{where}; filename*=UTF-8''{quote(file.name, safe='')}",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            # Private: proxies need not keep what only this user may see.
            "Cache-Control": "private, max-age=31536000, immutable",
        },
    )


async def _read(request: Request, name: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_FILE_BYTES:
            raise TooLarge(
                f"'{name}' is larger than {MAX_FILE_BYTES // 2**20} MiB",
                hint="attach a part of it, or add it to a library and search there",
            )
        parts.append(part)
    return b"".join(parts)
