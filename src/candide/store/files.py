"""Files that belong to questions: images and texts, each kept once, in the database.

A file's id is made from its name and its bytes. Files are never changed.
"""

from __future__ import annotations

import asyncio
import base64
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
from candide.store.schema import files

_DESCRIPTION = (files.c.id, files.c.name, files.c.media_type, files.c.size)
_ADD = files.insert()


class FileStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, name: str, media_type: str, data: bytes) -> File:
        """Keep a file; the same bytes under the same name are the file that is there already."""
        stored = await asyncio.to_thread(describe_file, name, media_type, data)
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
        query = sa.select(*_DESCRIPTION, files.c.data).where(files.c.id.in_(file_ids))
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return {row.id: StoredFile(_file(row), row.data) for row in rows}


def describe_file(name: str, media_type: str, data: bytes) -> StoredFile:
    """A file under the id that it is kept by."""
    return StoredFile(File(id=_make_id(name, data), name=name, media_type=media_type, size=len(data)), data)


async def keep_file(connection: Connection, stored: StoredFile) -> File:
    """Add a file unless it is there."""
    if found := await _find(connection, [stored.file.id]):
        return found[0]
    row = {**msgspec.structs.asdict(stored.file), "data": stored.data, "created_at": time.time()}
    await connection.execute(_ADD, row)
    return stored.file


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
