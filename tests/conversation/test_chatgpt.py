"""ChatGPT's export is read as ChatGPT shows it, and what Candide writes in its format comes back the same."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.conversation import chatgpt
from candide.conversation.chatgpt import find_file_id, read_conversation, read_ratings, write_conversation
from candide.conversation.document import ExportedFolder, export_tree
from candide.conversation.imported import MAX_TEXT_CHARS, ImportedTree, UnreadableError, identity
from candide.conversation.tree import find_branch
from candide.domain.messages import Conversation, Message

from .test_document import check_same
from .trees import folders, trees

EXPORTS = Path(__file__).resolve().parents[3] / "shared" / "dev-data" / "chat-exports"


@given(trees(), folders)
def test_any_conversation_comes_back_the_same_through_chatgpts_format(
    tree: tuple[Conversation, list[Message]], folder: ExportedFolder | None
) -> None:
    written = json.loads(json.dumps(write_conversation(export_tree(*tree, folder))))
    assert chatgpt.is_conversation(written)
    check_same(read_conversation(written), *tree, folder)


@given(trees())
def test_another_reader_finds_a_whole_tree_in_what_is_written(
    tree: tuple[Conversation, list[Message]],
) -> None:
    written = write_conversation(export_tree(*tree))
    mapping = written["mapping"]
    assert written["current_node"] in mapping
    for key, node in mapping.items():
        assert node["id"] == key
        assert all(mapping[child]["parent"] == key for child in node["children"])
        assert node["parent"] is None or key in mapping[node["parent"]]["children"]
    said = [
        m["content"]["parts"][-1] for n in mapping.values() if (m := n["message"]) and "parts" in m["content"]
    ]
    assert sorted(said) == sorted(message.text for message in tree[1])


def node(
    role: str = "user",
    text: str = "hello",
    *,
    content: dict[str, Any] | None = None,
    at: float | None = None,
    **more: Any,
) -> dict[str, Any]:
    return {
        "author": {"role": role},
        "create_time": at,
        "content": content or {"content_type": "text", "parts": [text]},
        **more,
    }


def chain(*messages: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """A conversation in which one message follows the other, under an empty root."""
    mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None}}
    before = "root"
    for n, message in enumerate(messages):
        mapping[f"n{n}"] = {"id": f"n{n}", "message": message, "parent": before}
        before = f"n{n}"
    return {"id": "c1", "title": "T", "create_time": 100.0, "update_time": 200.0, "mapping": mapping, **more}


def said(tree: ImportedTree) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in tree.messages]


def test_dates_titles_and_models_are_kept() -> None:
    tree = read_conversation(chain(node(at=101.5), node("assistant", "hi", at=102.0, metadata={"model_slug": "gpt-4o"}), is_archived=True, is_starred=True))  # fmt: skip
    assert (tree.conversation.title, tree.conversation.created_at, tree.conversation.updated_at) == (
        "T",
        100.0,
        200.0,
    )
    assert tree.conversation.archived
    assert tree.conversation.pinned
    assert [(m.created_at, m.model) for m in tree.messages] == [(101.5, None), (102.0, "gpt-4o")]
    assert tree.conversation.current_leaf_id == tree.messages[1].id


def test_what_is_not_shown_is_left_out_and_what_follows_joined() -> None:
    hidden = {"is_visually_hidden_from_conversation": True}
    tree = read_conversation(chain(
        node("system", "", weight=0.0),
        node("system", "secret", metadata=hidden),
        node("user", content={"content_type": "user_editable_context", "user_profile": "p"}),
        node("user", "question"),
        None,
        node("assistant", ""),
        node("assistant", "unheard", weight=0),
        node("assistant", "answer"),
    ))  # fmt: skip
    assert said(tree) == [("user", "question"), ("assistant", "answer")]
    assert tree.messages[1].parent_id == tree.messages[0].id
    assert tree.messages[0].parent_id is None
    assert tree.notes == []


def test_thinking_and_tools_are_the_reasoning_of_the_answer() -> None:
    thoughts = [{"summary": "Adding", "content": "1 + 1"}, {"summary": "Done", "content": "Done: 2"}]
    tree = read_conversation(chain(
        node("user", "1 + 1?"),
        node("assistant", content={"content_type": "thoughts", "thoughts": thoughts}),
        node("assistant", "Let me compute."),
        node("assistant", content={"content_type": "code", "language": "unknown", "text": "1 + 1"}, recipient="python"),
        node("tool", content={"content_type": "execution_output", "text": "2"}),
        node("assistant", content={"content_type": "reasoning_recap", "content": "Thought for 2 s"}),
        node("assistant", "It is 2.", metadata={"model_slug": "o3", "finish_details": {"type": "stop"}}),
    ))  # fmt: skip
    assert said(tree) == [("user", "1 + 1?"), ("assistant", "Let me compute.\n\nIt is 2.")]
    answer = tree.messages[1]
    assert answer.reasoning == "**Adding**\n\n1 + 1\n\nDone: 2\n\n```python\n1 + 1\n```\n\n```\n2\n```"
    assert (answer.model, answer.finish_reason, answer.state) == ("o3", "stop", "complete")


def test_an_answer_that_was_interrupted_is_stopped() -> None:
    tree = read_conversation(
        chain(node(), node("assistant", "I", metadata={"finish_details": {"type": "interrupted"}}))
    )
    assert tree.messages[1].state == "stopped"


def test_branches_are_kept_with_the_thinking_of_each() -> None:
    source = chain(node(at=1.0), node("assistant", content={"content_type": "thoughts", "thoughts": "hm"}, at=2.0), node("assistant", "A", at=3.0))  # fmt: skip
    source["mapping"]["other"] = {"message": node("assistant", "B", at=4.0), "parent": "n1"}
    source["mapping"]["after"] = {"message": node("user", "more", at=5.0), "parent": "other"}
    tree = read_conversation(source | {"current_node": "after"})
    question = tree.messages[0].id
    answers = {m.text: m for m in tree.messages if m.role == "assistant"}
    assert {text: (m.parent_id, m.reasoning) for text, m in answers.items()} == {
        "A": (question, "hm"),
        "B": (question, "hm"),
    }
    assert [m.text for m in find_branch(tree.messages, tree.conversation.current_leaf_id)] == [
        "hello",
        "B",
        "more",
    ]
    assert answers["A"].id < answers["B"].id, "the older answer comes first"


def test_the_leaf_is_the_nearest_that_is_shown() -> None:
    tree = read_conversation(chain(node(), node("assistant", "hi"), node("system", ""), current_node="n2"))
    assert tree.conversation.current_leaf_id == tree.messages[1].id


def test_images_attachments_and_drawings_are_wanted_by_their_file_ids() -> None:
    image = {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_abc"}
    tree = read_conversation(chain(
        node("user", content={"content_type": "multimodal_text", "parts": [image, "what is it?"]},
             metadata={"attachments": [{"id": "file_abc", "name": "a.png", "mime_type": "image/png"},
                                       {"id": "file-XYZ", "name": "b.pdf", "mime_type": "application/pdf"}]}),
        node("tool", content={"content_type": "execution_output", "text": "1"},
             metadata={"aggregate_result": {"messages": [{"message_type": "image", "image_url": "file-service://file-Plot1"}]}}),
        node("assistant", "see"),
    ))  # fmt: skip
    assert [part["key"] for part in tree.messages[0].parts] == ["file_abc", "file-XYZ"]
    assert (tree.files["file_abc"].name, tree.files["file-XYZ"].media_type) == ("a.png", "application/pdf")
    assert [part["key"] for part in tree.messages[1].parts] == ["file-Plot1"]
    assert tree.messages[1].text == "see"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("file-service://file-0HDUFW2JaMMvCvhqOQsPCGxF", "file-0HDUFW2JaMMvCvhqOQsPCGxF"),
        ("sediment://0a1b#file_000000001234#p_0.png", "file_000000001234"),
        ("file-0HDUFW2J-Screenshot 1.png", "file-0HDUFW2J"),
        ("file_00000000-aaaa.dat", "file_00000000"),
        ("sandbox:/mnt/data/x.csv", ""),
    ],
)
def test_the_id_of_a_file_is_found_in_pointers_and_names(name: str, found: str) -> None:
    assert find_file_id(name) == found


def test_voice_is_read_as_what_was_said() -> None:
    parts = [{"content_type": "audio_transcription", "text": "hello there", "direction": "in"},
             {"content_type": "real_time_user_audio_video_asset_pointer", "frames_asset_pointers": [], "audio_asset_pointer": {"asset_pointer": "sediment://file_v1"}}]  # fmt: skip
    tree = read_conversation(chain(node(content={"content_type": "multimodal_text", "parts": parts})))
    assert said(tree) == [("user", "hello there")]
    assert tree.files == {}
    assert tree.notes == ["sound and video were left out; what was said is kept as text"]


def test_sources_become_links() -> None:
    new = node("assistant", "Yes\ue200cite\ue202turn0search1\ue201. No\ue200cite\ue202x\ue201.", metadata={
        "content_references": [{"matched_text": "\ue200cite\ue202turn0search1\ue201", "alt": " ([T](https://e.org))"}]})  # fmt: skip
    old = node("assistant", "Yes【1†source】.", metadata={
        "citations": [{"start_ix": 3, "end_ix": 13, "metadata": {"title": "T", "url": "https://e.org"}}]})  # fmt: skip
    assert said(read_conversation(chain(node(), new)))[1][1] == "Yes ([T](https://e.org)). No."
    assert said(read_conversation(chain(node(), old)))[1][1] == "Yes ([T](https://e.org))."


def test_a_canvas_is_shown_and_other_tools_are_folded() -> None:
    canvas = json.dumps({"name": "Poem", "type": "document", "content": "Roses"})
    tree = read_conversation(chain(
        node(),
        node("assistant", content={"content_type": "code", "language": "json", "text": canvas}, recipient="canmore.create_textdoc"),
        node("tool", "Successfully created", author={"role": "tool", "name": "canmore.create_textdoc"}),
        node("assistant", content={"content_type": "code", "language": "python", "text": "x = '```'"}),
    ))  # fmt: skip
    assert tree.messages[1].text == "**Poem**\n\nRoses\n\n````python\nx = '```'\n````"
    assert tree.messages[1].reasoning == "canmore.create_textdoc:\n```\nSuccessfully created\n```"


def test_an_unknown_kind_of_content_is_kept_when_it_has_text_and_noted_when_not() -> None:
    tree = read_conversation(chain(node(), node("assistant", content={"content_type": "novel", "text": "words"}), node("assistant", content={"content_type": "odd", "x": 1})))  # fmt: skip
    assert said(tree)[1] == ("assistant", "words")
    assert tree.notes == ["content of the unknown kind 'odd' was left out"]


def test_feedback_is_found_by_its_message() -> None:
    ratings = read_ratings(
        [{"id": "n1", "rating": "thumbs_down", "content": '{"text": "wrong"}'}, {"id": "n0"}, 1]
    )
    tree = read_conversation(chain(node(), node("assistant", "hi")), ratings)
    assert [m.feedback for m in tree.messages] == [None, {"rating": "down", "reason": "wrong"}]


def test_reading_twice_gives_the_same_and_a_newer_export_only_adds() -> None:
    older, newer = chain(node(at=1.0), node("assistant", "hi")), chain(node(at=1.0), node("assistant", "hi"), node("user", "and?", at=9.0))  # fmt: skip
    first, again, later = read_conversation(older), read_conversation(older), read_conversation(newer)
    assert first == again
    assert later.conversation.id == first.conversation.id
    assert [m.id for m in later.messages[:2]] == [m.id for m in first.messages]


def test_a_message_whose_time_changed_is_known_by_the_end_of_its_id() -> None:
    one, other = (read_conversation(chain(node(at=at))).messages[0].id for at in (1.0, 2.0))
    assert one != other
    assert identity(one) == identity(other)


def test_ids_sort_as_the_tree_grows_even_without_times() -> None:
    tree = read_conversation(
        chain(*(node(role) for _ in range(3) for role in ("user", "assistant")), create_time=None)
    )
    ids = [message.id for message in tree.messages]
    assert ids == sorted(ids)


def test_the_same_node_in_two_conversations_is_two_messages() -> None:
    one, other = (read_conversation(chain(node(), id=name)) for name in ("c1", "c2"))
    assert one.messages[0].id != other.messages[0].id


def test_parents_that_go_round_are_cut_and_noted() -> None:
    source = chain(node(), node("assistant", "hi"))
    source["mapping"]["n0"]["parent"] = "n1"
    tree = read_conversation(source)
    assert said(tree) == [("user", "hello"), ("assistant", "hi")]
    assert tree.notes == ["messages whose parents go round in a circle were put at the beginning"]


def test_a_mapping_without_parents_is_read_in_its_order() -> None:
    source = chain(node(), node("assistant", "hi"), node("user", "bye"))
    for member in source["mapping"].values():
        del member["parent"]
    tree = read_conversation(source)
    assert [m.text for m in find_branch(tree.messages, tree.messages[-1].id)] == ["hello", "hi", "bye"]
    source["mapping"]["root"]["children"] = ["n0"]
    source["mapping"]["n0"]["children"] = ["n1", "n2"]
    tree = read_conversation(source)
    assert [m.text for m in find_branch(tree.messages, tree.messages[-1].id)] == ["hello", "bye"]


def test_what_no_database_keeps_is_replaced_and_noted() -> None:
    tree = read_conversation(chain(node(text="a\0b\ud800")))
    assert tree.messages[0].text == "a\ufffdb\ufffd"
    assert tree.notes == ["characters that cannot be stored were replaced by U+FFFD"]


def test_a_message_too_long_to_show_is_cut_and_noted() -> None:
    tree = read_conversation(chain(node(text="x" * (MAX_TEXT_CHARS + 1))))
    assert len(tree.messages[0].text) == MAX_TEXT_CHARS
    assert tree.notes == ["a message of 4,000,001 characters was cut at 4,000,000"]


def test_a_long_conversation_takes_no_longer_for_a_message_than_a_short_one() -> None:
    kinds = itertools.cycle((node("assistant", content={"content_type": "code", "text": "x"}, recipient="python"), node("tool", "y")))  # fmt: skip
    tree = read_conversation(chain(node(), *itertools.islice(kinds, 20_000)))
    assert len(tree.messages) == 2


@pytest.mark.parametrize(
    "source", [{}, {"mapping": []}, {"mapping": {"a": 1}}, chain(), chain(node("system", "You are."))]
)
def test_a_conversation_without_messages_is_refused(source: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError, match="no message"):
        read_conversation(source)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["parts", "text", "content_type", "thoughts", "metadata", "author", "role", "content", "parent",
                         "message", "attachments", "asset_pointer", "citations", "create_time", "id"]) | st.text(max_size=3),
        inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip
odd_messages = st.fixed_dictionaries(
    {"author": st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool", "system"]) | json_values})},
    optional={"content": st.fixed_dictionaries({"content_type": st.sampled_from(
        ["text", "code", "multimodal_text", "thoughts", "tether_quote", "execution_output", "x"]) | json_values},
        optional={"parts": json_values, "text": json_values, "thoughts": json_values, "content": json_values}),
        "metadata": json_values, "create_time": json_values, "recipient": json_values, "weight": json_values},
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("abcde"), st.fixed_dictionaries({"message": odd_messages | json_values, "parent": st.sampled_from("abcde") | json_values})), json_values, json_values)  # fmt: skip
def test_whatever_stands_in_a_mapping_is_read_or_refused(
    mapping: dict[str, Any], title: Any, moment: Any
) -> None:
    try:
        tree = read_conversation({"id": "c", "title": title, "create_time": moment, "mapping": mapping})
    except UnreadableError:
        return
    seen: set[str | None] = {None}
    for message in tree.messages:
        assert message.parent_id in seen
        assert message.id not in seen
        seen.add(message.id)
        (message.text + message.reasoning + tree.conversation.title).encode()
    assert tree.conversation.current_leaf_id in seen


@pytest.mark.skipif(not EXPORTS.is_dir(), reason="the exports of other importers' tests are not here")
@pytest.mark.parametrize(
    "path", sorted(EXPORTS.rglob("*.json")), ids=lambda path: path.parts[len(EXPORTS.parts)]
)
def test_exports_from_other_importers_tests_are_read_whole(path: Path) -> None:
    loaded = json.loads(path.read_text(encoding="utf-8"))
    found = [value for value in loaded if chatgpt.is_conversation(value)] if isinstance(loaded, list) else []
    for source in found:
        texts = [
            part
            for n in source["mapping"].values()
            if (message := n.get("message")) and message["author"]["role"] in ("user", "assistant")
            for part in message["content"].get("parts") or []
            if isinstance(part, str)
        ]
        try:
            tree = read_conversation(source)
        except UnreadableError:
            assert texts == []
            continue
        whole = "\n".join(f"{m.reasoning}\n{m.text}".replace("\n> ", "\n") for m in tree.messages)
        assert [text for text in texts if text.strip() not in whole and f"> {text}" not in whole] == []
        assert tree.notes == []
