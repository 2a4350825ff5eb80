"""What servers tell of their models is taken as they say it, and what they do not say stays unknown."""

from __future__ import annotations

from typing import Any

import pytest

from candide.domain.engines import ModelFacts
from candide.engine.facts import read_facts

ELSEWHERE = "engine.example"


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        ({"id": "m", "object": "model"}, ModelFacts()),
        ({"id": "m", "max_model_len": 4096}, ModelFacts(context_tokens=4096)),
        (
            {"id": "m", "meta": {"n_ctx_train": 8192, "size": 98_000_000, "vocab_type": 2}},
            ModelFacts(context_tokens=8192, size_bytes=98_000_000),
        ),
        ({"id": "m", "status": {"value": "unloaded"}}, ModelFacts(loaded=False)),
        (
            {
                "id": "m",
                "description": " A model. ",
                "context_length": 128_000,
                "architecture": {"input_modalities": ["text", "image"]},
                "pricing": {"prompt": "0.0000005", "completion": "0.0000015", "request": "0"},
            },
            ModelFacts(
                description="A model.",
                context_tokens=128_000,
                vision=True,
                cost="$0.50 / $1.50 per million tokens",
            ),
        ),
        ({"pricing": {"prompt": "0", "completion": "0"}}, ModelFacts(cost="free")),
        ({"pricing": {"prompt": "-1", "completion": "-1"}}, ModelFacts()),
        ({"capabilities": {"vision": False}, "max_context_length": 32768}, ModelFacts(vision=False, context_tokens=32768)),
    ],
)  # fmt: skip
def test_each_server_is_understood_in_its_own_words(entry: Any, facts: ModelFacts) -> None:
    assert read_facts(entry, ELSEWHERE) == facts


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "m",
        [],
        {"context_length": "long", "meta": 5, "pricing": {"prompt": "dear", "completion": 1}},
        {"description": {"en": "x"}, "status": "loaded", "architecture": [], "capabilities": ["vision"]},
        {"pricing": {"prompt": "dear", "completion": "dearer"}, "max_model_len": 0},
    ],
)
def test_what_is_not_understood_is_unknown(entry: Any) -> None:
    assert read_facts(entry, ELSEWHERE) == ModelFacts()


def test_a_model_on_this_machine_is_free() -> None:
    assert read_facts(None, "this machine").cost == "free"
