"""Imports read what is whole of any file, tell of the rest, add nothing twice, and never touch what the user did."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import struct
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from candide.conversation.tree import find_branch
from candide.domain.messages import Conversation, Message
from candide.store.conversations import ConversationStore
from candide.store.database import Database
from candide.store.files import FileStore
from candide.store.folders import FolderStore
from candide.store.imports import Import, ImportStore
from candide.store.messages import MessageStore
from candide.transfer.importer import Importer

PNG = b"\x89PNG\r\n\x1a\n picture"


class Home:
    """A database, and files to import into it."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database
        self.imports = ImportStore(database)
        self.conversations = ConversationStore(database)
        self.files = FileStore(database)
        self.folders = FolderStore(database)
        self.messages = MessageStore(database)
        self._made = 0

    async def run(self, data: bytes, name: str = "export.zip") -> Import:
        self._made += 1
        path = self.folder / f"upload-{self._made}"
        path.write_bytes(data)
        started = await self.imports.create(f"import_{self._made}", name, len(data))
        await Importer(self.imports, started, path).run()
        return await self.imports.get(started.id)

    async def titles(self) -> list[str]:
        return [conversation.title for conversation in await self.conversations.list(limit=100)]

    async def only(self) -> tuple[Conversation, list[Message]]:
        [conversation] = await self.conversations.list(limit=2)
        return await self.conversations.load(conversation.id)


@pytest.fixture
async def home(tmp_path: Path, empty_database: Path) -> AsyncIterator[Home]:
    shutil.copy(empty_database, tmp_path / "candide.db")
    database = await Database.open(f"sqlite:///{tmp_path / 'candide.db'}", tmp_path / "backups")
    yield Home(tmp_path, database)
    await database.close()


def chat(name: str = "c1", *texts: str, **more: Any) -> dict[str, Any]:
    """A conversation of ChatGPT's in which questions and answers follow each other."""
    mapping: dict[str, Any] = {}
    before = None
    for n, text in enumerate(texts or ("hello", "hi")):
        message = {
            "author": {"role": "assistant" if n % 2 else "user"}, "create_time": 1_700_000_000.0 + n,
            "content": {"content_type": "text", "parts": [text]},
        }  # fmt: skip
        mapping[f"n{n}"] = {"id": f"n{n}", "message": message, "parent": before}
        before = f"n{n}"
    return {"id": name, "title": name.upper(), "create_time": 1_700_000_000.0, "update_time": 1_700_000_100.0, "mapping": mapping, "current_node": before, **more}  # fmt: skip


def picture(name: str, file_id: str) -> dict[str, Any]:
    source = chat(name)
    part = {"content_type": "image_asset_pointer", "asset_pointer": f"file-service://{file_id}"}
    source["mapping"]["n0"]["message"]["content"] = {
        "content_type": "multimodal_text",
        "parts": [part, "what is it?"],
    }
    return source


def pack(members: dict[str, Any], **more: Any) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, **more) as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return packed.getvalue()


def skips(done: Import) -> list[tuple[str, str]]:
    return [(one.title, one.reason) for one in done.skipped]


async def test_one_document_and_a_zip_of_many_are_read_with_their_files(home: Home) -> None:
    done = await home.run(json.dumps([chat("a"), chat("b")]).encode(), "conversations.json")
    assert (done.state, done.format, done.added, done.skipped_count) == ("finished", "chatgpt", 2, 0)
    assert done.read_bytes == done.total_bytes
    archive = pack({
        "conversations-000.json": [picture("c", "file-Aa1"), picture("d", "file_0002")],
        "conversations-001.json": [picture("e", "file-Bb3"), picture("f", "file-Cc4")],
        "file-Aa1-Screen shot.png": PNG,
        "user-Xyz/file_0002-8a.png": PNG + b"2",
        "dalle-generations/file-Bb3-9f.webp": b"RIFF1234WEBPx",
        "file-Cc4.dat": PNG + b"4",
        "conversation_asset_file_names.json": {"file-Cc4.dat": "../../holiday.png"},
        "chat.html": b"<html>", "user.json": {}, "shared_conversations.json": [chat("not me")],
        "message_feedback.json": [{"id": "n1", "conversation_id": "c", "rating": "thumbs_up"}],
    })  # fmt: skip
    done = await home.run(archive)
    assert (done.state, done.added, skips(done)) == ("finished", 4, [])
    names = set()
    for conversation in await home.conversations.list(limit=10):
        for message in (await home.conversations.load(conversation.id))[1]:
            for part in message.parts:
                stored = await home.files.get(part["file"]["id"])
                assert part == stored.file.as_part()
                names.add((stored.file.name, stored.file.media_type))
    assert names == {
        ("Screen shot.png", "image/png"), ("8a.png", "image/png"), ("9f.webp", "image/webp"), ("holiday.png", "image/png"),
    }  # fmt: skip
    assert sorted(await home.titles()) == ["A", "B", "C", "D", "E", "F"]


