"""How much of the machine an embedded model gets: context, slots, threads, type of KV cache, memory.

Everything here is arithmetic over what the model's file and the machine say; nothing is started.
"""

from __future__ import annotations

from dataclasses import dataclass

from candide.errors import WeightsError
from candide.models.gguf import GgufHeader
from candide.models.machine import Machine

MIB = 1 << 20

LONGEST_CONTEXT = 16384
"""What a conversation gets by default at most: a processor needs minutes to read more."""
SHORTEST_CONTEXT = 2048
MOST_SLOTS = 4
LARGEST_PROMPT_CACHE_MB = 1024

BUDGET_SHARE = 0.7
"""Of the machine's memory, for all embedded models together, when nobody says."""

SMALL_MODEL_BYTES = 256 * MIB
"""Below this the threads that write an answer meet so often that half of them do almost as well, and suffer
less from other programs: of the 135 M model, one of two cores writes 0.83 of what both do."""

BYTES_PER_VALUE = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
OVERHEAD_BYTES = 256 * MIB
"""The process, its libraries and llama.cpp's scratch buffers."""


@dataclass(frozen=True)
class Plan:
    threads: int
    batch_threads: int
    slots: int
    context: int
    """Tokens of one conversation."""
    pool: int
    """Tokens of all slots together."""
    kv_cache: str
    prompt_cache_mb: int
    memory_bytes: int
    """What all of this takes, the weights included."""


def make_plan(
    header: GgufHeader,
    budget_bytes: int,
    cores: int,
    *,
    threads: int = 0,
    slots: int = 0,
    context: int = 0,
    kv_cache: str = "auto",
) -> Plan:
    """Fit a model into `budget_bytes`; zeros and "auto" leave a choice to this function.

    The pool holds two conversations of full length where memory allows; short ones share it, so
    that there are more slots than that. Raises WeightsError when not even the shortest context fits.
    """
    wanted = context or min(header.context_tokens or LONGEST_CONTEXT, LONGEST_CONTEXT)
    if header.context_tokens:
        wanted = min(wanted, header.context_tokens)
    shortest = wanted if context else min(SHORTEST_CONTEXT, wanted)
    room = budget_bytes - header.file_bytes - OVERHEAD_BYTES
    types = ["f16", "q8_0"] if kv_cache == "auto" else [kv_cache]

    def affordable(kv_type: str) -> int:
        per_token = header.cache_values_per_token * BYTES_PER_VALUE[kv_type]
        return int(room / per_token) if per_token else 2 * wanted

    # The finer type unless it would cost conversation length: reading a prompt of 300 to 1000 tokens is a
    # quarter to a third slower with q8_0, and nearly half with q4_0 (bench/engines.py --variants).
    kv_type = next((t for t in types if affordable(t) >= wanted), types[-1])
    tokens = affordable(kv_type)
    if tokens < shortest:
        needed = (
            header.file_bytes
            + OVERHEAD_BYTES
            + shortest * header.cache_values_per_token * BYTES_PER_VALUE[kv_type]
        )
        raise WeightsError(
            f"too little memory: the model needs {needed / MIB:.0f} MiB with a context of {shortest} tokens, "
            f"and {max(budget_bytes, 0) / MIB:.0f} MiB may be used",
            hint="choose a smaller model, or raise memory_mb",
        )
    conversation = _round_down(min(wanted, tokens))
    pool = _round_down(min(2 * conversation, tokens))
    slot_count = slots or (MOST_SLOTS if pool >= 2 * SHORTEST_CONTEXT else 1)
    if slot_count == 1:
        pool = conversation
    cache_bytes = pool * header.cache_values_per_token * BYTES_PER_VALUE[kv_type]
    left = room - cache_bytes
    prompt_cache_mb = int(min(left / 2, cache_bytes, LARGEST_PROMPT_CACHE_MB * MIB) / MIB)
    return Plan(
        threads=threads or (cores if header.file_bytes >= SMALL_MODEL_BYTES else max(1, cores // 2)),
        batch_threads=threads or cores,
        slots=slot_count,
        context=conversation,
        pool=pool,
        kv_cache=kv_type,
        prompt_cache_mb=max(prompt_cache_mb, 0),
        memory_bytes=int(header.file_bytes + OVERHEAD_BYTES + cache_bytes + max(prompt_cache_mb, 0) * MIB),
    )


def gains_by_repacking(machine: Machine) -> bool:
    """Whether weights that are laid out anew in memory are worth the copy, of half their size or more beside the file's own pages.

    A rule of thumb from two processors, with a 1.5 B model and a library that uses AVX2 at most (bench/engines.py --variants): one with
    AVX-512 writes 1.44 to 1.74 times as fast then and reads prompts as fast, one without reads them 0.72 to 0.93 times as fast.
    """
    return machine.architecture != "x86_64" or "avx512f" in machine.flags


def _round_down(tokens: int) -> int:
    """llama.cpp keeps its cache in steps of 256 tokens, and rounds the other way."""
    return max(256, tokens // 256 * 256)


def choose_budget(machine: Machine, memory_mb: int, in_use: int) -> int:
    """The memory in bytes that all embedded models may use, of which they have `in_use` already."""
    if memory_mb:
        return memory_mb * MIB
    return min(int(BUDGET_SHARE * machine.memory_bytes), machine.available_bytes + in_use)
