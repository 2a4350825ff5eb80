"""Engines: whatever speaks the OpenAI chat protocol; routes to them; the models behind which they stand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from candide.domain.turns import EngineSwitched, ReasoningDelta, TextDelta


class ChatStream(Protocol):
    """An answer as it is written: iterate for batches of the payloads of SSE `data:` lines.

    A batch holds everything that one read brought, so a busy engine costs fewer steps. `[DONE]` is
    not passed on; the iteration ends instead. Raises EngineBroke when the stream is cut before it,
    carries an error frame or cannot be understood.
    """

    engine: str

    def __aiter__(self) -> AsyncIterator[list[bytes]]: ...

    async def aclose(self) -> None:
        """End the answer; the engine frees its slot. May be called at any time, and twice."""
        ...


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model at an engine; None and "" where nobody says it."""

    description: str = ""
    size_bytes: int | None = None
    context_tokens: int | None = None
    """The longest context that it takes there."""
    cost: str = ""
    """For people, like `$0.50 / $1.50 per million tokens`; `free` on one's own machine."""
    vision: bool | None = None
    """Whether images can be given to it there."""
    loaded: bool | None = None
    """Whether it would answer without being loaded first."""


class Engine(Protocol):
    """One OpenAI-compatible server, embedded or remote. Errors are candide.errors.EngineError or BadRequest."""

    name: str

    @property
    def location(self) -> str:
        """Where it answers: `this machine`, or its host."""
        ...

    async def models(self) -> list[str]:
        """The engine's own names of its models."""
        ...

    async def describe(self, model: str) -> ModelFacts:
        """What is known of one of its models, as told with the last list of them."""
        ...

    async def ready(self) -> bool:
        """Whether a chat request sent now would be answered without loading anything first."""
        ...

    async def open_chat(self, body: Mapping[str, Any], *, adapted: bool = False) -> ChatStream:
        """POST `/chat/completions` with `stream: true`; returns once the engine has accepted it.

        When `adapted`, the model's adapter for answers from sources is applied, where it has one.
        """
        ...

    async def open_stream(self, path: str, body: Mapping[str, Any]) -> ChatStream:
        """The same at another path that streams, like `/completions`."""
        ...

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a request that is answered whole, like `/chat/completions`, `/embeddings`."""
        ...

    async def close(self) -> None: ...


class Route(msgspec.Struct, frozen=True):
    engine: Engine
    model: str
    """The model's name at the engine."""


class Model(msgspec.Struct, frozen=True):
    """A name that users choose, with the routes behind it in order of preference."""

    name: str
    routes: tuple[Route, ...]
    created_at: int = 0
    owner: str = "candide"
    context_tokens: int | None = None


class Completion(msgspec.Struct, frozen=True):
    """How an answer ended."""

    finish_reason: str
    usage: dict[str, Any]
    """As the engine counted its last call, in the OpenAI shape."""


class AnswerWriter(Protocol):
    """Writes one answer to its end, whatever happens to the engines behind it."""

    async def first_engine(self, model: str) -> tuple[str, str]:
        """The model's full name and the engine that would answer now."""
        ...

    def write(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any],
        partial: str = "",
        *,
        adapted: bool = False,
    ) -> AsyncIterator[TextDelta | ReasoningDelta | EngineSwitched | Completion]:
        """Write the answer to `messages`, going on from `partial`; ends with a Completion.

        When `adapted`, with the model's adapter for answers from sources, where it has one.
        """
        ...
