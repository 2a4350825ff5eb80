"""The adapter for answers from sources, with the real weights: for the requests that ask for it, and for no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from candide.engine.embedded import EmbeddedEngines, EmbeddedOptions
from candide.models.adapters import Adapters
from candide.models.weights import WeightsFolder
from candide.prompt.sources import SYSTEM_PROMPT

SOURCES = (
    "Sources:\n[1] Phare de Kermor: Le phare de Kermor fut allumé en 1874 par Jeanne Le Goff, sa première gardienne.\n"
    "[2] Port de Kermor: Le port de Kermor abrite trente bateaux de pêche.\n\nQuestion: "
)


async def ask(engine: EmbeddedEngines, question: str, *, adapted: bool) -> str:
    body: dict[str, Any] = {
        "model": "qwen",
        "messages": [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": SOURCES + question},
        ],
        "temperature": 0,
        "max_tokens": 60,
    }
    stream = await engine.open_chat(body, adapted=adapted)
    parts: list[str] = []
    async for batch in stream:
        for payload in batch:
            for choice in msgspec.json.decode(payload)["choices"]:
                parts.append(choice["delta"].get("content") or "")  # noqa: PERF401
    await stream.aclose()
    return "".join(parts)


async def test_a_grounded_request_cites_its_source_and_the_next_one_is_answered_without(
    qwen_path: Path, tmp_path: Path
) -> None:
    find_adapter = Adapters(WeightsFolder(qwen_path.parent)).find
    shape: dict[str, Any] = {"logs_dir": tmp_path, "context_tokens": 2048, "slots": 1, "llama_server": "off"}
    engine = EmbeddedEngines({"qwen": qwen_path}, EmbeddedOptions(**shape, find_adapter=find_adapter))
    bare = EmbeddedEngines({"qwen": qwen_path}, EmbeddedOptions(**shape))
    question = "Qui fut la première gardienne du phare ?"
    try:
        adapted = await ask(engine, question, adapted=True)
        plain = await ask(engine, question, adapted=False)
        await engine.close()
        expected = await ask(bare, question, adapted=True)
    finally:
        await engine.close()
        await bare.close()
    assert "Le Goff" in adapted
    assert "[1]" in adapted
    # Without being asked for, it changes nothing.
    assert plain == expected
    assert plain != adapted


async def test_a_title_without_the_adapter_leaves_what_was_read_with_it(
    qwen_path: Path, tmp_path: Path
) -> None:
    find_adapter = Adapters(WeightsFolder(qwen_path.parent)).find
    shape: dict[str, Any] = {"logs_dir": tmp_path, "context_tokens": 2048, "slots": 4, "llama_server": "off"}
    engine = EmbeddedEngines({"qwen": qwen_path}, EmbeddedOptions(**shape, find_adapter=find_adapter))
    asked = [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": SOURCES + "Qui fut la première gardienne du phare ?"},
    ]
    title = [
        {"role": "user", "content": "Write a title for a conversation about a lighthouse and its keeper."}
    ]
    next_one = [
        *asked,
        {"role": "assistant", "content": "Jeanne Le Goff [1]."},
        {"role": "user", "content": "Question: Et quand ?"},
    ]
    try:
        first = await count_read(engine, asked, adapted=True)
        await count_read(engine, title, adapted=False)
        second = await count_read(engine, next_one, adapted=True)
    finally:
        await engine.close()
    assert first > 80
    assert second < 40


async def count_read(engine: EmbeddedEngines, messages: list[dict[str, str]], *, adapted: bool) -> int:
    """Ask, and say how many tokens of the prompt were not in the cache."""
    body = {"model": "qwen", "messages": messages, "temperature": 0, "max_tokens": 2}
    stream = await engine.open_chat({**body, "stream_options": {"include_usage": True}}, adapted=adapted)
    usage: dict[str, Any] = {}
    async for batch in stream:
        for payload in batch:
            usage = msgspec.json.decode(payload).get("usage") or usage
    await stream.aclose()
    return usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"]
