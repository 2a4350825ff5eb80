"""A conversation's title, written by the model after its first answer; the question's words where none was written.

Off the critical path: the answer is complete and on disk before this begins, and nothing waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from candide.conversation.tree import find_branch
from candide.domain.messages import Conversation, Message, StoredFile
from candide.domain.turns import Turn
from candide.errors import CandideError
from candide.prompt.instructions import compose_system_prompt
from candide.prompt.messages import build_prompt, find_files
from candide.prompt.titles import TITLE_TOKENS, build_title_prompt, clean_title

log = logging.getLogger(__name__)

Ask = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""A model's name and the body of a chat request, to the whole reply."""


class Conversations(Protocol):
    async def get(self, conversation_id: str) -> Conversation: ...

    async def load_for_turn(self, conversation_id: str) -> tuple[Conversation, list[Message], list[str]]: ...

    async def set_title_if_empty(self, conversation_id: str, title: str) -> None: ...


class Files(Protocol):
    async def load(self, file_ids: Collection[str]) -> dict[str, StoredFile]: ...


class _ReplyMessage(msgspec.Struct):
    content: str | None = None


class _ReplyChoice(msgspec.Struct):
    message: _ReplyMessage


class _Reply(msgspec.Struct):
    choices: list[_ReplyChoice]


async def title_conversation(
    turn: Turn, *, conversations: Conversations, files: Files, ask: Ask, system_prompt: str
) -> None:
    """Title the conversation of a turn that has just ended, unless it has a title."""
    conversation = await conversations.get(turn.conversation_id)
    if conversation.title:
        return
    _, tree, instructions = await conversations.load_for_turn(turn.conversation_id)
    branch = find_branch(tree, turn.answer_message_id)
    if len(branch) < 2:
        return
    if branch[1].state != "complete":
        # Stopped, or failed: there is nothing to sum up, and the engine may be away.
        await conversations.set_title_if_empty(turn.conversation_id, clean_title("", _said_first(branch[0])))
        return
    # Only the first question and answer: they say what it is about, and the prompt stays short.
    needed = find_files(branch[:1])
    stored = await files.load(needed) if needed else {}
    system = compose_system_prompt(system_prompt, conversation, instructions)
    prompt = build_prompt(branch[:1], system, stored)
    try:
        written = await ask(turn.model, _title_request(prompt, branch[0], branch[1]))
        said = msgspec.convert(written, _Reply).choices[0].message.content or ""
    except CandideError as error:
        # The engine may have gone, or the answer be too long for it.
        log.info("no title for %s: %s", turn.conversation_id, error.message)
        said = ""
    title = clean_title(said, _said_first(branch[0]))
    await conversations.set_title_if_empty(turn.conversation_id, title)


def _said_first(question: Message) -> str:
    """The question's words, or the names of its files where it has none."""
    return question.text or ", ".join(part["file"]["name"] for part in question.parts if "file" in part)


def _title_request(prompt: Sequence[dict[str, Any]], question: Message, answer: Message) -> dict[str, Any]:
    return {
        "messages": build_title_prompt(prompt, question.text, answer.text),
        "max_tokens": TITLE_TOKENS,
        "temperature": 0.2,
    }
