"""Workers side by side, for the benchmarks that compare them: all are loaded at once and take turns.

Taking turns within one round is what makes the figures comparable on a machine that is never quite
quiet: a disturbance falls on all candidates alike. The median over the rounds is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from candide.engine.control_text import ControlTexts
from candide.engine.llamacpp import LlamaCppModel
from candide.engine.sizing import gains_by_repacking
from candide.engine.supervisor import Worker, make_key
from candide.engine.worker import WorkerConfig
from candide.models.machine import read_machine

WORDS = "the river runs past an old town where people sell bread, paint boats and talk of the weather "
TOO_SLOW_S = 20.0


@dataclass
class Candidate:
    """One way to run a model."""

    name: str
    threads: int
    batch_threads: int = 0
    """As many as `threads` when 0."""
    llama_server: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    kv_cache: str = "f16"
    batch: int = 128
    slots: int = 1
    repack: bool = field(default_factory=lambda: gains_by_repacking(read_machine()))


@contextlib.asynccontextmanager
async def run_worker(
    candidate: Candidate, model: Path, logs: Path, niceness: int = 0
) -> AsyncIterator[Worker]:
    config = WorkerConfig(
        model=str(model),
        name=candidate.name,
        api_key=make_key(),
        threads=candidate.threads,
        batch_threads=candidate.batch_threads or candidate.threads,
        slots=candidate.slots,
        context=4096,
        pool=4096 * candidate.slots,
        kv_cache=candidate.kv_cache,
        batch=candidate.batch,
        pooling="last",
        repack=candidate.repack,
        llama_server=candidate.llama_server,
    )
    described = LlamaCppModel(ControlTexts(()))
    worker = Worker(config, described, logs / f"{candidate.name.replace('/', '-')}.log", 600)
    saved = dict(os.environ)
    os.environ.update(candidate.environment)
    try:
        await worker.start(120)
    finally:
        os.environ.clear()
        os.environ.update(saved)
    set_priority(niceness, worker.pid)
    try:
        yield worker
    finally:
        await worker.stop()


def make_prompt(tokens: int) -> str:
    """Words that make about so many tokens."""
    return WORDS * (tokens // 19)


async def write_tokens(worker: Worker, tokens: int) -> float:
    """Tokens per second of one answer; what came until then when it takes too long."""
    # llama.cpp closes connections that were idle while the others had their turn.
    await worker.client.close()
    stream = await worker.client.open_chat(
        {
            "messages": [{"role": "user", "content": "Tell me a story."}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "temperature": 0,
        }
    )
    began = last = 0.0
    count = -1
    try:
        async with asyncio.timeout(TOO_SLOW_S):
            async for batch in stream:
                for payload in batch:
                    if b'"content":"' in payload:
                        last = time.monotonic()
                        began = began or last
                        count += 1
    except TimeoutError:
        return max(count, 0) / (time.monotonic() - began) if began else 0.0
    finally:
        await stream.aclose()
    return count / (last - began) if last > began else 0.0


async def read_tokens(worker: Worker, tokens: int) -> float:
    """Prompt tokens per second of one request that finds nothing in the cache."""
    text = f"{time.monotonic_ns()} " + make_prompt(tokens)
    await worker.client.close()
    reply: dict[str, Any] = await worker.client.post(
        "/chat/completions",
        {"messages": [{"role": "user", "content": text}], "max_tokens": 1, "cache_prompt": False},
    )
    return float(reply["timings"]["prompt_per_second"])


@contextlib.contextmanager
def keep_cores_busy(count: int) -> Iterator[None]:
    """Run programs beside that want a core each."""
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=_spin, daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def _spin() -> None:
    number = 1
    while True:
        number = number * 3 % 1000003


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def set_priority(niceness: int, pid: int = 0) -> None:
    """Give a process a priority above that of others on the machine; needs root, and is best effort.

    Linux groups processes by session and weighs the groups first, so the group has to be raised too.
    """
    if niceness:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, niceness)
            Path(f"/proc/{pid or os.getpid()}/autogroup").write_text(str(niceness))
