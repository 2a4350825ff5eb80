"""Files that belong to questions: images, texts and documents, each kept once, in the database.

A file's id is made from its name and its bytes. Files are never changed; the text of a document may come later.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import time
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from candide.domain.messages import File, StoredFile
from candide.errors import NotFound
from candide.store.database import Connection, Database
from candide.store.schema import file_texts, files

_DESCRIPTION = (files.c.id, files.c.name, files.c.media_type, files.c.size)
_ADD = files.insert()
_LOAD = sa.select(*_DESCRIPTION, files.c.data, file_texts.c.text).outerjoin_from(files, file_texts)
_LOAD_WHAT_IS_SAID = sa.select(
    *_DESCRIPTION,
    sa.case((file_texts.c.text != "", b""), else_=files.c.data).label("data"),
    file_texts.c.text,
).outerjoin_from(files, file_texts)


class FileStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, name: str, media_type: str, data: bytes, text: str | None = None) -> File:
        """Keep a file; the same bytes under the same name are the file that is there already."""
        stored = await asyncio.to_thread(describe_file, name, media_type, data, text)
        try:
            async with self._database.write() as connection:
                return await keep_file(connection, stored)
        except IntegrityError:
            # Someone else added it meanwhile.
            return (await self.get(stored.file.id)).file

    async def get(self, file_id: str) -> StoredFile:
        """A file with its bytes; raises NotFound."""
        found = await self.load([file_id])
        if not found:
            raise NotFound(f"there is no file '{file_id}'")
        return found[file_id]

    async def load(self, file_ids: Collection[str]) -> dict[str, StoredFile]:
        """Those of the files that there are, by id."""
        return await self._load(_LOAD, file_ids)

    async def load_said(self, file_ids: Collection[str]) -> dict[str, StoredFile]:
        """Like `load`, without the bytes of documents whose text is there."""
        return await self._load(_LOAD_WHAT_IS_SAID, file_ids)

    async def keep_text(self, file_id: str, text: str) -> None:
        """Keep what a file was read as."""
        # Another turn may have kept it meanwhile.
        with contextlib.suppress(IntegrityError):
            async with self._database.write() as connection:
                await _keep_text(connection, file_id, text)

    async def _load(
        self, query: sa.Select[Any, Any, Any, Any, Any, Any], file_ids: Collection[str]
    ) -> dict[str, StoredFile]:
        async with self._database.read() as connection:
            rows = (await connection.execute(query.where(files.c.id.in_(file_ids)))).all()
        return {row.id: StoredFile(_file(row), row.data, row.text) for row in rows}


def describe_file(name: str, media_type: str, data: bytes, text: str | None = None) -> StoredFile:
    """A file under the id that it is kept by."""
    file = File(id=_make_id(name, data), name=name, media_type=media_type, size=len(data))
    return StoredFile(file, data, text)


async def keep_file(connection: Connection, stored: StoredFile) -> File:
    """Add a file unless it is there."""
    found = await _find(connection, [stored.file.id])
    if not found:
        row = {**msgspec.structs.asdict(stored.file), "data": stored.data, "created_at": time.time()}
        await connection.execute(_ADD, row)
    if stored.text is not None:
        await _keep_text(connection, stored.file.id, stored.text)
    return found[0] if found else stored.file


async def _keep_text(connection: Connection, file_id: str, text: str) -> None:
    """Keep a text unless there is one: prompts that it stands in are not to change."""
    of_file = file_texts.c.file_id == file_id
    if (await connection.execute(sa.select(file_texts.c.text).where(of_file))).scalar():
        return
    await connection.execute(file_texts.delete().where(of_file))
    await connection.execute(file_texts.insert(), {"file_id": file_id, "text": text})


async def describe_files(connection: Connection, file_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The parts of a message that stand for files, in their order; raises NotFound."""
    if not file_ids:
        return []
    found = {file.id: file for file in await _find(connection, file_ids)}
    parts: list[dict[str, Any]] = []
    for position, file_id in enumerate(file_ids):
        if file_id not in found:
            raise NotFound(f"there is no file '{file_id}'", param=f"attachments.{position}")
        parts.append(found[file_id].as_part())
    return parts


async def _find(connection: Connection, file_ids: Collection[str]) -> list[File]:
    rows = await connection.execute(sa.select(*_DESCRIPTION).where(files.c.id.in_(file_ids)))
    return [_file(row) for row in rows]


def _file(row: sa.Row[Any]) -> File:
    return File(id=row.id, name=row.name, media_type=row.media_type, size=row.size)


def _make_id(name: str, data: bytes) -> str:
    digest = hashlib.sha256(name.encode() + b"\0" + data).digest()
    return "file_" + base64.b32encode(digest[:20]).decode().lower()
