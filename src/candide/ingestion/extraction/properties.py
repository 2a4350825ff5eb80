"""What office documents say of themselves: title, author, date, language."""

from __future__ import annotations

from typing import Any

from candide.ingestion.extraction.containers import Container
from candide.ingestion.extraction.draft import clean, join_spaces
from candide.ingestion.extraction.html import parse_date


def read_properties(container: Container, path: str) -> dict[str, Any]:
    """The facts of a document by Document's names, from the Dublin Core that stands anywhere in the member `path`."""
    root = container.read_xml(path)
    return {} if root is None else find_properties(root)


def find_properties(root: Any) -> dict[str, Any]:
    said: dict[str, list[str]] = {}
    for element in root.iter():
        if isinstance(element.tag, str) and element.text and element.text.strip():
            said.setdefault(element.tag.rpartition("}")[2], []).append(join_spaces(clean(element.text))[:500])
    # Of a document that was changed, its beginning is when it was published, as far as it knows.
    dates = (parse_date(date) for name in ("created", "creation-date", "date") for date in said.get(name, []))
    return {
        "title": next(iter(said.get("title", [])), ""),
        "author": ", ".join(said.get("initial-creator") or said.get("creator") or [])[:500],
        "language": next(iter(said.get("language", [])), "").split("-")[0].lower()[:3],
        "published": next((date for date in dates if date is not None), None),
    }
