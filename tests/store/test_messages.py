"""Whatever is asked, deleted and restored, in whatever order: the tree is whole, and nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candide.domain.turns import TextDelta, TurnFinished
from candide.errors import BadRequest, NotFound
from candide.store.conversations import ConversationStore
from candide.store.database import Database
from candide.store.messages import MessageStore
from candide.store.turns import TurnStore

if TYPE_CHECKING:
    from conftest import Store

places = st.integers(0, 30)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.just(0)),
        st.tuples(st.just("fork"), places),
        st.tuples(st.just("again"), places),
        st.tuples(st.just("delete"), places),
        st.tuples(st.just("restore"), places),
        st.tuples(st.just("pick"), places),
    ),
    max_size=25,
)


class Tree:
    """What the tree should be."""

    def __init__(self) -> None:
        self.parents: dict[str, str | None] = {}
        self.gone: dict[str, str] = {}
        self.leaf: str | None = None
        self.leaf_before: dict[str, str] = {}

    def left(self) -> set[str]:
        return set(self.parents) - set(self.gone)

    def below(self, message: str) -> set[str]:
        found = {message}
        for child, parent in self.parents.items():  # parents come first
            if parent in found and child not in self.gone:
                found.add(child)
        return found


async def live_through(folder: Path, steps: list[tuple[str, int]]) -> None:
    database = await Database.open(f"sqlite:///{folder / 'candide.db'}", folder)
    conversations, turns, messages = ConversationStore(database), TurnStore(database), MessageStore(database)
    chat = await conversations.create()
    tree = Tree()

    async def ask(**more: Any) -> None:
        turn = await turns.accept(chat, **more)
        if "text" in more:
            tree.parents[turn.user_message_id] = more.get("parent_id", tree.leaf)
        tree.parents[turn.answer_message_id] = turn.user_message_id
        tree.leaf = turn.answer_message_id

    async def take(step: str, message: str) -> None:
        if step == "fork":
            await ask(text="word", parent_id=message)
        elif step == "again":
            await ask(user_message_id=message)
        elif step == "pick":
            await conversations.update(chat, {"current_leaf_id": message})
            tree.leaf = message
        elif step == "delete":
            stopping = await messages.delete(message)
            below = tree.below(message)
            assert len(stopping) == sum(m in below for m in answers)
            tree.gone |= dict.fromkeys(below, message)
            if tree.leaf in below:
                tree.leaf_before[message] = tree.leaf
                tree.leaf = (await conversations.get(chat)).current_leaf_id
                # It is the end of a branch, as long as there is one.
                assert (tree.leaf is None) == (not tree.left())
                assert tree.leaf is None or tree.below(tree.leaf) == {tree.leaf}
        else:
            await messages.restore(message)
            back = [m for m, root in tree.gone.items() if root == message]
            for m in back:
                del tree.gone[m]
            if back:
                tree.leaf = tree.leaf_before.pop(message, tree.leaf)

    for step, place in steps:
        everything = list(tree.parents)
        answers = [m for m in everything if tree.parents[m] is not None and m in await answers_of(turns)]
        if step == "ask" or not everything:
            await ask(text="word")
            continue
        message = everything[place % len(everything)]
        is_question = message not in answers
        gone = tree.gone.get(message)
        parent = tree.parents[message]
        if step == "restore":
            refused = gone is not None and (gone != message or (parent is not None and parent in tree.gone))
        else:
            refused = gone is not None or (step == "again" and not is_question)
        if refused:
            with pytest.raises((NotFound, BadRequest)):
                await take(step, message)
        else:
            await take(step, message)
        conversation, shown = await conversations.load(chat)
        assert {m.id: m.parent_id for m in shown} == {m: tree.parents[m] for m in tree.left()}
        assert all(m.parent_id is None or m.parent_id in tree.left() for m in shown)
        assert conversation.current_leaf_id == tree.leaf
        found = await conversations.search("word", 200)
        assert {f.message_id for f in found} == {m.id for m in shown if m.role == "user"}
    await database.close()


async def answers_of(turns: TurnStore) -> set[str]:
    return {turn.answer_message_id for turn, _ in await turns.list_unfinished()}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps)
def test_what_is_deleted_comes_back_as_it_was(empty_database: Path, steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(empty_database, folder)
        asyncio.run(live_through(Path(folder), steps))


async def test_nothing_is_asked_under_what_is_being_deleted(store: Store, other: Store) -> None:
    """Whoever comes first: a question stands under an answer that is there, or goes with it."""
    for _ in range(5):
        turn = await store.ask("word")
        await asyncio.gather(
            store.turns.accept(turn.conversation_id, text="word", parent_id=turn.answer_message_id),
            other.messages.delete(turn.user_message_id),
            other.turns.accept(turn.conversation_id, user_message_id=turn.user_message_id),
            return_exceptions=True,
        )
        conversation, tree = await store.conversations.load(turn.conversation_id)
        assert (tree, conversation.current_leaf_id) == ([], None)
        await store.messages.restore(turn.user_message_id)
        tree = (await store.conversations.load(turn.conversation_id))[1]
        assert {m.parent_id for m in tree} <= {None, *(m.id for m in tree)}


async def test_a_deletion_that_meets_the_end_of_a_turn_waits_for_it(store: Store, other: Store) -> None:
    """Both write conversation, turn and messages; neither waits for the other in a circle."""
    for _ in range(8):
        turn = await store.ask("go")
        live, _ = await store.log.open_turn(turn.id)
        store.log.append(live, TextDelta(text="a"))
        async with asyncio.timeout(20):
            await asyncio.gather(
                store.log.end(live, TurnFinished(state="finished", finish_reason="stop")),
                other.messages.delete(turn.answer_message_id),
            )
        assert (await store.turns.get(turn.id)).state == "finished"
        await store.messages.restore(turn.answer_message_id)
        assert (await store.conversations.load(turn.conversation_id))[1][-1].text == "a"


async def test_many_who_delete_the_same_delete_it_once(store: Store, other: Store) -> None:
    turn = await store.ask("go")
    done = await asyncio.gather(
        *(s.messages.delete(turn.user_message_id) for s in [store, other] * 3), return_exceptions=True
    )
    assert sum(isinstance(result, NotFound) for result in done) == 5
    assert [turn.id] in done
    await asyncio.gather(*(s.messages.restore(turn.user_message_id) for s in [store, other] * 3))
    conversation, tree = await store.conversations.load(turn.conversation_id)
    assert [m.id for m in tree] == [turn.user_message_id, turn.answer_message_id]
    assert conversation.current_leaf_id == turn.answer_message_id
