"""An answer is written once, from its first to its last character, whatever engines do in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from candide.domain.engines import Completion
from candide.domain.turns import EngineSwitched, ReasoningDelta, TextDelta
from candide.engine.client import EngineClient
from candide.engine.generation import (
    CONTINUE_INSTRUCTION,
    INSTRUCTION_TAIL_CHARS,
    RESTART_SURE_CHARS,
    BegunAnew,
    OverlapTrimmer,
    Patience,
    RestartTrimmer,
    Writer,
)
from candide.engine.routes import Routes
from candide.engine.scripted import ScriptedEngine
from candide.errors import BadRequest, EngineError, EngineOverloaded, EngineUnavailable, NotFound

if TYPE_CHECKING:
    from conftest import EngineStarter

QUICK = Patience(attempts=4, first_pause_s=0.01, longest_pause_s=0.05)
ANSWER = " ".join(f"word{n}" for n in range(60))
QUESTION = [{"role": "user", "content": "go"}]


class Written:
    def __init__(self, pieces: list[Any]) -> None:
        self.pieces = pieces
        self.text = "".join(p.text for p in pieces if isinstance(p, TextDelta))
        self.reasoning = "".join(p.text for p in pieces if isinstance(p, ReasoningDelta))
        self.switches = [(p.from_engine, p.to_engine) for p in pieces if isinstance(p, EngineSwitched)]


async def write(engines: Sequence[ScriptedEngine], partial: str = "", model: str = "", writer: Writer | None = None) -> Written:  # fmt: skip
    routes = Routes([EngineClient(f"e{n}", engine.url) for n, engine in enumerate(engines)])
    try:
        writer = writer or Writer(routes, QUICK)
        pieces = [piece async for piece in writer.write(model, QUESTION, {}, partial)]
    finally:
        await routes.close()
    assert [isinstance(p, Completion) for p in pieces] == [False] * (len(pieces) - 1) + [True]
    return Written(pieces)


async def test_an_answer_ends_with_its_reason_and_usage(start_engine: EngineStarter) -> None:
    engine = await start_engine(replies=[{"answer": ANSWER, "reasoning": "hm", "finish_reason": "length"}])
    written = await write([engine])
    assert (written.text, written.reasoning, written.switches) == (ANSWER, "hm", [])
    end = written.pieces[-1]
    assert (end.finish_reason, end.usage["completion_tokens"]) == ("length", 60)


@pytest.mark.parametrize("kind", ["cut", "end", "malformed", "error"])
@pytest.mark.parametrize("at", [0, 1, 17, 59])
async def test_the_same_engine_goes_on_after_a_fault(start_engine: EngineStarter, kind: str, at: int) -> None:
    engine = await start_engine(
        replies=[{"answer": ANSWER, "faults": [{"at": at, "kind": kind, "times": 1}]}]
    )
    written = await write([engine])
    assert written.text == ANSWER
    assert written.switches == [("e0", "e0")]
    if at:
        partial = engine.requests[1]["messages"][-1]
        assert partial["role"] == "assistant"
        assert ANSWER.startswith(partial["content"])
        assert engine.requests[1]["continue_final_message"] is True


async def test_the_next_route_goes_on_in_the_middle_of_a_word(start_engine: EngineStarter) -> None:
    first = await start_engine(
        replies=[
            {"answer": ["half of a wo"], "faults": [{"at": 1, "kind": "cut"}]},
        ]
    )
    first.script.replies[0].answer = ["half of a wo", "X"]
    second = await start_engine(replies=[{"answer": "half of a word, and all of it"}])
    written = await write([first, second])
    assert written.text == "half of a word, and all of it"
    assert written.switches == [("e0", "e1")]


async def test_a_stalled_engine_makes_way(start_engine: EngineStarter) -> None:
    first = await start_engine(
        replies=[{"answer": ANSWER, "faults": [{"at": 5, "kind": "stall", "seconds": 30}]}]
    )
    second = await start_engine(replies=[{"answer": ANSWER}])
    routes = Routes([EngineClient("e0", first.url, timeout_s=0.2), EngineClient("e1", second.url)])
    pieces = [piece async for piece in Writer(routes, QUICK).write("", QUESTION, {})]
    await routes.close()
    assert Written(pieces).text == ANSWER


async def test_an_engine_that_goes_away_and_comes_back_finishes(start_engine: EngineStarter) -> None:
    engine = await start_engine(
        replies=[{"answer": ANSWER, "faults": [{"at": 9, "kind": "cut", "times": 1}]}]
    )
    routes = Routes([EngineClient("e0", engine.url)])
    patient = Writer(routes, Patience(attempts=30, first_pause_s=0.02, longest_pause_s=0.05))
    port, pieces = engine.port, []
    async for piece in patient.write("", QUESTION, {}):
        pieces.append(piece)
        if isinstance(piece, EngineSwitched) and engine.port:
            await engine.stop()
            engine.port = 0
        elif isinstance(piece, EngineSwitched) and len(pieces) > 6:
            await engine.start(port=port)
            engine.port = 1
    await routes.close()
    assert Written(pieces).text == ANSWER


async def test_patience_ends(start_engine: EngineStarter) -> None:
    engine = await start_engine(replies=[{"status": 500, "message": "never"}])
    with pytest.raises(EngineUnavailable, match="never"):
        await write([engine, engine])
    assert len(engine.requests) == 2 * QUICK.attempts


async def test_progress_starts_the_count_anew(start_engine: EngineStarter) -> None:
    faults = [{"at": at, "kind": "cut", "times": 1} for at in range(1, 60, 4)]
    engine = await start_engine(replies=[{"answer": ANSWER, "faults": faults}])
    assert len(faults) > QUICK.attempts
    assert (await write([engine])).text == ANSWER


async def test_an_overloaded_engine_is_asked_again_later(start_engine: EngineStarter) -> None:
    engine = await start_engine(
        replies=[{"status": 429, "retry_after": 0.02, "times": 2}, {"answer": ANSWER}]
    )
    assert (await write([engine])).text == ANSWER


def test_a_pause_grows_to_its_limit_and_heeds_retry_after() -> None:
    patience = Patience(attempts=8, first_pause_s=0.5, longest_pause_s=4)
    refused = EngineError("no")
    assert [patience.pause(n, refused) for n in (1, 2, 3, 4, 5, 50)] == [0.5, 1, 2, 4, 4, 4]
    assert patience.pause(1, EngineOverloaded("no", retry_after=3)) == 3
    assert patience.pause(1, EngineOverloaded("no", retry_after=1000)) == 12
    assert patience.pause(1, EngineOverloaded("no", retry_after=0)) == 0.5


async def test_a_callers_mistake_is_not_tried_again(start_engine: EngineStarter) -> None:
    engine = await start_engine(replies=[{"status": 400, "message": "bad top_p"}])
    with pytest.raises(BadRequest, match="bad top_p"):
        await write([engine, engine])
    assert len(engine.requests) == 1
    with pytest.raises(NotFound, match="no-such-model"):
        await write([engine], model="no-such-model")


async def test_an_engine_that_refuses_the_fields_is_asked_in_words(start_engine: EngineStarter) -> None:
    partial = " ".join(ANSWER.split()[:20])
    engine = await start_engine(
        replies=[{"match": "Your answer was cut off", "answer": "word18 word19" + ANSWER[len(partial):]},
                 {"status": 400, "message": "unknown field continue_final_message"}]
    )  # fmt: skip
    routes = Routes([EngineClient("e0", engine.url)])
    writer = Writer(routes, QUICK)
    for _ in range(2):
        pieces = [piece async for piece in writer.write("", QUESTION, {}, partial)]
        assert partial + Written(pieces).text == ANSWER
    await routes.close()
    # It is remembered how this engine wants to be asked.
    assert len(engine.requests) == 3
    *_, given, request = engine.requests[-1]["messages"]
    assert given == {"role": "assistant", "content": partial}
    assert request["content"] == CONTINUE_INSTRUCTION + partial[-INSTRUCTION_TAIL_CHARS:]
    assert "continue_final_message" not in engine.requests[-1]


@pytest.mark.parametrize("words", [1, 2, 5, 30, 59])
async def test_an_engine_that_begins_anew_says_nothing_twice(start_engine: EngineStarter, words: int) -> None:
    engine = await start_engine(
        continues=False, replies=[{"answer": ANSWER, "faults": [{"at": words, "kind": "cut", "times": 1}]}]
    )
    assert (await write([engine])).text == ANSWER


async def test_an_engine_that_begins_another_answer_is_asked_in_words(start_engine: EngineStarter) -> None:
    partial = ANSWER[:200]
    other = ANSWER[:100] + " but then it goes another way"
    engine = await start_engine(
        continues=False,
        replies=[{"match": "Your answer was cut off", "answer": ANSWER[200:]}, {"answer": other}],
    )
    written = await write([engine], partial)
    assert partial + written.text == ANSWER
    assert written.switches == [("e0", "e0")]


async def test_nul_characters_of_an_engine_are_left_out(start_engine: EngineStarter) -> None:
    """No database of ours keeps them in a text, and nobody can see them."""
    engine = await start_engine(replies=[{"answer": ["a\0", "\0", "b"], "reasoning": "c\0d"}])
    written = await write([engine])
    assert (written.text, written.reasoning) == ("ab", "cd")


async def test_leaving_an_answer_frees_the_engine(start_engine: EngineStarter) -> None:
    engine = await start_engine(pace_ms=5, replies=[{"answer": ANSWER * 50}])
    routes = Routes([EngineClient("e0", engine.url)])
    async with aclosing(Writer(routes, QUICK).write("", QUESTION, {})) as pieces:  # type: ignore[type-var]
        async for _ in pieces:
            break
    async with asyncio.timeout(5):
        while engine.active:
            await asyncio.sleep(0.01)
    await routes.close()


texts = st.text(st.sampled_from("ab c\né東"), max_size=400)


def feed(trimmer: RestartTrimmer | OverlapTrimmer, text: str, cuts: list[int]) -> str:
    ends = [0, *sorted({min(c, len(text)) for c in cuts}), len(text)]
    said = [trimmer.feed(text[a:b]) for a, b in zip(ends, ends[1:]) if a < b]  # noqa: B905, RUF007
    return "".join(said) + trimmer.end()


cutting = st.lists(st.integers(0, 500), max_size=12)


def shared(one: str, other: str) -> int:
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


@given(texts, st.integers(1, 400), cutting)
def test_a_continuation_passes_whole(answer: str, split: int, cuts: list[int]) -> None:
    written, rest = answer[:split], answer[split:]
    # Unless it looks just as if the answer was begun anew.
    assume(written and not rest.startswith(written) and shared(written, rest) < RESTART_SURE_CHARS)
    assert written + feed(RestartTrimmer(written), rest, cuts) == answer


@given(st.integers(1, len(ANSWER)), cutting)
def test_an_answer_begun_anew_is_said_once(split: int, cuts: list[int]) -> None:
    written = ANSWER[:split]
    # Of less than a word nobody can tell.
    assert written + feed(RestartTrimmer(written), ANSWER, cuts) == (
        ANSWER if split >= 4 else written + ANSWER
    )


@given(st.integers(60, 300), st.integers(RESTART_SURE_CHARS, 59), cutting)
def test_another_answer_is_noticed_before_anything_of_it_is_said(
    split: int, way: int, cuts: list[int]
) -> None:
    written = ANSWER[:split]
    other = ANSWER[:way] + "~~~ another way"
    trimmer = RestartTrimmer(written)
    ends = [0, *sorted({min(c, len(other)) for c in cuts}), len(other)]
    said = ""
    with pytest.raises(BegunAnew):
        for a, b in zip(ends, ends[1:]):  # noqa: B905, RUF007
            said += trimmer.feed(other[a:b])
    assert said == ""


@given(st.integers(1, len(ANSWER)), st.integers(0, 450), cutting)
def test_what_a_continuation_repeats_of_the_end_is_said_once(
    split: int, overlap: int, cuts: list[int]
) -> None:
    written = ANSWER[:split]
    overlap = min(overlap, split, INSTRUCTION_TAIL_CHARS)
    assume(overlap == 0 or overlap >= 4 or overlap == split)
    continuation = ANSWER[split - overlap :]
    # Unless without repetition it begins by chance with what the partial answer ends with.
    assume(overlap or not any(written.endswith(continuation[:n]) for n in range(4, 20)))
    assert written + feed(OverlapTrimmer(written), continuation, cuts) == ANSWER


@given(texts, texts, cutting, st.booleans())
def test_trimming_does_not_depend_on_how_the_text_comes(
    written: str, text: str, cuts: list[int], overlap: bool
) -> None:
    assume(written)
    make = OverlapTrimmer if overlap else RestartTrimmer
    try:
        whole = feed(make(written), text, [])
    except BegunAnew:
        with pytest.raises(BegunAnew):
            feed(make(written), text, cuts)
    else:
        assert feed(make(written), text, cuts) == whole
        assert text.endswith(whole)
