"""Conversations and their trees of messages, in the database.

Messages are only ever added; what is deleted is out of sight, and can be brought back. Every method
is one transaction. NotFound names what does not exist.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from candide.domain.folding import fold_words
from candide.domain.ids import new_id
from candide.domain.messages import Conversation, Message
from candide.domain.turns import UNFINISHED_STATES
from candide.errors import BadRequest, Conflict, NotFound
from candide.store.changes import Changes
from candide.store.database import Connection, Database
from candide.store.schema import conversations, folders, messages, preferences, turns
from candide.store.words import (
    Found,
    add_words,
    forget_message,
    index_messages,
    search_messages,
    search_titles,
)

# Made once: putting a statement together costs more than running it.
_COLUMNS = [conversations.c[name] for name in Conversation.__struct_fields__]
_FIND = sa.select(*_COLUMNS).where(
    conversations.c.id == sa.bindparam("conversation"), conversations.c.deleted_at.is_(None)
)
_FIND_AND_LOCK = _FIND.with_for_update()
_MESSAGE_COLUMNS = [messages.c[name] for name in Message.__struct_fields__]
_FIND_MESSAGES = (
    sa.select(*_MESSAGE_COLUMNS)
    .where(messages.c.conversation_id == sa.bindparam("conversation"), messages.c.deleted_with.is_(None))
    .order_by(messages.c.id)
)
_FIND_MESSAGE = sa.select(*_MESSAGE_COLUMNS).where(
    messages.c.id == sa.bindparam("message"), messages.c.deleted_with.is_(None)
)
# Those of the user, and those of the folder.
_FIND_INSTRUCTIONS = sa.select(
    preferences.c.instructions,
    sa.select(folders.c.instructions)
    .where(folders.c.id == sa.bindparam("folder"), folders.c.deleted_at.is_(None))
    .scalar_subquery(),
)
_ADD = conversations.insert()
_ADD_MESSAGES = messages.insert()


class ConversationStore:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()

    async def create(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the name that it has everywhere
        title: str = "",
        model: str | None = None,
        system_prompt: str | None = None,
        folder_id: str | None = None,
        instructions: str | None = None,
        params: dict[str, Any] | None = None,
        search: dict[str, Any] | None = None,
    ) -> str:
        """Make an empty conversation; its id.

        An `id` that the caller made is taken over; when there is a conversation of that id, it stays as
        it is, so that a request may be repeated. Raises NotFound when there is no such folder.
        """
        now = time.time()
        made = Conversation(
            id=id or new_id("conv"),
            title=title,
            current_leaf_id=None,
            model=model,
            system_prompt=system_prompt,
            folder_id=folder_id,
            instructions=instructions,
            params=params or {},
            search=search,
            created_at=now,
            updated_at=now,
        )
        try:
            async with self._database.write() as connection:
                await _check_folder(connection, folder_id)
                await connection.execute(_ADD, _row(made))
        except IntegrityError:
            if id is None:
                raise
        self._changes.announce_conversations(made.id)
        return made.id

    async def get(self, conversation_id: str) -> Conversation:
        async with self._database.read() as connection:
            return await fetch_conversation(connection, conversation_id)

    async def list(
        self,
        *,
        limit: int,
        before: str | None = None,
        archived: bool | None = None,
        pinned: bool | None = None,
        folder_id: str | None = None,
        deleted: bool = False,
    ) -> list[Conversation]:
        """The conversations, last used first; `before` is the id of the last one of the page before.

        A filter that is None lets all through; the `folder_id` of those in no folder is "".
        """
        query = sa.select(*_COLUMNS).where(conversations.c.hidden.is_(False))
        gone = conversations.c.deleted_at
        query = query.where(gone.is_not(None) if deleted else gone.is_(None))
        if archived is not None:
            query = query.where(conversations.c.archived.is_(archived))
        if pinned is not None:
            query = query.where(conversations.c.pinned.is_(pinned))
        if folder_id is not None:
            query = query.where(conversations.c.folder_id == (folder_id or None))
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

    async def find(self, conversation_ids: Collection[str]) -> list[Conversation]:
        """Those of the conversations that can be listed, deleted ones among them, in any order."""
        query = sa.select(*_COLUMNS).where(
            conversations.c.id.in_(conversation_ids), conversations.c.hidden.is_(False)
        )
        async with self._database.read() as connection:
            return [_conversation(row) for row in (await connection.execute(query)).mappings()]

    async def find_running(self, conversation_ids: Collection[str]) -> dict[str, list[str]]:
        """The ids of the turns that have not ended, oldest first, of those conversations that have any."""
        query = (
            sa.select(turns.c.conversation_id, turns.c.id)
            .where(turns.c.state.in_(UNFINISHED_STATES), turns.c.conversation_id.in_(conversation_ids))
            .order_by(turns.c.id)
        )
        running: dict[str, list[str]] = {}
        async with self._database.read() as connection:
            for row in await connection.execute(query):
                running.setdefault(row.conversation_id, []).append(row.id)
        return running

    async def update(self, conversation_id: str, changes: dict[str, Any]) -> Conversation:
        """Change members of a conversation, named as in `Conversation`; all but ids and times can be."""
        changes = dict(changes)
        async with self._database.write() as connection:
            await fetch_conversation(connection, conversation_id)
            leaf = changes.get("current_leaf_id")
            if leaf is not None:
                message = await fetch_message(connection, leaf)
                if message.conversation_id != conversation_id:
                    raise BadRequest(
                        f"message '{leaf}' belongs to another conversation", param="current_leaf_id"
                    )
            if "title" in changes:
                changes["title_words"] = fold_words(changes["title"])
            if "folder_id" in changes:
                await _check_folder(connection, changes["folder_id"])
                changes["former_folder_id"] = None
            if changes:
                await connection.execute(
                    conversations.update().where(conversations.c.id == conversation_id).values(**changes)
                )
            changed = await fetch_conversation(connection, conversation_id)
        if changes:
            self._changes.announce_conversations(conversation_id)
        return changed

    async def set_title_if_empty(self, conversation_id: str, title: str) -> None:
        """Give a title unless there is one by now: the user's own always stays."""
        async with self._database.write() as connection:
            await connection.execute(
                conversations.update()
                .where(conversations.c.id == conversation_id, conversations.c.title == "")
                .values(title=title, title_words=fold_words(title))
            )
        self._changes.announce_conversations(conversation_id)

    async def delete(self, conversation_id: str) -> None:
        """Hide a conversation; `restore` brings it back."""
        await self._mark_deleted(conversation_id, time.time())

    async def restore(self, conversation_id: str) -> None:
        await self._mark_deleted(conversation_id, None)

    async def erase(self, conversation_id: str) -> None:
        """Remove a conversation with its messages and turns for good."""
        async with self._database.write() as connection:
            _, tree = await _fetch_tree(connection, conversation_id)
            for message_id, text in spoken_texts(tree):
                await forget_message(connection, message_id, text)
            await connection.execute(conversations.delete().where(conversations.c.id == conversation_id))
        self._changes.announce_conversations(conversation_id)

    async def _mark_deleted(self, conversation_id: str, at: float | None) -> None:
        async with self._database.write() as connection:
            done = await connection.execute(
                conversations.update().where(conversations.c.id == conversation_id).values(deleted_at=at)
            )
            if done.rowcount == 0:
                raise _no_conversation(conversation_id)
        self._changes.announce_conversations(conversation_id)

    async def load(self, conversation_id: str) -> tuple[Conversation, list[Message]]:
        """A conversation and its whole tree, parents before children."""
        async with self._database.read() as connection:
            return await _fetch_tree(connection, conversation_id)

    async def load_for_turn(self, conversation_id: str) -> tuple[Conversation, list[Message], list[str]]:
        """The same as `load`, and what the user wants of every answer: everywhere, in the folder, here."""
        async with self._database.read() as connection:
            conversation, tree = await _fetch_tree(connection, conversation_id)
            if conversation.hidden:
                return conversation, tree, []
            found = await connection.execute(_FIND_INSTRUCTIONS, {"folder": conversation.folder_id})
            instructions = [*found.one(), conversation.instructions]
            return conversation, tree, [text for text in instructions if text]

    async def add_all(
        self, conversation: Conversation, tree: Sequence[Message], *, hidden: bool = False
    ) -> None:
        """Add a whole conversation at once, as an import does. Raises Conflict when an id is taken.

        One that is `hidden` stands in no list and is not searched.
        """
        try:
            async with self._database.write() as connection:
                await connection.execute(_ADD, {**_row(conversation), "hidden": hidden})
                await insert_messages(connection, tree)
        except IntegrityError:
            raise Conflict(
                f"conversation '{conversation.id}' or one of its messages has an id that is taken"
            ) from None
        self._changes.announce_conversations(conversation.id)

    async def exists(self, conversation_id: str) -> bool:
        """Whether there is such a conversation, deleted or not."""
        async with self._database.read() as connection:
            query = sa.select(conversations.c.id).where(conversations.c.id == conversation_id)
            return (await connection.execute(query)).first() is not None

    async def search(self, query: str, limit: int) -> list[Found]:
        """Find titles, and messages, by their words; see `candide.store.words`.

        Titles come first, and take at most half of the places.
        """
        async with self._database.read() as connection:
            titles = await search_titles(connection, query, limit=(limit + 1) // 2)
            return titles + await search_messages(connection, query, limit - len(titles))


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


async def insert_messages(
    connection: Connection, added: Sequence[Message], words: Sequence[dict[str, str]] | None = None
) -> None:
    """Add messages; their words can be searched at once, an answer's once it is complete.

    The `words` are those of `spoken_texts`, folded, where that was done before.
    """
    if added:
        await connection.execute(_ADD_MESSAGES, [msgspec.structs.asdict(message) for message in added])
        if words is None:
            await index_messages(connection, spoken_texts(added))
        else:
            await add_words(connection, words)


def spoken_texts(added: Sequence[Message]) -> list[tuple[str, str]]:
    """The ids and texts of those messages that can be searched."""
    return [(m.id, m.text) for m in added if m.text and m.role in ("user", "assistant")]


def _no_conversation(conversation_id: str) -> NotFound:
    return NotFound(f"there is no conversation '{conversation_id}'", hint="candide conversations list")


async def _fetch_tree(connection: Connection, conversation_id: str) -> tuple[Conversation, list[Message]]:
    conversation = await fetch_conversation(connection, conversation_id)
    rows = await connection.execute(_FIND_MESSAGES, {"conversation": conversation_id})
    return conversation, [_message(row) for row in rows.mappings()]


async def _check_folder(connection: Connection, folder_id: str | None) -> None:
    if folder_id is None:
        return
    query = sa.select(folders.c.id).where(folders.c.id == folder_id, folders.c.deleted_at.is_(None))
    if (await connection.execute(query)).first() is None:
        raise NotFound(f"there is no folder '{folder_id}'", param="folder_id")


def _row(conversation: Conversation) -> dict[str, Any]:
    return {**msgspec.structs.asdict(conversation), "title_words": fold_words(conversation.title)}


def _conversation(row: sa.RowMapping) -> Conversation:
    return Conversation(**row)


def _message(row: sa.RowMapping) -> Message:
    return Message(**row)
