"""Sources: what libraries hold, their texts, and the files that they were made of."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from candide.domain.sources import Section, Source, SourceKind
from candide.errors import NotFound
from candide.server.api.fields import QueryText
from candide.server.routers import make_router
from candide.server.services import Services
from candide.store.sources import SourceStore

PDF = "application/pdf"

Limit = Annotated[int, Query(ge=1, le=500)]


class SectionView(BaseModel):
    start: int = Field(description="Where what stands under it begins, in characters of the text.")
    level: int
    heading: str


class SourceView(BaseModel):
    id: str
    library_id: str
    target_id: str | None
    uri: str
    kind: SourceKind
    media_type: str
    title: str
    author: str
    site: str
    language: str
    published: float | None
    external_id: str | None = Field(description="The id that it brought along.")
    group_id: str | None = Field(description="Near-duplicates have the same.")
    length: int = Field(description="Characters of its text.")
    current: bool = Field(description="False of one that is gone, or of which there is a newer version.")
    fetched_at: float


class WholeSourceView(SourceView):
    sections: list[SectionView]
    pages: list[int] = Field(description="Where each of its pages begins in the text.")
    has_original: bool = Field(description="Whether the file that it was made of can be had.")


class SourcePage(BaseModel):
    data: list[SourceView]
    next: str | None = Field(description="To be given as `after` for what follows; null at the end.")


class TextView(BaseModel):
    text: str
    sections: list[SectionView]
    pages: list[int]


def build_router(services: Services) -> APIRouter:
    router = make_router("/api/sources", "sources")
    sources, libraries, ingestion = services.sources, services.libraries, services.ingestion
    home = Path(services.home)

    @router.get("", summary="The sources, the latest first")
    async def list_sources(  # pyright: ignore[reportUnusedFunction]
        library: Annotated[QueryText | None, Query(description="Of this one, by id or name.")] = None,
        target: Annotated[QueryText | None, Query(description="That came from this one.")] = None,
        query: Annotated[QueryText, Query(description="Stands in the title or the address.")] = "",
        limit: Limit = 50,
        after: QueryText | None = None,
    ) -> SourcePage:
        library_id = None if library is None else (await libraries.find(library)).id
        found = await sources.list(library_id, limit=limit + 1, after=after, query=query, target_id=target)
        following = found[limit - 1].id if len(found) > limit else None
        return SourcePage(data=[_show(one) for one in found[:limit]], next=following)

    @router.get("/{source_id}", summary="A source, with its sections and pages")
    async def get_source(source_id: str) -> WholeSourceView:  # pyright: ignore[reportUnusedFunction]
        source = await sources.get(source_id)
        _, sections, pages = await sources.read_text(source_id)
        path = await _find_original(sources, source, home)
        return WholeSourceView(
            **_show(source).model_dump(),
            sections=_show_sections(sections),
            pages=pages,
            has_original=path is not None and await asyncio.to_thread(path.is_file),
        )

    @router.get(
        "/{source_id}/text", summary="A source's text: what passages and citations count characters of"
    )
    async def get_text(source_id: str) -> TextView:  # pyright: ignore[reportUnusedFunction]
        text, sections, pages = await sources.read_text(source_id)
        return TextView(text=text, sections=_show_sections(sections), pages=pages)

    @router.get(
        "/{source_id}/original",
        summary="The file that a source was made of, as long as it is still the same",
        response_class=FileResponse,
        responses={200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def get_original(source_id: str) -> FileResponse:  # pyright: ignore[reportUnusedFunction]
        source = await sources.get(source_id)
        path = await _find_original(sources, source, home)
        if path is None or not await asyncio.to_thread(_is_same, path, source.content_hash):
            raise NotFound(
                "the file that this source was made of is not there, or has changed since",
                hint="its text is still there",
            )
        return _send(path, source.media_type)

    @router.delete("/{source_id}", status_code=204, summary="Take a source out of its library")
    async def remove_source(source_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await ingestion.remove_source(source_id)

    return router


async def _find_original(sources: SourceStore, source: Source, home: Path) -> Path | None:
    """Where the file of a source was; a file of the user's own lies where it was read."""
    kept = await sources.find_original(source.id)
    if kept is not None:
        return home / kept
    return Path(source.uri) if source.kind == "file" else None


def _is_same(path: Path, content_hash: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == content_hash
    except OSError:
        return False


def _send(path: Path, media_type: str) -> FileResponse:
    """A file of which a browser shows nothing but a PDF, in its own viewer, and runs nothing.

    In a sandbox browsers do not show a PDF.
    """
    is_pdf = media_type == PDF
    where = "inline" if is_pdf else "attachment"
    policy = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"
    return FileResponse(
        path,
        media_type=PDF if is_pdf else "application/octet-stream",
        headers={
            "Content-Disposition": f"{where}; filename*=UTF-8''{quote(path.name, safe='')}",
            "Content-Security-Policy": policy if is_pdf else "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "private, max-age=3600",
        },
    )


def _show(source: Source) -> SourceView:
    values = msgspec.structs.asdict(source)
    return SourceView(**{name: values[name] for name in SourceView.model_fields})


def _show_sections(sections: list[Section]) -> list[SectionView]:
    return [SectionView(**msgspec.structs.asdict(section)) for section in sections]
