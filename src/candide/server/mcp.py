"""Libraries for other assistants, by the Model Context Protocol: the tools `search` and `fetch`, in the shape that
OpenAI's connectors want, at `/mcp` of the server, behind the same guard as everything else.

Both only read. The SDK is loaded with the first request, and each request stands for itself: no session is kept. The
same tools serve `candide mcp` over standard input and output, on whatever finds sources there.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from fastapi import APIRouter
from pydantic import BaseModel, Field, ValidationError
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from candide import __version__
from candide.domain.retrieval import Filters
from candide.errors import CandideError
from candide.server.services import Services

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

PATH = "/mcp"
MAX_RESULTS = 50
PASSAGES_A_SOURCE = 3
LONGEST_TEXT = 100_000
"""Characters that one fetch gives; a book does not fit an assistant's context."""
INSTRUCTIONS = (
    "The user's own libraries: documents, web pages and feeds that they have collected. Search first, fetch what "
    "looks right, and cite the url and title of what you use."
)
SEARCH = (
    "Search the user's own libraries (documents, web pages and feeds that they have collected) by words and by "
    'meaning, in any language. Give a question or keywords; the query may hold "exact phrases", -words, '
    "site:lemonde.fr, before:2024-05, after:2024, lang:fr and type:pdf. Each result is a source, best first, with the "
    "passages that were found in it; fetch reads the whole of one by its id. Where is_good is false none of them answers "
    "well: do not take them for an answer."
)
FETCH = (
    "Read the text of one source that search found, by its id. Of a long one the answer holds a part: "
    "metadata.next_start, where it is there, is the start to ask for next."
)


class FoundSource(BaseModel):
    id: str = Field(description="For fetch.")
    title: str
    url: str
    text: str = Field(description="The passages that were found in it.")


class SearchResults(BaseModel):
    results: list[FoundSource]
    is_good: bool = Field(
        description="False where none of them answers well: they are the nearest there are."
    )


class FetchedSource(BaseModel):
    id: str
    title: str
    text: str
    url: str
    metadata: dict[str, str | int] = Field(
        description="site, author, language and published, where known; length in characters."
    )


