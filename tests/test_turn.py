"""One turn: who answers, from which branch, in how small a prompt, going on after what stands already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from candide.domain.turns import (
    ContextCompacted,
    EngineSwitched,
    ReasoningDelta,
    TextDelta,
    TurnFailed,
    TurnFinished,
    TurnStarted,
)
from candide.engine.generation import Writer
from candide.errors import UnsupportedContent

if TYPE_CHECKING:
    from conftest import EngineStarter, RuntimeStarter


def kinds(events: list[Any]) -> list[str]:
    """The kinds of the events, runs of text as one."""
    names = [type(event).__name__ for event in events]
    return [name for n, name in enumerate(names) if n == 0 or name != names[n - 1]]


def text(events: list[Any]) -> str:
    return "".join(e.text for e in events if isinstance(e, TextDelta))


async def test_a_turn_says_who_answers_writes_and_finishes(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(
        replies=[{"answer": "Il faut cultiver notre jardin.", "reasoning": "hmm so"}]
    )
    turn = await runtime.ask("Que faire ?", params={"temperature": 0.5})
    events = await runtime.events(turn)
    assert kinds(events) == ["TurnStarted", "ReasoningDelta", "TextDelta", "TurnFinished"]
    assert events[0] == TurnStarted(model="scripted", engine="engine-0")
    assert text(events) == "Il faut cultiver notre jardin."
    end = events[-1]
    assert isinstance(end, TurnFinished)
    assert (end.state, end.finish_reason) == ("finished", "stop")
    assert end.usage["completion_tokens"] == 5
    assert set(end.timings) == {"first_token_ms", "total_ms", "tokens_per_second"}
    answer = await runtime.answer(turn)
    assert (answer.text, answer.reasoning, answer.state, answer.model, answer.usage) == (
        "Il faut cultiver notre jardin.", "hmm so", "complete", "scripted", end.usage,
    )  # fmt: skip
    [request] = runtime.engines[0].requests
    assert request["messages"] == [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Que faire ?"}
    ]  # fmt: skip
    assert request["temperature"] == 0.5


async def test_the_next_prompt_begins_with_this_one_and_is_served_from_the_cache(
    start_runtime: RuntimeStarter,
) -> None:
    runtime = await start_runtime()
    chat = await runtime.conversations.create(system_prompt="Answer in French.")
    cached = []
    for question in ("one", "two", "three"):
        turn = await runtime.ask(question, chat)
        answer = await runtime.answer(turn)
        assert answer.usage is not None
        cached.append(answer.usage["prompt_tokens_details"]["cached_tokens"])
    prompts = [request["messages"] for request in runtime.engines[0].requests]
    assert prompts[0][0] == {"role": "system", "content": "Answer in French."}
    for before, after in zip(prompts, prompts[1:]):  # noqa: B905, RUF007
        assert after[: len(before)] == before
    assert cached == sorted(set(cached))


async def test_each_branch_sees_its_own_messages_only(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime()
    first = await runtime.ask("first")
    await runtime.events(first)
    await runtime.events(await runtime.ask("second", first.conversation_id))
    edited = await runtime.ask("second, edited", first.conversation_id, parent_id=first.answer_message_id)
    await runtime.events(edited)
    said = [m["content"] for m in runtime.engines[0].requests[-1]["messages"]]
    assert said == ["Be brief.", "first", "You said: first", "second, edited"]


async def test_the_oldest_messages_are_left_out_when_the_context_is_full(
    start_runtime: RuntimeStarter,
) -> None:
    runtime = await start_runtime(context_tokens=40)
    chat = await runtime.conversations.create()
    for number in range(4):
        turn = await runtime.ask(f"question {number} " + "word " * 8, chat)
        events = await runtime.events(turn)
        assert isinstance(events[-1], TurnFinished)
    assert ContextCompacted(dropped_messages=4) in events
    messages = runtime.engines[0].requests[-1]["messages"]
    assert messages[0]["role"] == "system"
    assert messages[1]["role"] == "user"
    assert messages[-1]["content"].startswith("question 3")
    # The tree itself keeps everything.
    assert len((await runtime.conversations.load(chat))[1]) == 8


async def test_a_question_that_is_too_long_by_itself_fails_by_name(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(context_tokens=20)
    turn = await runtime.ask("word " * 50)
    events = await runtime.events(turn)
    assert isinstance(events[-1], TurnFailed)
    assert events[-1].code == "context_length_exceeded"
    assert (await runtime.turns.get(turn.id)).state == "failed"


async def test_text_is_said_once_though_the_next_engine_needs_a_smaller_prompt(
    start_runtime: RuntimeStarter, start_engine: EngineStarter
) -> None:
    """The first engine dies in mid-answer; the second has too small a context for the whole branch."""
    answer = " ".join(f"word{n}" for n in range(30))
    first = await start_engine(
        replies=[{"match": "filler", "answer": "ok"},
                 {"answer": answer, "times": 1, "faults": [{"at": 12, "kind": "cut"}]}, {"status": 503}]
    )  # fmt: skip
    second = await start_engine(context_tokens=60, replies=[{"answer": answer}])
    runtime = await start_runtime(engines=[first, second])
    earlier = await runtime.ask("filler " * 60)
    await runtime.events(earlier)
    turn = await runtime.ask("go", earlier.conversation_id)
    events = await runtime.events(turn)
    assert isinstance(events[-1], TurnFinished)
    assert {"EngineSwitched", "ContextCompacted"} <= set(kinds(events))
    assert text(events) == answer
    assert (await runtime.answer(turn)).text == answer


async def test_the_next_route_carries_the_sentence_on(
    start_runtime: RuntimeStarter, start_engine: EngineStarter
) -> None:
    answer = " ".join(f"word{n}" for n in range(40))
    engines = [
        await start_engine(replies=[{"answer": answer, "faults": [{"at": at, "kind": kind, "times": 1}]}])
        for at, kind in ((10, "cut"), (20, "error"))
    ]
    runtime = await start_runtime(engines=engines)
    turn = await runtime.ask("go")
    events = await runtime.events(turn)
    assert text(events) == answer
    switches = [(e.from_engine, e.to_engine) for e in events if isinstance(e, EngineSwitched)]
    assert switches == [("engine-0", "engine-1"), ("engine-1", "engine-0")]


async def test_a_turn_fails_by_name_when_no_engine_can_finish_it(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(
        replies=[
            {"answer": "one two three", "times": 1, "faults": [{"at": 2, "kind": "cut"}]},
            {"status": 500},
        ]
    )
    turn = await runtime.ask("go")
    events = await runtime.events(turn)
    failed = events[-1]
    assert isinstance(failed, TurnFailed)
    assert failed.code == "engine_unavailable"
    assert "scripted error" in failed.message
    answer = await runtime.answer(turn)
    assert (answer.text, answer.state) == ("one two", "failed")
    assert (await runtime.turns.get(turn.id)).error == {
        "code": failed.code,
        "message": failed.message,
        "hint": None,
    }


@pytest.mark.parametrize(("status", "code"), [(400, "invalid_request"), (404, "model_not_found"), (401, "engine_error")])  # fmt: skip
async def test_a_refused_request_fails_with_what_the_engine_said(
    start_runtime: RuntimeStarter, status: int, code: str
) -> None:
    runtime = await start_runtime(replies=[{"status": status, "message": "not like this"}])
    turn = await runtime.ask("go", model="nothing" if status == 404 else "")
    [*_, failed] = await runtime.events(turn)
    assert isinstance(failed, TurnFailed)
    assert failed.code == code
    assert ("nothing" if status == 404 else "not like this") in failed.message


async def test_a_thought_is_not_taken_for_the_answer(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(
        replies=[{"reasoning": "let me see", "answer": "yes indeed it is", "faults": [{"at": 0, "kind": "cut", "times": 1}]}]
    )  # fmt: skip
    events = await runtime.events(await runtime.ask("go"))
    assert text(events) == "yes indeed it is"
    assert any(isinstance(e, ReasoningDelta) for e in events)


async def test_an_earlier_image_is_no_matter_for_a_model_that_does_not_see(
    start_runtime: RuntimeStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = await start_runtime()
    write = Writer.write
    asked: list[str] = []

    def blind(self: Writer, model: str, messages: Any, *rest: Any, **more: Any) -> Any:
        asked.append(str(messages))
        if "image_url" in asked[-1]:
            raise UnsupportedContent("this model takes text only")
        return write(self, model, messages, *rest, **more)

    monkeypatch.setattr(Writer, "write", blind)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    first = await runtime.ask("What is it?", parts=[picture])
    end = (await runtime.events(first))[-1]
    assert isinstance(end, TurnFailed)
    assert end.code == "unsupported_content"
    second = await runtime.ask("And a bean?", first.conversation_id)
    assert isinstance((await runtime.events(second))[-1], TurnFinished)
    assert "(An image that you cannot see.)" in asked[-1]
