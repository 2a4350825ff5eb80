"""ZIP containers of office documents and books, of which nobody knows what they unpack to.

A member is unpacked when it is asked for, into memory, and never beyond what a document may take.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from typing import Any
from urllib.parse import unquote

from candide.errors import UnreadableDocument
from candide.ingestion.extraction.trees import parse_xml

MAX_MEMBER_BYTES = 192 * 2**20
MAX_TOTAL_BYTES = 384 * 2**20


class Container:
    """The members of a ZIP file by their paths; raises UnreadableDocument where it is none."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError) as error:
            raise UnreadableDocument("it is a broken ZIP archive, or was cut off") from error
        self._members = {info.filename: info for info in self._zip.infolist()}
        self._unpacked = 0

    def __contains__(self, path: str) -> bool:
        return path in self._members

    @property
    def paths(self) -> list[str]:
        return list(self._members)

    def read(self, path: str) -> bytes:
        """A member's bytes; raises KeyError where there is none, UnreadableDocument where it is locked, broken or too
        large.
        """
        info = self._members[path]
        if info.flag_bits & 1:
            raise UnreadableDocument("the file is locked with a password", hint="save it without one")
        limit = min(MAX_MEMBER_BYTES, MAX_TOTAL_BYTES - self._unpacked)
        try:
            with self._zip.open(info) as file:
                data = file.read(limit + 1)
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            EOFError,
            OSError,
            zlib.error,
        ) as error:
            raise UnreadableDocument(f"it is broken: {path} cannot be unpacked") from error
        if len(data) > limit:
            raise UnreadableDocument("it unpacks to more than a document can be")
        self._unpacked += len(data)
        return data

    def check(self) -> None:
        """Raise UnreadableDocument where the members together unpack to more than a document can be."""
        for path in self.paths:
            self.read(path)

    def read_xml(self, path: str) -> Any:
        """A member's root element, None where there is no such member or no XML in it."""
        if path not in self._members:
            return None
        try:
            return parse_xml(self.read(path))
        except ValueError:
            return None

    def find_related(self, path: str) -> dict[str, tuple[str, str]]:
        """What a part of an Office document refers to: by the reference's id, the last word of its type and the path."""
        folder, name = posixpath.split(path)
        root = self.read_xml(posixpath.join(folder, "_rels", f"{name}.rels"))
        if root is None:
            return {}
        return {
            relation.get("Id", ""): (
                relation.get("Type", "").rpartition("/")[2],
                resolve(path, relation.get("Target", "")),
            )
            for relation in root
            if relation.get("TargetMode") != "External"
        }


def resolve(base: str, target: str) -> str:
    """The path of what `base` refers to as `target`."""
    target = unquote(target.partition("#")[0])
    if target.startswith("/"):
        return target.lstrip("/")
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), target))
