"""Vectors by any server that speaks OpenAI's `/v1/embeddings`."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from candide.errors import CallerError, EngineBroke

REQUEST_TEXTS = 32
SHORT = 200
"""Characters; a text of so many fits every model."""


class _Item(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Reply(msgspec.Struct):
    data: list[_Item]


class EngineEmbedder:
    """An `Embedder`; a text that is too long for the model is embedded by its beginning.

    `post` sends a body to a path of the engine, like `/embeddings`, and gives the reply's object. `dimensions` are what
    the model's vectors have. What a model wants before questions and passages, like `query: `, are the prefixes.
    """

    def __init__(
        self,
        post: Callable[[str, dict[str, Any]], Awaitable[Mapping[str, Any]]],
        model: str,
        dimensions: int,
        *,
        query_prefix: str = "",
        passage_prefix: str = "",
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._post = post
        self._model = model
        self._dimensions = dimensions
        self._query_prefix = query_prefix
        self._passage_prefix = passage_prefix
        self._close = close

    @property
    def name(self) -> str:
        # Other prefixes make other vectors.
        return "|".join([self._model, self._query_prefix, self._passage_prefix]).rstrip("|")

    @property
    def dimensions(self) -> int:
        return self._dimensions

    async def embed_query(self, text: str) -> list[float]:
        """Raises EngineError as `post` does, and EngineBroke for a reply that holds no such vector."""
        return (await self._embed_beginnings([self._query_prefix + text]))[0]

    async def embed_passages(self, texts: Sequence[str]) -> list[list[float]]:
        """Raises EngineError as `post` does, and EngineBroke for a reply that does not hold such vectors."""
        made: list[list[float]] = []
        for at in range(0, len(texts), REQUEST_TEXTS):
            made += await self._embed_beginnings(
                [self._passage_prefix + text for text in texts[at : at + REQUEST_TEXTS]]
            )
        return made

    async def close(self) -> None:
        if self._close is not None:
            await self._close()

    async def _embed_beginnings(self, texts: list[str]) -> list[list[float]]:
        """The vectors of texts, of which one that the server refuses is halved until it is taken."""
        try:
            return await self._embed(texts)
        except CallerError as error:
            if len(texts) > 1:
                return [vector for text in texts for vector in await self._embed_beginnings([text])]
            if len(texts[0]) <= SHORT:
                raise EngineBroke(f"'{self._model}' embeds no text: {error.message}") from error
            return await self._embed_beginnings([texts[0][: len(texts[0]) // 2]])

    async def _embed(self, texts: list[str]) -> list[list[float]]:
        body = {"model": self._model, "input": texts, "encoding_format": "float"}
        reply = await self._post("/embeddings", body)
        try:
            items = msgspec.convert(reply, _Reply).data
        except msgspec.ValidationError as error:
            raise EngineBroke(f"'{self._model}' gave no embeddings: {error}") from error
        vectors = [item.embedding for item in sorted(items, key=lambda item: item.index)]
        if len(vectors) != len(texts):
            raise EngineBroke(f"'{self._model}' gave {len(vectors)} embeddings for {len(texts)} texts")
        for vector in vectors:
            if len(vector) != self._dimensions:
                raise EngineBroke(
                    f"'{self._model}' gave a vector of {len(vector)} elements, and not of {self._dimensions}",
                    hint=f"set embedding_dimensions to {len(vector)}",
                )
            if not all(map(math.isfinite, vector)):
                raise EngineBroke(f"'{self._model}' gave a vector with what is no number")
        return vectors
