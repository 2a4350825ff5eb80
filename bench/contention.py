"""How fast the embedded engine writes while other programs want the processor.

    python bench/contention.py MODEL.gguf [--rounds 3] [--tokens 32] [--nice -10]

Every candidate is a way for llama.cpp's threads to wait for each other. The table gives tokens per
second when nothing else runs and beside one and two programs that compute, each also as a share of
the quiet speed of the first candidate, llama.cpp's default. The one marked with * is what
`candide.engine.worker` sets.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path

from candide.models.machine import read_machine
from workers import Candidate, keep_cores_busy, median, run_worker, set_priority, write_tokens

LOADS = (0, 1, 2)
DEFAULT = {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": ""}


def list_candidates(cores: int, llama_servers: list[str]) -> list[Candidate]:
    def waiting(name: str, spin: str, **more: str) -> Candidate:
        return Candidate(
            name, cores, environment={"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": spin, **more}
        )

    return [
        Candidate("llama.cpp's default", cores, environment={"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "300000"}),
        Candidate("* as candide sets it", cores),
        waiting("passive, spin 0", "0"),
        waiting("passive, spin 100", "100"),
        waiting("passive, spin 300", "300"),
        waiting("passive, spin 1000", "1000"),
        waiting("passive, spin 3000", "3000"),
        waiting("passive, spin 10000", "10000"),
        waiting("passive, bound", "0", OMP_PROC_BIND="true"),
        Candidate("one thread", 1),
        *(Candidate(f"{Path(path).parent.parent.name}/llama-server", cores, llama_server=path) for path in llama_servers),
    ]  # fmt: skip


async def compare(model: Path, rounds: int, tokens: int, niceness: int, candidates: list[Candidate]) -> None:
    speeds: dict[tuple[str, int], list[float]] = {(c.name, load): [] for c in candidates for load in LOADS}
    logs = Path(tempfile.mkdtemp())
    async with contextlib.AsyncExitStack() as stack:
        workers = [
            (c, await stack.enter_async_context(run_worker(c, model, logs, niceness))) for c in candidates
        ]
        for _, worker in workers:
            await write_tokens(worker, 4)
        for number in range(rounds):
            for load in LOADS:
                with keep_cores_busy(load):
                    for candidate, worker in workers if number % 2 else reversed(workers):
                        speeds[candidate.name, load].append(await write_tokens(worker, tokens))
    shutil.rmtree(logs)
    base = median(speeds[candidates[0].name, 0])
    print(f"{model.name}: tokens/s written, median of {rounds} rounds (share of the default when quiet)")
    print(
        f"{'':28}"
        + "".join(f"{f'{load} busy' if load else 'quiet':>18}" for load in LOADS)
        + f"{'1 busy / quiet':>18}"
    )
    for candidate in candidates:
        found = [median(speeds[candidate.name, load]) for load in LOADS]
        cells = "".join(f"{f'{speed:.1f} ({speed / base:.2f})':>18}" for speed in found)
        print(f"{candidate.name:28}{cells}{found[1] / found[0] if found[0] else 0:>18.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--only", default="", help="candidates to keep, by parts of their names, with commas")
    parser.add_argument("--llama-server", action="append", default=[])
    options = parser.parse_args()
    set_priority(options.nice)
    candidates = list_candidates(read_machine().cores, options.llama_server)
    kept = [
        c for c in candidates if not options.only or any(part in c.name for part in options.only.split(","))
    ]
    asyncio.run(compare(options.model, options.rounds, options.tokens, options.nice, kept))


if __name__ == "__main__":
    main()
