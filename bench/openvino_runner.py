"""OpenVINO GenAI as one of the engines that bench/engines.py compares.

It runs in a Python of its own, which needs the package `openvino-genai` and nothing of Candide: this file is
what that Python is given. Each line on its standard input is a request, each on its output the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

LOADING_S = 300.0


class OpenVino:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def measure(self, prompt: str, tokens: int) -> dict[str, float]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"prompt": prompt, "tokens": tokens}).encode() + b"\n")
        return json.loads(await self._process.stdout.readline())


@contextlib.asynccontextmanager
async def run_openvino(python: str, model: Path) -> AsyncIterator[OpenVino]:
    """A process of `python` with the model loaded."""
    process = await asyncio.create_subprocess_exec(
        python, __file__, str(model), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        async with asyncio.timeout(LOADING_S):
            if not await process.stdout.readline():
                raise RuntimeError(f"{python} cannot run the model with OpenVINO GenAI")
        yield OpenVino(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _serve(model: str) -> None:
    import openvino_genai as genai  # pyright: ignore[reportMissingImports]

    pipeline: Any = genai.LLMPipeline(model, "CPU")
    print(flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        config: Any = genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = asked["tokens"], True, False
        # What stands at the beginning keeps the prefix cache out of it.
        measured = pipeline.generate([f"{time.monotonic_ns()} {asked['prompt']}"], config).perf_metrics
        read_s = measured.get_ttft().mean / 1000
        print(
            json.dumps(
                {"read": measured.get_num_input_tokens() / read_s, "written": measured.get_throughput().mean}
            ),
            flush=True,
        )


if __name__ == "__main__":
    _serve(sys.argv[1])
