"""What the head of a GGUF file says about the model: enough to plan its memory, in a millisecond.

Only the few keys that `ModelFacts` holds are kept, and reading stops where the tokenizer begins.
Format: the GGUF specification of ggml, versions 2 and 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from candide.errors import WeightsError

_SCALARS = {
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
_STRING = 8
_ARRAY = 9
_LONGEST_STRING = 1 << 24

Value = int | float | bool | str


@dataclass(frozen=True)
class ModelFacts:
    architecture: str
    file_bytes: int
    trained_context: int
    """Tokens; 0 when the file does not say."""
    layers: int
    cache_values_per_token: int
    """Numbers that the KV cache keeps for one token, over all layers."""
    pools: bool
    """Whether the model was trained to make embeddings, and so names its own pooling."""


def read_facts(path: Path) -> ModelFacts:
    """Raise WeightsError, naming the file, when it is missing or no GGUF file."""
    try:
        with path.open("rb") as file:
            values = _read_values(file)
        size = path.stat().st_size
    except FileNotFoundError:
        raise WeightsError(
            f"model file '{path}' not found", hint="candide models list shows what there is"
        ) from None
    except OSError as error:
        raise WeightsError(f"model file '{path}' cannot be read: {error.strerror}") from error
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise WeightsError(
            f"model file '{path}' is damaged or not a GGUF file: {error}", hint="remove it and pull it again"
        ) from error
    architecture = str(values.get("general.architecture", ""))

    def number(key: str, default: int = 0) -> int:
        value = values.get(f"{architecture}.{key}", default)
        return int(value) if isinstance(value, (int, float)) else default

    layers = number("block_count")
    heads = number("attention.head_count", 1) or 1
    width = number("embedding_length") // heads
    per_layer = values.get(f"{architecture}.attention.head_count_kv", heads)
    kv_heads = (
        sum(cast("list[int]", per_layer))
        if isinstance(per_layer, list)
        else int(cast("int", per_layer)) * layers
    )
    return ModelFacts(
        architecture=architecture,
        file_bytes=size,
        trained_context=number("context_length"),
        layers=layers,
        cache_values_per_token=kv_heads
        * (number("attention.key_length", width) + number("attention.value_length", width)),
        pools=number("pooling_type") > 0,
    )


def _read_values(file: BinaryIO) -> dict[str, Value | list[Value]]:
    if file.read(4) != b"GGUF":
        raise ValueError("it does not begin with the letters GGUF")
    version, _, count = struct.unpack("<IQQ", file.read(20))
    if version not in (2, 3):
        raise ValueError(f"its version is {version}, not 2 or 3")
    values: dict[str, Value | list[Value]] = {}
    for _ in range(count):
        key = _read_string(file)
        if key.startswith("tokenizer."):
            break
        (kind,) = struct.unpack("<I", file.read(4))
        if kind != _ARRAY:
            values[key] = _read_value(file, kind)
            continue
        kind, length = struct.unpack("<IQ", file.read(12))
        values[key] = [_read_value(file, kind) for _ in range(length)]
    return values


def _read_value(file: BinaryIO, kind: int) -> Value:
    if kind == _STRING:
        return _read_string(file)
    if kind not in _SCALARS:
        raise ValueError(f"a value of unknown type {kind}")
    form = _SCALARS[kind]
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _read_string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST_STRING:
        raise ValueError(f"a text of {length} bytes")
    data = file.read(length)
    if len(data) < length:
        raise ValueError("it ends too early")
    return data.decode()
