"""What the bodies and queries of `/api` are made of."""

from __future__ import annotations

import math
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from candide.errors import BadRequest

MAX_TEXT_CHARS = 4_000_000

SAMPLING_PARAMS = frozenset({
    "temperature", "top_p", "top_k", "min_p", "seed", "stop", "max_tokens", "max_completion_tokens",
    "presence_penalty", "frequency_penalty", "repeat_penalty", "logit_bias", "chat_template_kwargs", "reasoning_effort",
})  # fmt: skip


def check_text(text: str) -> str:
    """Refuse what cannot be stored or shown: a NUL character, half of a surrogate pair."""
    if "\0" in text:
        raise ValueError("the text contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text is not Unicode: a lone surrogate stands at character {error.start}"
        ) from None
    return text


PARAMS = "Sampling parameters in the OpenAI shape; null leaves one to the engine."

Text = Annotated[str, AfterValidator(check_text), Field(max_length=MAX_TEXT_CHARS)]
Name = Annotated[str, AfterValidator(check_text), Field(max_length=300)]


def _check_label(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return text


Label = Annotated[Name, AfterValidator(_check_label)]
"""A name that must not be empty."""
QueryText = Annotated[str, AfterValidator(check_text)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Created(BaseModel):
    id: str


def check_params(params: dict[str, Any]) -> None:
    """Refuse what is no sampling parameter or could not be sent; raises BadRequest."""
    for name, value in params.items():
        if name not in SAMPLING_PARAMS:
            raise BadRequest(f"params.{name} is not a sampling parameter", param=f"params.{name}")
        try:
            _check_value(value)
        except ValueError as error:
            raise BadRequest(f"params.{name}: {error}", param=f"params.{name}") from None


def _check_value(value: Any) -> None:
    """Refuse in JSON of any shape what the engine could not be sent; raises ValueError."""
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("the number is not finite")
    elif isinstance(value, list):
        for member in cast("list[Any]", value):
            _check_value(member)
    elif isinstance(value, dict):
        for name, member in cast("dict[str, Any]", value).items():
            check_text(name)
            _check_value(member)
