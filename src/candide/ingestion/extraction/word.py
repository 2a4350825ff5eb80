"""Documents of Word (WordprocessingML, ECMA-376), both of its dialects.

Deleted text, comments, fields' instructions, and text that is marked hidden, has no size, or is white on nothing, are
not part of the text. Headers and footers, which say the same on each page, are left out; notes follow the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion.extraction.containers import Container
from candide.ingestion.extraction.draft import Draft, join_spaces
from candide.ingestion.extraction.properties import read_properties
from candide.ingestion.extraction.trees import attribute, child, name_of, value

_SKIPPED = frozenset({
    "del", "moveFrom", "rPr", "pPr", "sectPr", "tblPr", "trPr", "tcPr", "tblGrid", "instrText", "delText", "fldData", "Fallback",
    "annotationRef", "footnoteRef", "endnoteRef", "commentReference", "sdtPr", "sdtEndPr",
})  # fmt: skip
_HEADING_NAME = re.compile(r"(?:heading|titre|überschrift|título|titolo|kop)\s*(\d)$", re.IGNORECASE)


def read_word(data: bytes) -> Document:
    """The document of a .docx file; raises UnreadableDocument where there is none in it."""
    container = Container(data)
    main = next(
        (path for kind, path in container.find_related("").values() if kind == "officeDocument"),
        "word/document.xml",
    )
    root = container.read_xml(main)
    if root is None:
        raise UnreadableDocument("it is broken: the document in it is missing or cut off")
    related = dict(container.find_related(main).values())
    reader = _Word(
        container.read_xml(related.get("styles", "")), container.read_xml(related.get("numbering", ""))
    )
    body = next((child for child in root if name_of(child) == "body"), root)
    reader.read_blocks(body)
    for kind in ("footnotes", "endnotes"):
        notes = container.read_xml(related.get(kind, ""))
        for note in () if notes is None else notes:
            if attribute(note, "type") is None:
                reader.draft.end_block()
                reader.read_blocks(note)
    facts = read_properties(container, "docProps/core.xml")
    facts.pop("language", None)
    if not facts.get("title"):
        facts["title"] = reader.title
    return reader.draft.document(**facts)


class _Word:
    def __init__(self, styles: Any, numbering: Any) -> None:
        self.draft = Draft()
        self.title = ""
        self._levels, self._titles = _find_heading_styles(styles)
        self._formats = _find_number_formats(numbering)
        self._list_styles = _find_linked_styles(numbering) | _find_list_styles(styles)
        self._counters: dict[tuple[str, int], int] = {}

    def read_blocks(self, parent: Any) -> None:
        for element in parent:
            match name_of(element):
                case "p":
                    self._read_paragraph(element)
                case "tbl":
                    self._read_table(element)
                case (
                    "sdt"
                    | "sdtContent"
                    | "customXml"
                    | "ins"
                    | "moveTo"
                    | "smartTag"
                    | "AlternateContent"
                    | "Choice"
                ):
                    self.read_blocks(element)
                case _:
                    pass

    def _read_paragraph(self, paragraph: Any) -> None:
        text = "".join(_find_text(paragraph))
        style = value(paragraph, "pPr", "pStyle") or ""
        outline = value(paragraph, "pPr", "outlineLvl")
        level = (
            int(outline) + 1
            if outline and outline.isdecimal() and int(outline) < 9
            else self._levels.get(style)
        )
        list_of = self._list_of(paragraph, style)
        if text.strip() and style in self._titles:
            self.title = self.title or join_spaces(text)[:500]
            level = 1
        if level is not None:
            number = self._mark(*list_of) if list_of is not None and text.strip() else "-"
            self.draft.heading(level, text if number == "-" else f"{number} {text}")
        elif list_of is not None and text.strip():
            self.draft.item(text, self._mark(*list_of), list_of[1])
        else:
            if not text.strip():
                self.draft.end_block()
            self.draft.paragraph(text)
        for box in _find_boxes(paragraph):
            self.read_blocks(box)

    def _list_of(self, paragraph: Any, style: str) -> tuple[str, int] | None:
        properties = child(paragraph, "pPr", "numPr")
        if properties is None:
            return self._list_styles.get(style)
        number, depth = value(properties, "numId"), value(properties, "ilvl") or "0"
        if number == "0":
            return None
        if number is None:
            number = self._list_styles.get(style, ("", 0))[0]
        return number, int(depth) if depth.isdecimal() else 0

    def _mark(self, number: str, depth: int) -> str:
        """What an item begins with as Word shows it, like `2.1.`; `-` for one without a number."""
        level = self._formats.get((number, depth))
        if level is None or level.style in ("bullet", "none"):
            return "-"
        for key in [key for key in self._counters if key[0] == number and key[1] > depth]:
            del self._counters[key]
        self._counters[number, depth] = self._counters.get((number, depth), level.start - 1) + 1

        def write(match: re.Match[str]) -> str:
            outer = int(match.group(1)) - 1
            style = self._formats.get((number, outer), level)
            return _write_number(self._counters.get((number, outer), style.start), style.style)

        return re.sub(r"%([1-9])", write, level.text).strip() or "-"

    def _read_table(self, table: Any) -> None:
        self.draft.end_block()
        rows = [list(_find_cells(row)) for row in _find_rows(table)]
        if max(map(len, rows), default=0) <= 1:
            for cell in (cell for row in rows for cell in row):
                self.read_blocks(cell)
            return
        for row in rows:
            self.draft.row(["" if _continues(cell) else join_spaces(_cell_text(cell)) for cell in row])
        self.draft.end_block()


def _find_rows(table: Any) -> Iterator[Any]:
    for element in table:
        match name_of(element):
            case "tr":
                yield element
            case "sdt" | "sdtContent" | "customXml" | "ins":
                yield from _find_rows(element)
            case _:
                pass


def _find_cells(row: Any) -> Iterator[Any]:
    for element in row:
        match name_of(element):
            case "tc":
                yield element
            case "sdt" | "sdtContent" | "customXml":
                yield from _find_cells(element)
            case _:
                pass


def _continues(cell: Any) -> bool:
    """Whether a cell is the lower part of the one above it."""
    merge = child(cell, "tcPr", "vMerge")
    return merge is not None and attribute(merge, "val") != "restart"


def _cell_text(cell: Any) -> str:
    return " ".join("".join(_find_text(element)) for element in cell.iter() if name_of(element) == "p")


def _find_text(element: Any) -> Iterator[str]:
    """The text of a paragraph that is seen, without that of boxes that are anchored in it."""
    for one in element:
        name = name_of(one)
        match name:
            case "t":
                yield one.text or ""
            case "tab" | "ptab":
                yield "\t"
            case "br" | "cr":
                yield "\n"
            case "noBreakHyphen":
                yield "-"
            case "r":
                if not _is_hidden(one):
                    yield from _find_text(one)
            case "checkBox" | "checkbox":
                checked = value(one, "checked") or value(one, "default") or "0"
                yield "☒ " if checked in ("1", "true", "on") else "☐ "
            case "f" if child(one, "den") is not None:
                yield f"{_part_of(one, 'num')}/{_part_of(one, 'den')}"
            case "sSup" | "sSub":
                raised = name == "sSup"
                yield f"{_part_of(one, 'e')}{'^' if raised else '_'}{_part_of(one, 'sup' if raised else 'sub')}"
            case "rad":
                yield f"√({_part_of(one, 'e')})"
            case "txbxContent" | "p" | "tbl":
                pass
            case _ if name in _SKIPPED:
                pass
            case _:
                yield from _find_text(one)


def _part_of(formula: Any, name: str) -> str:
    """A part of a formula, in brackets where it is more than a word."""
    part = child(formula, name)
    text = "" if part is None else "".join(_find_text(part)).strip()
    return text if text.isalnum() else f"({text})"


def _find_boxes(element: Any) -> Iterator[Any]:
    for one in element:
        name = name_of(one)
        if name == "txbxContent":
            yield one
        elif name not in _SKIPPED and name != "p":
            yield from _find_boxes(one)


def _is_hidden(run: Any) -> bool:
    properties = child(run, "rPr")
    if properties is None:
        return False
    hidden = child(properties, "vanish")
    if hidden is not None and attribute(hidden, "val") not in ("0", "false", "off"):
        return True
    size = value(properties, "sz")
    if size is not None and size.isdecimal() and int(size) <= 2:
        return True
    # In tables, and where something is shaded, white may stand on a colour that is told elsewhere.
    return (value(properties, "color") or "").lower() == "ffffff" and not (
        child(properties, "shd") is not None
        or child(properties, "highlight") is not None
        or any(
            name_of(one) in ("tbl", "txbxContent") or child(one, "pPr", "shd") is not None
            for one in run.iterancestors()
        )
    )


def _find_heading_styles(styles: Any) -> tuple[dict[str, int], set[str]]:
    """The levels of the styles that are headings, and the styles of titles."""
    levels: dict[str, int] = {}
    titles: set[str] = set()
    based: dict[str, str] = {}
    for style in () if styles is None else styles:
        if name_of(style) != "style":
            continue
        key, name = attribute(style, "styleId") or "", value(style, "name") or ""
        based[key] = value(style, "basedOn") or ""
        outline, named = value(style, "pPr", "outlineLvl"), _HEADING_NAME.match(name)
        if outline is not None and outline.isdecimal() and int(outline) < 9:
            levels[key] = int(outline) + 1
        elif named:
            levels[key] = int(named.group(1))
        if name.lower() in ("title", "titre", "titel"):
            titles.add(key)
    for key in based:
        ancestor, seen = key, set[str]()
        while ancestor and ancestor not in levels and ancestor not in seen:
            seen.add(ancestor)
            ancestor = based.get(ancestor, "")
        if ancestor in levels:
            levels[key] = levels[ancestor]
    if styles is None:
        levels = {f"Heading{level}": level for level in range(1, 10)}
    return levels, titles


def _find_list_styles(styles: Any) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for style in () if styles is None else styles:
        number = value(style, "pPr", "numPr", "numId") if name_of(style) == "style" else None
        if number and number != "0":
            depth = value(style, "pPr", "numPr", "ilvl") or "0"
            found[attribute(style, "styleId") or ""] = (number, int(depth) if depth.isdecimal() else 0)
    return found


class _Level(NamedTuple):
    """How a list is numbered at one depth."""

    style: str
    start: int
    text: str
    """With `%1` for the number at the outermost depth."""
    paragraph_style: str


def _find_abstract_formats(numbering: Any) -> dict[str, dict[int, _Level]]:
    found: dict[str, dict[int, _Level]] = {}
    for element in () if numbering is None else numbering:
        if name_of(element) != "abstractNum":
            continue
        levels: dict[int, _Level] = {}
        for level in element:
            depth = attribute(level, "ilvl") or ""
            if name_of(level) == "lvl" and depth.isdecimal():
                start = value(level, "start") or "1"
                levels[int(depth)] = _Level(
                    value(level, "numFmt") or "bullet",
                    int(start) if start.isdecimal() else 1,
                    value(level, "lvlText") or "",
                    value(level, "pStyle") or "",
                )
        found[attribute(element, "abstractNumId") or ""] = levels
    return found


def _find_number_formats(numbering: Any) -> dict[tuple[str, int], _Level]:
    """How the items of each list are numbered at each depth."""
    abstract = _find_abstract_formats(numbering)
    formats: dict[tuple[str, int], _Level] = {}
    for element in () if numbering is None else numbering:
        if name_of(element) == "num":
            for depth, level in abstract.get(value(element, "abstractNumId") or "", {}).items():
                formats[attribute(element, "numId") or "", depth] = level
    return formats


def _find_linked_styles(numbering: Any) -> dict[str, tuple[str, int]]:
    """The styles whose paragraphs are numbered because a list says so: list and depth."""
    return {
        level.paragraph_style: (number, depth)
        for (number, depth), level in _find_number_formats(numbering).items()
        if level.paragraph_style
    }


def _write_number(number: int, style: str) -> str:
    if style in ("lowerLetter", "upperLetter") and 1 <= number <= 26:
        letter = "abcdefghijklmnopqrstuvwxyz"[number - 1]
        return letter.upper() if style.startswith("upper") else letter
    if style in ("lowerRoman", "upperRoman") and 1 <= number < 40:
        ones = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
        roman = "x" * (number // 10) + ones[number % 10]
        return roman.upper() if style.startswith("upper") else roman
    return str(number)
