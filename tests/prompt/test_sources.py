"""Sources in prompts: numbered once a conversation, shown once, and never anything but data."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from candide.domain.grounding import Grounding
from candide.domain.messages import Message
from candide.domain.sources import NumberedSource, Passage, Result, Source
from candide.prompt.messages import build_prompt
from candide.prompt.sources import collect_sources, number_sources, present_sources


def find(source_id: str, *starts: int, text: str = "Text of it.") -> list[Result]:
    source = Source(
        id=source_id,
        library_id="lib",
        uri=f"https://example.org/{source_id}",
        kind="page",
        media_type="text/html",
    )
    return [
        Result(
            source=source,
            passage=Passage(id=start, source_id=source_id, start=start, end=start + len(text), text=text),
            score=1.0,
        )
        for start in starts
    ]


def say(role: Any, number: int, text: str) -> Message:
    return Message(id=f"m{number}", conversation_id="c", parent_id=f"m{number - 1}", role=role, text=text)


def test_a_source_has_one_number_and_several_passages_stand_under_it() -> None:
    first = number_sources([], [*find("a", 40), *find("b", 0), *find("a", 0)])
    assert [(source.number, source.id, [p.start for p in source.passages]) for source in first] == [
        (1, "a", [0, 40]), (2, "b", [0]),
    ]  # fmt: skip
    later = number_sources(first, [*find("c", 0), *find("b", 40)])
    assert [(source.number, source.id) for source in later] == [(3, "c"), (2, "b")]


def test_the_prompt_has_the_words_that_the_adapter_was_trained_with() -> None:
    sources = number_sources(
        [], [*find("a", 0, text="One\n two."), *find("a", 200, text="Three."), *find("b", 0)]
    )
    question = say("user", 1, "Quoi ?")
    [asked] = present_sources([question], {"m1": Grounding(sources=sources)})
    assert asked.text == (
        "Sources:\n[1] https://example.org/a: One two. […] Three.\n[2] https://example.org/b: Text of it.\n\n"
        "Question: Quoi ?"
    )


def test_what_was_shown_on_the_branch_is_not_shown_again() -> None:
    first = number_sources([], find("a", 0))
    second = number_sources(first, [*find("a", 0), *find("a", 50), *find("b", 0)])
    branch = [
        say("user", 1, "one"),
        say("assistant", 2, "yes [1]"),
        say("user", 3, "two"),
        say("user", 5, "three"),
    ]
    groundings = {
        "m1": Grounding(sources=first),
        "m3": Grounding(sources=second),
        "m5": Grounding(sources=second),
    }
    texts = [message.text for message in present_sources(branch, groundings)]
    assert texts[2] == (
        "Sources:\n[1] https://example.org/a: Text of it.\n[2] https://example.org/b: Text of it.\n\nQuestion: two"
    )
    assert texts[3] == "Question: three"
    assert [[p.start for p in source.passages] for source in collect_sources(groundings.values())] == [
        [0, 50],
        [0],
    ]


def test_where_sources_have_another_language_the_questions_is_named() -> None:
    [source] = number_sources([], find("a", 0))
    french = Grounding(sources=[msgspec.structs.replace(source, language="fr")])

    def ask(question: str) -> str:
        return present_sources([say("user", 1, question)], {"m1": french})[0].text

    assert ask("Who was the first keeper of it?").endswith(
        "\n\nQuestion: Who was the first keeper of it? (Answer in English.)"
    )
    assert ask("Qui en fut la première gardienne ?").endswith(
        "\n\nQuestion: Qui en fut la première gardienne ?"
    )
    assert ask("Kermor?").endswith("Question: Kermor?")


def test_sources_that_were_not_good_enough_were_not_shown() -> None:
    nearest = Grounding(sources=number_sources([], find("a", 0)), is_good=False)
    [asked] = present_sources([say("user", 1, "one")], {"m1": nearest})
    assert asked.text == "Question: one"
    assert collect_sources([nearest]) == []


_texts = st.text(alphabet="ab [1]【2】,\n:Question.Sources", max_size=60)


@given(
    st.lists(
        st.tuples(_texts, st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), _texts))), max_size=5
    )
)
def test_a_prompt_only_grows_and_holds_no_number_but_those_that_were_given(turns: list[Any]) -> None:
    known: list[NumberedSource] = []
    branch: list[Message] = []
    groundings: dict[str, Grounding] = {}
    before: list[dict[str, Any]] = []
    for number, (question, found) in enumerate(turns):
        results = [result for name, place, text in found for result in find(name, place * 100, text=text)]
        sources = number_sources(known, results)
        known += sources
        branch.append(say("user", 2 * number + 1, question or "?"))
        groundings[branch[-1].id] = Grounding(sources=sources)
        prompt = build_prompt(present_sources(branch, groundings), "system")
        assert prompt[: len(before)] == before
        asked = str(prompt[-1]["content"])
        listed, _, _ = asked.rpartition(f"Question: {branch[-1].text}")
        numbers = {int(mark) for mark in re.findall(r"[\[【](\d+)[\]】]", listed)}
        assert numbers <= {source.number for source in sources}
        # One line a source: none can begin a question or another source.
        assert len(listed.strip().splitlines()) <= len(sources) + 1
        branch.append(say("assistant", 2 * number + 2, "Yes."))
        before = [*prompt, {"role": "assistant", "content": "Yes."}]
    assert len({source.id: source.number for source in known}) == len({source.number for source in known})
