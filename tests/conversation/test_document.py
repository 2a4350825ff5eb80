"""What is exported comes back the same; what is no conversation is refused with its place."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from candide.conversation.document import (
    ExportedFolder,
    check_head,
    export_tree,
    read_conversation,
    write_document,
)
from candide.conversation.elements import Element, Header, read_elements
from candide.conversation.imported import WANTED, ImportedTree, UnreadableError
from candide.domain.messages import Conversation, File, Message, StoredFile

from .trees import folders, trees


def restore_files(messages: list[Message], given: list[Message]) -> dict[str, Message]:
    """The messages by id, with the parts of files that they ask for as they were given."""
    parts = {
        p["file"]["id"]: p
        for m in given
        for p in m.parts
        if isinstance(p.get("file"), dict) and "id" in p["file"]
    }
    return {
        m.id: msgspec.structs.replace(
            m, parts=[parts[part["key"]] if part.get("type") == WANTED else part for part in m.parts]
        )
        for m in messages
    }


def check_same(
    read: ImportedTree, conversation: Conversation, messages: list[Message], folder: ExportedFolder | None
) -> None:
    assert read.conversation == conversation
    assert restore_files(read.messages, messages) == {m.id: m for m in messages}
    seen: set[str | None] = {None}
    for message in read.messages:
        assert message.parent_id in seen, "a parent comes before its children"
        seen.add(message.id)
    assert (read.folder and (read.folder.name, read.folder.instructions)) == (
        folder and (folder.name, folder.instructions)
    )
    assert read.notes == []


@given(trees(), folders)
def test_what_is_exported_comes_back_the_same(
    tree: tuple[Conversation, list[Message]], folder: ExportedFolder | None
) -> None:
    exported = export_tree(*tree, folder)
    header, first, second = read_elements([write_document([exported, exported]).decode()])
    assert isinstance(header, Header)
    check_head(header.members)
    assert isinstance(first, Element)
    assert first == second
    check_same(read_conversation(first.value), *tree, folder)


def test_files_within_the_document_come_back() -> None:
    file = File(id="file_0", name="a.txt", media_type="text/plain", size=2)
    tree = conversation(messages=[message("m1", parts=[file.as_part()])])
    tree["files"] = [{**msgspec.structs.asdict(file), "data": base64.b64encode(b"hi").decode()}]
    read = read_conversation(tree)
    assert read.files["file_0"].data == b"hi"
    written = export_tree(read.conversation, read.messages, files=[StoredFile(file, b"hi")])
    assert msgspec.to_builtins(written.files) == tree["files"]


def message(message_id: str = "m1", parent_id: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": message_id,
        "parent_id": parent_id,
        "role": "user",
        "text": "hello",
        "created_at": 1.0,
        **more,
    }


def conversation(**changes: Any) -> dict[str, Any]:
    """Of the first version of the document."""
    made: dict[str, Any] = {
        "id": "c1", "title": "t", "current_leaf_id": "m2", "model": None, "system_prompt": None,
        "created_at": 1.0, "updated_at": 2.0, "messages": [message(), message("m2", "m1", role="assistant")],
    }  # fmt: skip
    made |= {"current_leaf_id": None} if "messages" in changes else {}
    return made | changes


def test_the_members_of_the_first_version_are_enough() -> None:
    read = read_conversation(conversation())
    assert read.conversation.current_leaf_id == "m2"
    assert not read.conversation.pinned
    assert [(m.id, m.state, m.conversation_id) for m in read.messages] == [
        ("m1", "complete", "c1"), ("m2", "complete", "c1"),
    ]  # fmt: skip


def test_members_of_a_later_version_are_ignored() -> None:
    assert read_conversation(conversation(surprise=1, messages=[message(surprise=2)])).messages


def test_an_answer_exported_while_it_was_written_is_stopped() -> None:
    assert (
        read_conversation(conversation(messages=[message(state="streaming")])).messages[0].state == "stopped"
    )


def test_what_no_database_keeps_is_replaced() -> None:
    read = read_conversation(
        json.loads(json.dumps(conversation(title="a\0b", messages=[message(text="\ud800é😀")])))
    )
    assert read.conversation.title == "a\ufffdb"
    assert read.messages[0].text == "\ufffdé😀"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"current_leaf_id": "nowhere"}, "current_leaf_id"),
        ({"messages": [message(), message("m2", "nowhere")]}, "messages.1.parent_id"),
        ({"messages": [message(), message()]}, "messages.1.id"),
        ({"messages": [message("m1", "m2"), message("m2", "m1")]}, "messages: the parents go round"),
        ({"messages": [message(text=1)]}, r"\$.messages\[0\].text"),
        ({"id": "../x"}, "id"),
        ({"id": "x" * 41}, "id"),
        ({"id": "é"}, "id"),
        ({"files": [{"id": "f", "name": "n", "media_type": "", "size": 1, "data": "?"}]}, "base 64"),
    ],
)
def test_what_cannot_be_a_tree_is_refused_with_the_place(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(UnreadableError, match=place) as caught:
        read_conversation(conversation(**changes))
    assert caught.value.title == "t"


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"id": "c1"}])
def test_what_is_no_conversation_is_refused(value: Any) -> None:
    with pytest.raises(UnreadableError, match="no conversation"):
        read_conversation(value)


@pytest.mark.parametrize(
    "head",
    [{}, {"format": "candide"}, {"format": "other", "version": 1}, {"format": "candide", "version": "1"}],
)
def test_a_head_of_another_format_is_refused(head: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError, match="this is not an export of Candide"):
        check_head(head)


def test_a_later_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnreadableError, match="update"):
        check_head({"format": "candide", "version": 3})
