"""Imports: what was uploaded, and how far each has come; and how what was read comes to what is there.

One conversation, its files, its folder and the progress of its import are one transaction: an import that
was cut off goes on after the last of them, and counts nothing twice. What the user has made of a
conversation stays: a newer export adds messages, and moves the leaf only if it stood on the way to the new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from candide.domain.ids import new_id
from candide.domain.messages import Conversation, Message, StoredFile
from candide.errors import NotFound
from candide.store.conversations import insert_messages, spoken_texts
from candide.store.database import Connection, Database
from candide.store.files import keep_file
from candide.store.schema import conversations, folders, imports, messages
from candide.store.words import fold_messages

MAX_SKIPPED = 200

# Made once: putting a statement together costs more than running it.
_FIND = sa.select(
    conversations.c.current_leaf_id, conversations.c.updated_at, conversations.c.deleted_at
).where(conversations.c.id == sa.bindparam("conversation"))
_FIND_MESSAGES = sa.select(messages.c.id, messages.c.deleted_with).where(
    messages.c.conversation_id == sa.bindparam("conversation")
)
_FIND_FOLDER = (
    sa.select(folders.c.id)
    .where(folders.c.name == sa.bindparam("name"), folders.c.deleted_at.is_(None))
    .order_by(folders.c.id)
)
_ADD = conversations.insert()
_SAVED = [column.name for column in imports.columns if column.name not in ("id", "skipped")]
_SAVE = (
    imports.update()
    .where(imports.c.id == sa.bindparam("import"))
    .values({name: sa.bindparam(name) for name in _SAVED})
)
_SAVE_SKIPPED = (
    imports.update()
    .where(imports.c.id == sa.bindparam("import"))
    .values({name: sa.bindparam(name) for name in (*_SAVED, "skipped")})
)

Outcome = Literal["added", "updated", "unchanged"]


class Skipped(msgspec.Struct):
    """What of the import was left out, and why."""

    title: str
    reason: str


class Import(msgspec.Struct, kw_only=True):
    """An import as it stands."""

    id: str
    name: str
    state: Literal["running", "finished", "failed"]
    total_bytes: int
    """Size of the uploaded file."""
    read_bytes: int = 0
    format: str | None = None
    elements: int = 0
    """How many elements of its documents are done with."""
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = []
    """The first of them."""
    skipped_count: int = 0
    error: str | None = None
    created_at: float = 0.0
    finished_at: float | None = None

    def skip(self, title: str, reason: str) -> None:
        self.skipped_count += 1
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append(Skipped(title, reason))


class TakenError(Exception):
    """A message's id belongs to another conversation."""


class DeletedError(Exception):
    """The conversation was deleted here."""


class ImportStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._listed: dict[str, int] = {}
        """How many of what was skipped is written down, by import: the list is long and grows seldom."""

    async def create(self, import_id: str, name: str, total_bytes: int) -> Import:
        made = Import(
            id=import_id, name=name, state="running", total_bytes=total_bytes, created_at=time.time()
        )
        async with self._database.write() as connection:
            await connection.execute(imports.insert(), msgspec.to_builtins(made))
        return made

    async def get(self, import_id: str) -> Import:
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(imports).where(imports.c.id == import_id))
            row = found.mappings().first()
        if row is None:
            raise NotFound(f"there is no import '{import_id}'")
        return _import(row)

    async def list(self, limit: int = 100) -> list[Import]:
        """The imports, the latest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(sa.select(imports).order_by(imports.c.id.desc()).limit(limit))
            return [_import(row) for row in rows.mappings()]

    async def unfinished(self) -> list[Import]:
        """Those that have not ended, the oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                sa.select(imports).where(imports.c.state == "running").order_by(imports.c.id)
            )
            return [_import(row) for row in rows.mappings()]

    async def save(self, progress: Import, *, durable: bool = False) -> None:
        async with self._database.write(durable=durable) as connection:
            await self._save(connection, progress)
        self._listed[progress.id] = len(progress.skipped)

    async def _save(self, connection: Connection, progress: Import) -> None:
        row = msgspec.to_builtins(progress)
        row["import"] = row.pop("id")
        statement = _SAVE_SKIPPED
        if len(progress.skipped) == self._listed.get(progress.id):
            del row["skipped"]
            statement = _SAVE
        await connection.execute(statement, row)

    async def keep(
        self,
        conversation: Conversation,
        tree: Sequence[Message],
        *,
        files: Sequence[StoredFile] = (),
        folder: tuple[str, str | None] | None = None,
        identity: Callable[[str], str],
        progress: Import,
    ) -> Outcome:
        """Add a conversation, or what is new of it, and write down how far the import has come.

        Messages are the same when `identity` gives the same for their ids. `folder` is a name and
        instructions; one of that name is used. Raises DeletedError when the conversation is deleted here,
        TakenError when one of the messages belongs to another; then nothing is kept.
        """
        # Before the transaction: while that lasts, nobody else writes.
        words = fold_messages(spoken_texts(tree), sqlite=self._database.is_sqlite)
        try:
            async with self._database.write(durable=False) as connection:
                outcome = await _keep(connection, conversation, tree, words, files, folder, identity)
                setattr(progress, outcome, getattr(progress, outcome) + 1)
                try:
                    await self._save(connection, progress)
                except BaseException:
                    setattr(progress, outcome, getattr(progress, outcome) - 1)
                    raise
        except IntegrityError:
            raise TakenError from None
        self._listed[progress.id] = len(progress.skipped)
        return outcome


