"""Jobs that read targets into libraries: how far each has come, and what could not be read."""

from __future__ import annotations

from typing import Literal

import msgspec

JobState = Literal["queued", "running", "paused", "finished", "failed", "cancelled"]
ENDED: tuple[JobState, ...] = ("finished", "failed", "cancelled")

MAX_PROBLEMS = 200


class Problem(msgspec.Struct, frozen=True):
    """What could not be read, and why."""

    uri: str
    reason: str
    hint: str = ""


class Progress(msgspec.Struct, kw_only=True):
    found: int = 0
    """How many files, pages, entries or documents the targets are known to have."""
    done: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    passages: int = 0
    embedded: int = 0
    """Of the passages, those that can be found by their meaning too."""
    current: str = ""
    """What is being read now."""
    positions: dict[str, int] = {}
    """Of targets that are read from their beginning to their end: how far, by the target's id."""


class Job(msgspec.Struct, kw_only=True):
    id: str
    library_id: str
    state: JobState
    target_ids: list[str]
    progress: Progress = msgspec.field(default_factory=Progress)
    problems: list[Problem] = []
    """The first of them."""
    error: str | None = None
    """Why it failed as a whole."""
    created_at: float = 0.0
    finished_at: float | None = None

    def note_problem(self, uri: str, reason: str, hint: str = "") -> None:
        self.progress.failed += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(uri, reason, hint))


class Item(msgspec.Struct, frozen=True):
    """An address that a job has found."""

    key: str
    target_id: str
    depth: int = 0
