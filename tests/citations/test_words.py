"""What of a text tells its language."""

from __future__ import annotations

import pytest

from candide.citations.words import find_words, tell_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("L’empereur lui octroya le titre de Gourou de Zhengyi (正一教主) et la faveur de la cour.", "fr"),
        ("The emperor gave him the title of Guru of Zhengyi (正一教主), and the favour of the court.", "en"),
        ("OpenAI 的首席执行官 Sam Altman 被董事会解雇。", "zh"),
        ("東京タワーは 1958 年に完成した。", "ja"),
        ("Москва (Moscow) является столицей России.", "ru"),
        ("Kermor 1874", ""),
    ],
)
def test_a_name_in_another_script_does_not_make_the_language(text: str, language: str) -> None:
    assert tell_language(find_words(text), text) == language
