"""What the parts of a search find, before it is chosen what is shown."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from candide.domain.retrieval import Filters
from candide.domain.sources import Passage, Source


class Candidate(msgspec.Struct, kw_only=True, frozen=True):
    """A passage that one of the parts found."""

    source: Source
    passage: Passage
    score: float
    """From 0 to 1; it orders what one search found."""
    cosine: float | None = None
    """Of the passage and the question, where the vectors found it."""
    is_live: bool = False
    """Whether it was read from the live web just now."""


def is_let_through(source: Source, filters: Filters) -> bool:
    """Whether a source is what the filters ask for, libraries aside."""
    return (
        (not filters.sites or any(is_on_site(source, site) for site in filters.sites))
        and (not filters.languages or source.language in filters.languages)
        and (not filters.media_types or source.media_type in filters.media_types)
        and (filters.after is None or (source.published is not None and source.published >= filters.after))
        and (filters.before is None or (source.published is not None and source.published < filters.before))
    )


def is_on_site(source: Source, site: str) -> bool:
    """Whether the source is of this host or one below it, by its address or by what it says of itself."""
    hosts = ((urlsplit(source.uri).hostname or "") if "://" in source.uri else "", source.site.lower())
    return any(host.removeprefix("www.") == site or host.endswith(f".{site}") for host in hosts)
