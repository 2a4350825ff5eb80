"""What is exported comes back the same; what is not an export is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.conversation.export import read_json, write_json, write_markdown
from candide.domain.messages import Conversation, Message
from candide.errors import BadRequest

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
times = st.floats(0, 4e9)
names = st.none() | texts


@st.composite
def trees(draw: st.DrawFn) -> tuple[Conversation, list[Message]]:
    number = draw(st.integers(0, 10**6))
    count = draw(st.integers(0, 8))
    messages: list[Message] = []
    for n in range(count):
        messages.append(
            Message(
                id=f"msg_{number}_{n}",
                conversation_id=f"conv_{number}",
                parent_id=draw(st.none() | st.sampled_from([m.id for m in messages])) if messages else None,
                role=draw(st.sampled_from(("system", "user", "assistant", "tool"))),
                text=draw(texts),
                state=draw(st.sampled_from(("complete", "stopped", "failed"))),
                parts=draw(st.lists(st.dictionaries(texts, texts, max_size=2), max_size=2)),
                reasoning=draw(texts),
                model=draw(names),
                usage=draw(st.none() | st.dictionaries(texts, st.integers(0, 2**53), max_size=2)),
                created_at=draw(times),
            )
        )
    conversation = Conversation(
        id=f"conv_{number}",
        title=draw(texts),
        current_leaf_id=draw(st.sampled_from([m.id for m in messages])) if messages else None,
        model=draw(names),
        system_prompt=draw(names),
        created_at=draw(times),
        updated_at=draw(times),
    )
    return conversation, messages


@given(st.lists(trees(), max_size=3))
def test_what_is_exported_comes_back_the_same(given_trees: list[tuple[Conversation, list[Message]]]) -> None:
    back = read_json(write_json(given_trees))
    assert [conversation for conversation, _ in back] == [conversation for conversation, _ in given_trees]
    for (_, messages), (_, expected) in zip(back, given_trees, strict=True):
        assert {m.id: m for m in messages} == {m.id: m for m in expected}
        seen: set[str | None] = {None}
        for message in messages:
            assert message.parent_id in seen, "a parent comes before its children"
            seen.add(message.id)


def document(**changes: Any) -> dict[str, Any]:
    message = {"id": "m1", "parent_id": None, "role": "user", "text": "hello", "created_at": 1.0}
    answer = {"id": "m2", "parent_id": "m1", "role": "assistant", "text": "hi", "created_at": 2.0}
    conversation = {
        "id": "c1", "title": "t", "current_leaf_id": "m2", "model": None, "system_prompt": None,
        "created_at": 1.0, "updated_at": 2.0, "messages": [message, answer],
    }  # fmt: skip
    made: dict[str, Any] = {
        "format": "candide", "version": 1, "exported_at": 3.0, "conversations": [conversation],
    }  # fmt: skip
    for path, value in changes.items():
        *way, last = path.split("__")
        target: Any = made
        for step in way:
            target = target[int(step) if step.isdigit() else step]
        target[last] = value
    return made


def test_the_documented_members_are_enough() -> None:
    [(conversation, messages)] = read_json(json.dumps(document()).encode())
    assert conversation.current_leaf_id == "m2"
    assert [(m.id, m.state, m.conversation_id) for m in messages] == [
        ("m1", "complete", "c1"), ("m2", "complete", "c1"),
    ]  # fmt: skip


def test_members_of_a_later_version_are_ignored() -> None:
    made = document(surprise=1, conversations__0__surprise=2, conversations__0__messages__0__surprise=3)
    assert len(read_json(json.dumps(made).encode())) == 1


def test_an_answer_exported_while_it_was_written_is_stopped() -> None:
    made = document(conversations__0__messages__1__state="streaming")
    [(_, messages)] = read_json(json.dumps(made).encode())
    assert messages[1].state == "stopped"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"format": "other"}, "format"),
        ({"version": 2}, "version"),
        ({"conversations__0__current_leaf_id": "nowhere"}, "conversations.0.current_leaf_id"),
        ({"conversations__0__messages__1__parent_id": "nowhere"}, "conversations.0.messages.1.parent_id"),
        ({"conversations__0__messages__1__id": "m1"}, "conversations.0.messages.1.id"),
        ({"conversations__0__messages__0__parent_id": "m2"}, "conversations.0.messages"),
    ],
)
def test_a_document_that_cannot_be_a_tree_is_refused_with_the_place(
    changes: dict[str, Any], place: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        read_json(json.dumps(document(**changes)).encode())
    assert caught.value.param == place


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"format": "candide"}', b"\xff\xfe", b'{"format": "candide", "version": "1"}'],
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest, match="not"):
        read_json(data)


@pytest.mark.parametrize("bad", ["", "a b", "../x", "x" * 41, "é"])
def test_an_id_that_cannot_be_one_is_refused(bad: str) -> None:
    with pytest.raises(BadRequest, match="id"):
        read_json(json.dumps(document(conversations__0__id=bad)).encode())


def test_markdown_names_who_speaks_and_keeps_their_words() -> None:
    [(conversation, messages)] = read_json(json.dumps(document()).encode())
    messages[1] = msgspec.structs.replace(messages[1], model="qwen", state="stopped")
    assert write_markdown(conversation, messages) == (
        "# t\n\n## You (1970-01-01 00:00 UTC)\n\nhello\n\n## qwen (1970-01-01 00:00 UTC, stopped)\n\nhi\n"
    )
