"""What is said in a terminal of what an answer rests on."""

from __future__ import annotations

from candide.cli.grounding import say_grounding
from candide.domain.citations import Sentence
from candide.domain.grounding import Grounding
from candide.domain.sources import NumberedSource

SOURCES = [NumberedSource(number=1, id="src_1", uri="https://a.example/seine", title="La Seine")]
LINE = "[1] La Seine · https://a.example/seine"


def test_where_the_model_declined_the_nearest_sources_are_listed() -> None:
    declined = Grounding(sources=SOURCES, abstained=True, checked=True)
    assert say_grounding(declined, SOURCES) == ["the nearest sources:", LINE]


def test_sources_that_an_answer_neither_cites_nor_lacks_are_not_listed() -> None:
    sentence = Sentence(text="Bonjour.", start=0, end=8, support=None)
    assert say_grounding(Grounding(sources=SOURCES, sentences=[sentence], checked=True), SOURCES) == []


def test_the_nearest_that_stand_in_the_answer_itself_are_not_listed_again() -> None:
    silent = Grounding(sources=SOURCES, is_good=False, abstained=True, checked=True)
    assert say_grounding(silent, SOURCES) == []
