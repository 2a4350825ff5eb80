"""Open WebUI's export: conversations read from it.

A chat holds its messages by their ids, each with its parent. What a model thought and which tools it
called stand as HTML within its answer there; here they are its reasoning. Pictures and the texts of
files stand in the export itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import re
from typing import Any

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
    clean_value,
    derive_id,
    derive_message_id,
)
from candide.conversation.tree import order_parents_first
from candide.domain.messages import Conversation, Message, Role

_DETAILS = re.compile(
    r'<details type="(reasoning|tool_calls|code_interpreter)"([^>]*)>\s*(?:<summary>.*?</summary>)?(.*?)</details>\s*',
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,")
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_PARAMS = ("temperature", "top_p", "top_k", "min_p", "seed", "max_tokens", "presence_penalty", "frequency_penalty", "repeat_penalty")  # fmt: skip


def is_conversation(value: Any) -> bool:
    chat = as_dict(as_dict(value).get("chat"))
    return "history" in chat or isinstance(chat.get("messages"), list)


def read_conversation(value: Any) -> ImportedTree:
    """Read one chat; raises UnreadableError when there is nothing in it to take over."""
    return _Reader(as_dict(value)).read()


class _Reader:
    def __init__(self, source: dict[str, Any]) -> None:
        self._source = source
        self._chat = as_dict(source.get("chat"))
        title = as_text(source.get("title")) or as_text(self._chat.get("title"))
        self._title = clean_text(" ".join(title.split()))[:MAX_NAME_CHARS]
        self._files: dict[str, WantedFile] = {}
        self._notes: dict[str, None] = {}
        self._created = as_moment(source.get("created_at")) or as_moment(self._chat.get("timestamp"))
        self._sources = self._find_messages()
        self._name = as_text(source.get("id")) or as_text(self._chat.get("id"))
        if not self._name:
            self._name = f"{self._created} {self._title} {next(iter(self._sources), '')}"
        self._id = derive_id("conv", "open-webui", self._name)

    def read(self) -> ImportedTree:
        parents, cut = order_parents_first(
            {key: as_text(message.get("parentId")) or None for key, message in self._sources.items()}
        )
        if cut:
            self._note("messages whose parents go round in a circle were put at the beginning")
        kept: dict[str, Message] = {}
        places: dict[str, tuple[float, int]] = {}
        nearest: dict[str, str | None] = {}
        for key, parent in parents.items():
            above = nearest[parent] if parent is not None else None
            moment, order = places[above] if above is not None else (0.0, -1)
            own = as_moment(self._sources[key].get("timestamp"))
            if own is not None and int(own * 1000) > int(moment * 1000):
                place = (own, 0)
            else:
                place = (moment if above is not None else self._created or 0.0, order + 1)
            message = self._read_message(key, kept[above].id if above is not None else None, place, own)
            nearest[key] = key if message else above
            if message:
                kept[key], places[key] = message, place
        if not kept:
            raise UnreadableError("there is no message in it", self._title)
        messages = list(kept.values())
        current = nearest.get(as_text(as_dict(self._chat.get("history")).get("currentId")))
        moments = [message.created_at for message in messages]
        created = self._created if self._created is not None else min(moments)
        updated = as_moment(self._source.get("updated_at"))
        params = as_dict(self._chat.get("params"))
        system = clean_text(as_text(params.get("system")) or as_text(self._chat.get("system")))
        return ImportedTree(
            conversation=Conversation(
                id=self._id,
                title=self._title,
                current_leaf_id=kept[current].id if current else max(message.id for message in messages),
                model=None,  # what answered there need not answer here
                system_prompt=system or None,
                created_at=created,
                updated_at=updated if updated is not None else max([created, *moments]),
                pinned=self._source.get("pinned") is True,
                archived=self._source.get("archived") is True,
                params={
                    name: params[name]
                    for name in _PARAMS
                    if isinstance(params.get(name), (int, float)) and not isinstance(params[name], bool)
                },
            ),
            messages=messages,
            files=self._files,
            folder=self._find_folder(),
            notes=list(self._notes),
        )

    def _find_messages(self) -> dict[str, dict[str, Any]]:
        history = as_dict(self._chat.get("history")).get("messages")
        if isinstance(history, dict):
            return {
                key: as_dict(message)
                for key, message in as_dict(history).items()
                if isinstance(message, dict)
            }
        # Chats of old are a list, in which one message follows the other.
        found: dict[str, dict[str, Any]] = {}
        before: str | None = None
        for n, message in enumerate(map(as_dict, as_list(self._chat.get("messages")))):
            key = as_text(message.get("id")) or str(n)
            found[key] = {"parentId": before, **message}
            before = key
        return found

    def _find_folder(self) -> WantedFolder | None:
        folder = self._source.get("folder")
        name = as_text(folder) or as_text(as_dict(folder).get("name"))
        if not name and as_text(self._source.get("folder_id")):
            # The folders themselves are not in the export.
            name = f"Open WebUI folder {self._source['folder_id'][:8]}"
        name = clean_text(" ".join(name.split()))[:MAX_NAME_CHARS]
        return WantedFolder(name=name) if name else None

    def _note(self, text: str) -> None:
        self._notes[text] = None

    def _read_message(
        self, key: str, parent_id: str | None, place: tuple[float, int], own: float | None
    ) -> Message | None:
        source = self._sources[key]
        role = _ROLES.get(as_text(source.get("role")))
        if role is None:
            return None
        text, reasoning = _read_content(source) if role == "assistant" else (_plain_content(source), "")
        keys = self._read_files(source)
        error = source.get("error")
        failure = (
            as_text(error) or as_text(as_dict(error).get("content")) or as_text(as_dict(error).get("message"))
        )
        failed = bool(error) and role == "assistant"
        if not (text.strip() or reasoning.strip() or keys or failed):
            return None
        return Message(
            id=derive_message_id(*place, "open-webui", self._name, key),
            conversation_id=self._id,
            parent_id=parent_id,
            role=role,
            text=self._limit(text),
            reasoning=self._limit(reasoning),
            parts=[self._files[name].as_part() for name in keys],
            state="failed" if failed else "complete" if source.get("done", True) is not False else "stopped",
            model=(clean_text(as_text(source.get("model")))[:MAX_NAME_CHARS] or None)
            if role == "assistant"
            else None,
            usage=clean_value(as_dict(source.get("usage")) or as_dict(source.get("info")).get("usage"))
            or None,
            error={"code": "error", "message": clean_text(failure or "the answer failed"), "hint": None}
            if failed
            else None,
            feedback=_read_rating(source),
            created_at=own if own is not None else place[0],
        )

    def _limit(self, text: str) -> str:
        cleaned = clean_text(text)
        if cleaned != text:
            self._note("characters that cannot be stored were replaced by U+FFFD")
        if len(cleaned) > MAX_TEXT_CHARS:
            self._note(f"a message of {len(cleaned):,} characters was cut at {MAX_TEXT_CHARS:,}")
        return cleaned[:MAX_TEXT_CHARS]

    def _read_files(self, source: dict[str, Any]) -> list[str]:
        keys: dict[str, None] = {}
        for file in as_list(source.get("files")) + as_list(source.get("images")):
            described = as_dict(file) or {"url": file}
            wanted = self._read_file(described)
            if wanted is not None:
                self._files[wanted.key] = wanted
                keys[wanted.key] = None
        return list(keys)

    def _read_file(self, described: dict[str, Any]) -> WantedFile | None:
        inner = as_dict(described.get("file"))
        meta = as_dict(inner.get("meta"))
        name = as_text(described.get("name")) or as_text(inner.get("filename")) or as_text(meta.get("name"))
        name = clean_text(name)[:MAX_NAME_CHARS]
        url = as_text(described.get("url"))
        media_type = clean_text(as_text(meta.get("content_type")) or as_text(described.get("content_type")))[
            :100
        ]
        if found := _DATA_URL.match(url):
            try:
                data = base64.b64decode(url[found.end() :], validate=False)
            except (binascii.Error, ValueError):
                self._note(f"the data of the file '{name or 'without a name'}' are damaged")
                return None
            key = hashlib.sha256(data).hexdigest()
            return WantedFile(key=key, name=name, media_type=found[1] or media_type, data=data)
        # Of other files the export has the text that was drawn from them, if any.
        said = clean_text(
            as_text(as_dict(inner.get("data")).get("content")) or as_text(described.get("content"))
        )
        key = as_text(described.get("id")) or as_text(inner.get("id")) or url
        if not key:
            return None
        if said.strip():
            if media_type and not media_type.startswith("text/"):
                name, media_type = f"{name}.txt", "text/plain"
            return WantedFile(key=key, name=name, media_type=media_type or "text/plain", data=said.encode())
        return WantedFile(key=key, name=name, media_type=media_type)


def _plain_content(source: dict[str, Any]) -> str:
    content = source.get("content")
    if isinstance(content, str):
        return content
    parts = map(as_dict, as_list(content))
    return "\n\n".join(text for part in parts if (text := as_text(part.get("text"))))


def _read_content(source: dict[str, Any]) -> tuple[str, str]:
    """The answer, and what the model thought and did before it."""
    reasoning: list[str] = []
    if said := as_text(source.get("reasoning_content")) or as_text(source.get("reasoning")):
        reasoning.append(said)

    def fold(found: re.Match[str]) -> str:
        attributes = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(found[2])}
        inside = html.unescape(found[3]).strip()
        if found[1] == "reasoning":
            lines = (line.removeprefix(">").removeprefix(" ") for line in inside.split("\n"))
            reasoning.append("\n".join(lines))
            return ""
        pieces = [inside]
        if found[1] == "tool_calls":
            name = attributes.get("name", "")
            pieces = [f"{name}:" if name else "", fence(attributes.get("arguments", ""), "json"), inside]
        output = attributes.get("result") or attributes.get("output") or ""
        pieces.append(fence(output) if output.strip() else "")
        reasoning.append("\n\n".join(filter(None, pieces)))
        return ""

    text = _DETAILS.sub(fold, _plain_content(source))
    return text.strip("\n"), "\n\n".join(close_fences(part) for part in reasoning if part.strip())


def _read_rating(source: dict[str, Any]) -> dict[str, Any] | None:
    annotation = as_dict(source.get("annotation"))
    given = annotation.get("rating")
    rating = {"1": "up", "-1": "down"}.get(str(given)) if type(given) is int else None
    if rating is None:
        return None
    reason = as_text(annotation.get("comment")) or as_text(annotation.get("reason"))
    return {"rating": rating, "reason": clean_text(reason)[:MAX_NAME_CHARS]}
