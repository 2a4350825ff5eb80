"""The tools of OpenAI's that search, as they are asked for here, and what they mean.

A vector store is a library, by its id or its name. What cannot be done as it was asked is refused by its name, and
never left out in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol, cast

import msgspec
from pydantic import Discriminator, Field, Tag, field_validator

from candide.domain.grounding import SearchWishes
from candide.domain.retrieval import Filters
from candide.domain.sources import Library
from candide.errors import BadRequest, NotFound
from candide.retrieval.query import read_host, read_language, read_media_types
from candide.server.openai.wire import Wire

FILE_SEARCH = "file_search"
WEB_SEARCH = ("web_search", "web_search_preview", "web_search_2025_08_26", "web_search_preview_2025_03_11")
FILTER_KEYS = "site, language, type and published"

Text = Annotated[str, Field(min_length=1, max_length=1000)]
Value = str | float | bool | list[str | float]


class Comparison(Wire):
    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
    key: Text
    value: Value


class Compound(Wire):
    type: Literal["and", "or"]
    filters: Annotated[list[Comparison], Field(max_length=50)]


def _kind(value: Any) -> str:
    given = (
        cast("dict[str, Any]", value).get("type") if isinstance(value, dict) else getattr(value, "type", "")
    )
    return "compound" if given in ("and", "or") else "comparison"


Filter = Annotated[
    Annotated[Comparison, Tag("comparison")] | Annotated[Compound, Tag("compound")], Discriminator(_kind)
]


class RankingOptions(Wire):
    ranker: str | None = None
    score_threshold: float | None = None

    @field_validator("score_threshold")
    @classmethod
    def _lets_all_through(cls, value: float | None) -> float | None:
        if value:
            raise ValueError("is not supported: scores of different searches cannot be compared here")
        return value


class FileSearchTool(Wire):
    type: Literal["file_search"]
    vector_store_ids: Annotated[list[Text], Field(min_length=1, max_length=100)]
    max_num_results: Annotated[int, Field(ge=1, le=50)] | None = None
    filters: Filter | None = None
    ranking_options: RankingOptions | None = None


class Domains(Wire):
    allowed_domains: Annotated[list[Text], Field(max_length=100)] | None = None


class WebSearchTool(Wire):
    type: Literal[
        "web_search", "web_search_preview", "web_search_2025_08_26", "web_search_preview_2025_03_11"
    ]
    filters: Domains | None = None
    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: dict[str, Any] | None = None


class ChosenSearch(Wire):
    """A choice of a tool that searches."""

    type: Literal[
        "file_search",
        "web_search",
        "web_search_preview",
        "web_search_2025_08_26",
        "web_search_preview_2025_03_11",
    ]


SearchTool = FileSearchTool | WebSearchTool


class Libraries(Protocol):
    """Where a library is found."""

    async def find(self, name: str) -> Library: ...


class Places(Protocol):
    """Where this server can search."""

    @property
    def libraries(self) -> Libraries: ...

    @property
    def searches_web(self) -> bool: ...


def check_web(places: Places, param: str) -> None:
    """Raise BadRequest where the web cannot be searched."""
    if not places.searches_web:
        raise BadRequest(
            "no search engine is set for the web", param=param, hint="set web_search in the settings"
        )


async def read_wishes(places: Places, tools: Sequence[Any]) -> SearchWishes | None:
    """What is to be searched, as the tools of a request say it; None when none of them searches.

    Raises NotFound for a library that is not there, and BadRequest for what cannot be done.
    """
    found: list[str] = []
    limits: list[int] = []
    filters: list[tuple[Filters, str]] = []
    web = False
    count = 0
    for number, tool in enumerate(tools):
        if isinstance(tool, FileSearchTool):
            for place, name in enumerate(tool.vector_store_ids):
                found.append(
                    await _find(places.libraries, name, f"tools[{number}].vector_store_ids[{place}]")
                )
            limits += [] if tool.max_num_results is None else [tool.max_num_results]
            if tool.filters is not None:
                param = f"tools[{number}].filters"
                filters.append((read_filters(tool.filters, param), param))
        elif isinstance(tool, WebSearchTool):
            check_web(places, f"tools[{number}]")
            web = True
            if tool.filters is not None and tool.filters.allowed_domains:
                param = f"tools[{number}].filters.allowed_domains"
                sites = _read_all(read_host, tool.filters.allowed_domains, param)
                filters.append((Filters(sites=sites), param))
        else:
            continue
        count += 1
    if count == 0:
        return None
    if filters and count > 1:
        raise BadRequest(
            "filters hold for one search: they cannot be told apart from the other tool's",
            param=filters[0][1],
        )
    return SearchWishes(
        libraries=tuple(dict.fromkeys(found)),
        web=web,
        limit=max(limits, default=None),
        filters=filters[0][0] if filters else None,
    )


async def _find(libraries: Libraries, name: str, param: str) -> str:
    try:
        return (await libraries.find(name)).id
    except NotFound as error:
        raise NotFound(error.message, param=param, hint=error.hint) from None


def read_filters(given: Comparison | Compound, param: str) -> Filters:
    """Filters over the attributes that sources have. Raises BadRequest for what cannot be said by ours."""
    if isinstance(given, Comparison):
        return _read_comparison(given, param)
    if given.type == "or":
        raise BadRequest(
            "filters of type 'or' are not supported", param=param, hint="'in' takes several values"
        )
    read: Filters = Filters()
    for number, one in enumerate(given.filters):
        own = msgspec.structs.asdict(read_filters(one, f"{param}.filters[{number}]"))
        for name, value in own.items():
            if value and getattr(read, name):
                raise BadRequest(f"'{name}' is filtered twice", param=f"{param}.filters[{number}]")
        read = msgspec.structs.replace(read, **{name: value for name, value in own.items() if value})
    return read


def _read_comparison(given: Comparison, param: str) -> Filters:
    values = [str(one) for one in given.value] if isinstance(given.value, list) else [str(given.value)]
    if given.key == "published":
        if isinstance(given.value, list | str | bool):
            raise BadRequest("'published' is compared with seconds since 1970", param=f"{param}.value")
        if given.type in ("gt", "gte"):
            return Filters(after=float(given.value))
        if given.type in ("lt", "lte"):
            return Filters(before=float(given.value))
    elif given.type in ("eq", "in"):
        match given.key:
            case "site":
                return Filters(sites=_read_all(read_host, values, param))
            case "language":
                return Filters(languages=_read_all(read_language, values, param))
            case "type":
                return Filters(media_types=_read_all(read_media_types, values, param))
            case _:
                pass
    raise BadRequest(
        f"a filter '{given.type}' of '{given.key}' is not supported",
        param=param,
        hint=f"there are {FILTER_KEYS}: 'eq' and 'in' of texts, 'gt', 'gte', 'lt' and 'lte' of 'published'",
    )


def _read_all(read: Any, values: Sequence[str], param: str) -> tuple[str, ...]:
    found: list[str] = []
    for value in values:
        means: tuple[str, ...] = read(value)
        if not means:
            raise BadRequest(f"'{value}' means nothing here", param=param)
        found += means
    return tuple(dict.fromkeys(found))
