"""A conversation's title, written by the model after its first answer.

Off the critical path: the answer is complete and on disk before this begins, and nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from candide.conversation.tree import find_branch
from candide.domain.messages import Conversation, Message
from candide.domain.turns import Turn
from candide.prompt.messages import build_prompt
from candide.prompt.titles import TITLE_TOKENS, build_title_prompt, clean_title

Ask = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""A model's name and the body of a chat request, to the whole reply."""


class Conversations(Protocol):
    async def get(self, conversation_id: str) -> Conversation: ...

    async def load(self, conversation_id: str) -> tuple[Conversation, list[Message]]: ...

    async def set_title_if_empty(self, conversation_id: str, title: str) -> None: ...


class _ReplyMessage(msgspec.Struct):
    content: str | None = None


class _ReplyChoice(msgspec.Struct):
    message: _ReplyMessage


class _Reply(msgspec.Struct):
    choices: list[_ReplyChoice]


async def title_conversation(
    turn: Turn, *, conversations: Conversations, ask: Ask, system_prompt: str
) -> None:
    """Title the conversation of a turn that has just finished, unless it has a title."""
    conversation = await conversations.get(turn.conversation_id)
    if conversation.title:
        return
    _, tree = await conversations.load(turn.conversation_id)
    branch = find_branch(tree, turn.answer_message_id)
    if len(branch) < 2:
        return
    system = conversation.system_prompt if conversation.system_prompt is not None else system_prompt
    written = await ask(turn.model, _title_request(branch, system))
    reply = msgspec.convert(written, _Reply)
    title = clean_title(reply.choices[0].message.content or "", branch[0].text)
    await conversations.set_title_if_empty(turn.conversation_id, title)


def _title_request(branch: Sequence[Message], system_prompt: str) -> dict[str, Any]:
    # Only the first question and answer: they say what it is about, and the prompt stays short.
    messages = build_prompt(branch[:1], system_prompt)
    return {
        "messages": build_title_prompt(messages, branch[0].text, branch[1].text),
        "max_tokens": TITLE_TOKENS,
        "temperature": 0.2,
    }
