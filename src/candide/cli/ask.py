"""`candide ask`: one question, one answer, for people and for pipes.

Standard output carries the answer alone, or with `--json` one object; the turn is as durable as
any other, and its conversation can be opened later. With `--input` each line of a file is a question, and each answer
one line as soon as it is there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from candide.cli.answer import Answer, LiveView, RawView, SilentView, View, follow
from candide.cli.client import Client, TurnView
from candide.cli.connection import connect
from candide.cli.grounding import describe_grounding, find_cited, say_grounding
from candide.cli.output import print_json, print_note
from candide.cli.search import describe_failure, read_asked, read_id, read_lines
from candide.domain.sources import NumberedSource
from candide.errors import BadRequest, CandideError

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


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How questions are to be answered."""

    model: str | None = None
    """A name, or a file that the server serves."""
    reference: str | None = None
    """The conversation that they belong to; one of its own for each when None."""
    system: str | None = None
    search: dict[str, Any] | None = None
    """Where answers are looked for, as `/api` takes it; as the conversation wishes when None."""


def read_wishes(libraries: Sequence[str], *, web: bool, no_search: bool) -> dict[str, Any] | None:
    """Where an answer is to be looked for, as the flags say it. Raises BadRequest when they contradict each other."""
    if no_search:
        if libraries or web:
            raise BadRequest("--no-search goes with neither --library nor --web")
        return {"off": True}
    return {"libraries": list(libraries), "web": web} if libraries or web else None


async def ask(settings: Settings, question: str, wanted: Wanted, *, as_json: bool, alone: bool) -> int:
    """Ask, show the answer, and return the exit code: 130 after Ctrl-C. Raises CandideError."""
    async with connect(settings, alone=alone, needs_model=True) as client:
        wanted = await _find_model(client, wanted)
        conversation_id, turn = await _begin(client, question, wanted)
        view = _choose_view(as_json)
        answer = await follow(client, turn.id, view)
        sources = await _find_cited(client, conversation_id, answer)
        if as_json:
            print_json(_describe(answer, conversation_id, turn, sources))
        elif answer.grounding is not None:
            lines = say_grounding(answer.grounding, sources)
            if isinstance(view, LiveView):
                view.add(lines)
            else:
                for line in lines:
                    print_note(line)
    answer.raise_failure()
    if answer.finish_reason == "length":
        print_note("the answer was cut at the longest allowed")
    return 0 if answer.state == "finished" else 130


async def ask_all(settings: Settings, path: str, wanted: Wanted, *, alone: bool) -> int:
    """Answer the questions of a file, a line of JSON each, in their order, and print a line for each; the exit code.

    A line that is no question, or whose answer failed, gets an `error`, and makes the exit code 1. Ctrl-C ends it with
    130. Raises CandideError for what is wrong with all of them.
    """
    code = 0
    async with connect(settings, alone=alone, needs_model=True) as client:
        wanted = await _find_model(client, wanted)
        await _check_libraries(client, wanted)
        for number, line in read_lines(path):
            result: dict[str, Any] = {"id": read_id(line)}
            try:
                asked = read_asked(line)
                conversation_id, turn = await _begin(client, asked.question, wanted)
                answer = await follow(client, turn.id, SilentView())
                sources = await _find_cited(client, conversation_id, answer)
                result |= _describe(answer, conversation_id, turn, sources)
            except CandideError as error:
                result["error"] = describe_failure(number, error)
            sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
            sys.stdout.flush()
            if result.get("state") not in (None, "finished", "failed"):
                return 130
            if "error" in result:
                code = 1
    return code


async def _find_model(client: Client, wanted: Wanted) -> Wanted:
    if wanted.model is None:
        return wanted
    return msgspec.structs.replace(wanted, model=await client.find_model(wanted.model))


async def _check_libraries(client: Client, wanted: Wanted) -> None:
    """Raise NotFound for a library that is not there, before the first question."""
    names = (wanted.search or {}).get("libraries")
    if names:
        await client.find_passages("?", {"library": names, "limit": "1"})


async def _begin(client: Client, question: str, wanted: Wanted) -> tuple[str, TurnView]:
    """Ask; the conversation's id, and the turn."""
    conversation_id = await _choose_conversation(client, question, wanted)
    fields: dict[str, Any] = {"text": question}
    if wanted.model:
        fields["model"] = wanted.model
    if wanted.search is not None:
        fields["search"] = wanted.search
    return conversation_id, await client.begin_turn(conversation_id, **fields)


async def _find_cited(client: Client, conversation_id: str, answer: Answer) -> list[NumberedSource]:
    return await find_cited(client, conversation_id, answer.grounding) if answer.grounding else []


async def _choose_conversation(client: Client, question: str, wanted: Wanted) -> str:
    if wanted.reference is None:
        # Titled by its question: a program that asks a hundred must not pay for a hundred titles.
        title = " ".join(question.split())[:TITLE_CHARS]
        return await client.create_conversation(
            title=title, model=wanted.model, system_prompt=wanted.system, search=wanted.search
        )
    conversation = await client.find_conversation(wanted.reference)
    if wanted.system is not None:
        await client.change_conversation(conversation.id, system_prompt=wanted.system)
    return conversation.id


def _choose_view(as_json: bool) -> View:
    if as_json:
        return SilentView()
    if not sys.stdout.isatty():
        return RawView()
    from rich.console import Console

    console = Console(highlight=False)
    return RawView() if console.is_dumb_terminal else LiveView(console)


def _describe(
    answer: Answer, conversation_id: str, turn: TurnView, sources: Sequence[NumberedSource]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "answer": answer.text,
        **describe_grounding(answer.grounding, sources),
        "model": answer.model,
        "engine": answer.engine,
        "state": answer.state,
        "finish_reason": answer.finish_reason,
        "conversation_id": conversation_id,
        "turn_id": turn.id,
        "message_id": turn.answer_message_id,
        "usage": answer.usage,
        "timings": answer.timings,
    }
    if answer.reasoning:
        described["reasoning"] = answer.reasoning
    if answer.error is not None:
        described["error"] = answer.error
    return described
