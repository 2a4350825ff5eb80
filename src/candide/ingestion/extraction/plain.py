"""Text without any marks: its lines stand as they are."""

from __future__ import annotations

from candide.domain.sources import Document
from candide.ingestion.extraction.draft import MAX_CHARACTERS, TooLong, clean


def read_plain(text: str) -> Document:
    """The text, cleaned; it has neither headings nor pages that could be told for sure."""
    text = clean(text).strip("\n")
    if len(text) > MAX_CHARACTERS:
        raise TooLong
    return Document(text=text.rstrip() if text.strip() else "")
