"""Conversations as a document that outlives Candide, and back.

The JSON form holds everything and loses nothing: reading what was written gives the same trees. Its
members are described in docs/reference/export.md. The Markdown form is one branch, to be read.
A document comes from anywhere, so nothing in it is believed before it is checked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from candide.domain.messages import Conversation, Message, MessageState, Role
from candide.errors import BadRequest

FORMAT = "candide"
VERSION = 1

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


class ExportedConversation(msgspec.Struct, kw_only=True):
    id: _Id
    title: str
    current_leaf_id: _Id | None
    model: str | None
    system_prompt: str | None
    created_at: float
    updated_at: float
    messages: list[ExportedMessage]


class ExportDocument(msgspec.Struct, kw_only=True):
    format: str
    version: int
    exported_at: float
    conversations: list[ExportedConversation]


def write_json(trees: Iterable[tuple[Conversation, Sequence[Message]]]) -> bytes:
    """The document of these conversations, laid out for reading."""
    document = ExportDocument(
        format=FORMAT,
        version=VERSION,
        exported_at=time.time(),
        conversations=[_export_tree(conversation, messages) for conversation, messages in trees],
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def read_json(data: bytes) -> list[tuple[Conversation, list[Message]]]:
    """The conversations of a document, parents before children.

    An answer that was being written when it was exported is `stopped`: no turn will end it. Raises
    BadRequest that says what is wrong and where.
    """
    try:
        document = msgspec.json.decode(data, type=ExportDocument)
    except msgspec.ValidationError as error:
        raise BadRequest(
            f"this is not an export of Candide: {error}", hint="candide export writes one"
        ) from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"this is not JSON: {error}", hint="candide export writes a document") from None
    if document.format != FORMAT:
        raise BadRequest(f"the document's format is '{document.format}', not '{FORMAT}'", param="format")
    if document.version > VERSION:
        raise BadRequest(
            f"the document is of version {document.version}, written by a newer Candide",
            param="version",
            hint="update Candide and import it again",
        )
    return [_import_tree(tree, f"conversations.{n}") for n, tree in enumerate(document.conversations)]


def write_markdown(conversation: Conversation, branch: Sequence[Message]) -> str:
    """One branch to be read: a heading for each who speaks, and what they said as it stands."""
    parts = [f"# {' '.join(conversation.title.split()) or 'Conversation'}"]
    for message in branch:
        moment = datetime.fromtimestamp(message.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        speaker = "You" if message.role == "user" else message.model or message.role.capitalize()
        state = "" if message.state == "complete" else f", {message.state}"
        parts.append(f"## {speaker} ({moment}{state})")
        if message.text.strip():
            parts.append(message.text.strip("\n"))
    return "\n\n".join(parts) + "\n"


def _export_tree(conversation: Conversation, messages: Sequence[Message]) -> ExportedConversation:
    fields = [name for name in ExportedConversation.__struct_fields__ if name != "messages"]
    kept = ExportedMessage.__struct_fields__
    return ExportedConversation(
        **{name: getattr(conversation, name) for name in fields},
        messages=[ExportedMessage(**{name: getattr(message, name) for name in kept}) for message in messages],
    )


def _import_tree(tree: ExportedConversation, where: str) -> tuple[Conversation, list[Message]]:
    by_id: dict[str, ExportedMessage] = {}
    for n, message in enumerate(tree.messages):
        if message.id in by_id:
            raise BadRequest(f"the id '{message.id}' occurs twice", param=f"{where}.messages.{n}.id")
        by_id[message.id] = message
    for n, message in enumerate(tree.messages):
        if message.parent_id is not None and message.parent_id not in by_id:
            raise BadRequest(
                f"the parent '{message.parent_id}' is no message of this conversation",
                param=f"{where}.messages.{n}.parent_id",
            )
    if tree.current_leaf_id is not None and tree.current_leaf_id not in by_id:
        raise BadRequest(
            f"the current leaf '{tree.current_leaf_id}' is no message of this conversation",
            param=f"{where}.current_leaf_id",
        )
    fields = [name for name in ExportedConversation.__struct_fields__ if name != "messages"]
    conversation = Conversation(**{name: getattr(tree, name) for name in fields})
    ordered = _parents_first(tree.messages, where)
    return conversation, [_import_message(message, tree.id) for message in ordered]


def _parents_first(messages: Sequence[ExportedMessage], where: str) -> list[ExportedMessage]:
    children: dict[str | None, list[ExportedMessage]] = {}
    for message in messages:
        children.setdefault(message.parent_id, []).append(message)
    ordered = list(children.get(None, []))
    for message in ordered:  # grows while it is walked
        ordered.extend(children.get(message.id, []))
    if len(ordered) < len(messages):
        raise BadRequest("the messages' parents go round in a circle", param=f"{where}.messages")
    return ordered


def _import_message(message: ExportedMessage, conversation_id: str) -> Message:
    fields = msgspec.structs.asdict(message)
    if message.state in ("pending", "streaming"):
        fields["state"] = "stopped"
    return Message(conversation_id=conversation_id, **fields)