async def test_importing_twice_adds_nothing_and_a_newer_export_only_what_is_new(home: Home) -> None:
    await home.run(pack({"conversations.json": [chat("a"), picture("p", "file-Gone1")]}))
    conversation = next(c for c in await home.conversations.list(limit=5) if c.title == "A")
    before = await home.conversations.load(conversation.id)
    done = await home.run(pack({"conversations.json": [chat("a"), picture("p", "file-Gone1")]}))
    assert (done.added, done.updated, done.unchanged, done.skipped_count) == (0, 0, 2, 0)
    assert await home.conversations.load(conversation.id) == before
    done = await home.run(pack({"conversations.json": [chat("a", "hello", "hi", "and?", "so"), chat("b")]}))
    assert (done.added, done.updated, done.unchanged) == (1, 1, 0)
    conversation, messages = await home.conversations.load(conversation.id)
    assert messages[:2] == before[1]
    assert [m.text for m in find_branch(messages, conversation.current_leaf_id)] == [
        "hello",
        "hi",
        "and?",
        "so",
    ]


async def test_what_the_user_made_of_a_conversation_stays(home: Home) -> None:
    await home.run(pack({"conversations.json": [chat("a")]}))
    conversation, messages = await home.only()
    own = Message(
        id="msg_own", conversation_id=conversation.id, parent_id=messages[-1].id, role="user", text="mine"
    )
    async with home.database.write() as connection:
        from candide.store.conversations import insert_messages

        await insert_messages(connection, [own])
    await home.conversations.update(
        conversation.id, {"title": "Renamed", "current_leaf_id": own.id, "pinned": True}
    )
    done = await home.run(pack({"conversations.json": [chat("a", "hello", "hi", "and?", title="Theirs")]}))
    assert done.updated == 1
    conversation, messages = await home.only()
    assert (conversation.title, conversation.current_leaf_id, conversation.pinned) == (
        "Renamed",
        "msg_own",
        True,
    )
    assert {m.text for m in messages} == {"hello", "hi", "mine", "and?"}


async def test_what_the_user_deleted_stays_deleted(home: Home) -> None:
    await home.run(pack({"conversations.json": [chat("a")]}))
    conversation, messages = await home.only()
    await home.messages.delete(messages[1].id)
    await home.run(pack({"conversations.json": [chat("a", "hello", "hi", "and?")]}))
    conversation, messages = await home.only()
    assert [m.text for m in messages] == ["hello"]
    assert conversation.current_leaf_id == messages[0].id
    await home.conversations.delete(conversation.id)
    done = await home.run(pack({"conversations.json": [chat("a", "hello", "hi", "and?", "x")]}))
    assert await home.titles() == []
    assert skips(done) == [("A", "you deleted it here; restore it, and import again for what is new in it")]
    assert (await home.run(pack({"conversations.json": [chat("a")]}))).unchanged == 1


async def test_folders_are_found_by_name_and_made_once(home: Home) -> None:
    await home.run(pack({"conversations.json": [chat("a", gizmo_id="g-p-12345678abc"), chat("b", gizmo_id="g-p-12345678abc")]}))  # fmt: skip
    assert [(f.name, f.conversations) for f in await home.folders.list()] == [("ChatGPT project 12345678", 2)]


