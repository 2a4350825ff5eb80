"""What engines tell of their models beside the names: each kind of server in its own words.

Nothing of it is promised by OpenAI's protocol. What a server does not say, or says in a shape that is
not known here, stays unknown: nothing is guessed.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from candide.domain.addresses import THIS_MACHINE
from candide.domain.engines import ModelFacts

T = TypeVar("T")


class _Told(msgspec.Struct):
    """The members of a list's entry that say something, each of any shape."""

    description: Any = None
    max_model_len: Any = None
    """vLLM, SGLang."""
    context_length: Any = None
    """OpenRouter, Together."""
    max_context_length: Any = None
    """Mistral."""
    context_window: Any = None
    """Groq."""
    meta: Any = None
    """llama.cpp."""
    status: Any = None
    """llama.cpp, where it serves several models."""
    architecture: Any = None
    """OpenRouter."""
    capabilities: Any = None
    """Mistral."""
    pricing: Any = None
    """OpenRouter, in dollars for a token."""


class _Meta(msgspec.Struct):
    n_ctx: int | None = None
    n_ctx_train: int | None = None
    size: int | None = None


class _Status(msgspec.Struct):
    value: str


class _Architecture(msgspec.Struct):
    input_modalities: list[str]


class _Capabilities(msgspec.Struct):
    vision: bool


class _Pricing(msgspec.Struct):
    prompt: str
    completion: str


def read_facts(entry: Any, location: str) -> ModelFacts:
    """Read what a server at `location` told of a model in its list; None where it told nothing."""
    told = _read(entry, _Told) or _Told()
    meta = _read(told.meta, _Meta) or _Meta()
    lengths = (told.max_model_len, told.context_length, told.max_context_length, told.context_window)
    known = [
        length for length in (*(_read(told, int) for told in lengths), meta.n_ctx, meta.n_ctx_train) if length
    ]
    modalities, capabilities = (
        _read(told.architecture, _Architecture),
        _read(told.capabilities, _Capabilities),
    )
    vision = capabilities.vision if capabilities else None
    status = _read(told.status, _Status)
    return ModelFacts(
        description=(_read(told.description, str) or "").strip(),
        size_bytes=meta.size or None,
        context_tokens=known[0] if known else None,
        cost="free" if location == THIS_MACHINE else _say_price(_read(told.pricing, _Pricing)),
        vision="image" in modalities.input_modalities if modalities else vision,
        loaded=status.value == "loaded" if status else None,
    )


def _read(value: Any, kind: type[T]) -> T | None:
    """The value if it has the shape, else None."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError):
        return None


def _say_price(pricing: _Pricing | None) -> str:
    if pricing is None:
        return ""
    try:
        prompt, completion = (1e6 * float(price) for price in (pricing.prompt, pricing.completion))
    except ValueError:
        return ""
    if prompt < 0 or completion < 0:
        return ""  # it varies
    if prompt == completion == 0:
        return "free"
    return f"${prompt:.2f} / ${completion:.2f} per million tokens"
