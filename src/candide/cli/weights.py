"""Weights before the first answer: a server needs a model, and a first start fetches one.

What is fetched is chosen for the machine and said in one line; the progress goes to standard error,
and Ctrl-C leaves a download that the next start goes on with.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from candide.cli.output import print_note

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from candide.models.progress import Progress
    from candide.models.weights import Weights
    from candide.settings import Settings


class PullCancelled(Exception):
    """Raised in the thread that pulls, to end the pull."""


class PullProgress:
    """Shows a pull on standard error: a bar on a terminal, a line now and then elsewhere."""

    LINE_EVERY_S = 10.0

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._next_line = time.monotonic() + 1.0
        self.cancelled = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        if self.cancelled.is_set():
            raise PullCancelled
        description = progress.note or f"{progress.stage} {_short(progress.source)}"
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._draw(description, progress)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self.LINE_EVERY_S
            share = f"{100 * progress.done / progress.total:.0f} %" if progress.total else ""
            print_note(f"{description} {share} {progress.bytes_per_second / 1e6:.1f} MB/s")

    def _draw(self, description: str, progress: Progress) -> None:
        # Made on the first sign of life: a start that fetches nothing does not load the library.
        if self._bars is None:
            self._bars = _make_bars()
            self._bars.start()
        if self._task is None:
            self._task = self._bars.add_task(description)
        self._bars.update(self._task, description=description, completed=progress.done, total=progress.total)


def _make_bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )


def pull_weights(settings: Settings, target: str, name: str | None) -> Weights:
    """Fetch weights into the home, showing how far it is. Raises as WeightsFolder.pull does."""
    from candide.models.weights import WeightsFolder

    with PullProgress() as progress:
        return WeightsFolder(settings.weights_dir).pull(target, name=name, progress=progress)


async def prepare_weights(settings: Settings) -> Settings:
    """Settings under which a server has a model to answer with, fetched first if need be.

    Left as they are where the embedded engine does not run. Raises WeightsError that says what to do.
    """
    from candide.compose import uses_embedded

    if not uses_embedded(settings):
        return settings
    with PullProgress() as progress:
        try:
            weights = await asyncio.to_thread(_prepare, settings, progress)
        except asyncio.CancelledError:
            progress.cancelled.set()
            raise
    return dataclasses.replace(settings, model=str(weights.path))


def _prepare(settings: Settings, progress: PullProgress) -> Weights:
    from candide.models.choice import Choice, prepare_model
    from candide.models.machine import read_machine
    from candide.models.weights import WeightsFolder

    def announce(choice: Choice) -> None:
        if choice.installed is None:
            print_note(f"the best model for this machine is fetched: {choice.explanation}")

    folder = WeightsFolder(settings.weights_dir)
    return prepare_model(folder, read_machine(), wanted=settings.model, progress=progress, announce=announce)


def _short(source: str) -> str:
    return source.rpartition("/")[2] if len(source) > 40 else source
