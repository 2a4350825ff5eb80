"""What Candide adds to an engine: the same worker asked directly and through Candide, turn by turn.

    python bench/overhead.py [--model GGUF] [--rounds 9] [--tokens 128] [--streams 1,4]

Each round asks the engine directly and then through /v1/chat/completions, so that both meet the same
disturbances; medians of the rounds are printed, and their ratio or difference. The worker gets as many threads as in `candide serve`. Every question is new at
its beginning, so no side profits from the other's prompt cache. Without --model the 135 M model is
taken from the tests' cache.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from candide.engine.sizing import make_plan
from candide.models.gguf import read_header
from candide.models.machine import read_machine
from processes import free_port, print_table, spawn, workplace
from workers import Candidate, run_worker

CACHE = Path(os.environ.get("CANDIDE_TEST_CACHE", Path.home() / ".cache" / "candide-tests"))


class Asked:
    """What one answer took."""

    def __init__(self, first_s: float, total_s: float, tokens: int) -> None:
        self.first_s = first_s
        self.total_s = total_s
        self.tokens = tokens


async def ask(
    session: aiohttp.ClientSession, url: str, key: str, model: str, tokens: int, mark: str
) -> Asked:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": f"{mark}. Tell me a long story about the sea."}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    begun = time.perf_counter()
    first, usage = 0.0, 0
    async with session.post(
        f"{url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}
    ) as reply:
        reply.raise_for_status()
        async for line in reply.content:
            if not line.startswith(b"data: {"):
                continue
            chunk = msgspec.json.decode(line[6:])
            if not first and any(choice["delta"].get("content") for choice in chunk["choices"]):
                first = time.perf_counter() - begun
            if chunk.get("usage"):
                usage = chunk["usage"]["completion_tokens"]
    return Asked(first, time.perf_counter() - begun, usage)


async def measure(
    sides: dict[str, tuple[str, str, str]], streams: int, rounds: int, tokens: int
) -> dict[str, dict[str, float]]:
    rates: dict[str, list[float]] = {side: [] for side in sides}
    firsts: dict[str, list[float]] = {side: [] for side in sides}
    async with aiohttp.ClientSession() as session:
        for number in range(rounds + 1):
            for side, (url, key, model) in sides.items():
                begun = time.perf_counter()
                marks = [f"{side} {streams} {number} {stream}" for stream in range(streams)]
                asked = await asyncio.gather(*(ask(session, url, key, model, tokens, mark) for mark in marks))
                wall = time.perf_counter() - begun
                if number:  # the first round warms both up
                    rates[side].append(sum(a.tokens for a in asked) / wall)
                    firsts[side].append(statistics.median(a.first_s for a in asked))
    pairs = zip(*firsts.values(), strict=True)
    return {
        "rate": {side: statistics.median(values) for side, values in rates.items()},
        "first": {side: 1000 * statistics.median(values) for side, values in firsts.items()},
        "ratio": {"through": statistics.median(b / a for a, b in zip(*rates.values(), strict=True))},
        "added": {"through": 1000 * statistics.median(b - a for a, b in pairs)},
    }


async def run(model: Path, rounds: int, tokens: int, streams: list[int]) -> None:
    with workplace() as folder:
        machine = read_machine()
        plan = make_plan(read_header(model), machine.available_bytes, machine.cores)
        candidate = Candidate(
            "engine", threads=plan.threads, batch_threads=plan.batch_threads, slots=max(streams)
        )
        async with run_worker(candidate, model, folder) as worker:
            port = free_port()
            command = [
                sys.executable,
                "-m",
                "candide",
                "serve",
                "--port",
                str(port),
                "--engine-url",
                worker.address,
            ]
            environ = {"CANDIDE_HOME": str(folder / "home"), "CANDIDE_ENGINE_KEYS": worker.config.api_key}
            server = spawn(command, f"http://127.0.0.1:{port}", folder / "server.log", environ)
            try:
                await asyncio.to_thread(server.wait, "/ready")
                sides = {
                    "direct": (worker.address, worker.config.api_key, "engine"),
                    "through": (server.url, "", "engine"),
                }
                rows: list[list[str]] = []
                for count in streams:
                    got = await measure(sides, count, rounds, tokens)
                    rows.append(
                        [f"{count}", f"{got['rate']['direct']:.1f}", f"{got['rate']['through']:.1f}", f"{got['ratio']['through']:.3f}",
                         f"{got['first']['direct']:.1f}", f"{got['first']['through']:.1f}", f"{got['added']['through']:+.1f}"]
                    )  # fmt: skip
            finally:
                server.stop()
    header = [
        "streams",
        "direct tok/s",
        "Candide tok/s",
        "ratio",
        "direct first ms",
        "Candide first ms",
        "added ms",
    ]
    print_table(f"{model.name}, {tokens} tokens an answer, medians of {rounds} rounds", header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=CACHE / "smollm2-135m.gguf")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--streams", default="1,4")
    arguments = parser.parse_args()
    asyncio.run(
        run(
            arguments.model,
            arguments.rounds,
            arguments.tokens,
            [int(n) for n in arguments.streams.split(",")],
        )
    )


if __name__ == "__main__":
    main()
