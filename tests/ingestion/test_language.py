from __future__ import annotations

import pytest

from candide.ingestion.language import detect

TEXTS = {
    "fr": "Le conseil d'administration de l'entreprise a décidé de renvoyer son directeur sans préavis.",
    "en": "The board of directors decided to dismiss the managing director without any notice at all.",
    "de": "Der Aufsichtsrat hat beschlossen, den Geschäftsführer ohne jede Vorwarnung zu entlassen.",
    "es": "El consejo de administración decidió despedir al director general sin previo aviso.",
    "ru": "Совет директоров решил уволить генерального директора без предупреждения.",
    "ja": "取締役会は予告なしに最高経営責任者を解任することを決定した。",
    "zh": "董事会决定在没有任何预先通知的情况下解雇首席执行官。",
    "ar": "قرر مجلس الإدارة إقالة المدير العام دون أي إنذار مسبق.",
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_language_is_told(language: str) -> None:
    assert detect(TEXTS[language]) == language


@pytest.mark.parametrize("language", TEXTS)
def test_what_is_said_does_not_stand_against_a_clear_text(language: str) -> None:
    wrong = "en" if language != "en" else "fr"
    assert detect(TEXTS[language] * 3, hint=wrong) == language


def test_what_is_said_stands_for_a_text_that_says_little() -> None:
    assert detect("Sam Altman", hint="fr") == "fr"
    assert detect("Qui est Sam Altman ?", hint="fr-FR") == "fr"
    assert detect("42", hint="de") == "de"


def test_nothing_is_said_of_a_text_without_words() -> None:
    assert detect("") == ""
    assert detect("12 345 + 67 = ?") == ""
    assert detect("12 345", hint="nonsense") == ""


def test_the_middle_of_a_text_counts_too() -> None:
    notice = "Reproduction prohibited without written permission. " * 10
    assert detect(notice + TEXTS["fr"] * 400) == "fr"
