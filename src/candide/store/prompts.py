"""Prompts that the user keeps, to be asked again."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import sqlalchemy as sa

from candide.domain.ids import new_id
from candide.errors import NotFound
from candide.store.changes import Changes
from candide.store.database import Database
from candide.store.schema import prompts


class Prompt(msgspec.Struct, kw_only=True):
    id: str
    name: str
    text: str
    """With variables, like `{{language}}`, that whoever asks fills in."""
    created_at: float


_FIND = sa.select(*(prompts.c[name] for name in Prompt.__struct_fields__)).where(
    prompts.c.deleted_at.is_(None)
)


class PromptStore:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()

    async def list(self) -> list[Prompt]:
        """All prompts, by name."""
        async with self._database.read() as connection:
            rows = await connection.execute(_FIND)
            found = [Prompt(**row) for row in rows.mappings()]
        return sorted(found, key=lambda prompt: (prompt.name.casefold(), prompt.id))

    async def create(self, name: str, text: str) -> Prompt:
        made = Prompt(id=new_id("prompt"), name=name, text=text, created_at=time.time())
        async with self._database.write() as connection:
            await connection.execute(prompts.insert(), msgspec.structs.asdict(made))
        self._changes.announce("prompts")
        return made

    async def update(self, prompt_id: str, changes: dict[str, Any]) -> Prompt:
        """Change the name or the text."""
        async with self._database.write() as connection:
            if changes:
                await connection.execute(prompts.update().where(prompts.c.id == prompt_id).values(**changes))
            row = (await connection.execute(_FIND.where(prompts.c.id == prompt_id))).mappings().first()
            if row is None:
                raise _no_prompt(prompt_id)
        self._changes.announce("prompts")
        return Prompt(**row)

    async def delete(self, prompt_id: str) -> None:
        """Delete a prompt; `restore` undoes it."""
        await self._mark_deleted(prompt_id, time.time())

    async def restore(self, prompt_id: str) -> None:
        await self._mark_deleted(prompt_id, None)

    async def _mark_deleted(self, prompt_id: str, at: float | None) -> None:
        which = prompts.update().where(prompts.c.id == prompt_id)
        if at is not None:
            which = which.where(prompts.c.deleted_at.is_(None))
        async with self._database.write() as connection:
            if (await connection.execute(which.values(deleted_at=at))).rowcount == 0:
                raise _no_prompt(prompt_id)
        self._changes.announce("prompts")


def _no_prompt(prompt_id: str) -> NotFound:
    return NotFound(f"there is no prompt '{prompt_id}'")