async def test_what_is_damaged_is_told_and_the_rest_is_added(home: Home) -> None:
    whole = json.dumps(
        [
            chat("a"),
            chat("b"),
            {"title": "Claude", "chat_messages": []},
            7,
            chat("empty", mapping={}),
            chat("c"),
        ]
    )
    done = await home.run(whole.replace('"title": "B"', '"title": B').encode())
    assert sorted(await home.titles()) == ["A", "C"]
    assert done.state == "finished"
    assert [title for title, _ in skips(done)] == ["export.zip", "Claude", "", "EMPTY"]
    assert "this is not JSON: expecting value (at character" in done.skipped[0].reason
    assert "Claude" in done.skipped[1].reason


async def test_a_document_that_breaks_off_gives_what_is_before(home: Home) -> None:
    done = await home.run(json.dumps([chat("a"), chat("b")]).encode()[:-40])
    assert await home.titles() == ["A"]
    assert "the document ends in the middle" in done.skipped[0].reason


async def test_a_file_that_is_missing_or_too_large_is_told_in_the_message_and_the_report(home: Home) -> None:
    done = await home.run(pack({"conversations.json": [picture("a", "file-No1")]}))
    assert skips(done) == [("A", "1 file left out: not in the export")]
    _, messages = await home.only()
    assert messages[0].text == "what is it?\n\n(The file 'file-No1' was left out: not in the export.)"


@pytest.mark.parametrize(
    ("encoding", "title"), [("utf-8-sig", "é猫"), ("utf-16", "é猫"), ("utf-16-le", "é猫"), ("utf-32", "é猫")]
)
async def test_other_encodings_are_understood(home: Home, encoding: str, title: str) -> None:
    done = await home.run(json.dumps([chat("a", title=title)], ensure_ascii=False).encode(encoding))
    assert (await home.titles(), skips(done)) == ([title], [])


async def test_a_wrong_encoding_is_read_as_far_as_it_goes_and_told(home: Home) -> None:
    done = await home.run(json.dumps([chat("a", title="caf\xe9")], ensure_ascii=False).encode("latin-1"))
    assert await home.titles() == ["caf\ufffd"]
    assert "not in UTF-8" in done.skipped[0].reason


async def test_odd_characters_are_replaced_and_told(home: Home) -> None:
    done = await home.run(json.dumps([chat("a", "x\0y\ud800")]).encode())
    assert (await home.only())[1][0].text == "x\ufffdy\ufffd"
    assert skips(done) == [("A", "characters that cannot be stored were replaced by U+FFFD")]


async def test_an_id_twice_is_one_conversation(home: Home) -> None:
    done = await home.run(json.dumps([chat("a"), chat("a")]).encode())
    assert (done.added, done.unchanged) == (1, 1)


async def test_a_message_that_belongs_elsewhere_is_not_taken(home: Home) -> None:
    def own(name: str) -> dict[str, Any]:
        message = {"id": "m1", "parent_id": None, "role": "user", "text": "x", "created_at": 1.0}
        return {"id": name, "title": name, "current_leaf_id": None, "model": None, "system_prompt": None, "created_at": 1.0, "updated_at": 1.0, "messages": [message]}  # fmt: skip

    whole = {"format": "candide", "version": 1, "exported_at": 1.0, "conversations": [own("c1"), own("c2")]}
    done = await home.run(json.dumps(whole).encode())
    assert (done.format, done.added, await home.titles()) == ("candide", 1, ["c1"])
    assert skips(done) == [
        ("c2", "one of its messages has an id that another conversation's message has here")
    ]


