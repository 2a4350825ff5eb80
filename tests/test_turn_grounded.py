"""Turns that answer from sources: searched once, numbered for good, checked at their end, and answered without a model.

The index, the database and the check are the real ones; the engine's words are scripted.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from candide.citations.checker import Checker
from candide.domain.grounding import Grounding, SearchWishes, read_grounding
from candide.domain.retrieval import Filters
from candide.domain.sources import Cut, Document, NewSource
from candide.domain.turns import (
    CitationMarked,
    CitationsChecked,
    SearchStarted,
    SourcesFound,
    TextDelta,
    TurnFinished,
    join_text,
)
from candide.index.analysis import find_stem
from candide.index.embedded import EmbeddedIndex
from candide.index.indexer import Indexer
from candide.prompt.sources import SYSTEM_PROMPT
from candide.reading_ahead import read_ahead
from candide.retrieval.search import Retrieval
from candide.store.database import Database
from candide.store.files import FileStore
from candide.store.jobs import JobStore
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore
from candide.turn import Search

if TYPE_CHECKING:
    from conftest import Runtime, RuntimeStarter

PAGES = {
    "Phare de Kermor": "Le phare de Kermor fut allumé en 1874. Jeanne Le Goff en fut la première gardienne pendant "
    "trente ans.",
    "Port de Kermor": "Le port de Kermor abrite trente bateaux de pêche. La criée ouvre à cinq heures du matin.",
    "The Kermor ferry": "The ferry to Kermor leaves every day at noon from the northern quay, and takes 40 minutes.",
}


@dataclass
class Shelf:
    """A library over the runtime's own database, and what searches it."""

    database: Database
    search: Search
    wishes: SearchWishes
    sources: SourceStore
    library_id: str


def make_page(title: str, text: str) -> NewSource:
    return NewSource(
        key=title,
        uri=f"https://kermor.example/{title.replace(' ', '-')}",
        kind="page",
        media_type="text/html",
        document=Document(text=text, title=title, language="en" if "ferry" in title else "fr"),
        cuts=[Cut(0, len(text))],
        content_hash=hashlib.sha256(text.encode()).hexdigest(),
    )


@pytest.fixture
async def shelf(tmp_path: Path, empty_database: Path) -> AsyncIterator[Shelf]:
    (tmp_path / "candide.db").write_bytes(empty_database.read_bytes())
    database = await Database.open(f"sqlite:///{tmp_path / 'candide.db'}", tmp_path)
    libraries, sources, jobs = LibraryStore(database), SourceStore(database), JobStore(database)
    library = await libraries.create("Kermor")
    await sources.keep(library.id, [make_page(title, text) for title, text in PAGES.items()])
    index = EmbeddedIndex(tmp_path / "index")
    await Indexer(index, sources, None).catch_up()
    search = Search(
        retriever=Retrieval(index, None, sources, libraries, stem=find_stem),
        list_names=libraries.list_names,
        find_unread=jobs.find_unread,
        check=Checker(None).check,
    )
    yield Shelf(database, search, SearchWishes(libraries=(library.id,)), sources, library.id)
    await index.close()
    await database.close()


def only(events: list[Any], kind: type[Any]) -> Any:
    [found] = [event for event in events if isinstance(event, kind)]
    return found


async def grounding_of(runtime: Runtime, turn: Any) -> Grounding:
    grounding = read_grounding(await runtime.answer(turn))
    assert grounding is not None
    return grounding


KEEPER = "Jeanne Le Goff fut la première gardienne du phare de Kermor [1]."


