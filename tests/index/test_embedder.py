"""The embedded model in its process, and engines that embed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from candide.errors import BadRequest, ContextTooLong, EngineBroke, EngineUnavailable
from candide.index.embedder import E5Embedder
from candide.index.engine_embedder import EngineEmbedder

from ..processes import has_ended


@pytest.fixture
async def embedder() -> AsyncIterator[E5Embedder]:
    embedder = E5Embedder(threads=1)
    yield embedder
    await embedder.close()


def compare(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def gone(pid: int) -> None:
    async with asyncio.timeout(30):
        while not has_ended(pid):
            await asyncio.sleep(0.02)


async def test_a_question_is_near_the_passage_that_answers_it_in_another_language_too(
    embedder: E5Embedder,
) -> None:
    passages = await embedder.embed_passages(
        ["Paris est la capitale de la France.", "Les chats dorment seize heures par jour."]
    )
    for question in ("Quelle est la capitale de la France ?", "What is the capital of France?"):
        vector = await embedder.embed_query(question)
        assert len(vector) == embedder.dimensions
        assert compare(vector, vector) == pytest.approx(1.0, abs=1e-3)
        assert compare(vector, passages[0]) > compare(vector, passages[1]) + 0.02


async def test_odd_texts_have_vectors_each_its_own_and_in_order(embedder: E5Embedder) -> None:
    texts = ["", "un\0deux", "🙂", "un deux", "x" * 20_000, *(f"texte {n}" for n in range(10))]
    made = await embedder.embed_passages(texts)
    assert len(made) == len(texts)
    alone = await embedder.embed_passages([texts[-1]])
    assert compare(made[-1], alone[0]) == pytest.approx(1.0, abs=1e-3)
    assert compare(made[1], made[3]) == pytest.approx(1.0, abs=1e-3)
    assert await embedder.embed_passages([]) == []


async def test_a_crash_costs_nobody_their_vector(embedder: E5Embedder) -> None:
    await embedder.embed_query("un")
    first = embedder.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert len(await embedder.embed_query("deux")) == 384
    assert embedder.pid not in (None, first)


async def test_whoever_goes_away_leaves_no_reply_to_others(embedder: E5Embedder) -> None:
    expected = await embedder.embed_query("La capitale de la France")
    slow = asyncio.create_task(embedder.embed_passages(["long texte " * 300] * 4))
    await asyncio.sleep(0.1)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert compare(await embedder.embed_query("La capitale de la France"), expected) == pytest.approx(
        1.0, abs=1e-3
    )


async def test_a_question_goes_before_passages_that_wait(embedder: E5Embedder) -> None:
    ended: list[str] = []

    async def note(name: str, work: Any) -> None:
        await work
        ended.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(note("passages", embedder.embed_passages(["un texte assez long " * 10] * 24)))
        group.create_task(note("others", embedder.embed_passages(["un autre texte " * 10] * 8)))
        await asyncio.sleep(0.05)
        group.create_task(note("question", embedder.embed_query("où ?")))
    assert ended[0] == "question"


async def test_the_process_ends_when_idle_and_with_its_parent() -> None:
    embedder = E5Embedder(threads=1, idle_s=0.2)
    await embedder.embed_query("un")
    pid = embedder.pid
    assert pid is not None
    await gone(pid)
    assert len(await embedder.embed_query("deux")) == 384
    await embedder.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await embedder.embed_query("trois")
    program = (
        "import asyncio; from candide.index.embedder import E5Embedder\n"
        "async def main():\n e = E5Embedder(threads=1); await e.embed_query('un'); print(e.pid, flush=True)\n"
        " await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert not has_ended(child)
    parent.kill()
    await parent.wait()
    await gone(child)


async def test_an_engine_embeds_with_the_prefixes_of_its_model() -> None:
    asked: list[dict[str, Any]] = []

    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "/embeddings"
        asked.append(body)
        items = [{"index": n, "embedding": [float(len(text)), 0.5]} for n, text in enumerate(body["input"])]
        # In any order, and with members that nobody asked for.
        return {"data": items[::-1], "object": "list", "usage": {"prompt_tokens": 3}}

    embedder = EngineEmbedder(post, "bge", 2, query_prefix="query: ", passage_prefix="passage: ")
    assert await embedder.embed_query("ab") == [9.0, 0.5]
    assert await embedder.embed_passages(["a" * n for n in range(40)]) == [[9.0 + n, 0.5] for n in range(40)]
    assert [len(body["input"]) for body in asked] == [1, 32, 8]
    assert embedder.name != EngineEmbedder(post, "bge", 2).name == "bge"


async def test_a_text_that_is_refused_is_halved_and_the_others_stay_whole() -> None:
    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        if any(len(text) > 500 for text in body["input"]):
            raise ContextTooLong("too long")
        return {
            "data": [{"index": n, "embedding": [float(len(text))]} for n, text in enumerate(body["input"])]
        }

    embedder = EngineEmbedder(post, "bge", 1)
    assert await embedder.embed_passages(["a" * 300, "b" * 3000, "c" * 400]) == [[300.0], [375.0], [400.0]]


async def test_a_server_that_takes_no_text_is_named() -> None:
    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        raise BadRequest("there is no model 'bge'")

    with pytest.raises(EngineBroke, match="there is no model"):
        await EngineEmbedder(post, "bge", 1).embed_passages(["a" * 3000])


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({}, "gave no embeddings"),
        ({"data": []}, "0 embeddings for 1"),
        ({"data": [{"index": 0, "embedding": [1.0]}]}, "of 1 elements"),
        ({"data": [{"index": 0, "embedding": [1.0, float("nan")]}]}, "no number"),
        ({"data": [{"index": 0, "embedding": "AAAA"}]}, "gave no embeddings"),
    ],
)
async def test_a_reply_without_vectors_is_named(reply: dict[str, Any], said: str) -> None:
    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        return reply

    with pytest.raises(EngineBroke, match=said):
        await EngineEmbedder(post, "bge", 2).embed_query("a")
