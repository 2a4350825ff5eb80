"""Trees of HTML, and of trafilatura's XML, become blocks of a draft.

The walk is over events and keeps its own stack: a tree as deep as a parser allows does not end it.
"""

from __future__ import annotations

import re
from typing import Any

from candide.ingestion.extraction.draft import Draft
from candide.ingestion.extraction.trees import etree

_SKIPPED = frozenset({
    "script", "style", "template", "noscript", "iframe", "object", "embed", "canvas", "svg", "head", "datalist", "select",
    "textarea", "input", "button", "audio", "video", "map", "rp", "annotation", "annotation-xml", "graphic", "dialog",
})  # fmt: skip
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dir", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html", "legend", "li", "main", "menu",
    "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul", "quote",
    "list", "item", "code-block", "row", "cell", "optgroup", "option", "doc", "search",
})  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = frozenset({"ul", "ol", "menu", "dir", "list"})
_BREAK = "\n"
_SPACE = re.compile(r"\s+")


class _Open:
    """A list or a table that the walk is in."""

    def __init__(self, tag: str, is_ordered: bool = False, number: int = 1) -> None:
        self.tag = tag
        self.is_ordered = is_ordered
        self.number = number
        self.cells: list[str] = []


class _Walk:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.text: list[str] = []
        self.lists: list[_Open] = []
        self.tables: list[_Open] = []
        self.mark: str | None = None
        """Of the item that began and has no text so far."""
        self.in_item = 0
        self.verbatim = 0
        self.in_row = 0
        self.cell: list[str] | None = None

    def add(self, text: str | None) -> None:
        if not text:
            return
        if self.cell is not None:
            self.cell.append(text)
        elif self.verbatim:
            self.text.append(text)
        else:
            self.text.append(_SPACE.sub(" ", text))

    def flush(self) -> None:
        if self.cell is not None:
            self.cell.append(" ")
            return
        if not self.text:
            return
        text = "".join(self.text)
        self.text.clear()
        if not text.strip():
            return
        if self.mark is not None:
            self.draft.item(text, self.mark, max(0, len(self.lists) - 1))
            self.mark = None
        elif self.verbatim:
            self.draft.verbatim(text)
        elif self.in_item:
            self.draft.item(text, "", 0)
        else:
            self.draft.paragraph(text)


def render(root: Any, draft: Draft) -> None:
    """Write the blocks under `root` into the draft. Text is taken as it is seen: what is hidden must be gone before."""
    walk = _Walk(draft)
    skipped: Any = None
    for event, element in etree.iterwalk(root, events=("start", "end", "comment", "pi")):
        if event in ("comment", "pi"):
            if skipped is None and element is not root:
                walk.add(element.tail)
            continue
        tag = _name(element)
        if event == "start":
            if skipped is not None:
                continue
            if tag in _SKIPPED:
                skipped = element
                continue
            _begin(walk, element, tag)
            walk.add(element.text)
        else:
            if skipped is not None:
                if skipped is not element:
                    continue
                skipped = None
            else:
                _end(walk, element, tag)
            if element is not root:
                walk.add(element.tail)
    walk.flush()
    draft.end_block()


def _name(element: Any) -> str:
    tag = element.tag
    name = tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""
    if name == "head":
        # A heading in trafilatura's XML, its level beside it.
        return element.get("rend") or name
    return _FROM_TRAFILATURA.get(name, name)


_FROM_TRAFILATURA = {"lb": "br", "cell": "td", "row": "tr", "item": "li"}


def _heading_level(element: Any, tag: str) -> int | None:
    if tag in _HEADINGS:
        return _HEADINGS[tag]
    if element.get("role") == "heading":
        level = element.get("aria-level") or "2"
        return int(level) if level.isdecimal() else 2
    return None


def _begin(walk: _Walk, element: Any, tag: str) -> None:
    if walk.cell is not None:
        if tag == "br" or tag in _BLOCKS:
            walk.cell.append(" ")
        if tag == "table":
            walk.tables.append(_Open("nested"))
        return
    if _heading_level(element, tag) is not None:
        walk.flush()
    elif tag == "br":
        walk.text.append(_BREAK)
    elif tag in _BLOCKS:
        walk.flush()
        if tag in _LISTS:
            is_ordered = tag == "ol" or element.get("rend") == "ol"
            start = element.get("start") or "1"
            if not walk.lists:
                walk.draft.end_block()
            walk.lists.append(
                _Open(tag, is_ordered, int(start) if start.isdecimal() and len(start) < 9 else 1)
            )
        elif tag == "li":
            walk.in_item += 1
            walk.mark = "-"
            if walk.lists and walk.lists[-1].is_ordered:
                walk.mark = f"{walk.lists[-1].number}."
                walk.lists[-1].number += 1
        elif tag == "table":
            walk.draft.end_block()
            walk.tables.append(_Open("layout" if _is_layout(element) else "table"))
        elif tag == "tr" and walk.tables:
            walk.tables[-1].cells = []
        elif tag in ("td", "th") and walk.tables and walk.tables[-1].tag == "table":
            walk.cell = []
        elif tag == "pre":
            walk.verbatim += 1


def _end(walk: _Walk, element: Any, tag: str) -> None:
    if walk.cell is not None:
        if tag == "table":
            walk.tables.pop()
        elif tag in ("td", "th") and walk.tables[-1].tag == "table":
            walk.tables[-1].cells.append("".join(walk.cell))
            walk.cell = None
        elif tag in _BLOCKS:
            walk.cell.append(" ")
        return
    level = _heading_level(element, tag)
    if level is not None:
        text = "".join(walk.text)
        walk.text.clear()
        walk.mark = None
        walk.draft.heading(level, text)
        return
    if tag not in _BLOCKS:
        return
    walk.flush()
    if tag in _LISTS and walk.lists:
        walk.lists.pop()
        if not walk.lists:
            walk.draft.end_block()
    elif tag == "li":
        walk.in_item = max(0, walk.in_item - 1)
        walk.mark = None
    elif tag == "tr" and walk.tables and walk.tables[-1].tag == "table":
        walk.draft.row(walk.tables[-1].cells)
        walk.tables[-1].cells = []
    elif tag == "table" and walk.tables:
        walk.tables.pop()
        walk.draft.end_block()
    elif tag == "pre":
        walk.verbatim = max(0, walk.verbatim - 1)


def _is_layout(table: Any) -> bool:
    """Whether a table only places things: it has headings, tables, lists or several paragraphs in cells, or one column."""
    if table.get("role") in ("presentation", "none"):
        return True
    if next(table.iter("th"), None) is not None:
        return False
    columns = 0
    for row in table.iter("tr"):
        columns = max(columns, len(row))
        if columns > 1:
            break
    if columns <= 1:
        return True
    return any(next(cell.iter("h1", "h2", "h3", "table"), None) is not None for cell in table.iter("td"))
