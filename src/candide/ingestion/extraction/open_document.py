"""Text documents and presentations of OpenDocument (ISO 26300), LibreOffice's format; a slide is a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion.extraction.containers import Container
from candide.ingestion.extraction.draft import Draft, join_spaces
from candide.ingestion.extraction.properties import read_properties
from candide.ingestion.extraction.trees import attribute, name_of

_SKIPPED = frozenset({
    "annotation", "annotation-end", "tracked-changes", "hidden-text", "hidden-paragraph", "sequence-decls", "forms",
    "variable-decls", "user-field-decls", "desc", "title", "script", "event-listeners", "bookmark",
})  # fmt: skip


def read_open_document(data: bytes) -> Document:
    """The document of an .odt or .odp file; raises UnreadableDocument where there is none in it."""
    container = Container(data)
    manifest = container.read_xml("META-INF/manifest.xml")
    if manifest is not None and any(name_of(one) == "encryption-data" for one in manifest.iter()):
        raise UnreadableDocument("the document is locked with a password", hint="save it without one")
    root = container.read_xml("content.xml")
    if root is None:
        raise UnreadableDocument("it is broken: the document in it is missing or cut off")
    reader = _OpenDocument(root)
    for body in root.iter():
        if name_of(body) == "body":
            for kind in body:
                reader.read_blocks(kind)
    reader.write_notes()
    facts = read_properties(container, "meta.xml")
    if not facts.get("title") and reader.draft.sections:
        facts["title"] = reader.draft.sections[0].heading
    return reader.draft.document(**facts)


class _OpenDocument:
    def __init__(self, root: Any) -> None:
        self.draft = Draft()
        self._hidden = {
            attribute(style, "name") or ""
            for style in root.iter()
            if name_of(style) == "style"
            and any(
                name_of(one) == "text-properties" and attribute(one, "display") == "none" for one in style
            )
        }
        self._notes: list[str] = []

    def read_blocks(self, parent: Any, depth: int = -1, mark: str = "") -> None:
        for element in parent:
            name = name_of(element)
            if name in _SKIPPED:
                continue
            match name:
                case "h":
                    level = attribute(element, "outline-level") or "1"
                    self.draft.heading(int(level) if level.isdecimal() else 1, self._text(element))
                case "p":
                    text = self._text(element)
                    if mark and text.strip():
                        self.draft.item(text, mark, max(depth, 0))
                        mark = ""
                    else:
                        self.draft.paragraph(text)
                    for box in _find_boxes(element):
                        self.read_blocks(box)
                case "list":
                    if depth < 0:
                        self.draft.end_block()
                    for item in element:
                        self.read_blocks(item, depth + 1, "-" if name_of(item) == "list-item" else "")
                    if depth < 0:
                        self.draft.end_block()
                case "table":
                    self._read_table(element)
                case "page":
                    self.draft.page()
                    self._read_slide(element)
                case _:
                    self.read_blocks(element, depth, mark)

    def _read_slide(self, slide: Any) -> None:
        for frame in slide:
            if attribute(frame, "class") == "title":
                self.draft.heading(
                    2, " ".join(self._text(one) for one in frame.iter() if name_of(one) == "p")
                )
            elif name_of(frame) not in _SKIPPED:
                self.read_blocks((frame,))

    def _read_table(self, table: Any) -> None:
        self.draft.end_block()
        for row in table.iter():
            if name_of(row) != "table-row":
                continue
            cells: list[str] = []
            for cell in row:
                if name_of(cell) == "table-cell":
                    cells.append(
                        join_spaces(
                            " ".join(self._text(one) for one in cell.iter() if name_of(one) in ("p", "h"))
                        )
                    )
                elif name_of(cell) == "covered-table-cell":
                    cells.append("")
            self.draft.row(cells)
        self.draft.end_block()

    def write_notes(self) -> None:
        for note in self._notes:
            self.draft.paragraph(note)

    def _text(self, element: Any) -> str:
        return "".join(self._find_text(element))

    def _find_text(self, element: Any) -> Iterator[str]:
        yield element.text or ""
        for one in element:
            name = name_of(one)
            if name == "s":
                count = attribute(one, "c") or "1"
                yield " " * min(int(count) if count.isdecimal() else 1, 100)
            elif name == "tab":
                yield "\t"
            elif name == "line-break":
                yield "\n"
            elif name == "note":
                self._notes.append(" ".join(self._text(p) for p in one.iter() if name_of(p) == "p"))
            elif name not in _SKIPPED and name not in ("text-box", "table") and not self._is_hidden(one):
                yield from self._find_text(one)
            yield one.tail or ""

    def _is_hidden(self, span: Any) -> bool:
        return name_of(span) == "span" and (attribute(span, "style-name") or "") in self._hidden


def _find_boxes(element: Any) -> Iterator[Any]:
    for one in element.iter():
        if name_of(one) == "text-box":
            yield one
