"""Numbers and dates are the same however they are written, and only then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.citations.numerals import find_numerals, held_keys


def bears_out(source: str, claim: str) -> bool:
    held = held_keys(find_numerals(source))
    wanted = find_numerals(claim)
    assert wanted
    return all(not numeral.keys.isdisjoint(held) for numeral in wanted)


@pytest.mark.parametrize(
    ("source", "claim"),
    [
        ("1 234,5 km", "1,234.5 km"),
        ("1.234,5 km", "1\u202f234,5 km"),
        ("8,900,000 visitors", "8,9 millions de visiteurs"),
        ("8.9 million", "8 900 000"),
        ("2 milliards", "2 billion"),
        ("12 %", "12 percent"),
        ("12,5 pour cent", "12.5%"),
        ("12 %", "12"),
        ("trois tours", "3 tours"),
        ("seventeen", "dix-sept"),
        ("au XIXe siècle", "in the 19th century"),
        ("siglo XX", "20th century"),
        ("Louis XIV", "Ludwig 14."),
        ("le 14 juillet 1789", "July 14, 1789"),
        ("1789-07-14", "14 July 1789"),
        ("14/07/1789", "14 de julio de 1789"),
        ("am 3. Oktober 1990", "3 octobre 1990"),
        ("le 3 mars 1998", "mars 1998"),
        ("à 14h30", "at 14:30"),
        ("the third man", "le troisième homme"),
    ],
)
def test_what_is_the_same(source: str, claim: str) -> None:
    assert bears_out(source, claim)


@pytest.mark.parametrize(
    ("source", "claim"),
    [
        ("1 234,5 km", "1 234,6 km"),
        ("8.9 million", "8.9 billion"),
        ("12 personnes", "12 %"),
        ("le 14 juillet 1789", "le 15 juillet 1789"),
        ("le 14 juillet 1789", "14 June 1789"),
        ("XIXe siècle", "20th century"),
        ("COVID-19", "19 cas"),
        ("14h30", "14h45"),
        ("12", "1"),
    ],
)
def test_what_is_not(source: str, claim: str) -> None:
    assert not bears_out(source, claim)


@pytest.mark.parametrize(
    "text", ["Le chat", "De plus", "Ce DVD", "COVID-19", "F-16", "(1) first", "le mixeur", "MIX"]
)
def test_what_is_no_number(text: str) -> None:
    assert [n for n in find_numerals(text) if not n.is_word] == []


@given(st.integers(0, 10**9), st.sampled_from([",", ".", " ", "\u202f", "'"]))
def test_every_grouping_of_an_integer_is_that_integer(number: int, sign: str) -> None:
    assert bears_out(str(number), f"{number:,}".replace(",", sign))


@given(st.text(max_size=60))
def test_spans_are_within_the_text_and_do_not_overlap(text: str) -> None:
    at = 0
    for numeral in find_numerals(text):
        assert at <= numeral.start < numeral.end <= len(text)
        assert numeral.keys
        at = numeral.end
