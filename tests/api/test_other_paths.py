"""Legacy completions, embeddings and the list of models, as the official client sees them."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from candide.engine.scripted import Fault, Reply, Script


def test_a_completion_comes_whole_and_echoes_its_prompt(serve: Callable[..., Any]) -> None:
    client = serve(Script(replies=[Reply(answer=" a time")])).client()
    assert client.completions.create(model="scripted", prompt="Once upon").choices[0].text == " a time"
    echoed = client.completions.create(model="scripted", prompt="Once upon", echo=True)
    assert echoed.choices[0].text == "Once upon a time"
    assert echoed.object == "text_completion"


def test_a_completion_streams(serve: Callable[..., Any]) -> None:
    client = serve(Script(replies=[Reply(answer=[" a", " time"])])).client()
    chunks = list(client.completions.create(model="scripted", prompt="Once upon", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == " a time"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_completion_that_breaks_ends_with_an_error(serve: Callable[..., Any]) -> None:
    place = serve(Script(pace_ms=5, replies=[Reply(tokens=9, faults=[Fault(kind="cut", at=3)])]))
    with pytest.raises(openai.APIError, match="broke off"):
        list(place.client().completions.create(model="scripted", prompt="x", stream=True))


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        ("completions", {"prompt": None}, "prompt"),
        ("completions", {"prompt": []}, "prompt"),
        ("completions", {"prompt": [1, -1]}, "prompt[1]"),
        ("completions", {"prompt": "x", "suffix": "y"}, "suffix"),
        ("completions", {"prompt": "x", "best_of": 3}, "best_of"),
        ("completions", {"prompt": "x", "echo": True, "stream": True}, "echo"),
        ("completions", {"prompt": "x", "max_tokens": -1}, "max_tokens"),
        ("embeddings", {"input": ""}, "input"),
        ("embeddings", {"input": []}, "input"),
        ("embeddings", {"input": ["a", ""]}, "input[1]"),
        ("embeddings", {"input": {"a": 1}}, "input"),
        ("embeddings", {"input": [-1]}, "input[0]"),
        ("embeddings", {"input": "x", "dimensions": 0}, "dimensions"),
        ("embeddings", {"input": "x", "dimensions": 999}, "dimensions"),
        ("embeddings", {"input": "x", "encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(
    shared: Any, path: str, change: dict[str, Any], param: str
) -> None:
    reply = httpx2.post(f"{shared.url}/{path}", json={"model": "scripted", **change})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] == param


@pytest.mark.parametrize("given", ["text", ["one", "two"], [1, 2, 3], [[1, 2], [3]]])
def test_embeddings_come_for_every_kind_of_input(shared: Any, given: Any) -> None:
    reply = shared.client().embeddings.create(model="scripted", input=given, encoding_format="float")
    count = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
    assert [entry.index for entry in reply.data] == list(range(count))
    assert all(len(entry.embedding) == 32 for entry in reply.data)


def test_embeddings_in_base64_are_the_same_numbers(shared: Any) -> None:
    body = {"model": "scripted", "input": "text"}
    numbers = httpx2.post(f"{shared.url}/embeddings", json=body).json()["data"][0]["embedding"]
    coded = httpx2.post(f"{shared.url}/embeddings", json={**body, "encoding_format": "base64"}).json()
    decoded = struct.unpack("<32f", base64.b64decode(coded["data"][0]["embedding"]))
    assert decoded == pytest.approx(numbers)
    # The official client asks for base64 by itself.
    assert shared.client().embeddings.create(**body).data[0].embedding == pytest.approx(numbers)


def test_shortened_embeddings_have_length_one(shared: Any) -> None:
    whole = shared.client().embeddings.create(model="scripted", input="text").data[0].embedding
    short = shared.client().embeddings.create(model="scripted", input="text", dimensions=5).data[0].embedding
    assert math.hypot(*short) == pytest.approx(1)
    assert short[0] / short[4] == pytest.approx(whole[0] / whole[4])


def test_models_are_listed_and_retrieved(shared: Any) -> None:
    (model,) = shared.client().models.list().data
    assert (model.id, model.object) == ("scripted", "model")
    assert isinstance(model.created, int)
    assert model.owned_by
    assert shared.client().models.retrieve("scripted") == model
    for name in ("gpt-9", "owner/name"):
        with pytest.raises(openai.NotFoundError) as caught:
            shared.client().models.retrieve(name)
        assert caught.value.code == "model_not_found"
