"""`candide bench`: a quick measure of this machine and model, and of what Candide adds.

The same question, each time behind words that no cache has seen, is asked of the engine directly and
as a durable turn over HTTP, in turn; medians count. Both run in this process, so that the difference
is Candide's own work. It measures; it does not judge.
"""

from __future__ import annotations

import dataclasses
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from candide.cli.client import Client
from candide.cli.output import print_json, print_note, print_table
from candide.cli.own_server import OwnServer
from candide.cli.weights import prepare_weights
from candide.domain.turns import ReasoningDelta, TextDelta, TurnFailed, TurnFinished
from candide.errors import EngineError
from candide.server.address import Address

if TYPE_CHECKING:
    from candide.engine.routes import Routes
    from candide.settings import Settings

QUESTION = "Ignore the words above. Count upwards from 1 in words, one number a line, and do not stop."
WORDS = [
    "river",
    "stone",
    "lamp",
    "bread",
    "cloud",
    "paper",
    "green",
    "winter",
    "horse",
    "table",
    "music",
    "salt",
    "window",
    "garden",
    "letter",
]


class Sample(msgspec.Struct, frozen=True):
    prompt_tokens: int
    answer_tokens: int
    first_token_s: float
    total_s: float

    @property
    def prompt_speed(self) -> float:
        return self.prompt_tokens / self.first_token_s

    @property
    def answer_speed(self) -> float:
        return max(0, self.answer_tokens - 1) / max(self.total_s - self.first_token_s, 1e-9)


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None


class _Here:
    """The server that is measured, at its address."""

    is_own = True

    def __init__(self, url: str) -> None:
        self.address = Address(url)

    async def recover(self) -> None:
        raise EngineError("the server stopped while it was measured")


async def measure(
    settings: Settings, *, model: str | None, prompt_tokens: int, answer_tokens: int, runs: int, as_json: bool
) -> None:
    """Measure and print. Raises EngineError when the engine fails."""
    settings = await prepare_weights(settings)
    with tempfile.TemporaryDirectory(prefix="candide-bench-") as folder:
        # The turns are written to a database on the disk, as always, but not into the user's history.
        database = f"sqlite:///{Path(folder) / 'bench.db'}"
        own = OwnServer(dataclasses.replace(settings, database_url=database, titles=False, api_key=""))
        await own.start()
        client = Client(_Here(own.url))
        try:
            print_note("loading the model")
            await _ask_engine(own.services.routes, settings, model, 16, 1)
            direct: list[Sample] = []
            durable: list[Sample] = []
            for run in range(runs):
                print_note(f"run {run + 1} of {runs}")
                direct.append(
                    await _ask_engine(own.services.routes, settings, model, prompt_tokens, answer_tokens)
                )
                durable.append(await _ask_candide(client, model, prompt_tokens, answer_tokens))
            name = (await own.services.routes.resolve(model or "")).name
        finally:
            await client.close()
            await own.stop()
    _report(name, direct, durable, as_json=as_json)


def _make_question(prompt_tokens: int) -> str:
    words = [random.choice(WORDS) for _ in range(max(1, prompt_tokens - 40))]  # noqa: S311 - no secret
    return f"{random.random()} {' '.join(words)}\n\n{QUESTION}"  # noqa: S311


async def _ask_engine(
    routes: Routes, settings: Settings, model: str | None, prompt_tokens: int, answer_tokens: int
) -> Sample:
    body: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": settings.system_prompt},
            {"role": "user", "content": _make_question(prompt_tokens)},
        ],
        "max_tokens": answer_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    started = time.perf_counter()
    first = 0.0
    usage = _Usage()
    stream = await routes.open_chat(model or "", body)
    try:
        async for payloads in stream:
            for payload in payloads:
                chunk = msgspec.json.decode(payload, type=_Chunk)
                usage = chunk.usage or usage
                if not first and any(c.delta.content or c.delta.reasoning_content for c in chunk.choices):
                    first = time.perf_counter()
    finally:
        await stream.aclose()
    ended = time.perf_counter()
    return Sample(usage.prompt_tokens, usage.completion_tokens, (first or ended) - started, ended - started)


async def _ask_candide(client: Client, model: str | None, prompt_tokens: int, answer_tokens: int) -> Sample:
    conversation_id = await client.create_conversation(model=model)
    question = _make_question(prompt_tokens)
    started = time.perf_counter()
    first = 0.0
    usage = _Usage()
    turn = await client.begin_turn(
        conversation_id, text=question, params={"max_tokens": answer_tokens, "temperature": 0}
    )
    async for event in client.turn_events(turn.id):
        match event:
            case TextDelta() | ReasoningDelta():
                first = first or time.perf_counter()
            case TurnFinished():
                usage = msgspec.convert(event.usage, _Usage)
            case TurnFailed():
                raise EngineError(event.message, hint=event.hint, code=event.code)
            case _:
                pass
    ended = time.perf_counter()
    return Sample(usage.prompt_tokens, usage.completion_tokens, (first or ended) - started, ended - started)


def _report(model: str, direct: list[Sample], durable: list[Sample], *, as_json: bool) -> None:
    engine, candide = _summarize(direct), _summarize(durable)
    if as_json:
        print_json({"model": model, "runs": len(direct), "engine": engine, "candide": candide})
        return
    rows = [
        (label, f"{s['first_token_ms']:.1f} ms", f"{s['prompt_tokens_per_second']:.1f}", f"{s['answer_tokens_per_second']:.2f}")
        for label, s in (("engine, directly", engine), ("through Candide", candide))
    ]  # fmt: skip
    added = candide["first_token_ms"] - engine["first_token_ms"]
    ratio = candide["answer_tokens_per_second"] / (engine["answer_tokens_per_second"] or 1)
    rows.append(("difference", f"{added:+.1f} ms", "", f"x {ratio:.3f}"))
    print_note(
        f"{model}: prompts of {engine['prompt_tokens']:.0f} tokens, answers of {engine['answer_tokens']:.0f}, "
        f"median of {len(direct)}"
    )
    print_table(("", "first token", "prompt tokens/s", "answer tokens/s"), rows)


def _summarize(samples: list[Sample]) -> dict[str, float]:
    return {
        "prompt_tokens": statistics.median(s.prompt_tokens for s in samples),
        "answer_tokens": statistics.median(s.answer_tokens for s in samples),
        "first_token_ms": round(1000 * statistics.median(s.first_token_s for s in samples), 2),
        "prompt_tokens_per_second": round(statistics.median(s.prompt_speed for s in samples), 2),
        "answer_tokens_per_second": round(statistics.median(s.answer_speed for s in samples), 2),
    }
