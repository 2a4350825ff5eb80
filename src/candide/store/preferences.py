"""The user's preferences: what holds wherever nothing else is said."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from candide.store.changes import Changes
from candide.store.database import Connection, Database
from candide.store.schema import preferences

_FIND = sa.select(preferences.c.instructions, preferences.c.params, preferences.c.model)


class Preferences(msgspec.Struct, kw_only=True):
    instructions: str = ""
    """What the user wants of every answer."""
    params: dict[str, Any] = {}
    """Sampling parameters of every turn."""
    model: str | None = None


class PreferenceStore:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()

    async def get(self) -> Preferences:
        async with self._database.read() as connection:
            return await fetch_preferences(connection)

    async def update(self, changes: dict[str, Any]) -> Preferences:
        """Change members, named as in `Preferences`."""
        async with self._database.write() as connection:
            if changes:
                await connection.execute(preferences.update().values(**changes))
            changed = await fetch_preferences(connection)
        if changes:
            self._changes.announce("preferences")
        return changed


async def fetch_preferences(connection: Connection) -> Preferences:
    return Preferences(**(await connection.execute(_FIND)).mappings().one())
