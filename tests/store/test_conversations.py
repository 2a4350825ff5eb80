"""Conversations are made once, folders give back what they held, files are kept once, and who changes what is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from candide.domain.ids import new_id
from candide.errors import NotFound
from candide.store.changes import Change, Changes
from candide.store.conversations import ConversationStore

if TYPE_CHECKING:
    from conftest import Store


async def test_many_who_make_the_same_conversation_make_one(store: Store, other: Store) -> None:
    mine = new_id("conv")
    made = await asyncio.gather(
        *(s.conversations.create(id=mine, title=f"n{n}") for n, s in enumerate([store, other] * 5))
    )
    assert set(made) == {mine}
    [kept] = await store.conversations.list(limit=10)
    await store.conversations.delete(mine)
    assert await other.conversations.create(id=mine, title="late") == mine
    await store.conversations.restore(mine)
    assert (await store.conversations.get(mine)).title == kept.title


async def test_changes_that_race_each_other_all_stay(store: Store, other: Store) -> None:
    chat = await store.conversations.create()
    changes = [{"pinned": True}, {"archived": True}, {"unread": True}, {"title": "t"}, {"instructions": "i"}, {"params": {"seed": 1}}]  # fmt: skip
    await asyncio.gather(
        *((store, other)[n % 2].conversations.update(chat, change) for n, change in enumerate(changes)),
        store.turns.accept(chat, text="x"),
    )
    kept = await store.conversations.get(chat)
    assert (kept.pinned, kept.archived, kept.unread, kept.title, kept.instructions, kept.params) == (
        True, True, True, "t", "i", {"seed": 1},
    )  # fmt: skip
    assert kept.current_leaf_id is not None


async def test_running_turns_are_found_by_conversation(store: Store) -> None:
    quiet = await store.conversations.create()
    one = await store.ask()
    two = await store.turns.accept(one.conversation_id, text="two")
    found = await store.conversations.find_running([quiet, one.conversation_id])
    assert found == {one.conversation_id: [one.id, two.id]}
    assert await store.conversations.find_running([]) == {}


async def test_a_restored_folder_holds_what_it_held(store: Store) -> None:
    folder, elsewhere = await store.folders.create("F", "Be brief."), await store.folders.create("G")
    stays, moves, leaves = [await store.conversations.create(folder_id=folder.id) for _ in range(3)]
    await store.folders.delete(folder.id)
    with pytest.raises(NotFound):
        await store.conversations.update(stays, {"folder_id": folder.id})
    await store.conversations.update(moves, {"folder_id": elsewhere.id})
    await store.conversations.update(leaves, {"folder_id": None})
    assert (await store.conversations.load_for_turn(stays))[2] == []
    await store.folders.restore(folder.id)
    places = [(await store.conversations.get(chat)).folder_id for chat in (stays, moves, leaves)]
    assert places == [folder.id, elsewhere.id, None]
    assert (await store.conversations.load_for_turn(stays))[2] == ["Be brief."]
    assert [(f.name, f.conversations) for f in await store.folders.list()] == [("F", 1), ("G", 1)]


async def test_the_same_file_is_kept_once_whoever_adds_it(store: Store, other: Store) -> None:
    data = bytes(range(256)) * 100
    added = await asyncio.gather(*(s.files.add("a", "image/png", data) for s in [store, other] * 4))
    assert len({file.id for file in added}) == 1
    loaded = await other.files.load([added[0].id, "file_0"])
    assert {i: (f.file, f.data) for i, f in loaded.items()} == {added[0].id: (added[0], data)}
    # Name and bytes are told apart.
    assert (await store.files.add("ab", "x", b"c")).id != (await store.files.add("a", "x", b"bc")).id


async def test_what_is_announced_is_committed(store: Store) -> None:
    changes = Changes()
    conversations = ConversationStore(store.database, changes)
    with changes.listen() as listener:
        made = await conversations.create()
        assert await listener.next() == [Change("conversation", made)]
        await conversations.update(made, {"title": "a"})
        await conversations.update(made, {"title": "b"})
        changes.announce("folders")
        # Each thing once, in the order of its last change.
        await conversations.update(made, {"pinned": True})
        assert await listener.next() == [Change("folders"), Change("conversation", made)]
        with pytest.raises(NotFound):
            await conversations.update("conv_0", {"title": "x"})
        changes.dismiss_listeners()
        assert await listener.next() == []
    with changes.listen() as late:
        assert await late.next() == []
