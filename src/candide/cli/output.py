"""What every command shows alike: data goes to standard output, all the rest to standard error."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from candide.errors import CandideError, SetupError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class OutputError(SetupError):
    """Standard output cannot be written."""

    code = "output"


class ReaderGone(BrokenPipeError):
    """Whoever read standard output closed it. Raised without the errno, at which typer would exit with 1."""


class _StandardOutput(io.FileIO):
    """Descriptor 1, whose failures can be told from those of every other file and connection."""

    def write(self, data: Any, /) -> int | None:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ReaderGone("the reader of standard output has gone") from None
        except OSError as error:
            reason = "it is closed" if error.errno == errno.EBADF else (error.strerror or str(error))
            raise OutputError(
                f"standard output cannot be written: {reason[:1].lower()}{reason[1:]}"
            ) from error


def prepare_standard_streams() -> None:
    """Have all three, also where who started this closed some, and errors of output that are named."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # A free number would be given to the next file opened: an answer must not end in the
            # database. What cannot be written fails as a closed one does.
            null = os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr = os.fdopen(2, "w", closefd=False)
    before = sys.stdout
    if before is None or not before.isatty():  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_StandardOutput(1, "w", closefd=False)),
            encoding=before.encoding if before else "utf-8",
            errors=before.errors if before else "strict",
        )


def abandon_output() -> None:
    """Let go of standard output and of what waits to be written there: the exit must not try again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def plain_text(text: str) -> str:
    """The text without anything that a terminal would obey instead of showing."""
    return _CONTROL.sub("", text)


def print_error(error: CandideError) -> None:
    """The message and the next step."""
    _print_aside("error:", "\x1b[1;31m", error.message)
    if error.hint:
        _print_aside("hint:", "\x1b[1m", error.hint)


def print_warning(text: str) -> None:
    _print_aside("warning:", "\x1b[1;33m", text)


def print_note(text: str) -> None:
    """A remark that is not data."""
    text = _fit(plain_text(text))
    sys.stderr.write(f"\x1b[2m{text}\x1b[0m\n" if _is_styled() else f"{text}\n")
    sys.stderr.flush()


def _print_aside(label: str, style: str, text: str) -> None:
    sys.stdout.flush()
    text = _fit(f"{label} {plain_text(text)}").removeprefix(label)
    label = f"{style}{label}\x1b[0m" if _is_styled() else label
    sys.stderr.write(f"{label}{text}\n")
    sys.stderr.flush()


def _fit(text: str) -> str:
    """Wrapped between words on a terminal; a path is never broken, so that it can be copied."""
    if not sys.stderr.isatty():
        return text
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    lines = text.splitlines() or [""]
    return "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in lines
    )


def _is_styled() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def print_json(data: Any) -> None:
    """One JSON document on standard output; laid out for reading when someone reads it."""
    import msgspec

    encoded = msgspec.json.encode(data)
    if sys.stdout.isatty():
        encoded = msgspec.json.format(encoded, indent=2)
    sys.stdout.write(encoded.decode() + "\n")
    sys.stdout.flush()


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output: aligned on a terminal, separated by tabs in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row) + "\n")
        sys.stdout.flush()
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        # An id is there to be copied: the others make room for it.
        table.add_column(header, overflow="fold", no_wrap=header == "id")
    for row in rows:
        table.add_row(*(Text(plain_text(cell)) for cell in row))
    Console(highlight=False).print(table)


class Entry(NamedTuple):
    """What a terminal shows of a row that is too long for a table."""

    title: str
    address: str
    id: str
    facts: Sequence[str] = ()


def print_entries(rows: Sequence[Sequence[str]], entries: Sequence[Entry]) -> None:
    """Rows on standard output: separated by tabs in a pipe; on a terminal some lines each.

    Addresses and ids are there to be copied: neither is shortened, and a line is only broken by the terminal itself.
    """
    if not sys.stdout.isatty():
        print_table((), rows)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for entry in entries:
        console.print(Text(plain_text(entry.title), "bold"))
        facts = " · ".join(plain_text(fact) for fact in entry.facts if fact)
        for line in (entry.address if entry.address != entry.title else "", f"{entry.id}  {facts}"):
            if line:
                console.print(Text(f"   {plain_text(line)}", "dim"), soft_wrap=True)


def ago(moment: float) -> str:
    """How long ago a moment was, in words: `3 minutes ago`."""
    seconds = max(0.0, time.time() - moment)
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            if unit == "day" and count > 30:
                return datetime.fromtimestamp(moment).astimezone().date().isoformat()
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
