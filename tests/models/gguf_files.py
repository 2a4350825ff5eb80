"""Writes GGUF files for tests, right or as wrong as wanted."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

Typed = tuple[int, Any]
"""A GGUF value type and the value; (9, (type, values)) is a list."""

_FORMS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}


def text(value: str) -> Typed:
    return 8, value


def number(value: int) -> Typed:
    return 4, value


def texts(values: Sequence[str]) -> Typed:
    return 9, (8, values)


def numbers(values: Sequence[int]) -> Typed:
    return 9, (5, values)


def tiny_metadata() -> dict[str, Typed]:
    """A model of two layers, with a vocabulary of five tokens of which three are not plain text."""
    return {
        "general.architecture": text("llama"),
        "general.name": text("Tiny"),
        "general.file_type": number(15),
        "llama.block_count": number(2),
        "llama.context_length": number(512),
        "llama.embedding_length": number(64),
        "llama.attention.head_count": number(4),
        "llama.attention.head_count_kv": number(2),
        "tokenizer.ggml.tokens": texts(["<|im_start|>", "<|im_end|>", "hello", "wörld", "<tool>"]),
        "tokenizer.ggml.token_type": numbers([3, 3, 1, 1, 4]),
        "tokenizer.ggml.bos_token_id": number(0),
        "tokenizer.ggml.eos_token_id": number(1),
        "tokenizer.chat_template": text("{{ messages }}"),
    }


def write_gguf(
    metadata: Mapping[str, Typed] | None = None,
    *,
    tensors: Sequence[tuple[str, Sequence[int], int]] = (("output.weight", (64, 32), 0),),
    version: int = 3,
    filler: bytes = b"w",
) -> bytes:
    """A whole file; tensors are (name, dimensions, type), of types 0 (F32), 1 (F16) and 8 (Q8_0)."""
    metadata = tiny_metadata() if metadata is None else metadata
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, (kind, value) in metadata.items():
        head += _text(key) + struct.pack("<I", kind) + _value(kind, value)
    offset = 0
    for name, dimensions, kind in tensors:
        head += _text(name) + struct.pack("<I", len(dimensions))
        head += b"".join(struct.pack("<Q", size) for size in dimensions)
        head += struct.pack("<IQ", kind, offset)
        count = 1
        for size in dimensions:
            count *= size
        offset += {0: 4 * count, 1: 2 * count, 8: count // 32 * 34}[kind]
        offset += -offset % 32
    head += bytes(-len(head) % 32)
    return head + (filler * (offset // len(filler) + 1))[:offset]


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(data)) + data


def _value(kind: int, value: Any) -> bytes:
    if kind == 8:
        return _text(value)
    if kind == 9:
        element, values = value
        return struct.pack("<IQ", element, len(values)) + b"".join(_value(element, one) for one in values)
    return struct.pack(_FORMS[kind], value)