def encrypted() -> bytes:
    data = bytearray(pack({"conversations.json": [chat("a")]}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(signature) + offset
        data[place : place + 2] = struct.pack("<H", 1)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "found in it"),
        (b"hello", "found in it"),
        (b"[]", "found in it"),
        (b"PK\x03\x04 and then nothing", "not a ZIP file that can be read"),
        (b"\x1f\x8b\x08", "another kind than ZIP"),
        (pack({"readme.txt": b"hi"}), "no export of conversations is"),
        (pack({"Conversations__1.zip": b"PK"}), "another ZIP is"),
        (encrypted(), "encrypted"),
        (pack({"conversations.json": b"[" + b" " * 40_000_000 + b"]"}), "unpacks to much more"),
        (json.dumps({"format": "candide", "version": 99, "conversations": []}).encode(), "newer Candide"),
        (json.dumps([{"chat_messages": []}]).encode(), "found in it"),
    ],
    ids=[
        "empty",
        "text",
        "no element",
        "truncated",
        "gzip",
        "other",
        "nested",
        "encrypted",
        "bomb",
        "newer",
        "claude",
    ],
)
async def test_what_cannot_be_imported_fails_with_the_reason(home: Home, data: bytes, reason: str) -> None:
    done = await home.run(data)
    assert done.state == "failed"
    assert reason in (done.error or "")
    assert await home.titles() == []


async def test_names_that_lead_outside_lead_nowhere(home: Home) -> None:
    archive = pack(
        {"../../conversations.json": [picture("a", "file-Aa1")], "/etc/../../file-Aa1-../../x.png": PNG}
    )
    done = await home.run(archive)
    assert done.added == 1
    assert sorted(path.name for path in home.folder.iterdir() if not path.name.startswith("candide.db")) == [
        "upload-1"
    ]


async def test_a_bomb_among_the_files_is_left_out(home: Home) -> None:
    done = await home.run(
        pack({"conversations.json": [picture("a", "file-Aa1")], "file-Aa1-x.png": b"\0" * 30_000_000})
    )
    assert skips(done) == [("A", "1 file left out: it unpacks to much more than it takes in the archive")]


async def test_a_damaged_member_is_told_and_the_others_are_read(home: Home) -> None:
    data = bytearray(pack({"conversations-000.json": [chat("a")], "conversations-001.json": [chat("b")]}))
    data[data.index(b"conversations-000.json") + 30] ^= 0xFF
    done = await home.run(bytes(data))
    assert "B" in await home.titles()
    assert any("damaged" in reason or "JSON" in reason for _, reason in skips(done))


async def test_an_import_that_was_cut_off_goes_on_and_counts_nothing_twice(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = json.dumps([*(chat(f"c{n}") for n in range(5)), 7, *(chat(f"d{n}") for n in range(5))]).encode()
    path = home.folder / "upload"
    path.write_bytes(data)
    begun = await home.imports.create("import_x", "x.json", len(data))
    kept = 0
    keep: Callable[..., Awaitable[Any]] = ImportStore.keep

    async def die_later(self: ImportStore, *arguments: Any, **more: Any) -> Any:
        nonlocal kept
        kept += 1
        if kept == 8:
            raise asyncio.CancelledError
        return await keep(self, *arguments, **more)

    monkeypatch.setattr(ImportStore, "keep", die_later)
    with pytest.raises(asyncio.CancelledError):
        await Importer(home.imports, begun, path).run()
    monkeypatch.undo()
    left = await home.imports.get("import_x")
    assert (left.state, left.added, left.skipped_count) == ("running", 7, 1)
    await Importer(ImportStore(home.database), left, path).run()
    done = await home.imports.get("import_x")
    assert (done.state, done.added, done.unchanged, done.skipped_count) == ("finished", 10, 0, 1)


async def test_open_webui_and_candide_are_told_apart(home: Home) -> None:
    message = {"role": "user", "content": "hello", "parentId": None, "timestamp": 1_700_000_000}
    source = [
        {"id": "x", "title": "Web", "chat": {"history": {"messages": {"a": message}, "currentId": "a"}}}
    ]
    done = await home.run(json.dumps(source).encode(), "chat-export.json")
    assert (done.format, done.added) == ("open-webui", 1)
    assert (await home.only())[1][0].text == "hello"


async def test_a_report_lists_two_hundred_and_counts_all(home: Home) -> None:
    done = await home.run(json.dumps([chat("a"), *range(300)]).encode())
    assert (done.skipped_count, len(done.skipped)) == (300, 200)
