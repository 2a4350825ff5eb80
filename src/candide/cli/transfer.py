"""`candide export` and `candide import`: conversations in files, folders and pipes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import msgspec

from candide.cli.connection import connect
from candide.cli.output import print_json, print_note, print_warning
from candide.errors import BadRequest

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from candide.cli.client import Client, ImportView
    from candide.settings import Settings

PIECE_BYTES = 2**20
POLL_S = 0.3

Form = Literal["json", "markdown", "chatgpt"]


async def export_conversations(
    settings: Settings, reference: str | None, everything: bool, form: Form, output: str | None
) -> None:
    """Write one conversation, or all, to a file, a folder or standard output. Raises CandideError."""
    if everything == (reference is not None):
        raise BadRequest(
            "say what to export: a conversation or --all",
            hint="candide export last; candide conversations list shows them",
        )
    target = _find_target(output, whole=everything)
    async with connect(settings) as client:
        if reference is None:
            await _export_all(client, form, target)
            return
        conversation = await client.find_conversation(reference)
        document = await client.export_conversation(conversation.id, form)
    if target is None:
        sys.stdout.buffer.write(document)
        sys.stdout.buffer.flush()
    else:
        with _Whole(target) as file:
            file.write(document)
        print_note(f"written to {target}")


def _find_target(output: str | None, *, whole: bool) -> Path | None:
    """The path to write, None for standard output. Raises BadRequest where it cannot hold a `whole` history."""
    if output is None or output == "-":
        if whole and sys.stdout.isatty():
            raise BadRequest(
                "all conversations are a ZIP, which is nothing for a terminal",
                param="output",
                hint="candide export --all -o conversations.zip, or -o with a folder",
            )
        return None
    target = Path(output).expanduser()
    if (
        whole
        and target.suffix.lower() not in ("", ".zip")
        and not output.endswith("/")
        and not target.is_dir()
    ):
        raise BadRequest(
            f"all conversations are a ZIP, and '{target.name}' does not say so",
            param="output",
            hint=f"-o {target.with_suffix('.zip')}, or -o with a folder",
        )
    return target


async def _export_all(client: Client, form: Form, target: Path | None) -> None:
    pieces = client.export_all(form)
    if target is None:
        async for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    with _Whole(_archive_of(target)) as file:
        async for piece in pieces:
            file.write(piece)
    _unpack(target)
    print_note(f"written to {target}")


def _archive_of(target: Path) -> Path:
    """The archive to write: the target, or one that is unpacked into it."""
    if target.suffix.lower() == ".zip" and not target.is_dir():
        return target
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(target, error) from error
    return target / ".export.zip"


def _unpack(target: Path) -> None:
    if not target.is_dir():
        return
    archive = target / ".export.zip"
    try:
        # The names in it are made of letters, digits and dots by the server.
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        archive.unlink(missing_ok=True)


class _Whole:
    """A file that is written whole, or stays what it was before. Raises BadRequest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._file: BinaryIO

    def __enter__(self) -> BinaryIO:
        try:
            self._file = self._partial.open("wb")
        except OSError as error:
            raise _unwritable(self._path, error) from error
        return self._file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self._file.close()
            if kind is None:
                self._partial.replace(self._path)
        except OSError as failure:
            raise _unwritable(self._path, failure) from failure
        finally:
            self._partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(self._path, error) from error


def _unwritable(path: Path, error: OSError) -> BadRequest:
    return BadRequest(
        f"'{path}' cannot be written: {error.strerror}", param="output", hint="-o names another file"
    )


async def import_files(settings: Settings, files: list[str], *, as_json: bool = False) -> int:
    """Import files one after the other, and report; the exit code: 1 when one of them failed."""
    opened = [(name, _open(name)) for name in files]
    done: list[ImportView] = []
    async with connect(settings) as client:
        for name, file in opened:
            with file, _ImportProgress() as progress:
                done.append(await _import(client, name, file, progress))
            if not as_json:
                _report(done[-1])
    if as_json:
        print_json([msgspec.to_builtins(one) for one in done])
    return 1 if any(one.state == "failed" for one in done) else 0


def _open(name: str) -> BinaryIO:
    if name == "-":
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    path = Path(name).expanduser()
    if path.is_dir():
        raise BadRequest(
            f"'{name}' is a folder",
            param="file",
            hint="import the ZIP as it was downloaded, or the conversations.json in the folder",
        )
    try:
        return path.open("rb")
    except OSError as error:
        raise BadRequest(f"'{name}' cannot be read: {error.strerror}", param="file") from error


async def _import(client: Client, name: str, file: BinaryIO, progress: _ImportProgress) -> ImportView:
    short = "standard input" if name == "-" else Path(name).name
    size = 0 if name == "-" else os.fstat(file.fileno()).st_size
    begun = await client.begin_import(
        short, _read(file, lambda sent: progress.show(f"sending {short}", sent, size))
    )
    while begun.state == "running":
        progress.show(f"reading {short}", begun.read_bytes, begun.total_bytes)
        await asyncio.sleep(POLL_S)
        begun = await client.get_import(begun.id)
    return begun


async def _read(file: BinaryIO, on_progress: Callable[[int], None]) -> AsyncIterator[bytes]:
    sent = 0
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece
        sent += len(piece)
        on_progress(sent)


def _report(done: ImportView) -> None:
    counts = [f"{done.added} added"]
    if done.updated:
        counts.append(f"{done.updated} with new messages")
    if done.unchanged:
        counts.append(f"{done.unchanged} here already")
    if done.error:
        print_warning(f"{done.name}: {done.error}")
    print_note(f"{done.name}: {', '.join(counts)}")
    for one in done.skipped:
        print_warning(f"{one.title or 'untitled'}: {one.reason}")
    if done.skipped_count > len(done.skipped):
        print_note(f"and {done.skipped_count - len(done.skipped)} more that were left out")


class _ImportProgress:
    """A bar on a terminal, a line now and then elsewhere, on standard error."""

    LINE_EVERY_S = 10.0

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._has_terminal = sys.stderr.isatty() and shutil.get_terminal_size().columns > 20
        self._begun = time.monotonic()
        self._next_line = self._begun + 2.0

    def __enter__(self) -> _ImportProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._bars is not None:
            self._bars.stop()
        if kind is not None and issubclass(kind, (KeyboardInterrupt, asyncio.CancelledError)):
            print_note("stopped; a file that was sent whole is imported all the same when a server runs")

    def show(self, description: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._has_terminal and now - self._begun > 0.5:
            if self._bars is None or self._task is None:
                from candide.cli.weights import make_bars

                self._bars = make_bars()
                self._bars.start()
                self._task = self._bars.add_task(description, speed="")
            self._bars.update(self._task, description=description, completed=done, total=total or None)
        elif now >= self._next_line:
            self._next_line = now + self.LINE_EVERY_S
            print_note(f"{description} {100 * done // total if total else 0} %")
