"""Searches over a real store and a real index: who finds what, what is shown of it, and what fails alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from candide.domain.messages import Message
from candide.domain.retrieval import Filters
from candide.domain.sources import Document, Library
from candide.retrieval.search import Retrieval

if TYPE_CHECKING:
    from conftest import Collection

DAY = 86400.0

VOLTAIRE = Document(
    title="Voltaire",
    site="encyclopedie.fr",
    language="fr",
    text="Voltaire est né à Paris en 1694 et il y est mort en 1778.\n\n"
    "Il a publié Candide en 1759 ; le conte raconte les voyages d'un jeune homme optimiste.\n\n"
    "Voltaire a vécu vingt ans à Ferney, près de Genève, où il cultivait son jardin.",
)
ROUSSEAU = Document(
    title="Rousseau",
    site="encyclopedie.fr",
    language="fr",
    text="Jean-Jacques Rousseau est né à Genève en 1712.\n\nIl a publié Du contrat social en 1762.",
)
WHALES = Document(
    title="Whales",
    site="nature.example",
    language="en",
    text="The blue whale is the largest animal that has ever lived.\n\nIt eats krill and weighs 150 tonnes.",
)


async def fill(collection: Collection, *, with_vectors: bool = False) -> Library:
    library = await collection.libraries.create("Lumières")
    await collection.add(library, [VOLTAIRE, ROUSSEAU, WHALES], with_vectors=with_vectors)
    return library


async def titles(
    retrieval: Retrieval, query: str, filters: Filters | None = None, **more: object
) -> list[str]:
    found = await retrieval.search(query, filters, **more)  # type: ignore[arg-type]
    return [result.source.title for result in found.results]


async def test_words_find_passages_with_their_spans_and_highlights(collection: Collection) -> None:
    await fill(collection)
    found = await collection.retrieval().search("Quand Voltaire a-t-il publié des contes ?")
    best = found.results[0]
    assert best.source.title == "Voltaire"
    assert VOLTAIRE.text[best.passage.start : best.passage.end] == best.passage.text
    marked = [best.passage.text[start:end] for start, end in best.highlights]
    assert "publié" in marked
    assert "conte" in marked  # another form of the word
    assert "a" not in marked
    assert found.missing == []
    assert [r.score for r in found.results] == sorted((r.score for r in found.results), reverse=True)


async def test_meaning_finds_what_words_do_not_and_across_languages(collection: Collection) -> None:
    await fill(collection, with_vectors=True)
    retrieval = collection.retrieval(collection.embedder)
    found = await retrieval.search("Quel est le plus gros animal de tous les temps ?")
    assert found.results[0].source.title == "Whales"
    assert found.is_good
    by_meaning = "Que mangent les baleines ?"
    assert (await titles(retrieval, by_meaning))[0] == "Whales"
    assert await titles(collection.retrieval(), by_meaning) == []


async def test_of_a_model_whose_cosines_are_not_known_words_tell_whether_the_best_is_good(
    collection: Collection,
) -> None:
    await fill(collection, with_vectors=True)
    retrieval = collection.retrieval(collection.embedder, is_measured=False)
    found = await retrieval.search("Quand Voltaire a-t-il publié Candide ?")
    assert (found.results[0].source.title, found.is_good) == ("Voltaire", True)
    assert not (await retrieval.search("Combien coûte un billet de train pour Madrid demain matin ?")).is_good
    # Of another language than the question, no words are expected.
    found = await retrieval.search("How heavy is the largest animal that has ever lived?")
    assert (found.results[0].source.title, found.is_good) == ("Whales", True)
    found = await retrieval.search("Combien pèse le plus grand animal de tous les temps ?")
    assert (found.results[0].source.title, found.is_good) == ("Whales", True)


async def test_operators_narrow_and_stand_before_the_filters_given(collection: Collection) -> None:
    library = await fill(collection)
    other = await collection.libraries.create("Presse")
    await collection.add(
        other, [Document(title="Genève", text="Genève accueille un sommet.", site="www.lemonde.fr")]
    )
    retrieval = collection.retrieval()
    assert set(await titles(retrieval, "Genève")) == {"Voltaire", "Rousseau", "Genève"}
    assert await titles(retrieval, "Genève site:lemonde.fr") == ["Genève"]
    assert await titles(retrieval, "Genève library:presse") == ["Genève"]
    assert await titles(retrieval, "Genève", Filters(libraries=(other.id,))) == ["Genève"]
    assert set(await titles(retrieval, "Genève library:lumieres", Filters(libraries=(other.id,)))) == {
        "Voltaire",
        "Rousseau",
    }
    assert await titles(retrieval, "Genève -né -sommet") == ["Voltaire"]
    assert await titles(retrieval, 'Genève "cultivait son jardin"') == ["Voltaire"]
    assert library.id in (await retrieval.search("Genève")).filters.libraries


async def test_a_phrase_that_stands_nowhere_finds_nothing_unless_a_sentence_quotes_it(
    collection: Collection,
) -> None:
    await fill(collection, with_vectors=True)
    retrieval = collection.retrieval(collection.embedder)
    assert await titles(retrieval, '"jardin cultivait"') == []
    assert "Voltaire" in await titles(retrieval, 'Qui a dit "il faut cultiver notre jardin" ?')


async def test_what_must_not_be_there_is_not_found_by_meaning_either(collection: Collection) -> None:
    await fill(collection, with_vectors=True)
    found = await collection.retrieval(collection.embedder).search("the largest animal -krill -whale")
    assert "Whales" not in [result.source.title for result in found.results]


async def test_deleted_libraries_are_not_searched_and_come_back_when_restored(collection: Collection) -> None:
    library = await fill(collection)
    retrieval = collection.retrieval()
    await collection.libraries.delete(library.id)
    for filters in (None, Filters(libraries=(library.id,))):
        assert await titles(retrieval, "Genève", filters) == []
    await collection.libraries.restore(library.id)
    assert set(await titles(retrieval, "Genève")) == {"Voltaire", "Rousseau"}


async def test_a_library_that_is_not_there_means_nothing_and_not_everything(collection: Collection) -> None:
    await fill(collection)
    assert await titles(collection.retrieval(), "Genève", Filters(libraries=("lib_none",))) == []


async def test_a_source_that_was_removed_is_not_found_before_the_index_knows(collection: Collection) -> None:
    await fill(collection)
    found = await collection.retrieval().search("Rousseau")
    await collection.sources.remove([found.results[0].source.id])
    assert "Rousseau" not in await titles(collection.retrieval(), "Rousseau")


async def test_of_a_source_a_few_passages_and_of_near_duplicates_one_are_shown(
    collection: Collection,
) -> None:
    library = await collection.libraries.create("Presse")
    long = Document(title="Long", text="\n\n".join(f"Le budget de la ville, partie {n}." for n in range(8)))
    await collection.add(library, [long])
    copies = [Document(title=f"Copie {n}", text=f"Le budget de la région est voté {n}.") for n in range(3)]
    await collection.add(library, copies, group_id="source_first")
    retrieval = collection.retrieval()
    found = await titles(retrieval, "budget", per_source=2, limit=3)
    assert found.count("Long") == 2
    assert sum(title.startswith("Copie") for title in found) == 1
    found = await titles(retrieval, "budget", per_source=2, limit=20)
    assert (found.count("Long"), len(found)) == (8, 9)


async def test_news_come_first_where_the_question_asks_for_news(collection: Collection) -> None:
    library = await collection.libraries.create("Presse")
    now = time.time()
    ages = {"Vieux": 900, "Hier": 1, "Ancien": 200}
    text = "Le conseil municipal a voté le budget {} de la ville."
    documents = [
        Document(title=title, text=text.format(title), language="fr", published=now - age * DAY)
        for title, age in ages.items()
    ]
    await collection.add(library, documents)
    retrieval = collection.retrieval()
    assert (await titles(retrieval, "dernières nouvelles du budget de la ville"))[0] == "Hier"
    assert (await titles(retrieval, "what is the latest on the budget, Vieux, Hier, Ancien"))[0] == "Hier"
    assert await titles(retrieval, "budget after:7d") == ["Hier"]
    assert await titles(retrieval, "budget before:2000") == []


async def test_a_follow_up_is_searched_with_what_came_before(collection: Collection) -> None:
    await fill(collection)
    history = [
        Message(id="1", conversation_id="c", parent_id=None, role="user", text="Quand est né Voltaire ?"),
        Message(id="2", conversation_id="c", parent_id="1", role="assistant", text="En 1694."),
    ]
    found = await collection.retrieval().search("Où est-il mort ?", history=history)
    assert "Voltaire" in found.query
    assert found.results[0].source.title == "Voltaire"


class BrokenEmbedder:
    """An embedder whose process is gone."""

    name = "broken"
    dimensions = 384

    async def embed_query(self, text: str) -> list[float]:
        raise OSError("the process is gone")

    async def embed_passages(self, texts: Sequence[str]) -> list[list[float]]:
        raise OSError("the process is gone")


async def test_words_answer_alone_where_vectors_fail_and_it_is_told(collection: Collection) -> None:
    await fill(collection)
    found = await collection.retrieval(BrokenEmbedder()).search("Genève")
    assert {result.source.title for result in found.results} == {"Voltaire", "Rousseau"}
    assert found.missing == ["vectors"]


async def test_vectors_answer_alone_where_words_fail_and_it_is_told(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(collection, with_vectors=True)

    async def fail(*_: object) -> list[object]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(collection.index, "find_words", fail)
    found = await collection.retrieval(collection.embedder).search("le plus gros animal")
    assert found.results[0].source.title == "Whales"
    assert found.missing == ["words"]


async def test_the_web_that_is_not_set_up_is_missing(collection: Collection) -> None:
    await fill(collection)
    found = await collection.retrieval().search("Genève", web=True)
    assert (found.results, found.missing, found.is_good) == ([], ["web"], False)


async def test_nothing_is_found_where_nothing_is_and_by_queries_without_words(collection: Collection) -> None:
    retrieval = collection.retrieval(collection.embedder)
    assert await titles(retrieval, "Genève") == []
    await fill(collection)
    for query in ("", "  ", "?!", '""', "-gaz", "site:encyclopedie.fr", "\x00", "((( *"):
        found = await retrieval.search(query)
        assert (found.results, found.is_good) == ([], False), query


async def test_many_searches_at_once_answer_alike(collection: Collection) -> None:
    await fill(collection, with_vectors=True)
    retrieval = collection.retrieval(collection.embedder)
    every = await asyncio.gather(*(retrieval.search("Genève en 1712") for _ in range(12)))
    assert all(found == every[0] for found in every)
    assert every[0].results[0].source.title == "Rousseau"
