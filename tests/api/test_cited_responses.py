"""Answers from libraries, as the official client sees them: searches, citations as annotations, vector stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
import sqlalchemy as sa

from candide.engine.scripted import Reply, Script

from .conftest import starter
from .libraries import HARBOR, HARBOR_QUESTION, HARBOR_URL, QUESTION, make_library

LENGTH = "La Seine est un fleuve français, long de 777 kilomètres [1]."
MISQUOTED = 'The page says: "the harbor cranes of Port Ambre lifted 42 containers before noon" [1].'

SCRIPT = Script(
    replies=[
        Reply(match="unwell", status=500),
        Reply(match="Quote the page", answer=MISQUOTED),
        Reply(match="And the cranes", answer="The harbor cranes of Port Amber lifted 42 containers before noon [2]. La Seine est un fleuve français, long de 777 kilomètres [1]."),
        Reply(match="slowly", tokens=2000, pace_ms=20),
        Reply(match="Quelle est la longueur", answer=LENGTH),
        Reply(match="How many containers", answer="The harbor cranes lifted 42 containers before noon. It was a record of happy lighthouses [1]."),
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with a library of a file and a page, and a scripted engine."""
    folder = tmp_path_factory.mktemp("library")
    with starter(tmp_path_factory.mktemp("home")) as start:
        place = start(SCRIPT)
        place.library = make_library(place.url.removesuffix("/v1"), folder)
        yield place


@pytest.fixture
def ask(place: Any) -> Callable[..., Any]:
    """Ask with `file_search` in the library, by its name."""
    client = place.client()

    def ask(question: Any, **more: Any) -> Any:
        tool: Any = {"type": "file_search", "vector_store_ids": ["mixed"]}
        return client.responses.create(**{"model": "scripted", "input": question, "tools": [tool], **more})

    return ask


def annotations_of(response: Any) -> list[Any]:
    return list(response.output[-1].content[0].annotations)


def test_an_answer_from_a_file_cites_it(ask: Callable[..., Any]) -> None:
    response = ask(QUESTION, include=["file_search_call.results"])
    call, message = response.output
    assert (call.type, call.status, call.queries) == ("file_search_call", "completed", [QUESTION])
    assert "777 kilomètres" in call.results[0].text
    assert message.content[0].text == response.output_text == LENGTH
    (citation,) = annotations_of(response)
    assert (citation.type, citation.filename) == ("file_citation", "seine.md")
    assert citation.file_id == call.results[0].file_id
    assert response.output_text[citation.index :].startswith("[1]")


def test_results_are_told_only_where_they_are_asked_for(ask: Callable[..., Any], place: Any) -> None:
    response = ask(QUESTION)
    assert response.output[0].results is None
    client = place.client()
    again = client.responses.retrieve(response.id, include=["file_search_call.results"])
    assert again.output[0].results
    assert client.responses.retrieve(response.id) == response


def test_a_page_is_cited_by_its_address_and_as_a_file(ask: Callable[..., Any]) -> None:
    response = ask(HARBOR_QUESTION)
    text = response.output_text
    by_type = {one.type: one for one in annotations_of(response)}
    url = by_type["url_citation"]
    assert (url.url, url.title) == (HARBOR_URL, "Harbor record")
    # The model left no mark there: the citation is the sentence's.
    assert text[url.start_index : url.end_index] == "The harbor cranes lifted 42 containers before noon."
    assert by_type["file_citation"].filename == "Harbor record"
    # What no source bears out has no annotation.
    assert all(
        getattr(one, "start_index", 0) < text.index("It was a record") for one in annotations_of(response)
    )


