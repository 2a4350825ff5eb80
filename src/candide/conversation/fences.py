"""Fences of Markdown that what stands between them cannot close."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_RUN = re.compile(r"`{3,}")
_WORD = re.compile(r"[\w+#.-]{1,30}")


def fence(text: str, language: str = "") -> str:
    """A text as a block of code."""
    longest = max((len(run) for run in _RUN.findall(text)), default=2)
    marks = "`" * (longest + 1)
    language = language if _WORD.fullmatch(language) else ""
    return f"{marks}{language}\n{text.rstrip()}\n{marks}"


def close_fences(text: str) -> str:
    """Markdown with its last fence closed, so that what comes after it stands outside."""
    opened = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if not found:
            continue
        marks = found[1]
        if not opened:
            # An info string with backticks makes a line of code of it, not a fence (CommonMark 4.5).
            if marks[0] == "~" or "`" not in line[found.end() :]:
                opened = marks
        elif marks[0] == opened[0] and len(marks) >= len(opened) and not line[found.end() :].strip():
            opened = ""
    return f"{text.rstrip()}\n{opened}" if opened else text
