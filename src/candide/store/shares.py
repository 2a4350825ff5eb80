"""Shares: branches that whoever has the token may read, as long as the share stands.

A share shows a branch up to the message that was its leaf when it was made, in the state in which that
branch is now. A share of what was deleted shows nothing.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
import sqlalchemy as sa

from candide.errors import BadRequest, NotFound
from candide.store.changes import Changes
from candide.store.conversations import fetch_conversation, fetch_message
from candide.store.database import Database
from candide.store.schema import conversations, shares

TOKEN_BYTES = 24


class Share(msgspec.Struct, kw_only=True):
    token: str
    conversation_id: str
    leaf_id: str
    title: str
    """The conversation's."""
    created_at: float


_FIND = (
    sa.select(
        shares.c.token, shares.c.conversation_id, shares.c.leaf_id, conversations.c.title, shares.c.created_at
    )
    .join(conversations, conversations.c.id == shares.c.conversation_id)
    .where(conversations.c.deleted_at.is_(None))
)


class ShareStore:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()

    async def create(self, conversation_id: str, leaf_id: str | None = None) -> Share:
        """Share the branch that ends with a message, by default with the current leaf."""
        async with self._database.write() as connection:
            conversation = await fetch_conversation(connection, conversation_id)
            leaf = leaf_id or conversation.current_leaf_id
            if leaf is None:
                raise BadRequest("an empty conversation has nothing to share", param="leaf_id")
            message = await fetch_message(connection, leaf)
            if message.conversation_id != conversation_id:
                raise BadRequest(f"message '{leaf}' belongs to another conversation", param="leaf_id")
            row: dict[str, Any] = {
                "token": secrets.token_urlsafe(TOKEN_BYTES),
                "conversation_id": conversation_id,
                "leaf_id": leaf,
                "created_at": time.time(),
            }
            await connection.execute(shares.insert(), row)
        self._changes.announce("shares")
        return Share(**row, title=conversation.title)

    async def list(self) -> list[Share]:
        """All shares, the newest first."""
        query = _FIND.order_by(shares.c.created_at.desc(), shares.c.token)
        async with self._database.read() as connection:
            return [Share(**row) for row in (await connection.execute(query)).mappings()]

    async def get(self, token: str) -> Share:
        """Raises NotFound, also when the conversation was deleted."""
        async with self._database.read() as connection:
            row = (await connection.execute(_FIND.where(shares.c.token == token))).mappings().first()
        if row is None:
            raise no_share()
        return Share(**row)

    async def delete(self, token: str) -> None:
        """End a share at once."""
        async with self._database.write() as connection:
            done = await connection.execute(shares.delete().where(shares.c.token == token))
            if done.rowcount == 0:
                raise no_share()
        self._changes.announce("shares")


def no_share() -> NotFound:
    # Without the token: errors are logged.
    return NotFound("nothing is shared here, or not any more")
