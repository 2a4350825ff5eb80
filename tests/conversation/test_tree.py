"""Branches, siblings and leaves end whatever the tree: missing parents, cycles, messages that are their own parent."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from candide.conversation.tree import find_branch, find_leaf, find_siblings
from candide.domain.messages import Message

IDS = [f"msg_{n}" for n in range(8)]


def message(id_: str, parent: str | None, role: str = "user") -> Message:
    return Message(id=id_, conversation_id="conv_1", parent_id=parent, role=role, text=id_)  # pyright: ignore[reportArgumentType]


@st.composite
def graphs(draw: st.DrawFn) -> list[Message]:
    """Any assignment of parents: forests, cycles, parents that do not exist."""
    present = draw(st.lists(st.sampled_from(IDS), unique=True))
    return [
        message(i, draw(st.none() | st.sampled_from([*IDS, "msg_gone"])), draw(st.sampled_from(("user", "assistant"))))
        for i in present
    ]  # fmt: skip


@given(graphs(), st.sampled_from([*IDS, "msg_gone", ""]) | st.none())
def test_a_branch_ends_at_its_leaf_and_each_message_follows_its_parent(
    messages: list[Message], leaf: str | None
) -> None:
    branch = find_branch(messages, leaf)
    ids = [m.id for m in branch]
    assert len(set(ids)) == len(ids)
    if leaf in {m.id for m in messages}:
        assert ids[-1] == leaf
        assert all(child.parent_id == parent.id for parent, child in itertools.pairwise(branch))
        first = branch[0]
        # It began at a root, at a parent that is missing, or where a cycle was cut.
        assert first.parent_id is None or first.parent_id not in {m.id for m in messages} - set(ids)
    else:
        assert ids == []


@given(graphs())
def test_the_newest_leaf_under_a_message_is_below_it(messages: list[Message]) -> None:
    for start in messages:
        leaf = find_leaf(messages, start.id)
        by_id = {m.id: m for m in messages}
        seen: set[str] = set()
        current: str | None = leaf
        while current != start.id:
            assert current is not None
            assert current not in seen
            seen.add(current)
            current = by_id[current].parent_id


def test_the_newest_answer_is_chosen_at_each_fork() -> None:
    tree = [
        message("a", None),
        message("b", "a", "assistant"),
        message("c", "a", "assistant"),
        message("d", "b"),
    ]
    assert find_leaf(tree, "a") == "c"
    assert find_leaf(tree, "b") == "d"


@given(graphs())
def test_siblings_share_parent_and_role_and_come_oldest_first(messages: list[Message]) -> None:
    for one in messages:
        found = find_siblings(messages, one)
        assert one in found
        assert [m.id for m in found] == sorted(m.id for m in found)
        assert {(m.parent_id, m.role) for m in found} == {(one.parent_id, one.role)}
