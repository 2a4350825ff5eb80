"""Calls that models write as text, in one piece and in many."""

from __future__ import annotations

import json
from typing import Any

import pytest

from candide.engine.tool_calls import CallArguments, CallFinder, CallReader, CallStart, Part

CALL = '{"name": "get_weather", "arguments": {"city": "Pa\\"}ris"}}'
OTHER = '{"name": "get_time", "parameters": {}}'
OFFERED = ("get_weather", "get_time")
WEATHER = ("get_weather", {"city": 'Pa"}ris'})


def read(reader: CallFinder | CallReader, text: str, size: int) -> tuple[str, list[tuple[str, Any]]]:
    """The prose and the calls of an answer that comes in pieces of `size` characters."""
    parts: list[Part] = []
    for position in range(0, len(text), size):
        parts += reader.feed(text[position : position + size])
    parts += reader.end()
    prose = "".join(part for part in parts if isinstance(part, str))
    names = {part.index: part.name for part in parts if isinstance(part, CallStart)}
    arguments: dict[int, str] = {}
    for part in parts:
        if isinstance(part, CallArguments):
            arguments[part.index] = arguments.get(part.index, "") + part.text
    return prose, [(names[index], json.loads(arguments[index])) for index in names]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "prose", "calls"),
    [
        (CALL, "", [WEATHER]),
        (f"```json\n{CALL}\n```\n\n\n", "", [WEATHER]),
        (f"```\n{CALL}\n```", "", [WEATHER]),
        (f"<tool_call>\n{CALL}\n</tool_call>", "", [WEATHER]),
        (f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{OTHER}\n</tool_call>", "", [WEATHER, ("get_time", {})]),
        (f"[{CALL}, {OTHER}]", "", [WEATHER, ("get_time", {})]),
        (f"{CALL}\n{OTHER}", "", [WEATHER, ("get_time", {})]),
        (f"I shall look.\n<tool_call>{CALL}</tool_call>", "I shall look.\n", [WEATHER]),
        (f"I shall look.\n```json\n{CALL}\n```", "I shall look.\n", [WEATHER]),
        (f"<tool_call>{CALL}", "", [WEATHER]),
        ("<tool_call>{" + CALL + "}</tool_call>", "", [WEATHER]),
        ('{"type": "function", "function": {"name": "get_time", "arguments": "{}"}}', "", [("get_time", {})]),
        ('{"name": "format_disk", "arguments": {}}', None, []),
        ('```json\n{"name": "Bob", "age": 3}\n```\nThat is Bob.', None, []),
        ("```python\nprint(1)\n```\nDone ``` and <tool", None, []),
        ('{"answer": 42}', None, []),
        ("Just < text ` with | signs [1]", None, []),
        ("[1, 2]", None, []),
        ("", None, []),
    ],
)  # fmt: skip
def test_calls_are_told_from_text(text: str, prose: str | None, calls: list[Any], size: int) -> None:
    assert read(CallFinder(OFFERED), text, size) == (text if prose is None else prose, calls)


def test_only_one_call_is_made_where_one_is_allowed() -> None:
    _, calls = read(CallFinder(OFFERED, parallel=False), f"[{CALL}, {OTHER}]", 5)
    assert calls == [WEATHER]


def test_text_that_is_no_call_is_not_held_back() -> None:
    finder = CallFinder(OFFERED)
    assert finder.feed("Hello") == ["Hello"]
    assert finder.feed(" ```python\nx") == [" ", "```", "python\nx"]
    assert CallFinder(OFFERED).feed('{"answer') == ["{", '"answer']


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize("text", [f"[{CALL}, {CALL}]", f"[\n  {CALL},\n  {CALL}\n]"])
def test_a_constrained_answer_is_read_while_it_is_written(text: str, size: int) -> None:
    assert read(CallReader(), text, size) == ("", [WEATHER, WEATHER])


def test_arguments_leave_before_they_are_whole() -> None:
    parts = CallReader().feed('[{"name": "get_weather", "arguments": {"city": "Pa')
    assert isinstance(parts[0], CallStart)
    assert parts[1] == CallArguments(0, '{"city": "Pa')