def _import(row: sa.RowMapping) -> Import:
    values: dict[str, Any] = dict(row)
    values["skipped"] = [Skipped(**entry) for entry in row["skipped"]]
    return Import(**values)


async def _keep(
    connection: Connection,
    conversation: Conversation,
    tree: Sequence[Message],
    words: Sequence[dict[str, str]],
    files: Sequence[StoredFile],
    folder: tuple[str, str | None] | None,
    identity: Callable[[str], str],
) -> Outcome:
    there = (await connection.execute(_FIND, {"conversation": conversation.id})).first()
    if there is None:
        if folder is not None:
            conversation = msgspec.structs.replace(
                conversation, folder_id=await _find_folder(connection, *folder)
            )
        for stored in files:
            await keep_file(connection, stored)
        await connection.execute(_ADD, msgspec.structs.asdict(conversation))
        await insert_messages(connection, tree, words)
        return "added"
    rows = await connection.execute(_FIND_MESSAGES, {"conversation": conversation.id})
    gone: dict[str, str | None] = {row.id: row.deleted_with for row in rows}
    known = {identity(message_id): message_id for message_id in gone}
    kept_as = {message.id: known.get(identity(message.id), message.id) for message in tree}
    new = [
        msgspec.structs.replace(message, parent_id=kept_as[message.parent_id] if message.parent_id else None)
        for message in tree
        if identity(message.id) not in known
    ]
    if not new:
        return "unchanged"
    if there.deleted_at is not None:
        raise DeletedError
    needed = {part["file"]["id"] for message in new for part in message.parts if "file" in part}
    for stored in files:
        if stored.file.id in needed:
            await keep_file(connection, stored)
    added = {message.id for message in new}
    await insert_messages(connection, new, [row for row in words if row["id"] in added])
    for message in new:  # below one that was deleted: it comes back with that
        gone[message.id] = gone[message.parent_id] if message.parent_id else None
        if gone[message.id] is not None:
            await connection.execute(
                messages.update().where(messages.c.id == message.id).values(deleted_with=gone[message.id])
            )
    leaf = _move_leaf(there.current_leaf_id, conversation.current_leaf_id, tree, kept_as, gone)
    await connection.execute(
        conversations.update()
        .where(conversations.c.id == conversation.id)
        .values(updated_at=max(there.updated_at, conversation.updated_at), current_leaf_id=leaf)
    )
    return "updated"


def _move_leaf(
    here: str | None,
    there: str | None,
    tree: Sequence[Message],
    kept_as: dict[str, str],
    gone: dict[str, str | None],
) -> str | None:
    """The export's leaf, if the present one stands on the way to it and nothing on the way is deleted."""
    parents = {kept_as[m.id]: kept_as[m.parent_id] if m.parent_id else None for m in tree}
    target = kept_as.get(there) if there else None
    current = target
    while current is not None and gone.get(current) is None:
        if current == here:
            return target
        current = parents.get(current)
    return target if here is None and current is None else here


async def _find_folder(connection: Connection, name: str, instructions: str | None) -> str:
    found = (await connection.execute(_FIND_FOLDER, {"name": name})).first()
    if found is not None:
        return found.id
    folder_id = new_id("folder")
    row = {"id": folder_id, "name": name, "instructions": instructions, "created_at": time.time()}
    await connection.execute(folders.insert(), row)
    return folder_id
