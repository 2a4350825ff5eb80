"""ChatGPT's data export: conversations read from it, and written as it has them.

A conversation is a `mapping` of nodes. What ChatGPT does not show is left out, and what follows it is
joined to the nearest node that is kept. What the model did between a question and its answer (thinking,
calls of tools, what they gave) is one message there as on ChatGPT's own page: the visible text is the
answer, and the rest is its reasoning, which a page folds.

Written, a conversation keeps what the format has no place for under `metadata.candide`, of itself and
of each message, and comes back the same. The format is described nowhere; what is known of it was read
off exports, and whatever is unknown is kept as text where it has any.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from candide.conversation import document
from candide.conversation.document import ExportedConversation, ExportedMessage
from candide.conversation.fences import close_fences, fence
from candide.conversation.imported import (
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    ImportedTree,
    UnreadableError,
    WantedFile,
    WantedFolder,
    as_dict,
    as_list,
    as_moment,
    as_text,
    clean_text,
    derive_id,
    derive_message_id,
)
from candide.conversation.tree import order_parents_first
from candide.domain.messages import Conversation, File, Message, MessageState

Rating = dict[str, Any]

_FILE_ID = re.compile(r"file[-_][A-Za-z0-9]+")
_HIDDEN_KINDS = frozenset({"user_editable_context", "model_editable_context", "app_pairing_content"})
_CITATION = re.compile("\ue200[^\ue200\ue201]*\ue201")
_LANGUAGES = {"python": "python", "dalle.text2im": "json", "web": "json", "web.run": "json", "bio": ""}


def is_conversation(value: Any) -> bool:
    return isinstance(as_dict(value).get("mapping"), dict)


def find_file_id(name: str) -> str:
    """The id with which a pointer or the name of a file of the export begins; empty when there is none."""
    found = _FILE_ID.search(name.rpartition("://")[2])
    return found[0] if found else ""


def read_ratings(value: Any) -> dict[str, Rating]:
    """What `message_feedback.json` says, by the ids of the messages."""
    ratings: dict[str, Rating] = {}
    for entry in map(as_dict, as_list(value)):
        rating = {"thumbs_up": "up", "thumbs_down": "down"}.get(as_text(entry.get("rating")))
        if not rating or not as_text(entry.get("id")):
            continue
        try:
            reason = as_text(as_dict(json.loads(as_text(entry.get("content")) or "{}")).get("text"))
        except ValueError:
            reason = ""
        ratings[entry["id"]] = {"rating": rating, "reason": clean_text(reason)[:MAX_NAME_CHARS]}
    return ratings


def read_conversation(value: Any, ratings: Mapping[str, Rating] | None = None) -> ImportedTree:
    """Read one conversation of the export; raises UnreadableError when there is nothing in it to take over."""
    source = as_dict(value)
    if extras := as_dict(as_dict(source.get("metadata")).get("candide")):
        return _read_own(source, extras)
    return _Reader(source, ratings or {}).read()


@dataclass
class _Node:
    """A node that is shown."""

    id: str
    role: Literal["user", "assistant", "system"]
    moment: float | None
    visible: list[str] = field(default_factory=list[str])
    folded: list[str] = field(default_factory=list[str])
    files: list[str] = field(default_factory=list[str])
    model: str | None = None
    state: MessageState = "complete"
    finish_reason: str | None = None
    feedback: Rating | None = None
    children: list[_Node] = field(default_factory=list["_Node"])


class _Reader:
    def __init__(self, source: dict[str, Any], ratings: Mapping[str, Rating]) -> None:
        self._ratings = ratings
        self._mapping = {key: as_dict(node) for key, node in as_dict(source.get("mapping")).items()}
        self._source = source
        self._title = clean_text(" ".join(as_text(source.get("title")).split()))[:MAX_NAME_CHARS]
        self._files: dict[str, WantedFile] = {}
        self._notes: dict[str, None] = {}
        self._kept_as: dict[str, str] = {}
        """The ids of messages by those of the nodes that went into them."""
        self._messages: list[Message] = []
        self._created = as_moment(source.get("create_time"))
        name = as_text(source.get("conversation_id")) or as_text(source.get("id"))
        if not name:
            name = f"{source.get('create_time')} {source.get('title')} {next(iter(self._mapping), '')}"
        self._name = name
        self._id = derive_id("conv", "chatgpt", name)

    def read(self) -> ImportedTree:
        parents = self._find_parents()
        roots = self._keep(parents)
        self._join(roots)
        if all(message.role == "system" for message in self._messages):
            raise UnreadableError("there is no message in it", self._title)
        moments = [message.created_at for message in self._messages]
        created = self._created if self._created is not None else min(moments)
        updated = as_moment(self._source.get("update_time"))
        return ImportedTree(
            conversation=Conversation(
                id=self._id,
                title=self._title,
                current_leaf_id=self._find_leaf(parents),
                model=None,  # what answered there does not answer here
                system_prompt=None,
                created_at=created,
                updated_at=updated if updated is not None else max([created, *moments]),
                pinned=self._source.get("is_starred") is True,
                archived=self._source.get("is_archived") is True,
            ),
            messages=self._messages,
            files=self._files,
            folder=self._find_folder(),
            notes=list(self._notes),
        )

    def _find_folder(self) -> WantedFolder | None:
        """The project; its name stands nowhere in the export."""
        project = as_text(self._source.get("gizmo_id"))
        if not project.startswith("g-p-"):
            return None
        return WantedFolder(name=f"ChatGPT project {clean_text(project[4:12])}")

    def _find_leaf(self, parents: Mapping[str, str | None]) -> str:
        node: str | None = as_text(self._source.get("current_node"))
        seen: set[str] = set()
        while node and node not in seen:
            if node in self._kept_as:
                return self._kept_as[node]
            seen.add(node)
            node = parents.get(node)
        return max(message.id for message in self._messages)

    # The tree

    def _find_parents(self) -> dict[str, str | None]:
        """Every node's parent, or None; the nodes in an order in which parents come first."""
        mapping = self._mapping
        parents: dict[str, str | None] = {}
        for key, node in mapping.items():
            parent = node.get("parent")
            parents[key] = parent if isinstance(parent, str) and parent in mapping and parent != key else None
        if not any("parent" in node for node in mapping.values()):
            self._parents_from_children(parents)
        ordered, cut = order_parents_first(parents)
        if cut:
            self._note("messages whose parents go round in a circle were put at the beginning")
        return ordered

    def _parents_from_children(self, parents: dict[str, str | None]) -> None:
        before: str | None = None
        lists = any(node.get("children") for node in self._mapping.values())
        for key, node in self._mapping.items():
            for child in as_list(node.get("children")):
                if isinstance(child, str) and parents.get(child, key) is None and child != key:
                    parents[child] = key
            if not lists:  # no tree at all: one follows the other
                parents[key] = before
                before = key

    def _keep(self, parents: Mapping[str, str | None]) -> list[_Node]:
        """The nodes that are shown, as a tree of their own; its roots."""
        roots: list[_Node] = []
        above: dict[str, _Node | None] = {}
        for key, parent in parents.items():
            nearest = above[parent] if parent is not None else None
            node = self._read_node(key)
            if node is not None:
                (roots if nearest is None else nearest.children).append(node)
            above[key] = node or nearest
        return roots

    def _join(self, roots: Sequence[_Node]) -> None:
        """Make messages of the nodes; what the model said and did in a row becomes one."""
        pending: list[tuple[_Node, list[_Node], Message | None, float, int]] = [
            (root, [], None, 0.0, 0) for root in reversed(roots)
        ]
        while pending:
            node, before, parent, moment, order = pending.pop()
            nodes = before
            nodes.append(node)
            kids = node.children
            answers = [kid for kid in kids if kid.role == "assistant"]
            all_answer = node.role == "assistant" and bool(answers) and len(answers) == len(kids)
            # Thinking that several answers begin with belongs to each of them.
            if all_answer and (len(kids) == 1 or not any(n.visible or n.files for n in nodes)):
                pending.extend(
                    (kid, nodes if len(kids) == 1 else list(nodes), parent, moment, order)
                    for kid in reversed(kids)
                )
                continue
            own = next((n.moment for n in reversed(nodes) if n.moment is not None), None)
            if own is not None and int(own * 1000) > int(moment * 1000):
                moment, order = own, 0
            elif parent is not None:
                order += 1
            else:
                moment = self._created or 0.0
            message = self._make_message(nodes, parent, moment, order)
            self._messages.append(message)
            for n in nodes:
                self._kept_as.setdefault(n.id, message.id)
            pending.extend((kid, [], message, moment, order) for kid in reversed(kids))

    def _make_message(
        self, nodes: Sequence[_Node], parent: Message | None, moment: float, order: int
    ) -> Message:
        last = nodes[-1]
        text = self._limit("\n\n".join(close_fences(text) for n in nodes for text in n.visible))
        reasoning = self._limit("\n\n".join(text for n in nodes for text in n.folded))
        own = next((n.moment for n in nodes if n.moment is not None), None)
        keys = dict.fromkeys(key for n in nodes for key in n.files)
        return Message(
            id=derive_message_id(moment, order, "chatgpt", self._name, last.id),
            conversation_id=self._id,
            parent_id=parent.id if parent else None,
            role=last.role,
            text=text,
            reasoning=reasoning,
            parts=[self._files[key].as_part() for key in keys],
            state=last.state,
            model=next((n.model for n in reversed(nodes) if n.model), None),
            finish_reason=last.finish_reason,
            feedback=next((n.feedback for n in reversed(nodes) if n.feedback), None),
            created_at=own if own is not None else moment,
        )

    def _limit(self, text: str) -> str:
        cleaned = clean_text(text)
        if cleaned != text:
            self._note("characters that cannot be stored were replaced by U+FFFD")
        if len(cleaned) > MAX_TEXT_CHARS:
            self._note(f"a message of {len(cleaned):,} characters was cut at {MAX_TEXT_CHARS:,}")
        return cleaned[:MAX_TEXT_CHARS]

    def _note(self, text: str) -> None:
        self._notes[text] = None

    # A node

    def _read_node(self, key: str) -> _Node | None:
        """What is shown of a node; None when nothing is."""
        message = as_dict(self._mapping[key].get("message"))
        metadata = as_dict(message.get("metadata"))
        content = as_dict(message.get("content"))
        author = as_dict(message.get("author"))
        role = as_text(author.get("role"))
        kind = as_text(content.get("content_type")) or ("multimodal_text" if "parts" in content else "text")
        if (
            not content
            or kind in _HIDDEN_KINDS
            or message.get("weight") == 0
            or metadata.get("is_visually_hidden_from_conversation") is True
        ):
            return None
        node = _Node(
            id=key,
            role="user" if role == "user" else "system" if role == "system" else "assistant",
            moment=as_moment(message.get("create_time")),
            model=clean_text(as_text(metadata.get("model_slug")))[:MAX_NAME_CHARS] or None,
            feedback=self._ratings.get(as_text(message.get("id"))) or self._ratings.get(key),
        )
        folds = role == "tool" or (
            role == "assistant" and as_text(message.get("recipient")) not in ("", "all")
        )
        self._read_content(
            node,
            content,
            kind,
            as_text(message.get("recipient")),
            folds=folds,
            name=as_text(author.get("name")),
        )
        if node.role != "system":
            self._read_metadata(node, metadata)
        finish = as_text(as_dict(metadata.get("finish_details")).get("type"))
        if node.role == "assistant":
            if finish == "interrupted" or message.get("status") == "in_progress":
                node.state = "stopped"
            node.finish_reason = {"stop": "stop", "max_tokens": "length"}.get(finish)
        node.visible = [_cite(text, metadata) for text in node.visible]
        node.visible = [text for text in node.visible if text.strip()]
        node.folded = [text for text in node.folded if text.strip()]
        return node if node.visible or node.folded or node.files else None

    def _read_content(
        self, node: _Node, content: dict[str, Any], kind: str, recipient: str, *, folds: bool, name: str
    ) -> None:
        shown = node.folded if folds else node.visible
        said = _text_of(content)
        if kind == "thoughts":
            node.folded.append(_read_thoughts(content))
        elif kind == "reasoning_recap":
            pass  # "Thought for 12 seconds"
        elif kind == "code":
            self._read_code(node, content, recipient, said, shown)
        elif kind == "execution_output":
            node.folded.append(fence(said) if said.strip() else "")
        elif kind in ("tether_quote", "sonic_webpage"):
            quoted = said or as_text(content.get("snippet"))
            title, url = as_text(content.get("title")), as_text(content.get("url"))
            head = f"[{title or url}]({url})" if url else title
            quote = "\n".join(f"> {line}" for line in quoted.splitlines())
            shown.append("\n\n".join(filter(None, (head, quote))))
        elif kind == "tether_browsing_display":
            node.folded.append(as_text(content.get("result")) or as_text(content.get("summary")) or said)
        elif kind == "system_error":
            node.folded.append(f"Error: {as_text(content.get('name'))} {said}".strip())
        elif kind in ("text", "multimodal_text"):
            parts = as_list(content.get("parts")) or [content.get("text")]
            texts = [text for text in (self._read_part(node, part) for part in parts) if text]
            text = "\n".join(texts)
            if folds and text.strip():
                label = name or recipient
                text = f"{label}:\n{fence(text)}" if _says_something(label) else fence(text)
            shown.append(text)
        else:
            if said.strip():
                shown.append(said)
            pointer = as_dict(content.get("screenshot")) or content
            self._want(node, pointer)
            if not said.strip() and not node.files:
                self._note(f"content of the unknown kind '{clean_text(kind)[:60]}' was left out")

    def _read_code(
        self, node: _Node, content: dict[str, Any], recipient: str, said: str, shown: list[str]
    ) -> None:
        if not said.strip():
            return
        language = as_text(content.get("language"))
        if recipient.startswith("canmore.create_textdoc") and (document_text := _read_canvas(said)):
            node.visible.append(document_text)
            return
        if language in ("", "unknown"):
            language = _LANGUAGES.get(recipient, "json" if said.lstrip().startswith("{") else "")
        shown.append(fence(said, language))

    def _read_part(self, node: _Node, part: Any) -> str:
        if isinstance(part, str):
            return part
        described = as_dict(part)
        kind = as_text(described.get("content_type")) or as_text(described.get("type"))
        if kind in ("audio_transcription", "text"):
            return as_text(described.get("text"))
        if "audio" in kind or "video" in kind:
            self._note("sound and video were left out; what was said is kept as text")
            return ""
        if described.get("asset_pointer"):
            self._want(node, described)
            return ""
        said = _text_of(described)
        if not said and described:
            self._note(f"content of the unknown kind '{clean_text(kind)[:60]}' was left out")
        return said

    def _read_metadata(self, node: _Node, metadata: dict[str, Any]) -> None:
        """Attachments, and the pictures that code has drawn."""
        for attachment in map(as_dict, as_list(metadata.get("attachments"))):
            key = find_file_id(as_text(attachment.get("id")))
            if key:
                wanted = self._files.setdefault(key, WantedFile(key=key))
                wanted.name = wanted.name or clean_text(as_text(attachment.get("name")))[:MAX_NAME_CHARS]
                wanted.media_type = (
                    wanted.media_type or clean_text(as_text(attachment.get("mime_type")))[:100]
                )
                node.files.append(key)
        for drawn in map(as_dict, as_list(as_dict(metadata.get("aggregate_result")).get("messages"))):
            self._want(node, {"asset_pointer": drawn.get("image_url")})

    def _want(self, node: _Node, pointer: dict[str, Any]) -> None:
        key = find_file_id(as_text(pointer.get("asset_pointer")))
        if key:
            self._files.setdefault(key, WantedFile(key=key))
            node.files.append(key)


