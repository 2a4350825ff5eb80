"""A cited answer of the real 1.5 B model with its adapter, as the official client gets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from .libraries import HARBOR_QUESTION, HARBOR_URL, QUESTION, make_library

pytestmark = [pytest.mark.weights, pytest.mark.slow, pytest.mark.timeout(300)]


def test_the_small_model_answers_in_both_languages_and_cites(qwen_server: Any, tmp_path: Path) -> None:
    make_library(qwen_server.url.removesuffix("/v1"), tmp_path)
    tool: Any = {"type": "file_search", "vector_store_ids": ["mixed"]}
    with openai.OpenAI(base_url=qwen_server.url, api_key="none", max_retries=0) as client:
        english = client.responses.create(model=qwen_server.model, input=HARBOR_QUESTION, tools=[tool])
        french = client.responses.create(model=qwen_server.model, input=QUESTION, tools=[tool])
    assert "42" in english.output_text
    assert "777" in french.output_text
    cited: Any = english.output[-1]
    assert HARBOR_URL in {one.url for one in cited.content[0].annotations if one.type == "url_citation"}
    cited = french.output[-1]
    assert {one.filename for one in cited.content[0].annotations if one.type == "file_citation"} == {
        "seine.md"
    }
