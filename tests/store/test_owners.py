"""An owner is known to be dead as soon as its process is, and not before."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from candide.errors import StoreError
from candide.store.owners import Owner

LIVE = """
import sys
from pathlib import Path
from candide.store.owners import Owner
print(Owner(Path(sys.argv[1])).id, flush=True)
sys.stdin.read()
"""


def start_owner(folder: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_an_owner_dies_at_the_moment_of_its_kill(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    process, name = start_owner(tmp_path)
    assert not owner.is_dead(name)
    assert not owner.is_dead(name)
    process.kill()
    process.wait()
    assert owner.is_dead(name)
    assert owner.is_dead(name)
    process.stdin.close()  # type: ignore[union-attr]
    process.stdout.close()  # type: ignore[union-attr]
    owner.close()


def test_an_owner_that_closed_is_dead_for_others_and_never_for_itself(tmp_path: Path) -> None:
    one, other = Owner(tmp_path), Owner(tmp_path)
    assert not other.is_dead(one.id)
    assert not one.is_dead(one.id)
    one.close()
    assert other.is_dead(one.id)
    other.close()


def test_two_that_ask_at_once_get_the_same_answer(tmp_path: Path) -> None:
    one, other, gone = Owner(tmp_path), Owner(tmp_path), Owner(tmp_path)
    gone.close()
    # Another process asks just now, and has not let go yet.
    asking = os.open(tmp_path / "owners" / gone.id, os.O_RDWR)
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert one.is_dead(gone.id)
    os.close(asking)
    one.close()
    other.close()


def test_of_owners_elsewhere_nothing_is_known(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    assert not owner.is_dead("owner_elsewhere")
    owner.close()


def test_those_long_dead_are_forgotten_and_the_living_stay(tmp_path: Path) -> None:
    living = Owner(tmp_path)
    for _ in range(60):
        Owner(tmp_path).close()
    left = {path.name for path in (tmp_path / "owners").iterdir()}
    assert living.id in left
    assert len(left) <= 34
    living.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "owners").write_text("a file")
    with pytest.raises(StoreError, match="owners"):
        Owner(tmp_path)
