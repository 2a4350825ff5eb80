"""Vectors by any server that speaks OpenAI's `/v1/embeddings`."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from candide.errors import EngineBroke

REQUEST_TEXTS = 32


class _Item(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Reply(msgspec.Struct):
    data: list[_Item]


class EngineEmbedder:
    """An `Embedder`.

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
    ) -> None:
        self._post = post
        self._model = model
        self._dimensions = dimensions
        self._query_prefix = query_prefix
        self._passage_prefix = passage_prefix

    @property
    def name(self) -> str:
        # Other prefixes make other vectors.
        return "|".join([self._model, self._query_prefix, self._passage_prefix]).rstrip("|")

    @property
    def dimensions(self) -> int:
        return self._dimensions

    async def embed_query(self, text: str) -> list[float]:
        """Raises EngineError as `post` does, and EngineBroke for a reply that holds no such vector."""
        return (await self._embed([self._query_prefix + text]))[0]

    async def embed_passages(self, texts: Sequence[str]) -> list[list[float]]:
        """Raises EngineError as `post` does, and EngineBroke for a reply that does not hold such vectors."""
        made: list[list[float]] = []
        for at in range(0, len(texts), REQUEST_TEXTS):
            made += await self._embed(
                [self._passage_prefix + text for text in texts[at : at + REQUEST_TEXTS]]
            )
        return made

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
                    hint="set the dimensions of the model of embeddings to this number",
                )
            if not all(map(math.isfinite, vector)):
                raise EngineBroke(f"'{self._model}' gave a vector with what is no number")
        return vectors
