"""scripts/bootstrap.py on a repository of its own: what it fetches, installs, and leaves alone.

The package index is a folder that pip is pointed at, and the wheel in it holds a shell script for a uv.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

UV = """#!/bin/sh
if [ "$1" = --version ]; then echo "uv 9.9.9"; exit; fi
echo "$@" ${CANDIDE_TEST_PACKAGES:+and the packages of the page} >> calls
mkdir -p .venv/bin && ln -sf /bin/sh .venv/bin/python
mkdir -p src/candide/web && echo page > src/candide/web/index.html
PYTHONPATH=scripts python3 -c "import build_page; build_page.STAMP.write_text(build_page.fingerprint())"
"""


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("scripts/bootstrap.py", "scripts/build_page.py", "hatch_build.py", "web/index.html"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        (folder / "pyproject.toml").write_text('[project]\nname = "tiny"\n')
        index = folder / "index"
        index.mkdir()
        wheel = index / "uv-9.9.9-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("uv-9.9.9.data/scripts/uv", UV)
            archive.writestr(
                "uv-9.9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 9.9.9\n"
            )
            archive.writestr("uv-9.9.9.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr("uv-9.9.9.dist-info/RECORD", "")
        self.lock(hashlib.sha256(wheel.read_bytes()).hexdigest())

    def lock(self, sha256: str) -> None:
        (self.folder / "uv.lock").write_text(
            f'[[package]]\nname = "uv"\nversion = "9.9.9"\nwheels = [{{ hash = "sha256:{sha256}" }}]\n'
        )

    def change(self, name: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write("# changed\n")

    def bootstrap(self, *flags: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "/usr/sbin:/sbin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "index"),
        }
        return subprocess.run(
            [sys.executable, "scripts/bootstrap.py", *flags],
            cwd=self.folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def calls(self) -> list[str]:
        """What uv was asked to do."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_uv_is_fetched_once_and_makes_the_environment(repository: Repository) -> None:
    done = repository.bootstrap()
    assert done.returncode == 0, done.stderr
    assert [call.split()[0] for call in repository.calls] == ["sync"]
    assert [path.name for path in (repository.folder / ".uv").iterdir() if path.is_dir()] == ["bin"]


def test_nobody_is_asked_when_nothing_has_changed(repository: Repository) -> None:
    repository.bootstrap()
    shutil.rmtree(repository.folder / ".uv")
    shutil.rmtree(repository.folder / "index")
    done = repository.bootstrap()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(repository.calls) == 1


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock", "hatch_build.py", "web/index.html"])
def test_a_changed_file_is_installed_anew(repository: Repository, name: str) -> None:
    repository.bootstrap()
    repository.change(name)
    assert repository.bootstrap().returncode == 0
    assert len(repository.calls) == 2


def test_the_environment_of_the_tests_serves_to_run_but_not_the_other_way(repository: Repository) -> None:
    repository.bootstrap()
    repository.bootstrap("--tests")
    repository.bootstrap()
    assert ["--all-groups" in call for call in repository.calls] == [False, True]


def test_packages_of_the_page_are_fetched_by_its_build_alone(repository: Repository) -> None:
    repository.bootstrap()
    repository.bootstrap("--tests")
    shutil.rmtree(repository.folder / "src" / "candide" / "web")
    repository.bootstrap("--tests")
    assert ["packages of the page" in call for call in repository.calls] == [False, False, True]


def test_an_environment_whose_interpreter_has_gone_is_made_again(repository: Repository) -> None:
    repository.bootstrap()
    (repository.folder / ".venv" / "bin" / "python").unlink()
    assert repository.bootstrap().returncode == 0
    assert len(repository.calls) == 2


def test_a_page_that_has_gone_is_made_again_though_its_sources_are_the_same(repository: Repository) -> None:
    repository.bootstrap()
    shutil.rmtree(repository.folder / "src" / "candide" / "web")
    assert repository.bootstrap().returncode == 0
    assert "--reinstall-package candide" in repository.calls[-1]
    repository.bootstrap()
    assert len(repository.calls) == 2


def test_a_uv_that_is_not_the_locked_one_is_refused(repository: Repository) -> None:
    repository.lock("0" * 64)
    done = repository.bootstrap()
    assert done.returncode == 1
    assert "hint:" in done.stderr
    assert not (repository.folder / ".uv" / "bin").exists()
    assert repository.calls == []


def test_an_installation_that_failed_is_tried_again(repository: Repository) -> None:
    repository.bootstrap()
    repository.change("uv.lock")
    uv = repository.folder / ".uv" / "bin" / "uv"
    working = uv.read_text()
    uv.write_text(working.replace("mkdir -p .venv", "exit 7; mkdir -p .venv"))
    failed = repository.bootstrap()
    assert failed.returncode == 1
    assert "run it again" in failed.stderr
    uv.write_text(working)
    assert repository.bootstrap().returncode == 0
    assert len(repository.calls) == 3