class SourceFacts(Protocol):
    """What is known of a source, whoever tells it."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def uri(self) -> str: ...
    @property
    def site(self) -> str: ...
    @property
    def published(self) -> float | None: ...


class WholeSource(SourceFacts, Protocol):
    @property
    def author(self) -> str: ...
    @property
    def language(self) -> str: ...


class FoundText(Protocol):
    @property
    def text(self) -> str: ...


class FoundPassage(Protocol):
    """A passage, and the source that it stands in."""

    @property
    def source(self) -> SourceFacts: ...
    @property
    def passage(self) -> FoundText: ...


class FoundPassages(Protocol):
    @property
    def results(self) -> Sequence[FoundPassage]: ...
    @property
    def is_good(self) -> bool: ...


class SourceReader(Protocol):
    """Who finds and reads sources; both raise CandideError."""

    async def find(self, query: str, library: str | None, limit: int) -> FoundPassages:
        """Passages, the best first, of `limit` sources at least where there are so many."""
        ...

    async def read(self, source_id: str) -> tuple[WholeSource, str]:
        """A source, and its text."""
        ...


WANTED = {
    "query": "a question or keywords, of 4000 characters at most",
    "library": "the name of one library, or leave it out to search all",
    "limit": f"a whole number from 1 to {MAX_RESULTS}",
    "id": "the id of a source that search found",
    "start": "a whole number, 0 or more",
}
"""What is right for each parameter, as a mistake in it is answered."""


def explain_mistake(tool: str, error: ValidationError) -> str:
    """What is wrong with the arguments of a call, and what to send, in one sentence."""
    mistakes: list[str] = []
    for one in error.errors(include_url=False, include_context=False):
        name = str(one["loc"][0]) if one["loc"] else ""
        wanted = f"send {WANTED[name]}" if name in WANTED else "send what its schema says"
        given = repr(one["input"])
        if one["type"] == "missing":
            mistakes.append(f"{tool} needs '{name}': {wanted}")
        elif one["input"] == "":
            mistakes.append(f"'{name}' is empty: {wanted}")
        else:
            shown = given if len(given) <= 60 else f"{given[:59]}…"
            mistakes.append(f"'{name}' cannot be {shown}: {wanted}")
    return "; ".join(mistakes)


def _say(error: CandideError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message


def build_server(reader: SourceReader) -> MCPServer[Any]:
    """The two tools over a reader. Loads the SDK."""
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
    from mcp.types import ToolAnnotations

    logging.getLogger("mcp").setLevel(logging.WARNING)

    class PlainServer(MCPServer[Any]):
        """Says in plain words what is wrong with a call, where the SDK dumps what its validation found."""

        async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
            try:
                return await super().call_tool(name, arguments, context)
            except UnexpectedToolError:
                raise
            except ToolError as error:
                cause = error.__cause__
                if isinstance(cause, ValidationError):
                    raise ToolError(explain_mistake(name, cause)) from None
                if isinstance(cause, ToolError):
                    raise cause from None
                raise ToolError(f"there is no tool '{name}': call search or fetch") from None

    server: MCPServer[Any] = PlainServer(
        "candide", title="Candide", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING"
    )

    async def search(
        query: Annotated[str, Field(min_length=1, max_length=4000)],
        library: Annotated[
            str | None, Field(description="The name of one library; all are searched without it.")
        ] = None,
        limit: Annotated[int, Field(ge=1, le=MAX_RESULTS, description="Sources at most.")] = 10,
    ) -> SearchResults:
        try:
            found = await reader.find(query, library, limit)
            return SearchResults(results=_group(found.results, limit), is_good=found.is_good)
        except CandideError as error:
            raise ToolError(_say(error)) from error

    async def fetch(
        id: Annotated[str, Field(min_length=1, max_length=100)],  # noqa: A002 - as connectors call it
        start: Annotated[int, Field(ge=0, description="The character of the text to begin with.")] = 0,
    ) -> FetchedSource:
        try:
            return _show(*await reader.read(id), start)
        except CandideError as error:
            raise ToolError(_say(error)) from error

    only_reads = ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )
    server.add_tool(search, title="Search libraries", description=SEARCH, annotations=only_reads)
    server.add_tool(fetch, title="Read a source", description=FETCH, annotations=only_reads)
    return server


def _group(found: Sequence[FoundPassage], limit: int) -> list[FoundSource]:
    """One result a source, in the order of their best passages."""
    sources: dict[str, FoundSource] = {}
    for one in found:
        source, text = one.source, one.passage.text
        if (known := sources.get(source.id)) is not None:
            known.text += f"\n[…]\n{text}"
        elif len(sources) < limit:
            sources[source.id] = FoundSource(
                id=source.id, title=source.title or source.uri, url=_url(source.uri), text=text
            )
    return list(sources.values())


def _show(source: WholeSource, text: str, start: int) -> FetchedSource:
    end = start + LONGEST_TEXT
    day = (
        None if source.published is None else datetime.fromtimestamp(source.published, UTC).date().isoformat()
    )
    known = {"site": source.site, "author": source.author, "language": source.language, "published": day}
    metadata: dict[str, str | int] = {name: value for name, value in known.items() if value}
    metadata["length"] = len(text)
    if end < len(text):
        metadata["next_start"] = end
    return FetchedSource(
        id=source.id,
        title=source.title or source.uri,
        text=text[start:end],
        url=_url(source.uri),
        metadata=metadata,
    )


def _url(uri: str) -> str:
    """An address that can be cited, of a file too."""
    path = Path(uri)
    return path.as_uri() if path.is_absolute() else uri


class _LocalReader:
    """Reads what this server keeps."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def find(self, query: str, library: str | None, limit: int) -> FoundPassages:
        libraries = () if library is None else ((await self._services.libraries.find(library)).id,)
        return await self._services.retriever.search(
            query,
            Filters(libraries=libraries),
            limit=limit * PASSAGES_A_SOURCE,
            per_source=PASSAGES_A_SOURCE,
        )

    async def read(self, source_id: str) -> tuple[WholeSource, str]:
        source = await self._services.sources.get(source_id)
        text, _, _ = await self._services.sources.read_text(source_id)
        return source, text


class _Endpoint:
    """The ASGI application at `/mcp`."""

    def __init__(self, services: Services) -> None:
        self._reader = _LocalReader(services)
        self._server: MCPServer[Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._server is None:
            # Answers that are being written must not wait for it.
            for module in ("mcp.server.mcpserver", "mcp.server.transport_security"):
                await asyncio.to_thread(importlib.import_module, module)
            self._server = build_server(self._reader)
        from mcp.server.transport_security import TransportSecuritySettings

        self._server.streamable_http_app(
            streamable_http_path=PATH,
            json_response=True,
            stateless_http=True,
            # The guard has looked at Host and Origin.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        # One request each: nothing of it runs on when it is answered.
        manager = self._server.session_manager
        async with manager.run():
            await manager.handle_request(scope, receive, send)


def build_router(services: Services) -> APIRouter:
    """`POST /mcp`; nothing is sent unasked, so there is no GET."""
    router = APIRouter()
    router.routes.append(Route(PATH, _Endpoint(services), methods=["POST"], include_in_schema=False))
    return router
