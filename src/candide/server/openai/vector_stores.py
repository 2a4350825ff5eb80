"""`/v1/vector_stores`: libraries, listed and searched as OpenAI's clients know it. They are made and filled elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from candide.domain.retrieval import Filters, Retriever
from candide.domain.sources import Library, Result
from candide.errors import NotFound
from candide.server.failures import ERROR_REPLIES
from candide.server.openai.citations import describe_attributes, file_name
from candide.server.openai.search_tools import Filter, RankingOptions, read_filters
from candide.server.openai.wire import Wire
from candide.server.requests import StrictRoute
from candide.server.routers import make_router

Query_ = Annotated[str, Field(min_length=1, max_length=4000)]


class LibraryList(Protocol):
    """Where libraries are listed and found."""

    async def list(self) -> list[Library]: ...

    async def find(self, name: str) -> Library: ...


class SearchServices(Protocol):
    """What this API needs of the server's services."""

    @property
    def libraries(self) -> LibraryList: ...

    @property
    def retriever(self) -> Retriever: ...


class FileCounts(BaseModel):
    in_progress: int = 0
    completed: int
    failed: int = 0
    cancelled: int = 0
    total: int


class VectorStore(BaseModel):
    id: str
    object: Literal["vector_store"] = "vector_store"
    created_at: int
    name: str
    usage_bytes: int = Field(description="Characters of the sources' texts.")
    file_counts: FileCounts
    status: Literal["completed"] = "completed"
    expires_after: None = None
    expires_at: None = None
    last_active_at: None = None
    metadata: dict[str, str] = {}


class VectorStoreList(BaseModel):
    object: Literal["list"] = "list"
    data: list[VectorStore]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FoundText(BaseModel):
    type: Literal["text"] = "text"
    text: str


class FoundFile(BaseModel):
    file_id: str
    filename: str
    score: float
    attributes: dict[str, str | float]
    content: list[FoundText]


class FoundFiles(BaseModel):
    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[FoundFile]
    has_more: Literal[False] = False
    next_page: None = None


class SearchRequest(Wire):
    query: Query_ | Annotated[list[Query_], Field(min_length=1, max_length=10)]
    max_num_results: Annotated[int, Field(ge=1, le=50)] | None = None
    filters: Filter | None = None
    ranking_options: RankingOptions | None = None
    rewrite_query: bool | None = None


def build_vector_stores_router(services: SearchServices) -> APIRouter:
    router = make_router("/v1", "OpenAI API", route_class=StrictRoute)

    @router.get("/vector_stores", summary="List the libraries", responses=ERROR_REPLIES)
    async def list_vector_stores(  # pyright: ignore[reportUnusedFunction]
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
        before: str | None = None,
    ) -> VectorStoreList:
        there = sorted(
            await services.libraries.list(), key=lambda one: one.created_at, reverse=order == "desc"
        )
        ids = [library.id for library in there]
        if after is not None:
            there = there[_place(ids, after, "after") + 1 :]
        elif before is not None:
            there = there[: _place(ids, before, "before")]
        page = [_show(library) for library in there[:limit]]
        return VectorStoreList(
            data=page,
            first_id=page[0].id if page else None,
            last_id=page[-1].id if page else None,
            has_more=len(there) > limit,
        )

    @router.get(
        "/vector_stores/{store_id}", summary="Retrieve a library, by id or name", responses=ERROR_REPLIES
    )
    async def retrieve_vector_store(store_id: str) -> VectorStore:  # pyright: ignore[reportUnusedFunction]
        return _show(await services.libraries.find(store_id))

    @router.post("/vector_stores/{store_id}/search", summary="Search a library", responses=ERROR_REPLIES)
    async def search_vector_store(store_id: str, body: SearchRequest) -> FoundFiles:  # pyright: ignore[reportUnusedFunction]
        library = await services.libraries.find(store_id)
        wanted = Filters() if body.filters is None else read_filters(body.filters, "filters")
        filters = msgspec.structs.replace(wanted, libraries=(library.id,))
        queries = [body.query] if isinstance(body.query, str) else body.query
        limit = body.max_num_results or 10
        found: dict[int, Result] = {}
        for query in queries:
            for one in (
                await services.retriever.search(query, filters, limit=limit, per_source=limit)
            ).results:
                if one.passage.id not in found or found[one.passage.id].score < one.score:
                    found[one.passage.id] = one
        best = sorted(found.values(), key=lambda one: -one.score)[:limit]
        return FoundFiles(search_query=queries, data=[_show_result(one) for one in best])

    return router


def _place(ids: list[str], wanted: str, param: str) -> int:
    if wanted not in ids:
        raise NotFound(f"there is no library '{wanted}'", param=param)
    return ids.index(wanted)


def _show(library: Library) -> VectorStore:
    counts = FileCounts(completed=library.sources, total=library.sources)
    return VectorStore(
        id=library.id,
        created_at=int(library.created_at),
        name=library.name,
        usage_bytes=library.size,
        file_counts=counts,
    )


def _show_result(found: Result) -> FoundFile:
    attributes: dict[str, Any] = describe_attributes(found.source)
    return FoundFile(
        file_id=found.source.id,
        filename=file_name(found.source),
        score=found.score,
        attributes=attributes,
        content=[FoundText(text=found.passage.text)],
    )
