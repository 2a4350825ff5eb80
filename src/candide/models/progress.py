"""How far a pull has come, as it is told to whoever asked for it.

The callback is called from the thread that pulls, about ten times a second, also while it only
waits. An exception that it raises ends the pull and keeps what has been fetched: this is how a
server or a progress bar cancels.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

Stage = Literal["waiting", "connecting", "checking", "downloading", "copying"]
"""`waiting`: for another process or before another try; `checking`: hashing what is on the disk."""

EVERY_S = 0.1
WINDOW_S = 5.0


class Progress(msgspec.Struct, frozen=True):
    stage: Stage
    source: str
    done: int
    """Bytes."""
    total: int | None
    bytes_per_second: float
    note: str = ""
    """Why it waits, for people."""


ProgressCallback = Callable[[Progress], None]


class Meter:
    """Turns counts of bytes into calls of the callback, with the speed of the last seconds."""

    def __init__(self, callback: ProgressCallback | None, source: str) -> None:
        self._callback = callback
        self.source = source
        self._stage: Stage = "connecting"
        self._told_at = 0.0
        self._samples: deque[tuple[float, int]] = deque()
        self.done = 0
        self.total: int | None = None

    def enter(self, stage: Stage, note: str = "") -> None:
        """Begin another stage; told at once."""
        self._stage = stage
        self._samples.clear()
        self._tell(note)

    def advance(self, done: int) -> None:
        """`done` bytes are there now; told when it is time."""
        self.done = done
        now = time.monotonic()
        if now - self._told_at >= EVERY_S:
            self._samples.append((now, done))
            while now - self._samples[0][0] > WINDOW_S:
                self._samples.popleft()
            self._tell()

    def finish(self) -> None:
        self._tell()

    def wait(self, seconds: float, note: str) -> None:
        """Sleep, telling so now and then, which lets the callback cancel."""
        end = time.monotonic() + seconds
        self.enter("waiting", note)
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, EVERY_S))
            self._tell(note)

    def _tell(self, note: str = "") -> None:
        self._told_at = time.monotonic()
        if self._callback is not None:
            self._callback(Progress(self._stage, self.source, self.done, self.total, self._speed(), note))

    def _speed(self) -> float:
        if len(self._samples) < 2:
            return 0.0
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return max(0.0, (last - first) / (end - start)) if end > start else 0.0
