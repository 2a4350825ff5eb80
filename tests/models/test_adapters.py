"""Adapters: shipped for one base and no other, attached by users to a model of theirs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import candide.models
from candide.errors import BadRequest
from candide.models.adapters import Adapters
from candide.models.catalog import load_catalog
from candide.models.gguf import read_header
from candide.models.weights import WeightsFolder


def test_the_adapter_that_is_shipped_is_the_one_of_the_catalogue() -> None:
    catalog = load_catalog()
    [entry] = catalog.adapters
    path = Path(candide.models.__file__).with_name(entry.file)
    assert path.stat().st_size == entry.size
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    assert read_header(path).adapter == "lora"
    base = catalog.find(entry.base)
    assert (base.size, base.sha256) == (entry.base_size, entry.base_sha256)


def test_it_belongs_to_its_base_alone(qwen_path: Path, smol_path: Path, tmp_path: Path) -> None:
    adapters = Adapters(WeightsFolder(qwen_path.parent))
    found = adapters.find(qwen_path)
    assert found is not None
    assert found.name == load_catalog().adapters[0].file
    assert adapters.find(smol_path) is None
    # A file that was put there by hand is known by its bytes.
    (tmp_path / "mine.gguf").hardlink_to(qwen_path)
    assert Adapters(WeightsFolder(tmp_path)).find(tmp_path / "mine.gguf") == found


def test_a_users_own_comes_first_and_can_be_taken_away(
    qwen_path: Path, smol_path: Path, tmp_path: Path
) -> None:
    folder = WeightsFolder(tmp_path)
    (tmp_path / "qwen.gguf").hardlink_to(qwen_path)
    (tmp_path / "smol.gguf").hardlink_to(smol_path)
    shipped = Path(candide.models.__file__).with_name(load_catalog().adapters[0].file)
    adapters = Adapters(folder)
    own = adapters.attach(shipped, "qwen")
    assert adapters.find(tmp_path / "qwen.gguf") == own
    assert [weights.name for weights in folder.installed()] == ["qwen", "smol"]
    assert adapters.detach("qwen")
    assert not adapters.detach("qwen")
    assert adapters.find(tmp_path / "qwen.gguf") == shipped
    with pytest.raises(BadRequest, match="is no adapter"):
        adapters.attach(smol_path, "qwen")
    with pytest.raises(BadRequest, match="for qwen2 models"):
        adapters.attach(shipped, "smol")
