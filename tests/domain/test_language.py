"""The language of questions."""

from __future__ import annotations

import pytest

from candide.domain.language import tell_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Quelle est la capitale de la France ?", "fr"),
        ("Qui es-tu ? Réponds en une phrase.", "fr"),
        ("¿Cuál es la capital de España?", "es"),
        ("Was ist die Hauptstadt von Österreich?", "de"),
        ("What is the capital of Italy?", "en"),
        ("Pourquoi Sam Altman a-t-il été licencié ?", "fr"),
        ("Que dit Microsoft ?", "fr"),
        ("Ou trouve t il du réconfort?", "fr"),
        ("Why was Sam Altman dismissed?", "en"),
        ("巴黎在哪里？", ""),
        ("", ""),
    ],
)
def test_the_language_of_a_question_is_told_by_its_small_words(text: str, language: str) -> None:
    assert tell_language(text) == language
