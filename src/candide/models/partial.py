"""A file on its way: the bytes that have come, what they are part of, and their hash.

While `FILE` is fetched, its folder holds `.partial/FILE.part`, the bytes; `.partial/FILE.json`, which
says what they are the beginning of; and `.partial/FILE.lock`, held by the one process that writes.
These promises hold:

- `FILE` appears by one rename, when all its bytes are on the disk and their hash is right.
- Bytes are only continued towards the hash that they were begun for, or, where none is known, by the
  source that they came from.
- A process that is killed at any moment leaves a part that the next one continues or drops.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec
from filelock import FileLock, Timeout

from candide.errors import WeightsError
from candide.models.progress import EVERY_S, Meter, format_size

CHUNK = 1 << 20
SPARE_BYTES = 256 << 20
"""Left free on the disk: a full one breaks the database, and the rest of the machine."""


class PartState(msgspec.Struct):
    """What the bytes of a part belong to."""

    source: str
    sha256: str | None
    etag: str | None = None
    size: int | None = None
    pieces: int = 0
    """Of a file in pieces, those that are in; the bytes behind the last of them do not count."""
    piece_bytes: int = 0


@contextlib.contextmanager
def hold(target: Path, meter: Meter) -> Generator[None]:
    """Keep other threads and processes from fetching `target`; waits for one that does.

    Who holds it already may hold it again.
    """
    folder = target.parent / ".partial"
    with _disk_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{target.name}.lock", is_singleton=True)
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            meter.wait(3 * EVERY_S, f"{target.stem} is being fetched already")
        except OSError as error:
            raise _explain(error, target) from error
    try:
        yield
    finally:
        lock.release()


class Part:
    """The part of one file, held under its lock. Use it as a context."""

    def __init__(self, target: Path, meter: Meter) -> None:
        self.target = target
        self.meter = meter
        folder = target.parent / ".partial"
        self.path = folder / f"{target.name}.part"
        self._state_path = folder / f"{target.name}.json"
        self._file: BinaryIO | None = None
        self._held = contextlib.ExitStack()
        self._hash = hashlib.sha256()
        self.state = PartState(source="", sha256=None)
        self.size = 0

    def __enter__(self) -> Self:
        self._held.enter_context(hold(self.target, self.meter))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._held.close()

    def open(self, source: str, sha256: str | None) -> None:
        """Continue the part if it is of this source and hash, else begin anew; hashes what is there."""
        with _disk_errors(self.target):
            self.state = self._read_state()
            hash_known = sha256 is not None and sha256 == self.state.sha256
            same = hash_known or (sha256 is None and source == self.state.source)
            if not same:
                self.state = PartState(source=source, sha256=sha256)
            elif source != self.state.source:
                # The same file elsewhere: what another source gave is its beginning too.
                self.state.source, self.state.etag = source, None
            self._file = self.path.open("r+b" if same and self.path.exists() else "w+b")
            self._write_state()
            self._rehash()

    def restart(self, sha256: str | None = None) -> None:
        """Drop the bytes, keep the source; `sha256` is that of its new version, if it has one."""
        self.state = PartState(source=self.state.source, sha256=sha256 or self.state.sha256)
        self.truncate(0)

    def truncate(self, size: int) -> None:
        """Keep only the first bytes."""
        if size == self.size:
            return
        with _disk_errors(self.target):
            self._opened.truncate(size)
            self._write_state()
            self._rehash()

    def note(self, *, etag: str | None, size: int | None) -> None:
        """Remember what the source said about the whole file."""
        self.state.etag, self.state.size = etag, size
        self.meter.total = size
        with _disk_errors(self.target):
            self._write_state()

    def note_piece(self) -> None:
        """A piece is in, whole: a later process goes on behind it."""
        with _disk_errors(self.target):
            self._opened.flush()
            os.fsync(self._opened.fileno())
            self.state.pieces += 1
            self.state.piece_bytes = self.size
            self._write_state()

    def append(self, data: bytes) -> None:
        with _disk_errors(self.target):
            self._opened.write(data)
        self._hash.update(data)
        self.size += len(data)
        self.meter.advance(self.size)

    def require_space(self, total: int, *, extra: int = 0) -> None:
        """Raise WeightsError unless the rest of the file fits on the disk with some to spare."""
        needed = max(0, total - self.size) + extra + SPARE_BYTES
        with _disk_errors(self.target):
            free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise WeightsError(
                f"no room for {self.target.name}: {format_size(needed)} are needed in '{self.target.parent}', "
                f"{format_size(free)} are free",
                hint="free some space (candide models remove), or set CANDIDE_HOME to a folder on a larger disk",
                code="no_space",
            )

    def finish(self, check: Callable[[Path], None] | None = None) -> str:
        """Check the hash, bring the bytes to the disk and the file into place; its SHA-256.

        `check` is given the path of the whole file before it gets its name; what it raises is raised,
        and the bytes are dropped.
        """
        found = self._hash.hexdigest()
        if self.state.sha256 is not None and found != self.state.sha256:
            expected = self.state.sha256
            self.drop()
            raise WeightsError(
                f"{self.target.name} came with the wrong SHA-256: {found}, not {expected}; what came was deleted",
                hint="pull again; if that fails too, the file at the source is not the one that was asked for",
                code="wrong_hash",
            )
        with _disk_errors(self.target):
            self._opened.flush()
            os.fsync(self._opened.fileno())
            self._opened.close()
            self._file = None
        if check is not None:
            try:
                check(self.path)
            except WeightsError:
                self.drop()
                raise
        with _disk_errors(self.target):
            self.path.replace(self.target)
            _sync_folder(self.target.parent)
            self._state_path.unlink(missing_ok=True)
        self.meter.finish()
        return found

    def drop(self) -> None:
        """Delete what has come."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self.path.unlink(missing_ok=True)
        self._state_path.unlink(missing_ok=True)

    @property
    def _opened(self) -> BinaryIO:
        assert self._file is not None, "open() comes first"
        return self._file

    def _rehash(self) -> None:
        file = self._opened
        self._hash = hashlib.sha256()
        self.size = 0
        file.seek(0)
        total = file.seek(0, 2)
        file.seek(0)
        if total > CHUNK:
            self.meter.enter("checking")
        while chunk := file.read(CHUNK):
            self._hash.update(chunk)
            self.size += len(chunk)
            self.meter.advance(self.size)
        self.meter.done = self.size

    def _read_state(self) -> PartState:
        try:
            return msgspec.json.decode(self._state_path.read_bytes(), type=PartState)
        except (FileNotFoundError, msgspec.DecodeError):
            return PartState(source="", sha256=None)

    def _write_state(self) -> None:
        beside = self._state_path.with_suffix(".json.new")
        beside.write_bytes(msgspec.json.encode(self.state))
        beside.replace(self._state_path)