def _says_something(label: str) -> bool:
    """Whether the name of a tool says something to a reader."""
    return bool(re.fullmatch(r"[\w. ]{1,60}", label))


def _text_of(content: dict[str, Any]) -> str:
    for name in ("text", "content", "result"):
        if as_text(content.get(name)):
            return content[name]
    return "\n".join(part for part in as_list(content.get("parts")) if isinstance(part, str))


def _read_thoughts(content: dict[str, Any]) -> str:
    thoughts = content.get("thoughts")
    if isinstance(thoughts, str):
        return thoughts
    told: list[str] = []
    for thought in as_list(thoughts):
        if isinstance(thought, str):
            told.append(thought)
            continue
        summary, said = as_text(as_dict(thought).get("summary")), as_text(as_dict(thought).get("content"))
        heading = f"**{summary.strip()}**" if summary.strip() and summary.strip() not in said else ""
        told.append("\n\n".join(filter(None, (heading, said))))
    return "\n\n".join(filter(None, told)) or _text_of(content)


def _read_canvas(said: str) -> str:
    """A document that the model wrote beside its answer; empty when it is not told as known."""
    try:
        made = as_dict(json.loads(said, strict=False))
    except (ValueError, RecursionError):
        return ""
    name, kind, text = (as_text(made.get(member)) for member in ("name", "type", "content"))
    if not text:
        return ""
    body = fence(text, kind.partition("/")[2]) if kind.startswith("code/") else text
    return f"**{name}**\n\n{body}" if name else body


