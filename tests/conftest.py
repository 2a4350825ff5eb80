"""Fixtures that every folder of tests may use: real weights, fetched once into a cache.

The cache is the folder named by CANDIDE_TEST_CACHE, by default ~/.cache/candide-tests. A test that
takes one of these fixtures is marked `weights`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _fetch_weights(name: str) -> Path:
    from candide.models.catalog import load_catalog
    from candide.models.weights import WeightsFolder

    cache = Path(os.environ.get("CANDIDE_TEST_CACHE") or Path.home() / ".cache" / "candide-tests")
    path = cache / f"{name}.gguf"
    if path.exists():
        return path
    return WeightsFolder(cache, load_catalog()).pull(name).path


@pytest.fixture(scope="session")
def smol_path() -> Path:
    """SmolLM2-135M-Instruct in Q4_1, 98 MB: fast, writes English, knows little."""
    return _fetch_weights("smollm2-135m")


@pytest.fixture(scope="session")
def qwen_path() -> Path:
    """Qwen2.5-Coder-1.5B-Instruct in Q4_K_M, 1.1 GB: the model of a first start on a small machine."""
    return _fetch_weights("qwen2.5-coder-1.5b")
