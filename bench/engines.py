"""Engines side by side: how fast each reads a prompt and writes an answer.

    python bench/engines.py MODEL.gguf [MODEL.gguf ...] [--llama-server PATH ...] [--openvino PYTHON] [--variants]

The first row is what a newcomer gets, the `xllamacpp` wheel; the others are the `llama-server`
programs named and the one on the PATH, and OpenVINO GenAI in a Python that has it. With `--variants` the wheel is also run with other types of
KV cache and other sizes of a step, which is how the defaults of `candide.engine` were chosen.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path

from candide.models.machine import read_machine
from openvino_runner import run_openvino
from workers import Candidate, make_prompt, median, read_tokens, run_worker, set_priority, write_tokens

OPENVINO = "OpenVINO GenAI"


async def compare(model: Path, candidates: list[Candidate], options: argparse.Namespace) -> None:
    read: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    written: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    logs = Path(tempfile.mkdtemp())
    async with contextlib.AsyncExitStack() as stack:
        workers = [
            (c, await stack.enter_async_context(run_worker(c, model, logs, options.nice))) for c in candidates
        ]
        openvino = (
            await stack.enter_async_context(run_openvino(options.openvino, model))
            if options.openvino
            else None
        )
        for number in range(options.rounds):
            for candidate, worker in workers if number % 2 else reversed(workers):
                read[candidate.name].append(await read_tokens(worker, options.prompt))
                written[candidate.name].append(await write_tokens(worker, options.tokens))
            if openvino:
                got = await openvino.measure(make_prompt(options.prompt), options.tokens)
                read.setdefault(OPENVINO, []).append(got["read"])
                written.setdefault(OPENVINO, []).append(got["written"])
    shutil.rmtree(logs)
    first = candidates[0].name
    print(f"{model.name}: tokens/s, median of {options.rounds} rounds (ratio to the first)")
    print(f"{'':40}{'prompt':>18}{'answer':>18}")
    for name in read:
        cells = "".join(
            f"{f'{median(found[name]):.1f} ({median(found[name]) / median(found[first]):.2f})':>18}"
            for found in (read, written)
        )
        print(f"{name:40}{cells}", flush=True)


def list_candidates(cores: int, llama_servers: list[str], *, variants: bool) -> list[Candidate]:
    found = shutil.which("llama-server")
    paths = dict.fromkeys([*llama_servers, *([found] if found else [])])
    candidates = [Candidate("xllamacpp wheel", cores)]
    candidates += [Candidate(str(Path(path).absolute())[-40:], cores, llama_server=path) for path in paths]
    if variants:
        candidates += [
            Candidate("wheel, KV cache q8_0", cores, kv_cache="q8_0"),
            Candidate("wheel, KV cache q4_0", cores, kv_cache="q4_0"),
            Candidate("wheel, steps of 32", cores, batch=32),
            Candidate("wheel, steps of 64", cores, batch=64),
            Candidate("wheel, steps of 512", cores, batch=512),
            Candidate("wheel, weights repacked", cores, repack=True),
            Candidate("wheel, weights as in the file", cores, repack=False),
        ]
    return candidates


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--llama-server", action="append", default=[])
    parser.add_argument("--openvino", metavar="PYTHON", help="a Python with the package openvino-genai")
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=256, help="tokens to read")
    parser.add_argument("--tokens", type=int, default=16, help="tokens to write")
    parser.add_argument(
        "--nice", type=int, default=0, help="priority of all that is measured; below 0 needs root"
    )
    options = parser.parse_args()
    set_priority(options.nice)
    candidates = list_candidates(read_machine().cores, options.llama_server, variants=options.variants)
    for model in options.models:
        asyncio.run(compare(model, candidates, options))


if __name__ == "__main__":
    main()