def _cite(text: str, metadata: dict[str, Any]) -> str:
    """The text with links in place of ChatGPT's marks for sources."""
    if "\ue200" in text:
        for reference in map(as_dict, as_list(metadata.get("content_references"))):
            mark = as_text(reference.get("matched_text"))
            if "\ue200" in mark:
                text = text.replace(mark, as_text(reference.get("alt")))
        text = _CITATION.sub("", text)
    marks: dict[str, str] = {}
    for citation in map(as_dict, as_list(metadata.get("citations"))):
        told = as_dict(citation.get("metadata"))
        start, end, url = citation.get("start_ix"), citation.get("end_ix"), as_text(told.get("url"))
        if isinstance(start, int) and isinstance(end, int) and url and text[start : start + 1] == "【":
            marks[text[start:end]] = f" ([{as_text(told.get('title')) or url}]({url}))"
    for mark, link in marks.items():
        text = text.replace(mark, link)
    return text


# Conversations of Candide's own in ChatGPT's format


def write_conversation(tree: ExportedConversation) -> dict[str, Any]:
    """One conversation as an element of `conversations.json`."""
    taken = {message.id for message in tree.messages}
    root = _free_id("client-created-root", taken)
    nodes: dict[str, dict[str, Any]] = {root: {"id": root, "message": None, "parent": None, "children": []}}
    for message in tree.messages:
        parent = message.parent_id or root
        if message.reasoning:
            thinking = _free_id(f"{message.id}-thoughts", taken)
            nodes[thinking] = {
                "id": thinking,
                "message": _write_thoughts(thinking, message),
                "parent": parent,
                "children": [],
            }
            parent = thinking
        nodes[message.id] = {
            "id": message.id,
            "message": _write_message(message),
            "parent": parent,
            "children": [],
        }
    for key, node in nodes.items():
        if node["parent"] is not None:
            nodes[node["parent"]]["children"].append(key)
    extras = msgspec.to_builtins(tree)
    for name in ("id", "title", "messages", "created_at", "updated_at", "current_leaf_id"):
        del extras[name]
    return {
        "title": tree.title,
        "create_time": tree.created_at,
        "update_time": tree.updated_at,
        "mapping": nodes,
        "moderation_results": [],
        "current_node": tree.current_leaf_id or root,
        "plugin_ids": None,
        "conversation_id": tree.id,
        "conversation_template_id": None,
        "gizmo_id": None,
        "is_archived": tree.archived,
        "is_starred": tree.pinned,
        "safe_urls": [],
        "default_model_slug": tree.model,
        "metadata": {"candide": {**extras, "version": document.VERSION, "root": root}},
        "id": tree.id,
    }


