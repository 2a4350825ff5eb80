"""Turns, in the database: accepted, claimed, renewed, taken over, stopped, ended.

A turn has one owner at a time, by a lease. Claiming is compare-and-set on the lease that
was read, so of several who find an expired lease one gets the turn.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from candide.domain.grounding import SearchWishes
from candide.domain.ids import new_id
from candide.domain.messages import Message
from candide.domain.turns import FINAL_STATES, UNFINISHED_STATES, Turn, merge_params
from candide.errors import BadRequest, Conflict, NotFound
from candide.store.changes import Changes
from candide.store.conversations import fetch_conversation, fetch_message, insert_messages
from candide.store.database import Connection, Database
from candide.store.files import describe_files
from candide.store.preferences import Preferences, fetch_preferences
from candide.store.schema import conversations, messages, turns
from candide.store.words import forget_message

UNSET: Any = object()

# Made once: putting a statement together costs more than running it.
_ADD_TURN = turns.insert()
_FIND_TURN = sa.select(turns).where(turns.c.id == sa.bindparam("turn"))
# Not `in_`, whose list would be written into the statement each time.
_IS_UNFINISHED = sa.or_(*(turns.c.state == state for state in UNFINISHED_STATES))
_FIND_BUSY = (
    sa.select(turns.c.id)
    .where(turns.c.conversation_id == sa.bindparam("conversation"), _IS_UNFINISHED)
    .limit(1)
)
_FIND_UNFINISHED = (
    sa.select(turns)
    .where(
        _IS_UNFINISHED,
        sa.or_(
            turns.c.owner.is_(None),
            turns.c.owner != sa.bindparam("except_owner"),
            turns.c.lease_until <= sa.bindparam("now"),
        ),
    )
    .order_by(turns.c.id)
)
_MOVE_LEAF = (
    conversations.update()
    .where(conversations.c.id == sa.bindparam("conversation"))
    .values(current_leaf_id=sa.bindparam("leaf"), updated_at=sa.bindparam("now"))
)


class Lease(msgspec.Struct, frozen=True):
    """Who runs a turn, and until when in seconds since 1970, unless it is renewed."""

    owner: str
    until: float


class TurnStore:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()

    async def accept(
        self,
        conversation_id: str,
        *,
        text: str | None = None,
        parent_id: str | None = UNSET,
        user_message_id: str | None = None,
        parts: Sequence[dict[str, Any]] = (),
        attachments: Sequence[str] = (),
        model: str = "",
        params: dict[str, Any] | None = None,
        search: SearchWishes | None = None,
        idempotency_key: str | None = None,
        lease: Lease | None = None,
    ) -> Turn:
        """Save a question and the turn that will answer it; both are on disk when this returns.

        `attachments` are ids of files. The turn's parameters are those of the user's preferences, of the
        conversation and its own, the later before the earlier; what is searched is `search`, or else what the conversation wishes. With `user_message_id` instead of `text` the question stands already, and the answer becomes
        a sibling of its others. Without `parent_id` the question follows the current leaf. A repeated
        `idempotency_key` gives the turn of its first use, without its owner: it is not for this caller to
        run. With a `lease` the turn is claimed in the same
        breath, unless it has to wait for an answer. Raises NotFound, BadRequest or Conflict.
        """
        async with self._database.write() as connection:
            # The lock lets one question after the other in: each follows the one before it.
            conversation = await fetch_conversation(connection, conversation_id, lock=True)
            if idempotency_key is not None:
                earlier = await _find_by_key(connection, conversation_id, idempotency_key)
                if earlier is not None:
                    earlier.owner = None
                    return earlier
            now = time.time()
            added: list[Message] = []
            if user_message_id is not None:
                question = await _own_message(connection, conversation_id, user_message_id, "user_message_id")
                if question.role != "user":
                    raise BadRequest(
                        f"message '{user_message_id}' is not a question", param="user_message_id"
                    )
            else:
                parent = conversation.current_leaf_id if parent_id is UNSET else parent_id
                if parent is not None:
                    await _own_message(connection, conversation_id, parent, "parent_id")
                question = Message(
                    id=new_id("msg"),
                    conversation_id=conversation_id,
                    parent_id=parent,
                    role="user",
                    text=text or "",
                    parts=[*parts, *await describe_files(connection, attachments)],
                    created_at=now,
                )
                added.append(question)
            held = await _lease_unless_busy(connection, conversation_id, lease)
            wishes = Preferences() if conversation.hidden else await fetch_preferences(connection)
            turn = Turn(
                id=new_id("turn"),
                conversation_id=conversation_id,
                user_message_id=question.id,
                answer_message_id=new_id("msg"),
                state="running" if held else "queued",
                owner=held.owner if held else None,
                model=model or conversation.model or wishes.model or "",
                params=merge_params(wishes.params, conversation.params, params or {}),
                search=search or _read_wishes(conversation.search),
                created_at=now,
            )
            answer = Message(
                id=turn.answer_message_id,
                conversation_id=conversation_id,
                parent_id=question.id,
                role="assistant",
                text="",
                state="streaming" if held else "pending",
                turn_id=turn.id,
                created_at=now,
            )
            added.append(answer)
            await insert_messages(connection, added)
            until = held.until if held else None
            row = {**msgspec.to_builtins(turn), "idempotency_key": idempotency_key, "lease_until": until}
            await connection.execute(_ADD_TURN, row)
            leaf = {"conversation": conversation_id, "leaf": answer.id, "now": now}
            await connection.execute(_MOVE_LEAF, leaf)
        self._changes.announce_conversations(conversation_id)
        return turn

    async def resume(self, turn_id: str, lease: Lease | None = None) -> Turn:
        """Have an answer that stopped, failed or ended by length written on: the same turn and message.

        Its events go on after its last one. The lease is as in `accept`. Raises NotFound, and Conflict when
        the answer is complete or being written.
        """
        async with self._database.write() as connection:
            # The conversation first, as everywhere: who locks in one order never waits in a circle.
            conversation_id = (await _fetch_turn(connection, turn_id)).conversation_id
            await fetch_conversation(connection, conversation_id, lock=True)
            turn = await _fetch_turn(connection, turn_id)
            answer = await fetch_message(connection, turn.answer_message_id)
            if turn.state in UNFINISHED_STATES:
                raise Conflict("the answer is being written", hint="follow it, or stop it first")
            if turn.state == "finished" and answer.finish_reason != "length":
                raise Conflict("the answer is complete", hint="ask on, or have the question answered again")
            held = await _lease_unless_busy(connection, conversation_id, lease)
            turn.state = "running" if held else "queued"
            turn.owner = held.owner if held else None
            turn.stop_requested, turn.error, turn.finished_at = False, None, None
            await connection.execute(
                turns.update()
                .where(turns.c.id == turn_id)
                .values(
                    state=turn.state,
                    owner=turn.owner,
                    lease_until=held.until if held else None,
                    stop_requested=False,
                    error=None,
                    finished_at=None,
                )
            )
            await connection.execute(
                messages.update()
                .where(messages.c.id == answer.id)
                .values(
                    state="streaming" if held else "pending", error=None, finish_reason=None, timings=None
                )
            )
            # Its words are indexed anew at its end.
            await forget_message(connection, answer.id, answer.text)
            await connection.execute(
                conversations.update()
                .where(conversations.c.id == conversation_id)
                .values(updated_at=time.time())
            )
        self._changes.announce_conversations(conversation_id)
        return turn

    async def get(self, turn_id: str) -> Turn:
        async with self._database.read() as connection:
            return await _fetch_turn(connection, turn_id)

    async def list_unfinished(self, except_owner: str = "") -> list[tuple[Turn, Lease | None]]:
        """Every turn that has not ended, oldest first, with the lease on it.

        Without those on which `except_owner` has a lease that has not run out.
        """
        known = {"except_owner": except_owner, "now": time.time()}
        async with self._database.read() as connection:
            rows = await connection.execute(_FIND_UNFINISHED, known)
            return [
                (_turn(row), None if row["owner"] is None else Lease(row["owner"], row["lease_until"]))
                for row in rows.mappings()
            ]

    async def claim(self, turn_id: str, owner: str, lease_s: float, held: Lease | None) -> bool:
        """Become the owner if the lease on the turn is still `held`; whether that was so.

        A turn is not claimed while an answer on its branch is being written: it waits its turn,
        unless it is to be stopped anyway.
        """
        async with self._database.write(durable=False) as connection:
            row = (await connection.execute(_FIND_TURN, {"turn": turn_id})).mappings().first()
            if row is None or (not row["stop_requested"] and await _must_wait(connection, row)):
                return False
            done = await connection.execute(
                turns.update()
                .where(
                    turns.c.id == turn_id,
                    _IS_UNFINISHED,
                    turns.c.owner.is_(None)
                    if held is None
                    else sa.and_(turns.c.owner == held.owner, turns.c.lease_until == held.until),
                )
                .values(owner=owner, lease_until=time.time() + lease_s, state="running")
            )
            if done.rowcount == 1:
                await connection.execute(
                    messages.update()
                    .where(messages.c.turn_id == turn_id, messages.c.state == "pending")
                    .values(state="streaming")
                )
            return done.rowcount == 1

    async def renew(self, turn_ids: Collection[str], owner: str, lease_s: float) -> None:
        async with self._database.write(durable=False) as connection:
            await connection.execute(
                turns.update()
                .where(turns.c.id.in_(turn_ids), turns.c.owner == owner)
                .values(lease_until=time.time() + lease_s)
            )

    async def release(self, turn_ids: Collection[str], owner: str) -> None:
        """Give unfinished turns up, so that another owner need not wait for the lease's end."""
        async with self._database.write() as connection:
            await connection.execute(
                turns.update()
                .where(turns.c.id.in_(turn_ids), turns.c.owner == owner)
                .values(owner=None, lease_until=None)
            )

    async def request_stop(self, turn_id: str) -> Turn:
        """Ask the owner, wherever it runs, to stop; a turn that has ended stays as it is."""
        async with self._database.write() as connection:
            await connection.execute(
                turns.update()
                .where(turns.c.id == turn_id, turns.c.state.not_in(FINAL_STATES))
                .values(stop_requested=True)
            )
        return await self.get(turn_id)

    async def find_stop_requests(self, turn_ids: Collection[str]) -> set[str]:
        query = sa.select(turns.c.id).where(turns.c.id.in_(turn_ids), turns.c.stop_requested.is_(True))
        async with self._database.read() as connection:
            return {row[0] for row in await connection.execute(query)}


