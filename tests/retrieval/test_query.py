"""Queries as people type them: operators, phrases, dates; nothing that is typed is an error."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.domain.retrieval import Filters
from candide.retrieval.dates import read_date
from candide.retrieval.query import Query, explain_operator, parse_query

NOW = datetime(2024, 6, 15, 13, 30, tzinfo=UTC).timestamp()


def at(year: int, month: int = 1, day: int = 1) -> float:
    return datetime(year, month, day, tzinfo=UTC).timestamp()


def parse(typed: str) -> Query:
    libraries = {"Presse": "lib_1", "ma biblio": "lib_2"}
    return parse_query(typed, now=NOW, find_library=libraries.get)


def test_words_are_left_as_they_are() -> None:
    assert parse("  Qui dirige  OpenAI ? ") == Query(text="Qui dirige OpenAI ?")


@pytest.mark.parametrize(
    "typed",
    [
        "site:lemonde.fr after:2024-05 inflation",
        "inflation after:2024-05 site:www.lemonde.fr",
        "inflation après:mai 2024 site:https://www.lemonde.fr/economie/",
        'after:"mai 2024" inflation SITE:LeMonde.fr',
        "depuis:mai-2024 site:lemonde.fr, inflation",
        "since:May 2024 inflation site:lemonde.fr:443",
    ],
)
def test_operators_stand_anywhere_and_are_written_in_french_or_english(typed: str) -> None:
    asked = parse(typed)
    assert asked.text == "inflation"
    assert asked.filters == Filters(sites=("lemonde.fr",), after=at(2024, 5))
    assert asked.ignored == ()


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("2024", at(2024)),
        ("2024-05", at(2024, 5)),
        ("2024-05-17", at(2024, 5, 17)),
        ("17/05/2024", at(2024, 5, 17)),
        ("05/2024", at(2024, 5)),
        ("17.5.2024", at(2024, 5, 17)),
        ("mai 2024", at(2024, 5)),
        ("17 mai 2024", at(2024, 5, 17)),
        ("1er août 2023", at(2023, 8)),
        ("May 2024", at(2024, 5)),
        ("May 17, 2024", at(2024, 5, 17)),
        ("Sept. 2023", at(2023, 9)),
        ("Février 2024", at(2024, 2)),
        ("hier", at(2024, 6, 14)),
        ("yesterday", at(2024, 6, 14)),
        ("aujourd’hui", at(2024, 6, 15)),
        ("avant-hier", at(2024, 6, 13)),
        ("7 days", at(2024, 6, 8)),
        ("7 jours", at(2024, 6, 8)),
        ("7d", at(2024, 6, 8)),
        ("last week", at(2024, 6, 8)),
        ("la semaine dernière", at(2024, 6, 8)),
        ("2024-13", None),
        ("30/02/2024", None),
        ("demain", None),
        ("d", None),
        ("", None),
    ],
)
def test_dates_are_read_in_both_languages(typed: str, moment: float | None) -> None:
    assert read_date(typed, NOW) == moment


def test_of_several_dates_the_narrower_holds() -> None:
    filters = parse("after:2020 after:2022 before:2024 before:2023-06 x").filters
    assert (filters.after, filters.before) == (at(2022), at(2023, 6))


def test_a_date_ends_where_the_sentence_goes_on() -> None:
    asked = parse("after:2024, en France")
    assert (asked.text, asked.filters.after) == ("en France", at(2024))
    asked = parse("before:hier inflation en mai 2023")
    assert (asked.text, asked.filters.before) == ("inflation en mai 2023", at(2024, 6, 14))


def test_phrases_stand_in_any_quotation_marks_and_are_looked_for_as_words_too() -> None:
    asked = parse('"to be or" x « ne pas être » “that is” „die Frage“')
    assert asked.phrases == ("to be or", "ne pas être", "that is", "die Frage")
    assert asked.text == "to be or x ne pas être that is die Frage"


def test_a_minus_excludes_words_and_phrases_but_not_numbers_or_parts_of_words() -> None:
    asked = parse('Jean-Pierre -gaz -"gaz naturel" -5 degrés -- --flag - x')
    assert asked.without == ("gaz", "gaz naturel")
    assert asked.text == "Jean-Pierre -5 degrés -- --flag - x"


def test_libraries_languages_and_types_are_named() -> None:
    asked = parse('library:Presse bibliothèque:"ma biblio" lang:français langue:en type:pdf,word x')
    assert asked.text == "x"
    assert asked.filters.libraries == ("lib_1", "lib_2")
    assert asked.filters.languages == ("fr", "en")
    assert asked.filters.media_types == (
        "application/pdf",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    )


def test_an_operator_that_means_nothing_is_a_word_and_is_told() -> None:
    asked = parse("library:none after:soon type:nothing lang:? site:")
    assert asked.filters == Filters()
    assert asked.text == "library:none after:soon type:nothing lang:? site:"
    assert asked.ignored == ("library:none", "after:soon", "type:nothing", "lang:?")
    right = [explain_operator(written) for written in asked.ignored]
    assert all(hint in said for hint, said in zip(("library:", "after:", "pdf", "lang:"), right, strict=True))


@pytest.mark.parametrize(
    "typed",
    ["à 20:30", "https://lemonde.fr/a", "note: un mot", "Voici mon site: comment l'améliorer ?", "std::move"],
)
def test_a_colon_alone_makes_no_operator(typed: str) -> None:
    assert parse(typed) == Query(text=typed)


PIECES = st.one_of(
    st.sampled_from(
        ['"', "«", "»", "“", "-", "site:", "after:", "before:", "lang:", "library:", "type:", "2024", "mai", " ", ",",
         "hier", "-\"", "après:", "\u00a0", "\u0000", "İ", "ﬁ", "e\u0301"]
    ),
    st.text(max_size=8),
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
def test_nothing_that_is_typed_is_an_error_and_no_word_is_lost(typed: str) -> None:
    asked = parse_query(typed, now=NOW, find_library=lambda name: f"lib_{name}")
    kept = " ".join([asked.text, *asked.without])
    for word in typed.split():
        # Whatever has neither a mark nor a colon was either a word or part of an operator's value.
        if word.isalnum() and ":" not in typed and not any(mark in typed for mark in '"«»“”„'):
            assert word in kept
    assert parse_query(typed, now=NOW) == parse_query(typed, now=NOW)


@given(st.text(alphabet="0123456789-/. abcdefghijklmnopqrstuvwxyzûé", max_size=20), st.floats(0, 4e9))
def test_a_date_is_a_moment_or_none(text: str, now: float) -> None:
    moment = read_date(text, now)
    assert moment is None or moment == moment // 86400 * 86400
