"""The elements of an array are read one at a time, whatever the pieces are cut at and whatever is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.conversation.elements import Damage, Element, Header, read_elements

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def cut(text: str, sizes: Iterable[int]) -> Iterator[str]:
    at = 0
    for size in sizes:
        yield text[at : at + size]
        at += size
    yield text[at:]


sizes = st.lists(st.integers(1, 9), max_size=60)


@given(st.lists(values, max_size=5), sizes, st.booleans(), st.sampled_from([None, 2]))
def test_every_element_is_read_wherever_the_text_is_cut(
    given_values: list[Any], where: list[int], plain: bool, indent: int | None
) -> None:
    text = json.dumps(given_values, ensure_ascii=plain, indent=indent)
    assert list(read_elements(cut(text, where))) == [Element(value) for value in given_values]


@given(st.lists(values, max_size=4), sizes)
def test_an_array_within_an_object_is_found_by_its_name(given_values: list[Any], where: list[int]) -> None:
    text = json.dumps({"format": "x", "n": 12.5, "conversations": given_values, "after": [1]})
    assert list(read_elements(cut(text, where))) == [
        Header({"format": "x", "n": 12.5}), *(Element(value) for value in given_values),
    ]  # fmt: skip


@given(st.lists(values, min_size=1, max_size=4), sizes, st.data())
def test_a_damaged_document_is_read_to_its_end_without_an_exception(
    given_values: list[Any], where: list[int], data: st.DataObject
) -> None:
    text = json.dumps(given_values)
    place = data.draw(st.integers(0, len(text) - 1))
    damaged = (
        text[:place]
        + data.draw(st.sampled_from(["", "\\", '"', "{", "}", "[", "]", ",", "x", "\0"]))
        + text[place + 1 :]
    )
    list(read_elements(cut(damaged, where)))
    list(read_elements(cut(text[:place], where)))


def test_an_object_without_an_array_is_the_one_element() -> None:
    assert list(read_elements(['{"mapping": {}, ', '"id": 1}'])) == [Element({"mapping": {}, "id": 1})]


def test_what_follows_a_damaged_element_is_read() -> None:
    found = list(read_elements(['[{"a": 1}, {"b": tru}, {"c": [1,}]}, {"d": 2}]']))
    assert [type(one) for one in found] == [Element, Damage, Damage, Element]
    assert found[1] == Damage("this is not JSON: expecting value", 17)


def test_what_is_too_large_is_stepped_over_without_being_kept() -> None:
    pieces = ['[{"a": "', *(["x" * 1000] * 50), '"}, {"b": 1}]']
    assert list(read_elements(pieces, limit=4000)) == [Damage("larger than 0 MiB", 1), Element({"b": 1})]


def test_what_is_nested_too_deeply_is_stepped_over() -> None:
    assert list(read_elements(["[" * 100_000, "]" * 99_999, ', {"b": 1}]'])) == [
        Damage("nested too deeply", 1), Element({"b": 1}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", " \n", "[", '[{"a": 1}, {"b"', '{"a": 1', '{"conversations": [1, 2', '["a']
)
def test_a_document_that_breaks_off_says_so_after_what_is_whole(text: str) -> None:
    *_, last = read_elements([text])
    assert isinstance(last, Damage)
    assert last.kind == "end"


@pytest.mark.parametrize("text", ["hello", "<html>", "PK\x03\x04", '{"a" 1}', "{1: 2}", '"text"'])
def test_what_is_no_document_is_told(text: str) -> None:
    [damage] = read_elements([text])
    assert isinstance(damage, Damage)
    assert damage.reason.startswith("this is not JSON")


def test_half_of_a_surrogate_pair_and_control_characters_are_passed_on() -> None:
    assert list(read_elements(['["\\ud800", "a\nb\\u0000"]'])) == [Element("\ud800"), Element("a\nb\0")]
