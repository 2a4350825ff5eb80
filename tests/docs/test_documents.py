"""The documents hold what they say: links lead somewhere, and what the code has is described."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from .snippets import DOCUMENTS, ROOT

PACKAGE = ROOT / "src" / "candide"
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_documents_leads_somewhere(document: Path) -> None:
    lost = []
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or (
            anchor and anchor not in [_anchor(heading) for heading in _headings(target)]
        ):
            lost.append(link)
    assert lost == []


def test_every_folder_and_module_at_the_top_has_its_place_in_the_architecture() -> None:
    headings = "\n".join(_headings(ROOT / "ARCHITECTURE.md"))
    names = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in PACKAGE.iterdir()
        if (path.is_dir() and any(path.glob("*.py")))
        or (path.suffix == ".py" and not path.name.startswith("__"))
    ]
    assert [name for name in names if f"`{name}`" not in headings] == []


def test_every_dependency_is_accounted_for_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *(name for extra in project["project"]["optional-dependencies"].values() for name in extra),
        *(name for group in project["dependency-groups"].values() for name in group),
    ]
    names = {re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in wanted}
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_every_module_opens_by_saying_what_it_promises() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in [*PACKAGE.rglob("*.py"), *(ROOT / "scripts").glob("*.py"), *(ROOT / "bench").glob("*.py")]
        if (source := path.read_text(encoding="utf-8")).strip() and not ast.get_docstring(ast.parse(source))
    ]
    assert silent == []
