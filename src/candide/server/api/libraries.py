"""Libraries, what was added to them, and files that are put into them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import ClientDisconnect

from candide.domain.sources import Library, Target, TargetOptions
from candide.errors import BadRequest
from candide.ingestion import targets as targets_of_users
from candide.server.api.fields import Body, Label, Text, check_text
from candide.server.api.jobs import JobView, show_job
from candide.server.routers import make_router
from candide.server.services import Services

LONGEST_REFRESH_S = 366 * 86_400.0
SHORTEST_REFRESH_S = 60.0
MAX_TARGETS = 1000

FileName = Annotated[str, AfterValidator(check_text), Query(min_length=1, max_length=255)]
Kind = Literal["file", "folder", "page", "site", "feed", "jsonl"]


class LibraryView(BaseModel):
    id: str
    name: str
    created_at: float
    sources: int
    size: int = Field(description="Characters of the sources' texts.")


class LibraryPage(BaseModel):
    data: list[LibraryView]


class LibraryName(Body):
    name: Label


class OptionsBody(Body):
    depth: int | None = Field(
        default=None, ge=0, le=100, description="Of a site: how many links away from its first page is gone."
    )
    scope: Text | None = Field(default=None, description="Of a site: what its addresses begin with.")
    limit: int | None = Field(default=None, ge=1, description="How many sources at most.")
    delay_s: float | None = Field(
        default=None, ge=0, le=3600, description="Of a site: the pause between two requests."
    )
    patterns: list[Text] = Field(
        default=[],
        max_length=100,
        description="Of a folder: names of the files that are wanted, like `*.pdf`.",
    )


class NewTarget(Body):
    uri: Text = Field(description="A URL, or the path of a file or folder on the server's machine.")
    kind: Kind | None = Field(
        default=None, description="Found by what it is when absent; a site only when asked for."
    )
    options: OptionsBody = OptionsBody()
    refresh_s: float | None = Field(
        default=None,
        ge=0,
        le=LONGEST_REFRESH_S,
        description="How often it is looked at again; 0 never. A feed is every hour when this is absent.",
    )
    watched: bool = Field(
        default=False, description="Of a folder: whether changes are taken over as they come."
    )


class NewTargets(Body):
    targets: list[NewTarget] = Field(min_length=1, max_length=MAX_TARGETS)


class TargetView(BaseModel):
    id: str
    library_id: str
    kind: Kind
    uri: str
    options: OptionsBody
    refresh_s: float | None
    watched: bool
    checked_at: float | None
    next_check_at: float | None
    error: str | None = Field(description="Why it could not be read the last time.")
    created_at: float


class TargetPage(BaseModel):
    data: list[TargetView]


class Refresh(Body):
    target_ids: list[str] | None = Field(
        default=None, max_length=MAX_TARGETS, description="All of the library's when absent."
    )


class Removed(BaseModel):
    sources: int = Field(description="How many sources came from it, and are gone with it.")


def build_router(services: Services) -> APIRouter:
    router = make_router("/api", "libraries")
    libraries, ingestion = services.libraries, services.ingestion

    @router.get("/libraries", summary="The libraries, by name")
    async def list_libraries() -> LibraryPage:  # pyright: ignore[reportUnusedFunction]
        return LibraryPage(data=[_show_library(one) for one in await libraries.list()])

    @router.post("/libraries", status_code=201, summary="Make a library")
    async def create_library(body: LibraryName) -> LibraryView:  # pyright: ignore[reportUnusedFunction]
        return _show_library(await libraries.create(body.name))

    @router.patch("/libraries/{library_id}", summary="Rename a library")
    async def rename_library(library_id: str, body: LibraryName) -> LibraryView:  # pyright: ignore[reportUnusedFunction]
        return _show_library(await libraries.rename(library_id, body.name))

    @router.delete("/libraries/{library_id}", status_code=204, summary="Delete a library; restore undoes it")
    async def delete_library(library_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await ingestion.delete_library(library_id)

    @router.post("/libraries/{library_id}/restore", status_code=204, summary="Undo a deletion")
    async def restore_library(library_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await ingestion.restore_library(library_id)

    @router.get("/libraries/{library_id}/targets", summary="What was added to a library, the oldest first")
    async def list_targets(library_id: str) -> TargetPage:  # pyright: ignore[reportUnusedFunction]
        await libraries.get(library_id)
        return TargetPage(data=[_show_target(one) for one in await libraries.list_targets(library_id)])

    @router.post(
        "/libraries/{library_id}/targets",
        status_code=202,
        summary="Add files, folders, pages, sites and feeds, and read them; what is there already is updated",
    )
    async def add_targets(library_id: str, body: NewTargets) -> JobView:  # pyright: ignore[reportUnusedFunction]
        read = [_read_target(target, f"targets[{n}]") for n, target in enumerate(body.targets)]
        new = {target.uri: target for target in read}
        return show_job(await ingestion.add(library_id, list(new.values())))

    @router.post(
        "/libraries/{library_id}/files",
        status_code=202,
        summary="Put a file into a library; one of the same name makes way for it",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def add_file(library_id: str, name: FileName, request: Request) -> JobView:  # pyright: ignore[reportUnusedFunction]
        length = request.headers.get("content-length")
        try:
            job = await ingestion.receive(library_id, name, request.stream(), int(length) if length else None)
        except ClientDisconnect:
            raise BadRequest("the file breaks off", param="body") from None
        return show_job(job)

    @router.post(
        "/libraries/{library_id}/refresh", status_code=202, summary="Look again whether something has changed"
    )
    async def refresh_library(library_id: str, body: Refresh | None = None) -> JobView:  # pyright: ignore[reportUnusedFunction]
        return show_job(await ingestion.refresh(library_id, body.target_ids if body else None))

    @router.delete("/targets/{target_id}", summary="Remove a target, and what came from it")
    async def remove_target(target_id: str) -> Removed:  # pyright: ignore[reportUnusedFunction]
        return Removed(sources=await ingestion.remove_target(target_id))

    return router


def _read_target(body: NewTarget, place: str) -> Target:
    """The target as it is kept; BadRequest names which of them it is, by its place in the request."""
    try:
        return _check_target(body)
    except BadRequest as error:
        error.param = f"{place}.{error.param or 'uri'}"
        raise


def _check_target(body: NewTarget) -> Target:
    target = targets_of_users.parse(body.uri, kind=body.kind)
    if body.watched and target.kind != "folder":
        raise BadRequest(
            f"'{target.uri}' is a {target.kind}: only folders are watched",
            param="watched",
            hint="refresh_s says how often it is looked at again",
        )
    if body.refresh_s is not None and 0 < body.refresh_s < SHORTEST_REFRESH_S:
        raise BadRequest(f"refresh_s is at least {SHORTEST_REFRESH_S:.0f}", param="refresh_s")
    target.options = TargetOptions(**body.options.model_dump())
    target.refresh_s, target.watched = body.refresh_s, body.watched
    return target


def _show_library(library: Library) -> LibraryView:
    values = msgspec.structs.asdict(library)
    return LibraryView(**{name: values[name] for name in LibraryView.model_fields})


def _show_target(target: Target) -> TargetView:
    values = msgspec.structs.asdict(target)
    values["options"] = OptionsBody(**msgspec.structs.asdict(target.options))
    return TargetView(**{name: values[name] for name in TargetView.model_fields})
