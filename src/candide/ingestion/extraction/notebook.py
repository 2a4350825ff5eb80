"""Notebooks of Jupyter: what is written between the programs, and the programs; their output is left out."""

from __future__ import annotations

import msgspec

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion.extraction.draft import Draft
from candide.ingestion.extraction.markdown import write_markdown


class _Cell(msgspec.Struct):
    cell_type: str = ""
    source: str | list[str] = ""


class _Notebook(msgspec.Struct):
    cells: list[_Cell] = []


def read_notebook(data: bytes) -> Document:
    """The document of an .ipynb file (nbformat 4); raises UnreadableDocument where there is none in it."""
    try:
        notebook = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=_Notebook)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableDocument("it is broken: it is no notebook") from error
    draft = Draft()
    for cell in notebook.cells:
        text = cell.source if isinstance(cell.source, str) else "".join(cell.source)
        if cell.cell_type == "markdown":
            write_markdown(text, draft)
        else:
            draft.verbatim(text)
    return draft.document(title=draft.sections[0].heading if draft.sections else "")
