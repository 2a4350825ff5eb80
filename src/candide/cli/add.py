"""`candide add` and `candide refresh`: sources are read into a library, and it is shown how far that is."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from candide.cli.connection import connect
from candide.cli.output import plain_text, print_json, print_note, print_warning
from candide.domain.jobs import ENDED, Job
from candide.errors import BadRequest, CandideError, NotFound

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from candide.cli.client import Client
    from candide.domain.sources import Library, Target
    from candide.settings import Settings

POLL_S = 0.25
MAX_SHOWN = 20
"""Problems that are told one by one."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


async def add(
    settings: Settings,
    targets: Sequence[str],
    library: str,
    wishes: dict[str, Any],
    *,
    kind: str | None = None,
    wait: bool = True,
    as_json: bool = False,
) -> int:
    """Add targets to a library, which is made where there is none, and read them; the exit code.

    `wishes` are members of a target in the API. It is 1 when nothing could be read. Raises BadRequest for what cannot
    be understood.
    """
    from candide.ingestion.targets import parse

    # Where a path begins is this process's folder, and not the server's.
    parsed = [parse(text, kind=kind) for text in targets]
    async with connect(settings) as client:
        try:
            found = await client.find_library(library)
        except NotFound:
            found = await client.create_library(library)
        job = await client.add_targets(
            found.id, [{"uri": target.uri, "kind": target.kind, **wishes} for target in parsed]
        )
        return await follow_jobs(client, [(found, job)], wait=wait, as_json=as_json)


async def refresh(
    settings: Settings,
    references: Sequence[str],
    library: str | None,
    *,
    wait: bool = True,
    as_json: bool = False,
) -> int:
    """Look again at targets, or at all of a library or of every library; the exit code as that of `add`."""
    async with connect(settings) as client:
        libraries = [await client.find_library(library)] if library else await client.libraries()
        begun: list[tuple[Library, Job]] = []
        found: set[str] = set()
        for one in libraries:
            there = await client.list_targets(one.id)
            if not references:
                if there:
                    begun.append((one, await client.refresh_library(one.id)))
                continue
            wanted = {ref: target for ref in references for target in there if is_meant(ref, target)}
            found |= wanted.keys()
            if wanted:
                ids = list({target.id for target in wanted.values()})
                begun.append((one, await client.refresh_library(one.id, ids)))
        if missing := [reference for reference in references if reference not in found]:
            raise NotFound(
                f"'{missing[0]}' was not added to any library" if library is None
                else f"'{missing[0]}' was not added to '{library}'",
                hint="candide sources --targets shows what was",
            )  # fmt: skip
        if not begun:
            raise NotFound("nothing was added yet", hint="candide add TARGET --library NAME adds something")
        return await follow_jobs(client, begun, wait=wait, as_json=as_json)


def is_meant(reference: str, target: Target) -> bool:
    """Whether a user means this target, by its id, address or path."""
    from candide.ingestion.targets import parse

    if reference in (target.id, target.uri):
        return True
    if str(Path(reference).expanduser().absolute()) == target.uri:
        return True
    try:
        return parse(reference).uri == target.uri
    except BadRequest:
        return False


def read_interval(text: str | None) -> float | None:
    """Seconds of an interval as users write it: `30m`, `1h`, `2d`, `never`. Raises BadRequest."""
    if text is None:
        return None
    if text.strip().lower() in ("never", "0"):
        return 0.0
    read = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])[a-z]*", text.strip().lower())
    if read is None:
        raise BadRequest(f"'{text}' is no interval", param="every", hint="like 30m, 1h, 2d, or never")
    return float(read[1]) * _UNITS[read[2]]


async def follow_jobs(
    client: Client, begun: Sequence[tuple[Library, Job]], *, wait: bool = True, as_json: bool = False
) -> int:
    """Show how far jobs are until they end, and report; the exit code."""
    done: list[Job] = []
    for library, job in begun:
        if not wait:
            where = "when a server runs: candide serve" if client.is_own else f"candide jobs shows {job.id}"
            if not as_json:
                print_note(f"{library.name}: is read behind this; {where}")
            done.append(job)
            continue
        done.append(await _follow(client, library, job))
        if not as_json:
            report(library, done[-1])
    if as_json:
        print_json([describe(job) for job in done])
    return 1 if wait and any(_has_failed(job) for job in done) else 0


