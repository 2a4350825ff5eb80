"""How far a pull has come, as it is told to whoever asked for it.

The callback is called from the thread that pulls, about ten times a second, also while it only
waits. An exception that it raises ends the pull and keeps what has been fetched: this is how a
server or a progress bar cancels. Amounts are shown in decimal units, as disks and networks count.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

Stage = Literal["waiting", "connecting", "checking", "downloading", "unpacking", "copying"]
"""`waiting`: for another process or before another try; `checking`: hashing what is on the disk;
`unpacking`: taking what has come out of its wrapping, which moves no more bytes."""

EVERY_S = 0.1
WINDOW_S = 5.0
"""Of moving bytes, that the speed is the mean of."""
PAUSE_S = 2.0
"""Without a byte for so long, nothing is being moved: an index is looked through, a program starts."""


class Progress(msgspec.Struct, frozen=True):
    stage: Stage
    source: str
    done: int
    """Bytes."""
    total: int | None
    bytes_per_second: float
    """Of the last seconds in which bytes moved; 0 while it waits."""
    note: str = ""
    """Why it waits, for people."""


class PullCancelled(Exception):
    """Raised by a callback to end a pull; what has come is kept."""


ProgressCallback = Callable[[Progress], None]


class Meter:
    """Turns counts of bytes into calls of the callback, with the speed of the last seconds."""

    def __init__(
        self,
        callback: ProgressCallback | None,
        source: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._callback = callback
        self._clock = clock
        self.source = source
        self._stage: Stage = "connecting"
        self._told_at = 0.0
        self._moved: deque[tuple[float, int]] = deque()
        """Seconds, and the bytes that moved in them."""
        self._looked_at = clock()
        self._seen = 0
        self._idle_s = PAUSE_S
        """Since the last byte; the time before a stage's first byte is a pause, however short."""
        self.done = 0
        self.total: int | None = None

    def enter(self, stage: Stage, note: str = "") -> None:
        """Begin another stage; told at once. What passes between two stages is no time of moving bytes."""
        if "checking" in (stage, self._stage) and stage != self._stage:
            self._moved.clear()  # a disk that is read says nothing of the network
        self._stage = stage
        self._looked_at, self._seen, self._idle_s = self._clock(), self.done, PAUSE_S
        self._tell(note)

    def advance(self, done: int) -> None:
        """`done` bytes are there now; told when it is time."""
        self.done = max(done, self.done) if self._stage == "unpacking" else done
        if self._clock() - self._told_at >= EVERY_S:
            self._measure()
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
        self._told_at = self._clock()
        if self._callback is not None:
            self._callback(Progress(self._stage, self.source, self.done, self.total, self._speed(), note))

    def _measure(self) -> None:
        now = self._clock()
        passed, moved = now - self._looked_at, self.done - self._seen
        self._looked_at, self._seen = now, self.done
        if moved <= 0:
            self._idle_s += passed
            return
        # Short pauses belong to a slow stream, whose bytes come in bursts.
        self._moved.append((passed + (self._idle_s if self._idle_s < PAUSE_S else 0.0), moved))
        self._idle_s = 0.0
        while len(self._moved) > 1 and sum(seconds for seconds, _ in self._moved) > WINDOW_S:
            self._moved.popleft()

    def _speed(self) -> float:
        seconds = sum(seconds for seconds, _ in self._moved)
        if self._stage == "waiting" or seconds <= 0:
            return 0.0
        return sum(moved for _, moved in self._moved) / seconds


def format_size(count: float) -> str:
    """An amount of bytes, as people read it: `98.4 MB`, `1.1 GB`."""
    if count >= 999_950_000:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB"
