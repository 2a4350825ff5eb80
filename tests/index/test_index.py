"""What every index promises, on the embedded one and on PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from candide.domain.retrieval import Filters, PassageIndex, Positions, WordQuery
from candide.errors import StoreError

from .changes import DIMENSIONS, forget, make_change, make_vector, make_vectors
from .conftest import Opener

NO_FILTERS = Filters()


async def find(
    index: PassageIndex, text: str = "", filters: Filters = NO_FILTERS, **members: Any
) -> list[int]:
    """The ids of what is found by words, best first."""
    return [hit.passage_id for hit in await index.find_words(WordQuery(text=text, **members), filters, 20)]


async def find_near(
    index: PassageIndex, text: str, filters: Filters = NO_FILTERS, limit: int = 20
) -> list[int]:
    return [hit.passage_id for hit in await index.find_vector(make_vector(text), filters, limit)]


async def test_an_index_that_is_not_there_is_empty(index: PassageIndex) -> None:
    assert await index.positions() == Positions(0, 0)
    assert await find(index, "économie") == []
    assert await find_near(index, "économie") == []


async def test_passages_are_found_with_their_sources_and_positions_are_kept(open_index: Opener) -> None:
    writer, reader = open_index(), open_index()
    await writer.prepare(2, "m")
    changes = [
        make_change(1, "Le prix du pain augmente.", "Les boulangers protestent."),
        make_change(2, "Il neige."),
    ]
    await writer.add_words(changes)
    assert await reader.positions() == Positions(2, 0)
    hits = await reader.find_words(WordQuery(text="pain"), NO_FILTERS, 5)
    assert [(hit.passage_id, hit.source_id) for hit in hits] == [(10, "source_0001")]
    assert hits[0].score > 0
    await writer.add_vectors(changes, make_vectors(changes))
    assert await reader.positions() == Positions(2, 2)
    near = await reader.find_vector(make_vector("Il neige."), NO_FILTERS, 2)
    assert near[0].passage_id == 20
    assert near[0].source_id == "source_0002"
    assert near[0].score == pytest.approx(1.0, abs=0.001)
    assert len(near) == 2
    assert near[1].score < 0.9


async def test_taking_a_change_in_twice_does_no_harm(index: PassageIndex) -> None:
    await index.prepare(1, "m")
    changes = [make_change(1, "Une grève générale.")]
    for _ in range(2):
        await index.add_words(changes)
        await index.add_vectors(changes, make_vectors(changes))
    assert await find(index, "grève") == [10]
    assert await find_near(index, "Une grève générale.") == [10]


async def test_what_is_forgotten_or_replaced_is_not_found(index: PassageIndex) -> None:
    await index.prepare(4, "m")
    first = [make_change(1, "Ancien texte sur le vélo."), make_change(2, "Un autre texte.")]
    await index.add_words(first)
    await index.add_vectors(first, make_vectors(first))
    later = [make_change(3, "Nouveau texte sur le train.", number=5), forget(4, 1)]
    await index.add_words(later)
    await index.add_vectors(later, make_vectors(later))
    assert await find(index, "vélo") == []
    assert await find(index, "train") == [50]
    assert sorted(await find_near(index, "Ancien texte sur le vélo.")) == [20, 50]
    assert await index.positions() == Positions(4, 4)


async def test_words_and_vectors_work_without_each_other(open_index: Opener) -> None:
    index = open_index()
    await index.prepare(2, "m")
    changes = [make_change(1, "Le lac est gelé.")]
    await index.add_vectors(changes, make_vectors(changes))
    assert await find(index, "lac") == []
    assert await find_near(index, "lac") == [10]
    more = [make_change(2, "La rivière est haute.")]
    await index.add_words(more)
    assert await find(index, "rivière") == [20]
    assert await find_near(index, "rivière") == [10]


async def test_passages_without_a_vector_are_left_out(index: PassageIndex) -> None:
    await index.prepare(1, "m")
    changes = [make_change(1, "Le premier.", "Le second.")]
    await index.add_vectors(changes, {11: make_vector("Le second.")})
    assert await find_near(index, "Le premier.") == [11]
    assert (await index.positions()).vectors == 1


FORMS = [
    ("fr", "Les économies françaises ralentissent.", "economie"),
    ("fr", "L’Élysée a réagi aujourd'hui.", "elysee"),
    ("fr", "Il mange des chevaux.", "cheval"),
    ("fr", "Un cœur brisé.", "coeur"),
    ("fr", "e\u0301cole nationale", "école"),
    ("en", "The committees were voting.", "vote committee"),
    ("de", "Die Häuser an der Straße", "haus strasse"),
    ("es", "Las elecciones municipales", "elección"),
    ("ru", "Новые дороги города", "дорога"),
    ("ja", "東京都の天気は晴れです。", "天気"),
    ("zh", "北京大学今天开学", "大学"),
    ("", "日本語のテキスト", "テキスト"),
    ("xx", "Ein Text ohne Sprache", "sprache"),
    ("tr", "İstanbul'da yağmur", "istanbul'da"),
]


async def test_a_word_is_found_in_other_forms_and_spellings(index: PassageIndex) -> None:
    await index.prepare(len(FORMS))
    await index.add_words(
        [make_change(seq, text, language=language) for seq, (language, text, _) in enumerate(FORMS, 1)]
    )
    for seq, (language, _, query) in enumerate(FORMS, 1):
        assert await find(index, query, language=language) == [10 * seq], query


async def test_the_language_of_a_query_need_not_be_known(index: PassageIndex) -> None:
    await index.prepare(2)
    await index.add_words(
        [make_change(1, "Les chevaux mangent."), make_change(2, "Horses are eating.", language="en")]
    )
    assert await find(index, "cheval") == [10]
    assert await find(index, "horse eats") == [20]


async def test_phrases_must_stand_word_after_word(index: PassageIndex) -> None:
    await index.prepare(5)
    await index.add_words(
        [
            make_change(1, "Le président de la République a parlé."),
            make_change(2, "La République a un président."),
            make_change(3, "Rien ici.", title="Le président de la République"),
            make_change(4, "Rien là.", headings="Politique › Président de la République"),
            make_change(5, "中华人民共和国成立", language="zh"),
        ]
    )
    assert sorted(await find(index, phrases=("PRESIDENT de la republique",))) == [10, 30, 40]
    assert sorted(await find(index, "parlé", phrases=("président de la république",))) == [10, 30, 40]
    assert sorted(await find(index, phrases=("président",))) == [10, 20, 30, 40]
    assert await find(index, phrases=("人民共和",)) == [50]
    assert await find(index, phrases=("président de la république", "parlé")) == [10]


async def test_what_must_not_stand_there_does_not(index: PassageIndex) -> None:
    await index.prepare(3)
    await index.add_words(
        [
            make_change(1, "La pomme rouge du verger."),
            make_change(2, "La pomme verte du verger."),
            make_change(3, "La pomme du verger.", title="Pomme rouge"),
        ]
    )
    assert await find(index, "pomme", without=("rouge",)) == [20]
    assert sorted(await find(index, "pomme", without=("verte du",))) == [10, 30]
    assert await find(index, without=("rouge",)) == []


async def test_filters_let_through_what_they_say(index: PassageIndex) -> None:
    await index.prepare(5, "m")
    changes = [
        make_change(1, "Budget voté.", site="www.lemonde.fr", published=1000.0),
        make_change(2, "Budget rejeté.", site="lemonde.fr", published=2000.0, library_id="library_b"),
        make_change(3, "Budget reporté.", site="notlemonde.fr", media_type="application/pdf"),
        make_change(4, "Budget ajourné.", site="blog.Example.org", published=-5.0, language="en"),
        make_change(5, "Budget amendé.", published=3000.0),
    ]
    await index.add_words(changes)
    await index.add_vectors(changes, make_vectors(changes))
    for filters, expected in (
        (Filters(libraries=("library_b",)), [20]),
        (Filters(libraries=("library_a", "library_b"), media_types=("application/pdf",)), [30]),
        (Filters(libraries=("library_c",)), []),
        (Filters(sites=("lemonde.fr",)), [10, 20]),
        (Filters(sites=("WWW.lemonde.fr", "example.org")), [10, 40]),
        (Filters(sites=("fr",)), [10, 20, 30]),
        (Filters(languages=("en",)), [40]),
        (Filters(after=1000.0), [10, 20, 50]),
        (Filters(before=1000.0), [40]),
        (Filters(after=-5.0, before=2000.0), [10, 40]),
        (Filters(after=1000.5, before=3000.5), [20, 50]),
        (Filters(media_types=("text/html", "application/pdf")), [10, 20, 30, 40, 50]),
    ):
        assert sorted(await find(index, "budget", filters)) == expected, filters
        assert sorted(await find_near(index, "Budget voté.", filters)) == expected, filters


async def test_the_rarer_word_counts_more_and_all_words_count_most(index: PassageIndex) -> None:
    changes = [make_change(seq, f"La ville numéro {seq} a une gare.") for seq in range(1, 30)]
    changes += [
        make_change(30, "La gare est près du grand funiculaire rouge."),
        make_change(31, "La ville est près du grand funiculaire rouge."),
    ]
    await index.prepare(31)
    await index.add_words(changes)
    found = await find(index, "ville funiculaire")
    assert found[:2] == [310, 300]
    assert len(found) == 20


async def test_titles_and_headings_count(index: PassageIndex) -> None:
    await index.prepare(3)
    await index.add_words(
        [
            make_change(1, "Elle ouvre lundi.", title="La piscine municipale"),
            make_change(2, "Elle ouvre lundi.", headings="Loisirs › Piscine"),
            make_change(3, "Elle ouvre lundi."),
        ]
    )
    assert sorted(await find(index, "quand ouvre la piscine"))[:2] == [10, 20]
    assert (await find(index, "quand ouvre la piscine"))[-1] == 30


ODD = [
    "",
    " ",
    "!?",
    "'",
    '"',
    "\\",
    "a'b",
    "a:b & c | !d <-> (e",
    "\0",
    "x" * 10_000,
    "mot " * 3000,
    "🙂",
    "NULL",
    "le la",
]


async def test_no_text_makes_a_query_or_a_passage_fail(index: PassageIndex) -> None:
    await index.prepare(100, "m")
    changes = [make_change(seq, text, title=text, headings=text) for seq, text in enumerate(ODD, 1)]
    changes.append(make_change(50, "Un mot rare."))
    await index.add_words(changes)
    await index.add_vectors(changes, make_vectors(changes))
    for text in ODD:
        await find(index, text)
        await find(index, phrases=(text,), without=(text,))
        assert 500 in await find(index, f"rare {text}"), text
        assert 500 not in await find(index, text, without=("rare",)), text


async def test_a_vector_of_another_length_is_refused(index: PassageIndex) -> None:
    await index.prepare(1, "m")
    changes = [make_change(1, "Un texte.")]
    with pytest.raises(StoreError, match=f"of {DIMENSIONS} elements"):
        await index.add_vectors(changes, {10: [1.0, 2.0]})
    assert (await index.positions()).vectors == 0
    await index.add_vectors(changes, make_vectors(changes))
    with pytest.raises(StoreError):
        await index.find_vector([1.0, 2.0], NO_FILTERS, 5)


async def test_vectors_of_another_model_are_forgotten_and_words_are_not(open_index: Opener) -> None:
    index = open_index()
    changes = [make_change(1, "Un texte.")]
    assert await index.prepare(1, "one") == Positions(0, 0)
    await index.add_words(changes)
    await index.add_vectors(changes, make_vectors(changes))
    assert await index.prepare(1, "one") == Positions(1, 1)
    assert await index.prepare(1) == Positions(1, 1)
    await index.close()
    again = open_index()
    assert await again.prepare(1, "another") == Positions(1, 0)
    assert await find(again, "texte") == [10]
    assert await find_near(again, "texte") == []
    await again.add_vectors(changes, make_vectors(changes))
    assert await find_near(again, "texte") == [10]


async def test_whoever_asks_with_another_model_finds_no_vectors_until_they_are_made(
    open_index: Opener,
) -> None:
    changes = [make_change(1, "Un texte.")]
    first = open_index("one")
    await first.prepare(1, "one")
    await first.add_words(changes)
    await first.add_vectors(changes, make_vectors(changes))
    other = open_index("another")
    assert await find_near(first, "texte") == [10]
    assert await find_near(other, "texte") == []
    assert await find(other, "texte") == [10]
    assert await other.positions() == Positions(1, 0)
    await first.close()
    assert await other.prepare(1) == Positions(1, 0)
    assert await other.prepare(1, "another") == Positions(1, 0)
    await other.add_vectors(changes, make_vectors(changes))
    assert await find_near(other, "texte") == [10]


async def test_an_index_that_is_ahead_of_the_database_is_made_anew(index: PassageIndex) -> None:
    changes = [make_change(seq, f"Texte {seq}.") for seq in (1, 2, 3)]
    await index.prepare(3, "m")
    await index.add_words(changes)
    await index.add_vectors(changes, make_vectors(changes))
    assert await index.prepare(2, "m") == Positions(0, 0)
    assert await find(index, "texte") == []
    assert await find_near(index, "texte") == []


async def test_one_process_writes_at_a_time(open_index: Opener) -> None:
    first, second = open_index(), open_index()
    await first.prepare(1, "m")
    with pytest.raises(StoreError, match="another process writes"):
        await second.prepare(1, "m")
    with pytest.raises(StoreError, match="another process writes"):
        await second.add_words([make_change(1, "Un texte.")])
    await first.close()
    assert await second.prepare(1, "m") == Positions(0, 0)


async def test_limits_are_kept_and_the_best_come_first(index: PassageIndex) -> None:
    await index.prepare(50, "m")
    changes = [make_change(seq, " ".join(["pluie"] * (1 + seq % 7)) + f" {seq}") for seq in range(1, 51)]
    await index.add_words(changes)
    await index.add_vectors(changes, make_vectors(changes))
    hits = await index.find_words(WordQuery(text="pluie"), NO_FILTERS, 7)
    assert len(hits) == 7
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    near = await index.find_vector(make_vector("pluie"), NO_FILTERS, 7)
    assert len(near) == 7
    assert [hit.score for hit in near] == sorted((hit.score for hit in near), reverse=True)
