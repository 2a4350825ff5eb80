"""Citations: spans of an answer, tied to spans of passages, each sentence with its support.

All offsets are in characters (Unicode code points), `[start, end)`: a sentence's of the answer, a citation's of the
source's text.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Support = Literal["quoted", "supported", "unsupported"]


class Citation(msgspec.Struct, kw_only=True, frozen=True):
    number: int
    """The source's, in the conversation."""
    start: int
    end: int
    quote: str
    """The source's text from `start` to `end`."""
    by_model: bool = True
    """False where the model left no mark, or one of a source that does not say it: the sentence was tied to the passage
    that supports it."""


class Sentence(msgspec.Struct, kw_only=True, frozen=True):
    text: str
    start: int
    end: int
    support: Support | None
    """None of what states nothing: a heading, a greeting, a question, that the sources do not say."""
    citations: list[Citation] = []
    flags: list[str] = []
    """`quote_repaired`, `quote_unmarked` (it lost its marks), `unknown_number`, `citation_moved` (to a source that supports it)."""
