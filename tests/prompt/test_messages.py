"""Prompts grow at their end only, alternate, and are compacted from their beginning."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from candide.domain.messages import File, Message, Role, StoredFile
from candide.prompt.messages import build_prompt, compact, find_files

texts = st.text(min_size=1, max_size=12)


def message(number: int, role: Role, text: str, parts: list[dict[str, Any]] | None = None) -> Message:
    return Message(
        id=f"msg_{number:03}",
        conversation_id="conv_1",
        parent_id=f"msg_{number - 1:03}" if number else None,
        role=role,
        text=text,
        parts=parts or [],
    )


@st.composite
def branches(draw: st.DrawFn, answer: st.SearchStrategy[str] = texts) -> list[Message]:
    """Questions and answers in turn, the last one answered."""
    branch: list[Message] = []
    for _ in range(draw(st.integers(1, 6))):
        branch.append(message(len(branch), "user", draw(texts)))
        branch.append(message(len(branch), "assistant", draw(answer)))
    return branch


@given(branches(), st.sampled_from(["", "Be brief."]))
def test_a_prompt_with_its_answer_begins_the_next_prompt(branch: list[Message], system: str) -> None:
    for end in range(1, len(branch) - 1, 2):
        answered = [*build_prompt(branch[:end], system), {"role": "assistant", "content": branch[end].text}]
        assert build_prompt(branch[: end + 2], system)[: len(answered)] == answered


@given(branches(answer=texts | st.just("")), st.sampled_from(["", "Be brief."]))
def test_a_prompt_begins_the_next_one_though_answers_failed(branch: list[Message], system: str) -> None:
    def render(messages: list[dict[str, Any]]) -> str:
        return "".join(f"\x01{m['role']}\x02{m['content']}" for m in messages)

    for end in range(1, len(branch) - 1, 2):
        assert render(build_prompt(branch[: end + 2], system)).startswith(
            render(build_prompt(branch[:end], system))
        )


@given(branches(answer=texts | st.just("")), st.sampled_from(["", "Be brief."]))
def test_no_two_messages_of_one_role_stand_in_a_row_and_nothing_said_is_lost(
    branch: list[Message], system: str
) -> None:
    prompt = build_prompt(branch, system)
    assert all(one["role"] != other["role"] for one, other in itertools.pairwise(prompt))
    said = "".join(m["content"] for m in prompt)
    assert all(m.text in said for m in branch)


def test_building_a_prompt_changes_no_message() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    branch = [message(0, "user", "one", [image]), message(1, "user", "two"), message(2, "user", "three")]
    first = build_prompt(branch, "")
    assert build_prompt(branch, "") == first
    assert branch[0].parts == [image]
    assert first == [
        {"role": "user", "content": [{"type": "text", "text": "one"}, image, {"type": "text", "text": "two"},
                                     {"type": "text", "text": "three"}]}
    ]  # fmt: skip


@given(branches(), st.integers(0, 12))
def test_compaction_keeps_the_end_and_the_last_question(branch: list[Message], times: int) -> None:
    asked = branch[:-1]
    kept = compact(asked, times)
    assert kept[-1] is asked[-1]
    assert kept == asked[len(asked) - len(kept) :]
    assert len(kept) == 1 or kept[0].role == "user"
    assert len(compact(asked, times + 1)) < len(kept) or len(kept) == 1


@given(branches())
def test_no_compaction_leaves_the_branch_as_it_is(branch: list[Message]) -> None:
    assert compact(branch[:-1], 0) == branch[:-1]


def stored(name: str, media_type: str, data: bytes) -> StoredFile:
    return StoredFile(File(id=f"file_{name}", name=name, media_type=media_type, size=len(data)), data)


def test_files_stand_where_their_question_stands() -> None:
    note, image = stored("n.md", "text/markdown", "\ufeff# Où".encode()), stored("a.png", "image/png", b"png")
    lost = stored("gone.txt", "text/plain", b"")
    other = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lG"}}
    branch = [
        message(0, "user", "what?", [note.file.as_part(), image.file.as_part(), other]),
        message(1, "assistant", "that"),
        message(2, "user", "", [note.file.as_part(), lost.file.as_part()]),
    ]
    files = {s.file.id: s for s in (note, image)}
    assert find_files(branch) == {*files, "file_gone.txt"}
    text = "--- n.md ---\n# Où\n--- end of n.md ---"
    assert build_prompt(branch, "", files) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": f"{text}\n\nwhat?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
                other,
            ],
        },
        {"role": "assistant", "content": "that"},
        {"role": "user", "content": f"{text}\n\n(The file 'gone.txt' is no longer there.)"},
    ]


def test_an_image_needs_no_words() -> None:
    image = stored("a.png", "image/png", b"png")
    [sent] = build_prompt([message(0, "user", "", [image.file.as_part()])], "", {image.file.id: image})
    assert [part["type"] for part in sent["content"]] == ["image_url"]


def test_a_file_that_is_no_text_is_named_and_its_bytes_are_not_given() -> None:
    report = stored("report.pdf", "application/pdf", b"%PDF\xff\xfe")
    question = message(0, "user", "what is in it?", [report.file.as_part()])
    [asked] = build_prompt([question], "", {report.file.id: report})
    assert asked["content"] == "(The file 'report.pdf' holds no text that can be read.)\n\nwhat is in it?"
