"""All conversations as one ZIP, written while it is sent.

One conversation is in memory at a time. The archive holds `conversations.json` in Candide's or ChatGPT's
format, or a page of Markdown for each conversation, and the files under `files/`.
"""

from __future__ import annotations

import asyncio
import json
import time
import zipfile
from collections.abc import AsyncIterator, Sequence
from typing import IO, Literal

import msgspec

from candide.conversation import chatgpt, document
from candide.conversation.document import ExportedConversation, ExportedFolder, export_tree
from candide.conversation.markdown import file_path, page_path, write_markdown
from candide.conversation.tree import find_branch
from candide.domain.messages import Conversation, File, Message, StoredFile
from candide.errors import NotFound
from candide.store.conversations import ConversationStore
from candide.store.files import FileStore
from candide.store.folders import FolderStore

Form = Literal["json", "markdown", "chatgpt"]

PAGE = 200


class Exporter:
    def __init__(self, conversations: ConversationStore, folders: FolderStore, files: FileStore) -> None:
        self._conversations = conversations
        self._folders = folders
        self._files = files

    async def export_one(self, conversation_id: str, form: Form) -> bytes:
        """One conversation as a document of its own, with its files in it where the format can hold them."""
        conversation, messages = await self._conversations.load(conversation_id)
        if form == "markdown":
            return write_markdown(conversation, find_branch(messages, conversation.current_leaf_id)).encode()
        stored = await self._files.load({file.id for file in find_files(messages)})
        folders = await self._load_folders()
        tree = _export(conversation, messages, folders, list(stored.values()))
        if form == "json":
            return await asyncio.to_thread(document.write_document, [tree])
        return await asyncio.to_thread(_encode_chatgpt, [tree])

    async def export_all(self, form: Form) -> AsyncIterator[bytes]:
        """The pieces of the archive."""
        ids = await self._find_ids()
        folders = await self._load_folders()
        sink = _Sink()
        archive = zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, allowZip64=True, compresslevel=4)
        files: dict[str, File] = {}
        if form == "markdown":
            for conversation_id in ids:
                try:
                    conversation, messages = await self._conversations.load(conversation_id)
                except NotFound:
                    continue  # deleted meanwhile
                branch = find_branch(messages, conversation.current_leaf_id)
                files.update((file.id, file) for file in find_files(branch))
                page = write_markdown(conversation, branch).encode()
                await asyncio.to_thread(
                    archive.writestr, _member(page_path(conversation), conversation), page
                )
                yield sink.take()
        else:
            head, tail = (document.write_head(), document.TAIL) if form == "json" else (b"[", b"]\n")
            with archive.open(_member("conversations.json"), "w", force_zip64=True) as member:
                member.write(head)
                comma = b""
                for conversation_id in ids:
                    try:
                        conversation, messages = await self._conversations.load(conversation_id)
                    except NotFound:
                        continue
                    files.update((file.id, file) for file in find_files(messages))
                    tree = _export(conversation, messages, folders)
                    await asyncio.to_thread(_write_tree, member, tree, form, comma)
                    comma = b",\n"
                    yield sink.take()
                member.write(tail)
        for file in files.values():
            stored = (await self._files.load([file.id])).get(file.id)
            if stored is not None:
                await asyncio.to_thread(_write_file, archive, stored)
                yield sink.take()
        archive.close()
        yield sink.take()

    async def _find_ids(self) -> list[str]:
        ids: list[str] = []
        before: str | None = None
        while True:
            page = await self._conversations.list(limit=PAGE, before=before)
            ids.extend(conversation.id for conversation in page)
            if len(page) < PAGE:
                return ids
            before = page[-1].id

    async def _load_folders(self) -> dict[str, ExportedFolder]:
        found = await self._folders.list()
        return {
            folder.id: ExportedFolder(name=folder.name, instructions=folder.instructions) for folder in found
        }


def find_files(messages: Sequence[Message]) -> list[File]:
    """The files that messages hold."""
    return [
        msgspec.convert(part["file"], File)
        for message in messages
        for part in message.parts
        if "file" in part
    ]


class _Sink:
    """Where an archive is written to, and taken from as it grows."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _export(
    conversation: Conversation,
    messages: Sequence[Message],
    folders: dict[str, ExportedFolder],
    files: Sequence[StoredFile] = (),
) -> ExportedConversation:
    folder = folders.get(conversation.folder_id) if conversation.folder_id else None
    return export_tree(conversation, messages, folder, files)


def _encode_chatgpt(trees: Sequence[ExportedConversation]) -> bytes:
    return json.dumps([chatgpt.write_conversation(tree) for tree in trees]).encode() + b"\n"


def _write_tree(member: IO[bytes], tree: ExportedConversation, form: Form, comma: bytes) -> None:
    if form == "json":
        data = document.write_conversation(tree)
    else:
        data = json.dumps(chatgpt.write_conversation(tree)).encode()
    member.write(comma + data)


def _write_file(archive: zipfile.ZipFile, stored: StoredFile) -> None:
    member = _member(f"files/{file_path(stored.file)}")
    if stored.file.is_image:  # compressed already
        member.compress_type = zipfile.ZIP_STORED
    archive.writestr(member, stored.data)


def _member(name: str, conversation: Conversation | None = None) -> zipfile.ZipInfo:
    moment = time.localtime(conversation.updated_at if conversation else None)
    # ZIP knows the years from 1980 to 2107.
    date = moment[:6] if 1980 <= moment.tm_year <= 2107 else (1980, 1, 1, 0, 0, 0)
    member = zipfile.ZipInfo(name, date)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o600 << 16
    return member
