"""The installed models as a mapping from names to files, always up to date.

A model that was pulled while the server runs can be asked for at once, one that was removed no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from candide.models.weights import WeightsFolder


class InstalledPaths(Mapping[str, Path]):
    """What lies in the folder, and `extra` models that lie elsewhere."""

    def __init__(self, folder: WeightsFolder, extra: Mapping[str, Path] | None = None) -> None:
        self._folder = folder
        self._extra = dict(extra or {})
        self._read_at = -1
        self._paths: dict[str, Path] = {}

    def __getitem__(self, name: str) -> Path:
        return self._current()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current())

    def __len__(self) -> int:
        return len(self._current())

    def _current(self) -> dict[str, Path]:
        try:
            changed_at = self._folder.folder.stat().st_mtime_ns
        except OSError:
            return self._extra
        if changed_at != self._read_at:
            self._read_at = changed_at
            self._paths = self._extra | {weights.name: weights.path for weights in self._folder.installed()}
        return self._paths
