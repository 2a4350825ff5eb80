"""What an answer rests on, and where answers are looked for, as `/api` shows and takes them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from pydantic import BaseModel, Field

from candide.domain.grounding import SearchWishes
from candide.errors import BadRequest, NotFound
from candide.server.api.fields import Body, Name
from candide.server.services import Services

MAX_LIBRARIES = 100


class Wishes(Body):
    """Where answers are looked for."""

    libraries: list[Name] = Field(default=[], max_length=MAX_LIBRARIES, description="Ids or names.")
    web: bool = Field(default=False, description="Whether the web is searched too.")
    off: bool = Field(default=False, description="Whether the libraries stay attached and are not searched.")


class PassageView(BaseModel):
    id: int
    source_id: str
    start: int = Field(description="In characters of the source's text.")
    end: int
    text: str
    headings: str = ""
    page: int | None = None


class NumberedSourceView(BaseModel):
    number: int = Field(description="In this conversation.")
    id: str
    uri: str
    title: str
    site: str = ""
    language: str = ""
    published: float | None = None
    external_id: str | None = None
    passages: list[PassageView] = Field(default=[], description="What the model was shown of it.")


class CitationView(BaseModel):
    number: int
    start: int = Field(description="In characters of the source's text.")
    end: int
    quote: str
    by_model: bool = Field(description="False where the model left no mark.")


class SentenceView(BaseModel):
    text: str
    start: int = Field(description="In characters of the answer.")
    end: int
    support: Literal["quoted", "supported", "unsupported"] | None
    citations: list[CitationView] = []
    flags: list[str] = []


class GroundingView(BaseModel):
    query: str = ""
    sources: list[NumberedSourceView] = []
    is_good: bool = Field(default=True, description="False when no source was good enough: they are the nearest.")  # fmt: skip
    unread: list[str] = Field(default=[], description="What could not be read, and why.")
    missing: list[str] = Field(default=[], description="Parts of the search that did not work.")
    sentences: list[SentenceView] = []
    abstained: bool = Field(default=False, description="Whether the answer is that the sources do not say.")
    extract: list[SentenceView] = Field(default=[], description="Sentences of the sources, where the model failed.")  # fmt: skip
    checked: bool = False


async def read_wishes(services: Services, wishes: Wishes | None) -> SearchWishes | None:
    """Wishes with the libraries' ids. Raises NotFound, which names a library that is not there, and BadRequest."""
    if wishes is None:
        return None
    if wishes.web and not services.searches_web:
        raise BadRequest(
            "the web cannot be searched here: no search engine is set",
            param="search.web",
            hint="set web_search to searxng, brave or tavily; candide settings says how",
        )
    found: list[str] = []
    for number, name in enumerate(wishes.libraries):
        try:
            library = await services.libraries.find(name)
        except NotFound as error:
            raise NotFound(error.message, param=f"search.libraries.{number}", hint=error.hint) from None
        found.append(library.id)
    return SearchWishes(libraries=tuple(dict.fromkeys(found)), web=wishes.web, off=wishes.off)


async def keep_wishes(services: Services, wishes: Wishes | None) -> dict[str, Any] | None:
    """The same as a conversation keeps them."""
    read = await read_wishes(services, wishes)
    return None if read is None else msgspec.to_builtins(read)
