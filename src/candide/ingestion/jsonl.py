"""JSON Lines: one document a line, read from any line on in constant memory.

A line holds an object with `_id` or `id`, `title`, `text`, `url`, `language` and `published` (an ISO date or seconds
since 1970); only `text` must be there, other members are left aside. Files may be packed with gzip. A line that cannot
be read is a problem of its own, and the next one is read as if it had not been.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_ID_LENGTH = 512
_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_REGION = re.compile(r"[-_]")
_SECONDS = re.compile(r"-?\d{9,13}(?:\.\d+)?", re.ASCII)
_YEAR = re.compile(r"(\d{4})(-\d{2})?", re.ASCII)


class JsonDocument(msgspec.Struct, kw_only=True, frozen=True):
    """One line that could be read."""

    position: int
    """Where the next line begins, in bytes of the unpacked file: the place to go on from."""
    line: int
    text: str
    external_id: str | None = None
    """Its `_id` or `id`."""
    title: str = ""
    url: str | None = None
    language: str = ""
    published: float | None = None
    """Seconds since 1970, UTC."""


class BadLine(msgspec.Struct, kw_only=True, frozen=True):
    """One line that could not."""

    position: int
    line: int
    reason: str


def read(path: Path | str, position: int = 0) -> Iterator[JsonDocument | BadLine]:
    """The lines that begin at `position` or after it, in order; empty ones are left out.

    `position` is 0 or that of a line read before. Raises OSError when the file cannot be opened or read; one that is
    packed and damaged ends in a BadLine.
    """
    with _open(Path(path)) as file:
        line = _skip(file, position)
        lines = _lines(file, position)
        while True:
            try:
                found = next(lines, None)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                yield BadLine(
                    position=position, line=line + 1, reason=f"the file is damaged from here on: {error}"
                )
                return
            if found is None:
                return
            position, content = found
            line += 1
            if content is None:
                yield BadLine(position=position, line=line, reason=f"longer than {MAX_LINE_BYTES >> 20} MiB")
            elif content.strip():
                yield _parse(content, position, line)


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    try:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
    except BaseException:
        file.close()
        raise
    if not is_packed:
        return file
    file.close()
    return cast("BinaryIO", gzip.open(path, "rb"))


def _skip(file: BinaryIO, position: int) -> int:
    """Go to a position; how many lines stand before it."""
    lines, left = 0, position
    # Line by line, as when they are read: of a packed file that is damaged, a larger block would lose what comes before.
    with contextlib.suppress(EOFError, gzip.BadGzipFile, zlib.error):
        while left > 0 and (piece := file.readline(min(_BLOCK, left))):
            lines += piece.endswith(b"\n")
            left -= len(piece)
    return lines


def _lines(file: BinaryIO, position: int) -> Iterator[tuple[int, bytes | None]]:
    """Where each line ends and what it holds; None for one that is too long to be kept."""
    is_first = position == 0
    while content := file.readline(MAX_LINE_BYTES + 1):
        position += len(content)
        kept: bytes | None = content
        if len(content) > MAX_LINE_BYTES and not content.endswith(b"\n"):
            kept = None
            while rest := file.readline(_BLOCK):
                position += len(rest)
                if rest.endswith(b"\n"):
                    break
        if is_first and kept is not None:
            kept = kept.removeprefix(_BOM)
        is_first = False
        yield position, kept


def _parse(content: bytes, position: int, line: int) -> JsonDocument | BadLine:
    def bad(reason: str) -> BadLine:
        return BadLine(position=position, line=line, reason=reason)

    try:
        found: Any = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return bad(f"no JSON: {error}")
    except RecursionError:
        return bad("nested too deeply")
    if not isinstance(found, dict):
        hint = "; a JSON array is not JSON Lines" if content.lstrip()[:1] == b"[" else ""
        return bad(f"no object{hint}")
    members = cast("dict[str, Any]", found)
    text = members.get("text")
    if not isinstance(text, str) or not text.strip():
        return bad("no `text`")
    # PostgreSQL keeps no NUL; a space in its place leaves all offsets as they are.
    text = text.replace("\x00", " ")
    external_id = _first(members, "_id", "id")
    if external_id is not None and len(external_id) > MAX_ID_LENGTH:
        return bad(f"an id of more than {MAX_ID_LENGTH} characters")
    return JsonDocument(
        position=position,
        line=line,
        text=text,
        external_id=external_id,
        title=_first(members, "title") or "",
        url=_first(members, "url"),
        language=_language(_first(members, "language") or ""),
        published=read_date(members.get("published")),
    )


def _first(members: dict[str, Any], *names: str) -> str | None:
    """The first of the members that says something; numbers are taken as they are written."""
    for name in names:
        value = members.get(name)
        if isinstance(value, str) and value.strip():
            return value.replace("\x00", " ").strip()
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return None


def _language(text: str) -> str:
    """`fr` of `fr-CA`; empty for what is no ISO 639-1 code."""
    code = _REGION.split(text.lower(), maxsplit=1)[0]
    return code if len(code) == 2 and code.isascii() and code.isalpha() else ""


def read_date(value: object) -> float | None:
    """Seconds since 1970 of an ISO 8601 date, a date with a time (UTC without a zone), or of seconds; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        # No document is of the year 5138: what is so large counts milliseconds.
        try:
            seconds = float(value) / (1000 if abs(value) > 1e11 else 1)
        except OverflowError:
            return None
        return seconds if math.isfinite(seconds) and abs(seconds) < 1e11 else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return read_date(float(text))
    if year := _YEAR.fullmatch(text):
        text += "-01" if year[2] else "-01-01"
    try:
        date = datetime.fromisoformat(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
