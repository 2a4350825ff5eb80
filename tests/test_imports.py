"""Importing Candide does nothing visible; each look is taken in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src" / "candide"

LOOK = """
import importlib, json, os, pkgutil, sys, threading
import candide

environment, folder = dict(os.environ), os.listdir(".")
# Alembic's script is run by a migration, and is no module to import.
names = [m.name for m in pkgutil.walk_packages(candide.__path__, "candide.")
         if not m.name.endswith("__main__") and ".migrations." not in m.name]
for name in names:
    importlib.import_module(name)
changed = {k for k in environment.keys() | os.environ.keys() if environment.get(k) != os.environ.get(k)}
print(json.dumps({"modules": names, "threads": threading.active_count(), "files": os.listdir("."),
                  "before": folder, "environment": sorted(changed),
                  "children": open(f"/proc/self/task/{os.getpid()}/children").read().split()
                              if sys.platform == "linux" else []}))
"""


def test_importing_every_module_starts_nothing_and_says_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert len(seen["modules"]) > 30
    assert done.stderr == ""
    assert seen["threads"] == 1
    assert seen["files"] == seen["before"] == []
    assert seen["environment"] == []
    assert seen["children"] == []


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in SOURCE.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
