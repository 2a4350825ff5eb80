"""Builds the messages for an engine from a branch.

A prompt only grows at its end: the prompt of one turn, with its answer, is a prefix of the prompt of
the next turn on the same branch, so that the engine's cached prefix always serves. The one exception
is compaction, when the context is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from candide.domain.messages import Message


def build_prompt(branch: Sequence[Message], system_prompt: str) -> list[dict[str, Any]]:
    """The messages of a branch in the OpenAI shape, the system prompt first, if there is one.

    Answers that failed before their first word are left out, and what the same side said in a row is
    joined: many chat templates refuse two messages of one role.
    """
    built: list[dict[str, Any]] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    for message in branch:
        content: str | list[dict[str, Any]] = message.text
        if message.parts:
            content = [{"type": "text", "text": message.text}, *message.parts]
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
