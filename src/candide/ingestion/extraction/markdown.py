"""Markdown: what it says, without its marks, so that a quotation of it is what a reader sees."""

from __future__ import annotations

import re
from typing import Any

from candide.domain.sources import Document
from candide.ingestion.extraction.draft import Draft, clean, join_spaces
from candide.ingestion.extraction.html import parse, parse_date, remove_hidden
from candide.ingestion.extraction.markup import render

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*\n", re.DOTALL)
_FACT = re.compile(r"^(title|author|date|lang|language|site)[ \t]*:[ \t]*(.+)$", re.MULTILINE | re.IGNORECASE)


def read_markdown(text: str) -> Document:
    """The document of CommonMark with tables; facts come from its front matter, the title from its first heading."""
    text = clean(text)
    facts: dict[str, Any] = {}
    front = _FRONT_MATTER.match(text)
    if front:
        text = text[front.end() :]
        said = {name.lower(): value.strip().strip("\"'") for name, value in _FACT.findall(front.group(1))}
        facts = {
            "title": join_spaces(said.get("title", ""))[:500],
            "author": join_spaces(said.get("author", "").strip("[]"))[:500],
            "site": join_spaces(said.get("site", ""))[:500],
            "language": (said.get("lang") or said.get("language") or "").split("-")[0].lower()[:3],
            "published": parse_date(said.get("date", "")),
        }
    draft = Draft()
    write_markdown(text, draft)
    if not facts.get("title") and draft.sections and draft.sections[0].level == 1:
        facts["title"] = draft.sections[0].heading
    return draft.document(**facts)


def write_markdown(text: str, draft: Draft) -> None:
    """Write a piece of Markdown into a draft."""
    from markdown_it import MarkdownIt

    tree = parse(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))
    if tree is not None:
        remove_hidden(tree)
        render(tree, draft)
