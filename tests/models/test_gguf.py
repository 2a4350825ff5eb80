from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candide.errors import WeightsError
from candide.models import gguf
from candide.models.gguf import read_header

from .gguf_files import Typed, number, numbers, text, texts, tiny_metadata, write_gguf


def read(data: bytes) -> gguf.GgufHeader:
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        return read_header(Path(file.name))


def test_a_header_says_what_the_model_is() -> None:
    header = read(write_gguf())

    assert (header.architecture, header.name, header.quantisation) == ("llama", "Tiny", "Q4_K_M")
    assert (header.layers, header.heads, header.kv_heads, header.context_tokens) == (2, 4, 2, 512)
    assert header.cache_values_per_token == 2 * 2 * (16 + 16)
    assert header.kv_bytes_per_token == 2 * header.cache_values_per_token
    assert header.vocabulary_size == 5
    assert (header.bos_token, header.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert header.control_tokens == ("<|im_start|>", "<|im_end|>", "<tool>")
    assert header.chat_template == "{{ messages }}"
    assert header.parameters == 64 * 32


def test_layers_that_differ_are_added_up() -> None:
    header = read(write_gguf(tiny_metadata() | {"llama.attention.head_count_kv": numbers([4, 0])}))

    assert header.kv_heads == 4
    assert header.cache_values_per_token == 4 * (16 + 16)


@pytest.mark.parametrize(
    ("extra", "growing"),
    [
        (
            {
                "llama.attention.sliding_window": number(128),
                "llama.attention.sliding_window_pattern": number(2),
            },
            4,
        ),
        ({"llama.attention.sliding_window": number(128)}, 8),
        ({"llama.full_attention_interval": number(4)}, 2),
        (
            {
                "llama.attention.sliding_window": number(128),
                "llama.attention.sliding_window_pattern": (9, (7, [True] * 7 + [False])),
            },
            1,
        ),
    ],
)
def test_only_layers_that_see_the_whole_context_count(extra: dict[str, Typed], growing: int) -> None:
    header = read(write_gguf(tiny_metadata() | {"llama.block_count": number(8)} | extra))

    assert header.cache_values_per_token == growing * 2 * 32


def test_a_token_of_a_mixture_passes_through_few_experts() -> None:
    tensors = [
        ("token_embd.weight", (64, 100), 0),
        ("output.weight", (64, 100), 0),
        ("blk.0.ffn_up_exps.weight", (64, 64, 8), 0),
    ]
    metadata = tiny_metadata() | {"llama.expert_count": number(8), "llama.expert_used_count": number(2)}

    header = read(write_gguf(metadata, tensors=tensors))

    assert header.bytes_read_per_token == 4 * (64 * 100 + 64 * 64 * 2)


@pytest.mark.weights
def test_the_real_small_model_is_read(smol_path: Path) -> None:
    header = read_header(smol_path)

    assert (header.architecture, header.layers, header.kv_heads) == ("llama", 30, 3)
    assert header.kv_bytes_per_token == 23040
    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>"} <= set(header.control_tokens)
    assert 134e6 < header.parameters < 135e6


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut off"),
        (b"GGUF", "cut off"),
        (b"PK\x03\x04" + bytes(100), "not a GGUF file"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(100), "version 1"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(100), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "keys"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**63), "name"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "architecture"),
    ],
)
def test_a_damaged_file_is_named_with_the_next_step(data: bytes, said: str) -> None:
    with pytest.raises(WeightsError, match=said) as caught:
        read(data)

    assert ".gguf" in caught.value.message
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.gguf' not found"):
        read_header(tmp_path / "gone.gguf")
    with pytest.raises(WeightsError):
        read_header(tmp_path)
    with pytest.raises(WeightsError):
        read_header(Path("\0"))


def test_a_file_that_is_cut_off_in_its_weights_is_refused() -> None:
    whole = write_gguf()

    with pytest.raises(WeightsError, match="cut off: 1 of"):
        read(whole[:-1])


def test_one_piece_of_a_split_model_is_refused() -> None:
    with pytest.raises(WeightsError, match="one of 3 pieces"):
        read(write_gguf(tiny_metadata() | {"split.count": (2, 3)}))


