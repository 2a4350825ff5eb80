"""Single messages: deleted with what follows them, brought back, and judged.

A message that is deleted stays in the database, marked with the message with whose deletion it went.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from candide.domain.turns import UNFINISHED_STATES
from candide.errors import BadRequest, NotFound
from candide.store.changes import Changes
from candide.store.conversations import fetch_conversation, fetch_message
from candide.store.database import Connection, Database
from candide.store.schema import conversations, messages, turns

_PLACES = sa.select(messages.c.id, messages.c.parent_id).order_by(messages.c.id)


class MessageStore:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()

    async def delete(self, message_id: str) -> list[str]:
        """Take a message and what follows it out of the tree; the turns that were being written there.

        They are asked to stop. A current leaf among what goes makes way for the nearest that is left: on
        the branch of the sibling beside the message, or else the message before it.
        """
        async with self._database.write() as connection:
            conversation_id = (await fetch_message(connection, message_id)).conversation_id
            conversation = await fetch_conversation(connection, conversation_id, lock=True)
            parents = await _fetch_parents(connection, conversation_id)
            if message_id not in parents:
                raise _no_message(message_id)
            gone = _find_below(parents, message_id)
            await connection.execute(
                messages.update()
                .where(messages.c.conversation_id == conversation_id, messages.c.deleted_with.is_(None))
                .where(messages.c.id.in_(gone))
                .values(deleted_with=message_id)
            )
            if conversation.current_leaf_id in gone:
                left = {child: parent for child, parent in parents.items() if child not in gone}
                leaf = _find_nearest_leaf(left, message_id, parents[message_id])
                await connection.execute(
                    messages.update()
                    .where(messages.c.id == message_id)
                    .values(leaf_before=conversation.current_leaf_id)
                )
                await _move_leaf(connection, conversation_id, leaf)
            unfinished = sa.and_(
                turns.c.conversation_id == conversation_id, turns.c.state.in_(UNFINISHED_STATES)
            )
            found = await connection.execute(
                sa.select(turns.c.id, turns.c.answer_message_id).where(unfinished)
            )
            stopping = [row.id for row in found if row.answer_message_id in gone]
            if stopping:
                await connection.execute(
                    turns.update().where(unfinished, turns.c.id.in_(stopping)).values(stop_requested=True)
                )
        self._changes.announce_conversations(conversation_id)
        return stopping

    async def restore(self, message_id: str) -> None:
        """Undo the deletion of a message; one that is there stays as it is. Raises NotFound."""
        query = sa.select(
            messages.c.conversation_id, messages.c.parent_id, messages.c.deleted_with, messages.c.leaf_before
        ).where(messages.c.id == message_id)
        async with self._database.write() as connection:
            row = (await connection.execute(query)).first()
            if row is None:
                raise _no_message(message_id)
            await fetch_conversation(connection, row.conversation_id, lock=True)
            row = (await connection.execute(query)).one()
            if row.deleted_with is None:
                return
            if row.deleted_with != message_id:
                raise NotFound(
                    f"message '{message_id}' went with '{row.deleted_with}'", hint="restore that one"
                )
            if row.parent_id is not None:
                # Nothing stands where nothing is.
                await fetch_message(connection, row.parent_id)
            await connection.execute(
                messages.update()
                .where(
                    messages.c.conversation_id == row.conversation_id, messages.c.deleted_with == message_id
                )
                .values(deleted_with=None, leaf_before=None)
            )
            if row.leaf_before is not None:
                await _move_leaf(connection, row.conversation_id, row.leaf_before)
        self._changes.announce_conversations(row.conversation_id)

    async def rate(self, message_id: str, feedback: dict[str, Any] | None) -> None:
        """Keep what the user thinks of an answer, or forget it."""
        async with self._database.write() as connection:
            message = await fetch_message(connection, message_id)
            if message.role != "assistant":
                raise BadRequest(f"message '{message_id}' is not an answer", param="rating")
            await fetch_conversation(connection, message.conversation_id)
            await connection.execute(
                messages.update().where(messages.c.id == message_id).values(feedback=feedback)
            )
        self._changes.announce_conversations(message.conversation_id)


async def _fetch_parents(connection: Connection, conversation_id: str) -> dict[str, str | None]:
    """The parent of each message that is there, by id, oldest first."""
    rows = await connection.execute(
        _PLACES.where(messages.c.conversation_id == conversation_id, messages.c.deleted_with.is_(None))
    )
    return {row.id: row.parent_id for row in rows}


async def _move_leaf(connection: Connection, conversation_id: str, leaf: str | None) -> None:
    await connection.execute(
        conversations.update().where(conversations.c.id == conversation_id).values(current_leaf_id=leaf)
    )


def _group_children(parents: dict[str, str | None]) -> dict[str | None, list[str]]:
    children: dict[str | None, list[str]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(child)
    return children


def _find_below(parents: dict[str, str | None], message_id: str) -> set[str]:
    """A message and all that follow it."""
    children = _group_children(parents)
    below = [message_id]
    for found in below:  # grows while it is walked
        below.extend(children.pop(found, []))
    return set(below)


def _find_nearest_leaf(left: dict[str, str | None], gone: str, parent: str | None) -> str | None:
    children = _group_children(left)
    siblings = children.get(parent, [])
    current = max((s for s in siblings if s < gone), default=min(siblings, default=parent))
    while current in children and current is not None:
        current = max(children.pop(current))
    return current


def _no_message(message_id: str) -> NotFound:
    return NotFound(f"there is no message '{message_id}'")
