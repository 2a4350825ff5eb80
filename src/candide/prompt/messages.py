"""Builds the messages for an engine from a branch.

A prompt only grows at its end: the prompt of one turn, with its answer, is a prefix of the prompt of
the next turn on the same branch, so that the engine's cached prefix always serves. The one exception
is compaction, when the context is full.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from candide.domain.messages import Message, StoredFile


def find_files(branch: Sequence[Message]) -> set[str]:
    """The ids of the files that `build_prompt` needs for a branch."""
    return {part["file"]["id"] for message in branch for part in message.parts if "file" in part}


def has_image(message: Message) -> bool:
    return any(part.get("type") == "image_url" for part in message.parts)


def build_prompt(
    branch: Sequence[Message],
    system_prompt: str,
    files: Mapping[str, StoredFile] | None = None,
    *,
    with_images: bool = True,
) -> list[dict[str, Any]]:
    """The messages of a branch in the OpenAI shape, the system prompt first, if there is one.

    Of the `files`, by id, images are given as data URLs; texts, and those of documents, stand before the question's own. Answers that failed before their first word are left out, and what the same side said in a row is
    joined: many chat templates refuse two messages of one role.
    """
    built: list[dict[str, Any]] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    for message in branch:
        content = _build_content(message, files or {}, with_images)
        if message.role == "assistant" and not message.text:
            continue
        previous = built[-1] if built else None
        if previous and previous["role"] == message.role:
            if isinstance(content, str) and isinstance(previous["content"], str):
                previous["content"] += "\n\n" + content
            else:
                previous["content"] = [*_as_parts(previous["content"]), *_as_parts(content)]
        else:
            built.append({"role": message.role, "content": content})
    return built


def _build_content(
    message: Message, files: Mapping[str, StoredFile], with_images: bool
) -> str | list[dict[str, Any]]:
    texts: list[str] = []
    others: list[dict[str, Any]] = []
    for part in message.parts:
        if not with_images and part.get("type") == "image_url":
            texts.append("(An image that you cannot see.)")
        elif "file" not in part:
            others.append(part)
        elif (stored := files.get(part["file"]["id"])) is None:
            texts.append(f"(The file '{part['file']['name']}' is no longer there.)")
        elif stored.file.is_image:
            encoded = base64.b64encode(stored.data).decode()
            url = f"data:{stored.file.media_type};base64,{encoded}"
            others.append({"type": "image_url", "image_url": {"url": url}})
        else:
            try:
                said = stored.text or stored.data.decode("utf-8-sig")
            except UnicodeDecodeError:  # of a conversation that was imported with files of every kind
                texts.append(f"(The file '{stored.file.name}' holds no text that can be read.)")
                continue
            texts.append(f"--- {stored.file.name} ---\n{said}\n--- end of {stored.file.name} ---")
    text = "\n\n".join([*texts, message.text] if message.text else texts)
    if not others:
        return text
    return [{"type": "text", "text": text}, *others] if text else others


def compact(branch: Sequence[Message], times: int) -> list[Message]:
    """Leave out the oldest messages, half of them each time; the last question always stays.

    The rest begins with a question.
    """
    kept = list(branch)
    for _ in range(times):
        kept = kept[(len(kept) + 1) // 2 :] if len(kept) > 1 else kept
    while len(kept) > 1 and kept[0].role != "user":
        kept.pop(0)
    return kept


def _as_parts(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
