"""Sources and what is found in them: libraries, their sources, passages, and the results of a search.

A source's text is immutable: a page that has changed is a new source, and the one before it is no longer current.
All offsets are in characters (Unicode code points), `[start, end)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from candide.domain.folding import fold_words
from candide.errors import NotFound

SourceKind = Literal["page", "feed_entry", "file", "document"]
"""A web page, an entry of a feed, a file, a document of a JSON Lines file."""

Outcome = Literal["added", "updated", "unchanged"]
"""What keeping a source was to its library."""

TargetKind = Literal["file", "folder", "page", "site", "feed", "jsonl"]

WEB_LIBRARY = "web"
"""The name of the library that keeps the pages which searches of the live web read; they are not indexed."""


class Library(msgspec.Struct, kw_only=True):
    """A named set of sources."""

    id: str
    name: str
    created_at: float
    sources: int = 0
    """How many are current."""
    passages: int = 0
    size: int = 0
    """Characters of the current sources' texts."""


def choose_library(there: Sequence[Library], name: str) -> Library:
    """The library of this name or id; case and accents do not matter. Raises NotFound, which names those that are there."""
    folded = fold_words(name)
    for library in there:
        if library.id == name or fold_words(library.name) == folded:
            return library
    names = ", ".join(f"'{library.name}'" for library in there[:10])
    raise NotFound(
        f"there is no library '{name}'",
        param="library",
        hint=f"there are {names}" if names else "candide add TARGET --library NAME makes one",
    )


class TargetOptions(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is wanted of a target of several sources."""

    depth: int | None = None
    """Of a site: how many links away from its first page is gone."""
    scope: str | None = None
    """Of a site: what its addresses begin with."""
    limit: int | None = None
    """How many sources at most."""
    delay_s: float | None = None
    """Of a site: the pause between two requests, where it asks for none itself."""
    patterns: list[str] = []
    """Of a folder: the names of files that are wanted, like `*.pdf`; all that can be read when there are none."""


class Target(msgspec.Struct, kw_only=True):
    """What a user has added to a library: a file, a folder, a page, a site, a feed; its sources come from it."""

    kind: TargetKind
    uri: str
    """An absolute path or a URL."""
    id: str = ""
    library_id: str = ""
    options: TargetOptions = msgspec.field(default_factory=TargetOptions)
    refresh_s: float | None = None
    """How often it is looked at again; None when only on request."""
    watched: bool = False
    """Of a folder: whether changes are taken over as they come."""
    checked_at: float | None = None
    next_check_at: float | None = None
    etag: str | None = None
    last_modified: str | None = None
    error: str | None = None
    """Why it could not be read the last time."""
    created_at: float = 0.0


class Section(msgspec.Struct, frozen=True, array_like=True):
    """A heading and where what stands under it begins; those of level 1 are the outermost."""

    start: int
    level: int
    heading: str


class Document(msgspec.Struct, kw_only=True):
    """What extraction makes of a file or a page, before it is a source."""

    text: str
    title: str = ""
    author: str = ""
    site: str = ""
    language: str = ""
    """ISO 639-1, empty when it cannot be told."""
    published: float | None = None
    """Seconds since 1970, UTC; of a date without a time, its midnight."""
    sections: list[Section] = []
    """In the order of their starts."""
    pages: list[int] = []
    """Of a document with pages: where each begins in the text; page 1 is the first."""


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """A passage before it has an id: a span of a text, the headings it stands under, and its page."""

    start: int
    end: int
    headings: str = ""
    page: int | None = None


class NewSource(msgspec.Struct, kw_only=True):
    """What is to be kept."""

    key: str
    """What makes it the same source as before: its address, or the id that it brought along."""
    uri: str
    kind: SourceKind
    media_type: str
    document: Document
    cuts: list[Cut]
    content_hash: str
    id: str = ""
    """The one that it is to have; a new one when empty."""
    target_id: str | None = None
    external_id: str | None = None
    group_id: str | None = None
    simhash: int | None = None
    original: str | None = None
    etag: str | None = None
    last_modified: str | None = None


class Known(msgspec.Struct, frozen=True):
    """A current source as whoever reads it again needs to know it."""

    source_id: str
    content_hash: str
    etag: str | None
    last_modified: str | None


class Source(msgspec.Struct, kw_only=True):
    """One document, page or feed entry, without its text."""

    id: str
    library_id: str
    uri: str
    kind: SourceKind
    media_type: str
    title: str = ""
    author: str = ""
    site: str = ""
    language: str = ""
    published: float | None = None
    external_id: str | None = None
    """The id that a document brought along."""
    target_id: str | None = None
    group_id: str | None = None
    """Near-duplicates have one group; its id is that of the first of them."""
    length: int = 0
    """Characters of its text."""
    content_hash: str = ""
    """SHA-256 of the bytes it was made of."""
    current: bool = True
    fetched_at: float = 0.0


class Passage(msgspec.Struct, kw_only=True, frozen=True):
    """A span of a source's text."""

    id: int
    source_id: str
    start: int
    end: int
    text: str
    headings: str = ""
    """Those it stands under, outermost first, joined by ` › `."""
    page: int | None = None


class Result(msgspec.Struct, kw_only=True, frozen=True):
    """A passage that a search found, and the source that it stands in."""

    source: Source
    passage: Passage
    score: float
    highlights: list[tuple[int, int]] = []
    """Spans of the passage's text that the query's words are found in."""


class NumberedSource(msgspec.Struct, kw_only=True, frozen=True):
    """A source as a conversation knows it: its number there, and the passages that were shown to the model.

    It is frozen into the turn that used it: what was cited can be shown when the source is gone.
    """

    number: int
    id: str
    uri: str
    title: str
    site: str = ""
    language: str = ""
    published: float | None = None
    external_id: str | None = None
    passages: list[Passage] = []