async def _fetch_turn(connection: Connection, turn_id: str) -> Turn:
    row = (await connection.execute(_FIND_TURN, {"turn": turn_id})).mappings().first()
    if row is None:
        raise NotFound(f"there is no turn '{turn_id}'")
    return _turn(row)


async def _lease_unless_busy(
    connection: Connection, conversation_id: str, lease: Lease | None
) -> Lease | None:
    """The lease, unless an answer in the conversation is being written that the turn may have to wait for."""
    if lease is None:
        return None
    busy = (await connection.execute(_FIND_BUSY, {"conversation": conversation_id})).first()
    return None if busy else lease


async def _find_by_key(connection: Connection, conversation_id: str, key: str) -> Turn | None:
    query = sa.select(turns).where(turns.c.conversation_id == conversation_id, turns.c.idempotency_key == key)
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else _turn(row)


async def _must_wait(connection: Connection, turn: sa.RowMapping) -> bool:
    """Whether an answer on the branch of a turn's question has still to be written."""
    same = turns.c.conversation_id == turn["conversation_id"]
    query = sa.select(turns.c.answer_message_id).where(same, _IS_UNFINISHED, turns.c.id != turn["id"])
    unwritten = {row[0] for row in await connection.execute(query)}
    if not unwritten:
        return False
    query = sa.select(messages.c.id, messages.c.parent_id).where(
        messages.c.conversation_id == turn["conversation_id"]
    )
    parents: dict[str, str | None] = {row.id: row.parent_id for row in await connection.execute(query)}
    current: str | None = turn["user_message_id"]
    while current is not None and current not in unwritten:
        current = parents.pop(current, None)
    return current is not None


async def _own_message(connection: Connection, conversation_id: str, message_id: str, param: str) -> Message:
    try:
        message = await fetch_message(connection, message_id)
    except NotFound as error:
        raise NotFound(error.message, param=param) from None
    if message.conversation_id != conversation_id:
        raise Conflict(f"message '{message_id}' belongs to another conversation")
    return message


def _turn(row: sa.RowMapping) -> Turn:
    values: dict[str, Any] = {name: value for name, value in row.items() if name in Turn.__struct_fields__}
    values["search"] = _read_wishes(values["search"])
    return Turn(**values)


def _read_wishes(kept: dict[str, Any] | None) -> SearchWishes | None:
    return None if kept is None else msgspec.convert(kept, SearchWishes)
