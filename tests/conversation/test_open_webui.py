"""Open WebUI's export is read with its branches, files, and what the models thought."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.conversation import open_webui
from candide.conversation.imported import ImportedTree, UnreadableError, WantedFolder
from candide.conversation.open_webui import read_conversation
from candide.conversation.tree import find_branch

from .test_chatgpt import json_values


def message(
    role: str = "user", content: Any = "hello", parent: str | None = None, **more: Any
) -> dict[str, Any]:
    return {"role": role, "content": content, "parentId": parent, "timestamp": 1_700_000_000, **more}


def chat(messages: dict[str, dict[str, Any]], current: str = "", **more: Any) -> dict[str, Any]:
    history = {"messages": messages, "currentId": current}
    return {
        "id": "chat", "title": "T", "created_at": 1_700_000_000, "updated_at": 1_700_000_100,
        "chat": {"title": "T", "history": history, "params": {}}, **more,
    }  # fmt: skip


def read_answer(content: str, **more: Any) -> ImportedTree:
    return read_conversation(chat({"a": message(), "b": message("assistant", content, "a", **more)}))


def test_branches_and_the_current_one_are_kept() -> None:
    source = chat({
        "a": message(), "b": message("assistant", "one", "a", model="llama3"),
        "c": message("assistant", "two", "a", model="qwen"), "d": message("user", "more", "b"),
    }, "d", pinned=True, archived=True, folder_id="0a1b2c3d-4e")  # fmt: skip
    assert open_webui.is_conversation(source)
    tree = read_conversation(source)
    assert [m.text for m in find_branch(tree.messages, tree.conversation.current_leaf_id)] == [
        "hello",
        "one",
        "more",
    ]
    assert {m.model for m in tree.messages} == {None, "llama3", "qwen"}
    assert (tree.conversation.title, tree.conversation.updated_at) == ("T", 1_700_000_100)
    assert tree.conversation.pinned
    assert tree.conversation.archived
    assert tree.folder == WantedFolder(name="Open WebUI folder 0a1b2c3d")


def test_what_a_model_thought_and_did_is_its_reasoning() -> None:
    tree = read_answer(
        '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds</summary>\n&gt; 1 &lt; 2\n&gt; so\n</details>\n'
        '<details type="tool_calls" done="true" name="search" arguments="{&quot;q&quot;: 1}" result="found">\n<summary>Tool Executed</summary>\n</details>\n'
        "The answer."
    )
    assert tree.messages[1].text == "The answer."
    assert tree.messages[1].reasoning == '1 < 2\nso\n\nsearch:\n\n```json\n{"q": 1}\n```\n\n```\nfound\n```'


def test_pictures_and_texts_of_files_stand_in_the_export() -> None:
    picture = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    files = [
        {"type": "image", "url": picture},
        {"type": "file", "id": "f1", "name": "a.pdf",
         "file": {"meta": {"content_type": "application/pdf"}, "data": {"content": "words"}}},
        {"type": "file", "id": "f2", "name": "b.md", "file": {"meta": {"content_type": "text/markdown"}}},
    ]  # fmt: skip
    tree = read_conversation(chat({"a": message(files=files)}))
    wanted = [tree.files[part["key"]] for part in tree.messages[0].parts]
    assert [(w.name, w.media_type, w.data) for w in wanted] == [
        ("", "image/png", b"\x89PNG"), ("a.pdf.txt", "text/plain", b"words"), ("b.md", "text/markdown", None),
    ]  # fmt: skip


def test_failures_ratings_and_usage_are_kept() -> None:
    tree = read_answer("", error={"content": "no memory"}, annotation={"rating": -1, "comment": "bad"}, usage={"total_tokens": 3})  # fmt: skip
    answer = tree.messages[1]
    assert (answer.state, answer.error) == ("failed", {"code": "error", "message": "no memory", "hint": None})
    assert answer.feedback == {"rating": "down", "reason": "bad"}
    assert answer.usage == {"total_tokens": 3}


def test_the_system_prompt_and_parameters_of_a_chat_are_kept() -> None:
    source = chat({"a": message()})
    source["chat"]["params"] = {
        "system": "Be brief.",
        "temperature": 0.2,
        "top_p": None,
        "mirostat": 1,
        "seed": True,
    }
    tree = read_conversation(source)
    assert tree.conversation.system_prompt == "Be brief."
    assert tree.conversation.params == {"temperature": 0.2}


def test_a_chat_of_old_is_a_list() -> None:
    source = {"id": "c", "chat": {"title": "T", "timestamp": 1_700_000_000_000, "messages": [
        {"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi", "model": "llama2"}]}}  # fmt: skip
    assert open_webui.is_conversation(source)
    tree = read_conversation(source)
    assert tree.conversation.created_at == 1_700_000_000
    assert [m.text for m in find_branch(tree.messages, tree.conversation.current_leaf_id)] == ["hello", "hi"]


def test_empty_messages_are_left_out_and_what_follows_joined() -> None:
    tree = read_conversation(
        chat({"a": message(), "b": message("assistant", "", "a"), "c": message("user", "?", "b")})
    )
    assert [(m.text, m.parent_id) for m in tree.messages] == [("hello", None), ("?", tree.messages[0].id)]


def test_reading_twice_gives_the_same() -> None:
    assert read_answer("hi") == read_answer("hi")


@pytest.mark.parametrize("source", [{}, chat({}), chat({"a": message("tool")}), {"chat": {"history": 1}}])
def test_a_chat_without_messages_is_refused(source: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError, match="no message"):
        read_conversation(source)


odd_messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]) | json_values},
    optional={"content": json_values, "parentId": st.sampled_from("abc") | json_values, "files": json_values,
              "timestamp": json_values, "error": json_values, "annotation": json_values},
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("abcde"), odd_messages | json_values), json_values)
def test_whatever_stands_in_a_chat_is_read_or_refused(messages: dict[str, Any], odd: Any) -> None:
    try:
        tree = read_conversation(chat(messages, folder=odd, title=odd))
    except UnreadableError:
        return
    seen: set[str | None] = {None}
    for one in tree.messages:
        assert one.parent_id in seen
        seen.add(one.id)
        (one.text + one.reasoning).encode()
