"""A conversation to be read: who speaks, what they said, and where their files lie."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.conversation.fences import close_fences, fence
from candide.conversation.markdown import NO_ANSWER, NOT_BORNE_OUT, file_path, page_path, write_markdown
from candide.domain.citations import Citation, Sentence
from candide.domain.grounding import Grounding
from candide.domain.messages import Conversation, File, Message
from candide.domain.sources import NumberedSource

from .trees import trees


def conversation(**more: Any) -> Conversation:
    made: dict[str, Any] = {"id": "conv_123456", "title": "t", "current_leaf_id": None, "model": None, "system_prompt": None, "created_at": 0.0, "updated_at": 0.0}  # fmt: skip
    return Conversation(**made | more)


def message(text: str, **more: Any) -> Message:
    made: dict[str, Any] = {"id": "m", "conversation_id": "c", "parent_id": None, "role": "user"}
    made |= {"text": text} | more
    return Message(**made)


def test_it_names_who_speaks_and_keeps_their_words() -> None:
    answer = message("hi", role="assistant", model="qwen", state="stopped", reasoning="hm\n\nwell")
    assert write_markdown(conversation(), [message("hello"), answer]) == (
        "# t\n\n## You (1970-01-01 00:00 UTC)\n\nhello\n\n## qwen (1970-01-01 00:00 UTC, stopped)\n\n"
        "<details><summary>Reasoning</summary>\n\n> hm\n>\n> well\n\n</details>\n\nhi\n"
    )


def test_a_fence_left_open_does_not_take_in_what_follows() -> None:
    written = write_markdown(conversation(), [message("see\n````python\nx = 1\n```"), message("thanks")])
    assert "x = 1\n```\n````\n\n## You" in written


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("a", "a"),
        ("```\na\n```", "```\na\n```"),
        ("```\na", "```\na\n```"),
        ("~~~\n```\n~~~", "~~~\n```\n~~~"),
        ("```x`y", "```x`y"),
        ("````\n```\n", "````\n```\n````"),
        ("    ```", "    ```"),
    ],
)
def test_the_last_fence_is_closed(text: str, closed: str) -> None:
    assert close_fences(text) == closed


@given(st.text("`~ \na", max_size=20))
def test_a_closed_text_stays_as_it_is(text: str) -> None:
    closed = close_fences(text)
    assert close_fences(closed) == closed


@given(st.text("`a\n", max_size=20))
def test_nothing_within_a_fence_closes_it(text: str) -> None:
    assert close_fences(fence(text, "python")) == fence(text, "python")


def test_files_are_links_into_their_folder() -> None:
    picture = File(id="file_1", name="my [x] é.png", media_type="image/png", size=1)
    text = File(id="file_2", name="../../etc/passwd", media_type="text/plain", size=1)
    written = write_markdown(
        conversation(), [message("see", parts=[picture.as_part(), text.as_part(), {"type": "odd"}])]
    )
    assert "![my \\[x\\] é.png](files/file_1-my_x_é.png)" in written
    assert "[../../etc/passwd](files/file_2-etc_passwd)" in written


def test_an_answer_is_followed_by_its_sources_with_what_is_cited_of_them() -> None:
    sources = [
        NumberedSource(number=1, id="a", uri="https://example.org/a", title="The [keeper]", site="example.org", published=0.0),
        NumberedSource(number=2, id="b", uri="javascript:alert(1)", title=""),
    ]  # fmt: skip
    cited = Citation(number=1, start=0, end=9, quote="She kept\n*it*.")
    sentences = [
        Sentence(text="She kept it [1].", start=0, end=16, support="supported", citations=[cited]),
        Sentence(text="For 99 years.", start=17, end=30, support="unsupported"),
    ]
    grounding = Grounding(sources=sources, sentences=sentences, unread=["/b.pdf: it is locked"])
    written = write_markdown(
        conversation(),
        [
            message(
                "She kept it [1]. For 99 years.", role="assistant", grounding=msgspec.to_builtins(grounding)
            )
        ],
    )
    assert written.endswith(
        "She kept it [1]. For 99 years.\n\n"
        "Could not be read:\n\n- /b.pdf: it is locked\n\n"
        "Sources:\n\n"
        "- [1] [The \\[keeper\\]](https://example.org/a), example.org, 1970-01-01\n  > She kept \\*it\\*.\n"
        "- [2] javascript:alert(1)\n\n"
        "No source bears out:\n\n- For 99 years.\n"
    )


@pytest.mark.parametrize(
    ("own", "finish_reason", "note"),
    [
        ("She fled.", "stop", NOT_BORNE_OUT),
        ("She fl", "extract", NO_ANSWER),
        ("", "extract", NO_ANSWER),
    ],
)
def test_the_sentences_of_the_sources_are_quoted_apart_from_what_the_model_wrote(
    own: str, finish_reason: str, note: str
) -> None:
    text = f"{own}\n\n« She kept it. » [1]" if own else "« She kept it. » [1]"
    quoted = Sentence(text="« She kept it. » [1]", start=len(text) - 20, end=len(text), support="quoted")
    grounding = msgspec.to_builtins(Grounding(extract=[quoted]))
    answer = message(text, role="assistant", grounding=grounding, finish_reason=finish_reason)
    written = write_markdown(conversation(), [answer])
    before, _, block = written.partition(note)
    assert before.rstrip().endswith(own or "UTC)")
    assert block == "\n\n> « She kept it. » [1]\n"


@given(trees())
def test_any_conversation_can_be_written(tree: tuple[Conversation, list[Message]]) -> None:
    write_markdown(*tree).encode()
    assert "/" not in page_path(tree[0])
    assert len(page_path(tree[0]).encode()) < 255


def test_names_of_pages_say_when_and_what() -> None:
    assert page_path(conversation(title="What is / a *tree*?")) == "1970-01-01-What-is-a-tree-123456.md"
    assert file_path(File(id="file_1", name="...", media_type="", size=0)) == "file_1"