async def test_an_answer_rests_on_what_was_found_and_every_sentence_says_on_what(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    runtime = await start_runtime(search=shelf.search, replies=[{"answer": KEEPER}])
    turn = await runtime.ask("Qui fut la première gardienne du phare de Kermor ?", search=shelf.wishes)
    events = await runtime.events(turn)
    assert only(events, SearchStarted) == SearchStarted(
        query="Qui fut la première gardienne du phare de Kermor ?", libraries=["Kermor"]
    )
    found = only(events, SourcesFound)
    assert (found.sources[0].number, found.sources[0].title) == (1, "Phare de Kermor")
    mark = only(events, CitationMarked)
    assert (mark.number, KEEPER[mark.start : mark.end]) == (1, "[1]")
    checked = only(events, CitationsChecked)
    assert [sentence.support for sentence in checked.sentences] == ["supported"]
    [citation] = checked.sentences[0].citations
    text = PAGES["Phare de Kermor"]
    assert citation.number == 1
    assert citation.quote == text[citation.start : citation.end]
    kept = await grounding_of(runtime, turn)
    assert kept.checked
    assert (kept.sources, kept.sentences) == (found.sources, checked.sentences)
    [request] = runtime.engines[0].requests
    assert request["messages"][0]["content"] == SYSTEM_PROMPT
    asked = request["messages"][1]["content"]
    assert asked.startswith("Sources:\n[1] Phare de Kermor: Le phare de Kermor fut allumé")
    assert asked.endswith("\n\nQuestion: Qui fut la première gardienne du phare de Kermor ?")


async def test_the_second_question_on_the_same_sources_only_adds_itself_to_the_prompt(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    runtime = await start_runtime(
        search=shelf.search, replies=[{"answer": KEEPER}, {"answer": "En 1874 [1]."}]
    )
    first = await runtime.ask("Qui fut la première gardienne du phare de Kermor ?", search=shelf.wishes)
    await runtime.events(first)
    second = await runtime.ask(
        "En quelle année le phare de Kermor fut-il allumé ?", first.conversation_id, search=shelf.wishes
    )
    grounding = await grounding_of(runtime, second)
    assert grounding.sources[0].number == 1
    before, after = [request["messages"] for request in runtime.engines[0].requests]
    assert after[: len(before)] == before
    assert "Le phare de Kermor fut allumé" not in after[-1]["content"]
    assert after[-1]["content"].endswith("Question: En quelle année le phare de Kermor fut-il allumé ?")


class Ahead:
    """Keeps what it is told to read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.read: list[dict[str, Any]] = []

    async def read_ahead(
        self, model: str, messages: Sequence[dict[str, Any]], *, adapted: bool = False
    ) -> None:
        assert adapted
        self.read = list(messages)


@pytest.mark.parametrize("answer", [KEEPER, "Le phare de Kermor fut construit par des Suisses en 1999 [1]."])
async def test_what_is_read_ahead_is_how_the_next_prompt_begins(
    start_runtime: RuntimeStarter, shelf: Shelf, answer: str
) -> None:
    runtime = await start_runtime(
        search=shelf.search, replies=[{"answer": answer}, {"answer": "En 1874 [1]."}]
    )
    parts: dict[str, Any] = {"conversations": runtime.conversations, "files": FileStore(runtime.database)}
    engine = Ahead("engine-0")
    first = await runtime.ask("Qui fut la première gardienne du phare de Kermor ?", search=shelf.wishes)
    await runtime.events(first)
    await read_ahead(first, **parts, engine=Ahead("another"))
    await read_ahead(first, **parts, engine=engine)
    second = await runtime.ask(
        "En quelle année le phare de Kermor fut-il allumé ?", first.conversation_id, search=shelf.wishes
    )
    await runtime.events(second)
    asked = runtime.engines[0].requests[-1]["messages"]
    assert asked[:-1] == engine.read[:-1]
    assert asked[-1]["content"].startswith(engine.read[-1]["content"] + " ")


async def test_nothing_is_read_ahead_where_no_source_was_read(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    runtime = await start_runtime(search=shelf.search)
    engine = Ahead("engine-0")
    for turn in (
        await runtime.ask("Quelle est la masse de Jupiter en kilogrammes ?", search=shelf.wishes),
        await runtime.ask("Hello, who are you?"),
    ):
        await runtime.events(turn)
        await read_ahead(
            turn, conversations=runtime.conversations, files=FileStore(runtime.database), engine=engine
        )
    assert engine.read == []


async def test_another_answer_to_a_question_and_another_branch_keep_the_numbers(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    runtime = await start_runtime(search=shelf.search, replies=[{"answer": KEEPER}])
    first = await runtime.ask("Qui fut la première gardienne du phare de Kermor ?", search=shelf.wishes)
    numbers = {source.id: source.number for source in (await grounding_of(runtime, first)).sources}
    again = await runtime.ask(
        None,
        first.conversation_id,
        user_message_id=first.user_message_id,
        search=shelf.wishes,  # type: ignore[arg-type]
    )
    other = await runtime.ask(
        "À quelle heure ouvre la criée du port ?", first.conversation_id, parent_id=None, search=shelf.wishes
    )
    for turn in (again, other):
        for source in (await grounding_of(runtime, turn)).sources:
            assert numbers.setdefault(source.id, source.number) == source.number
    assert len(set(numbers.values())) == len(numbers)


async def test_what_the_sources_do_not_say_is_not_asked_of_a_model(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    runtime = await start_runtime(search=shelf.search, replies=[{"answer": "never"}])
    turn = await runtime.ask("Quelle est la masse de Jupiter en kilogrammes ?", search=shelf.wishes)
    events = await runtime.events(turn)
    assert not only(events, SourcesFound).is_good
    assert only(events, CitationsChecked).abstained
    assert join_text(events).startswith("Les sources ne")
    assert runtime.engines[0].requests == []
    grounding = await grounding_of(runtime, turn)
    assert (grounding.abstained, grounding.is_good) == (True, False)


async def test_without_an_engine_the_sources_speak_for_themselves(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    runtime = await start_runtime(
        search=shelf.search, replies=[{"answer": KEEPER, "faults": [{"kind": "error"}]}]
    )
    turn = await runtime.ask("En quelle année le phare de Kermor fut-il allumé ?", search=shelf.wishes)
    events = await runtime.events(turn)
    end = events[-1]
    assert isinstance(end, TurnFinished)
    assert (end.state, end.finish_reason) == ("finished", "extract")
    checked = only(events, CitationsChecked)
    answer = await runtime.answer(turn)
    assert "1874" in answer.text
    assert checked.extract
    assert all(answer.text[s.start : s.end] == s.text for s in checked.extract)
    text = PAGES["Phare de Kermor"]
    assert all(
        c.quote == text[c.start : c.end] for s in checked.extract for c in s.citations if c.number == 1
    )


async def test_an_answer_that_breaks_off_for_good_is_followed_by_what_the_sources_say(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    broken = {"answer": KEEPER, "faults": [{"kind": "error", "at": 7}]}
    runtime = await start_runtime(search=shelf.search, replies=[broken])
    turn = await runtime.ask("Qui fut la première gardienne du phare de Kermor ?", search=shelf.wishes)
    answer = await runtime.answer(turn)
    assert answer.finish_reason == "extract"
    begun, _, rest = answer.text.partition("\n\n")
    assert KEEPER.startswith(begun.rstrip())
    assert "Jeanne Le Goff en fut la première gardienne" in rest
    grounding = await grounding_of(runtime, turn)
    assert all(answer.text[s.start : s.end] == s.text for s in (*grounding.sentences, *grounding.extract))


async def test_an_invented_quotation_is_never_kept_as_one(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    invented = "Selon la page, « le phare de Kermor fut allumé en 1999 par les frères Guivarc'h » [1]."
    runtime = await start_runtime(search=shelf.search, replies=[{"answer": invented}])
    turn = await runtime.ask("En quelle année le phare de Kermor fut-il allumé ?", search=shelf.wishes)
    grounding = await grounding_of(runtime, turn)
    assert not any(sentence.support == "quoted" for sentence in grounding.sentences)
    assert any(sentence.support == "unsupported" for sentence in grounding.sentences)


async def test_a_turn_that_is_taken_over_does_not_search_again(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    runtime = await start_runtime(search=shelf.search, replies=[{"answer": KEEPER, "pace_ms": 100}])
    turn = await runtime.ask("Qui fut la première gardienne du phare de Kermor ?", search=shelf.wishes)
    await runtime.wait_for_text(turn, "Jeanne")
    await runtime.close()
    # What was found is gone by the time that the next one goes on.
    await shelf.sources.remove([s.id for s in await shelf.sources.list(shelf.library_id, limit=9)])
    again = await start_runtime(search=shelf.search, engines=runtime.engines)
    events = await again.events(turn)
    assert sum(isinstance(event, SourcesFound) for event in events) == 1
    assert join_text(events) == KEEPER
    assert [s.support for s in only(events, CitationsChecked).sentences] == ["supported"]


async def test_a_turn_without_wishes_is_answered_as_ever_in_a_conversation_with_sources(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    runtime = await start_runtime(search=shelf.search, replies=[{"answer": KEEPER}, {"answer": "Bonjour."}])
    first = await runtime.ask("Qui fut la première gardienne du phare de Kermor ?", search=shelf.wishes)
    await runtime.events(first)
    second = await runtime.ask("Dis bonjour.", first.conversation_id)
    events = await runtime.events(second)
    assert not any(isinstance(event, (SourcesFound, CitationsChecked)) for event in events)
    assert (await runtime.answer(second)).grounding is None
    assert runtime.engines[0].requests[-1]["messages"][0]["content"] == "Be brief."
    assert [e.text for e in events if isinstance(e, TextDelta)]


async def test_thanks_are_not_looked_up(start_runtime: RuntimeStarter, shelf: Shelf) -> None:
    runtime = await start_runtime(search=shelf.search, replies=[{"answer": "De rien."}])
    turn = await runtime.ask("Merci beaucoup !", search=shelf.wishes)
    events = await runtime.events(turn)
    assert not any(isinstance(event, SearchStarted) for event in events)
    assert join_text(events) == "De rien."


async def test_silence_has_the_language_of_the_conversation(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    runtime = await start_runtime(search=shelf.search)
    first = await runtime.ask("Quelle est la masse de Jupiter en kilogrammes ?", search=shelf.wishes)
    await runtime.events(first)
    second = await runtime.ask("Et Saturne ?", first.conversation_id, search=shelf.wishes)
    assert (await runtime.answer(second)).text.startswith("Les sources ne")
    third = await runtime.ask("What is the mass of Jupiter?", first.conversation_id, search=shelf.wishes)
    assert (await runtime.answer(third)).text.startswith("The sources do not say")


async def test_silence_has_the_language_of_the_nearest_source_where_the_question_does_not_tell(
    start_runtime: RuntimeStarter, shelf: Shelf
) -> None:
    runtime = await start_runtime(search=shelf.search)
    turn = await runtime.ask("Phare Jupiter Saturne Neptune Uranus Pluton Mercure ?", search=shelf.wishes)
    assert (await runtime.answer(turn)).text.startswith("Les sources ne")


async def test_what_is_far_below_the_best_is_not_shown(start_runtime: RuntimeStarter, shelf: Shelf) -> None:
    question = "Qui fut la première gardienne du phare de Kermor ?"
    every = await shelf.search.retriever.search(question, Filters(libraries=shelf.wishes.libraries))
    assert {result.source.title for result in every.results} > {"Phare de Kermor"}
    runtime = await start_runtime(search=shelf.search, replies=[{"answer": KEEPER}])
    found = only(await runtime.events(await runtime.ask(question, search=shelf.wishes)), SourcesFound)
    assert [source.title for source in found.sources] == ["Phare de Kermor"]
