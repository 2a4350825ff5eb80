"""Sentences have exact spans, keep their marks and quotations, and code is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.citations.scan import scan
from candide.citations.sentences import split, split_prose

PIECES = [
    "Il pleut", "It rains", ". ", "! ", "? ", "... ", ".", " [1]", "[2] ", "« Bon. Oui. »", "“Yes. No.”", '"', " ", "\n", "\n\n", "- ", "1. ", "# ", "> ",
    "| a | b |\n", "|---|---|\n", "```\n", "`a. B`", "M. ", "J. Dupont", "3,5", "1.5", "am 3. Oktober", "。", "雨です", "»", "«", "\u00a0",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


def sentences(text: str) -> list[str]:
    return [text[span.start : span.end] for span in split(text)]


@given(texts | st.text(max_size=80))
def test_spans_are_in_order_apart_and_without_space_at_their_ends(text: str) -> None:
    at = 0
    for span in split(text):
        assert at <= span.start < span.end <= len(text)
        sentence = text[span.start : span.end]
        assert sentence == sentence.strip()
        at = span.end


@given(texts)
def test_no_mark_is_cut_and_each_outside_of_blocks_is_in_one_sentence(text: str) -> None:
    spans = split(text)
    for token in scan(text):
        if token.kind == "bracket":
            holding = [span for span in spans if span.start < token.end and token.start < span.end]
            assert [span.start <= token.start and token.end <= span.end for span in holding] == [True]


@given(texts)
def test_code_is_no_sentence(text: str) -> None:
    for token in scan(text):
        if token.kind == "block":
            assert not any(s.start < token.end and token.start < s.end for s in split(text))


@given(texts | st.text(max_size=80))
def test_plain_sentences_lose_no_letter(text: str) -> None:
    kept = "".join(text[start:end] for start, end in split_prose(text))
    assert [c for c in kept if c.isalnum()] == [c for c in text if c.isalnum()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Il pleut. Il neige.", ["Il pleut.", "Il neige."]),
        ("Il pleut [1]. Il neige [2].", ["Il pleut [1].", "Il neige [2]."]),
        ("Il pleut. [1] Il neige. [2][3]", ["Il pleut. [1]", "Il neige. [2][3]"]),
        ("Il pleut.[1] Il neige.[2]", ["Il pleut.[1]", "Il neige.[2]"]),
        ("Il pleut.\n[1]\n\nIl neige.", ["Il pleut.\n[1]", "Il neige."]),
        ("Il pleut.\n\n[1]", ["Il pleut.\n\n[1]"]),
        ("M. Dupont habite ici. Mme Durand aussi.", ["M. Dupont habite ici.", "Mme Durand aussi."]),
        ("J. R. R. Tolkien wrote it. It sold.", ["J. R. R. Tolkien wrote it.", "It sold."]),
        ("He lives in the U.S. It is big.", ["He lives in the U.S.", "It is big."]),
        ("The U.S. President spoke.", ["The U.S. President spoke."]),
        ("En 52 av. J.-C. César gagne.", ["En 52 av. J.-C.", "César gagne."]),
        ("Born c. 1500, e.g. Smith.", ["Born c. 1500, e.g. Smith."]),
        ("Elle pèse 3.5 kg. Lui 1,5.", ["Elle pèse 3.5 kg.", "Lui 1,5."]),
        ("Am 3. Oktober war es so. Gut.", ["Am 3. Oktober war es so.", "Gut."]),
        ("Voir p. 12. Puis vol. 3.", ["Voir p. 12.", "Puis vol. 3."]),
        ("Il dit : « Je viens. Tu pars. » Puis il sort.", ["Il dit : « Je viens. Tu pars. »", "Puis il sort."]),
        ("« Je viens ! » dit-il. Elle sort.", ["« Je viens ! » dit-il.", "Elle sort."]),
        ("He said “I come. You go.” [1] Then left.", ["He said “I come. You go.” [1]", "Then left."]),
        ('He said "I come. You go." Then left.', ['He said "I come. You go."', "Then left."]),
        ("- Un. Deux.\n- Trois", ["Un.", "Deux.", "Trois"]),
        ("1. Un\n2. Deux [1]", ["Un", "Deux [1]"]),
        ("# Titre\nTexte.", ["Titre", "Texte."]),
        ("Il pleut\nsur la ville.", ["Il pleut\nsur la ville."]),
        ("> Il pleut.\n> Il neige.", ["Il pleut.", "Il neige."]),
        ("| A | B |\n|---|---|\n| 1 | 2 [1] |", ["A | B", "1 | 2 [1]"]),
        ("Avant.\n```\ncode. Code.\n```\nAprès.", ["Avant.", "Après."]),
        ("Use `a. B` now. Done.", ["Use `a. B` now.", "Done."]),
        ("雨です。雪です。[1]", ["雨です。", "雪です。[1]"]),
        ("¿Llueve? ¡Sí!", ["¿Llueve?", "¡Sí!"]),
        ("Vraiment ? Oui !", ["Vraiment ?", "Oui !"]),
        ("Il pleut… Il neige.", ["Il pleut…", "Il neige."]),
        ("Yahoo! is old. Yes.", ["Yahoo! is old.", "Yes."]),
        ("[1] Il pleut.", ["[1] Il pleut."]),
        ("---\nOui.", ["Oui."]),
        ("", []),
    ],
)  # fmt: skip
def test_where_sentences_end(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_headings_rows_and_quoted_blocks_are_told_apart() -> None:
    text = "# T\n\n| A | B |\n|---|---|\n| 1 | 2 |\n\n> Oui.\n\nNon."
    assert [span.kind for span in split(text)] == ["heading", "heading", "row", "quote", "prose"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Un titre\nUne phrase. Une autre", ["Un titre", "Une phrase.", "Une autre"]),
        ("La tour mesure\n330 m\nde hauteur.", ["La tour mesure", "330 m\nde hauteur."]),
        ("Une phrase\n\nsans fin", ["Une phrase", "sans fin"]),
        ("Die 3. Oktober-Feier\r\nEnde", ["Die 3. Oktober-Feier", "Ende"]),
        (" \n ", []),
    ],
)
def test_lines_of_plain_text(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in split_prose(text)] == expected
