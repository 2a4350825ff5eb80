"""Folders: conversations that belong together, with instructions for all of them.

A conversation stands in one folder or in none. Those of a deleted folder stay, and stand in it again
when it is restored, unless they were moved meanwhile.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import sqlalchemy as sa

from candide.domain.ids import new_id
from candide.errors import NotFound
from candide.store.changes import Changes
from candide.store.database import Connection, Database
from candide.store.schema import conversations, folders


class Folder(msgspec.Struct, kw_only=True):
    id: str
    name: str
    instructions: str | None
    created_at: float
    conversations: int = 0
    """How many stand in it, the archived ones among them."""


_COUNT = (
    sa.select(sa.func.count())
    .where(
        conversations.c.folder_id == folders.c.id,
        conversations.c.deleted_at.is_(None),
        conversations.c.hidden.is_(False),
    )
    .scalar_subquery()
)
_FIND = sa.select(
    folders.c.id, folders.c.name, folders.c.instructions, folders.c.created_at, _COUNT.label("conversations")
).where(folders.c.deleted_at.is_(None))


class FolderStore:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()

    async def list(self) -> list[Folder]:
        """All folders, by name."""
        async with self._database.read() as connection:
            rows = await connection.execute(_FIND)
            found = [Folder(**row) for row in rows.mappings()]
        return sorted(found, key=lambda folder: (folder.name.casefold(), folder.id))

    async def create(self, name: str, instructions: str | None = None) -> Folder:
        made = Folder(id=new_id("folder"), name=name, instructions=instructions, created_at=time.time())
        row = {
            "id": made.id,
            "name": name,
            "instructions": instructions,
            "created_at": made.created_at,
        }
        async with self._database.write() as connection:
            await connection.execute(folders.insert(), row)
        self._changes.announce("folders")
        return made

    async def update(self, folder_id: str, changes: dict[str, Any]) -> Folder:
        """Change the name or the instructions."""
        async with self._database.write() as connection:
            if changes:
                await connection.execute(folders.update().where(folders.c.id == folder_id).values(**changes))
            row = (await connection.execute(_FIND.where(folders.c.id == folder_id))).mappings().first()
            if row is None:
                raise _no_folder(folder_id)
        self._changes.announce("folders")
        return Folder(**row)

    async def delete(self, folder_id: str) -> None:
        """Delete a folder and leave its conversations in none; `restore` undoes both."""
        async with self._database.write() as connection:
            done = await connection.execute(
                folders.update()
                .where(folders.c.id == folder_id, folders.c.deleted_at.is_(None))
                .values(deleted_at=time.time())
            )
            if done.rowcount == 0:
                raise _no_folder(folder_id)
            await _move(
                connection,
                conversations.c.folder_id == folder_id,
                {"folder_id": None, "former_folder_id": folder_id},
            )
        self._changes.announce("folders")

    async def restore(self, folder_id: str) -> None:
        async with self._database.write() as connection:
            done = await connection.execute(
                folders.update().where(folders.c.id == folder_id).values(deleted_at=None)
            )
            if done.rowcount == 0:
                raise _no_folder(folder_id)
            await _move(
                connection,
                conversations.c.former_folder_id == folder_id,
                {"folder_id": folder_id, "former_folder_id": None},
            )
        self._changes.announce("folders")


async def _move(connection: Connection, which: sa.ColumnElement[bool], values: dict[str, Any]) -> None:
    await connection.execute(conversations.update().where(which).values(**values))


def _no_folder(folder_id: str) -> NotFound:
    return NotFound(f"there is no folder '{folder_id}'")
