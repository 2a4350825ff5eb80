"""Turns belong to the server: they are stopped, taken over, given up and titled, and always end."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from candide import scheduler as scheduler_module
from candide.domain.turns import TextDelta, Turn, TurnEvent, TurnFailed, TurnFinished, TurnStarted
from candide.scheduler import TurnScheduler
from candide.store import database as database_module
from candide.store.turns import Lease

if TYPE_CHECKING:
    from conftest import RuntimeStarter

LONG = " ".join(f"word{n}" for n in range(400))


def text(events: list[Any]) -> str:
    return "".join(e.text for e in events if isinstance(e, TextDelta))


async def test_a_stop_keeps_what_was_written_and_frees_the_engine(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(pace_ms=5, replies=[{"answer": LONG}])
    turn = await runtime.ask("go")
    await runtime.wait_for_text(turn, "word3")
    await runtime.scheduler.stop(turn.id)
    events = await runtime.events(turn)
    assert events[-1] == TurnFinished(state="stopped", finish_reason="stopped")
    answer = await runtime.answer(turn)
    assert answer.state == "stopped"
    assert answer.text == text(events)
    assert LONG.startswith(answer.text)
    assert "word3" in answer.text
    async with asyncio.timeout(5):
        while runtime.engines[0].active:
            await asyncio.sleep(0.01)
    # Stopping again changes nothing.
    assert (await runtime.scheduler.stop(turn.id)).state == "stopped"


async def test_a_stop_before_the_first_word_ends_the_turn(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(first_token_ms=60_000)
    turn = await runtime.ask("go")
    await runtime.scheduler.stop(turn.id)
    [*_, last] = await runtime.events(turn)
    assert isinstance(last, TurnFinished)
    assert last.state == "stopped"


async def test_a_turn_that_waits_is_stopped_at_once(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(pace_ms=5, replies=[{"match": "first", "answer": LONG}])
    first = await runtime.ask("first")
    second = await runtime.ask("second", first.conversation_id)
    third = await runtime.ask("third", first.conversation_id)
    await runtime.wait_for_text(first, "word1")
    await runtime.scheduler.stop(second.id)
    assert await runtime.events(second) == [TurnFinished(state="stopped", finish_reason="stopped")]
    assert (await runtime.turns.get(first.id)).state == "running"
    await runtime.scheduler.stop(first.id)
    assert (await runtime.answer(third)).text == "You said: second\n\nthird"


async def test_a_stop_that_another_process_took_is_found(
    start_runtime: RuntimeStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "STOP_POLL_S", 0.02)
    runtime = await start_runtime(pace_ms=5, replies=[{"answer": LONG}])
    other = await start_runtime(engines=runtime.engines)
    turn = await runtime.ask("go")
    await runtime.wait_for_text(turn, "word1")
    await other.scheduler.stop(turn.id)
    [*_, last] = await runtime.events(turn)
    assert isinstance(last, TurnFinished)
    assert last.state == "stopped"


async def test_a_question_waits_for_the_answer_before_it(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(pace_ms=1, replies=[{"match": "^first", "tokens": 40}])
    first = await runtime.ask("first")
    second = await runtime.ask("second", first.conversation_id)
    assert (await runtime.turns.get(second.id)).state == "queued"
    await runtime.events(second)
    said = [m["content"] for m in runtime.engines[0].requests[-1]["messages"]]
    assert said == ["Be brief.", "first", (await runtime.answer(first)).text, "second"]


async def test_siblings_are_written_side_by_side(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(pace_ms=5, replies=[{"match": "go", "answer": LONG}])
    first = await runtime.ask("go")
    again = await runtime.turns.accept(first.conversation_id, user_message_id=first.user_message_id)
    await runtime.scheduler.submit(again)
    for turn in (first, again):
        await runtime.wait_for_text(turn, "word2")
    assert runtime.engines[0].active == 2
    for turn in (first, again):
        await runtime.scheduler.stop(turn.id)
        await runtime.events(turn)


async def test_a_turn_given_up_is_carried_on_by_the_next_process(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(pace_ms=5, replies=[{"answer": LONG}])
    turn = await runtime.ask("go")
    await runtime.wait_for_text(turn, "word5")
    await runtime.close()
    runtime.engines[0].script.pace_ms = 0
    successor = await start_runtime(engines=runtime.engines, lease_s=60)
    events = await successor.events(turn)
    assert text(events) == LONG
    assert [e.continued for e in events if isinstance(e, TurnStarted)] == [False, True]
    assert (await successor.answer(turn)).text == LONG
    partial = runtime.engines[0].requests[-1]["messages"][-1]
    assert partial["role"] == "assistant"
    assert "word5" in partial["content"]


async def test_of_two_that_find_an_expired_lease_one_takes_the_turn(start_runtime: RuntimeStarter) -> None:
    """The owner lives on another machine, as far as these two know, and went silent."""
    runtime = await start_runtime(replies=[{"answer": LONG}], lease_s=0.3)
    await runtime.scheduler.close()
    turn = await runtime.turns.accept(
        await runtime.conversations.create(), text="go", lease=Lease("owner_elsewhere", 0.0)
    )
    rivals = [await start_runtime(engines=runtime.engines, lease_s=0.3) for _ in range(3)]
    events = await rivals[0].events(turn)
    assert text(events) == LONG
    assert len([e for e in events if isinstance(e, TurnStarted)]) == 1
    assert len(runtime.engines[0].requests) == 1


async def test_a_lease_is_kept_as_long_as_the_turn_runs(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(pace_ms=4, replies=[{"answer": LONG}], lease_s=0.4)
    turn = await runtime.ask("go", lease=runtime.scheduler.make_lease())
    # A rival that knows nothing of the owner's life but its lease.
    rival = await start_runtime(engines=runtime.engines, lease_s=0.4)
    rival.owner.is_dead = lambda owner: False  # type: ignore[method-assign]
    events = await runtime.events(turn)
    assert text(events) == LONG
    assert len([e for e in events if isinstance(e, TurnStarted)]) == 1


async def test_many_questions_at_once_are_each_answered_once(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(pace_ms=0.2, lease_s=0.3)
    turns = await asyncio.gather(
        *(runtime.ask(f"{n}", lease=runtime.scheduler.make_lease() if n % 2 else None) for n in range(60))
    )
    for n, turn in enumerate(turns):
        events = await runtime.events(turn)
        assert text(events) == f"You said: {n}"
        assert len([e for e in events if isinstance(e, TurnStarted)]) == 1
    assert len(runtime.engines[0].requests) == 60
    async with asyncio.timeout(10):
        while runtime.scheduler.running:
            await asyncio.sleep(0.01)


async def test_a_question_whose_lease_ran_out_while_it_was_saved_is_answered_once(
    start_runtime: RuntimeStarter,
) -> None:
    runtime = await start_runtime(lease_s=0.1)
    lease = Lease(runtime.owner.id, 0.0)
    turn = await runtime.turns.accept(await runtime.conversations.create(), text="go", lease=lease)
    # Those who look for turns find it in the meantime, and finish it.
    events = await runtime.events(turn)
    await runtime.scheduler.submit(turn, lease)
    assert await runtime.events(turn) == events
    assert len(runtime.engines[0].requests) == 1


async def test_a_bug_ends_the_turn_with_a_number_that_the_log_knows(
    start_runtime: RuntimeStarter, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = await start_runtime()

    async def buggy(turn: Turn, earlier: Sequence[TurnEvent]) -> AsyncGenerator[TurnEvent, None]:
        yield TextDelta(text="so far")
        raise KeyError("secret detail")

    scheduler = TurnScheduler(runtime.turns, runtime.log, buggy, runtime.owner, lease_s=5)
    turn = await runtime.turns.accept(await runtime.conversations.create(), text="go")
    await scheduler.submit(turn)
    [*_, last] = await runtime.events(turn)
    assert isinstance(last, TurnFailed)
    assert last.code == "internal"
    assert "secret" not in last.message
    number = last.message.partition("error ")[2].rstrip(")")
    assert number in caplog.text
    assert "secret detail" in caplog.text
    assert (await runtime.answer(turn)).text == "so far"
    await scheduler.close()


async def test_a_question_is_accepted_though_the_database_is_locked_at_its_start(
    start_runtime: RuntimeStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    runtime = await start_runtime(lease_s=0.3)
    turn = await runtime.turns.accept(await runtime.conversations.create(), text="go")
    program = sqlite3.connect(runtime.home / "candide.db")
    program.execute("BEGIN IMMEDIATE")
    await runtime.scheduler.submit(turn)
    program.rollback()
    program.close()
    assert (await runtime.answer(turn)).text == "You said: go"


async def test_titles_are_written_after_the_answer_from_its_prompt(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(
        titles=True, replies=[{"match": "Write a title", "answer": '"A walk in Paris."'}]
    )
    turn = await runtime.ask("Where to go?")
    await runtime.events(turn)
    async with asyncio.timeout(10):
        while not (title := (await runtime.conversations.get(turn.conversation_id)).title):
            await asyncio.sleep(0.01)
    assert title == "A walk in Paris"
    asked, titled = (request["messages"] for request in runtime.engines[0].requests)
    assert titled[: len(asked)] == asked
    # A conversation that has its title is not titled again.
    await runtime.events(await runtime.ask("And then?", turn.conversation_id))
    await runtime.close()
    assert len(runtime.engines[0].requests) == 3


async def test_the_words_of_a_question_whose_answer_failed_are_its_title(
    start_runtime: RuntimeStarter,
) -> None:
    runtime = await start_runtime(titles=True, replies=[{"status": 400}])
    turn = await runtime.ask("Where  to go?")
    await runtime.events(turn)
    async with asyncio.timeout(10):
        while not (title := (await runtime.conversations.get(turn.conversation_id)).title):
            await asyncio.sleep(0.01)
    assert title == "Where to go?"
    assert len(runtime.engines[0].requests) == 1


async def test_the_users_title_stays(start_runtime: RuntimeStarter) -> None:
    runtime = await start_runtime(
        titles=True, replies=[{"match": "Write a title", "answer": "The model's", "first_token_ms": 200}]
    )
    turn = await runtime.ask("Where to go?")
    await runtime.events(turn)
    async with asyncio.timeout(10):
        while len(runtime.engines[0].requests) < 2:
            await asyncio.sleep(0.01)
    await runtime.conversations.update(turn.conversation_id, {"title": "Mine"})
    async with asyncio.timeout(10):
        while runtime.engines[0].active:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert (await runtime.conversations.get(turn.conversation_id)).title == "Mine"


@pytest.mark.parametrize("reply", [{"status": 500}, {"answer": ""}, {"tool_calls": [{"name": "f"}]}])
async def test_a_title_that_fails_disturbs_nobody(
    start_runtime: RuntimeStarter, reply: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    runtime = await start_runtime(titles=True, replies=[{"match": "Write a title", **reply}])
    turn = await runtime.ask("Where to go?")
    assert (await runtime.answer(turn)).state == "complete"
    async with asyncio.timeout(10):
        while len(runtime.engines[0].requests) < 2 or runtime.engines[0].active:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    title = (await runtime.conversations.get(turn.conversation_id)).title
    assert title == "Where to go?"
    assert "Traceback" not in caplog.text