def hash_file(path: Path, meter: Meter) -> str:
    """The SHA-256 of a file, with progress."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        meter.total = path.stat().st_size
        meter.enter("checking")
        done = 0
        while chunk := file.read(CHUNK):
            found.update(chunk)
            done += len(chunk)
            meter.advance(done)
    meter.finish()
    return found.hexdigest()


def sweep(folder: Path, *, older_than_s: float) -> None:
    """Delete parts, and what else lies among them, that nobody has touched for so long."""
    for path in folder.glob(".partial/*"):
        if path.suffix == ".lock":
            continue  # an empty file, which someone may hold
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > older_than_s:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def _disk_errors(target: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise _explain(error, target) from error


def _explain(error: OSError, target: Path) -> WeightsError:
    folder = target.parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WeightsError(
            f"the disk of '{folder}' is full; what came of {target.name} is kept",
            hint="free some space and pull again: it goes on where it stopped",
            code="no_space",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return WeightsError(
            f"'{folder}' cannot be written: {error.strerror}",
            hint="set CANDIDE_HOME to a folder that can",
            code="read_only",
        )
    return WeightsError(
        f"{target.name} cannot be written to '{folder}': {error.strerror or error}", code="disk"
    )


def _sync_folder(folder: Path) -> None:
    """Make a rename outlive a power cut, where the system knows how."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