async def _follow(client: Client, library: Library, job: Job) -> Job:
    with _JobProgress(library.name) as progress:
        try:
            while job.state not in (*ENDED, "paused"):
                progress.show(job)
                await asyncio.sleep(POLL_S)
                job = await client.get_job(job.id)
        except (KeyboardInterrupt, asyncio.CancelledError):
            progress.close()
            # Shielded from what ends this: otherwise nobody could say how it stands.
            await asyncio.shield(_let_go(client, job))
            raise
    return job


async def _let_go(client: Client, job: Job) -> None:
    """Say what becomes of a job that nobody waits for any more."""
    if not client.is_own:
        print_note(
            f"the server reads on; candide jobs shows how far it is, candide jobs cancel {job.id} ends it"
        )
        return
    try:
        await client.hold_job(job.id, "pause")
        print_note(f"paused; candide jobs resume {job.id} goes on with it")
    except CandideError:
        print_note("interrupted; what is left is read when a server runs: candide serve")


def _has_failed(job: Job) -> bool:
    progress = job.progress
    has_read = progress.added + progress.updated + progress.unchanged + progress.removed
    return job.state == "failed" or bool(progress.failed and not has_read)


def describe(job: Job) -> dict[str, Any]:
    """A job as data: as the API tells it."""
    import msgspec

    described: dict[str, Any] = msgspec.to_builtins(job)
    described["progress"].pop("positions", None)
    return described


def report(library: Library, job: Job) -> None:
    """Say on standard error what a job has done, and what it could not read."""
    progress = job.progress
    counts = [
        f"{count} {word}"
        for count, word in (
            (progress.added, "added"),
            (progress.updated, "updated"),
            (progress.unchanged, "unchanged"),
            (progress.removed, "removed"),
            (progress.failed, "could not be read"),
        )
        if count
    ]
    for problem in job.problems[:MAX_SHOWN]:
        print_warning(f"{problem.uri}: {problem.reason}" + (f" ({problem.hint})" if problem.hint else ""))
    if progress.failed > MAX_SHOWN:
        print_note(
            f"and {progress.failed - min(len(job.problems), MAX_SHOWN)} more; --json shows the first 200"
        )
    if job.error:
        print_warning(job.error)
    ended = {"failed": "failed", "cancelled": "cancelled", "paused": "paused"}.get(job.state, "")
    print_note(f"{library.name}: {', '.join(filter(None, [ended, *counts])) or 'nothing has changed'}")
    if job.state == "finished" and progress.passages > progress.embedded:
        print_note("found by words; by meaning they are not: the model for that is off or failed")


def say_count(job: Job) -> str:
    """How far a job is: nothing is counted before it is known what there is."""
    progress = job.progress
    if progress.found:
        return f"{progress.done} of {progress.found}"
    return {"queued": "waiting", "running": "counting"}.get(job.state, "0")


class _JobProgress:
    """A bar on a terminal, a line now and then elsewhere, on standard error."""

    LINE_EVERY_S = 10.0

    def __init__(self, name: str) -> None:
        self._name = name
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._has_terminal = sys.stderr.isatty() and shutil.get_terminal_size().columns > 20
        self._begun = time.monotonic()
        self._next_line = self._begun + self.LINE_EVERY_S / 2

    def __enter__(self) -> _JobProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def show(self, job: Job) -> None:
        progress = job.progress
        is_read = not progress.current and progress.done >= progress.found > 0
        if is_read and progress.passages > progress.embedded:
            what, done, total = "passages", progress.embedded, progress.passages
        else:
            what, done, total = "read", progress.done, progress.found
        current = plain_text(progress.current)
        count = f"{done}/{total} {what}" if total else say_count(job)
        now = time.monotonic()
        if self._has_terminal:
            if self._bars is None or self._task is None:
                self._bars = _make_bars()
                self._bars.start()
                self._task = self._bars.add_task(self._name, total=None, count=count, current=current)
            self._bars.update(self._task, completed=done, total=total or None, count=count, current=current)
        elif now >= self._next_line:
            self._next_line = now + self.LINE_EVERY_S
            print_note(f"{self._name}: {count}" + (f", now {current}" if current else ""))


def _make_bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class CurrentColumn(ProgressColumn):
        """What is being read: it gives way where a terminal is narrow."""

        def render(self, task: Task) -> Text:
            return Text(str(task.fields["current"]), style="dim", no_wrap=True, overflow="ellipsis")

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}", markup=False),
        CurrentColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )
