"""What a GGUF file says about itself, read from its head without touching the weights.

`read_header` reads the metadata and the table of tensors, a few megabytes at most, and nothing
else; a file that is no GGUF file, is damaged or shorter than its own table of tensors says raises
WeightsError and never anything else. A hostile file can neither exhaust memory nor time: every
length is held against the size of the file and against the bounds below before it is believed.

The `gguf` package of llama.cpp reads the same format; it brings numpy and a few more, maps the whole
file and builds an array for every token, which is too much to ask what a file contains.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

import msgspec

from candide.errors import WeightsError

MAGIC = b"GGUF"

MAX_HEADER_BYTES = 128 << 20
MAX_KEYS = 1 << 16
MAX_LAYERS = 1 << 12
MAX_TENSORS = 1 << 18
MAX_ARRAY = 1 << 21
MAX_ELEMENTS = 1 << 23
MAX_KEY_BYTES = 1 << 10
MAX_TEXT_BYTES = 1 << 22
MAX_KEPT_NUMBERS = 1 << 16
MAX_CONTROL_TOKENS = 1 << 16

_SCALARS = {
    code: struct.Struct("<" + form)
    for code, form in {
        0: "B",
        1: "b",
        2: "H",
        3: "h",
        4: "I",
        5: "i",
        6: "f",
        7: "?",
        10: "Q",
        11: "q",
        12: "d",
    }.items()
}
_STRING = 8
_ARRAY = 9
_U32 = _SCALARS[4]
_U64 = _SCALARS[10]

_CONTROL = 3
_USER_DEFINED = 4

# ggml type -> (numbers in a block, bytes of a block); ggml.c, `type_traits`
_TENSOR_TYPES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip

# llama.h, `llama_ftype`
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip

# Every how many layers one attends to the whole context, where the file does not say it itself.
_FULL_ATTENTION_EVERY = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2}

Scalar = int | float | bool | str


class GgufHeader(msgspec.Struct, frozen=True, kw_only=True):
    """A model as its file describes it; zeros and empty texts where the file is silent."""

    architecture: str
    name: str
    quantisation: str
    parameters: int
    context_tokens: int
    """What the model was trained for."""
    layers: int
    embedding_length: int
    heads: int
    kv_heads: int
    """Of one layer; the largest where layers differ."""
    cache_values_per_token: int
    """Numbers that the KV cache keeps for one token, over the layers whose cache grows with the context."""
    experts: int
    experts_used: int
    pooling: int
    """llama.cpp's pooling type; above 0 the model makes embeddings."""
    adapter: str = ""
    """What kind of adapter the file is, like `lora`; empty when it is a whole model."""
    vocabulary_size: int
    bos_token: str
    eos_token: str
    chat_template: str
    control_tokens: tuple[str, ...]
    """Texts of the vocabulary's control and user-defined tokens: text of users must not become these."""
    file_bytes: int
    bytes_read_per_token: int
    """How much of the weights one token of an answer passes through."""

    @property
    def kv_bytes_per_token(self) -> int:
        """Of the KV cache in f16."""
        return 2 * self.cache_values_per_token

    @property
    def thinks(self) -> bool:
        """Whether the chat template knows of reasoning before the answer."""
        return any(mark in self.chat_template for mark in ("<think>", "enable_thinking", "reasoning_content"))

    @property
    def uses_tools(self) -> bool:
        return "tools" in self.chat_template


def read_header(path: Path) -> GgufHeader:
    """Raises WeightsError, which names the file and the next step."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _Reader(file, size).read_header()
    except FileNotFoundError:
        raise WeightsError(
            f"model file '{path}' not found",
            hint="candide models list shows what there is",
            code="not_installed",
        ) from None
    except (OSError, ValueError) as error:
        # ValueError: a path with a null byte in it
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WeightsError(f"model file '{path}' cannot be read: {reason}") from error
    except _DamagedError as error:
        raise WeightsError(
            f"model file '{path}' cannot be used: {error}", hint=error.hint, code="damaged"
        ) from None


class _DamagedError(Exception):
    """What is wrong, as the end of a sentence about the file."""

    def __init__(self, message: str, *, hint: str = "candide models remove and pull it again") -> None:
        super().__init__(message)
        self.hint = hint


class _Reader:
    """Reads forward through a window on the file; positions are offsets in the file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._window = b""
        self._at = 0
        self._window_start = 0
        self._elements = 0
        self._kept_numbers = 0
        self._kept_bytes = 0
        self.values: dict[str, Scalar | list[Scalar]] = {}
        self.tokens: list[bytes] = []
        self.token_types: list[int] = []

    def read_header(self) -> GgufHeader:
        if self._take(4) != MAGIC:
            raise _DamagedError("it is not a GGUF file", hint="the embedded engine reads GGUF files only")
        version = self._unpack(_U32)
        if version not in (2, 3):
            swapped = int.from_bytes(int(version).to_bytes(4, "little"), "big")
            what = "it is big-endian" if swapped in (2, 3) else f"its format version {version} is unknown"
            raise _DamagedError(what, hint="choose a GGUF file of version 2 or 3, little-endian")
        tensor_count, key_count = self._unpack(_U64), self._unpack(_U64)
        if key_count > MAX_KEYS or tensor_count > MAX_TENSORS:
            raise _DamagedError(f"it claims {key_count} keys and {tensor_count} tensors")
        for _ in range(key_count):
            self._read_pair()
        pieces = self._number("split.count")
        if pieces > 1:
            raise _DamagedError(
                f"it is one of {pieces} pieces of a model", hint="choose a model that is one .gguf file"
            )
        parameters, bytes_read = self._read_tensors(int(tensor_count))
        return self._describe(parameters, bytes_read)

    # Metadata

    def _read_pair(self) -> None:
        key = self._text(MAX_KEY_BYTES)
        kind = self._unpack(_U32)
        if kind == _STRING:
            length = self._unpack(_U64)
            if length > MAX_TEXT_BYTES or self._kept_bytes + length > MAX_TEXT_BYTES:
                self._skip(length)
            else:
                self._kept_bytes += length
                self.values[key] = self._take(length).decode("utf-8", "replace")
        elif kind == _ARRAY:
            self._read_array(key)
        else:
            self.values[key] = self._unpack(self._scalar(kind))

    def _read_array(self, key: str) -> None:
        kind, count = self._unpack(_U32), self._unpack(_U64)
        self._elements += count
        if count > MAX_ARRAY or self._elements > MAX_ELEMENTS:
            raise _DamagedError(f"its list '{key[:40]}' claims {count} elements")
        if kind == _STRING:
            self._walk_strings(count, self.tokens if key == "tokenizer.ggml.tokens" else None)
            return
        form = self._scalar(kind)
        if key == "tokenizer.ggml.token_type" and kind in (4, 5):
            data = self._take(count * form.size)
            self.token_types = [value for (value,) in form.iter_unpack(data)]
        elif self._kept_numbers + count <= MAX_KEPT_NUMBERS and not key.startswith("tokenizer."):
            self._kept_numbers += count
            self.values[key] = [value for (value,) in form.iter_unpack(self._take(count * form.size))]
        else:
            self._skip(count * form.size)

    def _scalar(self, kind: int) -> struct.Struct:
        form = _SCALARS.get(kind)
        if form is None:
            raise _DamagedError(f"it holds a value of unknown type {kind}")
        return form

    # Tensors

    def _read_tensors(self, count: int) -> tuple[int, int]:
        """Parameters, and bytes that one token passes through; refuses a file that ends too early."""
        tensors: list[tuple[str, int]] = []
        parameters = end = 0
        for _ in range(count):
            name = self._text(MAX_KEY_BYTES)
            dimensions = self._unpack(_U32)
            if dimensions > 8:
                raise _DamagedError(f"its tensor '{name[:40]}' claims {dimensions} dimensions")
            numbers = math.prod(self._unpack(_U64) for _ in range(dimensions))
            kind, offset = self._unpack(_U32), self._unpack(_U64)
            block, block_bytes = _TENSOR_TYPES.get(kind, (1, 0))
            size = -(-numbers // block) * block_bytes
            tensors.append((name, size))
            parameters += numbers
            end = max(end, offset + size)
        alignment = self._number("general.alignment") or 32
        head = self._position
        missing = head + -head % alignment + end - self._size if count else 0
        if missing > 0:
            raise _DamagedError(f"it is cut off: {missing} of {self._size + missing} bytes are missing")
        return parameters, self._count_bytes_read(tensors)

    def _count_bytes_read(self, tensors: list[tuple[str, int]]) -> int:
        architecture = self._text_value("general.architecture")
        experts = self._number(f"{architecture}.expert_count")
        used = self._number(f"{architecture}.expert_used_count")
        share = min(1.0, used / experts) if experts and used else 1.0
        tied = not any(name == "output.weight" for name, _ in tensors)
        total = 0.0
        for name, size in tensors:
            if name.startswith("per_layer_token_embd") or (name == "token_embd.weight" and not tied):
                continue  # one row is looked up
            total += size * share if "_exps." in name else size
        return int(total)

    # The result

    def _describe(self, parameters: int, bytes_read: int) -> GgufHeader:
        architecture = self._text_value("general.architecture")
        if not architecture:
            raise _DamagedError(
                "it does not name an architecture", hint="choose a GGUF file that llama.cpp can load"
            )
        layers = self._number(f"{architecture}.block_count")
        if layers > MAX_LAYERS:
            raise _DamagedError(f"it claims {layers} layers")
        heads = max(self._numbers(f"{architecture}.attention.head_count"), default=0)
        kv_heads = self._numbers(f"{architecture}.attention.head_count_kv") or [heads]
        embedding_length = self._number(f"{architecture}.embedding_length")
        width = embedding_length // heads if heads else 0
        key_length = self._number(f"{architecture}.attention.key_length") or width
        value_length = self._number(f"{architecture}.attention.value_length") or width
        per_layer = kv_heads if len(kv_heads) == layers else kv_heads[:1] * layers
        whole = self._whole_context_layers(architecture, layers)
        growing = sum(count for count, grows in zip(per_layer, whole, strict=False) if grows)
        return GgufHeader(
            architecture=architecture,
            name=self._text_value("general.name"),
            quantisation=_FILE_TYPES.get(self._number("general.file_type", -1), ""),
            parameters=parameters,
            context_tokens=self._number(f"{architecture}.context_length"),
            layers=layers,
            embedding_length=embedding_length,
            heads=heads,
            kv_heads=max(kv_heads, default=0),
            cache_values_per_token=growing * (key_length + value_length),
            experts=self._number(f"{architecture}.expert_count"),
            experts_used=self._number(f"{architecture}.expert_used_count"),
            pooling=self._number(f"{architecture}.pooling_type"),
            adapter=self._text_value("adapter.type") if self._text_value("general.type") == "adapter" else "",
            vocabulary_size=len(self.tokens),
            bos_token=self._token("tokenizer.ggml.bos_token_id"),
            eos_token=self._token("tokenizer.ggml.eos_token_id"),
            chat_template=self._text_value("tokenizer.chat_template"),
            control_tokens=self._control_tokens(),
            file_bytes=self._size,
            bytes_read_per_token=bytes_read,
        )

    def _whole_context_layers(self, architecture: str, layers: int) -> list[bool]:
        """For each layer, whether it attends to the whole context, not to a window or a state of fixed size."""
        interval = self._number(f"{architecture}.full_attention_interval")
        if not interval and self._number(f"{architecture}.attention.sliding_window"):
            pattern = self._numbers(f"{architecture}.attention.sliding_window_pattern")
            if len(pattern) == layers:
                return [not slides for slides in pattern]
            interval = pattern[0] if pattern else _FULL_ATTENTION_EVERY.get(architecture, 1)
        return [interval < 2 or (layer + 1) % interval == 0 for layer in range(layers)]

    def _control_tokens(self) -> tuple[str, ...]:
        chosen = [
            token
            for token, kind in zip(self.tokens, self.token_types, strict=False)
            if kind in (_CONTROL, _USER_DEFINED) and token
        ]
        if len(chosen) > MAX_CONTROL_TOKENS:
            raise _DamagedError(f"it claims {len(chosen)} control tokens")
        return tuple(token.decode("utf-8", "replace") for token in chosen)

    def _token(self, key: str) -> str:
        index = self._number(key, -1)
        return self.tokens[index].decode("utf-8", "replace") if 0 <= index < len(self.tokens) else ""

    def _text_value(self, key: str) -> str:
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def _number(self, key: str, default: int = 0) -> int:
        numbers = self._numbers(key)
        return numbers[0] if numbers else default

    def _numbers(self, key: str) -> list[int]:
        """The whole numbers under a key, be it one or a list; negative ones and others are left out."""
        value = self.values.get(key)
        values = value if isinstance(value, list) else [value]
        return [int(number) for number in values if isinstance(number, int) and number >= 0]

    # The window

    @property
    def _position(self) -> int:
        return self._window_start + self._at

    def _unpack(self, form: struct.Struct) -> int:
        return form.unpack(self._take(form.size))[0]

    def _text(self, longest: int) -> str:
        length = self._unpack(_U64)
        if length > longest:
            raise _DamagedError(f"it holds a name of {length} bytes")
        return self._take(length).decode("utf-8", "replace")

    def _take(self, count: int) -> bytes:
        if self._at + count > len(self._window):
            self._fill(count)
        data = self._window[self._at : self._at + count]
        self._at += count
        return data

    def _skip(self, count: int) -> None:
        if self._at + count <= len(self._window):
            self._at += count
            return
        position = self._position + count
        self._check(position)
        self._file.seek(position)
        self._window, self._at, self._window_start = b"", 0, position

    def _walk_strings(self, count: int, kept: list[bytes] | None) -> None:
        """Read a list of texts, which may be hundreds of thousands; without `kept`, only step over it."""
        unpack = _U64.unpack_from
        window, at = self._window, self._at
        for _ in range(count):
            if at + 8 > len(window):
                self._at = at
                self._fill(8)
                window, at = self._window, self._at
            start = at + 8
            at = start + unpack(window, at)[0]
            if at <= len(window):
                if kept is not None:
                    kept.append(window[start:at])
                continue
            self._at = start
            if kept is None:
                self._skip(at - start)
            else:
                kept.append(self._take(at - start))
            window, at = self._window, self._at
        self._at = at

    def _fill(self, count: int) -> None:
        """Make at least `count` bytes available from here on."""
        position = self._position
        self._check(position + count)
        rest = self._window[self._at :]
        self._window = rest + self._file.read(max(count - len(rest), 1 << 20))
        self._window_start, self._at = position, 0
        if len(self._window) < count:
            raise _DamagedError("it is cut off in its header")

    def _check(self, end: int) -> None:
        if end > self._size:
            raise _DamagedError("it is cut off in its header")
        if end > MAX_HEADER_BYTES:
            raise _DamagedError(f"its header is longer than {MAX_HEADER_BYTES >> 20} MiB")
