"""Conversations and their trees of messages, in the database.

Messages are only ever added; a deleted conversation is hidden, and can be brought back. Every method
is one transaction. NotFound names what does not exist.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from candide.domain.ids import new_id
from candide.domain.messages import Conversation, Message
from candide.errors import BadRequest, Conflict, NotFound
from candide.store.database import Connection, Database
from candide.store.schema import conversations, messages
from candide.store.words import Found, index_messages, search_messages

# Made once: putting a statement together costs more than running it.
_FIND = sa.select(conversations).where(
    conversations.c.id == sa.bindparam("conversation"), conversations.c.deleted_at.is_(None)
)
_FIND_AND_LOCK = _FIND.with_for_update()
_MESSAGE_COLUMNS = [messages.c[name] for name in Message.__struct_fields__]
_FIND_MESSAGES = (
    sa.select(*_MESSAGE_COLUMNS)
    .where(messages.c.conversation_id == sa.bindparam("conversation"))
    .order_by(messages.c.id)
)
_FIND_MESSAGE = sa.select(*_MESSAGE_COLUMNS).where(messages.c.id == sa.bindparam("message"))
_ADD = conversations.insert()
_ADD_MESSAGES = messages.insert()


class ConversationStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, *, title: str = "", model: str | None = None, system_prompt: str | None = None
    ) -> str:
        """Make an empty conversation; its id."""
        now = time.time()
        made = Conversation(
            id=new_id("conv"),
            title=title,
            current_leaf_id=None,
            model=model,
            system_prompt=system_prompt,
            created_at=now,
            updated_at=now,
        )
        async with self._database.write() as connection:
            await connection.execute(_ADD, msgspec.structs.asdict(made))
        return made.id

    async def get(self, conversation_id: str) -> Conversation:
        async with self._database.read() as connection:
            return await fetch_conversation(connection, conversation_id)

    async def list(self, *, limit: int, before: str | None = None) -> list[Conversation]:
        """The conversations, last used first; `before` is the id of the last one of the page before."""
        query = sa.select(conversations).where(
            conversations.c.deleted_at.is_(None), conversations.c.hidden.is_(False)
        )
        async with self._database.read() as connection:
            if before is not None:
                # It may have been deleted since; its place in the list stays.
                found = sa.select(conversations.c.updated_at).where(conversations.c.id == before)
                last = (await connection.execute(found)).first()
                if last is None:
                    raise _no_conversation(before)
                query = query.where(
                    sa.tuple_(conversations.c.updated_at, conversations.c.id)
                    < sa.tuple_(sa.literal(last.updated_at), sa.literal(before))
                )
            rows = await connection.execute(
                query.order_by(conversations.c.updated_at.desc(), conversations.c.id.desc()).limit(limit)
            )
            return [_conversation(row) for row in rows.mappings()]

    async def update(self, conversation_id: str, changes: dict[str, Any]) -> Conversation:
        """Change title, model, system prompt or current leaf."""
        async with self._database.write() as connection:
            await fetch_conversation(connection, conversation_id)
            leaf = changes.get("current_leaf_id")
            if leaf is not None:
                message = await fetch_message(connection, leaf)
                if message.conversation_id != conversation_id:
                    raise BadRequest(
                        f"message '{leaf}' belongs to another conversation", param="current_leaf_id"
                    )
            if changes:
                await connection.execute(
                    conversations.update().where(conversations.c.id == conversation_id).values(**changes)
                )
            return await fetch_conversation(connection, conversation_id)

    async def set_title_if_empty(self, conversation_id: str, title: str) -> None:
        """Give a title unless there is one by now: the user's own always stays."""
        async with self._database.write() as connection:
            await connection.execute(
                conversations.update()
                .where(conversations.c.id == conversation_id, conversations.c.title == "")
                .values(title=title)
            )

    async def delete(self, conversation_id: str) -> None:
        """Hide a conversation; `restore` brings it back."""
        await self._mark_deleted(conversation_id, time.time())

    async def restore(self, conversation_id: str) -> None:
        await self._mark_deleted(conversation_id, None)

    async def _mark_deleted(self, conversation_id: str, at: float | None) -> None:
        async with self._database.write() as connection:
            done = await connection.execute(
                conversations.update().where(conversations.c.id == conversation_id).values(deleted_at=at)
            )
            if done.rowcount == 0:
                raise _no_conversation(conversation_id)

    async def load(self, conversation_id: str) -> tuple[Conversation, list[Message]]:
        """A conversation and its whole tree, parents before children."""
        async with self._database.read() as connection:
            conversation = await fetch_conversation(connection, conversation_id)
            rows = await connection.execute(_FIND_MESSAGES, {"conversation": conversation_id})
            return conversation, [_message(row) for row in rows.mappings()]

    async def add_all(
        self, conversation: Conversation, tree: Sequence[Message], *, hidden: bool = False
    ) -> None:
        """Add a whole conversation at once, as an import does. Raises Conflict when an id is taken.

        One that is `hidden` stands in no list and is not searched.
        """
        try:
            async with self._database.write() as connection:
                row = {**msgspec.structs.asdict(conversation), "hidden": hidden}
                await connection.execute(_ADD, row)
                await insert_messages(connection, tree)
        except IntegrityError:
            raise Conflict(
                f"conversation '{conversation.id}' or one of its messages has an id that is taken"
            ) from None

    async def exists(self, conversation_id: str) -> bool:
        """Whether there is such a conversation, deleted or not."""
        async with self._database.read() as connection:
            query = sa.select(conversations.c.id).where(conversations.c.id == conversation_id)
            return (await connection.execute(query)).first() is not None

    async def search(self, query: str, limit: int) -> list[Found]:
        """Find messages by their words; see `candide.store.words`."""
        async with self._database.read() as connection:
            return await search_messages(connection, query, limit)


async def fetch_conversation(
    connection: Connection, conversation_id: str, *, lock: bool = False
) -> Conversation:
    """Find a conversation that is not deleted; `lock` keeps other writers of it out till the transaction's end."""
    query = _FIND_AND_LOCK if lock else _FIND
    row = (await connection.execute(query, {"conversation": conversation_id})).mappings().first()
    if row is None:
        raise _no_conversation(conversation_id)
    return _conversation(row)


async def fetch_message(connection: Connection, message_id: str) -> Message:
    row = (await connection.execute(_FIND_MESSAGE, {"message": message_id})).mappings().first()
    if row is None:
        raise NotFound(f"there is no message '{message_id}'")
    return _message(row)


async def insert_messages(connection: Connection, added: Sequence[Message]) -> None:
    """Add messages; their words can be searched at once, an answer's once it is complete."""
    if added:
        await connection.execute(_ADD_MESSAGES, [msgspec.structs.asdict(message) for message in added])
        spoken = [(m.id, m.text) for m in added if m.text and m.role in ("user", "assistant")]
        await index_messages(connection, spoken)


def _no_conversation(conversation_id: str) -> NotFound:
    return NotFound(f"there is no conversation '{conversation_id}'", hint="candide conversations list")


def _conversation(row: sa.RowMapping) -> Conversation:
    return Conversation(
        **{name: value for name, value in row.items() if name in Conversation.__struct_fields__}
    )


def _message(row: sa.RowMapping) -> Message:
    return Message(**row)
