"""Turns are accepted once, claimed by one owner, wait for the answer before theirs, and stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from candide.domain.messages import Conversation
from candide.domain.turns import TextDelta, Turn, TurnFailed, TurnFinished
from candide.errors import BadRequest, Conflict, NotFound
from candide.store.preferences import PreferenceStore
from candide.store.turns import Lease

if TYPE_CHECKING:
    from conftest import Store

FINISHED = TurnFinished(state="finished", finish_reason="stop")


async def test_a_question_and_its_pending_answer_are_saved_together(store: Store) -> None:
    turn = await store.ask("why?")
    question, answer = (await store.conversations.load(turn.conversation_id))[1]
    assert (question.id, question.role, question.text, question.state) == (
        turn.user_message_id, "user", "why?", "complete",
    )  # fmt: skip
    assert (answer.id, answer.parent_id, answer.state, answer.turn_id) == (
        turn.answer_message_id, question.id, "pending", turn.id,
    )  # fmt: skip
    assert (await store.conversations.get(turn.conversation_id)).current_leaf_id == answer.id
    assert await store.turns.get(turn.id) == turn


async def test_questions_follow_the_current_leaf_or_the_parent_that_is_named(store: Store) -> None:
    first = await store.ask("one")
    chat = first.conversation_id
    second = await store.turns.accept(chat, text="two")
    edited = await store.turns.accept(chat, text="two, edited", parent_id=first.answer_message_id)
    root = await store.turns.accept(chat, text="another root", parent_id=None)
    parents = {m.id: m.parent_id for m in (await store.conversations.load(chat))[1]}
    assert parents[second.user_message_id] == first.answer_message_id
    assert parents[edited.user_message_id] == first.answer_message_id
    assert parents[root.user_message_id] is None


async def test_an_answer_written_again_is_a_sibling(store: Store) -> None:
    first = await store.ask("one")
    again = await store.turns.accept(first.conversation_id, user_message_id=first.user_message_id)
    assert again.user_message_id == first.user_message_id
    assert again.answer_message_id != first.answer_message_id
    messages = {m.id: m for m in (await store.conversations.load(first.conversation_id))[1]}
    assert messages[again.answer_message_id].parent_id == messages[first.answer_message_id].parent_id
    assert len(messages) == 3


async def test_what_does_not_fit_the_tree_is_refused_by_name(store: Store) -> None:
    turn, stranger = await store.ask(), await store.ask()
    chat = turn.conversation_id
    with pytest.raises(NotFound, match="conv_0"):
        await store.turns.accept("conv_0", text="hello")
    with pytest.raises(NotFound, match="msg_0") as missing:
        await store.turns.accept(chat, text="hello", parent_id="msg_0")
    assert missing.value.param == "parent_id"
    with pytest.raises(Conflict):
        await store.turns.accept(chat, text="hello", parent_id=stranger.user_message_id)
    with pytest.raises(BadRequest):
        await store.turns.accept(chat, user_message_id=turn.answer_message_id)
    assert len((await store.conversations.load(chat))[1]) == 2
    await store.conversations.delete(chat)
    with pytest.raises(NotFound):
        await store.turns.accept(chat, text="hello")


async def test_a_repeated_key_gives_the_first_turn(store: Store) -> None:
    first = await store.ask("one", idempotency_key="k")
    assert await store.turns.accept(first.conversation_id, text="one", idempotency_key="k") == first
    other = await store.turns.accept(first.conversation_id, text="one", idempotency_key="l")
    elsewhere = await store.ask("one", idempotency_key="k")
    assert len({first.id, other.id, elsewhere.id}) == 3
    assert len((await store.conversations.load(first.conversation_id))[1]) == 4


async def test_a_key_that_races_itself_makes_one_turn(store: Store, other: Store) -> None:
    chat = await store.conversations.create()
    turns = await asyncio.gather(
        *(s.turns.accept(chat, text="one", idempotency_key="k") for s in [store, other] * 8)
    )
    assert len({turn.id for turn in turns}) == 1
    assert len((await store.conversations.load(chat))[1]) == 2


async def test_questions_that_race_each_other_form_one_branch(store: Store, other: Store) -> None:
    chat = await store.conversations.create()
    await asyncio.gather(*(s.turns.accept(chat, text="one") for s in [store, other] * 4))
    messages = (await store.conversations.load(chat))[1]
    assert len(messages) == 16
    assert len({m.parent_id for m in messages}) == 16


async def test_one_of_many_claims_wins(store: Store, other: Store) -> None:
    turn = await store.ask()
    won = await asyncio.gather(
        *(s.turns.claim(turn.id, f"owner_{n}", 10, None) for n, s in enumerate([store, other] * 5))
    )
    assert won.count(True) == 1
    claimed = await store.turns.get(turn.id)
    assert claimed.state == "running"
    assert [m.state for m in (await store.conversations.load(turn.conversation_id))[1]] == ["complete", "streaming"]  # fmt: skip


async def test_a_lease_that_was_renewed_meanwhile_is_not_taken(store: Store, other: Store) -> None:
    turn = await store.ask()
    assert await store.turns.claim(turn.id, "owner_a", 0.0, None)
    [(_, held)] = await other.turns.list_unfinished()
    assert held is not None
    await store.turns.renew([turn.id], "owner_a", 10)
    assert not await other.turns.claim(turn.id, "owner_b", 10, held)
    [(_, renewed)] = await other.turns.list_unfinished()
    assert renewed is not None
    assert (renewed.owner, renewed.until > held.until) == ("owner_a", True)
    assert await other.turns.claim(turn.id, "owner_b", 10, renewed)


async def test_an_owner_that_lost_its_turn_does_not_renew_the_lease(store: Store) -> None:
    turn = await store.ask()
    assert await store.turns.claim(turn.id, "owner_b", 10, None)
    [before] = await store.turns.list_unfinished()
    await store.turns.renew([turn.id], "owner_a", 1000)
    assert await store.turns.list_unfinished() == [before]


async def test_a_released_turn_is_free_at_once(store: Store) -> None:
    turn = await store.ask()
    assert await store.turns.claim(turn.id, "owner_a", 10, None)
    await store.turns.release([turn.id], "owner_b")
    assert not await store.turns.claim(turn.id, "owner_b", 10, None)
    await store.turns.release([turn.id], "owner_a")
    assert await store.turns.claim(turn.id, "owner_b", 10, None)


async def test_a_turn_waits_for_the_answer_before_it(store: Store) -> None:
    first = await store.ask()
    second = await store.turns.accept(first.conversation_id, text="and then?")
    sibling = await store.turns.accept(first.conversation_id, user_message_id=first.user_message_id)
    assert not await store.turns.claim(second.id, "owner_a", 10, None)
    assert await store.turns.claim(sibling.id, "owner_a", 10, None)
    assert await store.turns.claim(first.id, "owner_a", 10, None)
    assert not await store.turns.claim(second.id, "owner_a", 10, None)
    live, _ = await store.log.open_turn(first.id)
    await store.log.end(live, FINISHED)
    assert await store.turns.claim(second.id, "owner_a", 10, None)


async def test_a_waiting_turn_can_be_claimed_to_be_stopped_and_the_next_one_still_waits(store: Store) -> None:
    first = await store.ask()
    second = await store.turns.accept(first.conversation_id, text="two")
    third = await store.turns.accept(first.conversation_id, text="three")
    assert await store.turns.claim(first.id, "owner_a", 10, None)
    assert (await store.turns.request_stop(second.id)).stop_requested
    assert await store.turns.claim(second.id, "owner_a", 10, None)
    live, _ = await store.log.open_turn(second.id)
    await store.log.end(live, TurnFinished(state="stopped", finish_reason="stopped"))
    # The answer before the one before it is still being written.
    assert not await store.turns.claim(third.id, "owner_a", 10, None)
    live, _ = await store.log.open_turn(first.id)
    await store.log.end(live, FINISHED)
    assert await store.turns.claim(third.id, "owner_a", 10, None)


async def test_a_turn_that_has_ended_is_neither_claimed_nor_stopped(store: Store) -> None:
    turn = await store.ask()
    assert await store.turns.claim(turn.id, "owner_a", 10, None)
    live, _ = await store.log.open_turn(turn.id)
    store.log.append(live, TextDelta(text="done"))
    await store.log.end(live, FINISHED)
    assert not await store.turns.claim(turn.id, "owner_a", 10, None)
    stopped = await store.turns.request_stop(turn.id)
    assert (stopped.state, stopped.stop_requested) == ("finished", False)
    assert await store.turns.list_unfinished() == []


async def test_stops_are_found_by_the_owner(store: Store, other: Store) -> None:
    turn, quiet = await store.ask(), await store.ask()
    await other.turns.request_stop(turn.id)
    assert await store.turns.find_stop_requests([turn.id, quiet.id]) == {turn.id}
    with pytest.raises(NotFound):
        await store.turns.request_stop("turn_0")


async def end_turn(store: Store, turn: Turn, event: TurnFinished | TurnFailed, text: str = "") -> None:
    live, _ = await store.log.open_turn(turn.id)
    if text:
        store.log.append(live, TextDelta(text=text))
    await store.log.end(live, event)


@pytest.mark.parametrize(
    "end",
    [
        TurnFinished(state="stopped", finish_reason="stopped"),
        TurnFinished(state="finished", finish_reason="length"),
        TurnFailed(code="engine_broke", message="no"),
    ],
)
async def test_what_broke_off_is_resumed_by_one_of_many(
    store: Store, other: Store, end: TurnFinished | TurnFailed
) -> None:
    turn = await store.ask("why?")
    assert await store.turns.claim(turn.id, "owner_a", 10, None)
    await store.turns.request_stop(turn.id)
    await end_turn(store, turn, end, "because of")
    assert len(await store.conversations.search("because", 10)) == 1
    done = await asyncio.gather(
        *(s.turns.resume(turn.id, Lease(f"owner_{n}", 2e9)) for n, s in enumerate([store, other] * 4)),
        return_exceptions=True,
    )
    [resumed] = [result for result in done if isinstance(result, Turn)]
    assert sum(isinstance(result, Conflict) for result in done) == 7
    assert (resumed.id, resumed.state, resumed.stop_requested, resumed.error, resumed.finished_at) == (
        turn.id, "running", False, None, None,
    )  # fmt: skip
    assert await store.turns.get(turn.id) == resumed
    answer = (await store.conversations.load(turn.conversation_id))[1][-1]
    assert (answer.state, answer.text, answer.error, answer.finish_reason) == (
        "streaming",
        "because of",
        None,
        None,
    )
    # It is searched again when it is complete, and found once.
    assert await store.conversations.search("because", 10) == []
    await end_turn(store, turn, FINISHED, " that")
    assert len(await store.conversations.search('"because of that"', 10)) == 1
    with pytest.raises(Conflict):
        await store.turns.resume(turn.id)


async def test_a_resumed_turn_waits_for_the_answer_before_it(store: Store) -> None:
    first = await store.ask()
    second = await store.turns.accept(first.conversation_id, text="two")
    await store.turns.request_stop(second.id)
    await end_turn(store, second, TurnFinished(state="stopped", finish_reason="stopped"))
    resumed = await store.turns.resume(second.id, Lease("owner_a", 2e9))
    assert (resumed.state, resumed.owner) == ("queued", None)
    assert not await store.turns.claim(second.id, "owner_a", 10, None)
    await end_turn(store, first, FINISHED)
    assert await store.turns.claim(second.id, "owner_a", 10, None)


async def test_parameters_are_merged_the_nearer_before_the_farther(store: Store) -> None:
    preferences = PreferenceStore(store.database)
    await preferences.update({"params": {"temperature": 0.1, "top_p": 0.2, "seed": 1}, "model": "preferred"})
    chat = await store.conversations.create(params={"top_p": 0.3, "seed": 2})
    turn = await store.turns.accept(chat, text="x", params={"seed": 3, "temperature": None})
    assert (turn.params, turn.model) == ({"top_p": 0.3, "seed": 3}, "preferred")
    assert await store.turns.get(turn.id) == turn
    hidden = Conversation(id="conv_h", title="", current_leaf_id=None, model=None, system_prompt=None, created_at=1, updated_at=1)  # fmt: skip
    await store.conversations.add_all(hidden, [], hidden=True)
    quiet = await store.turns.accept("conv_h", text="x", params={"seed": 3})
    assert (quiet.params, quiet.model) == ({"seed": 3}, "")
    await preferences.update({"instructions": "Be kind."})
    for conversation_id, instructions in ((chat, ["Be kind."]), ("conv_h", [])):
        assert (await store.conversations.load_for_turn(conversation_id))[2] == instructions


async def test_a_question_with_a_file_that_is_not_there_leaves_nothing(store: Store) -> None:
    file = await store.files.add("n.txt", "text/plain", b"hello")
    chat = await store.conversations.create()
    with pytest.raises(NotFound) as missing:
        await store.turns.accept(chat, text="x", attachments=[file.id, "file_0"])
    assert missing.value.param == "attachments.1"
    assert (await store.conversations.load(chat))[1] == []
    await store.turns.accept(chat, text="x", attachments=[file.id, file.id])
    question = (await store.conversations.load(chat))[1][0]
    assert [part["file"]["id"] for part in question.parts] == [file.id] * 2
