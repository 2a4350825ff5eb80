"""Weights before the first answer: a first start fetches a model, and shows how far it is.

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
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from candide.cli.output import print_note
from candide.models.progress import PullCancelled

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import Task, TaskID
    from rich.table import Table

    from candide.models.choice import Choice
    from candide.models.progress import Progress, Stage
    from candide.models.weights import Weights
    from candide.settings import Settings


class PullProgress:
    """Shows a pull on standard error: a bar on a terminal, a line now and then elsewhere.

    Where Ctrl-C ends it, a line says that what has come is kept.
    """

    LINE_EVERY_S = 10.0

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        # Asked once: while a bar is drawn, what stands in for standard error is no terminal.
        self._has_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._next_line = time.monotonic() + 1.0
        self._stage: Stage | None = None
        self._keeps = False
        self.cancelled = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
        ended_by = (KeyboardInterrupt, asyncio.CancelledError, PullCancelled)
        interrupted = kind is not None and issubclass(kind, ended_by)
        if interrupted and self._keeps:
            print_note("stopped; what was fetched is kept, and the same command goes on with it")

    def __call__(self, progress: Progress) -> None:
        if self.cancelled.is_set():
            raise PullCancelled
        self._keeps = self._keeps or progress.stage != "checking"
        description = progress.note or f"{progress.stage} {_short(progress.source)}"
        if self._has_terminal:
            self._draw(description, progress)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self.LINE_EVERY_S
            print_note(" ".join([description, *_amounts(progress)]))

    def announce(self, choice: Choice) -> None:
        """Say which model was chosen, before it is fetched."""
        if self.cancelled.is_set():
            raise PullCancelled
        if choice.installed is None:
            print_note(f"the best model for this machine is fetched: {choice.explanation}")

    def _draw(self, description: str, progress: Progress) -> None:
        # Made on the first sign of life: a start that fetches nothing does not load the library.
        if self._bars is None:
            self._bars = make_bars()
            self._bars.start()
        if self._task is None:
            self._task = self._bars.add_task(description, speed="")
        elif "checking" in (progress.stage, self._stage) and progress.stage != self._stage:
            # The time that is left is reckoned from what went before, and a disk is faster than a network.
            self._bars.reset(self._task)
        self._stage = progress.stage
        self._bars.update(
            self._task,
            description=description,
            completed=progress.done,
            total=progress.total,
            speed=_speed(progress),
        )


def make_bars() -> Bars:
    """Bars on standard error, with a description, sizes, the field `speed`, and the time that is left."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, ProgressColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.table import Column
    from rich.text import Text

    console = Console(stderr=True, highlight=False)

    class DescriptionColumn(ProgressColumn):
        """The one that gives way where a terminal is narrow: the numbers are what is looked at."""

        def render(self, task: Task) -> Text:
            return Text(task.description, no_wrap=True, overflow="ellipsis")

    class SpeedColumn(ProgressColumn):
        """The speed as it is told, without the time in which an index was looked through."""

        def render(self, task: Task) -> Text:
            return Text(task.fields["speed"], style="progress.data.speed")

    class NarrowBars(Bars):
        """Leaves room for the ^C that a terminal shows: a line that it broke could not be taken back."""

        def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
            table = super().make_tasks_table(tasks)
            table.width = max(20, console.width - 4)
            return table

    return NarrowBars(
        DescriptionColumn(),
        BarColumn(bar_width=None, table_column=Column(ratio=1, width=8)),
        DownloadColumn(table_column=Column(no_wrap=True)),
        SpeedColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
    )


def pull_weights(settings: Settings, target: str, name: str | None) -> Weights:
    """Fetch weights into the home, showing how far it is. Raises as WeightsFolder.pull does."""
    from candide.compose import prepare_home
    from candide.models.weights import WeightsFolder

    prepare_home(settings)
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
    from candide.models.choice import prepare_model
    from candide.models.machine import read_machine
    from candide.models.weights import WeightsFolder

    folder = WeightsFolder(settings.weights_dir)
    return prepare_model(
        folder, read_machine(), wanted=settings.model, progress=progress, announce=progress.announce
    )


def _amounts(progress: Progress) -> list[str]:
    share = [f"{100 * progress.done / progress.total:.0f} %"] if progress.total else []
    return [*share, speed] if (speed := _speed(progress)) else share


def _speed(progress: Progress) -> str:
    from candide.models.progress import format_size

    return f"{format_size(progress.bytes_per_second)}/s" if progress.bytes_per_second else ""


def _short(source: str) -> str:
    return source.rpartition("/")[2] if len(source) > 40 else source
