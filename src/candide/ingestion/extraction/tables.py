"""Tables as text: workbooks, CSV and its kin, a row a line.

The row of headings at the head of a table is the heading of the rows under it: a passage of them far below still says
what its columns are.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterable, Sequence
from typing import Any

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion.extraction.containers import Container
from candide.ingestion.extraction.draft import CELL_SEPARATOR, MAX_HEADING, Draft, clean
from candide.ingestion.extraction.properties import read_properties

SHEET_LEVEL, TABLE_LEVEL = 2, 3

_DELIMITERS = ",;\t|"
SAMPLE_CHARACTERS = 2**16


def read_csv(text: str) -> Document:
    """A table, a row a line; what separates the cells is found out."""
    text = clean(text).strip("\n")
    csv.field_size_limit(2**24)
    draft = Draft()
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text))
    _write_table(draft, rows)
    return draft.document()


def read_sheets(data: bytes) -> Document:
    """The workbook of an .xlsx, .xls or .ods file, without sheets that are hidden.

    Raises UnreadableDocument where there is none in it.
    """
    import python_calamine as _calamine  # pyright: ignore

    calamine: Any = _calamine  # pyright: ignore

    facts: dict[str, Any] = {}
    if data.startswith(b"PK"):
        # To be sure that it unpacks to no more than it may.
        container = Container(data)
        container.check()
        facts = read_properties(container, "meta.xml" if "meta.xml" in container else "docProps/core.xml")
        facts.pop("language", None)
    try:
        book: Any = calamine.load_workbook(io.BytesIO(data))
    except calamine.PasswordError as error:
        raise UnreadableDocument(
            "the workbook is locked with a password", hint="save it without one"
        ) from error
    except calamine.CalamineError as error:
        raise UnreadableDocument(f"it is broken: {error}") from error
    draft = Draft()
    for sheet in book.sheets_metadata:
        if (
            sheet.visible == calamine.SheetVisibleEnum.Visible
            and sheet.typ == calamine.SheetTypeEnum.WorkSheet
        ):
            rows: list[list[Any]] = book.get_sheet_by_name(sheet.name).to_python(skip_empty_area=True)
            draft.end_block()
            draft.heading(SHEET_LEVEL, sheet.name)
            _write_table(draft, ([_write_cell(cell) for cell in row] for row in rows))
    return draft.document(**facts)


def _write_table(draft: Draft, rows: Iterable[Sequence[str]]) -> None:
    was_empty = True
    for row in rows:
        start = draft.row(row)
        if was_empty and start is not None and _is_head(row):
            draft.mark_heading(TABLE_LEVEL, start)
        was_empty = start is None


def _is_head(row: Sequence[str]) -> bool:
    """Whether a row says what stands under it: several short words, and no number."""
    cells = [cell for cell in row if cell.strip()]
    return (
        len(cells) > 1
        and len(CELL_SEPARATOR.join(cells)) <= MAX_HEADING
        and not any(cell.strip()[0].isdecimal() or cell.strip()[0] in "-+=" for cell in cells)
    )


def _write_cell(value: object) -> str:
    match value:
        case bool():
            return str(value).upper()
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case float():
            return f"{value:.10g}"
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "minutes")
        case _:
            return str(value)


def find_delimiter(text: str) -> str:
    """The delimiter by which the first lines fall into the most even rows."""
    sample = text[:SAMPLE_CHARACTERS]
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        widths = [
            len(row)
            for row, _ in zip(
                csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter), range(50), strict=False
            )
        ]
        usual = max(set(widths), key=lambda width: (widths.count(width), width), default=1)
        score = (widths.count(usual) / len(widths)) * min(usual - 1, 5) if widths else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best