def _free_id(wanted: str, taken: set[str]) -> str:
    while wanted in taken:
        wanted += "-"
    taken.add(wanted)
    return wanted


def _write_thoughts(key: str, message: ExportedMessage) -> dict[str, Any]:
    thoughts: list[dict[str, Any]] = [
        {"summary": "", "content": message.reasoning, "chunks": [], "finished": True}
    ]
    return _message(
        key,
        "assistant",
        message,
        {"content_type": "thoughts", "thoughts": thoughts},
        {"reasoning_of": message.id},
    )


def _write_message(message: ExportedMessage) -> dict[str, Any]:
    extras = msgspec.to_builtins(message)
    for name in ("id", "parent_id", "text", "created_at", "reasoning"):
        extras.pop(name, None)
    pointers = [
        {
            "content_type": "image_asset_pointer",
            "asset_pointer": f"sediment://{described.id}",
            "size_bytes": described.size,
        }
        for described in _files_of(message)
        if described.is_image
    ]
    kind = "multimodal_text" if pointers else "text"
    return _message(
        message.id, message.role, message, {"content_type": kind, "parts": [*pointers, message.text]}, extras
    )


def _files_of(message: ExportedMessage) -> list[File]:
    found: list[File] = []
    for part in message.parts:
        try:
            found.append(msgspec.convert(part.get("file"), File))
        except msgspec.ValidationError:
            continue
    return found


