"""LangChain's standard tests for chat models, over a real model behind Candide."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.filterwarnings("default")
class TestChatOpenAIOverCandide(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _server(self, qwen_server: Any) -> None:
        type(self).server = qwen_server

    server: Any = None

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.server.model if self.server else "",
            "base_url": self.server.url if self.server else "",
            "api_key": "none",
            "temperature": 0,
            "stream_usage": True,
            "max_tokens": 120,
            "max_retries": 0,
        }

    @pytest.fixture
    def model(self, request: Any, _server: None) -> BaseChatModel:
        extra = getattr(request, "param", None) or {}
        return self.chat_model_class(**{**self.standard_chat_model_params, **self.chat_model_params, **extra})

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return False