def test_events_come_in_the_order_of_openais(ask: Callable[..., Any]) -> None:
    events = list(ask(QUESTION, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    kinds = [kind for number, kind in enumerate(kinds) if number == 0 or kind != kinds[number - 1]]
    assert kinds == [
        "created", "in_progress",
        "output_item.added", "file_search_call.in_progress", "file_search_call.searching",
        "file_search_call.completed", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.annotation.added",
        "output_text.done", "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    final = events[-1].response
    added = [event.annotation for event in events if event.type == "response.output_text.annotation.added"]
    assert [dict(one) for one in added] == [dict(one) for one in annotations_of(final)]
    assert (
        "".join(event.delta for event in events if event.type == "response.output_text.delta")
        == final.output_text
    )


def test_the_final_text_is_the_corrected_one(place: Any) -> None:
    tool: Any = {"type": "file_search", "vector_store_ids": [place.library]}
    question = f"{HARBOR_QUESTION} Quote the page."
    with place.client().responses.stream(model="scripted", input=question, tools=[tool]) as stream:
        events = list(stream)
        response = stream.get_final_response()
    streamed = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    (done,) = [event for event in events if event.type == "response.output_text.done"]
    assert streamed == MISQUOTED
    assert response.output_text == done.text != streamed
    assert "Port Ambre" not in done.text
    quoted = done.text.split('"')[1]
    assert quoted in HARBOR, "what stands in quotation marks is the source's own"


def test_numbers_stay_those_of_the_conversation(ask: Callable[..., Any], place: Any) -> None:
    first = ask(QUESTION)
    second = ask(
        "And the cranes, how many containers did they lift at Port Amber?", previous_response_id=first.id
    )
    (file,) = annotations_of(first)
    marked = {
        second.output_text[one.index : one.index + 3]: one.file_id
        for one in annotations_of(second)
        if one.type == "file_citation"
    }
    assert marked["[1]"] == file.file_id
    assert marked["[2]"] != file.file_id
    asked = place.engine.requests[-1]["messages"]
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "user"]
    assert asked[:2] == place.engine.requests[-2]["messages"][:2], "the prompt has only grown"


def test_where_the_sources_do_not_say_no_model_is_asked(ask: Callable[..., Any], place: Any) -> None:
    before = len(place.engine.requests)
    response = ask("Who won the chess tournament of Reykjavik in 1972?")
    assert response.status == "completed"
    assert "do not say" in response.output_text
    assert annotations_of(response) == []
    assert len(place.engine.requests) == before


def test_where_the_engine_fails_the_sources_speak(ask: Callable[..., Any]) -> None:
    response = ask(f"unwell {HARBOR_QUESTION}")
    assert response.status == "completed"
    cited = [one for one in annotations_of(response) if one.type == "url_citation"]
    assert {one.url for one in cited} == {HARBOR_URL}
    assert "42 containers before noon" in response.output_text


def test_metadata_say_what_the_check_found_beside_the_callers_own(
    ask: Callable[..., Any], place: Any
) -> None:
    assert ask(QUESTION).metadata == {}
    doubtful = ask(HARBOR_QUESTION, metadata={"mine": "1"})
    assert doubtful.metadata == {"mine": "1", "candide_unsupported": "1"}
    assert place.client().responses.retrieve(doubtful.id).metadata == doubtful.metadata
    assert ask(f"unwell {HARBOR_QUESTION}").metadata == {"candide_extract": "true"}
    (*_, last) = ask(f"unwell {HARBOR_QUESTION}", stream=True)
    assert last.response.metadata == {"candide_extract": "true"}


def test_an_answer_in_the_background_can_be_read_again(ask: Callable[..., Any], place: Any) -> None:
    client = place.client()
    response = ask(QUESTION, background=True)
    events = list(client.responses.retrieve(response.id, stream=True))
    assert events[-1].type == "response.completed"
    replayed = list(client.responses.retrieve(response.id, stream=True, starting_after=5))
    assert [event.sequence_number for event in replayed] == [event.sequence_number for event in events][6:]
    assert annotations_of(client.responses.retrieve(response.id)) == annotations_of(events[-1].response)


def test_an_answer_that_is_not_kept_leaves_nothing(ask: Callable[..., Any], place: Any) -> None:
    def count() -> int:
        async def read() -> int:
            async with place.services.conversations._database.read() as connection:
                rows = await connection.execute(sa.text("select count(*) from conversations"))
                return int(rows.scalar_one())

        return int(place.run(read()))

    before = count()
    response = ask(QUESTION, store=False)
    assert response.output_text == LENGTH
    with pytest.raises(openai.NotFoundError):
        place.client().responses.retrieve(response.id)
    assert count() == before


def test_a_client_that_goes_away_ends_the_answer(place: Any) -> None:
    body = {
        "model": "scripted",
        "input": f"{QUESTION} slowly",
        "stream": True,
        "tools": [{"type": "file_search", "vector_store_ids": ["mixed"]}],
    }
    with (
        httpx2.Client(timeout=30) as client,
        client.stream("POST", f"{place.url}/responses", json=body) as reply,
    ):
        for line in reply.iter_lines():
            if "output_text.delta" in line:
                break

    async def wait() -> None:
        import asyncio

        async with asyncio.timeout(20):
            while place.engine.active:
                await asyncio.sleep(0.02)

    place.run(wait())


def test_what_is_shown_of_a_search_may_come_back_as_input(ask: Callable[..., Any]) -> None:
    first = ask(QUESTION)
    items: Any = [{"role": "user", "content": QUESTION}, *[one.model_dump() for one in first.output]]
    again = ask([*items, {"role": "user", "content": QUESTION}])
    assert again.output_text == LENGTH


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tools": [{"type": "file_search", "vector_store_ids": ["nosuch"]}]}, "tools[0].vector_store_ids[0]"),
        ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools[0].vector_store_ids"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["mixed"], "max_num_results": 0}]}, "tools[0].max_num_results"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["mixed"], "filters": {"type": "eq", "key": "author", "value": "x"}}]}, "tools[0].filters"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["mixed"], "ranking_options": {"score_threshold": 0.5}}]}, "tools[0].ranking_options.score_threshold"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["mixed"]}, {"type": "function", "name": "f", "parameters": {}}]}, "tools"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"input": [{"role": "assistant", "content": "x"}]}, "input"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_its_name(
    ask: Callable[..., Any], change: dict[str, Any], param: str
) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        ask(QUESTION, **change)
    assert caught.value.param == param


def test_filters_narrow_the_search(ask: Callable[..., Any], place: Any) -> None:
    def found(filters: Any) -> set[str]:
        tool = {"type": "file_search", "vector_store_ids": ["mixed"], "filters": filters}
        response = ask(f"{QUESTION} {HARBOR_QUESTION}", tools=[tool], include=["file_search_call.results"])
        return {result.filename for result in response.output[0].results}

    assert found({"type": "eq", "key": "language", "value": "fr"}) == {"seine.md"}
    published = {"type": "gte", "key": "published", "value": 1_700_000_000}
    english = {"type": "in", "key": "language", "value": ["en", "de"]}
    assert found({"type": "and", "filters": [published, english]}) == {"Harbor record"}


def test_no_search_where_the_tool_is_not_to_be_used(ask: Callable[..., Any]) -> None:
    response = ask(QUESTION, tool_choice="none")
    assert [item.type for item in response.output] == ["message"]


def test_libraries_are_listed_and_searched_as_vector_stores(place: Any) -> None:
    client = place.client()
    (store,) = client.vector_stores.list().data
    assert (store.id, store.name, store.status, store.file_counts.completed) == (
        place.library,
        "mixed",
        "completed",
        2,
    )
    assert client.vector_stores.retrieve("mixed") == store
    found = client.vector_stores.search(store.id, query=HARBOR_QUESTION, max_num_results=1).data
    assert [one.filename for one in found] == ["Harbor record"]
    assert found[0].content[0].text == HARBOR
    assert found[0].attributes["uri"] == HARBOR_URL
    french: Any = {"type": "eq", "key": "language", "value": "fr"}
    both = client.vector_stores.search(store.id, query=[HARBOR_QUESTION, QUESTION], filters=french).data
    assert {one.filename for one in both} == {"seine.md"}
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.search("nosuch", query="x")
