"""Where the servers of a home say that they run, for the commands of the same user and for each other.

Each server keeps `run/servers/ID.json`, which only its user can read, and holds a lock on it as long as
it lives. The kernel lets go of the lock at the very moment of a `kill -9`, so that a record which is
left behind misleads no one. A server removes its own record at its end, and those of dead ones at its
start; never that of a living one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

import msgspec

from candide.domain.ids import new_id
from candide.store.owners import is_let_go


class Address(msgspec.Struct, frozen=True):
    url: str
    pid: int = 0
    api_key: str = ""
    embedded: bool = True
    """Whether the server runs the embedded engine."""
    model: str = ""
    """What the embedded engine answers with, as a setting names it."""
    engine_urls: tuple[str, ...] = ()
    """The engines that it was attached to. Their keys stay with it."""


def read_addresses(run_dir: Path) -> list[Address]:
    """The servers that live on this home, the one that began first before the others."""
    found: list[Address] = []
    for path in _records(run_dir):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            if not is_let_go(path):
                found.append(msgspec.json.decode(path.read_bytes(), type=Address))
    return found


@contextlib.contextmanager
def leave_address(run_dir: Path, address: Address) -> Generator[None]:
    """Leave the address under the home for as long as the context lasts."""
    for record in _records(run_dir):
        with contextlib.suppress(OSError):
            if is_let_go(record):
                record.unlink()
    path = run_dir / "servers" / f"{new_id('server')}.json"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Named last: who sees the record finds it whole, and locked.
    partial = path.with_suffix(".part")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.write(file, msgspec.json.encode(address))
        partial.replace(path)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _records(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "servers").glob("*.json"))
