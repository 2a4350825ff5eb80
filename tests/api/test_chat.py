"""Chat completions, as the official client sees them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from candide.engine.scripted import Fault, Reply, Script, ScriptedCall

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def raw_frames(url: str, body: dict[str, Any]) -> list[str]:
    with httpx2.stream("POST", f"{url}/chat/completions", json=body, timeout=20) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return [line[6:] for line in response.iter_lines() if line.startswith("data: ")]


def test_an_answer_comes_whole(serve: Callable[..., Any]) -> None:
    reply = (
        serve(Script(replies=[Reply(answer="Bonjour le monde")]))
        .client()
        .chat.completions.create(model="scripted", messages=HELLO)
    )
    assert reply.choices[0].message.content == "Bonjour le monde"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == "scripted"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 3


def test_an_answer_streams_token_by_token(serve: Callable[..., Any]) -> None:
    place = serve(Script(replies=[Reply(answer=["Bon", "jour", " 🌍\n"], pace_ms=30)]))
    stream = place.client().chat.completions.create(
        model="scripted", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Bonjour 🌍\n"
    assert chunks[-1].usage.total_tokens == 4
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


def test_usage_is_left_out_of_a_stream_unless_asked_for(serve: Callable[..., Any]) -> None:
    frames = raw_frames(serve().url, {"model": "scripted", "messages": HELLO, "stream": True})
    assert frames[-1] == "[DONE]"
    assert not any("usage" in frame for frame in frames)


def test_tool_calls_reach_the_client(serve: Callable[..., Any]) -> None:
    call = ScriptedCall(name="get_weather", arguments={"city": "Paris"})
    place = serve(Script(replies=[Reply(answer="", tool_calls=[call])]))
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    reply = place.client().chat.completions.create(
        model="scripted", messages=HELLO, tools=[tool], tool_choice="auto"
    )
    made = reply.choices[0].message.tool_calls[0]
    assert (made.function.name, json.loads(made.function.arguments)) == ("get_weather", {"city": "Paris"})
    assert place.engine.requests[-1]["tools"] == [tool]


def test_thoughts_come_apart_from_the_answer(serve: Callable[..., Any]) -> None:
    place = serve(Script(replies=[Reply(answer="four", reasoning="two and two")]))
    message = place.client().chat.completions.create(model="scripted", messages=HELLO).choices[0].message
    assert (message.content, message.reasoning_content) == ("four", "two and two")
    deltas = [
        chunk.choices[0].delta
        for chunk in place.client().chat.completions.create(model="scripted", messages=HELLO, stream=True)
    ]
    thoughts = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert (thoughts, "".join(delta.content or "" for delta in deltas)) == ("two and two", "four")


def test_a_request_reaches_the_engine_as_it_was_sent(serve: Callable[..., Any]) -> None:
    place = serve()
    schema = {"type": "object", "properties": {"a": {"default": None}}}
    sent: dict[str, Any] = {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be brief"}]},
            {"role": "user", "content": "hello", "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "done"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}},
        "logprobs": True,
        "top_logprobs": 2,
        "n": 2,
        "max_completion_tokens": 9,
        "frequency_penalty": 0.5,
        "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    assert httpx2.post(f"{place.url}/chat/completions", json={"model": "scripted", **sent}).status_code == 200
    seen = place.engine.requests[-1]
    assert {name: seen[name] for name in sent} == sent


def test_a_streamed_tool_call_reaches_the_client(serve: Callable[..., Any]) -> None:
    call = ScriptedCall(name="f", arguments={"a": 1})
    place = serve(Script(replies=[Reply(answer="", tool_calls=[call])]))
    tool: Any = {"type": "function", "function": {"name": "f"}}
    with place.client().chat.completions.stream(model="scripted", messages=HELLO, tools=[tool]) as stream:
        (made,) = stream.get_final_completion().choices[0].message.tool_calls
    assert (made.function.name, json.loads(made.function.arguments)) == ("f", {"a": 1})


def test_fields_that_engines_share_go_on_to_the_engine(serve: Callable[..., Any]) -> None:
    place = serve()
    sent = {"top_k": 3, "min_p": 0.1, "temperature": 0.5, "seed": 7, "stop": ["x"], "logit_bias": {"5": -1}}
    place.client().chat.completions.create(
        model="scripted", messages=HELLO, extra_body={**sent, "store": True, "presence_penalty": None}
    )
    seen = place.engine.requests[-1]
    assert {name: seen[name] for name in sent} == sent
    assert "store" not in seen
    assert "presence_penalty" not in seen


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": "x", "name": "<|im_start|>"}]}, "messages[0].name"),
        ({"messages": [{"role": "user", "content": "x", "name": "a\x00b"}]}, "messages[0].name"),
        ({"messages": [{"role": "assistant"}]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "0.7"}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"stop": [""]}, "stop"),
        ({"stop": [1]}, "stop[0]"),
        ({"logit_bias": {"hello": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"top_k": "many"}, "top_k"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_by_name(shared: Any, change: dict[str, Any], param: str) -> None:
    body = {"model": "scripted", "messages": HELLO, **change}
    reply = httpx2.post(f"{shared.url}/chat/completions", json=body)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert param.split("[")[0].split(".")[0] in error["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"x"', b'{"a": NaN}', b'{"model": "\\ud800"}', b"\xff\xfe", b"[" * 100_000],
)
def test_what_is_not_strict_json_is_refused(shared: Any, body: bytes) -> None:
    reply = httpx2.post(
        f"{shared.url}/chat/completions", content=body, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_an_unknown_model_is_not_found(shared: Any) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        shared.client().chat.completions.create(model="gpt-9", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_an_unknown_path_is_refused_in_the_same_shape(shared: Any) -> None:
    reply = httpx2.post(f"{shared.url}/moderations", json={})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_url")


def test_too_long_a_prompt_names_the_context(serve: Callable[..., Any]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        serve(Script(context_tokens=0)).client().chat.completions.create(model="scripted", messages=HELLO)
    assert caught.value.code == "context_length_exceeded"


def test_an_overloaded_engine_says_when_to_come_back(serve: Callable[..., Any]) -> None:
    place = serve(Script(replies=[Reply(status=429, retry_after=2.5)]))
    with pytest.raises(openai.RateLimitError) as caught:
        place.client().chat.completions.create(model="scripted", messages=HELLO, stream=True)
    assert caught.value.response.headers["retry-after"] == "3"


def test_an_engine_that_is_down_is_unavailable(serve: Callable[..., Any]) -> None:
    place = serve()
    place.run(place.engine.stop())
    with pytest.raises(openai.InternalServerError) as caught:
        place.client().chat.completions.create(model="scripted", messages=HELLO)
    assert caught.value.status_code == 503


@pytest.mark.parametrize("kind", ["cut", "end", "malformed", "error"])
def test_a_stream_that_breaks_ends_with_an_error_and_without_done(
    serve: Callable[..., Any], kind: Any
) -> None:
    place = serve(Script(pace_ms=5, replies=[Reply(tokens=9, faults=[Fault(kind=kind, at=3)])]))
    frames = raw_frames(place.url, {"model": "scripted", "messages": HELLO, "stream": True})
    written = [json.loads(frame) for frame in frames[:-1]]
    assert "".join(f["choices"][0]["delta"].get("content", "") for f in written) == "w1 w2 w3 "
    assert json.loads(frames[-1])["error"]["code"] == "engine_broke"
    with pytest.raises(openai.APIError):
        list(place.client().chat.completions.create(model="scripted", messages=HELLO, stream=True))


def test_an_engine_that_breaks_before_its_first_word_is_asked_again(serve: Callable[..., Any]) -> None:
    refusal = Reply(times=1, tokens=2, pace_ms=20, first_token_ms=50, faults=[Fault(kind="cut")])
    place = serve(Script(replies=[refusal, Reply(answer="here")]))
    stream = place.client().chat.completions.create(model="scripted", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "here"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_the_engines_work(serve: Callable[..., Any], stream: bool) -> None:
    place = serve(Script(pace_ms=20, replies=[Reply(tokens=500)]))
    body = json.dumps({"model": "scripted", "messages": HELLO, "stream": stream}).encode()
    host, port = httpx2.URL(place.url).host, httpx2.URL(place.url).port
    with socket.create_connection((host, port)) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        wait_until(lambda: place.engine.active == 1)
        if stream:
            assert connection.recv(1)
    wait_until(lambda: place.engine.active == 0)


def wait_until(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.01)
