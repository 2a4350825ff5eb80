"""The compared form makes typography equal, keeps letters, and leads back to the original exactly."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.citations.normalise import normalise

texts = st.text(max_size=60) | st.lists(
    st.sampled_from(
        ["é", "e\u0301", "  ", "\n", "\u00a0", "\u202f", "« ", " »", "“", "”", "’", "ﬁ", "…", "ß", "İ", "Σ", "ΐ", "A", "b", " ", " !", "½", "\u00ad", "한", "\u1112\u1161", "–", "か\u3099", "Ⅳ"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@given(texts, st.booleans(), st.data())
def test_a_span_of_the_compared_form_leads_to_what_it_came_of(
    text: str, fold: bool, data: st.DataObject
) -> None:
    normal = normalise(text, fold_case=fold)
    if not normal.text:
        return
    start = data.draw(st.integers(0, len(normal.text) - 1))
    end = data.draw(st.integers(start + 1, len(normal.text)))
    first, last = normal.span(start, end)
    assert 0 <= first < last <= len(text)
    # What the span covers compares as the span does, or as more where characters of it came of one.
    again = normalise(text[first:last], fold_case=fold).text
    assert normal.text[start:end].strip() in again


@given(texts)
def test_spans_cover_the_text_in_its_order(text: str) -> None:
    normal = normalise(text)
    spans = [normal.span(at, at + 1) for at in range(len(normal.text))]
    assert spans == sorted(spans)
    covered = {place for first, last in spans for place in range(first, last)}
    lost = [text[place] for place in range(len(text)) if place not in covered]
    assert all(
        sign.isspace()
        or unicodedata.category(sign) in ("Cf", "Mn")
        or not unicodedata.normalize("NFKC", sign).strip()
        for sign in lost
    )


@given(st.text("abc éÀñ,.;'\"!?-1", max_size=80))
def test_plain_text_keeps_every_letter(text: str) -> None:
    normal = normalise(text)
    assert normal.text.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("l’été", "l'e\u0301te\u0301"),
        ("« Bonjour »", "“Bonjour”"),
        ("«\u00a0Bonjour\u202f!\u00a0»", '"Bonjour!"'),
        ("a  b\n\tc", "a b c"),
        ("10\u202f%", "10%"),
        ("1914–1918", "1914-1918"),
        ("ﬁn…", "fin..."),
        ("co\u00adopérer", "coopérer"),
        (" x ", "x"),
    ],
)
def test_what_typography_varies_is_equal(one: str, other: str) -> None:
    assert normalise(one).text == normalise(other).text


@pytest.mark.parametrize(("one", "other"), [("été", "ete"), ("Paris", "paris"), ("5", "6"), ("a b", "ab")])
def test_letters_are_not_made_equal(one: str, other: str) -> None:
    assert normalise(one).text != normalise(other).text


def test_case_is_folded_on_request() -> None:
    assert normalise("STRAßE ÉTÉ Σ", fold_case=True).text == "strasse été σ"


def test_the_way_back_of_a_quotation() -> None:
    text = "Il a dit\u00a0: «\u00a0Je  viens\u202f!\u00a0»"
    normal = normalise(text)
    at = normal.text.index("Je viens!")
    first, last = normal.span(at, at + len("Je viens!"))
    assert text[first:last] == "Je  viens\u202f!"
