from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candide.domain.sources import Document, Section
from candide.ingestion import passages
from candide.ingestion.extraction.markdown import read_markdown
from candide.ingestion.passages import split

LINES = st.sampled_from([
    "# A heading", "## Under it", "### Deeper", "A sentence. Another one! Is this a third? M. Dupont says so.", "- an item", "",
    "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |", "中文字符测试。这是第二句！", "word " * 300, "x" * 4000, "é́́" * 50, "漢字" * 400, "1. one", "   ",
])  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Texts of any characters, with headings and pages anywhere in them."""
    text = draw(st.one_of(st.text(max_size=400), st.lists(LINES, max_size=30).map("\n\n".join)))
    positions = st.integers(0, len(text))
    starts = sorted(draw(st.sets(positions, max_size=6)))
    sections = [
        Section(start, draw(st.integers(1, 5)), text[start : start + draw(st.integers(1, 20))])
        for start in starts
    ]
    pages = sorted(draw(st.lists(positions, max_size=5)))
    return Document(text=text, sections=sections, pages=[0, *pages] if pages else [])


@given(document=documents(), words=st.integers(3, 150))
@settings(max_examples=300, deadline=None)
def test_every_passage_is_a_span_of_the_text_and_together_they_hold_all_of_it(
    document: Document, words: int
) -> None:
    text = document.text
    end = 0
    for cut in split(document, words):
        assert cut.start >= end
        assert not text[end : cut.start].strip()
        assert text[cut.start : cut.end] == text[cut.start : cut.end].strip() != ""
        end = cut.end
    assert not text[end:].strip()


@given(document=documents(), words=st.integers(20, 150))
@settings(max_examples=300, deadline=None)
def test_no_passage_is_much_larger_than_asked_for(document: Document, words: int) -> None:
    for cut in split(document, words):
        part = document.text[cut.start : cut.end]
        # Headings, which stay with what stands under them, come on top.
        assert len(part.split()) <= words * 2 + 60
        assert len(part) <= words * passages.CHARACTERS_A_WORD * 2 + 800


@given(document=documents())
@settings(max_examples=200, deadline=None)
def test_no_passage_goes_beyond_a_page(document: Document) -> None:
    for cut in split(document):
        for number, start in enumerate(document.pages, 1):
            assert not cut.start < start < cut.end
            if start <= cut.start:
                assert cut.page is not None
                assert cut.page >= number


@given(lines=st.lists(LINES, max_size=40))
@settings(max_examples=100, deadline=None)
def test_an_outer_heading_begins_a_passage(lines: list[str]) -> None:
    document = read_markdown("\n\n".join(lines))
    starts = {cut.start for cut in split(document)}
    previous_end = -1
    for section in document.sections:
        assert document.text[section.start :].startswith(section.heading)
        if section.level <= 2 and document.text[max(previous_end, 0) : section.start].strip():
            assert section.start in starts
        previous_end = section.start + len(section.heading)


def test_passages_stand_under_their_headings() -> None:
    document = read_markdown(
        "# Garden\n\nIntro.\n\n## Trees\n\nOaks grow.\n\n### Care\n\nWater them.\n\n## Beds\n\nRoses."
    )
    found = [(cut.headings, document.text[cut.start : cut.end]) for cut in split(document)]
    assert found == [
        ("Garden", "Garden\n\nIntro."),
        ("Garden › Trees", "Trees\n\nOaks grow.\n\nCare\n\nWater them."),
        ("Garden › Beds", "Beds\n\nRoses."),
    ]


def test_a_heading_goes_with_what_stands_under_it() -> None:
    body = "Some words make up this sentence here. " * 14
    document = read_markdown(f"# Top\n\n{body}\n\n### Inner\n\n{body}")
    parts = [document.text[cut.start : cut.end] for cut in split(document)]
    assert len(parts) == 2
    assert parts[1].startswith("Inner\n\nSome")


def test_passages_end_with_sentences() -> None:
    sentence = "Le conseil d'administration, que dirigeait M. Dupont, a voté à 15 h. 30 sans un mot. "
    document = Document(text=(sentence * 60).strip())
    cuts = split(document)
    assert len(cuts) > 5
    assert all(document.text[cut.start : cut.end].endswith("mot.") for cut in cuts)
    assert all(60 <= len(document.text[cut.start : cut.end].split()) <= 130 for cut in cuts[:-1])


def test_rows_of_a_table_stay_whole() -> None:
    rows = "\n".join(f"row {index} | the first cell | and the second of them" for index in range(200))
    document = Document(text=rows)
    for cut in split(document):
        part = document.text[cut.start : cut.end]
        assert all(
            re.fullmatch(r"row \d+ \| the first cell \| and the second of them", line)
            for line in part.split("\n")
        )


def test_a_text_without_spaces_is_cut_between_characters() -> None:
    document = Document(text="東京都は日本の首都である" * 300)
    cuts = split(document)
    assert 10 < len(cuts) < 25
    assert "".join(document.text[cut.start : cut.end] for cut in cuts) == document.text


def test_a_mark_is_not_cut_from_its_letter() -> None:
    document = Document(text="e\u0301" * 20_000)
    assert all(document.text[cut.start] == "e" for cut in split(document))


@pytest.mark.parametrize(
    "piece", ["lorem ipsum ", "x", "中文字符。", "a b\n", ". ", "ab. cd\n\n", " | ", "\n ", "M. ", "- a\n"]
)
def test_a_text_of_one_thing_over_and_over_is_cut_too(piece: str) -> None:
    # Where the time grew with the square of the length, this would not end.
    text = f"z{piece * (400_000 // len(piece))}z"
    cuts = split(Document(text=text))
    assert "".join("".join(text[cut.start : cut.end].split()) for cut in cuts) == "".join(text.split())


def test_a_document_without_text_has_no_passages() -> None:
    assert split(Document(text="")) == []
    assert split(Document(text=" \n\n ")) == []
