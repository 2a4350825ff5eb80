"""Messages are found by their words in any language; what is marked in a snippet is what was asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from candide.domain.folding import WORD, fold
from candide.store.words import SNIPPET_CHARS, cut_snippet, forget_message, index_messages

if TYPE_CHECKING:
    from conftest import Store

TEXTS = [
    "Où est la bibliothèque de l'école élémentaire ?",
    "I would like to visit 東京タワー and 京都 tomorrow",
    "我们明天去北京图书馆看书",
    "هل تعرف أين المكتبة الوطنية",
    "สวัสดีครับ ห้องสมุดอยู่ที่ไหน",
    "도서관은 어디에 있습니까",
    "Straße nach München, über Köln",
    "see example.com/path?x=1 or mail me@example.org, version 3.14-rc1, foo-bar_baz",
    "हिन्दी में पुस्तकालय",
    "Ποῦ εἶναι ἡ βιβλιοθήκη",
]


CASES: list[tuple[str, int | None]] = [
    ("bibliotheque", 0), ("BIBLIOTHÈQUE", 0), ("bibliothe\u0300que", 0), ("biblio", 0), ("ecole elem", 0), ("l'école", 0),
    ('"la bibliothèque de"', 0), ("東京", 1), ("タワー", 1), ("京都 visit", 1), ("图书馆", 2), ("明天", 2), ("المكتبة", 3),
    ("المكت", 3), ("ห้องสมุด", 4), ("도서관", 5), ("도서", 5), ("strasse", 6), ("STRASSE", 6), ("munchen koln", 6),
    ("example", 7), ("example.com", 7), ("path", 7), ("3.14", 7), ("rc1", 7), ("bar", 7), ("foo-bar", 7), ("me@example.org", 7),
    ("पुस्तकालय", 8), ("βιβλιοθηκη", 9),
    ("bibliothèque tokyo", None), ("iotheque", None), ('"bibliothèque la"', None), ("京東", None), ("图看", None), ("oops", None),
]  # fmt: skip


async def test_words_are_found_in_many_languages(library: Store) -> None:
    for query, found in CASES:
        results = await library.conversations.search(query, 10)
        texts = [TEXTS[int(r.conversation_title)] for r in results]
        assert texts == ([] if found is None else [TEXTS[found]]), query
        asked = "".join(fold(query).split())
        for result in results:
            assert result.highlights, query
            for a, b in result.highlights:
                marked = re.findall(r"[^\W_]+", fold(result.snippet[a:b]))
                assert "".join(marked) in re.sub(r"[\W_]", "", asked), query


@pytest.fixture
async def library(store: Store) -> Store:
    for number, text in enumerate(TEXTS):
        chat = await store.conversations.create(title=str(number))
        await store.turns.accept(chat, text=text)
    return store


async def test_nothing_is_found_by_a_query_without_words_and_no_syntax_is_obeyed(library: Store) -> None:
    for query in ("", " ", '"', '""', "*", "()", "'", ";--", "\u202e", "😀", "%", "{", "&|!:*"):
        assert await library.conversations.search(query, 10) == []
    for query in (
        "visit OR bibliotheque",
        "visit NOT tomorrow",
        "visit | école",
        "folded:visit",
        "NEAR(visit tomorrow)",
        "visit*x",
    ):
        assert await library.conversations.search(query, 10) == []
    for query in (
        "visit* tomorrow",
        "visit & tomorrow",
        "(visit) -tomorrow",
        "'visit' to_morrow"[:8],
        'visit "tomorrow',
    ):
        assert len(await library.conversations.search(query, 10)) == 1


async def test_the_newest_come_first_among_equals_and_no_more_than_asked_for(store: Store) -> None:
    turns = [await store.ask("the same words") for _ in range(5)]
    found = await store.conversations.search("same words", 3)
    assert [f.message_id for f in found] == [t.user_message_id for t in reversed(turns)][:3]


@pytest.mark.parametrize("text", ["hello world", "0\U0001b609", "\U0001b609"])
async def test_a_text_is_forgotten_also_where_the_database_knows_other_letters(
    store: Store, text: str
) -> None:
    async with store.database.write() as connection:
        await index_messages(connection, [("msg", text)])
    async with store.database.write() as connection:
        await forget_message(connection, "msg", text)
    async with store.database.read() as connection:
        left = await connection.execute(sa.text("SELECT count(*) FROM message_words"))
    assert left.scalar() == 0 or not WORD.search(fold(text))


async def test_deleted_conversations_do_not_crowd_out_the_others(store: Store) -> None:
    kept = await store.ask("needle")
    for _ in range(12):
        await store.conversations.delete((await store.ask("needle needle")).conversation_id)
    assert [f.message_id for f in await store.conversations.search("needle", 2)] == [kept.user_message_id]
    await store.conversations.delete(kept.conversation_id)
    assert await store.conversations.search("needle", 2) == []
    await store.conversations.restore(kept.conversation_id)
    assert len(await store.conversations.search("needle", 2)) == 1


async def test_a_text_of_any_size_can_be_saved_and_found(store: Store) -> None:
    words = " ".join(f"word{n}" for n in range(60_000))
    turn = await store.ask(f"beginning {words} {'x' * 5000}")
    assert [f.message_id for f in await store.conversations.search("beginning word17", 5)] == [
        turn.user_message_id
    ]


@given(st.text(max_size=500), st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=3))
def test_a_snippet_is_of_the_text_and_its_marks_lie_within_it(text: str, terms: list[str]) -> None:
    words = [fold(term).split() for term in terms]
    snippet, highlights = cut_snippet(text, [w for w in words if w] or [["x"]])
    assert snippet in text
    assert len(snippet) <= SNIPPET_CHARS
    last = 0
    for a, b in highlights:
        assert last <= a < b <= len(snippet)
        last = b


@given(
    st.lists(
        st.sampled_from(["élan", "Été", "des", "東京", "도서관", "ﬁn", "x" * 30]), min_size=1, max_size=80
    ),
    st.integers(0, 79),
)
def test_the_first_match_is_in_the_snippet_and_marked_exactly(words: list[str], at: int) -> None:
    text = " ".join([*words[:at], "Nädel", *words[at:]])
    snippet, highlights = cut_snippet(text, [["nadel"]])
    assert [snippet[a:b] for a, b in highlights] == ["Nädel"]


def test_marks_cover_whole_words_and_phrases_only() -> None:
    snippet, highlights = cut_snippet("cat category concat cat-nap", [["cat"], ["nap"]])
    assert [snippet[a:b] for a, b in highlights] == ["cat", "cat", "nap"]
    # The last word may be unfinished.
    snippet, highlights = cut_snippet("cat category concat", [["cat"]])
    assert [(a, snippet[a:b]) for a, b in highlights] == [(0, "cat"), (4, "cat")]
    snippet, highlights = cut_snippet("today to day, to-day", [["to", "day"]])
    assert [snippet[a:b] for a, b in highlights] == ["to day", "to-day"]