@pytest.mark.parametrize("element", [0, 8, 9, 12])
def test_a_list_that_claims_more_than_there_is_costs_nothing(element: int) -> None:
    """The claim is held against bounds and file before anything is set aside for it."""
    lie = write_gguf({"a": (9, (0, []))}, tensors=[])
    at = lie.index(struct.pack("<I", 9)) + 4
    for count in (2**62, 1 << 20):
        with pytest.raises(WeightsError):
            read(lie[:at] + struct.pack("<IQ", element, count) + bytes(64))


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (struct.pack("<IIQ", 9, 8, 1 << 21), "architecture"),
        (struct.pack("<IIQ", 9, 8, 1 << 36), "elements"),
        (struct.pack("<IIQ", 9, 0, 1 << 36), "elements"),
        (struct.pack("<IQ", 8, 1 << 36), "header is longer"),
    ],
)
def test_a_file_that_claims_any_size_without_taking_it_is_given_up(
    tmp_path: Path, pair: bytes, said: str
) -> None:
    path = tmp_path / "sparse.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + struct.pack("<Q", 1) + b"a" + pair)
        file.truncate(1 << 40)

    with pytest.raises(WeightsError, match=said):
        read_header(path)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_but_a_weights_error(tail: bytes) -> None:
    for data in (tail, b"GGUF" + tail, b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + tail):
        with pytest.raises(WeightsError):
            read(data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_file_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(write_gguf())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 8193))] = data.draw(st.integers(0, 255))
    try:
        header = read(bytes(whole))
    except WeightsError:
        return
    assert header.file_bytes == len(whole)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000))
def test_every_truncation_is_refused(length: int) -> None:
    whole = write_gguf()

    with pytest.raises(WeightsError):
        read(whole[: length % len(whole)])


names = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=100, deadline=None)
@given(
    tokens=st.lists(st.tuples(names, st.sampled_from([1, 2, 3, 4, 5, 6])), max_size=50),
    layers=st.integers(1, 60),
    kv_heads=st.integers(1, 16),
    head_length=st.integers(1, 256),
    context=st.integers(1, 1 << 20),
    template=names,
    noise=st.dictionaries(
        names.map(lambda name: f"x.{name}"),
        st.one_of(
            names.map(text),
            st.lists(names, max_size=5).map(texts),
            st.lists(st.integers(-5, 5), max_size=5).map(numbers),
            st.integers(0, 2**64 - 1).map(lambda value: (10, value)),
            st.floats(allow_nan=False).map(lambda value: (12, value)),
            st.booleans().map(lambda value: (7, value)),
        ),
        max_size=6,
    ),
)
def test_what_is_written_is_what_is_read(
    tokens: list[tuple[str, int]],
    layers: int,
    kv_heads: int,
    head_length: int,
    context: int,
    template: str,
    noise: dict[str, Typed],
) -> None:
    metadata = {
        **noise,
        "general.architecture": text("qwen3"),
        "qwen3.block_count": number(layers),
        "qwen3.context_length": number(context),
        "qwen3.attention.head_count": number(32),
        "qwen3.attention.head_count_kv": number(kv_heads),
        "qwen3.attention.key_length": number(head_length),
        "qwen3.attention.value_length": number(head_length),
        "tokenizer.ggml.tokens": texts([token for token, _ in tokens]),
        "tokenizer.ggml.token_type": numbers([kind for _, kind in tokens]),
        "tokenizer.chat_template": text(template),
    }

    header = read(write_gguf(metadata))

    assert header.control_tokens == tuple(token for token, kind in tokens if kind in (3, 4) and token)
    assert header.cache_values_per_token == layers * kv_heads * 2 * head_length
    assert (header.context_tokens, header.chat_template) == (context, template)
    assert header.vocabulary_size == len(tokens)


def test_long_lists_of_texts_are_read_across_the_window(tmp_path: Path) -> None:
    tokens = [f"token-{index:06d}-" + "x" * (index % 97) for index in range(60_000)]
    kinds = [3 if index % 1000 == 0 else 1 for index in range(60_000)]
    metadata = tiny_metadata() | {
        "a.merges": texts(tokens),
        "tokenizer.ggml.tokens": texts(tokens),
        "tokenizer.ggml.token_type": numbers(kinds),
    }
    path = tmp_path / "long.gguf"
    path.write_bytes(write_gguf(metadata))

    header = read_header(path)

    assert header.control_tokens == tuple(tokens[::1000])
    assert header.vocabulary_size == 60_000
