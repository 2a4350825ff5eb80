"""Presentations of PowerPoint (PresentationML, ECMA-376): a slide is a page, its title the heading.

The text of shapes, tables, charts and diagrams stands in the order of the file, which is that of drawing; a speaker's
notes follow their slide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion.extraction.containers import Container
from candide.ingestion.extraction.draft import Draft, join_spaces
from candide.ingestion.extraction.properties import read_properties
from candide.ingestion.extraction.trees import attribute, child, name_of

_TITLES = ("title", "ctrTitle")
_FURNITURE = ("dt", "ftr", "sldNum", "hdr", "sldImg")


def read_slides(data: bytes) -> Document:
    """The document of a .pptx file; raises UnreadableDocument where there is none in it."""
    container = Container(data)
    main = next(
        (path for kind, path in container.find_related("").values() if kind == "officeDocument"),
        "ppt/presentation.xml",
    )
    root = container.read_xml(main)
    if root is None:
        raise UnreadableDocument("it is broken: the presentation in it is missing or cut off")
    related = container.find_related(main)
    draft = Draft()
    for slide in child(root, "sldIdLst") if child(root, "sldIdLst") is not None else ():
        # Its `r:id`; it has an `id` of its own beside it.
        references = [text for key, text in slide.attrib.items() if key.endswith("}id")]
        path = related.get(references[0], ("", ""))[1] if references else ""
        tree = container.read_xml(path)
        draft.page()
        if tree is not None:
            _Slide(container, path, draft).read(tree)
    facts = read_properties(container, "docProps/core.xml")
    facts.pop("language", None)
    # What programs fill in when nobody has given a title.
    if facts.get("title", "").lower() in (
        "",
        "powerpoint presentation",
        "présentation powerpoint",
        "powerpoint-präsentation",
    ):
        facts["title"] = draft.sections[0].heading if draft.sections else ""
    return draft.document(**facts)


class _Slide:
    def __init__(self, container: Container, path: str, draft: Draft) -> None:
        self._container = container
        self._related = container.find_related(path)
        self._draft = draft

    def read(self, slide: Any) -> None:
        shapes = list(_find_shapes(slide))
        shapes.sort(key=lambda shape: _placeholder(shape) not in _TITLES)
        for shape in shapes:
            self._read_shape(shape)
        for kind, path in self._related.values():
            notes = self._container.read_xml(path) if kind == "notesSlide" else None
            for shape in () if notes is None else _find_shapes(notes):
                if _placeholder(shape) == "body":
                    self._draft.end_block()
                    self._read_text(shape)

    def _read_shape(self, shape: Any) -> None:
        placeholder = _placeholder(shape)
        if placeholder in _FURNITURE or _is_hidden(shape):
            return
        if name_of(shape) == "graphicFrame":
            self._read_frame(shape)
        elif placeholder in _TITLES:
            self._draft.heading(2, " ".join(text for _, _, text in _find_paragraphs(shape)))
        else:
            self._read_text(shape)

    def _read_text(self, shape: Any) -> None:
        self._draft.end_block()
        for depth, mark, text in _find_paragraphs(shape):
            if mark:
                self._draft.item(text, mark, depth)
            else:
                self._draft.paragraph(text)

    def _read_frame(self, frame: Any) -> None:
        self._draft.end_block()
        for element in frame.iter():
            match name_of(element):
                case "tbl":
                    for row in element:
                        if name_of(row) == "tr":
                            self._draft.row([_cell_text(cell) for cell in row if name_of(cell) == "tc"])
                case "chart":
                    self._read_chart(self._part(element, "id"))
                case "relIds":
                    self._read_diagram(self._part(element, "dm"))
                case _:
                    pass
        self._draft.end_block()

    def _part(self, element: Any, name: str) -> Any:
        _, path = self._related.get(attribute(element, name) or "", ("", ""))
        return self._container.read_xml(path)

    def _read_diagram(self, data: Any) -> None:
        for point in () if data is None else data.iter():
            if name_of(point) == "pt":
                text = " ".join(text for _, _, text in _find_paragraphs(point))
                if text.strip():
                    self._draft.item(text)

    def _read_chart(self, chart: Any) -> None:
        if chart is None:
            return
        title = next((one for one in chart.iter() if name_of(one) == "title"), None)
        if title is not None:
            self._draft.paragraph(" ".join(text for _, _, text in _find_paragraphs(title)))
        series = [one for one in chart.iter() if name_of(one) == "ser"]
        columns: list[list[str]] = []
        for index, one in enumerate(series):
            categories = list(_find_points(child(one, "cat")))
            if index == 0:
                columns.append(["", *categories])
            columns.append([" ".join(_find_points(child(one, "tx"))), *_find_points(child(one, "val"))])
        for row in range(max(map(len, columns), default=0)):
            self._draft.row([column[row] if row < len(column) else "" for column in columns])


def _find_points(data: Any) -> Iterator[str]:
    for point in () if data is None else data.iter():
        if name_of(point) == "v":
            yield point.text or ""


def _find_shapes(element: Any) -> Iterator[Any]:
    for one in element:
        match name_of(one):
            case "sp" | "graphicFrame" | "cxnSp":
                yield one
            case "grpSp" | "spTree" | "cSld" | "AlternateContent" | "Choice":
                yield from _find_shapes(one)
            case _:
                pass


def _placeholder(shape: Any) -> str:
    """What a shape is on its slide, like `title` or `body`; empty for one that someone has drawn."""
    for path in ("nvSpPr", "nvGraphicFramePr"):
        found = child(shape, path, "nvPr", "ph")
        if found is not None:
            return attribute(found, "type") or "body"
    return ""


def _is_hidden(shape: Any) -> bool:
    for path in ("nvSpPr", "nvGraphicFramePr"):
        found = child(shape, path, "cNvPr")
        if found is not None and attribute(found, "hidden") in ("1", "true"):
            return True
    return False


def _find_paragraphs(shape: Any) -> Iterator[tuple[int, str, str]]:
    """The paragraphs of a shape: depth, mark of the item or empty, text."""
    number = 0
    for paragraph in shape.iter():
        if name_of(paragraph) != "p":
            continue
        text = "".join(_find_text(paragraph))
        properties = child(paragraph, "pPr")
        depth = int(attribute(properties, "lvl") or "0") if properties is not None else 0
        mark = ""
        if properties is not None and child(properties, "buAutoNum") is not None:
            number += 1
            mark = f"{number}."
        elif (properties is not None and child(properties, "buChar") is not None) or (
            depth and (properties is None or child(properties, "buNone") is None)
        ):
            mark = "-"
        if text.strip():
            yield depth, mark, text


def _find_text(paragraph: Any) -> Iterator[str]:
    for one in paragraph.iter():
        match name_of(one):
            case "t":
                properties = child(one.getparent(), "rPr")
                size = attribute(properties, "sz") if properties is not None else None
                # In hundredths of a point.
                if size is None or not size.isdecimal() or int(size) > 100:
                    yield one.text or ""
            case "br":
                yield "\n"
            case "tab":
                yield "\t"
            case _:
                pass


def _cell_text(cell: Any) -> str:
    if attribute(cell, "hMerge") in ("1", "true") or attribute(cell, "vMerge") in ("1", "true"):
        return ""
    return join_spaces(" ".join(text for _, _, text in _find_paragraphs(cell)))
