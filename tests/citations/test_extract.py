"""An extract holds sentences of the sources word for word, with their spans."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from candide.citations.extract import LONGEST, Extract, extract
from candide.citations.marks import find_marks
from candide.domain.sources import NumberedSource, Passage


def sources(*texts: str) -> list[NumberedSource]:
    return [
        NumberedSource(
            number=at,
            id=f"s{at}",
            uri=f"s{at}",
            title="",
            passages=[Passage(id=at, source_id=f"s{at}", start=at * 9, end=at * 9 + len(text), text=text)],
        )
        for at, text in enumerate(texts, start=1)
    ]


EIFFEL = "Paris est la capitale de la France. La tour Eiffel mesure 330 m\nde hauteur. Elle plaît beaucoup aux visiteurs."
LOUVRE = "The Louvre opened in 1793. It is the most-visited museum in the world."


def collapse(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()


def assert_exact(outcome: Extract, shown: list[NumberedSource]) -> None:
    at = 0
    for sentence in outcome.sentences:
        assert at <= sentence.start < sentence.end <= len(outcome.text)
        assert outcome.text[sentence.start : sentence.end] == sentence.text
        assert sentence.support == "quoted"
        at = sentence.end
        (citation,) = sentence.citations
        (passage,) = next(source.passages for source in shown if source.number == citation.number)
        assert passage.text[citation.start - passage.start : citation.end - passage.start] == citation.quote
        assert collapse(citation.quote) in collapse(passage.text)
        assert collapse(sentence.text) == f"« {collapse(citation.quote)} » [{citation.number}]"
        assert [mark.number for mark in find_marks(sentence.text, [s.number for s in shown])] == [
            citation.number
        ]


def test_the_sentence_that_answers_best_comes_first() -> None:
    shown = sources(LOUVRE, EIFFEL)
    outcome = extract("Quelle est la hauteur de la tour Eiffel ?", shown, limit=2)
    assert outcome.text.startswith("« La tour Eiffel mesure 330 m de hauteur. » [2]")
    assert_exact(outcome, shown)


def test_there_are_no_more_than_asked_for_and_no_two_alike() -> None:
    shown = sources(
        *[f"La tour Eiffel numéro {at} plaît." for at in "abcdef"], *["La tour Eiffel mesure 330 m."] * 3
    )
    outcome = extract("La tour Eiffel", shown, limit=3)
    assert len(outcome.sentences) == len({sentence.citations[0].quote for sentence in outcome.sentences}) == 3


def test_where_no_word_is_common_the_best_passage_speaks() -> None:
    outcome = extract("Wer hat das gemalt?", sources(EIFFEL, LOUVRE), limit=1)
    assert outcome.sentences[0].citations[0].number == 1


def test_headings_and_fragments_are_no_sentences() -> None:
    heading = "La hauteur de la tour Eiffel de Paris"
    outcome = extract(
        "La hauteur de la tour Eiffel ?", sources(f"{heading}\n\n{EIFFEL}\n\nTour Eiffel, hauteur.")
    )
    assert [one.citations[0].quote for one in outcome.sentences] == [
        "La tour Eiffel mesure 330 m\nde hauteur."
    ]


def test_words_of_one_origin_and_numbers_tie_a_question_to_sources_of_another_language() -> None:
    shown = sources("Er kreist langsam um seine Sonne. Im Jahr 1871 fiel die Temperatur des Planeten stark.")
    for question in ("How did the temperature change?", "What happened in 1871?"):
        assert extract(question, shown).text.startswith("« Im Jahr 1871")


def test_nothing_is_extracted_from_nothing() -> None:
    assert extract("Quoi ?", []) == Extract("", [])
    assert extract("Quoi ?", sources("", " \n ")) == Extract("", [])


def test_what_markdown_would_read_is_not_shown() -> None:
    outcome = extract(
        "What is the answer?",
        sources(
            "The answer is ![x](https://evil.example/?q). The answer is `code`. The answer stands in [3]. "
            + "answer " * LONGEST
        ),
    )
    assert outcome.sentences == []


@given(st.text(max_size=40), st.lists(st.text(max_size=120), max_size=4), st.integers(1, 4))
def test_spans_are_exact_whatever_the_sources_hold(question: str, texts: list[str], limit: int) -> None:
    shown = sources(*texts)
    outcome = extract(question, shown, limit=limit)
    assert len(outcome.sentences) <= limit
    assert_exact(outcome, shown)
