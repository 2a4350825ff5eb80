"""The OpenAI API over real models, through a real server: what the scripted engine cannot show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

pytestmark = [pytest.mark.weights, pytest.mark.slow, pytest.mark.timeout(300)]

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def smol(smol_server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=smol_server.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def model(smol_server: Any) -> str:
    return smol_server.model


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_the_same_seed_gives_the_same_answer_and_stops_where_asked(smol: openai.OpenAI, model: str) -> None:
    def answer(**options: Any) -> str:
        reply = smol.chat.completions.create(
            model=model, messages=ask("Tell me a story."), max_tokens=24, temperature=1, **options
        )
        return reply.choices[0].message.content or ""

    first = answer(seed=7)
    assert answer(seed=7) == first
    word = first.split()[3]
    assert word not in answer(seed=7, stop=word)


def test_several_answers_with_their_probabilities(smol: openai.OpenAI, model: str) -> None:
    reply = smol.chat.completions.create(
        model=model, messages=ask("Hi"), n=2, logprobs=True, top_logprobs=3, max_completion_tokens=4
    )
    assert [choice.index for choice in reply.choices] == [0, 1]
    for choice in reply.choices:
        assert choice.logprobs is not None
        content = choice.logprobs.content or []
        assert len(content) == 4
        assert all(len(entry.top_logprobs) == 3 for entry in content)


def test_a_biased_token_is_never_written(smol: openai.OpenAI, model: str) -> None:
    def first_token(bias: dict[str, int]) -> Any:
        reply = smol.chat.completions.create(
            model=model, messages=ask("Hi"), logprobs=True, max_tokens=1, temperature=0, logit_bias=bias
        )
        return reply.choices[0].logprobs.content[0].model_dump()  # pyright: ignore

    usual = first_token({})
    assert first_token({str(usual["id"]): -100})["id"] != usual["id"]


def test_too_long_a_prompt_is_refused_with_its_code(smol: openai.OpenAI, model: str) -> None:
    for stream in (True, False):
        with pytest.raises(openai.BadRequestError) as caught:
            smol.chat.completions.create(model=model, messages=ask("word " * 9000), stream=stream)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


def test_an_image_for_a_text_model_is_a_bad_request(smol: openai.OpenAI, model: str) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(openai.BadRequestError) as caught:
        smol.chat.completions.create(model=model, messages=[{"role": "user", "content": [image]}])  # pyright: ignore
    assert caught.value.param == "messages[0].content[0]"


@pytest.mark.parametrize("stream", [True, False])
def test_a_required_call_is_made_by_a_model_that_knows_no_tools(
    smol: openai.OpenAI, model: str, stream: bool
) -> None:
    options: Any = {
        "model": model,
        "messages": ask("Tell me a joke."),
        "tools": [WEATHER],
        "tool_choice": "required",
    }
    options |= {"parallel_tool_calls": False, "temperature": 0, "max_tokens": 100}
    if stream:
        with smol.chat.completions.stream(**options) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = smol.chat.completions.create(**options).choices[0].message
    (call,) = message.tool_calls or []
    assert not message.content
    assert set(json.loads(call.function.arguments)) == {"city"}


def test_structured_responses_are_kept_and_continued(smol: openai.OpenAI, model: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["n"], "additionalProperties": False}  # fmt: skip
    text: Any = {"format": {"type": "json_schema", "name": "number", "schema": schema, "strict": True}}
    first = smol.responses.create(model=model, input="A number", text=text, temperature=0)
    assert 0 <= json.loads(first.output_text)["n"] <= 9
    again = smol.responses.create(
        model=model, input="Another", previous_response_id=first.id, max_output_tokens=16
    )
    assert again.usage is not None
    assert again.usage.input_tokens_details.cached_tokens > 0
    with pytest.raises(openai.BadRequestError) as caught:
        bad: Any = {"format": {**text["format"], "schema": {"type": "object", "not": {}}}}
        smol.responses.create(model=model, input="x", text=bad)
    assert caught.value.param == "text.format.schema"


def test_completions_echo_count_and_log(smol: openai.OpenAI, model: str) -> None:
    reply = smol.completions.create(
        model=model, prompt=["Once upon", "The sky is"], echo=True, max_tokens=3, temperature=0
    )
    assert [choice.text.startswith(p) for choice, p in zip(reply.choices, ("Once upon", "The sky is"), strict=True)] == [True, True]  # fmt: skip
    logged = smol.completions.create(model=model, prompt="Once", logprobs=2, max_tokens=3).choices[0].logprobs
    assert logged is not None
    assert len(logged.tokens or []) == len(logged.token_logprobs or []) == len(logged.text_offset or []) == 3
    chunks = list(
        smol.completions.create(model=model, prompt="Once", max_tokens=3, stream=True, stream_options={"include_usage": True})
    )  # fmt: skip
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


def test_embeddings_of_a_chat_model(smol: openai.OpenAI, model: str) -> None:
    one, two = smol.embeddings.create(model=model, input=["a cat", "a cat"], dimensions=8).data
    assert one.embedding == pytest.approx(two.embedding, abs=1e-2)
    assert len(one.embedding) == 8
    assert sum(number**2 for number in one.embedding) == pytest.approx(1)


def test_a_model_that_writes_its_calls_as_text_calls_tools(qwen_server: Any) -> None:
    with openai.OpenAI(base_url=qwen_server.url, api_key="none", max_retries=0) as client:
        options: Any = {"model": qwen_server.model, "messages": ask("What is the weather in Paris?"), "tools": [WEATHER], "temperature": 0, "max_tokens": 80}  # fmt: skip
        message = client.chat.completions.create(**options).choices[0].message
        (call,) = message.tool_calls or []
        assert json.loads(call.function.arguments) == {"city": "Paris"}
        assert not message.content
        with client.chat.completions.stream(**options) as events:
            streamed = events.get_final_completion().choices[0]
        assert streamed.finish_reason == "tool_calls"
        assert (streamed.message.tool_calls or [])[0].function.name == "get_weather"
        history: Any = [*options["messages"], message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "31 degrees"}]  # fmt: skip
        answer = (
            client.chat.completions.create(**{**options, "messages": history, "tool_choice": "none"})
            .choices[0]
            .message.content
        )
        assert "31" in (answer or "")
