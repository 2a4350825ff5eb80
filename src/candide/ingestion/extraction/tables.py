"""Tables as text: CSV and its kin."""

from __future__ import annotations

import csv
import io

from candide.domain.sources import Document
from candide.ingestion.extraction.draft import Draft, clean

_DELIMITERS = ",;\t|"
SAMPLE_CHARACTERS = 2**16


def read_csv(text: str) -> Document:
    """A table, a row a line; what separates the cells is found out."""
    text = clean(text).strip("\n")
    csv.field_size_limit(2**24)
    draft = Draft()
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text)):
        draft.row(row)
    return draft.document()


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
