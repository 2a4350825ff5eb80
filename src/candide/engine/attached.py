"""An engine that someone else runs, named by its URL; llama.cpp's own server is recognised and asked as such.

What it is, is found out at the first list of its models, from `/props`, which only llama.cpp serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from candide.domain.engines import ChatStream, ModelFacts
from candide.engine.client import EngineClient
from candide.engine.control_text import COMMON_CONTROL_TEXTS, ControlTexts
from candide.engine.llamacpp import LlamaCppEngine, LlamaCppModel
from candide.errors import CandideError


class AttachedEngine:
    """An engine (`candide.domain.engines.Engine`) at an OpenAI-compatible URL."""

    def __init__(self, name: str, base_url: str, api_key: str = "", timeout_s: float = 600.0) -> None:
        self.name = name
        self._client = EngineClient(name, base_url, api_key, timeout_s)
        # llama.cpp serves what is its own beside `/v1`.
        self._native = EngineClient(name, self._client.base_url.removesuffix("/v1"), api_key, timeout_s)
        self._engine: EngineClient | LlamaCppEngine = self._client
        self._is_known = False
        self._props: _Props | None = None
        """Of a llama.cpp that serves one model."""

    @property
    def location(self) -> str:
        return self._client.location

    async def describe(self, model: str) -> ModelFacts:
        facts = await self._client.describe(model)
        if self._props is None:
            return facts
        return msgspec.structs.replace(
            facts,
            context_tokens=self._props.default_generation_settings.n_ctx or facts.context_tokens,
            vision=self._props.modalities.vision,
            loaded=True,
        )

    async def models(self) -> list[str]:
        names = await self._client.models()
        if not self._is_known:
            self._is_known = True
            try:
                props = msgspec.convert(await self._native.get("/props"), _Props)
            except (CandideError, msgspec.ValidationError):
                return names
            self._engine = LlamaCppEngine(self._client, props.describe())
            self._props = props if len(names) == 1 else None
        return names

    async def ready(self) -> bool:
        return await self._client.ready()

    async def open_chat(self, body: Mapping[str, Any], *, adapted: bool = False) -> ChatStream:
        # Which adapters a server has is its own business.
        return await self._engine.open_chat(body)

    async def open_stream(self, path: str, body: Mapping[str, Any]) -> ChatStream:
        return await self._engine.open_stream(path, body)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._engine.post(path, body)

    async def close(self) -> None:
        await self._client.close()
        await self._native.close()


class _Settings(msgspec.Struct):
    n_ctx: int = 0


class _Modalities(msgspec.Struct):
    vision: bool | None = None


class _Props(msgspec.Struct):
    """What llama.cpp's `/props` says, as far as it matters here."""

    chat_template: str
    bos_token: str = ""
    eos_token: str = ""
    media_marker: str = ""
    default_generation_settings: _Settings = msgspec.field(default_factory=_Settings)
    modalities: _Modalities = msgspec.field(default_factory=_Modalities)

    def describe(self) -> LlamaCppModel:
        texts = (*COMMON_CONTROL_TEXTS, self.bos_token, self.eos_token, self.media_marker)
        return LlamaCppModel(
            ControlTexts(texts, self.chat_template, any_piped=True),
            template_has_tools="tools" in self.chat_template,
        )
