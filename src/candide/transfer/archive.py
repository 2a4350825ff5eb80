"""The file that someone wants imported: a ZIP or a JSON document, neither of them trusted.

Nothing is unpacked to a path: documents are read as they stand in the archive, piece by piece, and files are
found by the id that their names begin with. What is larger than a limit, or unpacks to much more than it
takes, is not read.
"""

from __future__ import annotations

import codecs
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from candide.conversation.chatgpt import find_file_id
from candide.conversation.imported import as_dict

PIECE_BYTES = 2**20
MAX_FILE_BYTES = 64 * 2**20
MAX_RATIO = 250
"""Of a member's size to what it takes in the archive. JSON comes to 30, a bomb to 1000."""
MIN_SUSPECT_BYTES = 16 * 2**20
"""Below this size a ratio says nothing: an empty picture is small."""

_DOCUMENT = re.compile(r"(?:.*/)?conversations(?:-(\d+))?\.json", re.DOTALL)
_OTHERS = frozenset({
    "user.json", "user_settings.json", "message_feedback.json", "model_comparisons.json", "shared_conversations.json",
    "group_chats.json", "sora.json", "export_manifest.json", "library_files.json", "conversation_asset_file_names.json",
    "tool_messages.json", "ads.json",
})  # fmt: skip


class ArchiveError(Exception):
    """The file cannot be read; the text says why."""


class Document(msgspec.Struct):
    """A JSON document of it."""

    name: str
    size: int


class FoundFile(msgspec.Struct):
    name: str
    data: bytes


class Archive:
    """Open an uploaded file; raises ArchiveError. `close` it at the end."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._zip: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._files: dict[str, zipfile.ZipInfo] = {}
        self._names: dict[str, str] = {}
        self.read_bytes = 0
        """How much of the documents was read, in their own bytes."""
        self.notes: list[tuple[str, str]] = []
        """What of the archive itself is left out: a member's name, and why."""
        self.feedback: Any = None
        """What ChatGPT's `message_feedback.json` holds, if it is there."""
        with path.open("rb") as file:
            beginning = file.read(4)
        if beginning[:2] == b"PK":
            self.documents = self._open_zip()
        elif beginning[:2] in (b"\x1f\x8b", b"7z", b"Ra", b"BZ") or beginning[:4] == b"\xfd7zX":
            raise ArchiveError(
                "this is an archive of another kind than ZIP: unpack it, and import what is in it"
            )
        else:
            self.documents = [Document(name, path.stat().st_size)]
        self.total_bytes = sum(document.size for document in self.documents)

    def close(self) -> None:
        if self._zip is not None:
            self._zip.close()

    def read_text(self, document: Document) -> Iterator[str]:
        """The document's text in pieces. Raises ArchiveError where the archive is damaged."""
        try:
            with self._open(document.name) as file:
                yield from self._decode(file, document.name)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise ArchiveError(f"the archive is damaged in '{document.name}': {error}") from error

    def find_file(self, key: str) -> FoundFile | str:
        """A file by its id, or why there is none."""
        member = self._files.get(key)
        if member is None or self._zip is None:
            return "not in the export"
        if member.file_size > MAX_FILE_BYTES:
            return f"larger than {MAX_FILE_BYTES // 2**20} MiB"
        if _is_bomb(member):
            return "it unpacks to much more than it takes in the archive"
        try:
            data = self._zip.read(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
            return "damaged in the export"
        name = self._names.get(key) or member.filename.rpartition("/")[2]
        return FoundFile(name.replace("\\", "/").rpartition("/")[2].removeprefix(f"{key}-") or key, data)

    def _open(self, name: str) -> IO[bytes]:
        if self._zip is None:
            return self._path.open("rb")
        return self._zip.open(self._members[name])

    def _open_zip(self) -> list[Document]:
        try:
            self._zip = zipfile.ZipFile(self._path)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
            raise ArchiveError(
                f"this is not a ZIP file that can be read, or not the whole of it: {error}"
            ) from error
        documents: list[zipfile.ZipInfo] = []
        others: list[zipfile.ZipInfo] = []
        nested = False
        for member in self._zip.infolist():
            base = member.filename.rpartition("/")[2]
            if member.is_dir() or member.filename.startswith("__MACOSX/") or base.startswith("._"):
                continue
            if key := find_file_id(base) if base.startswith("file") else "":
                self._files.setdefault(key, member)
            elif _DOCUMENT.fullmatch(member.filename):
                documents.append(member)
            elif base.endswith(".json") and base not in _OTHERS:
                others.append(member)
            nested = nested or base.lower().endswith(".zip")
            self._members.setdefault(member.filename, member)
        found = sorted(documents, key=_order) or others
        if not found:
            inside = (
                "another ZIP is: unpack this one, and import that"
                if nested
                else "no export of conversations is"
            )
            raise ArchiveError(f"in this ZIP {inside}")
        if any(member.flag_bits & 1 for member in found):
            raise ArchiveError(
                "the ZIP is encrypted: unpack it with its password, and pack or import it without one"
            )
        kept = [member for member in found if not _is_bomb(member)]
        if not kept:
            raise ArchiveError("the ZIP unpacks to much more than it takes: no export does that")
        self.notes.extend(
            (member.filename, "it unpacks to much more than it takes in the archive")
            for member in found
            if member not in kept
        )
        self.feedback = self._read_small("message_feedback.json")
        names = as_dict(self._read_small("conversation_asset_file_names.json"))
        self._names = {
            find_file_id(member): name
            for member, name in names.items()
            if isinstance(name, str) and "." in name
        }
        return [Document(member.filename, member.file_size) for member in kept]

    def _read_small(self, base: str) -> Any:
        """What a document beside the conversations holds; None when it cannot be read."""
        member = next((m for name, m in self._members.items() if name.rpartition("/")[2] == base), None)
        if member is None or self._zip is None or member.file_size > MAX_FILE_BYTES or _is_bomb(member):
            return None
        try:
            return json.loads(self._zip.read(member))
        except (
            ValueError,
            RecursionError,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
        ):
            return None

    def _decode(self, file: IO[bytes], name: str) -> Iterator[str]:
        decoder: codecs.IncrementalDecoder | None = None
        while data := file.read(PIECE_BYTES):
            if decoder is None:
                decoder = codecs.getincrementaldecoder(_find_encoding(data))("strict")
            self.read_bytes += len(data)
            try:
                yield decoder.decode(data)
            except UnicodeDecodeError:
                self.notes.append(
                    (name, "it is not in UTF-8: characters that were none were replaced by U+FFFD")
                )
                decoder.errors = "replace"
                yield decoder.decode(data)
        if decoder is not None:
            decoder.errors = "replace"
            yield decoder.decode(b"", final=True)


def _order(member: zipfile.ZipInfo) -> tuple[str, int]:
    found = _DOCUMENT.fullmatch(member.filename)
    return member.filename.rpartition("/")[0], int(found[1]) if found and found[1] else -1


def _is_bomb(member: zipfile.ZipInfo) -> bool:
    return member.file_size > MIN_SUSPECT_BYTES and member.file_size > MAX_RATIO * max(
        1, member.compress_size
    )


def _find_encoding(beginning: bytes) -> str:
    """UTF-8, or what the first bytes of a document say, as RFC 4627 section 3 describes."""
    if beginning.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if beginning[:1] == b"\0":
        return "utf-16-be"
    if beginning[1:2] == b"\0":
        return "utf-16-le"
    return "utf-8-sig"
