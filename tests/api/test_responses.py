"""Responses, as the official client sees them: streamed, kept, continued, in the background."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from candide.engine.scripted import Fault, Reply, Script, ScriptedCall

TOOL: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def stream_events(place: Any, **body: Any) -> list[Any]:
    return list(place.client().responses.create(model="scripted", stream=True, **body))


def test_a_response_comes_whole(serve: Callable[..., Any]) -> None:
    place = serve(Script(replies=[Reply(answer="Bonjour", reasoning="A greeting.")]))
    response = place.client().responses.create(
        model="scripted",
        input="Say hello",
        instructions="In French",
        max_output_tokens=50,
        metadata={"a": "b"},
    )
    assert (response.output_text, response.status, response.error) == ("Bonjour", "completed", None)
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.usage.output_tokens == 1
    assert response.metadata == {"a": "b"}
    asked = place.engine.requests[-1]
    assert [message["content"] for message in asked["messages"]] == ["In French", "Say hello"]
    assert asked["max_completion_tokens"] == 50


def test_events_are_numbered_and_add_up_to_the_response(serve: Callable[..., Any]) -> None:
    place = serve(Script(replies=[Reply(answer="un deux trois", reasoning="Counting.", pace_ms=5)]))
    events = stream_events(place, input="Count")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    for kind in (
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ):
        assert kind in kinds
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = events[-1].response
    assert text == final.output_text == "un deux trois"
    assert final.usage.total_tokens > 0
    assert place.client().responses.retrieve(final.id).output_text == text


def test_function_calls_are_streamed_and_answered(serve: Callable[..., Any]) -> None:
    call = ScriptedCall(name="get_weather", arguments={"city": "Paris"})
    place = serve(
        Script(replies=[Reply(match="weather", answer="", tool_calls=[call]), Reply(answer="Sunny")])
    )
    with place.client().responses.stream(
        model="scripted", input="weather?", tools=[TOOL], tool_choice="required"
    ) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    (made,) = response.output
    assert (made.type, made.name, json.loads(made.arguments)) == (
        "function_call",
        "get_weather",
        {"city": "Paris"},
    )
    assert place.engine.requests[-1]["tool_choice"] == "required"
    assert place.engine.requests[-1]["tools"][0]["function"]["name"] == "get_weather"
    answer = place.client().responses.create(
        model="scripted",
        previous_response_id=response.id,
        input=[{"type": "function_call_output", "call_id": made.call_id, "output": "20 degrees"}],
    )
    messages = place.engine.requests[-1]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == made.call_id
    assert answer.status == "completed"


def test_a_response_is_continued_from_the_one_before_it(serve: Callable[..., Any]) -> None:
    place = serve()
    client = place.client()
    first = client.responses.create(model="scripted", input="one", instructions="Be brief")
    second = client.responses.create(model="scripted", input="two", previous_response_id=first.id)
    client.responses.create(model="scripted", input=[{"role": "user", "content": [{"type": "input_text", "text": "three"}]}], previous_response_id=second.id)  # fmt: skip
    asked = [(m["role"], m["content"]) for m in place.engine.requests[-1]["messages"]]
    assert asked == [("user", "one"), ("assistant", "You said: one"), ("user", "two"), ("assistant", "You said: two"), ("user", "three")]  # fmt: skip


def test_a_response_survives_a_restart_of_the_server(serve: Callable[..., Any]) -> None:
    made = serve().client().responses.create(model="scripted", input="remember me")
    assert serve().client().responses.retrieve(made.id) == made


def test_a_response_that_is_not_kept_is_not_found(serve: Callable[..., Any]) -> None:
    client = serve().client()
    made = client.responses.create(model="scripted", input="x", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="scripted", input="y", previous_response_id=made.id)
    assert caught.value.param == "previous_response_id"


def test_a_response_is_deleted(serve: Callable[..., Any]) -> None:
    client = serve().client()
    made = client.responses.create(model="scripted", input="x")
    client.responses.delete(made.id)
    for use in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            use(made.id)


def test_input_items_are_listed_in_pages(serve: Callable[..., Any]) -> None:
    client = serve().client()
    items: Any = [{"role": "user", "content": str(number)} for number in range(5)]
    made = client.responses.create(model="scripted", input=items)
    page = client.responses.input_items.list(made.id, limit=2, order="asc")
    assert page.has_more
    listed = [item.content[0].text for item in page]  # goes on through all pages
    assert listed == ["0", "1", "2", "3", "4"]
    newest = client.responses.input_items.list(made.id).data
    assert [item.content[0].text for item in newest] == ["4", "3", "2", "1", "0"]


def test_a_text_format_reaches_the_engine(serve: Callable[..., Any]) -> None:
    place = serve(Script(replies=[Reply(answer='{"a": 1}')]))
    text: Any = {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}}
    response = place.client().responses.create(model="scripted", input="x", text=text)
    wanted = place.engine.requests[-1]["response_format"]
    assert wanted == {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    assert response.text.format.type == "json_schema"


def test_an_answer_that_was_cut_short_is_incomplete(serve: Callable[..., Any]) -> None:
    client = serve(Script(replies=[Reply(tokens=9)])).client()
    response = client.responses.create(model="scripted", input="x", max_output_tokens=3)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_a_stream_that_breaks_ends_with_a_failed_response_that_is_kept(serve: Callable[..., Any]) -> None:
    place = serve(Script(pace_ms=5, replies=[Reply(tokens=9, faults=[Fault(kind="cut", at=3)])]))
    *_, last = stream_events(place, input="x")
    assert last.type == "response.failed"
    assert last.response.error.code == "server_error"
    assert last.response.output_text == "w1 w2 w3 "
    assert place.client().responses.retrieve(last.response.id).status == "failed"
    raw = httpx2.post(f"{place.url}/responses", json={"model": "scripted", "input": "x", "stream": True}).text
    assert "[DONE]" not in raw


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "smell"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 9}, "temperature"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True, "tools": [TOOL]}, "tools"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(shared: Any, change: dict[str, Any], param: str) -> None:
    reply = httpx2.post(f"{shared.url}/responses", json={"model": "scripted", "input": "x", **change})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] == param


def test_errors_of_the_engine_keep_their_status(serve: Callable[..., Any]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        serve(Script(context_tokens=0)).client().responses.create(model="scripted", input="x")
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")


def test_a_response_in_the_background_is_a_durable_turn(serve: Callable[..., Any]) -> None:
    place = serve(Script(replies=[Reply(answer="one two three", pace_ms=30)]))
    client = place.client()
    first = client.responses.create(model="scripted", input="earlier", store=True)
    made = client.responses.create(
        model="scripted", input="now", instructions="Be brief", background=True, previous_response_id=first.id
    )
    assert made.status in ("queued", "in_progress")
    while (found := client.responses.retrieve(made.id)).status in ("queued", "in_progress"):
        time.sleep(0.02)
    assert (found.status, found.output_text) == ("completed", "one two three")
    asked = [(m["role"], m["content"]) for m in place.engine.requests[-1]["messages"]]
    assert asked == [("system", "Be brief"), ("user", "earlier"), ("assistant", "one two three"), ("user", "now")]  # fmt: skip
    client.responses.create(model="scripted", input="later", previous_response_id=made.id)
    assert place.engine.requests[-1]["messages"][-2]["content"] == "one two three"
    # It is the caller's, and stands neither in the list of conversations nor among what is found.
    conversations = place.services.conversations
    assert place.run(conversations.list(limit=10)) == []
    assert place.run(conversations.search("now", 10)) == []


def test_events_of_a_response_in_the_background_can_be_read_again(serve: Callable[..., Any]) -> None:
    place = serve(Script(replies=[Reply(answer="one two three", pace_ms=30)]))
    with place.client().responses.create(model="scripted", input="x", background=True, stream=True) as stream:
        seen = [next(stream) for _ in range(4)]  # and goes away
    response_id = seen[0].response.id
    rest = list(
        place.client().responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number)
    )
    numbers = [event.sequence_number for event in [*seen, *rest]]
    assert numbers == list(range(len(numbers)))
    assert rest[-1].type == "response.completed"
    assert rest[-1].response.output_text == "one two three"


def test_a_response_in_the_background_is_cancelled(serve: Callable[..., Any]) -> None:
    place = serve(Script(replies=[Reply(tokens=5000, pace_ms=20)]))
    client = place.client()
    made = client.responses.create(model="scripted", input="x", background=True)
    assert client.responses.cancel(made.id).status == "cancelled"
    assert client.responses.retrieve(made.id).status == "cancelled"
    while place.engine.active:
        time.sleep(0.01)
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(client.responses.create(model="scripted", input="y", max_output_tokens=1).id)