def _message(
    key: str, role: str, message: ExportedMessage, content: dict[str, Any], extras: dict[str, Any]
) -> dict[str, Any]:
    attachments = [
        {
            "id": described.id,
            "name": described.name,
            "mime_type": described.media_type,
            "size": described.size,
        }
        for described in _files_of(message)
    ]
    return {
        "id": key,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": message.created_at,
        "update_time": None,
        "content": content,
        "status": "finished_successfully",
        "end_turn": True,
        "weight": 1.0,
        "metadata": {
            **({"model_slug": message.model} if message.model else {}),
            **({"attachments": attachments} if attachments and content["content_type"] != "thoughts" else {}),
            "candide": extras,
        },
        "recipient": "all",
        "channel": None,
    }


def _read_own(source: dict[str, Any], extras: dict[str, Any]) -> ImportedTree:
    """A conversation that Candide wrote: the document's reader checks it."""
    version = extras.get("version")
    if isinstance(version, int) and version > document.VERSION:
        raise UnreadableError("written by a newer Candide: update this one", as_text(source.get("title")))
    mapping = as_dict(source.get("mapping"))
    messages: dict[str, dict[str, Any]] = {}
    thoughts: dict[str, str] = {}
    stands_for: dict[Any, Any] = {extras.get("root"): None}
    for key, node in mapping.items():
        message = as_dict(as_dict(node).get("message"))
        own = as_dict(as_dict(message.get("metadata")).get("candide"))
        content = as_dict(message.get("content"))
        if "reasoning_of" in own:
            stands_for[key] = as_dict(node).get("parent")
            thoughts[own["reasoning_of"]] = _read_thoughts(content)
        elif message:
            said = [part for part in as_list(content.get("parts")) if isinstance(part, str)]
            messages[key] = {
                **own,
                "id": key,
                "parent_id": as_dict(node).get("parent"),
                "role": as_dict(message.get("author")).get("role"),
                "text": "\n".join(said),
                "created_at": message.get("create_time"),
            }
    for key, message in messages.items():
        while message["parent_id"] in stands_for:
            message["parent_id"] = stands_for[message["parent_id"]]
        message["reasoning"] = thoughts.get(key, "")
    leaf = source.get("current_node")
    whole = {
        **extras,
        "id": source.get("id"),
        "title": source.get("title"),
        "current_leaf_id": None if leaf in stands_for else leaf,
        "created_at": source.get("create_time"),
        "updated_at": source.get("update_time"),
        "messages": list(messages.values()),
    }
    return document.read_conversation(whole)
