"""One import from its first byte to its report.

It reads one conversation at a time and keeps it, with its files and the progress of the import, in one
transaction. Whatever cannot be read is told of in the report and stepped over. An import that was cut off
is run again and steps over what is done with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from candide.conversation import chatgpt, document, open_webui
from candide.conversation.elements import Damage, Element, Header, read_elements
from candide.conversation.imported import (
    MAX_NAME_CHARS,
    WANTED,
    ImportedTree,
    UnreadableError,
    WantedFile,
    as_dict,
    as_text,
    clean_text,
    identity,
)
from candide.domain.media import find_image_type, is_text
from candide.domain.messages import Message, StoredFile
from candide.errors import StoreError
from candide.store.files import describe_file
from candide.store.imports import DeletedError, Import, ImportStore, TakenError
from candide.transfer.archive import Archive, ArchiveError

DURABLE_EVERY_S = 2.0
"""How often what was kept is brought to the disk, and the log of the database is kept short."""
LATEST = 200


class Importer:
    def __init__(self, store: ImportStore, progress: Import, path: Path) -> None:
        self._store = store
        self._progress = progress
        self._path = path
        self._archive: Archive
        self._ratings: dict[str, chatgpt.Rating] = {}
        self._touched: list[tuple[float, str]] = []
        self._durable_at = time.monotonic()
        self._understood = False

    async def run(self) -> list[str]:
        """Import the whole file; the ids of the latest conversations that are new or changed."""
        progress = self._progress
        try:
            await self._read()
        except (ArchiveError, UnreadableError) as error:
            progress.error = str(error)
        except StoreError as error:
            if error.code != "disk_full":
                raise
            progress.error = error.message
        if not self._understood and not progress.error:
            progress.error = "no conversation was found in it that Candide can read"
        progress.state = "failed" if progress.error else "finished"
        progress.finished_at = time.time()
        if progress.state == "finished":
            progress.read_bytes = progress.total_bytes
        await self._store.save(progress, durable=True)
        self._touched.sort(reverse=True)
        return [conversation_id for _, conversation_id in self._touched[:LATEST]]

    async def _read(self) -> None:
        self._archive = archive = Archive(self._path, self._progress.name)
        try:
            self._ratings = chatgpt.read_ratings(archive.feedback)
            number = 0
            done = self._progress.elements
            for part in archive.documents:
                pieces = archive.read_text(part)
                try:
                    for found in read_elements(pieces):
                        if isinstance(found, Header):
                            if "format" in found.members:
                                document.check_head(found.members)
                            continue
                        number += 1
                        if number <= done:
                            self._understood = True
                            continue
                        await self._take(found, part.name, number)
                except ArchiveError as error:
                    if len(archive.documents) == 1 and not self._understood:
                        raise
                    self._skip(part.name, str(error))
                for name, reason in archive.notes:
                    self._skip(name, reason)
                archive.notes.clear()
        finally:
            archive.close()

    async def _take(self, found: Element | Damage, name: str, number: int) -> None:
        progress = self._progress
        share = self._archive.read_bytes / max(1, self._archive.total_bytes)
        progress.read_bytes = min(progress.total_bytes, int(progress.total_bytes * share))
        progress.elements = number
        if isinstance(found, Damage):
            self._skip(name, f"{found.reason} (at character {found.position:,})")
        else:
            await self._keep(found.value)
        now = time.monotonic()
        if now - self._durable_at > DURABLE_EVERY_S:
            await self._store.save(progress, durable=True)
            self._durable_at = now
        # A turn of another process's may wait to be written.
        await asyncio.sleep(0)

    async def _keep(self, value: Any) -> None:
        progress = self._progress
        try:
            tree, same = self._understand(value)
        except UnreadableError as error:
            self._skip(error.title, error.reason)
            return
        except RecursionError:
            self._skip(_title_of(value), "nested too deeply")
            return
        files, messages, notes = self._find_files(tree)
        conversation = tree.conversation
        title = conversation.title or "untitled"
        before = progress.skipped_count, len(progress.skipped)
        for note in notes:
            self._skip(title, note)
        folder = (tree.folder.name, tree.folder.instructions) if tree.folder else None
        try:
            outcome = await self._store.keep(
                conversation, messages, files=files, folder=folder, identity=same, progress=progress
            )
        except DeletedError:
            reason = "you deleted it here; restore it, and import again for what is new in it"
        except TakenError:
            reason = "one of its messages has an id that another conversation's message has here"
        else:
            if outcome == "unchanged":  # what is missing of it was told when it was added
                progress.skipped_count = before[0]
                del progress.skipped[before[1] :]
            else:
                self._touched.append((conversation.updated_at, conversation.id))
            return
        self._skip(title, reason)

    def _understand(self, value: Any) -> tuple[ImportedTree, Callable[[str], str]]:
        """The conversation, whichever program wrote it, and what its messages are known by."""
        members = as_dict(value)
        if chatgpt.is_conversation(value):
            self._set_format("chatgpt")
            tree = chatgpt.read_conversation(value, self._ratings)
            own = bool(as_dict(as_dict(members.get("metadata")).get("candide")))
            return tree, str if own else identity
        if open_webui.is_conversation(value):
            self._set_format("open-webui")
            return open_webui.read_conversation(value), identity
        if "messages" in members and "current_leaf_id" in members:
            self._set_format("candide")
            return document.read_conversation(value), str
        title = _title_of(value)
        if "chat_messages" in members:
            raise UnreadableError(
                "this is a conversation of Claude, whose export Candide does not read", title
            )
        raise UnreadableError("this is no conversation that Candide can read", title)

    def _set_format(self, name: str) -> None:
        self._understood = True
        if self._progress.format is None:
            self._progress.format = name

    def _find_files(self, tree: ImportedTree) -> tuple[list[StoredFile], list[Message], list[str]]:
        """The files that the messages ask for, the messages with them, and what is missing."""
        stored: dict[str, StoredFile] = {}
        missing: dict[str, str] = {}
        messages: list[Message] = []
        reasons: dict[str, int] = {}
        for message in tree.messages:
            if not any(part.get("type") == WANTED for part in message.parts):
                messages.append(message)
                continue
            parts: list[dict[str, Any]] = []
            lost: list[str] = []
            for part in message.parts:
                key = as_text(part.get("key"))
                if part.get("type") != WANTED:
                    parts.append(part)
                    continue
                wanted = tree.files.get(key) or WantedFile(key=key)
                if key not in stored and key not in missing:
                    found = self._find_file(wanted)
                    if isinstance(found, str):
                        missing[key] = found
                        reasons[found] = reasons.get(found, 0) + 1
                    else:
                        stored[key] = found
                if key in stored:
                    parts.append(stored[key].file.as_part())
                else:
                    lost.append(f"(The file '{wanted.name or key}' was left out: {missing[key]}.)")
            text = "\n\n".join(filter(None, [message.text, *lost]))
            messages.append(msgspec.structs.replace(message, parts=parts, text=text))
        told = [
            f"{count} file{'s' if count > 1 else ''} left out: {reason}" for reason, count in reasons.items()
        ]
        return list(stored.values()), messages, [*tree.notes, *told]

    def _find_file(self, wanted: WantedFile) -> StoredFile | str:
        name, data = wanted.name, wanted.data
        if data is None:
            found = self._archive.find_file(wanted.key)
            if isinstance(found, str):
                return found
            name, data = name or found.name, found.data
        if not data:
            return "it is empty"
        media_type = find_image_type(data)
        if not media_type:
            said = wanted.media_type.partition(";")[0].strip().lower()
            plain = "text/plain" if is_text(data) else "application/octet-stream"
            media_type = said if "/" in said and not said.startswith("image/") else plain
        extension = "." + media_type.partition("/")[2] if media_type.startswith("image/") else ""
        name = clean_text(name)[:255] or f"file{extension}"
        return describe_file(
            name.removesuffix(".dat") + extension if name.endswith(".dat") else name, media_type, data
        )

    def _skip(self, title: str, reason: str) -> None:
        self._progress.skip(title[:MAX_NAME_CHARS], reason[:1000])


def _title_of(value: Any) -> str:
    members = as_dict(value)
    return clean_text(as_text(members.get("title")) or as_text(members.get("name")))
