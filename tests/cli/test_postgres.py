"""A Candide whose database is PostgreSQL: what is added is indexed there, and no folder of an index is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Candide


def test_what_is_added_is_indexed_and_found_there(
    candide: Candide, postgres_database: str, tmp_path: Path
) -> None:
    candide.home.mkdir(parents=True)
    (candide.home / "settings.toml").write_text(f"database_url = '{postgres_database}'\n")
    page = tmp_path / "figs.md"
    page.write_text("# Figs\n\nThe fig tree bears fruit in the warm garden of August.\n")
    done = candide.run("add", str(page), "--library", "garden")
    assert done.code == 0, done.err
    for question in ("fig tree", "when does the fruit ripen?"):
        found = candide.run("search", question, "--library", "garden", "--json").json()
        assert [result["source"]["title"] for result in found["results"]] == ["Figs"], question
    assert not (candide.home / "index").exists()
