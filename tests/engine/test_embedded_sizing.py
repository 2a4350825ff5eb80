"""What of a machine's memory and cores a model is given."""

from __future__ import annotations

import msgspec
import pytest

from candide.engine.sizing import (
    LONGEST_CONTEXT,
    MIB,
    SHORTEST_CONTEXT,
    Plan,
    choose_budget,
    gains_by_repacking,
    make_plan,
)
from candide.errors import WeightsError
from candide.models.gguf import GgufHeader
from candide.models.machine import Machine

GIB = 1024 * MIB

HEADER = GgufHeader(
    architecture="qwen2",
    name="",
    quantisation="Q4_K_M",
    parameters=1_500_000_000,
    context_tokens=32768,
    layers=28,
    embedding_length=1536,
    heads=12,
    kv_heads=2,
    cache_values_per_token=14336,
    experts=0,
    experts_used=0,
    pooling=0,
    vocabulary_size=151936,
    bos_token="",
    eos_token="",
    chat_template="",
    control_tokens=(),
    file_bytes=1117 * MIB,
    bytes_read_per_token=1117 * MIB,
)

MACHINE = Machine(
    memory_bytes=16 * GIB,
    available_bytes=4 * GIB,
    cores=4,
    flags=frozenset(),
    system="Linux",
    architecture="x86_64",
    limited_by="machine",
)


def test_context_is_long_and_the_cache_fine_where_there_is_memory() -> None:
    plan = make_plan(HEADER, 16 * GIB, 8)
    assert (plan.context, plan.pool) == (LONGEST_CONTEXT, 2 * LONGEST_CONTEXT)
    assert (plan.kv_cache, plan.slots, plan.threads, plan.batch_threads) == ("f16", 4, 8, 8)


def test_context_is_never_longer_than_the_model_was_trained_for() -> None:
    assert make_plan(msgspec.structs.replace(HEADER, context_tokens=4096), 16 * GIB, 2).context == 4096
    assert make_plan(HEADER, 16 * GIB, 2, context=100_000).context == 32768


@pytest.mark.parametrize("budget_mib", range(1450, 6000, 50))
def test_plan_stays_within_its_budget_and_gives_each_conversation_its_context(budget_mib: int) -> None:
    plan = make_plan(HEADER, budget_mib * MIB, 2)
    assert plan.memory_bytes <= budget_mib * MIB
    assert SHORTEST_CONTEXT <= plan.context <= plan.pool


def test_cache_is_quantised_before_the_context_is_cut() -> None:
    plain = make_plan(HEADER, 1700 * MIB, 2, kv_cache="f16")
    chosen = make_plan(HEADER, 1700 * MIB, 2)
    assert chosen.kv_cache == "q8_0"
    assert chosen.context > plain.context


def test_what_the_user_chose_is_kept_or_refused_and_never_changed() -> None:
    plan = make_plan(HEADER, 16 * GIB, 8, threads=3, slots=2, context=8192, kv_cache="q4_0")
    chosen = Plan(3, 3, 2, 8192, 16384, "q4_0", plan.prompt_cache_mb, plan.memory_bytes)
    assert plan == chosen
    with pytest.raises(WeightsError, match="context of 32768 tokens"):
        make_plan(HEADER, 1700 * MIB, 2, context=32768)


def test_tiny_model_writes_with_half_of_the_threads() -> None:
    tiny = msgspec.structs.replace(HEADER, file_bytes=98 * MIB)
    plan = make_plan(tiny, 16 * GIB, 2)
    assert (plan.threads, plan.batch_threads) == (1, 2)


def test_budget_leaves_room_for_others_and_heeds_what_is_free_now() -> None:
    assert choose_budget(MACHINE, 0, 0) == 4 * GIB
    assert choose_budget(MACHINE, 0, 3 * GIB) == 7 * GIB
    assert choose_budget(MACHINE, 0, 15 * GIB) == int(0.7 * 16 * GIB)
    assert choose_budget(MACHINE, 500, 0) == 500 * MIB


@pytest.mark.parametrize(
    ("architecture", "flags", "gains"),
    [
        ("x86_64", {"avx2", "fma"}, False),
        ("x86_64", {"avx2", "fma", "avx512f"}, True),
        ("arm64", {"asimd", "asimddp"}, True),
    ],
)
def test_weights_are_copied_only_where_the_processor_gains_by_it(
    architecture: str, flags: set[str], gains: bool
) -> None:
    machine = msgspec.structs.replace(MACHINE, architecture=architecture, flags=frozenset(flags))
    assert gains_by_repacking(machine) is gains
