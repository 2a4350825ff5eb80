"""Conversations as a document that outlives Candide, and back.

The document holds everything and loses nothing: reading what was written gives the same trees. Its
members are described in docs/reference/export.md. A document comes from anywhere, so nothing in it is
believed before it is checked.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from candide.conversation.imported import (
    ImportedTree,
    UnreadableError,
    WantedFile,
    WantedFolder,
    as_text,
    clean_value,
)
from candide.domain.grounding import Grounding
from candide.domain.messages import Conversation, File, Message, MessageState, Role, StoredFile

FORMAT = "candide"
VERSION = 2

_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class ExportedMessage(msgspec.Struct, kw_only=True, omit_defaults=True):
    id: _Id
    parent_id: _Id | None
    role: Role
    text: str
    created_at: float
    state: MessageState = "complete"
    parts: list[dict[str, Any]] = []
    reasoning: str = ""
    model: str | None = None
    usage: dict[str, Any] | None = None
    engine: str | None = None
    timings: dict[str, Any] | None = None
    finish_reason: str | None = None
    error: dict[str, Any] | None = None
    feedback: dict[str, Any] | None = None
    grounding: dict[str, Any] | None = None


class ExportedFolder(msgspec.Struct, kw_only=True, omit_defaults=True):
    name: str
    instructions: str | None = None


class ExportedFile(msgspec.Struct, kw_only=True):
    """A file with its bytes in base 64, where no folder `files/` stands beside the document."""

    id: str
    name: str
    media_type: str
    size: int
    data: str


class ExportedConversation(msgspec.Struct, kw_only=True):
    id: _Id
    title: str
    current_leaf_id: _Id | None
    model: str | None
    system_prompt: str | None
    created_at: float
    updated_at: float
    messages: list[ExportedMessage]
    pinned: bool = False
    archived: bool = False
    folder: ExportedFolder | None = None
    instructions: str | None = None
    params: dict[str, Any] = {}
    files: list[ExportedFile] = []


_OF_CONVERSATION = sorted(set(Conversation.__struct_fields__) & set(ExportedConversation.__struct_fields__))
_OF_MESSAGE = ExportedMessage.__struct_fields__


def export_tree(
    conversation: Conversation,
    messages: Sequence[Message],
    folder: ExportedFolder | None = None,
    files: Iterable[StoredFile] = (),
) -> ExportedConversation:
    """A conversation as its document has it; `files` are those to be held in the document itself."""
    return ExportedConversation(
        **{name: getattr(conversation, name) for name in _OF_CONVERSATION},
        messages=[
            ExportedMessage(**{name: getattr(message, name) for name in _OF_MESSAGE}) for message in messages
        ],
        folder=folder,
        files=[
            ExportedFile(
                **msgspec.structs.asdict(stored.file), data=base64.b64encode(stored.data).decode("ascii")
            )
            for stored in files
        ],
    )


def write_head() -> bytes:
    """What a document begins with; conversations follow with commas between them, then `TAIL`."""
    head = {"format": FORMAT, "version": VERSION, "exported_at": time.time()}
    return msgspec.json.format(msgspec.json.encode(head), indent=2)[:-2] + b',\n  "conversations": [\n'


TAIL = b"\n  ]\n}\n"


def write_conversation(tree: ExportedConversation) -> bytes:
    """One conversation, laid out for reading."""
    return msgspec.json.format(msgspec.json.encode(tree), indent=2)


def write_document(trees: Iterable[ExportedConversation]) -> bytes:
    return write_head() + b",\n".join(write_conversation(tree) for tree in trees) + TAIL


def check_head(members: Mapping[str, Any]) -> None:
    """Raises UnreadableError when these members, which stand before the conversations, are not of a document that can be read."""
    version = members.get("version")
    if members.get("format") != FORMAT or not isinstance(version, int):
        raise UnreadableError("this is not an export of Candide: its format and version are missing")
    if version > VERSION:
        raise UnreadableError(
            f"the document is of version {version}, written by a newer Candide: update this one"
        )


def read_conversation(value: Any) -> ImportedTree:
    """Read one conversation of a document; raises UnreadableError that says what is wrong and where.

    An answer that was being written when it was exported is `stopped`: no turn will end it.
    """
    title = as_text(value.get("title")) if isinstance(value, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    try:
        tree = msgspec.convert(clean_value(value), ExportedConversation)
    except msgspec.ValidationError as error:
        raise UnreadableError(f"this is no conversation of Candide: {error}", title) from None
    except RecursionError:
        raise UnreadableError("nested too deeply", title) from None
    _check_tree(tree)
    conversation = Conversation(**{name: getattr(tree, name) for name in _OF_CONVERSATION})
    files = {file.id: _read_file(file, title) for file in tree.files}
    messages = [_import_message(message, tree.id, files) for message in _parents_first(tree)]
    folder = (
        WantedFolder(name=tree.folder.name, instructions=tree.folder.instructions) if tree.folder else None
    )
    return ImportedTree(conversation=conversation, messages=messages, files=files, folder=folder)


def _check_tree(tree: ExportedConversation) -> None:
    known: set[str] = set()
    for n, message in enumerate(tree.messages):
        if message.id in known:
            raise UnreadableError(f"messages.{n}.id: '{message.id}' occurs twice", tree.title)
        known.add(message.id)
    for n, message in enumerate(tree.messages):
        if message.parent_id is not None and message.parent_id not in known:
            raise UnreadableError(
                f"messages.{n}.parent_id: '{message.parent_id}' is no message of this conversation",
                tree.title,
            )
    if tree.current_leaf_id is not None and tree.current_leaf_id not in known:
        raise UnreadableError(
            f"current_leaf_id: '{tree.current_leaf_id}' is no message of this conversation", tree.title
        )


def _parents_first(tree: ExportedConversation) -> list[ExportedMessage]:
    children: dict[str | None, list[ExportedMessage]] = {}
    for message in tree.messages:
        children.setdefault(message.parent_id, []).append(message)
    ordered = list(children.get(None, []))
    for message in ordered:  # grows while it is walked
        ordered.extend(children.get(message.id, []))
    if len(ordered) < len(tree.messages):
        raise UnreadableError("messages: the parents go round in a circle", tree.title)
    return ordered


def _read_file(file: ExportedFile, title: str) -> WantedFile:
    try:
        data = base64.b64decode(file.data, validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableError(f"files: the data of '{file.name}' are not in base 64", title) from None
    return WantedFile(key=file.id, name=file.name, media_type=file.media_type, data=data)


def _import_message(message: ExportedMessage, conversation_id: str, files: dict[str, WantedFile]) -> Message:
    fields = msgspec.structs.asdict(message)
    if message.state in ("pending", "streaming"):
        fields["state"] = "stopped"
    fields["parts"] = [_import_part(part, files) for part in message.parts]
    fields["grounding"] = _import_grounding(message.grounding)
    return Message(conversation_id=conversation_id, **fields)


def _import_grounding(described: dict[str, Any] | None) -> dict[str, Any] | None:
    """What an answer rests on, as it stands; what is none is left out."""
    try:
        return None if described is None else msgspec.to_builtins(msgspec.convert(described, Grounding))
    except msgspec.ValidationError:
        return None


def _import_part(part: dict[str, Any], files: dict[str, WantedFile]) -> dict[str, Any]:
    """A part as it stands, but one of a file asks for it: here it may have another id."""
    try:
        described = msgspec.convert(part.get("file"), File)
    except msgspec.ValidationError:
        return {name: value for name, value in part.items() if name != "file"}
    wanted = files.setdefault(
        described.id, WantedFile(key=described.id, name=described.name, media_type=described.media_type)
    )
    return wanted.as_part()
