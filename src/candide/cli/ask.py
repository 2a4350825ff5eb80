"""`candide ask`: one question, one answer, for people and for pipes.

Standard output carries the answer alone, or with `--json` one object; the turn is as durable as
any other, and its conversation can be opened later.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from candide.cli.answer import Answer, LiveView, RawView, SilentView, View, follow
from candide.cli.client import Client
from candide.cli.connection import connect
from candide.cli.output import print_json, print_note
from candide.errors import BadRequest

if TYPE_CHECKING:
    from candide.settings import Settings


TITLE_CHARS = 80


def read_question(words: list[str]) -> str:
    """The question from the arguments, and under it the text on standard input; raises BadRequest."""
    question = " ".join(words)
    text = ""
    if not sys.stdin.isatty():
        try:
            text = sys.stdin.buffer.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"standard input is not UTF-8 text (byte {error.start})", hint="iconv -t utf-8 converts text"
            ) from None
    try:
        question.encode()
    except UnicodeEncodeError:
        raise BadRequest("the question is not UTF-8 text") from None
    whole = "\n\n".join(part for part in (question.strip(), text.strip("\n")) if part.strip())
    if not whole:
        raise BadRequest("no question", hint='candide ask "Who are you?", or text on standard input')
    return whole


async def ask(
    settings: Settings,
    question: str,
    *,
    model: str | None,
    reference: str | None,
    system: str | None,
    as_json: bool,
    alone: bool,
) -> int:
    """Ask, show the answer, and return the exit code: 130 after Ctrl-C. Raises CandideError.

    `model` is a name, or a file that the server serves.
    """
    async with connect(settings, alone=alone, needs_model=True) as client:
        if model is not None:
            model = await client.find_model(model)
        conversation_id = await _choose_conversation(client, question, reference, model=model, system=system)
        fields: dict[str, Any] = {"text": question} | ({"model": model} if model else {})
        turn = await client.begin_turn(conversation_id, **fields)
        answer = await follow(client, turn.id, _choose_view(as_json))
        if as_json:
            print_json(_describe(answer, conversation_id, turn.id, turn.answer_message_id))
    answer.raise_failure()
    if answer.finish_reason == "length":
        print_note("the answer was cut at the longest allowed")
    return 0 if answer.state == "finished" else 130


async def _choose_conversation(
    client: Client, question: str, reference: str | None, *, model: str | None, system: str | None
) -> str:
    if reference is None:
        # Titled by its question: a program that asks a hundred must not pay for a hundred titles.
        title = " ".join(question.split())[:TITLE_CHARS]
        return await client.create_conversation(title=title, model=model, system_prompt=system)
    conversation = await client.find_conversation(reference)
    if system is not None:
        await client.change_conversation(conversation.id, system_prompt=system)
    return conversation.id


def _choose_view(as_json: bool) -> View:
    if as_json:
        return SilentView()
    if not sys.stdout.isatty():
        return RawView()
    from rich.console import Console

    console = Console(highlight=False)
    return RawView() if console.is_dumb_terminal else LiveView(console)


def _describe(answer: Answer, conversation_id: str, turn_id: str, message_id: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "answer": answer.text,
        "model": answer.model,
        "engine": answer.engine,
        "state": answer.state,
        "finish_reason": answer.finish_reason,
        "conversation_id": conversation_id,
        "turn_id": turn_id,
        "message_id": message_id,
        "usage": answer.usage,
        "timings": answer.timings,
    }
    if answer.reasoning:
        described["reasoning"] = answer.reasoning
    if answer.error is not None:
        described["error"] = answer.error
    return described
