"""Responses of the OpenAI API that their callers asked to keep, so that they can be read and continued.

A response holds its own messages only; what came before is found by following `previous_id`.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from candide.errors import NotFound
from candide.store.database import Database
from candide.store.schema import responses

MAX_CHAIN = 1000


class StoredResponse(msgspec.Struct, kw_only=True):
    id: str
    previous_id: str | None
    turn_id: str | None = None
    """The durable turn that writes it, of a response in the background."""
    body: dict[str, Any]
    """As the API shows it; of a response in the background, as it was when it was accepted."""
    input_items: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    """What it adds to a chat: its input and its output."""
    created_at: float


class ResponseStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, response: StoredResponse) -> None:
        async with self._database.write() as connection:
            await connection.execute(responses.insert(), msgspec.structs.asdict(response))

    async def get(self, response_id: str, *, param: str | None = None) -> StoredResponse:
        """Raises NotFound; `param` is where the caller wrote the id."""
        async with self._database.read() as connection:
            query = sa.select(responses).where(responses.c.id == response_id)
            row = (await connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound(f"there is no response '{response_id}'", param=param)
        return StoredResponse(**row)

    async def chain(self, response_id: str, *, param: str) -> list[StoredResponse]:
        """The response and those before it, the first one first. Raises NotFound."""
        found = [await self.get(response_id, param=param)]
        while (previous := found[-1].previous_id) is not None and len(found) < MAX_CHAIN:
            found.append(await self.get(previous, param=param))
        return found[::-1]

    async def delete(self, response_id: str) -> None:
        async with self._database.write() as connection:
            done = await connection.execute(responses.delete().where(responses.c.id == response_id))
        if done.rowcount == 0:
            raise NotFound(f"there is no response '{response_id}'")
