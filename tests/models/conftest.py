from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from candide.models.catalog import Catalog
from candide.models.hub import HubAccess
from candide.models.weights import WeightsFolder

from .scripted_hub import ScriptedHub, running_hub


@pytest.fixture(autouse=True)
def _no_network_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's own environment says about proxies and the hub is not part of these tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with running_hub() as scripted:
        yield scripted


@pytest.fixture
def folder(tmp_path: Path, hub: ScriptedHub) -> WeightsFolder:
    """An empty folder of weights that pulls from the scripted hub."""
    return WeightsFolder(tmp_path / "models", Catalog(()), hub=HubAccess(endpoint=hub.url))
