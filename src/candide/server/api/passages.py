"""Search in the sources of libraries."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from candide.domain.retrieval import Filters, Found
from candide.domain.sources import Result
from candide.errors import BadRequest
from candide.retrieval.dates import read_date
from candide.retrieval.query import MEDIA_TYPES, read_host, read_language, read_media_types
from candide.server.api.fields import Name, QueryText
from candide.server.routers import make_router
from candide.server.services import Services

Several = Annotated[list[Name], Query(max_length=100)]
DATE = "A year, a month or a day, like 2024, 2024-05 or 17 mai 2024; also yesterday or hier."


class FoundSourceView(BaseModel):
    id: str
    library_id: str
    external_id: str | None = Field(description="The id that a document brought along.")
    uri: str
    kind: str
    media_type: str
    title: str
    author: str
    site: str
    language: str
    published: float | None


class FoundPassageView(BaseModel):
    id: int
    start: int = Field(description="In characters of the source's text.")
    end: int
    text: str
    headings: str
    page: int | None


class ResultView(BaseModel):
    source: FoundSourceView
    passage: FoundPassageView
    score: float
    highlights: list[tuple[int, int]] = Field(description="Spans [start, end) of the passage's text.")


class PassagesPage(BaseModel):
    query: str
    results: list[ResultView]
    is_good: bool = Field(description="Whether the best of them seem good enough to answer from.")
    libraries: list[str] = Field(description="The ids of those that were searched.")
    missing: list[str] = Field(description="Parts of the search that did not work: words, vectors.")
    ignored: list[str] = Field(
        description="Operators whose values mean nothing, like before:foo: they were searched as words."
    )


def build_router(services: Services) -> APIRouter:
    router = make_router("/api", "search")

    @router.get("/passages", summary="Find passages of the libraries' sources, by words and by meaning")
    async def find_passages(  # pyright: ignore[reportUnusedFunction]
        query: Annotated[
            QueryText,
            Query(
                max_length=4000,
                description='Words, "phrases", -words, site:, before:, after:, lang:, library:, type:',
            ),
        ],
        library: Annotated[
            Several, Query(description="Ids or names; all libraries when there is none.")
        ] = [],  # noqa: B006
        site: Annotated[Several, Query(description="Hosts, with those below them.")] = [],  # noqa: B006
        language: Annotated[Several, Query(description="ISO 639-1.")] = [],  # noqa: B006
        after: Annotated[Name, Query(description=f"Published from then on. {DATE}")] = "",
        before: Annotated[Name, Query(description="Published before then.")] = "",
        type: Annotated[Several, Query(description=f"{', '.join(MEDIA_TYPES)}, or a media type.")] = [],  # noqa: B006, A002
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
        per_source: Annotated[
            int, Query(ge=1, le=100, description="Passages of one source, while others have any.")
        ] = 2,
    ) -> PassagesPage:
        filters = Filters(
            libraries=tuple([(await services.libraries.find(name)).id for name in library]),
            sites=_read_all(read_host, site, "site", "give a host like lemonde.fr"),
            languages=_read_all(read_language, language, "language", "give a code like fr"),
            media_types=_read_all(
                read_media_types, type, "type", f"there are {', '.join(MEDIA_TYPES)}, and media types"
            ),
            after=_read_moment(after, "after"),
            before=_read_moment(before, "before"),
        )
        return _show(await services.retriever.search(query, filters, limit=limit, per_source=per_source))

    return router


def _read_all(
    read: Callable[[str], tuple[str, ...]], written: Sequence[str], param: str, hint: str
) -> tuple[str, ...]:
    values: list[str] = []
    for one in written:
        found = read(one)
        if not found:
            raise BadRequest(f"{param}: '{one}' means nothing here", param=param, hint=hint)
        values.extend(found)
    return tuple(dict.fromkeys(values))


def _read_moment(written: str, param: str) -> float | None:
    if not written.strip():
        return None
    moment = read_date(written, time.time())
    if moment is None:
        raise BadRequest(
            f"{param}: '{written}' is no date", param=param, hint="write it like 2024, 2024-05 or 2024-05-17"
        )
    return moment


def _show(found: Found) -> PassagesPage:
    return PassagesPage(
        query=found.query,
        results=[_show_result(result) for result in found.results],
        is_good=found.is_good,
        libraries=list(found.filters.libraries),
        missing=found.missing,
        ignored=found.ignored,
    )


def _show_result(result: Result) -> ResultView:
    source: dict[str, Any] = msgspec.structs.asdict(result.source)
    passage: dict[str, Any] = msgspec.structs.asdict(result.passage)
    return ResultView(
        source=FoundSourceView.model_validate(source),
        passage=FoundPassageView.model_validate(passage),
        score=result.score,
        highlights=result.highlights,
    )
