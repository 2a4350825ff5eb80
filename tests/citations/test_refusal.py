"""That the sources do not say is said in many languages, and told from statements."""

from __future__ import annotations

import pytest

from candide.citations.refusal import LANGUAGES, is_refusal, say_silence


def test_silence_has_many_languages_each_its_own() -> None:
    assert len(LANGUAGES) >= 20
    assert len({say_silence(language) for language in LANGUAGES}) >= len(LANGUAGES) - 1
    assert all(is_refusal(say_silence(language)) for language in LANGUAGES)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("fr", "Les sources ne le disent pas."),
        ("fr-CA", "Les sources ne le disent pas."),
        ("EN_us", "The sources do not say."),
        ("", "The sources do not say."),
        ("tlh", "The sources do not say."),
        ("nb", "Kildene sier det ikke."),
    ],
)
def test_silence_is_said_in_the_language_asked_for(language: str, expected: str) -> None:
    assert say_silence(language) == expected


@pytest.mark.parametrize(
    "sentence",
    [
        "Les sources ne mentionnent pas la date de sa naissance.",
        "Aucune des sources fournies ne répond à la question.",
        "Les documents ne contiennent pas cette information.",
        "Je ne sais pas.",
        "Je ne trouve pas la réponse dans les sources.",
        "Il n'y a pas d'information à ce sujet dans les passages fournis.",
        "Ce n'est pas précisé dans le texte.",
        "The sources do not say who painted it.",
        "The provided sources don't mention a date.",
        "None of the sources answers the question.",
        "I cannot find the answer in the sources.",
        "There is no information about that in the passages.",
        "It is not stated in the documents.",
        "Las fuentes no mencionan la fecha.",
        "Ninguna de las fuentes responde a la pregunta.",
        "Die Quellen enthalten keine Angaben dazu, sie sagen nichts.",
        "Keine der Quellen nennt das Datum.",
        "**The sources do not say.**",
    ],
)
def test_a_refusal_is_known(sentence: str) -> None:
    assert is_refusal(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "La tour Eiffel mesure 330 m.",
        "Le roi ne voulait pas la guerre.",
        "The president did not sign the treaty.",
        "The sources say that it opened in 1793.",
        "Selon les sources, elle mesure 330 m.",
        "The sources do not give a date, but it was painted by his brother in Rome.",
        "Les sources ne donnent pas la date, mais il est né à Lyon en mai.",
        "El museo no abre los martes.",
        "Das Museum ist dienstags nicht geöffnet.",
        "",
    ],
)
def test_a_statement_is_none(sentence: str) -> None:
    assert not is_refusal(sentence)
