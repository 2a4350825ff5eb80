"""Folders: the files under one that can be read, and what changes there.

A walk leaves out what is hidden, what version control and package managers keep, and whatever is no document by its
name; it never goes out of the folder through a link. A file's size and time of change tell cheaply whether it has to be
read again.

Changes are found by looking again and again, not by the notifications of the system: those do not come from network
drives and some containers, are few on Linux and lost when they come fast, and each start needs the walk anyway. The
pause grows with the time that a walk takes, so that watching a large folder costs one twentieth of a core at most.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from candide.domain.jobs import Problem

READABLE = frozenset(
    [
        ".htm",
        ".html",
        ".xhtml",
        ".md",
        ".markdown",
        ".mdx",
        ".rst",
        ".txt",
        ".text",
        ".log",
        ".org",
        ".adoc",
        ".asciidoc",
        ".tex",
        ".textile",
        ".pdf",
        ".doc",
        ".docx",
        ".docm",
        ".dot",
        ".dotx",
        ".odt",
        ".ott",
        ".fodt",
        ".rtf",
        ".pages",
        ".ppt",
        ".pptx",
        ".pptm",
        ".ppsx",
        ".odp",
        ".key",
        ".xls",
        ".xlsx",
        ".xlsm",
        ".xlsb",
        ".ods",
        ".numbers",
        ".csv",
        ".tsv",
        ".epub",
        ".mobi",
        ".fb2",
        ".djvu",
        ".eml",
        ".msg",
        ".mht",
        ".mhtml",
        ".xml",
        ".json",
        ".ipynb",
        ".vtt",
        ".srt",
    ]
)
"""Endings of documents; some of them cannot be read, and are not passed over in silence for that."""

LEFT_OUT = frozenset(
    [
        "node_modules",
        "bower_components",
        "__pycache__",
        "CVS",
        "_darcs",
        "venv",
        "site-packages",
        "__MACOSX",
        "lost+found",
        "$RECYCLE.BIN",
    ]
) | {"System Volume Information"}

POLL_S = 2.0
SHARE = 0.05
"""Of a core's time that watching may take."""


class File(msgspec.Struct, frozen=True):
    path: str
    """Absolute."""
    size: int
    modified_ns: int

    @property
    def stamp(self) -> str:
        """What changes with the file: kept beside a source, it tells that there is nothing to read."""
        return f"{self.size}-{self.modified_ns}"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is different in a folder since the last look."""

    changed: list[File] = []
    """Files that are new or were written to."""
    removed: list[str] = []
    """Paths that are there no more."""


def walk(folder: Path | str, patterns: Sequence[str] = ()) -> Iterator[File | Problem]:
    """The files under a folder, in the order of their names, each folder's files before the folders in it.

    `patterns` are names like `*.pdf`, or paths within the folder like `reports/*.md`, capitals aside; without any, all
    documents come. Folders that cannot be listed come as Problems. A folder that is gone raises FileNotFoundError, one
    that must not be read PermissionError.
    """
    root = os.path.realpath(folder)
    os.scandir(root).close()
    lowered = [pattern.lower() for pattern in patterns]
    waiting = [root]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Problem(current, f"the folder cannot be listed: {error.strerror}")
            continue
        below: list[str] = []
        for entry in entries:
            if entry.name.startswith(".") or entry.name in LEFT_OUT:
                continue
            if not is_text(entry.name):
                readable = os.fsencode(entry.path).decode("utf-8", "replace")
                yield Problem(readable, "its name is not UTF-8", "give it another name")
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                elif _is_wanted(entry, root, lowered) and (file := _look_at(entry, root)):
                    yield file
            except OSError as error:
                yield Problem(entry.path, f"the file cannot be looked at: {error.strerror}")
        waiting.extend(reversed(below))


def is_text(path: str) -> bool:
    """Whether a path can be written down: names of files are bytes, and need not be UTF-8."""
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)


def look_at(path: Path | str) -> File | None:
    """A single file, or None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return File(str(path), found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


async def watch(
    folder: Path | str,
    patterns: Sequence[str] = (),
    *,
    known: Mapping[str, str] | None = None,
    interval_s: float = POLL_S,
) -> AsyncIterator[Change]:
    """What changes in a folder, until the caller stops listening.

    `known` are the stamps of the files that were read already, by path; without them the first look is what is compared
    with. A file comes once it has stayed as it is for one look, so that half a file is not read. A folder that is gone, or
    a part of one that cannot be listed, is not taken for files that were removed.
    """
    stamps = dict(known) if known is not None else None
    waiting: dict[str, str] = {}
    while True:
        began = time.monotonic()
        files, unseen = await asyncio.to_thread(_take_stock, folder, patterns)
        if stamps is None:
            stamps = {path: file.stamp for path, file in files.items()}
        fresh = {path: file for path, file in files.items() if stamps.get(path) != file.stamp}
        settled = [file for path, file in fresh.items() if waiting.get(path) == file.stamp]
        waiting = {path: file.stamp for path, file in fresh.items()}
        removed = [
            path
            for path in stamps
            if path not in files
            and not any(path == part or path.startswith(part + os.sep) for part in unseen)
        ]
        if settled or removed:
            yield Change(changed=settled, removed=removed)
        stamps.update((file.path, file.stamp) for file in settled)
        for path in removed:
            del stamps[path]
        await asyncio.sleep(max(interval_s, (time.monotonic() - began) / SHARE))


def _take_stock(folder: Path | str, patterns: Sequence[str]) -> tuple[dict[str, File], list[str]]:
    """All files of a folder by path, and the parts of it that could not be looked at."""
    files: dict[str, File] = {}
    unseen: list[str] = []
    try:
        for found in walk(folder, patterns):
            if isinstance(found, Problem):
                unseen.append(found.uri)
            else:
                files[found.path] = found
    except OSError:
        unseen.append(os.path.realpath(folder))
    return files, unseen


def _is_wanted(entry: os.DirEntry[str], root: str, patterns: Sequence[str]) -> bool:
    name = entry.name.lower()
    if not patterns:
        return os.path.splitext(name)[1] in READABLE and not name.startswith("~$")
    within = os.path.relpath(entry.path, root).replace(os.sep, "/").lower()
    return any(fnmatch.fnmatchcase(within if "/" in pattern else name, pattern) for pattern in patterns)


def _look_at(entry: os.DirEntry[str], root: str) -> File | None:
    """The file that an entry is, or leads to within the folder; None for what is no file, or lies elsewhere."""
    if entry.is_symlink():
        real = os.path.realpath(entry.path)
        if os.path.commonpath((root, real)) != root or not os.path.isfile(real):
            return None
    found = entry.stat()
    if not stat.S_ISREG(found.st_mode):
        return None
    return File(entry.path, found.st_size, found.st_mtime_ns)
