"""Files of questions: taken in when a model can be given what is in them, refused with a reason when it cannot.

Images are known by their first bytes, a text in UTF-8 is given as it stands, and all else is read as a document is
read into a library: what the model is given of it is its text, and what is kept beside that are its bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from candide.domain.media import find_image_type, is_text
from candide.domain.messages import File, StoredFile
from candide.errors import BadRequest, TooLarge, UnreadableDocument
from candide.store.files import FileStore

if TYPE_CHECKING:
    from candide.ingestion.extraction import Extractor

MAX_TEXT_CHARACTERS = 20 * 2**20
"""Of a document; no model reads as much."""
PROCESSES = 2
"""That read documents: one that takes long is not waited for by the next."""

_TEXT_TYPES = frozenset({
    "application/json", "application/xml", "application/yaml", "application/toml", "application/javascript",
    "application/sql", "application/x-sh",
})  # fmt: skip
_MARKED_UP_TYPES = frozenset({"text/html", "application/xhtml+xml", "message/rfc822"})
_MARKED_UP_SUFFIXES = frozenset({".html", ".htm", ".xhtml", ".eml"})


class Attachments:
    def __init__(self, files: FileStore) -> None:
        self._files = files
        self._extractor: Extractor | None = None

    async def add(self, name: str, media_type: str, data: bytes) -> File:
        """Keep a file that is sent under a name and a media type; raises BadRequest or TooLarge, which say what to do."""
        if not data:
            raise BadRequest(f"the file '{name}' is empty", param="body")
        said = media_type.partition(";")[0].strip().lower()
        if image_type := find_image_type(data):
            return await self._files.add(name, image_type, data)
        is_plain = await asyncio.to_thread(is_text, data)
        if not is_plain or _is_marked_up(name, said):
            try:
                text, found = await self._read(name, media_type, data)
            except UnreadableDocument as error:
                if not is_plain:
                    raise _refuse(name, error) from error
            else:
                return await self._files.add(name, found, data, text)
        plain_type = said if said.startswith("text/") or said in _TEXT_TYPES else "text/plain"
        return await self._files.add(name, plain_type, data)

    async def load(self, file_ids: Collection[str]) -> dict[str, StoredFile]:
        """Those of the files that there are, by id, as a prompt needs them.

        Documents that came with an import are read now.
        """
        found = await self._files.load_said(file_ids)
        for file_id, stored in found.items():
            if await _is_to_be_read(stored):
                found[file_id] = msgspec.structs.replace(stored, text=await self._read_late(stored))
        return found

    async def close(self) -> None:
        if self._extractor is not None:
            await self._extractor.close()

    async def _read_late(self, stored: StoredFile) -> str:
        file = stored.file
        try:
            text, _ = await self._read(file.name, file.media_type, stored.data)
        except (UnreadableDocument, TooLarge):
            # Kept too: the next turn need not try again.
            text = ""
        await self._files.keep_text(file.id, text)
        return text

    async def _read(self, name: str, media_type: str, data: bytes) -> tuple[str, str]:
        """A document's text and the media type that it turned out to be of."""
        if self._extractor is None:
            # Only now: to many servers no document is ever given.
            from candide.ingestion.extraction import Extractor

            self._extractor = Extractor(processes=PROCESSES)
        document, found = await self._extractor.extract(data, name=name, media_type=media_type)
        if len(document.text) > MAX_TEXT_CHARACTERS:
            raise TooLarge(
                f"'{name}' holds more text than a question can have",
                hint="add it to a library and search there, or attach a part of it",
            )
        return document.text, found


def _is_marked_up(name: str, media_type: str) -> bool:
    """Whether a text is not to be given as it stands: pages and mail are mostly marks."""
    return (
        media_type in _MARKED_UP_TYPES
        or PurePosixPath(name.replace("\\", "/")).suffix.lower() in _MARKED_UP_SUFFIXES
    )


async def _is_to_be_read(stored: StoredFile) -> bool:
    file = stored.file
    if file.is_image or stored.text is not None:
        return False
    return _is_marked_up(file.name, file.media_type) or not await asyncio.to_thread(is_text, stored.data)


def _refuse(name: str, error: UnreadableDocument) -> BadRequest:
    from candide.ingestion.extraction.reader import WHAT_IS_READ

    hint = error.hint or "open it and save it anew, or in another format"
    if hint == WHAT_IS_READ:
        hint += "; and images: PNG, JPEG, GIF, WebP"
    return BadRequest(
        f"'{name}' cannot be read: {error.message}", param="body", hint=hint, code="unsupported_file"
    )
